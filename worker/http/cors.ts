// Which pages may read our answers. Invariant: an origin is allowed because the deployment names it, letter for letter;
// never because it asked, and never all of them at once. CORS keeps pages apart, it authenticates nobody: without a key
// an allowed page gets nothing, and credentials of the browser's own (cookies) are never asked for.
// Who may call: app.ts, for every answer; index.ts, so that a bad list keeps the Worker from starting.

import { isWebOrigin } from "purser/ledger";
import { ConfigError, type Env } from "../env.ts";

const METHODS = "GET, POST, DELETE";
const REQUEST_HEADERS = "content-type, traceparent, x-cycles-api-key, x-cycles-trace-id, x-idempotency-key";
const RESPONSE_HEADERS = "retry-after, x-cycles-tenant, x-cycles-trace-id, x-ratelimit-reset, x-request-id";
/** How long a browser may remember a preflight: two hours, the longest that Chromium keeps one. */
const PREFLIGHT_MAX_AGE_S = 7_200;

type Fields = Readonly<Record<string, string>>;

let cached: { readonly text: string; readonly origins: ReadonlySet<string> } | undefined;

/**
 * The origins of `PURSER_CORS_ORIGINS`, which are parted by spaces or commas; none by default.
 *
 * @throws ConfigError for anything that is no exact http(s) origin, `*` and `null` among them
 */
export function corsOrigins(env: Pick<Env, "PURSER_CORS_ORIGINS">): ReadonlySet<string> {
  const text = env.PURSER_CORS_ORIGINS ?? "";
  if (cached?.text !== text) {
    const origins = text.split(/[\s,]+/).filter((it) => it !== "");
    for (const origin of origins) {
      if (isWebOrigin(origin)) continue;
      const rule = "must list exact origins like https://app.example, without path or '*'";
      throw new ConfigError(`PURSER_CORS_ORIGINS ${rule}, got ${JSON.stringify(origin)}`);
    }
    cached = { text, origins: new Set(origins) };
  }
  return cached.origins;
}

/** What any answer to a browser carries. `Vary` also where the origin is refused: a cache must not mix them up. */
export function corsFields(headers: Headers, env: Env): Fields {
  const origin = headers.get("origin");
  if (origin === null) return {};
  if (!corsOrigins(env).has(origin)) return { Vary: "Origin" };
  return {
    Vary: "Origin",
    "Access-Control-Allow-Origin": origin,
    "Access-Control-Expose-Headers": RESPONSE_HEADERS,
  };
}

export function isPreflight({ method, headers }: Request): boolean {
  return method === "OPTIONS" && headers.has("origin") && headers.has("access-control-request-method");
}

/** The answer to a preflight: without a key, whatever the path, and without asking any object. */
export function preflightFields(headers: Headers, env: Env): Fields {
  const fields = corsFields(headers, env);
  if (fields["Access-Control-Allow-Origin"] === undefined) return fields;
  return {
    ...fields,
    "Access-Control-Allow-Methods": METHODS,
    "Access-Control-Allow-Headers": REQUEST_HEADERS,
    "Access-Control-Max-Age": String(PREFLIGHT_MAX_AGE_S),
  };
}
