// Reserving as much as fits in a kernel: a hold that is claimed for the most, and then taken for what there is.
// Invariant: what is refused leaves no hold behind, and a thread that dies between the two steps leaves a claimed hold,
// which has taken nothing. Who may call: the budgets whose reservations are holds; ranges were checked before.

import * as Status from "../kernel/generated/Status.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { AmountRange } from "./amount-range.ts";

/** A hold of `amount`, or the status that says why there is none. */
export type FittedHold =
  | { readonly amount: number; readonly slot: number; readonly ticket: number }
  | { readonly status: number };

export function reserveFit(
  kernel: Kernel,
  handle: number,
  { want, min }: AmountRange,
  expiresAtMs: number,
): FittedHold {
  const { exports, owner } = kernel;
  const ticket = kernel.nextTicket();
  const hint = kernel.slotHint();
  const slot = exports.allClaim(-1, handle, want, expiresAtMs, owner, ticket, hint);
  const amount = slot < 0 ? slot : exports.holdFit(slot, owner, ticket, min);
  if (amount >= 0) return { amount, slot, ticket };
  kernel.slotFreed(slot < 0 ? hint : slot);
  return { status: amount === -Status.InDebt ? Status.Exceeds : -amount };
}
