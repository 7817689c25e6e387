// What every counted budget has in common, whether it lives in a kernel or is private: its figures, its epochs.
// Invariant: after `remove()` every call throws BudgetRemovedError. Who may call: anybody, with any argument.
// Getters of a shared budget read shared memory: they may be late by the time one looks at them.

import { checkAmount, checkInteger, checkName, checkObject, invalidType } from "../arguments.ts";
import { type Denial, explainDenial } from "../denial.ts";
import { CREDIT_MAX } from "../kernel/generated/abi.ts";
import * as Figure from "../kernel/generated/Figure.ts";
import * as Kind from "../kernel/generated/Kind.ts";
import { Kernel } from "../kernel/kernel.ts";
import type { Counter } from "./counter.ts";
import { CreditCounter } from "./credit-counter.ts";
import { KernelCounter } from "./kernel-counter.ts";
import { LocalCounter } from "./local-counter.ts";
import type { ExplainsDenial } from "./traits.ts";

/** Names are what threads find a budget by; long enough for any scope path. */
export const NAME_LENGTH_MAX = 1_024;

export interface BudgetOptions {
  /** The kernel to live in. Default: one per page, thread or isolate for what has a name. */
  readonly kernel?: Kernel;
  /** Every thread that opens this name in the same kernel gets the same budget. Without one it is private. */
  readonly name?: string;
}

/** @throws TypeError unless it is a kernel or left out */
export function checkKernel(kernel: unknown): void {
  if (kernel !== undefined && !(kernel instanceof Kernel)) {
    throw invalidType("kernel", "a Kernel", kernel);
  }
}

/** @internal */
export abstract class CountedBudget implements ExplainsDenial {
  /** The name that threads share it by; empty for a private budget. */
  readonly name: string;
  /** @internal */
  readonly counter: Counter;

  constructor(kind: number, capacity: number, options: BudgetOptions & { readonly credit?: number }) {
    checkAmount("capacity", capacity);
    checkObject("options", options);
    const { kernel, name, credit } = options;
    if (name !== undefined) checkName("name", name, NAME_LENGTH_MAX);
    checkKernel(kernel);
    if (credit !== undefined) {
      if (kind === Kind.Tokens) throw invalidType("credit", "left out: tokens have none", credit);
      checkInteger("credit", credit, 1, CREDIT_MAX);
    }
    this.name = name ?? "";
    const isPrivate = kernel === undefined && name === undefined;
    const open = (owner: Kernel, key: string) => owner.openBudget(kind, capacity, key, credit);
    if (isPrivate) this.counter = new LocalCounter(capacity);
    else this.counter = new (credit === undefined ? KernelCounter : CreditCounter)(options, open);
  }

  /** The kernel that it lives in; null for one with neither name nor kernel, which only this object can reach. */
  get kernel(): Kernel | null {
    return this.counter.kernel;
  }

  /** What may be spent in one epoch: the capacity at opening plus what was granted since. */
  get capacity(): number {
    return this.counter.figure(Figure.Capacity);
  }

  /** What can be taken at this moment. */
  get available(): number {
    return this.counter.figure(Figure.Available);
  }

  /** The part of the capacity that is out, 0 … 1; 0 when the capacity is 0. */
  get utilization(): number {
    const capacity = this.capacity;
    // Two loads: a grant in between can make more available than the capacity that was read.
    return capacity === 0 ? 0 : Math.max(0, (capacity - this.available) / capacity);
  }

  /** The most that was ever out at once, spent beyond the budget included. What is lent to threads counts as out here. */
  get highWater(): number {
    return this.counter.figure(Figure.HighWater);
  }

  /** How many takes and reservations were refused. */
  get denied(): number {
    return this.counter.figure(Figure.Denied);
  }

  /** Grows with every refill. */
  get epoch(): number {
    return this.counter.figure(Figure.Epoch);
  }

  /**
   * Starts a new epoch: the whole capacity is there again, less any debt, which is repaid first.
   */
  refill(): void {
    this.counter.refill();
  }

  /**
   * Raises the capacity and what is available by `amount`: a slice that a larger budget lends to this one.
   * @throws BudgetOverflowError if the capacity would exceed 2^53−1
   */
  grant(amount: number): void {
    checkAmount("amount", amount);
    this.counter.grant(amount);
  }

  /**
   * Removes the budget for every thread. Open reservations end without effect; the name can be opened anew, as another
   * budget.
   */
  remove(): void {
    this.counter.remove();
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
}
