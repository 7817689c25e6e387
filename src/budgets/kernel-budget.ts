// What every budget in a kernel has in common: its handle, its figures, its epochs.
// Invariant: the handle belongs to one budget for good; after `remove()` every call throws BudgetRemovedError.
// Getters read shared memory: they may be late by the time one looks at them.

import { checkAmount, checkName, invalidType } from "../arguments.ts";
import { type Denial, explainDenial } from "../denial.ts";
import { BudgetOverflowError } from "../errors.ts";
import { Figure, Status } from "../kernel/generated/abi.ts";
import { Kernel, openIn } from "../kernel/kernel.ts";
import type { ExplainsDenial } from "./traits.ts";

/** Names are what threads find a budget by; long enough for any scope path. */
export const NAME_LENGTH_MAX = 1_024;

export interface BudgetOptions {
  /** The kernel to live in. Default: one per page, thread or isolate, and another one for budgets without a name. */
  readonly kernel?: Kernel;
  /** Every thread that opens this name in the same kernel gets the same budget. Without one it is private. */
  readonly name?: string;
}

/** @throws TypeError unless it is a kernel or left out */
export function checkKernel(kernel: unknown): void {
  if (kernel !== undefined && !(kernel instanceof Kernel)) {
    throw invalidType("kernel", "a Kernel from createKernel or attachKernel", kernel);
  }
}

/** @internal */
export abstract class KernelBudget implements ExplainsDenial {
  /** The name that threads share it by; empty for a private budget. */
  readonly name: string;
  /** The kernel that it lives in. */
  readonly kernel: Kernel;
  protected readonly handle: number;

  constructor(kind: number, capacity: number, options: BudgetOptions) {
    checkAmount("capacity", capacity);
    if (options.name !== undefined) checkName("name", options.name, NAME_LENGTH_MAX);
    checkKernel(options.kernel);
    this.name = options.name ?? "";
    const { kernel, handle } = openIn(options, (candidate, name) =>
      candidate.openBudget(kind, capacity, name),
    );
    this.kernel = kernel;
    this.handle = handle;
    if (options.name === undefined) kernel.removeWhenUnreachable(this, handle);
  }

  /** What may be spent in one epoch: the capacity at opening plus what was granted since. */
  get capacity(): number {
    return this.figure(Figure.Capacity);
  }

  /** What can be taken at this moment. */
  get available(): number {
    return this.figure(Figure.Available);
  }

  /** The part of the capacity that is out, 0 … 1; 0 when the capacity is 0. */
  get utilization(): number {
    const capacity = this.capacity;
    // Two loads: a grant in between can make more available than the capacity that was read.
    return capacity === 0 ? 0 : Math.max(0, (capacity - this.available) / capacity);
  }

  /** The most that was ever out at once, spent beyond the budget included. */
  get highWater(): number {
    return this.figure(Figure.HighWater);
  }

  /** How many takes and reservations were refused. */
  get denied(): number {
    return this.figure(Figure.Denied);
  }

  /** Grows with every refill. */
  get epoch(): number {
    return this.figure(Figure.Epoch);
  }

  /**
   * Starts a new epoch: the whole capacity is there again, less any debt, which is repaid first.
   */
  refill(): void {
    this.expectOk(this.kernel.exports.counterRefill(this.handle));
  }

  /**
   * Raises the capacity and what is available by `amount`: a slice that a larger budget lends to this one.
   * @throws BudgetOverflowError if the capacity would exceed 2^53−1
   */
  grant(amount: number): void {
    checkAmount("amount", amount);
    const status = this.kernel.exports.counterGrant(this.handle, amount);
    if (status === Status.Overflow) throw new BudgetOverflowError("the capacity");
    this.expectOk(status);
  }

  /**
   * Removes the budget for every thread. Open reservations end without effect; the name can be opened anew, as another
   * budget.
   */
  remove(): void {
    this.expectOk(this.kernel.removeBudget(this.handle));
  }

  /** Why `amount` does not fit now. */
  explainDenial(amount: number): Denial {
    checkAmount("amount", amount);
    return explainDenial({
      scope: this.name,
      requested: amount,
      limit: this.capacity,
      available: this.available,
      ...this.outstanding(),
    });
  }

  /** Where the rest of the capacity is. */
  protected abstract outstanding(): { spent: number; held: number; debt: number };

  protected figure(figure: number): number {
    const value = this.kernel.exports.budgetFigure(this.handle, figure);
    if (value < 0) throw this.failure(-value);
    return value;
  }

  protected expectOk(status: number): void {
    if (status !== Status.Ok) throw this.failure(status);
  }

  protected failure(status: number): Error {
    return this.kernel.failure(status, this.name === "" ? "this budget" : `budget "${this.name}"`);
  }
}
