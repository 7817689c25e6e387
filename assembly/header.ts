// The header: says what the memory holds, and gives every thread an owner id of its own.
//
// Invariant: the capacities are written exactly once, by one compare-and-swap, and never change; until then no other
// function does anything but answer. Who may call: any thread, at any time, any number of threads at once.

import { BUDGETS_MAX, HOLDS_MAX, OWNERS_MAX } from "./abi";
import {
  budgetsCapacity,
  bytesFor,
  HEADER_CAPACITIES,
  HEADER_MAGIC,
  HEADER_OWNERS,
  holdsCapacity,
  isIntegerIn,
  MAGIC,
} from "./layout";
import { Status } from "./status";

/**
 * Initialises a fresh memory for so many budgets and holds. Of several threads that come at the same time exactly one
 * does it; the others find it done, and get CapacityMismatch if they wanted other capacities.
 */
export function initialise(budgets: f64, holds: f64): i32 {
  if (!isIntegerIn(budgets, 1, <f64>BUDGETS_MAX) || !isIntegerIn(holds, 1, <f64>HOLDS_MAX)) return Status.ArgumentInvalid;
  if (bytesFor(<u32>budgets, <u32>holds) > memoryBytes()) return Status.CapacityMismatch;
  // The magic first: the same constant from every thread, so it does not matter who writes it. A memory that says
  // something else belongs to somebody else.
  const found = atomic.cmpxchg<u64>(HEADER_MAGIC, 0, MAGIC);
  if (found != 0 && found != MAGIC) return Status.LayoutMismatch;
  // The capacities second: this one swap is the moment of initialisation. Between the two writes others see a memory
  // that is not initialised yet, which is true.
  const capacities = (<u64>holds << 32) | <u64>budgets;
  const before = atomic.cmpxchg<u64>(HEADER_CAPACITIES, 0, capacities);
  return before == 0 || before == capacities ? Status.Ok : Status.CapacityMismatch;
}

/** Whether this memory is one that this kernel can work on. */
export function attach(): i32 {
  const magic = atomic.load<u64>(HEADER_MAGIC);
  if (magic != 0 && magic != MAGIC) return Status.LayoutMismatch;
  if (atomic.load<u64>(HEADER_CAPACITIES) == 0) return Status.NotInitialised;
  return bytesFor(budgetsCapacity(), holdsCapacity()) > memoryBytes() ? Status.CapacityMismatch : Status.Ok;
}

/** A new owner id for one thread, never given out twice. @returns the id, or −status */
export function ownerIssue(): i32 {
  // Ends because a failed swap means that another thread got its id.
  while (true) {
    const issued = atomic.load<u32>(HEADER_OWNERS);
    if (issued >= OWNERS_MAX) return -Status.OwnersExhausted;
    if (atomic.cmpxchg<u32>(HEADER_OWNERS, issued, issued + 1) == issued) return <i32>issued + 1;
  }
}

export function budgetsInitialised(): u32 {
  return budgetsCapacity();
}

export function holdsInitialised(): u32 {
  return holdsCapacity();
}

function memoryBytes(): u64 {
  return <u64>memory.size() << 16;
}
