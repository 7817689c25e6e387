// What a call to an authority throws: always an AuthorityError, told apart by `code`, never by class. Besides the codes of
// the wire (RESERVATION_EXPIRED, FORBIDDEN, …) there are five of our own, and each error says what is known of the
// outcome, which is what decides whether the call may be forgotten. Who may call: the ways to an authority.

import { PurserError } from "../errors.ts";
import type { ErrorCode } from "../ledger/codes.ts";
import type { JsonObject } from "../ledger/json.ts";
import type { AuthorityDenial, Figure } from "./authority.ts";

export type AuthorityErrorCode =
  | ErrorCode
  /** No answer: the connection failed, or the answer was a 5xx. */
  | "AUTHORITY_UNAVAILABLE"
  /** No answer in time. */
  | "AUTHORITY_TIMEOUT"
  /** An answer that the protocol does not know: no JSON, a field missing, a redirect, somebody else's error page. */
  | "AUTHORITY_ANSWER_INVALID"
  /** An event that may have been counted before, and whose key the authority may have forgotten: it is not sent again. */
  | "SPEND_UNDECIDABLE"
  /** An amount in the answer is outside ±(2^53−1). Open the authority with `exact: true`. */
  | "AMOUNT_UNSAFE";

/**
 * `refused`: nothing changed. `unknown`: it may have happened; only the same call with the same key will tell. `done`:
 * it happened, but the answer cannot be shown.
 */
export type CallOutcome = "refused" | "unknown" | "done";

export interface AuthorityFailure {
  readonly outcome: CallOutcome;
  /** The HTTP status, also of an answer that came by RPC. */
  readonly status?: number | undefined;
  readonly details?: JsonObject | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

export class AuthorityError extends PurserError {
  declare readonly code: AuthorityErrorCode;
  readonly outcome!: CallOutcome;
  readonly status: number | undefined;
  readonly details: JsonObject | undefined;
  readonly retryAfterMs: number | undefined;
  /** The key that the call was made with, to make it again; absent for reads. */
  readonly idempotencyKey: string | undefined;

  constructor(code: AuthorityErrorCode, message: string, failure: AuthorityFailure) {
    super(code, message);
    Object.assign(this, failure);
  }
}

/** What a scoped form rejects with when the authority says no. `denial` says why and what to do. */
export class AuthorityDeniedError extends PurserError {
  readonly denial: AuthorityDenial<Figure>;

  constructor(denial: AuthorityDenial<Figure>) {
    super("BUDGET_DENIED", `denied (${denial.code}): ${denial.message}`);
    this.denial = denial;
  }
}

/** Why a meter stopped a stream: what was held for it is used up, and there is no more to be had. */
export class BudgetExhaustedError extends PurserError {
  /** What the authority said to a further reservation; absent where it could not be asked: then `cause` says why. */
  readonly denial: AuthorityDenial<Figure> | undefined;

  constructor(figures: string, denial: AuthorityDenial<Figure> | undefined, cause: unknown) {
    const why = denial === undefined ? "" : ` (${denial.code}: ${denial.message})`;
    super("BUDGET_EXHAUSTED", `stopped: ${figures}, no more to be had${why}`);
    this.denial = denial;
    if (cause !== undefined) this.cause = cause;
  }
}

/** What a meter says that has ended, and whose stream did not fail by itself. */
export class MeterEndedError extends PurserError {
  readonly ending: string;

  constructor(ending: string) {
    super("METER_ENDED", `the stream is settled; its ending was "${ending}"`);
    this.ending = ending;
  }
}

export function invalidAnswer(
  rule: string,
  failure: Partial<AuthorityFailure> & { outcome: CallOutcome },
): AuthorityError {
  return new AuthorityError(
    "AUTHORITY_ANSWER_INVALID",
    `the authority's answer is invalid: ${rule}`,
    failure,
  );
}
