// Tokens from where they are given out: a server with a key issues them, and who holds one narrows it for others. Invariant:
// what is asked for goes out as it is, and the authority refuses what is wider; the text of a token is in the answer alone.
// Who may call: a server with an API key that may issue tokens; the holder of a token.

import { checkInteger, checkName } from "../arguments.ts";
import type { AmountInput, Unit } from "../ledger/schema.ts";
import type { CallOptions } from "./authority.ts";
import { invalidAnswer } from "./errors.ts";
import { pageOf } from "./from-wire.ts";
import {
  type HttpCall,
  type HttpOptions,
  httpTransport,
  queryText,
  type Transport,
} from "./http-transport.ts";
import * as CLIENT_LIMITS from "./limits/client.ts";
import {
  amountBy,
  amountIn,
  fieldsOf,
  givenOf,
  integerOf,
  membersOf,
  oneOf,
  safeFigure,
  textOf,
  textsOf,
} from "./members.ts";
import { errorOf } from "./refusals.ts";
import { type RetryOptions, type RetryPolicy, retryPolicy, withDeadline, withRetries } from "./retry.ts";
import { platformWith, type Surroundings } from "./surroundings.ts";
import { checkAmount } from "./to-wire.ts";
import type { WireFields } from "./wire-call.ts";

export interface TokenIssuerOptions extends HttpOptions, Surroundings {
  /** How long one try may take; 5,000 ms by default. */
  readonly timeoutMs?: number;
  readonly retry?: RetryOptions;
}

/** What a narrower token may do. What is left out is as its parent's. */
export interface TokenNarrowing {
  /** It acts on this scope, like `tenant:acme/agent:writer`, and those below. */
  readonly scope?: string;
  /** The most that may ever be spent with it and with all that are narrowed from it. 0 is zero. */
  readonly cap: AmountInput;
  readonly maxPerOperation?: AmountInput;
  readonly permissions?: readonly string[];
  readonly allowedOrigins?: readonly string[];
  /** At most, and by default, 15 minutes. */
  readonly ttlMs?: number;
  /** For lists. */
  readonly name?: string;
}

/** What a token may do. Permissions are by default those of the key. */
export interface TokenGrant extends TokenNarrowing {
  readonly scope: string;
}

/** A token, and where its cap stands. */
export interface TokenState {
  readonly tokenId: string;
  readonly status: "ACTIVE" | "REVOKED" | "EXPIRED";
  readonly scope: string;
  readonly unit: Unit;
  readonly permissions: readonly string[];
  readonly cap: number;
  readonly spent: number;
  readonly held: number;
  readonly remaining: number;
  readonly maxPerOperation?: number;
  readonly allowedOrigins?: readonly string[];
  readonly name?: string;
  /** The tokens it was narrowed from, the first one first. */
  readonly ancestors: readonly string[];
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
}

export interface IssuedToken extends TokenState {
  /** The text. Whoever has it may use it: hand it to one holder, keep it nowhere. */
  readonly token: string;
}

const PATH = "/v1/x-purser/tokens";

/**
 * @throws TypeError or RangeError as HttpAuthority does
 * @example
 * const issuer = new TokenIssuer({ baseUrl: "https://budgets.example.com", apiKey });
 * const { token } = await issuer.issue({ scope: "tenant:acme/agent:page", cap: { unit: "TOKENS", amount: 10_000 } });
 */
export class TokenIssuer {
  readonly #transport: Transport;
  readonly #timeoutMs: number;
  readonly #retry: RetryPolicy;
  readonly #surroundings: Required<Surroundings>;

  constructor(options: TokenIssuerOptions) {
    const { timeoutMs = CLIENT_LIMITS.timeoutMs, retry } = options;
    checkInteger("timeoutMs", timeoutMs, 1, CLIENT_LIMITS.timeoutMsMax);
    this.#transport = httpTransport(options).transport;
    this.#timeoutMs = timeoutMs;
    this.#retry = retryPolicy(retry);
    this.#surroundings = platformWith(options);
  }

  /** A new token, by an API key that may issue some. A try whose answer was lost leaves one that nobody has, for its life. */
  async issue(grant: TokenGrant, options?: CallOptions): Promise<IssuedToken> {
    return this.#ask({ path: PATH, body: bodyOf(grant) }, 201, options, issuedOf);
  }

  /** A narrower one, by a token: whatever would be wider is FORBIDDEN. */
  async attenuate(narrowing: TokenNarrowing, options?: CallOptions): Promise<IssuedToken> {
    return this.#ask({ path: `${PATH}/attenuate`, body: bodyOf(narrowing) }, 201, options, issuedOf);
  }

  /** The same token for longer, by whoever made it: a new text, and the cap where it stood. */
  async renew(
    tokenId: string,
    { ttlMs }: { readonly ttlMs?: number } = {},
    options?: CallOptions,
  ): Promise<IssuedToken> {
    return this.#ask({ path: `${pathOf(tokenId)}/renew`, body: { ttl_ms: ttlMs } }, 200, options, issuedOf);
  }

  /** Ends it and all that came from it, at their next call. */
  async revoke(tokenId: string, options?: CallOptions & { readonly reason?: string }): Promise<TokenState> {
    const path = pathOf(tokenId) + queryText({ reason: options?.reason });
    return this.#ask({ method: "DELETE", path }, 200, options, stateOf);
  }

  /** The tokens that came from this key, or from this token, fetched page by page. */
  async *tokens(
    query: { readonly status?: TokenState["status"] } = {},
    options?: CallOptions,
  ): AsyncGenerator<TokenState, void, undefined> {
    let cursor: string | undefined;
    do {
      const path = PATH + queryText({ ...query, cursor });
      const page = await this.#ask({ path }, 200, options, (body) => pageOf(body, "tokens", stateOf));
      yield* page.rows;
      if (page.next !== undefined && page.next === cursor) {
        throw invalidAnswer("next_cursor must go on, got the same one again", { outcome: "done" });
      }
      cursor = page.next;
    } while (cursor !== undefined);
  }

  #ask<T>(
    call: HttpCall,
    expected: number,
    { signal }: CallOptions = {},
    toValue: (body: WireFields) => T,
  ): Promise<T> {
    const attempt = async (signal: AbortSignal): Promise<T> => {
      signal.throwIfAborted();
      const answer = await this.#transport(call, { signal, keepalive: false });
      if (answer.status === expected) return toValue(fieldsOf(answer.body, "body"));
      throw errorOf({ operation: call.path }, answer);
    };
    return withRetries(
      () => withDeadline(attempt, this.#timeoutMs, this.#surroundings, signal),
      this.#retry,
      this.#surroundings,
      signal,
    );
  }
}

function pathOf(tokenId: string): string {
  checkName("tokenId", tokenId, CLIENT_LIMITS.reservationIdLengthMax);
  return `${PATH}/${encodeURIComponent(tokenId)}`;
}

function bodyOf(token: TokenNarrowing): WireFields {
  checkAmount("cap", token.cap);
  if (token.maxPerOperation !== undefined) checkAmount("maxPerOperation", token.maxPerOperation);
  return {
    scope: token.scope,
    cap: token.cap,
    max_per_operation: token.maxPerOperation,
    permissions: token.permissions,
    allowed_origins: token.allowedOrigins,
    ttl_ms: token.ttlMs,
    name: token.name,
  };
}

function issuedOf(body: WireFields): IssuedToken {
  return { ...stateOf(body), token: textOf(body, "token") };
}

const statusOf = oneOf(["ACTIVE", "REVOKED", "EXPIRED"]);

function stateOf(body: WireFields): TokenState {
  const { unit, amount: cap } = amountBy(safeFigure)(body, "cap");
  const figureOf = amountIn(unit, safeFigure);
  const { reserved: held, ...members } = membersOf(body, {
    tokenId: textOf,
    status: statusOf,
    scope: textOf,
    permissions: textsOf,
    spent: figureOf,
    reserved: figureOf,
    remaining: figureOf,
    ancestors: textsOf,
    createdAtMs: integerOf,
    expiresAtMs: integerOf,
  });
  const given = givenOf(body, { maxPerOperation: figureOf, allowedOrigins: textsOf, name: textOf });
  return { ...members, unit, cap, held, ...given };
}
