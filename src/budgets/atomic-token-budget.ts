// Tokens: reserve an estimate, settle with the usage, remember what went beyond.
// Invariant, at rest: capacity = available + held + consumedInEpoch − debt. Each reservation is settled at most once,
// from whichever thread. Source: seed rig-compose, AtomicTokenBudget. Mended: overage becomes debt and is not
// forgotten; a reservation from before a refill never credits the new epoch.

import { checkAmount, checkInteger, invalidType, isAmount } from "../arguments.ts";
import { BudgetOverflowError, ReservationSettledError } from "../errors.ts";
import { OWNERS_MAX, TICKET_MAX } from "../kernel/generated/abi.ts";
import * as Figure from "../kernel/generated/Figure.ts";
import * as Kind from "../kernel/generated/Kind.ts";
import * as Status from "../kernel/generated/Status.ts";
import { type AmountRange, checkRange } from "./amount-range.ts";
import { type BudgetOptions, CountedBudget } from "./kernel-budget.ts";
import { KernelCounter } from "./kernel-counter.ts";
import { TokenReservation } from "./token-reservation.ts";
import type { TokenBudget } from "./traits.ts";

/** A reservation as plain data, to be posted to another thread and taken up there by `adopt`. */
export interface ReservationTicket {
  readonly slot: number;
  readonly owner: number;
  readonly ticket: number;
  readonly estimate: number;
}

export interface ReserveOptions {
  /** When `expire(nowMs)` may give it back, in ms of that clock; integer, 1 … 2^53−1. Default: never. */
  readonly expiresAtMs?: number;
}

/**
 * The tokens of one or many agents, shared by every thread that opens its name; private without one. Every answer is
 * synchronous.
 *
 * Usage below the estimate goes back, repaying debt first. Usage above it is taken from what is available, and the
 * rest becomes debt; while there is debt nothing is granted.
 *
 * @example
 * const budget = new AtomicTokenBudget(100_000, { kernel, name: "agents" });
 * const answer = await withTokens(budget, 1_200, async () => {
 *   const reply = await model.call(prompt);
 *   return { result: reply.text, promptTokens: reply.usage.input, completionTokens: reply.usage.output };
 * });
 */
export class AtomicTokenBudget extends CountedBudget implements TokenBudget {
  /**
   * @param capacity - tokens; safe integer, 0 … 2^53−1; the budget begins full
   * @param options - without `credit`: it would save little, since reserving and settling mostly move a hold, and debt
   * would have to call in every thread's slice
   * @throws RangeError, TypeError for a bad argument
   * @throws BudgetMismatchError if the name is taken by a budget of another kind or capacity
   * @throws KernelFullError if the kernel has no slot left
   */
  constructor(capacity: number, options: BudgetOptions & { readonly credit?: never } = {}) {
    super(Kind.Tokens, capacity, options);
  }

  /** What was spent beyond the budget and not yet repaid. */
  get debt(): number {
    return this.counter.figure(Figure.Debt);
  }

  /** What open reservations of this epoch have taken. In a kernel it looks at every hold. */
  get held(): number {
    return this.counter.held();
  }

  /** How many reservations are open, of any epoch. In a kernel it looks at every hold. */
  get openReservations(): number {
    return this.counter.open();
  }

  /** What this epoch's capacity has paid for, debt from before included. */
  get consumedInEpoch(): number {
    return this.capacity - this.available - this.held + this.debt;
  }

  /**
   * Takes `estimate` tokens if they fit and there is no debt; of a range as many as fit.
   *
   * @param estimate - safe integer, 0 … 2^53−1; or a range, and then the reservation's `estimate` says what was granted
   * @returns null when they do not fit; nothing has changed then
   * @throws KernelFullError if every hold of the kernel is taken
   */
  tryReserveTokens(estimate: number | AmountRange, options?: ReserveOptions): TokenReservation | null {
    const isOne = isAmount(estimate);
    if (!isOne) checkRange("estimate", estimate);
    const expiresAtMs = options?.expiresAtMs;
    if (expiresAtMs !== undefined) checkInteger("expiresAtMs", expiresAtMs, 1, Number.MAX_SAFE_INTEGER);
    return isOne
      ? this.counter.reserve(estimate, expiresAtMs ?? 0)
      : this.counter.reserveFit(estimate, expiresAtMs ?? 0);
  }

  /**
   * Settles a reservation with what the provider reports.
   *
   * @param promptTokens - safe integer, 0 … 2^53−1, and so is the sum of both
   * @throws ReservationSettledError if it was settled, cancelled, expired or reclaimed before; nothing changes then
   * @throws BudgetOverflowError if all consumption together would exceed 2^53−1; it stays open then
   */
  recordUsage(reservation: TokenReservation, promptTokens: number, completionTokens: number): void {
    checkAmount("promptTokens", promptTokens);
    checkAmount("completionTokens", completionTokens);
    checkAmount("promptTokens + completionTokens", promptTokens + completionTokens);
    this.#checkOwn(reservation);
    const status = this.counter.settle(reservation, promptTokens + completionTokens);
    if (status === Status.Ok) return;
    this.counter.figure(Figure.Consumed); // a removed budget says so: its reservations ended with it
    if (status === Status.Overflow) throw new BudgetOverflowError("what the budget has consumed");
    throw new ReservationSettledError();
  }

  /**
   * Gives back what expires at or before `nowMs`, in the clock that set `expiresAtMs`. For a budget in a kernel this is
   * `kernel.expire(nowMs)`, which serves all the kernel's budgets. @returns how many reservations that were
   */
  expire(nowMs: number): number {
    checkAmount("nowMs", nowMs);
    return this.counter.expire(nowMs);
  }

  /** All tokens consumed since the budget was made, over every epoch. */
  tokensConsumed(): number {
    return this.counter.figure(Figure.Consumed);
  }

  /**
   * A reservation that another thread of this kernel made and described with `toTicket`. It stays the maker's: when that
   * thread closes the kernel or is reclaimed, the reservation goes with it.
   */
  adopt(ticket: ReservationTicket): TokenReservation {
    const counter = this.#shared();
    const { slot, owner, ticket: number, estimate } = ticket;
    checkInteger("ticket.slot", slot, 0, counter.kernel.holds - 1);
    checkInteger("ticket.owner", owner, 1, OWNERS_MAX);
    checkInteger("ticket.ticket", number, 1, TICKET_MAX);
    checkAmount("ticket.estimate", estimate);
    return counter.adopt(estimate, number, slot, owner);
  }

  /**
   * The plain data of one of this budget's reservations, to be posted to another thread.
   * @throws TypeError if the budget is private: no thread can take it up
   */
  toTicket(reservation: TokenReservation): ReservationTicket {
    this.#shared();
    this.#checkOwn(reservation);
    const { slot, owner, ticket, estimate } = reservation;
    return { slot, owner, ticket, estimate };
  }

  protected override outstanding(): { spent: number; held: number; debt: number } {
    return { spent: this.consumedInEpoch, held: this.held, debt: this.debt };
  }

  /** One made through this object, or another one that opened the same budget. */
  #checkOwn(reservation: unknown): asserts reservation is TokenReservation {
    if (reservation instanceof TokenReservation && this.counter.owns(reservation)) return;
    throw invalidType("reservation", "a TokenReservation of this budget", reservation);
  }

  #shared(): KernelCounter {
    if (this.counter instanceof KernelCounter) return this.counter;
    throw invalidType("budget", "one with a name or a kernel, which other threads can open", this);
  }
}
