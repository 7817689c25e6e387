// One lock for what is rare and touches several words: creating and removing budgets. Everything that decides (take,
// give, reserve, settle, refill, grant) and everything that only reads works without it.
//
// Invariant: the lock word is the owner inside, or 0. Whatever is written under it can be cut short at any point and
// leaves a valid memory behind. Who may call: directory.ts; reclaim breaks it for a dead owner.

import { HEADER_LOCK } from "./layout";

/** Sections last microseconds; a thread inside that does not run makes looking a waste of its processor. */
const LOOKS_MAX: u32 = 1 << 12;

/**
 * Ends after LOOKS_MAX looks with false: the host then waits as it may (threads sleep, a page's main thread cannot) and
 * asks again. The kernel itself never sleeps.
 */
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
