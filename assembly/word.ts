// The contended word of a budget: lock (1 bit) | tag (9 bits) | value (54 bits). Tagged words elsewhere have no lock.
//
// Invariant: whoever sets the lock stores the word back, changed or as it was, on the same straight line of code.
// Threads are terminated at loop heads and calls only (counter.ts), so no thread ever dies with a word locked. A locker
// waits for nothing: finding a second word changed or locked, it lets go of the first. So nobody waits in a circle, and
// who finds a word locked looks again. What remains is a locker that the operating system puts aside: the others look
// until it runs again.
// Who may call: any code that swaps or reads the contended word.
//
//   if (atomic.cmpxchg<u64>(address, word, word | LOCK) == word) {   // `word` was not locked
//     … loads, stores, branches forward; no loop, no call that is not inlined …
//     atomic.store<u64>(address, next);                             // changed or not, and not locked
//   }
//
// Everybody else loads the word and swaps `bare(word)`: that swap fails while the word is locked, and the value under
// the lock is the one from before. Only who answers *no* without a swap must ask `isLocked` first and look again.
// test/node/artefacts.test.ts reads the disassembly and checks every such section.

export const LOCK: u64 = 1 << 63;
export const TAG_SHIFT: u64 = 54;
export const TAG_MASK: u64 = 511;
export const VALUE_MASK: u64 = (1 << 54) - 1;

// @ts-ignore: decorator
@inline
export function isLocked(word: u64): bool {
  return <i64>word < 0;
}

/** The word as it is without its lock. */
// @ts-ignore: decorator
@inline
export function bare(word: u64): u64 {
  return word & ~LOCK;
}

// @ts-ignore: decorator
@inline
export function tagOf(word: u64): u64 {
  return (word >>> TAG_SHIFT) & TAG_MASK;
}

// @ts-ignore: decorator
@inline
export function valueOf(word: u64): u64 {
  return word & VALUE_MASK;
}

/** The value, or more than any capacity while the word is locked: one comparison tells both. */
// @ts-ignore: decorator
@inline
export function valueUnlocked(word: u64): u64 {
  return word & (LOCK | VALUE_MASK);
}

/** The same tag with another value. */
// @ts-ignore: decorator
@inline
export function withValue(word: u64, value: u64): u64 {
  return (word & ~VALUE_MASK) | value;
}

/** A word that begins under this tag, of which the low bits count. */
// @ts-ignore: decorator
@inline
export function tagged(tag: u64, value: u64): u64 {
  return ((tag & TAG_MASK) << TAG_SHIFT) | value;
}
