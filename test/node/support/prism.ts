// Prism, a validating proxy, between a test and a real server: it holds every answer against an official description.
// Wrong requests are the authority's to refuse, so Prism lets all of them pass; what it found wrong with an answer it
// writes into the header sl-violations, which is read here. Invariant: an answer that breaks its description throws; so
// does a status without one, unless UNDECLARED lists it. Called by http.test.ts.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer, type Server } from "node:net";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Sent } from "../../support/http/front.ts";

/** The protocol's official descriptions, if they lie beside the checkout, and the paths that each of them covers. */
const DESCRIPTIONS = [
  {
    file: pathOf("cycles-protocol-v0.yaml"),
    covers: /^\/v1\/((reservations|decide|events)\b|balances(?!\?(tenant_id|scope_prefix|unit)=))/,
  },
  {
    file: pathOf("cycles-governance-admin-v0.1.25.yaml"),
    covers: /^\/v1\/(admin\/|auth\/introspect\b|balances\?(tenant_id|scope_prefix|unit)=)/,
  },
] as const;

function pathOf(file: string): string {
  return fileURLToPath(new URL(`../../../../shared/spec/${file}`, import.meta.url));
}

export const hasDescriptions = (): boolean => DESCRIPTIONS.every(({ file }) => existsSync(file));

/** Statuses that the descriptions leave out where the protocol's prose, or HTTP, wants them. */
export interface Undeclared {
  readonly status: number;
  readonly operation: RegExp;
  readonly because: string;
}

export const UNDECLARED: readonly Undeclared[] = [
  {
    status: 405,
    operation: /^/,
    because: "a description has no words for a method that it does not list",
  },
  {
    status: 415,
    operation: /^(POST|PUT|PATCH) /,
    because: "the descriptions allow JSON alone, and name no status for what is not JSON",
  },
  {
    status: 429,
    operation: /^POST \/v1\/reservations(\/[^/]+\/commit)?$/,
    because: "the prose has rate limits, the description declares the status for extend only",
  },
  {
    status: 409,
    operation: /^PATCH \/v1\/admin\/tenants\/[^/]+$/,
    because: "the prose says that every change of a closed tenant is 409 TENANT_CLOSED",
  },
];

/** What Prism says of a path whose method it does not know, and of a status that an operation does not declare. */
const NO_SUCH_OPERATION = "Selected route not found";
const NO_SUCH_STATUS = /^Unable to match the returned status code/;

/** Why a request does not go through Prism, which reads a JSON body into doubles and writes it anew. */
function reasonToGoDirectly(described: boolean, { body }: Sent): "undescribed" | "unfaithful" | undefined {
  if (!described) return "undescribed";
  if (body === undefined) return undefined;
  // Bytes and streams are no text; no JSON, a number that is rounded or respelt, a name twice, blanks: all these would
  // come out as another request than the one that the test sends, or as Prism's own refusal.
  return typeof body === "string" && isKeptByJson(body) ? undefined : "unfaithful";
}

function isKeptByJson(text: string): boolean {
  try {
    return JSON.stringify(JSON.parse(text)) === text;
  } catch {
    return false;
  }
}

interface Violation {
  readonly location: readonly string[];
  readonly message: string;
}

/** What went through, and what did not. */
interface Seen {
  judged: number;
  refusals: number;
  readonly undeclared: Undeclared[];
  readonly direct: Record<"undescribed" | "unfaithful", number>;
}

export interface Judge {
  readonly seen: Seen;
  /** Throws if the description that covers the path forbids the answer. */
  send(path: string, sent: Sent): Promise<Response>;
  stop(): Promise<void>;
}

/** Sends requests to the server at `url`, through the Prism whose description covers their path. */
export async function startJudge(url: string): Promise<Judge> {
  const proxies = await Promise.all(
    DESCRIPTIONS.map(async ({ file, covers }) => ({ covers, prism: await startPrism(file, url) })),
  );
  const seen: Seen = { judged: 0, refusals: 0, undeclared: [], direct: { undescribed: 0, unfaithful: 0 } };
  return {
    seen,
    send: async (path, sent) => {
      const proxy = proxies.find(({ covers }) => covers.test(path));
      const reason = reasonToGoDirectly(proxy !== undefined, sent);
      if (proxy === undefined || reason !== undefined) {
        seen.direct[reason ?? "undescribed"] += 1;
        return sendTo(url, path, sent);
      }
      const response = await sendTo(proxy.prism.url, path, sent);
      const exception = exceptionFor(`${sent.method} ${path.replace(/\?.*/, "")}`, response);
      if (exception !== undefined) seen.undeclared.push(exception);
      else seen.judged += 1;
      if (response.status >= 400) seen.refusals += 1;
      return response;
    },
    stop: async () => {
      await Promise.all(proxies.map(({ prism }) => prism.stop()));
    },
  };
}

/** Nothing if the answer is as described, the exception that allows it, or a throw. */
function exceptionFor(operation: string, response: Response): Undeclared | undefined {
  const { status, headers } = response;
  const found: Violation[] = JSON.parse(headers.get("sl-violations") ?? "[]");
  const violations = found.filter(
    // The only thing asked of a request is a key, and to refuse one without is the authority's part.
    ({ location, message }) => location[0] !== "request" || message === NO_SUCH_OPERATION,
  );
  if (violations.length === 0) return undefined;
  const exception = UNDECLARED.find((it) => it.status === status && it.operation.test(operation));
  const isUndeclared = violations.every(
    ({ message }) => message === NO_SUCH_OPERATION || NO_SUCH_STATUS.test(message),
  );
  if (exception !== undefined && isUndeclared) return exception;
  throw new Error(`${operation}: the description forbids this ${status}: ${JSON.stringify(violations)}`);
}

/** Sends to a server; Node's fetch must be told of a body that is still being made. */
export function sendTo(url: string, path: string, sent: Sent): Promise<Response> {
  return fetch(url + path, { ...sent, ...(sent.body instanceof ReadableStream && { duplex: "half" }) });
}

interface Prism {
  readonly url: string;
  stop(): Promise<void>;
}

async function startPrism(description: string, upstream: string): Promise<Prism> {
  const manifest = createRequire(import.meta.url).resolve("@stoplight/prism-cli/package.json");
  const port = await freePort();
  const child = spawn(
    process.execPath,
    [
      join(dirname(manifest), "dist/index.js"),
      "proxy",
      description,
      upstream,
      "--validate-request=false",
      "--host=127.0.0.1",
      `--port=${port}`,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  await new Promise<void>((resolve, reject) => {
    let printed = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      // Only until it listens; it prints a few lines for every request.
      if (printed.includes("listening on")) return;
      printed += chunk;
      if (printed.includes("listening on")) resolve();
    });
    void ended.then(() => reject(new Error(`Prism ended before it listened:\n${printed}`)));
  });
  return {
    url: `http://127.0.0.1:${port}`,
    stop: () => {
      child.kill("SIGTERM");
      return ended;
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await close(server);
  return port;
}

export async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("the server has no port");
  return address.port;
}

export function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
