// A governor's limits as fields of one word of the kernel (assembly/permit.ts).
// Invariant: fields do not overlap, and each is as wide as its limit needs, with a guard bit on top. Who may call: the
// governor.

import { checkInteger } from "../arguments.ts";

/** All limits together must fit into 54 bits: for each one as many as its value needs, and one more. */
export interface GovernorLimits {
  /** Operations of any category at once. */
  readonly total: number;
  /** Streaming responses at once. */
  readonly streams?: number;
  /** Tool executions at once. */
  readonly tools?: number;
  /** More categories, or these two under their own names. */
  readonly categories?: Readonly<Record<string, number>>;
}

const LIMIT_MAX = 1_000_000;
const FIELD_BITS = 54;

/** @internal */
export interface Category {
  readonly name: string;
  readonly limit: number;
  /** Where its field begins in the kernel's word, and how wide it is without the guard bit. */
  readonly shift: number;
  readonly bits: number;
}

/** @internal Fields from bit 0 upwards, each as wide as its limit needs and a guard bit. */
export function layOut(limits: readonly (readonly [string, number])[]): Category[] {
  let shift = 0;
  const fields = limits.map(([name, limit]): Category => {
    checkInteger(`limits.${name}`, limit, 0, LIMIT_MAX);
    const bits = Math.max(1, Math.ceil(Math.log2(limit + 1)));
    const field = { name, limit, shift, bits };
    shift += bits + 1;
    return field;
  });
  if (shift > FIELD_BITS)
    throw new RangeError(`limits must fit into ${FIELD_BITS} bits together, these need ${shift}`);
  return fields;
}
