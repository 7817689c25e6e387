// The public face of leased budgets. Part of the main entry: the kernel that they spend from is there.

export type { LeaseDenial, LeaseReason } from "./denial.ts";
export type { Exposure, ExposureCode, ExposureReason } from "./exposure.ts";
export { LeasedBudget, type LeasedReserveOptions } from "./leased-budget.ts";
export type { LeasedBudgetOptions, SliceOptions } from "./options.ts";
export type { LeasedSlice } from "./slice.ts";
export type { Reserved } from "./waiters.ts";
