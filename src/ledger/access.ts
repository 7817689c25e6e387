// Who is calling, and what they may touch: a trusted Worker, an API key, or a token. Invariant: a key stands by its own row;
// a token by its row, by those of all it was narrowed from and by that of the key which issued the first, so whoever ends
// one of them ends all below it at their next call. Who may call: the core, before every operation.

import type { Caller, KeyCaller, TokenCaller } from "./api-keys.ts";
import { type Refusal, refuse, unauthorized } from "./codes.ts";
import { equalInConstantTime } from "./digest.ts";
import { checkOrigin } from "./origins.ts";
import { type Permission, permits } from "./permissions.ts";
import { isWithinScope, passesScopeFilter } from "./scope.ts";
import type { ApiKeyRecord, LedgerStore, Reservation, TenantRecord, TokenRecord } from "./store.ts";
import { capScopeOf, type TokenGrant } from "./tokens.ts";

/** Who a call acts for, once its key or token is checked. */
export interface Principal {
  /** The API key; with a token the one that it came from. */
  readonly keyId?: string | undefined;
  readonly scopeFilter?: readonly string[] | undefined;
  /** False where the key does not want `remaining_ttl_ms` in its replies. */
  readonly remainingTtl?: boolean;
  readonly token?: TokenGrant | undefined;
}

export interface Authenticated {
  readonly ok: true;
  readonly tenant: TenantRecord;
  /** Absent where no key was needed. */
  readonly permissions?: readonly Permission[];
  /** The caller is known, and its page is not one that the key is for. */
  readonly originRefusal?: Refusal | undefined;
  readonly principal: Principal;
}

/** What a caller may do; one without a key or token is trusted and has no such bounds. */
export function authenticate(
  { store, tenant: name }: { readonly store: LedgerStore; readonly tenant: string },
  caller: Caller | undefined,
  nowMs: number,
): Authenticated | Refusal {
  const tenant = store.readTenant();
  if (caller === undefined) {
    return tenant === undefined
      ? refuse("NOT_FOUND", `Tenant not found: ${name}`)
      : { ok: true, tenant, principal: {} };
  }
  if (tenant === undefined) return unauthorized("KEY_NOT_FOUND");
  return "tokenId" in caller
    ? checkToken(store, caller, tenant, nowMs)
    : checkKey(store, caller, tenant, nowMs);
}

function checkKey(
  store: LedgerStore,
  caller: KeyCaller,
  tenant: TenantRecord,
  nowMs: number,
): Authenticated | Refusal {
  const key = store.readApiKey(caller.keyId);
  if (key === undefined) return unauthorized("KEY_NOT_FOUND");
  if (!equalInConstantTime(key.digest, caller.digest)) return unauthorized("INVALID_KEY");
  const ended = endOf([key], nowMs);
  if (ended !== undefined) return unauthorized(ended);
  const { keyId, permissions, scopeFilter, remainingTtl } = key;
  const principal = { keyId, scopeFilter, remainingTtl };
  return { ok: true, tenant, permissions, originRefusal: checkOrigin(key, caller.origin), principal };
}

function checkToken(
  store: LedgerStore,
  caller: TokenCaller,
  tenant: TenantRecord,
  nowMs: number,
): Authenticated | Refusal {
  const token = store.readToken(caller.tokenId);
  if (token === undefined) return unauthorized("KEY_NOT_FOUND");
  const origin = originsOf(store, token);
  if (origin === undefined) return unauthorized("KEY_NOT_FOUND");
  const ended = endOf([token, ...origin.tokens, ...origin.keys], nowMs);
  if (ended !== undefined) return unauthorized(ended);
  // The issuer's own rights as they are now: what it has lost since, it has not given away.
  const [key] = origin.keys;
  const permissions = token.permissions.filter((it) => key === undefined || permits(key.permissions, it));
  const { tokenId, ancestors, scope, unit, maxPerOperation, keyId } = token;
  const grant: TokenGrant = { tokenId, ancestors, scope, unit, maxPerOperation };
  const settings = key && { scopeFilter: key.scopeFilter, remainingTtl: key.remainingTtl };
  const principal = { keyId, token: grant, ...settings };
  return { ok: true, tenant, permissions, originRefusal: checkOrigin(token, caller.origin), principal };
}

interface Origins {
  /** The tokens that it was narrowed from. */
  readonly tokens: readonly TokenRecord[];
  /** The key that issued the first one; none where a trusted Worker did. */
  readonly keys: readonly ApiKeyRecord[];
}

/** What a token came from; `undefined` where some of it is not there any more, and then it does not stand. */
function originsOf(store: LedgerStore, { ancestors, keyId }: TokenRecord): Origins | undefined {
  const tokens = ancestors.flatMap((id) => store.readToken(id) ?? []);
  const keys = keyId === undefined ? [] : [store.readApiKey(keyId)].filter((key) => key !== undefined);
  const isWhole = tokens.length === ancestors.length && (keyId === undefined || keys.length === 1);
  return isWhole ? { tokens, keys } : undefined;
}

type Ends = Pick<TokenRecord, "revokedAtMs" | "expiresAtMs">;

function endOf(chain: readonly Ends[], nowMs: number): "KEY_REVOKED" | "KEY_EXPIRED" | undefined {
  if (chain.some(({ revokedAtMs }) => revokedAtMs !== undefined)) return "KEY_REVOKED";
  return chain.some(({ expiresAtMs }) => nowMs >= expiresAtMs) ? "KEY_EXPIRED" : undefined;
}

/** What a token is at this moment, whichever of those it came from has ended. */
export function statusOfToken(
  store: LedgerStore,
  token: TokenRecord,
  nowMs: number,
): "ACTIVE" | "REVOKED" | "EXPIRED" {
  const origins = originsOf(store, token);
  if (origins === undefined) return "EXPIRED";
  const ended = endOf([token, ...origins.tokens, ...origins.keys], nowMs);
  if (ended === undefined) return "ACTIVE";
  return ended === "KEY_REVOKED" ? "REVOKED" : "EXPIRED";
}

/** Whether a caller may act on a scope, or see what stands there. */
export function mayTouch({ scopeFilter, token }: Principal, scope: string): boolean {
  return passesScopeFilter(scope, scopeFilter) && (token === undefined || isWithinScope(scope, token.scope));
}

/** Whether a reservation is the caller's to see and settle: with a token, what was made with it or below it. */
export function owns({ token }: Principal, { scopes }: Pick<Reservation, "scopes">): boolean {
  return token === undefined || scopes.includes(capScopeOf(token.tokenId));
}

export function outsideScope({ token }: Principal, scope: string): Refusal {
  return token === undefined
    ? refuse("FORBIDDEN", `The API key's scope filter does not include ${scope}`)
    : refuse("FORBIDDEN", `The token is for ${token.scope}, which does not include ${scope}`);
}
