// What stands behind a budget: its figures, and the arithmetic that decides. There are two: KernelCounter for budgets
// that threads share, LocalCounter for those that nobody but their own object can reach. Invariant: both answer the same
// history of calls alike, to the unit; a property test compares them. Who may call: the budgets of this folder.

import type { Kernel } from "../kernel/kernel.ts";
import type { AmountRange } from "./amount-range.ts";
import type { TokenReservation } from "./token-reservation.ts";

/** After `remove`, every method throws BudgetRemovedError. Arguments were checked before. */
export interface Counter {
  /** Where it lives; null for a local one. */
  readonly kernel: Kernel | null;

  /** Takes `amount` if it fits and there is no debt; a refusal is counted. */
  take(amount: number): boolean;
  /** Takes as much as fits of a range; of tokens too, without a reservation. @returns what was taken; null if less than its `min` fits, which is counted */
  fit(range: AmountRange): number | null;
  /** Gives `amount` back, capped at what is out; the rest is counted as over-released. */
  give(amount: number): void;
  /** Takes `estimate` and remembers it in a reservation, which `expire` may end from `expiresAtMs` on (0: never). */
  reserve(estimate: number, expiresAtMs: number): TokenReservation | null;
  /** The same for as much as fits of a range; the reservation's estimate says how much that is. */
  reserveFit(range: AmountRange, expiresAtMs: number): TokenReservation | null;
  /** Whether a reservation is one of this budget's. */
  owns(reservation: TokenReservation): boolean;
  /** @returns Ok, NotHeld if it ended before, or Overflow, which leaves it open; does not throw after `remove` */
  settle(reservation: TokenReservation, actual: number): number;
  /** Ends what expires at or before `nowMs`. @returns how many reservations that were */
  expire(nowMs: number): number;
  /** @throws BudgetOverflowError */
  grant(amount: number): void;
  refill(): void;
  remove(): void;

  /** @param figure - a member of `Figure` */
  figure(figure: number): number;
  /** What open reservations of this epoch have taken. */
  held(): number;
  /** How many reservations are open, of any epoch. */
  open(): number;
}
