// One request and its answer over HTTP, with nothing but `fetch`: what the authority and the issuer of tokens share.
// Invariant: integers are read from the answer's text, so none is rounded on the way; the key travels in a header to the
// base URL alone, since redirects are not followed. Who may call: HttpAuthority, TokenIssuer.

import { invalidArgument, invalidType } from "../arguments.ts";
import { AuthorityError, invalidAnswer } from "./errors.ts";
import { parseAnswer, requestText } from "./json-answer.ts";
import * as CLIENT_LIMITS from "./limits/client.ts";
import { platformWith, type Surroundings } from "./surroundings.ts";
import type { Carried, WireAnswer, WireFields } from "./wire-call.ts";

/**
 * The platform's `fetch`, or one that does the same: `(url, init) => env.BINDING.fetch(url, init)`, an agent with a pool, a test's own.
 * It is called without its object.
 */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface HttpOptions {
  /** Where the authority is: `https://budgets.example.com`, with a path before `/v1` if it has one. */
  readonly baseUrl: string | URL;
  /** The tenant's API key, or a token. In a page it can be read by its user: give a page a token, by `getToken`. */
  readonly apiKey?: string;
  /**
   * Instead of `apiKey`: asked before every try for the key or token to use, so that it can be short-lived. What is sent with
   * `keepalive` goes with the last one that it gave, while that is valid: a page that goes would not live to hear of another.
   */
  readonly getToken?: () => PromiseLike<string> | string;
  readonly fetch?: Fetch;
}

export interface HttpCall {
  /** POST where there is a body, else GET, unless given. */
  readonly method?: "DELETE";
  readonly path: string;
  readonly body?: WireFields;
}

export type Transport = (call: HttpCall, how: Carried) => Promise<WireAnswer>;

const KEY_TEXT = /^[\x21-\x7e]+$/;
const RETRY_AFTER_SECONDS = /^[0-9]+$/;

/** @throws TypeError or RangeError for a base URL that is none, or without exactly one of `apiKey` and `getToken` */
export function httpTransport(options: HttpOptions & Surroundings): {
  readonly base: string;
  readonly transport: Transport;
} {
  const { baseUrl, apiKey, getToken, fetch = (url, init) => globalThis.fetch(url, init) } = options;
  const { now } = platformWith(options);
  const base = checkBaseUrl(baseUrl);
  if ((apiKey === undefined) === (getToken === undefined)) {
    throw invalidType("apiKey", "given, or getToken, and not both", undefined);
  }
  if (apiKey !== undefined) checkKey("apiKey", apiKey);
  /** What `getToken` gave last, unless the authority knows it no more. */
  let last: string | undefined;
  const transport: Transport = async ({ method, path, body }, { signal, keepalive }) => {
    const text = body && requestText(body); // what cannot be written is the caller's mistake, and no answer that is missing
    try {
      const isAtHand = keepalive && last !== undefined && now() < endMsOf(last);
      const key = apiKey ?? ((isAtHand ? last : await keyBy(getToken)) as string);
      last = key;
      const response = await fetch(base + path, {
        ...initOf(method, text, key),
        ...(signal && { signal }),
        ...(keepalive && { keepalive }),
      });
      if (response.status === 401 && last === key) last = undefined;
      return await answerOf(response, now());
    } catch (error) {
      if (error instanceof AuthorityError) throw error;
      if (signal?.aborted === true) throw signal.reason;
      throw new AuthorityError("AUTHORITY_UNAVAILABLE", `no answer from ${base}: ${String(error)}`, {
        outcome: "unknown",
        cause: error,
      });
    }
  };
  return { base, transport };
}

/**
 * Of this try nothing was sent, but one before it may have been: the outcome of the call is as open as if the answer were
 * lost, and it is made again, with a key that is asked for anew.
 */
async function keyBy(getToken: HttpOptions["getToken"]): Promise<string> {
  try {
    return checkKey("getToken()", await getToken?.());
  } catch (cause) {
    throw new AuthorityError("AUTHORITY_UNAVAILABLE", "getToken() failed, see the cause", {
      outcome: "unknown",
      cause,
    });
  }
}

/** When a key stops to be valid, by what it says of itself; a text that says nothing may be valid for ever. */
function endMsOf(key: string): number {
  try {
    const [, claims = ""] = key.split(".");
    const { exp } = JSON.parse(atob(claims.replace(/-/g, "+").replace(/_/g, "/"))) as {
      readonly exp?: unknown;
    };
    if (typeof exp === "number") return exp * 1_000;
  } catch {
    // An API key, or a token of somebody's own making.
  }
  return Number.POSITIVE_INFINITY;
}

/** A query's text with the members that are given, its question mark included; nothing where there are none. */
export function queryText(query: WireFields): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  return given.length === 0
    ? ""
    : `?${new URLSearchParams(given.map(([key, value]) => [key, String(value)]))}`;
}

function initOf(method: HttpCall["method"], body: string | undefined, key: string): RequestInit {
  const headers = { "X-Cycles-API-Key": key, Accept: "application/json" };
  if (body === undefined) return { method: method ?? "GET", headers, redirect: "manual" };
  return {
    method: "POST",
    headers: { ...headers, "Content-Type": "application/json" },
    body,
    redirect: "manual",
  };
}

async function answerOf(response: Response, nowMs: number): Promise<WireAnswer> {
  const { status } = response;
  const text = await response.text();
  let body: unknown;
  try {
    body = parseAnswer(text);
  } catch (cause) {
    // An error may come from anything in between, and its status says enough. A success without its body says nothing.
    if (response.ok) {
      const rule = `status ${status} without JSON (${String(cause)})`;
      throw invalidAnswer(rule, { outcome: "unknown", status, cause });
    }
    if (text === "") body = {};
  }
  const after = response.headers.get("retry-after") ?? "";
  const afterMs = RETRY_AFTER_SECONDS.test(after) ? Number(after) * 1_000 : Date.parse(after) - nowMs;
  return {
    status,
    body,
    // Nothing, where it is neither seconds nor a date.
    retryAfterMs: afterMs >= 0 ? Math.min(afterMs, CLIENT_LIMITS.retryAfterMsBelieved) : undefined,
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
