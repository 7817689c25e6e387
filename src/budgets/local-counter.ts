// A budget that nobody but its own object can reach: plain numbers, decided by the one thread that has them. What cannot
// be shared needs no shared memory, and a number costs a tenth of a call into the kernel.
// Invariant: balance = capacity − out, a safe integer; below 0 it is debt. Held is the sum of the open reservations'
// estimates of this epoch. Each reservation ends once. So balance = capacity − held − consumed in this epoch.
// Who may call: the budgets of this folder; arguments were checked before.

import { BudgetOverflowError, BudgetRemovedError } from "../errors.ts";
import * as Figure from "../kernel/generated/Figure.ts";
import * as Status from "../kernel/generated/Status.ts";
import type { AmountRange } from "./amount-range.ts";
import type { Counter } from "./counter.ts";
import { TokenReservation } from "./token-reservation.ts";

const AMOUNT_MAX = Number.MAX_SAFE_INTEGER;

/** A sum of two amounts that no decision reads stops at the largest amount, as in the kernel. */
const saturated = (sum: number): number => Math.min(sum, AMOUNT_MAX);

export class LocalCounter implements Counter {
  readonly kernel = null;

  // Each begins as a number: a field that was undefined first makes V8 allocate a number at every later write.
  #capacity = 0;
  #balance = 0;
  /** A reservation's `ticket` is the epoch it was taken in, and 0 once it has ended. */
  #epoch = 1;
  #held = 0;
  #open = 0;
  #consumed = 0;
  #highWater = 0;
  #denied = 0;
  #overReleased = 0;
  #removed = false;
  /** Deadlines of the reservations that have one. Others are not kept: their objects are all there is of them. */
  readonly #deadlinesMs = new Map<TokenReservation, number>();

  /** One function for all reservations. */
  readonly #refund = (reservation: TokenReservation): void => {
    this.settle(reservation, 0);
  };

  constructor(capacity: number) {
    this.#capacity += capacity; // and −0 becomes 0
    this.#balance = this.#capacity;
  }

  take(amount: number): boolean {
    if (this.#removed) throw new BudgetRemovedError();
    // Also refuses 0 in debt.
    if (amount > this.#balance) {
      this.#denied++;
      return false;
    }
    this.#balance -= amount;
    this.#noteHighWater();
    return true;
  }

  fit(range: AmountRange): number | null {
    const amount = this.#amountIn(range);
    return this.take(amount) ? amount : null;
  }

  give(amount: number): void {
    if (this.#removed) throw new BudgetRemovedError();
    const given = Math.min(amount, this.#capacity - this.#balance);
    this.#balance += given;
    if (amount > given) this.#overReleased = saturated(this.#overReleased + (amount - given));
  }

  reserve(estimate: number, expiresAtMs: number): TokenReservation | null {
    if (!this.take(estimate)) return null;
    this.#held += estimate;
    this.#open++;
    const reservation = new TokenReservation(estimate, this.#refund, this, this.#epoch);
    if (expiresAtMs > 0) this.#deadlinesMs.set(reservation, expiresAtMs);
    return reservation;
  }

  reserveFit(range: AmountRange, expiresAtMs: number): TokenReservation | null {
    return this.reserve(this.#amountIn(range), expiresAtMs);
  }

  owns(reservation: TokenReservation): boolean {
    return reservation.counter === this;
  }

  settle(reservation: TokenReservation, actual: number): number {
    const isOpen = !this.#removed && reservation.ticket !== 0;
    if (isOpen && actual > AMOUNT_MAX - this.#consumed) return Status.Overflow;
    reservation.settled();
    if (!isOpen) return Status.NotHeld;
    this.#end(reservation, actual);
    return Status.Ok;
  }

  expire(nowMs: number): number {
    if (this.#removed) throw new BudgetRemovedError();
    let expired = 0;
    for (const [reservation, deadlineMs] of this.#deadlinesMs) {
      if (deadlineMs > nowMs) continue;
      this.#end(reservation, 0);
      expired++;
    }
    return expired;
  }

  grant(amount: number): void {
    if (this.#removed) throw new BudgetRemovedError();
    if (amount > AMOUNT_MAX - this.#capacity) throw new BudgetOverflowError("the capacity");
    this.#capacity += amount;
    this.#balance += amount;
  }

  refill(): void {
    if (this.#removed) throw new BudgetRemovedError();
    this.#balance = this.#capacity + Math.min(this.#balance, 0);
    this.#held = 0;
    this.#epoch++;
  }

  remove(): void {
    if (this.#removed) throw new BudgetRemovedError();
    this.#removed = true;
    this.#deadlinesMs.clear();
  }

  figure(figure: number): number {
    if (this.#removed) throw new BudgetRemovedError();
    switch (figure) {
      case Figure.Capacity:
        return this.#capacity;
      case Figure.Available:
        return Math.max(this.#balance, 0);
      case Figure.Debt:
        return Math.max(-this.#balance, 0);
      case Figure.Consumed:
        return this.#consumed;
      case Figure.HighWater:
        return this.#highWater;
      case Figure.Denied:
        return this.#denied;
      case Figure.OverReleased:
        return this.#overReleased;
      default:
        return this.#epoch;
    }
  }

  held(): number {
    if (this.#removed) throw new BudgetRemovedError();
    return this.#held;
  }

  open(): number {
    if (this.#removed) throw new BudgetRemovedError();
    return this.#open;
  }

  /** In a later epoch than its own, a reservation credits nothing and is still charged what went beyond it. */
  #end(reservation: TokenReservation, actual: number): void {
    const { estimate, ticket: epoch } = reservation;
    reservation.ticket = 0;
    if (this.#deadlinesMs.size > 0) this.#deadlinesMs.delete(reservation);
    this.#open--;
    this.#consumed += actual;
    if (epoch === this.#epoch) {
      this.#held -= estimate;
      this.#balance += estimate - actual;
    } else if (actual > estimate) {
      this.#balance -= actual - estimate;
    }
    if (actual > estimate) this.#noteHighWater();
  }

  /** As much of the range as there is, or its least, which is refused if there is less. */
  #amountIn({ want, min }: AmountRange): number {
    return Math.min(want, Math.max(min, this.#balance));
  }

  #noteHighWater(): void {
    const out = this.#capacity - this.#balance;
    if (out > this.#highWater) this.#highWater = saturated(out);
  }
}
