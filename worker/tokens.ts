// The text of tokens: signed here, and read here. Invariant: one algorithm, chosen by this file and never by a token; the
// signing keys follow from the deployment's hash secrets, the first signs and all verify, and a token names which one it was;
// a text that is not one of ours says nothing. What a token may do, the tenant's object knows (src/ledger/tokens.ts).
// Who may call: the HTTP front, to verify; TenantBudget, to sign.

import { errors, jwtVerify, SignJWT } from "jose";
import {
  type IssuedTokenBody,
  int64Text,
  parseTokenName,
  type TokenBody,
  type TokenCaller,
} from "purser/ledger";

const ALGORITHM = "HS256";
const TYPE = "purser+jwt";
const ISSUER = "purser";
/** Whom these are for: a Purser authority. A token of the same deployment for anybody else is none of these. */
const AUDIENCE = "purser";
const KEY_BITS = 256;
/** Enough to tell a handful of keys apart; not a secret. */
const KEY_ID_BITS = 64;

const TOKEN_TEXT = /^[\w-]+\.[\w-]+\.[\w-]+$/;
/** The longest legal token has about 3,600 characters. */
const TOKEN_LENGTH_MAX = 6_000;

export interface VerifiedToken {
  readonly tenant: string;
  readonly caller: TokenCaller;
}

export type TokenVerdict = VerifiedToken | "INVALID_KEY" | "KEY_EXPIRED";

interface SigningKey {
  readonly id: string;
  readonly key: CryptoKey;
}

/** Whether a text has the form of a token, which no API key has. */
export function looksLikeToken(text: string): boolean {
  return text.length <= TOKEN_LENGTH_MAX && TOKEN_TEXT.test(text);
}

export class TokenTexts {
  readonly #current: SigningKey;
  readonly #all: readonly SigningKey[];

  /** @param keys - the first one signs */
  constructor([current, ...others]: readonly [SigningKey, ...SigningKey[]]) {
    this.#current = current;
    this.#all = [current, ...others];
  }

  static async under([first, ...others]: readonly string[]): Promise<TokenTexts> {
    if (first === undefined) throw new RangeError("secrets: must hold at least one secret, got none");
    return new TokenTexts([await signingKeyOf(first), ...(await Promise.all(others.map(signingKeyOf)))]);
  }

  /** The body with its text. Claims tell the holder what it has; the authority reads the id and the tenant alone. */
  async sign(body: TokenBody): Promise<IssuedTokenBody> {
    const { id, key } = this.#current;
    const claims = {
      tenant: body.tenant_id,
      scope: body.scope,
      permissions: body.permissions,
      unit: body.cap.unit,
      // As text: a reader of JSON may round what is beyond 2^53.
      cap: int64Text(body.cap.amount),
      ...(body.max_per_operation && { max_per_operation: int64Text(body.max_per_operation.amount) }),
      ...(body.allowed_origins && { allowed_origins: body.allowed_origins }),
      ...(body.ancestors.length > 0 && { ancestors: body.ancestors }),
    };
    const token = await new SignJWT(claims)
      .setProtectedHeader({ alg: ALGORITHM, typ: TYPE, kid: id })
      .setIssuer(ISSUER)
      .setAudience(AUDIENCE)
      .setJti(body.token_id)
      .setIssuedAt(Math.floor(body.created_at_ms / 1000))
      // Whole seconds, and the row has the last word: not before it says so.
      .setExpirationTime(Math.ceil(body.expires_at_ms / 1000))
      .sign(key);
    return { ...body, token };
  }

  /** Whose token a text is, if this deployment signed it for itself and it has not expired. */
  async verify(text: string, nowMs: number): Promise<TokenVerdict> {
    try {
      const { payload } = await jwtVerify(text, ({ kid }) => this.#keyOf(kid), {
        algorithms: [ALGORITHM],
        typ: TYPE,
        issuer: ISSUER,
        audience: AUDIENCE,
        requiredClaims: ["exp", "jti", "tenant"],
        currentDate: new Date(nowMs),
      });
      const name = parseTokenName(payload.jti ?? "");
      if (name === undefined || name.tenant !== payload.tenant) return "INVALID_KEY";
      return { tenant: name.tenant, caller: { tokenId: name.tokenId } };
    } catch (error) {
      if (error instanceof errors.JWTExpired) return "KEY_EXPIRED";
      if (error instanceof errors.JOSEError) return "INVALID_KEY";
      throw error;
    }
  }

  #keyOf(id: string | undefined): CryptoKey {
    const found = this.#all.find((it) => it.id === id);
    if (found === undefined) throw new errors.JWKSNoMatchingKey();
    return found.key;
  }
}

/** HKDF with a purpose of its own, so that nothing else derived from the secret helps to sign. */
async function signingKeyOf(secret: string): Promise<SigningKey> {
  const encoder = new TextEncoder();
  const base = await crypto.subtle.importKey("raw", encoder.encode(secret), "HKDF", false, [
    "deriveBits",
    "deriveKey",
  ]);
  const derivation = (purpose: string) => ({
    name: "HKDF",
    hash: "SHA-256",
    salt: new Uint8Array(),
    info: encoder.encode(purpose),
  });
  const key = await crypto.subtle.deriveKey(
    derivation("purser:token-signing"),
    base,
    { name: "HMAC", hash: "SHA-256", length: KEY_BITS },
    false,
    ["sign", "verify"],
  );
  const id = await crypto.subtle.deriveBits(derivation("purser:token-key-id"), base, KEY_ID_BITS);
  return { id: hex(new Uint8Array(id)), key };
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
