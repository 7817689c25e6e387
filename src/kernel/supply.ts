// Who supplies a token budget from a lease: at most one, told when a thread of any kind is refused.
// Invariant: a budget is claimed by one supplier at a time, and begins unclaimed whenever its slot serves a new budget. The
// word decides nothing in the kernel, so whoever writes it late does no harm. Who may call: src/budgets, src/lease,
// kernel.ts.

import { COUNTER_DENIED, COUNTER_SUPPLIED } from "./generated/abi.ts";
import type { Kernel } from "./kernel.ts";
import { canWatch, wakeAt, watchAt, wordOf } from "./waiting.ts";

/** The word: the supplier's owner id above its state. An owner without a state is dead. */
const STATES = 8;

/** Makes the caller the supplier, in a state that is not 0. False if there is one that may still live. */
export function claimSupply(kernel: Kernel, handle: number, state: number): boolean {
  const word = wordOf(handle, COUNTER_SUPPLIED);
  const before = Atomics.load(kernel.words, word);
  if (before % STATES !== 0) return false;
  return Atomics.compareExchange(kernel.words, word, before, kernel.owner * STATES + state) === before;
}

/** How the supplier says it stands; 0 if there is none. */
export function supplyState(kernel: Kernel, handle: number): number {
  return Atomics.load(kernel.words, wordOf(handle, COUNTER_SUPPLIED)) % STATES;
}

/** Whether its supplier died and left what it had. */
export function isAbandoned(kernel: Kernel, handle: number): boolean {
  const word = Atomics.load(kernel.words, wordOf(handle, COUNTER_SUPPLIED));
  return word !== 0 && word % STATES === 0;
}

/** @param state - 0 when the caller supplies it no more */
export function setSupplyState(kernel: Kernel, handle: number, state: number): void {
  const word = state === 0 ? 0 : kernel.owner * STATES + state;
  Atomics.store(kernel.words, wordOf(handle, COUNTER_SUPPLIED), word);
}

/** A thread has died: what it supplied can be claimed by another. Looks at every budget. */
export function abandonSupplies(kernel: Kernel, owner: number): void {
  const { words } = kernel;
  for (let slot = 0; slot < kernel.budgets; slot++) {
    const word = wordOf(slot, COUNTER_SUPPLIED);
    const supplied = Atomics.load(words, word);
    if (supplied % STATES !== 0 && Math.floor(supplied / STATES) === owner) {
      Atomics.compareExchange(words, word, supplied, owner * STATES);
    }
  }
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
