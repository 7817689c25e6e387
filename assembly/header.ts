// The header: says what the memory holds, and gives every thread an owner id of its own.
//
// Invariant: the capacities are written exactly once, by one compare-and-swap, and never change; until then no other
// function does anything but answer. Who may call: any thread, at any time, any number of threads at once.

import { BUDGETS_MAX, HOLDS_MAX, OWNERS_MAX, PENDING_MAX } from "./abi";
import {
  budgetsCapacity,
  bytesFor,
  HEADER_CAPACITIES,
  HEADER_MAGIC,
  HEADER_OWNERS,
  holdsCapacity,
  isIntegerIn,
  isOwner,
  MAGIC,
  PENDING,
} from "./layout";
import { Status } from "./status";

/**
 * Initialises a fresh memory for so many budgets and holds. Of several threads that come at the same time exactly one
 * does it; the others find it done, and get CapacityMismatch if they wanted other capacities.
 */
export function initialise(budgets: f64, holds: f64): i32 {
  if (!isIntegerIn(budgets, 1, <f64>BUDGETS_MAX) || !isIntegerIn(holds, 1, <f64>HOLDS_MAX)) return Status.ArgumentInvalid;
  const magic = atomic.load<u64>(HEADER_MAGIC);
  if (magic != 0 && magic != MAGIC) return Status.LayoutMismatch;
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

/** An owner id for the calling thread, never given out twice. @returns the id, or −status */
export function ownerIssue(): i32 {
  // Reads and changes the count. Ends because a failed swap means that another thread got its id.
  while (true) {
    const issued = atomic.load<u32>(HEADER_OWNERS);
    if (issued >= OWNERS_MAX) return -Status.OwnersExhausted;
    if (atomic.cmpxchg<u32>(HEADER_OWNERS, issued, issued + 1) == issued) return <i32>issued + 1;
  }
}

/** An owner id for a thread that will attach with it. @returns the id, or −status: PendingFull */
export function ownerPrepare(): i32 {
  for (let entry: u32 = 0; entry < PENDING_MAX; entry++) {
    const address = PENDING + (entry << 2);
    // Claimed with an id that no thread can have, so that two preparing threads cannot share the entry.
    if (atomic.cmpxchg<u32>(address, 0, u32.MAX_VALUE) != 0) continue;
    const owner = ownerIssue();
    atomic.store<u32>(address, owner > 0 ? <u32>owner : 0);
    return owner;
  }
  return -Status.PendingFull;
}

/**
 * Attaches a thread under a prepared id, once: a second thread under the same id would begin again at ticket 1, and
 * settle the first one's holds. @returns Ok, or HandleInvalid
 */
export function ownerAttach(owner: f64): i32 {
  return isOwner(owner) && forget(<u32>owner) ? Status.Ok : Status.HandleInvalid;
}

/** Drops an id that was prepared, if its thread never attached. True if it was there. */
export function forget(owner: u32): bool {
  for (let entry: u32 = 0; entry < PENDING_MAX; entry++) {
    if (atomic.cmpxchg<u32>(PENDING + (entry << 2), owner, 0) == owner) return true;
  }
  return false;
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
