// One call of a remote stage: POST { "input": … }, and out of the answer's { "data": { "output": … } } the output.
// Who may call: run-composition.ts, after the call was paid for.

import { isRecord } from "./composition.ts";
import { RemoteStageError } from "./errors.ts";

/** The part of `fetch` that is used. */
export type RemoteFetch = (
  url: string,
  init: {
    readonly method: "POST";
    readonly headers: Record<string, string>;
    readonly body: string;
    readonly signal: AbortSignal;
  },
) => Promise<{ readonly ok: boolean; readonly status: number; text(): Promise<string> }>;

/** What an answer may say about its failure is shown up to here. */
const SHOWN_REASON_LENGTH = 200;

/** @throws RemoteStageError unless the answer is 2xx, is JSON, does not say `ok: false`, and has `data.output` */
export async function callRemoteStage(
  url: string,
  input: unknown,
  options: { readonly fetch: RemoteFetch; readonly signal: AbortSignal },
): Promise<unknown> {
  // Without its object: a browser's own fetch refuses to be called as somebody's method.
  const { fetch: send, signal } = options;
  const body = JSON.stringify({ input: input === undefined ? null : input });
  const headers = { "content-type": "application/json", accept: "application/json" };
  let status: number | undefined;
  let text: string;
  try {
    const response = await send(url, { method: "POST", headers, body, signal });
    status = response.status;
    text = await response.text();
    if (!response.ok) throw new RemoteStageError(url, `HTTP status ${status}${said(text)}`, { status });
  } catch (cause) {
    if (cause instanceof RemoteStageError) throw cause;
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new RemoteStageError(url, message, { cause, ...(status === undefined ? {} : { status }) });
  }
  return outputOf(url, status, text);
}

function outputOf(url: string, status: number, text: string): unknown {
  const answer = readJson(text);
  if (!isRecord(answer)) throw new RemoteStageError(url, "the answer is no JSON object", { status });
  if (answer.ok === false) throw new RemoteStageError(url, `it answers ok: false${said(text)}`, { status });
  const { data } = answer;
  if (!isRecord(data) || !Object.hasOwn(data, "output")) {
    throw new RemoteStageError(url, "the answer has no data.output", { status });
  }
  return data.output;
}

/** The `error` of an answer that has one. */
function said(text: string): string {
  const answer = readJson(text);
  const error = isRecord(answer) ? answer.error : undefined;
  return typeof error === "string" ? `, ${JSON.stringify(error.slice(0, SHOWN_REASON_LENGTH))}` : "";
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
