// The authority over HTTP: any Cycles server, from a page, a Worker or Node, with nothing but `fetch`. Invariant: integers
// are read from the answer's text, so none is rounded on the way; the key travels in a header to the base URL alone, since
// redirects are not followed; what comes back is an answer or an AuthorityError. Who may call: anyone with an API key.

import { invalidArgument, invalidType } from "../arguments.ts";
import { parseJson, stringifyJson } from "../ledger/json.ts";
import { AuthorityError, invalidAnswer } from "./errors.ts";
import { CLIENT_LIMITS } from "./limits.ts";
import { type RemoteOptions, WireAuthority } from "./wire-authority.ts";
import type { Send, WireAnswer, WireCall, WireFields } from "./wire-call.ts";

/** The platform's `fetch`, or one that does the same: `env.BINDING.fetch`, an agent with a pool, a test's own. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface HttpAuthorityOptions<Exact extends boolean = false> extends RemoteOptions<Exact> {
  /** Where the authority is: `https://budgets.example.com`, with a path before `/v1` if it has one. */
  readonly baseUrl: string | URL;
  /** The tenant's API key. In a page it can be read by its user: bind it to the page's origin, or use `getToken`. */
  readonly apiKey?: string;
  /** Instead of `apiKey`: asked before every try for the key to use, so that it can be short-lived. */
  readonly getToken?: () => PromiseLike<string> | string;
  readonly fetch?: Fetch;
}

const KEY_TEXT = /^[\x21-\x7e]+$/;
const RETRY_AFTER_SECONDS = /^[0-9]{1,9}$/;

/**
 * @throws TypeError or RangeError for a base URL that is none, or without exactly one of `apiKey` and `getToken`
 * @example
 * const authority = new HttpAuthority({ baseUrl: "https://budgets.example.com", apiKey, subject: { tenant: "acme" } });
 */
export class HttpAuthority<Exact extends boolean = false> extends WireAuthority<Exact> {
  constructor(options: HttpAuthorityOptions<Exact>) {
    const { timeoutMs = CLIENT_LIMITS.timeoutMs, retry } = options;
    const base = checkBaseUrl(options.baseUrl);
    super(options, { timeoutMs, retry, place: base, send: httpSend(base, options) });
  }
}

function httpSend(
  base: string,
  { apiKey, getToken, fetch = (url, init) => globalThis.fetch(url, init) }: HttpAuthorityOptions<boolean>,
): Send {
  if ((apiKey === undefined) === (getToken === undefined)) {
    throw invalidType("apiKey", "given, or getToken, and not both", undefined);
  }
  if (apiKey !== undefined) checkKey("apiKey", apiKey);
  return async (call, { signal, keepalive }) => {
    const key = apiKey ?? checkKey("getToken()", await getToken?.());
    try {
      const response = await fetch(base + pathOf(call), {
        ...initOf(call, key),
        ...(signal && { signal }),
        ...(keepalive && { keepalive }),
      });
      return await answerOf(response);
    } catch (error) {
      if (error instanceof AuthorityError) throw error;
      if (signal?.aborted === true) throw signal.reason;
      throw new AuthorityError("AUTHORITY_UNAVAILABLE", `no answer from ${base}: ${String(error)}`, {
        outcome: "unknown",
        cause: error,
      });
    }
  };
}

function pathOf(call: WireCall): string {
  switch (call.operation) {
    case "reserve":
      return "/v1/reservations";
    case "reserveFit":
      return "/v1/x-purser/reservations";
    case "decide":
      return "/v1/decide";
    case "event":
      return "/v1/events";
    case "commit":
    case "release":
    case "extend":
      return `/v1/reservations/${encodeURIComponent(call.id)}/${call.operation}`;
    case "openLease":
      return "/v1/x-purser/leases";
    case "renewLease":
      return `/v1/x-purser/leases/${encodeURIComponent(call.id)}/renew`;
    case "returnLease":
      return `/v1/x-purser/leases/${encodeURIComponent(call.id)}/return`;
    case "listLeases":
      return `/v1/x-purser/leases${queryText(call.query)}`;
    case "exposure":
      return "/v1/x-purser/exposure";
    case "getReservation":
      return `/v1/reservations/${encodeURIComponent(call.id)}`;
    case "listReservations":
      return `/v1/reservations${queryText(call.query)}`;
    case "balances":
      return `/v1/balances${queryText(call.query)}`;
  }
}

function queryText(query: WireFields): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  return given.length === 0
    ? ""
    : `?${new URLSearchParams(given.map(([key, value]) => [key, String(value)]))}`;
}

function initOf(call: WireCall, key: string): RequestInit {
  const headers = { "X-Cycles-API-Key": key, Accept: "application/json" };
  if (!("body" in call)) return { method: "GET", headers, redirect: "manual" };
  return {
    method: "POST",
    headers: { ...headers, "Content-Type": "application/json" },
    body: stringifyJson(call.body),
    redirect: "manual",
  };
}

async function answerOf(response: Response): Promise<WireAnswer> {
  const { status } = response;
  const parsed = parseJson(await response.text());
  // An error may come from anything in between, and its status says enough. A success without its body says nothing.
  if (!parsed.ok && status >= 200 && status < 300) {
    throw invalidAnswer(`status ${status} with a body that is no JSON, ${parsed.message}`, {
      outcome: "unknown",
      status,
    });
  }
  const after = response.headers.get("retry-after") ?? "";
  return {
    status,
    body: parsed.ok ? parsed.value : undefined,
    retryAfterMs: RETRY_AFTER_SECONDS.test(after) ? Number(after) * 1_000 : undefined,
  };
}

function checkBaseUrl(baseUrl: string | URL): string {
  let url: URL;
  try {
    url = new URL(baseUrl);
  } catch {
    throw invalidArgument("baseUrl", "an http or https URL", String(baseUrl));
  }
  const isPlain = url.search === "" && url.hash === "" && url.username === "" && url.password === "";
  if (!/^https?:$/.test(url.protocol) || !isPlain) {
    throw invalidArgument("baseUrl", "an http or https URL without query, fragment or user", url.protocol);
  }
  return url.href.replace(/\/+$/, "");
}

/** Never shows the key: an error message ends up in logs. */
function checkKey(argument: string, key: unknown): string {
  if (typeof key === "string" && KEY_TEXT.test(key)) return key;
  throw invalidType(
    argument,
    "a text of visible ASCII characters",
    typeof key === "string" ? undefined : key,
  );
}
