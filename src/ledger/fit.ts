// How much of what is wanted is granted: the largest amount that fits, and shares that shrink near exhaustion.
// Invariant: a grant is never above what is available nor below its minimum; shares of n holders come to no more than all
// that could be lent. Pure; who may call: whatever grants.

/** What somebody would like to have, and what he can do with at least. */
export interface Wish {
  readonly want: bigint;
  readonly min: bigint;
}

/**
 * The largest grant between `min` and `want` within what is available. `share` bounds it too, but never below `min`: who
 * cannot work with his share alone may have more as long as it is there.
 *
 * @returns undefined where not even `min` is available
 */
export function largestFit({ want, min }: Wish, available: bigint, share = available): bigint | undefined {
  const granted = least(want, available, most(share, min));
  return granted >= min ? granted : undefined;
}

/** What is left of a budget, what it has lent, and between how many that is to be shared; at least one. */
export interface Lendable {
  readonly remaining: bigint;
  readonly lent: bigint;
  readonly holders: number;
}

/** An even part of all that could be lent, lent or not: with more holders it becomes less, and with less left. */
export function evenShare({ remaining, lent, holders }: Lendable): bigint {
  return most(remaining + lent, 0n) / BigInt(holders);
}

/**
 * How much of its idle part a holder should give back, so that others can work: what is above its share, as soon as a
 * newcomer could not have a share of its own.
 */
export function recallOf(idle: bigint, lendable: Lendable): bigint {
  const share = evenShare(lendable);
  return lendable.remaining < share ? most(idle - share, 0n) : 0n;
}

export function least(first: bigint, ...others: readonly bigint[]): bigint {
  let found = first;
  for (const each of others) if (each < found) found = each;
  return found;
}

export function most(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
