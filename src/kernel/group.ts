// Which budgets of a kernel belong to a group, such as all tenants of one tracker, whoever opened them.
// Invariant: a slot's group changes only while its meta word is 0, and a generation never returns; so if the meta word is
// the same before and after, the group was this budget's. Who may call: src/budgets. Apart from the Kernel class, so that
// who has no groups does not carry it.

import {
  BUDGETS_MAX,
  COUNTER_BYTES,
  COUNTER_GUARDS,
  COUNTER_META,
  HEADER_BYTES,
  PENDING_BYTES,
} from "./generated/abi.ts";
import * as Kind from "./generated/Kind.ts";
import * as Status from "./generated/Status.ts";
import type { Kernel } from "./kernel.ts";

/** The handles of a group's token budgets; without a group, of all that are in any. May be late. */
export function* handlesOf(kernel: Kernel, group?: bigint): Generator<number> {
  const words = new BigUint64Array(kernel.memory.buffer);
  for (let slot = 0; slot < kernel.budgets; slot++) {
    const counter = HEADER_BYTES + PENDING_BYTES + slot * COUNTER_BYTES;
    const meta = Atomics.load(words, (counter + COUNTER_META) / 8);
    if (Number(meta & 255n) !== Kind.Tokens) continue;
    const found = Atomics.load(words, (counter + COUNTER_GUARDS) / 8);
    if (group === undefined ? found === 0n : found !== group) continue;
    if (Atomics.load(words, (counter + COUNTER_META) / 8) === meta)
      yield Number(meta >> 8n) * BUDGETS_MAX + slot;
  }
}

/** Removes the budgets of a group, or of all groups, of which nothing is out and no hold is open. @returns how many */
export function forgetIdle(kernel: Kernel, group?: bigint): number {
  let forgotten = 0;
  for (const handle of handlesOf(kernel, group)) if (removeIdle(kernel, handle)) forgotten++;
  return forgotten;
}

/** Removes a token budget if nothing of it is out and no hold is open. @returns whether it did */
export function removeIdle(kernel: Kernel, handle: number): boolean {
  const { exports, owner } = kernel;
  const status = kernel.patiently(Status.Busy, () => exports.budgetRemoveIdle(handle, owner));
  if (status === Status.Ok || status === Status.NotIdle || status === Status.Stale)
    return status === Status.Ok;
  throw kernel.failure(status, "a tenant");
}
