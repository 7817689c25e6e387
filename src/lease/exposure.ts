// What could be spent that the authority does not know, as figures with their reasons. Types and one pure function.
// Who may call: LeasedBudget; anyone may read.

import type { LeaseName } from "../authority/leases.ts";

type Unit = LeaseName["unit"];

export type ExposureCode =
  /** What the holder may lend itself while the authority cannot be reached. */
  | "OFFLINE_ALLOWANCE"
  /** Leases of this tenant are refunded at their end: what was spent and not reported by then comes late. */
  | "REFUND_POLICY"
  /** Calls have used more than their estimates and than the slice: spent already, and not reported so far. */
  | "USAGE_BEYOND_ESTIMATE";

export interface ExposureReason {
  readonly code: ExposureCode;
  readonly amount: number;
}

export interface Exposure {
  readonly unit: Unit;
  /** What could be spent without the authority's knowledge, and is set aside or charged there: it overspends nothing. */
  readonly outstanding: number;
  /** What could be spent beyond that, and so beyond the budgets: the bound of overspending. 0 with all defaults. */
  readonly beyond: number;
  /** Where `beyond` comes from; it is their sum. */
  readonly reasons: readonly ExposureReason[];
}

export function exposureOf(unit: Unit, outstanding: number, reasons: readonly ExposureReason[]): Exposure {
  const present = reasons.filter(({ amount }) => amount > 0);
  return {
    unit,
    outstanding,
    beyond: present.reduce((sum, { amount }) => sum + amount, 0),
    reasons: present,
  };
}
