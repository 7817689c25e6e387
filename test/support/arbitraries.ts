// Shared generators. Integers are biased towards the edges where 32-bit, 53-bit and 64-bit arithmetic break.

import fc from "fast-check";

const EDGES = [0, 1, 2, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 2, 2 ** 53 - 1];

/** A safe integer ≥ 0: an edge, a neighbour of one, a small number, or anything. */
export const edgeAmount: fc.Arbitrary<number> = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 120 }) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom(...EDGES), fc.integer({ min: -2, max: 2 }))
      .map(([edge, step]) => Math.min(Math.max(0, edge + step), Number.MAX_SAFE_INTEGER)),
  },
  { weight: 1, arbitrary: fc.maxSafeNat() },
);

const INT64_MAX = 2n ** 63n - 1n;
const EDGES_64 = [0n, 1n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 62n, INT64_MAX];

/** An int64 ≥ 0, biased in the same way. */
export const edgeInt64: fc.Arbitrary<bigint> = fc.oneof(
  { weight: 3, arbitrary: fc.bigInt({ min: 0n, max: 120n }) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom(...EDGES_64), fc.bigInt({ min: -2n, max: 2n }))
      .map(([edge, step]) => edge + step)
      .map((value) => (value < 0n ? 0n : value > INT64_MAX ? INT64_MAX : value)),
  },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: INT64_MAX }) },
);

/** Values that no amount parameter may accept, with the error class that each must cause. */
export const BAD_AMOUNTS: readonly (readonly [unknown, typeof RangeError | typeof TypeError])[] = [
  [-1, RangeError],
  [0.5, RangeError],
  [1.5, RangeError],
  [-0.000001, RangeError],
  [Number.NaN, RangeError],
  [Number.POSITIVE_INFINITY, RangeError],
  [Number.NEGATIVE_INFINITY, RangeError],
  [2 ** 53, RangeError],
  [-(2 ** 53), RangeError],
  ["7", TypeError],
  ["", TypeError],
  [2n ** 64n, TypeError],
  [1n, TypeError],
  [null, TypeError],
  [undefined, TypeError],
  [true, TypeError],
  [[3], TypeError],
  [{}, TypeError],
];
