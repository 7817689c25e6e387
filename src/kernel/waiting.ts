// Waiting for a permit: threads watch one word of the kernel's header, which moves only while somebody waits.
// Invariant: who reads the sequence, looks for a permit and then watches from that sequence on, misses no change.
// Who may call: kernel.ts, src/execution. Apart from the Kernel class, so that who never waits does not carry it.

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

/** Who watches a memory that only this thread can change, or a runtime without `Atomics.waitAsync`. */
const localWatchers = new WeakMap<WebAssembly.Memory, (() => void)[]>();

function canWatchThreads(kernel: Kernel): boolean {
  return kernel.shared && typeof Atomics.waitAsync === "function";
}

/** How many wait for a permit, in every thread. One load. */
export function waitersOf(kernel: Kernel, handle: number): number {
  const slot = handle % BUDGETS_MAX;
  return Atomics.load(
    kernel.words,
    (HEADER_BYTES + PENDING_BYTES + slot * COUNTER_BYTES + COUNTER_WAITING) / 4,
  );
}

/** Tells everybody who watches that a permit came back or a line moved. */
export function wakeWaiters(kernel: Kernel): void {
  if (canWatchThreads(kernel)) {
    Atomics.notify(kernel.words, SEQUENCE);
    return;
  }
  const watchers = localWatchers.get(kernel.memory);
  localWatchers.delete(kernel.memory);
  for (const watcher of watchers ?? []) watcher();
}

/** What `watch` compares with: read it, look for a permit, then watch. */
export function wakeSequence(kernel: Kernel): number {
  return Atomics.load(kernel.words, SEQUENCE);
}

/** Calls back, later, once the sequence is another one than `seen`. */
export function watch(kernel: Kernel, seen: number, changed: () => void): void {
  if (canWatchThreads(kernel)) {
    void Promise.resolve(Atomics.waitAsync(kernel.words, SEQUENCE, seen).value).then(changed);
    return;
  }
  if (wakeSequence(kernel) !== seen) {
    queueMicrotask(changed);
    return;
  }
  const watchers = localWatchers.get(kernel.memory) ?? [];
  watchers.push(() => queueMicrotask(changed));
  localWatchers.set(kernel.memory, watchers);
}
