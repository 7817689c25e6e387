// One lock for what is rare and touches several words: creating and removing budgets, grants and refills. Everything
// that decides (take, give, reserve, settle) and everything that only reads works without it.
//
// Invariant: the lock word is the owner inside, or 0. Whatever is written under it can be cut short at any point and
// leaves a valid memory behind, at worst a grant unused. Who may call: counter.ts, directory.ts; reclaim breaks it.

import { HEADER_LOCK } from "./layout";

/** Critical sections last microseconds. After this many looks the thread inside is most likely dead. */
const LOOKS_MAX: u32 = 1 << 24;

/** Ends after LOOKS_MAX looks. The kernel never sleeps: browsers forbid it on the main thread. */
export function lock(owner: u32): bool {
  for (let looks: u32 = 0; looks < LOOKS_MAX; looks++) {
    // Look before swapping, so that waiting threads share the line instead of fighting for it.
    if (atomic.load<u32>(HEADER_LOCK) == 0 && atomic.cmpxchg<u32>(HEADER_LOCK, 0, owner) == 0) return true;
  }
  return false;
}

/** Also lets go of a lock whose owner is gone: there is nothing to repair, see the invariant. */
export function unlock(owner: u32): void {
  atomic.cmpxchg<u32>(HEADER_LOCK, owner, 0);
}
