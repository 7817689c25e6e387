// A budget as `allOf` sees it: where it lives, what a cost means to it, and what the caller gets for it.
// Invariant: a guard's part gives back what was taken for it at most once. Who may call: all-of.ts.
// Counted budgets are turned into guards here and not by a method of theirs: a page that never says `allOf` does not
// carry it.

import { checkAmount } from "../arguments.ts";
import type { Denial } from "../denial.ts";
import { Scoped } from "../dispose.ts";
import { BudgetRemovedError } from "../errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { tellSupplier } from "../kernel/supply.ts";
import { AtomicBudget } from "./atomic-budget.ts";
import { AtomicTokenBudget } from "./atomic-token-budget.ts";
import { KernelCounter } from "./kernel-counter.ts";
import type { TokenReservation } from "./token-reservation.ts";

/** A hold of the kernel, as who claimed it knows it. */
export interface ClaimedHold {
  readonly slot: number;
  readonly owner: number;
  readonly ticket: number;
}

/** One budget's share in `allOf`. */
export interface Guard<Part extends Disposable = Disposable> {
  readonly kernel: Kernel;
  readonly handle: number;
  /** Whether what is taken stays in its hold until the part is settled. */
  readonly keepsHold: boolean;
  /** Whether nothing is granted any more. */
  isClosed(): boolean;
  /**
   * What the kernel is asked for when a cost is to be taken: the amount; for a category, where its field begins.
   * @throws RangeError or TypeError, naming `argument`, if it is no cost of this budget
   */
  demandOf(cost: number | undefined, argument: string): number;
  /** The time that the kernel is to take it at, or until; 0 for none. */
  time(expiresAtMs: number): number;
  /** What the caller gets for a demand that was met. */
  part(demand: number, hold: ClaimedHold): Part;
  /** The demand was not met, and this guard stood in the way: whoever supplies the budget hears of it. */
  refused?(demand: number): void;
  /** Why a demand cannot be met now; null if it can. */
  denial(demand: number): Denial | null;
  /** The error for a status that is no decision. */
  failure(status: number): Error;
}

/** What can say itself how `allOf` takes from it: a RateBudget, `governor.category(…)`. */
export interface Guarded<Part extends Disposable = Disposable> {
  /** @returns null if it is private: made with neither a name nor a kernel */
  asGuard(): Guard<Part> | null;
}

/** What `allOf` spans. */
export type AllOfBudget = AtomicBudget | AtomicTokenBudget | Guarded;

/** What `allOf` hands out for a budget. */
export type PartOf<Budget> = Budget extends AtomicTokenBudget
  ? TokenReservation
  : Budget extends AtomicBudget
    ? TakenCost
    : Budget extends Guarded<infer Part>
      ? Part
      : never;

/** @internal The guard of a budget; null if the budget is private, undefined for what is no budget. */
export function guardOf(budget: AllOfBudget): Guard | null | undefined {
  if (budget instanceof AtomicTokenBudget) {
    return countedGuard(budget, {
      keepsHold: true,
      time: (expiresAtMs) => expiresAtMs,
      part: (estimate, hold) => budget.adopt({ ...hold, estimate }),
    });
  }
  if (budget instanceof AtomicBudget) {
    return countedGuard(budget, {
      keepsHold: false,
      time: () => 0,
      part: (cost) => new TakenCost(cost, () => budget.release(cost)),
    });
  }
  return typeof budget?.asGuard === "function" ? budget.asGuard() : undefined;
}

function countedGuard(
  budget: AtomicBudget | AtomicTokenBudget,
  ways: Pick<Guard, "keepsHold" | "time" | "part">,
): Guard | null {
  if (!(budget.counter instanceof KernelCounter)) return null;
  const { kernel, handle } = budget.counter;
  const failure = (status: number) => kernel.failure(status, `budget "${budget.name}"`);
  const inDebt = () => budget instanceof AtomicTokenBudget && budget.debt > 0;
  const fits = (cost: number) => cost <= budget.available && !inDebt();
  const place = { kernel, handle, failure, refused: () => tellSupplier(kernel, handle), ...ways };
  return amountGuard(place, (cost) => (fits(cost) ? null : budget.explainDenial(cost)));
}

/** A cost that was taken together with others. Releasing it twice counts once. */
export class TakenCost extends Scoped {
  readonly cost: number;
  #give: ((cost: number) => void) | null;

  /** @internal */
  constructor(cost: number, give: (cost: number) => void) {
    super();
    this.cost = cost;
    this.#give = give;
  }

  /** Gives the cost back, once; if that fails, it can be tried again. Nothing happens if the budget was removed meanwhile. */
  override release(): void {
    const give = this.#give;
    this.#give = null;
    try {
      give?.(this.cost);
    } catch (error) {
      if (error instanceof BudgetRemovedError) return;
      this.#give = give;
      throw error;
    }
  }
}

/** @internal The guard of a budget whose costs are plain amounts. */
export function amountGuard<Part extends Disposable>(
  place: Pick<Guard<Part>, "kernel" | "handle" | "keepsHold" | "time" | "part" | "failure" | "refused">,
  denial: (cost: number) => Denial | null,
): Guard<Part> {
  return {
    ...place,
    isClosed: () => false,
    demandOf(cost, argument) {
      checkAmount(argument, cost);
      return cost;
    },
    denial,
  };
}
