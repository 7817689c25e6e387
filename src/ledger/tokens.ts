// Tokens: a part of what a key may do, given to somebody who is not trusted with the key. Here is what a token is: its id,
// its cap, and when one is no wider than what it was made from. Invariant: each token's cap is an account on the path of all
// that is reserved or charged with it or with a token narrowed from it, so the kernel's arithmetic keeps every cap, and
// counts a spend once in each. Pure. Who may call: the ledger.

import { type Refusal, refuse } from "./codes.ts";
import { hex } from "./digest.ts";
import { LIMITS } from "./limits.ts";
import type { Amount } from "./schema.ts";
import { isWithinScope, passesScopeFilter } from "./scope.ts";
import type { TokenRecord, TokenTerms } from "./store.ts";

/** Ids of one family, a token and all narrowed from it, begin alike. */
const FAMILY_BYTES = 8;
const FAMILY_LENGTH = FAMILY_BYTES * 2;
/** Random bytes that a new token's id needs: 64 bits tell families apart, and as many the members of one. */
export const TOKEN_RANDOM_BYTES = FAMILY_BYTES * 2;

const TOKEN_NAME = /^([a-z0-9-]{3,64})_([0-9a-f]{32})$/;
/** No level of a scope begins like this, and it sorts after all of them. */
export const CAP_SCOPES = "x-token:";

/** What a token lets its holder do, once its row and those it came from were found to stand. */
export interface TokenGrant extends Pick<TokenTerms, "scope" | "unit" | "maxPerOperation" | "ancestors"> {
  readonly tokenId: string;
}

/** A token's name on the wire. It carries the tenant, so that whoever holds it needs no directory of tokens. */
export function tokenNameOf(tenant: string, tokenId: string): string {
  return `${tenant}_${tokenId}`;
}

/** The parts of such a name; `undefined` for a text that is none. */
export function parseTokenName(
  text: string,
): { readonly tenant: string; readonly tokenId: string } | undefined {
  const [, tenant, tokenId] = TOKEN_NAME.exec(text) ?? [];
  return tenant === undefined || tokenId === undefined ? undefined : { tenant, tokenId };
}

/** The id of a new token, in the family of the one it is narrowed from. */
export function newTokenId(random: Uint8Array, parentId?: string): string {
  if (random.length !== TOKEN_RANDOM_BYTES) {
    throw new RangeError(`random: must hold ${TOKEN_RANDOM_BYTES} bytes, got ${random.length}`);
  }
  const id = hex(random);
  return parentId === undefined ? id : familyOf(parentId) + id.slice(FAMILY_LENGTH);
}

/** What the ids of a token's whole family begin with. */
export function familyOf(tokenId: string): string {
  return tokenId.slice(0, FAMILY_LENGTH);
}

/** The scope of the account that counts a token's cap. */
export function capScopeOf(tokenId: string): string {
  return CAP_SCOPES + tokenId;
}

export function isCapScope(scope: string): boolean {
  return scope.startsWith(CAP_SCOPES);
}

/** The caps that everything done with a token is charged to: its ancestors', the first one first, and its own. */
export function capScopesOf(token: Pick<TokenGrant, "tokenId" | "ancestors"> | undefined): readonly string[] {
  return token === undefined ? [] : [...token.ancestors, token.tokenId].map(capScopeOf);
}

/**
 * Idempotency keys of a token's holder are its own: what it was answered before, and nothing that others asked under the
 * same key. Without a token, keys are the whole tenant's.
 */
export function ownKey(token: TokenGrant | undefined, key: string): string {
  return token === undefined ? key : `${capScopeOf(token.tokenId)} ${key}`;
}

/** What a request calls an amount. A lease's has its unit beside it. */
export type AmountMember = "estimate" | "actual" | "want";

export function unitFieldOf(member: AmountMember): string {
  return member === "want" ? "unit" : `${member}.unit`;
}

/** Why a token does not cover an amount that is asked for at once, if so. */
export function refuseAmount(
  token: TokenGrant | undefined,
  member: AmountMember,
  { unit, amount }: Amount,
): Refusal | undefined {
  if (token === undefined) return undefined;
  if (unit !== token.unit) {
    const message = `${unitFieldOf(member)} must be ${token.unit}, the token's unit, got ${unit}`;
    return refuse("UNIT_MISMATCH", message, { requested_unit: unit, expected_units: [token.unit] });
  }
  if (token.maxPerOperation === undefined || amount <= token.maxPerOperation) return undefined;
  return refuse(
    "FORBIDDEN",
    `The token allows at most ${token.maxPerOperation} per operation, got ${amount}`,
  );
}

/** What a new token is measured by: what its issuer may do. A member that is absent bounds nothing. */
export interface Bounds extends Partial<Omit<TokenTerms, "ancestors" | "keyId" | "name">> {
  readonly scopeFilter?: readonly string[] | undefined;
  readonly expiresAtMs?: number | undefined;
  readonly depth: number;
}

/** The first way in which a token would be wider than what it is made from. Nothing is ever cut to fit. */
export function refuseWider(
  token: Omit<TokenTerms, "ancestors">,
  expiresAtMs: number,
  bounds: Bounds,
): Refusal | undefined {
  const wider = (field: string, rule: string): Refusal =>
    refuse("FORBIDDEN", `${field} must not be wider than what issues the token: ${rule}`, { field });
  const missing = token.permissions.find((it) => bounds.permissions?.includes(it) === false);
  const foreign = (token.allowedOrigins ?? [undefined]).find((it) => !isAllowed(it, bounds.allowedOrigins));
  if (bounds.scope !== undefined && !isWithinScope(token.scope, bounds.scope))
    return wider("scope", `${token.scope} is not within ${bounds.scope}`);
  if (!passesScopeFilter(token.scope, bounds.scopeFilter))
    return wider("scope", `the API key's scope filter does not include ${token.scope}`);
  if (missing !== undefined) return wider("permissions", `it lacks ${missing}`);
  if (bounds.unit !== undefined && token.unit !== bounds.unit)
    return wider("cap", `its unit is ${bounds.unit}, got ${token.unit}`);
  if (bounds.cap !== undefined && token.cap > bounds.cap)
    return wider("cap", `at most ${bounds.cap}, got ${token.cap}`);
  if (isMore(token.maxPerOperation, bounds.maxPerOperation))
    return wider("max_per_operation", `at most ${bounds.maxPerOperation}, got ${token.maxPerOperation}`);
  if (bounds.allowedOrigins !== undefined && (token.allowedOrigins === undefined || foreign !== undefined))
    return wider("allowed_origins", `only ${bounds.allowedOrigins.join(", ")}`);
  if (bounds.expiresAtMs !== undefined && expiresAtMs > bounds.expiresAtMs)
    return wider("ttl_ms", `it ends at ${bounds.expiresAtMs}`);
  if (bounds.depth >= LIMITS.tokenDepthMax)
    return refuse("FORBIDDEN", `Tokens are narrowed at most ${LIMITS.tokenDepthMax - 1} times`);
  return undefined;
}

function isAllowed(origin: string | undefined, allowed: readonly string[] | undefined): boolean {
  return allowed === undefined || (origin !== undefined && allowed.includes(origin));
}

/** Whether a bound that may be absent, for none, is above another such. */
function isMore(bound: bigint | undefined, than: bigint | undefined): boolean {
  return than !== undefined && (bound === undefined || bound > than);
}

/** Whether nothing of a token can matter any more, but for what it may still hold. */
export function isForgettable({ expiresAtMs }: TokenRecord, nowMs: number, keptMs: number): boolean {
  return expiresAtMs + keptMs < nowMs;
}
