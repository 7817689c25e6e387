// A counted budget: in a kernel, shared by every thread that opens its name, or private to its object.
// Source: seed rig-compose, AtomicBudget; a release beyond capacity is counted there as here, not hidden.

import { checkAmount, isAmount } from "../arguments.ts";
import * as Figure from "../kernel/generated/Figure.ts";
import * as Kind from "../kernel/generated/Kind.ts";
import { type AmountRange, checkRange } from "./amount-range.ts";
import { type BudgetOptions, CountedBudget } from "./kernel-budget.ts";
import type { BudgetGuard } from "./traits.ts";

export interface AtomicBudgetOptions extends BudgetOptions {
  /**
   * How many units a thread may borrow from a shared budget at a time, 1 … 4,194,303, to decide on them alone: many times
   * the usual cost. Less is lent near exhaustion, and no take is refused while the budget as a whole covers it. Everybody
   * who opens the name says the same. A private budget needs none and takes no notice.
   */
  readonly credit?: number;
}

/**
 * Rows, requests, slots: a cost is taken and given back. Every answer is synchronous.
 *
 * @example
 * const budget = new AtomicBudget(1_000);
 * if (budget.tryReserve(250)) {
 *   // … work …
 *   budget.release(250);
 * }
 */
export class AtomicBudget extends CountedBudget implements BudgetGuard {
  /**
   * @param capacity - safe integer, 0 … 2^53−1; the budget begins full
   * @throws RangeError, TypeError for a bad argument
   * @throws BudgetMismatchError if the name is taken by a budget of another kind, capacity or credit
   * @throws KernelFullError if the kernel has no slot left
   */
  constructor(capacity: number, options: AtomicBudgetOptions = {}) {
    super(Kind.Counter, capacity, options);
  }

  /**
   * Takes `cost` if it fits. A take that fits is never refused because a larger one is failing at the same moment.
   * @param cost - safe integer, 0 … 2^53−1
   */
  tryReserve(cost: number): boolean;
  /**
   * Takes as much as fits of a range.
   * @returns what was taken, which may be 0 if `min` is; null if less than `min` fits
   */
  tryReserve(range: AmountRange): number | null;
  tryReserve(cost: number | AmountRange): boolean | number | null {
    if (isAmount(cost)) return this.counter.take(cost);
    checkRange("cost", cost);
    return this.counter.fit(cost);
  }

  /**
   * Gives `cost` back, capped at capacity; what goes beyond is counted in `overReleased`. A release is tied to no
   * reservation, so one that comes after a refill credits the new epoch: use AtomicTokenBudget where that matters.
   */
  release(cost: number): void {
    checkAmount("cost", cost);
    this.counter.give(cost);
  }

  /** What was released beyond capacity, in all. Anything but 0 is a bug in some caller. */
  get overReleased(): number {
    return this.counter.figure(Figure.OverReleased);
  }

  protected override outstanding(): { spent: number; held: number; debt: number } {
    return { spent: 0, held: this.capacity - this.available, debt: 0 };
  }
}
