// A reservation of tokens: the handle that one model call carries from its reserve to its settlement.
// Invariant: its estimate is given back at most once, and never after it was settled. Who may call: any holder of it.
// Source: seed rig-compose, TokenReservation.

import { checkAmount } from "../arguments.ts";
import { DISPOSE } from "../dispose.ts";
import type { Counter } from "./counter.ts";

/** Gives a reservation's whole estimate back to the budget that it came from. Must tolerate being too late. */
export type Refund = (reservation: TokenReservation) => void;

/**
 * Disposing a reservation that was not settled cancels it: the whole estimate goes back, once.
 *
 * @example
 * using reservation = budget.tryReserveTokens(1_200);
 * if (reservation === null) return;
 * const answer = await model.call(prompt);
 * budget.recordUsage(reservation, answer.promptTokens, answer.completionTokens);
 */
export class TokenReservation implements Disposable {
  /** Tokens that were taken out for this call. */
  readonly estimate: number;
  #refund: Refund | null;
  // What follows is for the counters of this folder: of one class and one shape, a reservation is made three times as
  // fast as an object of a derived class.
  /** @internal Which counter granted it. */
  readonly counter: Counter | null;
  /** @internal In a kernel: its hold's ticket. In a local counter: the epoch it was taken in, 0 once it has ended. */
  ticket: number;
  /** @internal Its hold's slot. */
  readonly slot: number;
  /** @internal Who made it. */
  readonly owner: number;

  /** For implementations of TokenBudget. `refund` is called at most once, and again only if it threw. */
  constructor(estimate: number, refund: Refund);
  /** @internal */
  constructor(
    estimate: number,
    refund: Refund,
    counter: Counter,
    ticket: number,
    slot?: number,
    owner?: number,
  );
  constructor(
    estimate: number,
    refund: Refund,
    counter: Counter | null = null,
    ticket = 0,
    slot = 0,
    owner = 0,
  ) {
    checkAmount("estimate", estimate);
    this.estimate = estimate;
    this.#refund = refund;
    this.counter = counter;
    this.ticket = ticket;
    this.slot = slot;
    this.owner = owner;
  }

  /** Whether disposing would give the estimate back, as far as this handle knows. */
  get armed(): boolean {
    return this.#refund !== null;
  }

  /**
   * Takes over the refund: from here on disposing does nothing. Implementations of `recordUsage` disarm before they
   * settle, or the estimate would be credited twice.
   *
   * @returns a function that cancels the reservation, or null if it was disarmed or settled before
   */
  disarm(): (() => void) | null {
    const refund = this.#refund;
    this.#refund = null;
    return refund === null ? null : () => refund(this);
  }

  /** @internal Somebody settled it, or found it ended: there is nothing to give back any more. */
  settled(): void {
    this.#refund = null;
  }

  /**
   * Gives the whole estimate back, once; if that fails, it can be tried again. A settled or disarmed reservation is left as
   * it is.
   */
  cancel(): void {
    const refund = this.#refund;
    if (refund === null) return;
    this.#refund = null;
    try {
      refund(this);
    } catch (error) {
      this.#refund = refund;
      throw error;
    }
  }

  [DISPOSE](): void {
    this.cancel();
  }
}
