// A governor's limits as fields of one word of the kernel (assembly/permit.ts).
// Invariant: fields do not overlap, and each is as wide as its limit needs, with a guard bit on top; the same limits are the
// same fields, in whatever order they were written down. Who may call: the governor.

import { checkInteger, checkObject, invalidArgument, invalidType } from "../arguments.ts";
import { directoryKey } from "../kernel/name.ts";

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

/** @internal What the kernel is asked for: the total's field at bit 0, the categories' above it. */
export interface GovernorLayout {
  readonly total: Category;
  readonly categories: readonly Category[];
  readonly limits: bigint;
  readonly guards: bigint;
  /** A digest of the categories' names in the order of their fields: the kernel itself knows fields, not names. */
  readonly names: bigint;
}

/** @internal @throws RangeError, TypeError for limits that are none, or that need too many bits */
export function layOut(limits: GovernorLimits): GovernorLayout {
  checkObject("limits", limits);
  const named = categoriesOf(limits);
  const [total, ...categories] = fieldsOf([["total", limits.total], ...named]) as [Category, ...Category[]];
  const fields = [total, ...categories];
  return {
    total,
    categories,
    limits: fields.reduce((word, { limit, shift }) => word | (BigInt(limit) << BigInt(shift)), 0n),
    guards: fields.reduce((word, { shift, bits }) => word | (1n << BigInt(shift + bits)), 0n),
    names: directoryKey(JSON.stringify(named.map(([name]) => name))).high,
  };
}

/** In the order of their names. */
function categoriesOf({ streams, tools, categories = {} }: GovernorLimits): [string, number][] {
  checkObject("limits.categories", categories);
  if (Array.isArray(categories)) {
    throw invalidType("limits.categories", "an object with a limit for each name", categories);
  }
  const named = Object.entries(categories);
  for (const [name, limit] of Object.entries({ streams, tools })) {
    if (limit === undefined) continue;
    if (Object.hasOwn(categories, name)) {
      throw invalidArgument(`limits.${name}`, "left out where limits.categories has it", limit);
    }
    named.push([name, limit]);
  }
  if (named.length === 0) throw invalidArgument("limits", "limits with at least one category", categories);
  return named.sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Fields from bit 0 upwards, each as wide as its limit needs and a guard bit. */
function fieldsOf(limits: readonly (readonly [string, number])[]): Category[] {
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
