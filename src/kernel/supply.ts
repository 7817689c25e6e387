// Who supplies a token budget from a lease: at most one, told when a thread of any kind is refused.
// Invariant: a budget is claimed by one supplier at a time, and begins unclaimed whenever its slot serves a new budget. The
// word decides nothing in the kernel, so whoever writes it late does no harm. Who may call: src/budgets, src/lease.

import { COUNTER_DENIED, COUNTER_SUPPLIED } from "./generated/abi.ts";
import type { Kernel } from "./kernel.ts";
import { canWatch, wakeAt, watchAt, wordOf } from "./waiting.ts";

/** Makes the caller the supplier, in a state that is not 0. False if there is one. */
export function claimSupply(kernel: Kernel, handle: number, state: number): boolean {
  return Atomics.compareExchange(kernel.words, wordOf(handle, COUNTER_SUPPLIED), 0, state) === 0;
}

/** How the supplier says it stands; 0 if there is none. */
export function supplyState(kernel: Kernel, handle: number): number {
  return Atomics.load(kernel.words, wordOf(handle, COUNTER_SUPPLIED));
}

export function setSupplyState(kernel: Kernel, handle: number, state: number): void {
  Atomics.store(kernel.words, wordOf(handle, COUNTER_SUPPLIED), state);
}

/** Tells the supplier, if there is one, that the budget is short. One load where there is none. */
export function tellSupplier(kernel: Kernel, handle: number): void {
  if (Atomics.load(kernel.words, wordOf(handle, COUNTER_SUPPLIED)) !== 0) {
    wakeAt(kernel, wordOf(handle, COUNTER_DENIED));
  }
}

/** How often the budget refused, as `watchShortage` compares it. */
export function refusalsOf(kernel: Kernel, handle: number): number {
  return Atomics.load(kernel.words, wordOf(handle, COUNTER_DENIED));
}

/** Calls back, later and once, when the budget has refused since `seen`, or a thread says that it is short. */
export function watchShortage(kernel: Kernel, handle: number, seen: number, short: () => void): void {
  watchAt(kernel, wordOf(handle, COUNTER_DENIED), seen, short);
}

/** Whether refusals of every thread that reaches the budget can be watched. */
export function canWatchShortage(kernel: Kernel): boolean {
  return !kernel.shared || canWatch(kernel);
}
