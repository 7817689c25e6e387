// Waiting: for a permit, threads watch one word of the kernel's header, which moves only while somebody waits; who supplies
// a budget from a lease watches its refusals (supply.ts). Invariant: who reads a word, looks, and then watches from that
// value on, misses no change. Who may call: kernel.ts, supply.ts, src/execution. Apart from the Kernel class, so that
// who never waits does not carry it.

import {
  BUDGETS_MAX,
  COUNTER_BYTES,
  COUNTER_WAITING,
  HEADER_BYTES,
  HEADER_SEQUENCE,
  PENDING_BYTES,
} from "./generated/abi.ts";
import type { Kernel } from "./kernel.ts";

const SEQUENCE = HEADER_SEQUENCE / 4;

/** By word: who watches a memory that only this thread can change, or a runtime without `Atomics.waitAsync`. */
const localWatchers = new WeakMap<WebAssembly.Memory, Map<number, (() => void)[]>>();

/** Whether changes by other threads can be watched. */
export function canWatch(kernel: Kernel): boolean {
  return kernel.shared && typeof Atomics.waitAsync === "function";
}

/** Where in `kernel.words` a budget keeps something. */
export function wordOf(handle: number, offset: number): number {
  return (HEADER_BYTES + PENDING_BYTES + (handle % BUDGETS_MAX) * COUNTER_BYTES + offset) / 4;
}

/** How many wait for a permit, in every thread. One load. */
export function waitersOf(kernel: Kernel, handle: number): number {
  return Atomics.load(kernel.words, wordOf(handle, COUNTER_WAITING));
}

/** Tells everybody who watches that a permit came back or a line moved. */
export function wakeWaiters(kernel: Kernel): void {
  wakeAt(kernel, SEQUENCE);
}

/** What `watch` compares with: read it, look for a permit, then watch. */
export function wakeSequence(kernel: Kernel): number {
  return Atomics.load(kernel.words, SEQUENCE);
}

/** Calls back, later, once the sequence is another one than `seen`. */
export function watch(kernel: Kernel, seen: number, changed: () => void): void {
  watchAt(kernel, SEQUENCE, seen, changed);
}

/** Tells everybody who watches this word. */
export function wakeAt(kernel: Kernel, word: number): void {
  if (canWatch(kernel)) {
    Atomics.notify(kernel.words, word);
    return;
  }
  const byWord = localWatchers.get(kernel.memory);
  const watchers = byWord?.get(word);
  byWord?.delete(word);
  for (const watcher of watchers ?? []) watcher();
}

/** Calls back, later, once the word is another one than `seen`, or somebody tells who watches it. */
export function watchAt(kernel: Kernel, word: number, seen: number, changed: () => void): void {
  if (canWatch(kernel)) {
    void Promise.resolve(Atomics.waitAsync(kernel.words, word, seen).value).then(changed);
    return;
  }
  if (Atomics.load(kernel.words, word) !== seen) {
    queueMicrotask(changed);
    return;
  }
  const byWord = localWatchers.get(kernel.memory) ?? new Map<number, (() => void)[]>();
  localWatchers.set(kernel.memory, byWord);
  byWord.set(word, [...(byWord.get(word) ?? []), () => queueMicrotask(changed)]);
}
