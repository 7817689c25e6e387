// The public face of the library: every name that both entries export.

export { AllOf, type AllOfDenial, AllOfReservation, allOf, type PartsOf } from "./budgets/all-of.ts";
export type { AmountRange } from "./budgets/amount-range.ts";
export { AtomicBudget, type AtomicBudgetOptions } from "./budgets/atomic-budget.ts";
export {
  AtomicTokenBudget,
  type ReservationTicket,
  type ReserveOptions,
} from "./budgets/atomic-token-budget.ts";
export { type AllOfBudget, type Guard, type Guarded, type PartOf, TakenCost } from "./budgets/guard.ts";
export type { BudgetOptions } from "./budgets/kernel-budget.ts";
export { RateBudget, type RateLimits, type RateOptions } from "./budgets/rate-budget.ts";
export {
  TenantOverloadedError,
  TenantReservation,
  type TenantScope,
  type TenantTokenState,
  TenantTokenTracker,
} from "./budgets/tenant-token-tracker.ts";
export { type Refund, TokenReservation } from "./budgets/token-reservation.ts";
export type { Awaitable, BudgetGuard, ExplainsDenial, TokenBudget } from "./budgets/traits.ts";
export { type TokensUsed, type WithTokensOptions, withTokens } from "./budgets/with-tokens.ts";
export type { Denial, DenialCode, RetryAdvice } from "./denial.ts";
export {
  BudgetDeniedError,
  BudgetMismatchError,
  BudgetOverflowError,
  BudgetRemovedError,
  KernelBusyError,
  KernelFullError,
  KernelMemoryError,
  PurserError,
  ReservationSettledError,
} from "./errors.ts";
export {
  type CategoryStats,
  ConcurrencyGovernor,
  type GovernorOptions,
  type GovernorStats,
} from "./execution/concurrency-governor.ts";
export type { GovernorLimits } from "./execution/governor-limits.ts";
export * from "./execution/index.ts";
export { type AcquireOptions, ConcurrencyError, ConcurrencyPermit } from "./execution/permit-line.ts";
export {
  type AttachOptions,
  attachKernel,
  createKernel,
  defaultKernel,
  Kernel,
  type KernelOptions,
} from "./kernel/kernel.ts";
export * from "./lease/index.ts";
