// Who is calling. Invariant: a tenant comes only from a key whose MAC this deployment made, or from a token that it
// signed, so a stranger's request never reaches a Durable Object; the operator's key is compared in constant time on digests of equal length.
// Who may call: the handlers, before anything else.

import { ApiKeys, type Caller, ReservationIds, refuse, unauthorized } from "purser/ledger";
import { adminKey, type Env, hashSecrets } from "../env.ts";
import { looksLikeToken, TokenTexts } from "../tokens.ts";
import { HttpRefusal } from "./errors.ts";
import { VerifiedKeys } from "./verified-keys.ts";

export interface TenantCall {
  readonly tenant: string;
  readonly caller: Caller;
}

interface KeyRing {
  readonly secrets: readonly string[];
  readonly keys: ApiKeys;
  readonly ids: ReservationIds;
  readonly verified: VerifiedKeys;
  /** Made when the first token comes. */
  tokens?: Promise<TokenTexts>;
}

let cached: KeyRing | undefined;

/** What is made under this deployment's secrets. Kept for the isolate: deriving the sub-keys costs more than a request. */
function keyRing(env: Env): KeyRing {
  const secrets = hashSecrets(env);
  const known = cached?.secrets;
  if (
    cached === undefined ||
    secrets.length !== known?.length ||
    secrets.some((it, at) => it !== known[at])
  ) {
    const keys = new ApiKeys(secrets);
    cached = { secrets, keys, ids: new ReservationIds(secrets), verified: new VerifiedKeys(keys) };
  }
  return cached;
}

export function apiKeys(env: Env): ApiKeys {
  return keyRing(env).keys;
}

export function reservationIds(env: Env): ReservationIds {
  return keyRing(env).ids;
}

/** The tenant and caller of `X-Cycles-API-Key`, a key or a token; throws a 401 with the protocol's reason words. */
export async function requireTenant(headers: Headers, env: Env): Promise<TenantCall> {
  const text = headers.get("x-cycles-api-key");
  if (text === null || text === "") throw new HttpRefusal(unauthorized("Missing API key"));
  const { tenant, caller } = looksLikeToken(text) ? await verifyToken(text, env) : verify(text, env);
  const origin = headers.get("origin");
  return { tenant, caller: origin === null ? caller : { ...caller, origin } };
}

function verify(text: string, env: Env): TenantCall {
  const call = keyRing(env).verified.verify(text);
  if (call === undefined) throw new HttpRefusal(unauthorized("INVALID_KEY"));
  return call;
}

async function verifyToken(text: string, env: Env): Promise<TenantCall> {
  const ring = keyRing(env);
  ring.tokens ??= TokenTexts.under(ring.secrets);
  const verdict = await (await ring.tokens).verify(text, Date.now());
  if (typeof verdict === "string") throw new HttpRefusal(unauthorized(verdict));
  return verdict;
}

/** Whether the call is an operator's. A tenant's key beside the operator's is not looked at. */
export function isOperator(headers: Headers): boolean {
  return headers.get("x-admin-api-key") !== null;
}

/** Throws a 401 unless `X-Admin-API-Key` is the operator's key. */
export async function requireAdmin(headers: Headers, env: Env): Promise<void> {
  const expected = await digest(adminKey(env));
  const given = headers.get("x-admin-api-key");
  if (given === null || given === "") throw new HttpRefusal(refuse("UNAUTHORIZED", "Missing admin API key"));
  if (!crypto.subtle.timingSafeEqual(await digest(given), expected))
    throw new HttpRefusal(unauthorized("INVALID_KEY"));
}

function digest(text: string): Promise<ArrayBuffer> {
  return crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
}
