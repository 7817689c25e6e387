// Tokens made, narrowed, prolonged, revoked and listed. Invariant: a token is never wider than what it was made from, and
// asking for more is refused, not cut; its row and the account of its cap are made and forgotten together; what a list
// shows of a cap is what decisions see. Who may call: the Ledger. The text of a token is the host's to sign.

import { type Principal, statusOfToken } from "./access.ts";
import { apiKeyIdOf } from "./api-keys.ts";
import { recordAudit } from "./audit.ts";
import { type Refusal, type Reply, refuse, succeed } from "./codes.ts";
import type { LedgerCore, Turn } from "./core.ts";
import { readCursor, refuseCursor, writeCursor } from "./cursor.ts";
import { changeRefusal } from "./evaluation.ts";
import type { JsonObject } from "./json.ts";
import { LIMITS, RETENTION } from "./limits.ts";
import { permits, TOKEN_PERMISSIONS } from "./permissions.ts";
import { settledRows } from "./reads.ts";
import { parseScope } from "./scope.ts";
import type { AccountRecord, TenantRecord, TokenRecord, TokenTerms } from "./store.ts";
import { shorten } from "./text.ts";
import {
  attenuateSchema,
  renewTokenSchema,
  revokeTokenSchema,
  type TokenBody,
  type TokenListBody,
  type TokenRequest,
  tokenListSchema,
  tokenSchema,
} from "./token-schema.ts";
import {
  type Bounds,
  CAP_SCOPES,
  capScopeOf,
  familyOf,
  isForgettable,
  newTokenId,
  refuseWider,
  tokenNameOf,
} from "./tokens.ts";

/** A new token from an API key that may issue some, or from a trusted Worker. 3 rows. */
export function issueToken(
  core: LedgerCore,
  input: unknown,
  random: Uint8Array,
  turn: Turn,
): Reply<TokenBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, { schema: tokenSchema, input });
    if (!admitted.ok) return admitted;
    const { principal, request, tenant } = admitted;
    if (principal.token !== undefined)
      return refuse("FORBIDDEN", "A token issues no token: narrow it instead");
    const bounds = boundsOfKey(core, principal);
    if (!bounds.ok) return bounds;
    return make(core, turn, { request, bounds, tenant, random, nowMs, operation: "issueToken" });
  });
}

/** A narrower token from the caller's own. 3 rows. */
export function attenuateToken(
  core: LedgerCore,
  input: unknown,
  random: Uint8Array,
  turn: Turn,
): Reply<TokenBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, { schema: attenuateSchema, input });
    if (!admitted.ok) return admitted;
    const { principal, request, tenant } = admitted;
    const parent = principal.token && core.store.readToken(principal.token.tokenId);
    if (parent === undefined) return refuse("FORBIDDEN", "Only a token can be narrowed: call with one");
    const bounds = { ...parent, ok: true as const, parent, depth: parent.ancestors.length + 1 };
    return make(core, turn, { request, bounds, tenant, random, nowMs, operation: "attenuateToken" });
  });
}

interface Issuer extends Bounds {
  readonly ok: true;
  readonly keyId?: string | undefined;
  readonly parent?: TokenRecord;
}

function boundsOfKey(core: LedgerCore, { keyId }: Principal): Issuer | Refusal {
  const key = keyId === undefined ? undefined : core.store.readApiKey(keyId);
  if (key === undefined) return { ok: true, permissions: TOKEN_PERMISSIONS, depth: 0 };
  if (!key.mayIssueTokens) return refuse("FORBIDDEN", "The API key may not issue tokens");
  const { scopeFilter, allowedOrigins } = key;
  const permissions = TOKEN_PERMISSIONS.filter((it) => permits(key.permissions, it));
  return { ok: true, keyId, scopeFilter, allowedOrigins, permissions, depth: 0 };
}

interface Making {
  readonly request: TokenRequest;
  readonly bounds: Issuer;
  readonly tenant: TenantRecord;
  readonly random: Uint8Array;
  readonly nowMs: number;
  readonly operation: string;
}

function make(
  core: LedgerCore,
  turn: Turn,
  { request, bounds, tenant, random, nowMs, operation }: Making,
): Reply<TokenBody> {
  const halted = changeRefusal(core, tenant, turn);
  if (halted !== undefined) return halted;
  const terms = termsOf(core, request, bounds);
  if ("ok" in terms) return terms;
  const expiresAtMs = endOfLife(request.ttl_ms, nowMs, bounds.expiresAtMs);
  const wider = refuseWider(terms, expiresAtMs, bounds);
  if (wider !== undefined) return wider;
  forgetTokens(core, nowMs, LIMITS.tokensLookedAtPerTurn);
  const crowded = limitReached(core, bounds.parent);
  if (crowded !== undefined) return crowded;

  const tokenId = newTokenId(random, bounds.parent?.tokenId);
  const token: TokenRecord = { ...terms, tokenId, createdAtMs: nowMs, expiresAtMs };
  core.store.insertToken(token);
  const account = capOf(token);
  core.store.insertAccount(account);
  record(core, turn, nowMs, token, { operation, status: 201, metadata: { scope: token.scope } });
  return succeed(tokenBody(core, token, account, nowMs), 201);
}

/** The account that counts what is spent with a token and with those narrowed from it. It can owe nothing. */
function capOf({ tokenId, unit, cap, createdAtMs }: TokenRecord): AccountRecord {
  return {
    scope: capScopeOf(tokenId),
    unit,
    allocated: cap,
    spent: 0n,
    reserved: 0n,
    debt: 0n,
    overdraftLimit: 0n,
    overLimitMark: false,
    status: "ACTIVE",
    settings: {},
    createdAtMs,
    updatedAtMs: createdAtMs,
  };
}

function termsOf(core: LedgerCore, request: TokenRequest, bounds: Issuer): TokenTerms | Refusal {
  const { parent } = bounds;
  const text = request.scope ?? bounds.scope ?? "";
  const parsed = parseScope(text);
  if (!parsed.ok) {
    const message = `scope: ${parsed.rule}, got ${shorten(JSON.stringify(text), 64)}`;
    return refuse("INVALID_REQUEST", message, { field: "scope" });
  }
  if (parsed.tenant !== core.tenant)
    return refuse("FORBIDDEN", `scope must belong to tenant ${core.tenant}, got ${parsed.scope}`);
  const { unit, amount: cap } = request.cap;
  const most = request.max_per_operation;
  if (most !== undefined && most.unit !== unit) {
    const message = `max_per_operation.unit must be ${unit}, the cap's unit, got ${most.unit}`;
    return refuse("UNIT_MISMATCH", message, { requested_unit: most.unit, expected_units: [unit] });
  }
  return {
    ancestors: parent === undefined ? [] : [...parent.ancestors, parent.tokenId],
    keyId: bounds.keyId,
    name: request.name,
    scope: parsed.scope,
    unit,
    permissions: request.permissions ?? bounds.permissions ?? TOKEN_PERMISSIONS,
    cap,
    maxPerOperation: most?.amount ?? bounds.maxPerOperation,
    allowedOrigins: request.allowed_origins ?? parent?.allowedOrigins,
  };
}

/** As long as is asked for; without that the longest life, or what its parent has left of its own. */
function endOfLife(ttlMs: number | undefined, nowMs: number, latestMs = Number.MAX_SAFE_INTEGER): number {
  return ttlMs === undefined ? Math.min(nowMs + LIMITS.tokenTtlMsMax, latestMs) : nowMs + ttlMs;
}

function limitReached(core: LedgerCore, parent: TokenRecord | undefined): Refusal | undefined {
  const { tokensMax, tokensPerFamilyMax } = core.limits;
  if (core.store.countTokens() >= tokensMax) {
    return refuse("LIMIT_EXCEEDED", `At most ${tokensMax} tokens per tenant`);
  }
  return parent !== undefined && core.store.countTokens(familyOf(parent.tokenId)) >= tokensPerFamilyMax
    ? refuse("LIMIT_EXCEEDED", `At most ${tokensPerFamilyMax} tokens may come from one that was issued`)
    : undefined;
}

/**
 * Begins a token's life anew, also after it has expired, by whoever made it. Its cap goes on counting where it stood; its
 * earlier text ends when it says. 2 rows.
 */
export function renewToken(core: LedgerCore, tokenId: string, input: unknown, turn: Turn): Reply<TokenBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, { schema: renewTokenSchema, input });
    if (!admitted.ok) return admitted;
    const { principal, request, tenant } = admitted;
    const token = core.store.readToken(tokenId);
    if (token === undefined) return notFound(core, tokenId);
    if (!isIssuer(principal, token)) return refuse("FORBIDDEN", "Only who issued the token may renew it");
    const bounds = principal.token === undefined ? boundsOfKey(core, principal) : undefined;
    if (bounds?.ok === false) return bounds;
    const halted = changeRefusal(core, tenant, turn);
    if (halted !== undefined) return halted;
    const name = tokenNameOf(core.tenant, tokenId);
    if (statusOfToken(core.store, token, nowMs) === "REVOKED") {
      return refuse("KEY_REVOKED", `Token already revoked: ${name}`);
    }
    const parent = core.store.readToken(token.ancestors.at(-1) ?? "");
    const latestMs = parent?.expiresAtMs;
    const expiresAtMs = endOfLife(request.ttl_ms, nowMs, latestMs);
    if (latestMs !== undefined && expiresAtMs > latestMs) {
      const message = `ttl_ms must not be wider than what issued the token: it ends at ${latestMs}`;
      return refuse("FORBIDDEN", message, { field: "ttl_ms" });
    }
    if (expiresAtMs <= nowMs) return refuse("KEY_EXPIRED", `What issued the token has expired: ${name}`);
    const renewed = { ...token, expiresAtMs };
    core.store.updateToken(renewed);
    record(core, turn, nowMs, renewed, { operation: "renewToken" });
    const body = bodyNow(core, renewed, nowMs);
    forgetTokens(core, nowMs, LIMITS.tokensLookedAtPerTurn);
    return body;
  });
}

/**
 * Ends a token and all that were narrowed from it, at their next call and for ever. What they hold can be settled with
 * the tenant's keys, or expires. Revoking again answers the same. 2 rows.
 */
export function revokeToken(core: LedgerCore, tokenId: string, query: unknown, turn: Turn): Reply<TokenBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, { schema: revokeTokenSchema, input: query });
    if (!admitted.ok) return admitted;
    const token = core.store.readToken(tokenId);
    if (token === undefined) return notFound(core, tokenId);
    if (!maySee(admitted.principal, token))
      return refuse("FORBIDDEN", "Only who issued the token may revoke it");
    if (token.revokedAtMs !== undefined) return bodyNow(core, token, nowMs);
    const revoked = { ...token, revokedAtMs: nowMs };
    core.store.updateToken(revoked);
    const { reason } = admitted.request;
    const metadata = reason === undefined ? {} : { reason };
    record(core, turn, nowMs, revoked, { operation: "revokeToken", metadata });
    return bodyNow(core, revoked, nowMs);
  });
}

/**
 * The tokens that the caller may see, in the order of their ids: families stay together. A call looks at a bounded number,
 * so a page may be short and yet have a next one.
 */
export function listTokens(core: LedgerCore, query: unknown, turn: Turn): Reply<TokenListBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, { schema: tokenListSchema, input: query });
    if (!admitted.ok) return admitted;
    const { limit, cursor, ...filters } = admitted.request;
    const position = readCursor(cursor, filters);
    if (position === null) return refuseCursor();
    const { principal } = admitted;
    const family = principal.token === undefined ? "" : familyOf(principal.token.tokenId);
    const shown: TokenRecord[] = [];
    let looked = 0;
    let last: TokenRecord | undefined;
    let hasMore = false;
    for (const token of tokensAfter(core, position?.[0] ?? family)) {
      if (!token.tokenId.startsWith(family)) break;
      hasMore = shown.length === limit || looked === LIMITS.listRowsMax;
      if (hasMore) break;
      const isWanted =
        maySee(principal, token) &&
        (filters.status === undefined || filters.status === statusOfToken(core.store, token, nowMs));
      if (isWanted) shown.push(token);
      last = token;
      looked += 1;
    }
    const bodies: TokenBody[] = [];
    for (const token of shown) {
      const body = bodyNow(core, token, nowMs);
      if (!body.ok) return body;
      bodies.push(body.body);
    }
    return succeed({
      tokens: bodies,
      ...(hasMore && last !== undefined && { next_cursor: writeCursor([last.tokenId], filters) }),
      has_more: hasMore,
    });
  });
}

function* tokensAfter(core: LedgerCore, start: string): Iterable<TokenRecord> {
  let after = start;
  for (;;) {
    const rows = core.store.readTokensAfter(after, LIMITS.adminPageRowsMax);
    yield* rows;
    const last = rows[rows.length - 1];
    if (last === undefined) return;
    after = last.tokenId;
  }
}

/** Who made a token: the key that issued it, or the holder of the one it was narrowed from. */
function isIssuer({ keyId, token: own }: Principal, { ancestors, keyId: issuer }: TokenRecord): boolean {
  if (own !== undefined) return ancestors.at(-1) === own.tokenId;
  return keyId === undefined || (keyId === issuer && ancestors.length === 0);
}

/** A holder sees its own token and those that came from it; a key all that came from its own; others everything. */
function maySee(
  { keyId, token: own }: Principal,
  { tokenId, ancestors, keyId: issuer }: TokenRecord,
): boolean {
  if (own !== undefined) return tokenId === own.tokenId || ancestors.includes(own.tokenId);
  return keyId === undefined || keyId === issuer;
}

/** Looks at a few tokens, each time the next ones, and deletes those that ended long ago and hold nothing. */
export function forgetTokens(core: LedgerCore, nowMs: number, tokensMax: number): void {
  const tokens = core.store.readTokensAfter(core.tokensSeenTo, tokensMax);
  for (const token of tokens) {
    if (isForgettable(token, nowMs, RETENTION.tokenMs)) forget(core, token);
  }
  core.tokensSeenTo = tokens.length < tokensMax ? "" : (tokens[tokens.length - 1]?.tokenId ?? "");
}

function forget(core: LedgerCore, { tokenId, unit }: TokenRecord): void {
  const key = { scope: capScopeOf(tokenId), unit };
  if (core.hasHold(key)) return;
  core.store.deleteToken(tokenId);
  core.store.deleteAccount(key);
}

/** All of them: their tenant is closed, and what they held was released. */
export function forgetAllTokens(core: LedgerCore): void {
  for (const { tokenId, unit } of [...tokensAfter(core, "")]) {
    core.store.deleteToken(tokenId);
    core.store.deleteAccount({ scope: capScopeOf(tokenId), unit });
  }
}

function notFound(core: LedgerCore, tokenId: string): Refusal {
  return refuse("NOT_FOUND", `Token not found: ${tokenNameOf(core.tenant, tokenId)}`);
}

function record(
  core: LedgerCore,
  turn: Turn,
  nowMs: number,
  token: TokenRecord,
  entry: { readonly operation: string; readonly status?: number; readonly metadata?: JsonObject },
): void {
  recordAudit(core, turn, nowMs, {
    ...entry,
    resourceType: "token",
    resourceId: tokenNameOf(core.tenant, token.tokenId),
    tenantMay: true,
    ...(entry.status === 201 && { amount: { unit: token.unit, amount: token.cap } }),
  });
}

/** A token with its cap as it stands now: what has expired is not held any more. */
function bodyNow(core: LedgerCore, token: TokenRecord, nowMs: number): Reply<TokenBody> {
  const accounts = core.store.readAccounts([capScopeOf(token.tokenId)], token.unit);
  const settled = settledRows(core, accounts, nowMs);
  if (!settled.ok) return settled;
  const [account] = settled.rows;
  if (account === undefined) throw new Error(`ledger: ${CAP_SCOPES}${token.tokenId} has no account`);
  return succeed(tokenBody(core, token, account, nowMs));
}

function tokenBody(core: LedgerCore, token: TokenRecord, account: AccountRecord, nowMs: number): TokenBody {
  const { unit } = token;
  const amount = (value: bigint) => ({ unit, amount: value });
  return {
    token_id: tokenNameOf(core.tenant, token.tokenId),
    tenant_id: core.tenant,
    status: statusOfToken(core.store, token, nowMs),
    scope: token.scope,
    permissions: token.permissions,
    cap: amount(token.cap),
    spent: amount(account.spent),
    reserved: amount(account.reserved),
    remaining: amount(core.arithmetic.remaining(account)),
    ...(token.maxPerOperation !== undefined && { max_per_operation: amount(token.maxPerOperation) }),
    ...(token.allowedOrigins !== undefined && { allowed_origins: token.allowedOrigins }),
    ...(token.name !== undefined && { name: token.name }),
    ancestors: token.ancestors.map((id) => tokenNameOf(core.tenant, id)),
    ...(token.keyId !== undefined && { key_id: apiKeyIdOf(core.tenant, token.keyId) }),
    created_at_ms: token.createdAtMs,
    expires_at_ms: token.expiresAtMs,
    ...(token.revokedAtMs !== undefined && { revoked_at_ms: token.revokedAtMs }),
  };
}
