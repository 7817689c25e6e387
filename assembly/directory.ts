// The directory: 128-bit name hash → slot, so that any thread opens a budget by its name.
//
// Invariant: at most one live slot per name; a slot's generation rises each time it begins to serve a budget, and a
// handle is good for its generation alone. Looking up takes no lock; creating and removing take the kernel's one lock.
// Who may call: any attached thread, through index.ts.

import { Kind } from "./abi";
import { checkHandle, counterOpen, retire } from "./counter";
import { isCredit } from "./credit";
import { dropHolds, hasHolds } from "./hold";
import { isGeometry } from "./permit";
import { isRate } from "./rate";
import {
  budgetsCapacity,
  COUNTER_GUARDS,
  COUNTER_KEY_HIGH,
  COUNTER_KEY_LOW,
  COUNTER_META,
  COUNTER_OPENING,
  counterAt,
  counterOf,
  handleOf,
  HEADER_PROBE_MAX,
  isAmount,
  isIntegerIn,
  isOwner,
} from "./layout";
import { lock, unlock } from "./lock";
import { Status } from "./status";

/**
 * Opens the budget of this name, or creates it with this kind and capacity. Of several threads that come at the same
 * time one creates and the others open.
 *
 * @returns the handle, or −status: WrongKind or Mismatch if the name serves another kind or capacity, BudgetsFull
 */
export function budgetOpen(keyHigh: u64, keyLow: u64, kind: f64, capacity: f64, owner: f64): f64 {
  if (!isAmount(capacity)) return -(<f64>Status.AmountInvalid);
  if (kind != <f64>Kind.Counter && kind != <f64>Kind.Tokens) return -(<f64>Status.ArgumentInvalid);
  return open(keyHigh, keyLow, <i32>kind, <u64>capacity, 0, owner);
}

/**
 * Opens or creates a counter whose threads spend from slices of `credit` units (credit.ts).
 * @returns as budgetOpen; Mismatch also if the name serves another credit
 */
export function creditOpen(keyHigh: u64, keyLow: u64, capacity: f64, credit: f64, owner: f64): f64 {
  if (!isAmount(capacity)) return -(<f64>Status.AmountInvalid);
  if (!isCredit(credit)) return -(<f64>Status.ArgumentInvalid);
  return open(keyHigh, keyLow, Kind.Credit, <u64>capacity, <u64>credit, owner);
}

/**
 * Opens or creates a token budget that belongs to a group: a tenant of a tracker.
 * @param group the same for all that are to be found together (src/kernel/group.ts)
 * @returns as budgetOpen; Mismatch also if the name serves another group
 */
export function tenantOpen(keyHigh: u64, keyLow: u64, capacity: f64, group: u64, owner: f64): f64 {
  if (!isAmount(capacity)) return -(<f64>Status.AmountInvalid);
  return open(keyHigh, keyLow, Kind.Tokens, <u64>capacity, group, owner);
}

/**
 * Opens or creates permits with these limits; permit.ts says what limits and guards are.
 * @param names a digest of what the fields are called: equal fields for other categories are other permits
 * @returns as budgetOpen; Mismatch also if the name serves other categories
 */
export function permitOpen(keyHigh: u64, keyLow: u64, limits: u64, guards: u64, names: u64, owner: f64): f64 {
  if (!isGeometry(limits, guards)) return -(<f64>Status.ArgumentInvalid);
  return open(keyHigh, keyLow, Kind.Permits, limits, guards, owner, names);
}

/** Opens or creates a rate; limit and window are reduced by their common divisor. @returns as budgetOpen */
export function rateOpen(keyHigh: u64, keyLow: u64, burst: f64, limit: f64, window: f64, owner: f64): f64 {
  if (!isAmount(burst)) return -(<f64>Status.AmountInvalid);
  if (!isIntegerIn(limit, 1, <f64>u32.MAX_VALUE) || !isIntegerIn(window, 1, <f64>u32.MAX_VALUE)) {
    return -(<f64>Status.ArgumentInvalid);
  }
  if (!isRate(<u64>burst, <u64>limit, <u64>window)) return -(<f64>Status.ArgumentInvalid);
  return open(keyHigh, keyLow, Kind.Rate, <u64>burst, (<u64>limit << 32) | <u64>window, owner);
}

/** @param names 0 where nothing but the figures must agree */
function open(
  keyHigh: u64,
  keyLow: u64,
  kind: i32,
  capacity: u64,
  guards: u64,
  owner: f64,
  names: u64 = 0,
): f64 {
  const opening = capacity ^ names; // one word for both: it is compared and nothing else
  if (!isOwner(owner)) return -(<f64>Status.HandleInvalid);
  if (budgetsCapacity() == 0) return -(<f64>Status.NotInitialised);
  const existing = find(keyHigh, keyLow);
  if (existing >= 0) {
    const accepted = accept(existing, kind, opening, guards);
    if (accepted != -(<f64>Status.Stale)) return accepted;
  }
  if (!lock(<u32>owner)) return -(<f64>Status.Busy);
  const created = create(keyHigh, keyLow, kind, capacity, opening, guards);
  unlock(<u32>owner);
  return created;
}

/** The handle of a budget that exists, or −status: NotFound, WrongKind. */
export function budgetFind(keyHigh: u64, keyLow: u64, kind: f64): f64 {
  if (!isIntegerIn(kind, 1, <f64>Kind.Credit)) return -(<f64>Status.ArgumentInvalid);
  if (budgetsCapacity() == 0) return -(<f64>Status.NotInitialised);
  const existing = find(keyHigh, keyLow);
  if (existing < 0) return -(<f64>Status.NotFound);
  const status = checkHandle(existing, <Kind>(<i32>kind));
  return status == Status.Ok ? existing : -(<f64>(status == Status.Stale ? Status.NotFound : status));
}

/** Removes a budget: its handles and holds are stale from here on, its slot may be reused. @returns a status */
export function budgetRemove(handle: f64, owner: f64): i32 {
  if (!isOwner(owner)) return Status.HandleInvalid;
  if (!lock(<u32>owner)) return Status.Busy;
  const status = checkHandle(handle, Kind.Any);
  if (status == Status.Ok) atomic.store<u64>(counterOf(handle) + COUNTER_META, 0);
  unlock(<u32>owner);
  if (status == Status.Ok) dropHolds(handle, <u32>owner);
  return status;
}

/**
 * Removes a token budget if nothing of it is out and no hold is open on it, and leaves it alone otherwise.
 * @returns Ok; NotIdle if it is in use
 */
export function budgetRemoveIdle(handle: f64, owner: f64): i32 {
  if (!isOwner(owner)) return Status.HandleInvalid;
  if (!lock(<u32>owner)) return Status.Busy;
  let status = checkHandle(handle, Kind.Tokens);
  if (status == Status.Ok) {
    // Holds first, balance second: whoever claims a hold in between finds the balance retired and lets go.
    if (!hasHolds(handle) && retire(counterOf(handle))) atomic.store<u64>(counterOf(handle) + COUNTER_META, 0);
    else status = Status.NotIdle;
  }
  unlock(<u32>owner);
  return status;
}

/** How many budgets live here, by looking at every slot. May be late. */
export function budgetCount(): u32 {
  let live: u32 = 0;
  const count = budgetsCapacity();
  for (let slot: u32 = 0; slot < count; slot++) {
    if (atomic.load<u64>(counterAt(slot) + COUNTER_META) != 0) live++;
  }
  return live;
}

/**
 * The handle if kind and what was asked for at opening agree; −Stale if the budget was removed since it was found, as the meta
 * word before and after the look at its capacity tells.
 */
function accept(handle: f64, kind: i32, opening: u64, guards: u64): f64 {
  const counter = counterOf(handle);
  const meta = atomic.load<u64>(counter + COUNTER_META);
  const agrees =
    atomic.load<u64>(counter + COUNTER_OPENING) == opening && atomic.load<u64>(counter + COUNTER_GUARDS) == guards;
  const before = checkHandle(handle, kind);
  if (before != Status.Ok) return -(<f64>before);
  if (atomic.load<u64>(counter + COUNTER_META) != meta) return -(<f64>Status.Stale);
  return agrees ? handle : -(<f64>Status.Mismatch);
}

/**
 * The handle of the live budget with this key, or −1. Reads the slot's meta word before and after its key: if it did
 * not change, neither did the key, since a slot's key is written only while its meta word is 0 and the generation in
 * the meta word never returns.
 */
function find(keyHigh: u64, keyLow: u64): f64 {
  const count = budgetsCapacity();
  const probes = min<u32>(atomic.load<u32>(HEADER_PROBE_MAX), count);
  let slot = home(keyLow, count);
  for (let probe: u32 = 0; probe < probes; probe++) {
    const counter = counterAt(slot);
    const meta = atomic.load<u64>(counter + COUNTER_META);
    if (
      meta != 0 &&
      atomic.load<u64>(counter + COUNTER_KEY_HIGH) == keyHigh &&
      atomic.load<u64>(counter + COUNTER_KEY_LOW) == keyLow &&
      atomic.load<u64>(counter + COUNTER_META) == meta
    ) {
      return handleOf(slot, <u32>(meta >>> 8));
    }
    slot = slot + 1 == count ? 0 : slot + 1;
  }
  return -1;
}

/** Under the lock: another thread may have created it since `find` looked, so looks again before it takes a slot. */
function create(keyHigh: u64, keyLow: u64, kind: i32, capacity: u64, opening: u64, guards: u64): f64 {
  const existing = find(keyHigh, keyLow);
  if (existing >= 0) return accept(existing, kind, opening, guards);
  const count = budgetsCapacity();
  let slot = home(keyLow, count);
  for (let probe: u32 = 0; probe < count; probe++) {
    const counter = counterAt(slot);
    if (atomic.load<u64>(counter + COUNTER_META) == 0) {
      atomic.store<u64>(counter + COUNTER_KEY_HIGH, keyHigh);
      atomic.store<u64>(counter + COUNTER_KEY_LOW, keyLow);
      // The probe length is raised before the budget lives, so that whoever could know of it also finds it.
      if (probe + 1 > atomic.load<u32>(HEADER_PROBE_MAX)) atomic.store<u32>(HEADER_PROBE_MAX, probe + 1);
      atomic.store<u64>(counter + COUNTER_OPENING, opening);
      return handleOf(slot, counterOpen(counter, <Kind>kind, capacity, guards));
    }
    slot = slot + 1 == count ? 0 : slot + 1;
  }
  return -(<f64>Status.BudgetsFull);
}

// @ts-ignore: decorator
@inline
function home(keyLow: u64, count: u32): u32 {
  return <u32>(keyLow % <u64>count);
}
