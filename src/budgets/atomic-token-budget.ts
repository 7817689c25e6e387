// Tokens in the kernel: reserve an estimate, settle with the usage, remember what went beyond.
// Invariant, at rest: capacity = available + held + consumedInEpoch − debt. Each reservation is settled at most once,
// from whichever thread. Source: seed rig-compose, AtomicTokenBudget. Mended: overage becomes debt and is not
// forgotten; a reservation from before a refill never credits the new epoch.

import { checkAmount, checkInteger, invalidType } from "../arguments.ts";
import { BudgetOverflowError, ReservationSettledError } from "../errors.ts";
import { Figure, Kind, OWNERS_MAX, Status, TICKET_MAX } from "../kernel/generated/abi.ts";
import { type BudgetOptions, KernelBudget } from "./kernel-budget.ts";
import { type Refund, TokenReservation } from "./token-reservation.ts";
import type { TokenBudget } from "./traits.ts";

/** A reservation as plain data, to be posted to another thread and taken up there by `adopt`. */
export interface ReservationTicket {
  readonly slot: number;
  readonly owner: number;
  readonly ticket: number;
  readonly estimate: number;
}

export interface ReserveOptions {
  /** When `kernel.expire(nowMs)` may give it back, in ms of that clock; integer, 1 … 2^53−1. Default: never. */
  readonly expiresAtMs?: number;
}

/**
 * The tokens of one or many agents, shared by every thread that opens its name. Every answer is synchronous.
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
export class AtomicTokenBudget extends KernelBudget implements TokenBudget {
  /** One function for all reservations, so that reserving allocates nothing but the handle. */
  readonly #refund = (reservation: TokenReservation): void => {
    if (reservation instanceof KernelReservation) this.#settle(reservation, 0);
  };

  /**
   * @param capacity - tokens; safe integer, 0 … 2^53−1; the budget begins full
   * @throws RangeError, TypeError for a bad argument
   * @throws BudgetMismatchError if the name is taken by a budget of another kind or capacity
   * @throws KernelFullError if the kernel has no slot left
   */
  constructor(capacity: number, options: BudgetOptions = {}) {
    super(Kind.Tokens, capacity, options);
  }

  /** What was spent beyond the budget and not yet repaid. */
  get debt(): number {
    return this.figure(Figure.Debt);
  }

  /** What open reservations of this epoch have taken. Looks at every hold of the kernel. */
  get held(): number {
    return this.#counted(this.kernel.exports.heldAmount(this.handle));
  }

  /** How many reservations are open, of any epoch. Looks at every hold of the kernel. */
  get openReservations(): number {
    return this.#counted(this.kernel.exports.heldCount(this.handle));
  }

  /** What this epoch's capacity has paid for, debt from before included. */
  get consumedInEpoch(): number {
    return this.capacity - this.available - this.held + this.debt;
  }

  /**
   * Takes `estimate` tokens if they fit and there is no debt.
   *
   * @param estimate - safe integer, 0 … 2^53−1
   * @returns null when they do not fit; nothing has changed then
   * @throws KernelFullError if every hold of the kernel is taken
   */
  tryReserveTokens(estimate: number, options?: ReserveOptions): TokenReservation | null {
    checkAmount("estimate", estimate);
    let expiresAtMs = 0;
    if (options?.expiresAtMs !== undefined) {
      checkInteger("expiresAtMs", options.expiresAtMs, 1, Number.MAX_SAFE_INTEGER);
      expiresAtMs = options.expiresAtMs;
    }
    const { kernel } = this;
    const ticket = kernel.nextTicket();
    const hint = kernel.slotHint();
    const slot = kernel.exports.holdReserve(this.handle, estimate, kernel.owner, ticket, expiresAtMs, hint);
    if (slot >= 0) return new KernelReservation(this, slot, kernel.owner, ticket, estimate, this.#refund);
    kernel.slotFreed(hint);
    if (slot === -Status.Exceeds || slot === -Status.InDebt) return null;
    throw this.failure(-slot);
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
    const status = this.#settle(this.#own(reservation), promptTokens + completionTokens);
    if (status === Status.NotHeld) {
      this.figure(Figure.Consumed); // a removed budget says so: its reservations ended with it
      throw new ReservationSettledError();
    }
    if (status === Status.Overflow) throw new BudgetOverflowError("what the budget has consumed");
    this.expectOk(status);
  }

  /** All tokens consumed since the budget was made, over every epoch. */
  tokensConsumed(): number {
    return this.figure(Figure.Consumed);
  }

  /**
   * A reservation that another thread of this kernel made and described with `toTicket`. It stays the maker's: when that
   * thread closes the kernel or is reclaimed, the reservation goes with it.
   */
  adopt(ticket: ReservationTicket): TokenReservation {
    checkInteger("ticket.slot", ticket.slot, 0, this.kernel.holds - 1);
    checkInteger("ticket.owner", ticket.owner, 1, OWNERS_MAX);
    checkInteger("ticket.ticket", ticket.ticket, 1, TICKET_MAX);
    checkAmount("ticket.estimate", ticket.estimate);
    return new KernelReservation(
      this,
      ticket.slot,
      ticket.owner,
      ticket.ticket,
      ticket.estimate,
      this.#refund,
    );
  }

  /** The plain data of one of this budget's reservations, to be posted to another thread. */
  toTicket(reservation: TokenReservation): ReservationTicket {
    const { slot, owner, ticket, estimate } = this.#own(reservation);
    return { slot, owner, ticket, estimate };
  }

  protected override outstanding(): { spent: number; held: number; debt: number } {
    return { spent: this.consumedInEpoch, held: this.held, debt: this.debt };
  }

  /** This budget's reservation: made through this object, or another one that opened the same budget. */
  #own(reservation: TokenReservation): KernelReservation {
    const isOwn =
      reservation instanceof KernelReservation &&
      reservation.budget.handle === this.handle &&
      reservation.budget.kernel.memory === this.kernel.memory;
    if (!isOwn) throw invalidType("reservation", "a TokenReservation of this budget", reservation);
    return reservation;
  }

  #settle(reservation: KernelReservation, actual: number): number {
    const { kernel } = this;
    const { slot, owner, ticket } = reservation;
    const status = kernel.settle(this.handle, slot, owner, ticket, actual);
    if (status === Status.Overflow) return status;
    if (status === Status.ForeignHold) {
      throw invalidType("reservation", "a TokenReservation of this budget", reservation);
    }
    reservation.disarm();
    if (status === Status.Ok) kernel.slotFreed(slot);
    return status;
  }

  #counted(value: number): number {
    if (value < 0) throw this.failure(-value);
    return value;
  }
}

/** A reservation whose truth is a hold of the kernel; this object only names it. */
class KernelReservation extends TokenReservation {
  readonly budget: AtomicTokenBudget;
  readonly slot: number;
  readonly owner: number;
  readonly ticket: number;

  constructor(
    budget: AtomicTokenBudget,
    slot: number,
    owner: number,
    ticket: number,
    estimate: number,
    refund: Refund,
  ) {
    super(estimate, refund);
    this.budget = budget;
    this.slot = slot;
    this.owner = owner;
    this.ticket = ticket;
  }
}
