// What a budget is to its users, whatever stands behind it. Implementations may answer at once or with a promise.
// Source: seed rig-compose, traits BudgetGuard and TokenBudget.

import type { Denial } from "../denial.ts";
import type { AmountRange } from "./amount-range.ts";
import type { TokenReservation } from "./token-reservation.ts";

/** A value that is here, or that will be. Awaiting it is always right. */
export type Awaitable<T> = T | PromiseLike<T>;

/** Symmetric reserve and release of a cost that is known beforehand: rows, requests, queue slots. */
export interface BudgetGuard {
  /**
   * Takes `cost` if it fits.
   * @param cost - in the budget's unit; safe integer, 0 … 2^53−1
   * @returns false when it does not fit: a normal answer, after which nothing has changed
   */
  tryReserve(cost: number): Awaitable<boolean>;
  /**
   * Takes as much as fits of a range.
   * @returns what was taken; null when less than `min` fits: a normal answer, after which nothing has changed
   */
  tryReserve(range: AmountRange): Awaitable<number | null>;
  /** Gives `cost` back. */
  release(cost: number): Awaitable<void>;
}

/** Tokens burned by model calls: an estimate is reserved before the call and settled with its usage afterwards. */
export interface TokenBudget {
  /**
   * Takes `estimate` prompt and completion tokens if they fit; of a range as many as fit, so that a caller can clamp its
   * call to what it got instead of failing.
   * @param estimate - tokens; safe integer, 0 … 2^53−1; or a range, and then the reservation's `estimate` is the grant
   * @returns null when they do not fit: a normal answer, after which nothing has changed
   */
  tryReserveTokens(estimate: number | AmountRange): Awaitable<TokenReservation | null>;
  /**
   * Settles one reservation with what the provider reports.
   * @throws ReservationSettledError if it was settled before; nothing changes then
   */
  recordUsage(reservation: TokenReservation, promptTokens: number, completionTokens: number): Awaitable<void>;
  /** All tokens consumed since the budget was made. May be late. */
  tokensConsumed(): Awaitable<number>;
}

/** A budget that can say why it refuses, and what to do. */
export interface ExplainsDenial {
  /** Why `amount` does not fit now. May be late: figures move on after the refusal. */
  explainDenial(amount: number): Denial;
}
