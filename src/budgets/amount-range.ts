// A range of amounts instead of one: as much as there is, from a least to a most.
// Invariant: 0 ≤ min ≤ want, both amounts. Who may call: the budgets; callers make ranges by writing them down.

import { checkAmount, checkInteger, invalidInteger } from "../arguments.ts";

/**
 * Wherever a budget takes an amount, it also takes a range: then it grants as much as it has, `want` at most, and says no
 * only if that is less than `min`.
 */
export interface AmountRange {
  /** What is granted if it is there; safe integer, 0 … 2^53−1. */
  readonly want: number;
  /** Less than this is of no use; integer, 0 … `want`. */
  readonly min: number;
}

/** @throws RangeError or TypeError, naming `argument`, unless it is a range; what is no object is no amount either */
export function checkRange(argument: string, value: unknown): asserts value is AmountRange {
  if (typeof value !== "object" || value === null)
    throw invalidInteger(argument, value, 0, Number.MAX_SAFE_INTEGER);
  const { want, min } = value as Partial<AmountRange>;
  checkAmount(`${argument}.want`, want);
  checkInteger(`${argument}.min`, min, 0, want);
}

/** What a call that was refused needed at least. */
export function leastOf(cost: number | AmountRange): number {
  return typeof cost === "number" ? cost : cost.min;
}
