// Counting permits in layers: a permit counts in its category and in the total, both at once or not at all, because
// both counts stand in one word.
//
// Invariant: no field of the word ever exceeds its limit. Within a category permits go to those who wait in the order
// in which they came, over all threads; who does not wait gets none while somebody does.
// Who may call: any thread, through index.ts. A held permit is a hold (hold.ts), so a dead thread's are reclaimed.
//
//   word     lock, tag (9 bits) | category n … | category 1 | total        each field: its count and a guard bit on top
//   limits   the same fields, each with its limit; guards: the guard bits alone
//   A field may be raised if (limit + guard) − (count + 1) leaves the guard bit standing: one subtraction checks them all.

import { Kind } from "./abi";
import {
  COUNTER_OUT,
  COUNTER_CONSUMED,
  COUNTER_GUARDS,
  COUNTER_META,
  COUNTER_WAITING,
  counterOf,
  HEADER_SEQUENCE,
  HOLD_AMOUNT,
  HOLD_COUNTER,
  HOLD_STAMP,
  HOLD_STATE,
  holdAt,
  holdsCapacity,
  isIntegerIn,
  isOwner,
  metaOf,
} from "./layout";
import { capacityOf, checkHandle, refuse } from "./counter";
import { CLAIMED, claim, FREE, HELD, isTicket, ownerOf, prepare, restated, stateOf, stateWord, WAITING } from "./hold";
import { Status } from "./status";
import { bare, isLocked, VALUE_MASK, valueOf } from "./word";

/** What a permit of the category whose field begins at `shift` adds: one there, and one of the total, which begins at bit 0. */
// @ts-ignore: decorator
@inline
export function incrementOf(shift: f64): u64 {
  return 1 | (<u64>1 << <u64>shift);
}

/** A place in the line behind everybody's: for who does not wait. */
const LAST: u64 = u64.MAX_VALUE;

/** Whether limits and guards describe fields that lie within the word and do not overlap. */
export function isGeometry(limits: u64, guards: u64): bool {
  return guards != 0 && ((limits | guards) & ~VALUE_MASK) == 0 && (limits & guards) == 0;
}

/**
 * Takes a permit at once if its category and the total have one and nobody waits for the category.
 *
 * @param shift where the category's field begins; @param owner, ticket, hint as for holdReserve
 * @returns the hold's slot, or −status
 */
export function permitTake(handle: f64, shift: f64, owner: f64, ticket: f64, hint: f64): i32 {
  const status = checkCategory(handle, shift);
  if (status != Status.Ok) return -status;
  if (!isOwner(owner) || !isTicket(ticket)) return -Status.HandleInvalid;
  const counter = counterOf(handle);
  const increment = incrementOf(shift);
  const seen = atomic.load<u64>(counter + COUNTER_OUT);
  if ((!fits(counter, seen, increment) && !isLocked(seen)) || isAwaited(counter, handle, increment, LAST)) {
    return -refuse(counter, handle);
  }
  const claimed = stateWord(<u64>ticket, <u32>owner, CLAIMED);
  const slot = claim(claimed, hint);
  if (slot < 0) return -Status.HoldsFull;
  const hold = holdAt(<u32>slot);
  prepare(hold, handle, increment, 0);
  const taken = take(counter, handle, hold, increment, claimed);
  if (taken == Status.Ok) return slot;
  atomic.store<u64>(hold + HOLD_STATE, FREE);
  return taken == Status.Exceeds ? -refuse(counter, handle) : -taken;
}

/** Gets in line for a permit. @returns the hold's slot, to be promoted or cancelled, or −status */
export function permitWait(handle: f64, shift: f64, owner: f64, ticket: f64, hint: f64): i32 {
  const status = checkCategory(handle, shift);
  if (status != Status.Ok) return -status;
  if (!isOwner(owner) || !isTicket(ticket)) return -Status.HandleInvalid;
  const counter = counterOf(handle);
  const claimed = stateWord(<u64>ticket, <u32>owner, CLAIMED);
  const slot = claim(claimed, hint);
  if (slot < 0) return -Status.HoldsFull;
  const hold = holdAt(<u32>slot);
  prepare(hold, handle, incrementOf(shift), 0);
  store<u64>(hold + HOLD_STAMP, atomic.add<u64>(counter + COUNTER_CONSUMED, 1)); // the place in the line
  // Counted before it is seen waiting: a count that is too high for a moment only makes others look.
  atomic.add<u32>(counter + COUNTER_WAITING, 1);
  atomic.store<u64>(hold + HOLD_STATE, restated(claimed, <u32>owner, WAITING));
  return slot;
}

/**
 * Turns a wait into a permit if it is the first of its category and there is one.
 * @returns Ok; Exceeds: wait on; NotHeld: it is not waiting; Stale
 */
export function permitPromote(handle: f64, slot: f64, owner: f64, ticket: f64): i32 {
  const hold = waitOf(handle, slot, owner, ticket);
  if (hold == 0) return Status.NotHeld;
  const counter = counterOf(handle);
  const increment = load<u64>(hold + HOLD_AMOUNT);
  if (isAwaited(counter, handle, increment, load<u64>(hold + HOLD_STAMP))) return Status.Exceeds;
  const status = take(counter, handle, hold, increment, stateWord(<u64>ticket, <u32>owner, WAITING));
  if (status == Status.Ok) leaveLine(counter);
  return status;
}

/** Leaves the line. @returns Ok, or NotHeld if it is not waiting any more */
export function permitCancel(handle: f64, slot: f64, owner: f64, ticket: f64): i32 {
  const hold = waitOf(handle, slot, owner, ticket);
  if (hold == 0) return Status.NotHeld;
  const waiting = stateWord(<u64>ticket, <u32>owner, WAITING);
  return dropWait(hold, handle, waiting) ? Status.Ok : Status.NotHeld;
}

/** The fields of the word as they are, without the tag; 0 for a handle that is no permits'. May be late. */
export function permitFields(handle: f64): u64 {
  if (checkHandle(handle, Kind.Permits) != Status.Ok) return 0;
  return valueOf(atomic.load<u64>(counterOf(handle) + COUNTER_OUT));
}

/** How many wait for a category, over all threads. May be late. @returns the count, or −status */
export function permitWaiting(handle: f64, shift: f64): i32 {
  const status = checkCategory(handle, shift);
  if (status != Status.Ok) return -status;
  const increment = incrementOf(shift);
  let waiting = 0;
  const count = holdsCapacity();
  for (let slot: u32 = 0; slot < count; slot++) if (waitsFor(holdAt(slot), handle, increment, LAST)) waiting++;
  return waiting;
}

// ---------------------------------------------------------------------------------------------------------------------
// Inside the kernel

/** A permit's way back, from hold.ts's finish. The state word says settled; the caller frees it. */
export function permitGive(counter: u32, handle: f64, increment: u64): Status {
  // Reads meta and the word; changes the word. Ends because a failed swap means another thread's succeeded.
  while (true) {
    const word = bare(atomic.load<u64>(counter + COUNTER_OUT));
    if (atomic.load<u64>(counter + COUNTER_META) != metaOf(handle, Kind.Permits)) return Status.Stale;
    if (atomic.cmpxchg<u64>(counter + COUNTER_OUT, word, word - increment) == word) {
      wake(counter);
      return Status.Ok;
    }
  }
}

/** Ends a wait whose state word is `waiting`: its own thread's cancel, or reclaim for a dead one. */
export function dropWait(hold: u32, handle: f64, waiting: u64): bool {
  if (atomic.cmpxchg<u64>(hold + HOLD_STATE, waiting, FREE) != waiting) return false;
  leaveLine(counterOf(handle));
  return true;
}

/**
 * The line moved: whoever waits behind may be the first now. The count is the slot's, not the line's: who got in a line
 * that was removed meanwhile was counted too, and is taken off here.
 */
// @ts-ignore: decorator
@inline
function leaveLine(counter: u32): void {
  atomic.sub<u32>(counter + COUNTER_WAITING, 1);
  wake(counter);
}

/**
 * Moves the word that waiting threads watch, if any thread waits. Nobody is missed: who waits is counted first and looks
 * for a permit afterwards; who gives one gives it first and looks at the count afterwards.
 */
// @ts-ignore: decorator
@inline
function wake(counter: u32): void {
  if (atomic.load<u32>(counter + COUNTER_WAITING) != 0) atomic.add<u32>(HEADER_SEQUENCE, 1);
}

/** Ok, or why there is no such category; `at` is where its field begins. */
export function checkCategory(handle: f64, at: f64): Status {
  const status = checkHandle(handle, Kind.Permits);
  if (status != Status.Ok) return status;
  const guards = atomic.load<u64>(counterOf(handle) + COUNTER_GUARDS);
  if (!isIntegerIn(at, 1, 53)) return Status.ArgumentInvalid;
  // A category's field begins right above a guard bit and has a guard bit of its own further up.
  const shift = <u64>at;
  if (((guards >>> (shift - 1)) & 1) == 0 || guards >>> shift == 0) {
    return Status.ArgumentInvalid;
  }
  return Status.Ok;
}

/** Whether a permit can be had without passing anybody who waits for one. */
export function isFree(counter: u32, handle: f64, word: u64, increment: u64): bool {
  return fits(counter, word, increment) && !isAwaited(counter, handle, increment, LAST);
}

// @ts-ignore: decorator
@inline
function fits(counter: u32, word: u64, increment: u64): bool {
  const guards = atomic.load<u64>(counter + COUNTER_GUARDS);
  const limits = capacityOf(counter);
  return (((limits | guards) - (valueOf(word) + increment)) & guards) == guards;
}

/** Raises the fields and puts the hold's state from `before` to `held`. Everything or nothing. */
function take(counter: u32, handle: f64, hold: u32, increment: u64, before: u64): Status {
  // Reads meta, the word and its limits, which never change; changes the word. Ends because a failed swap means another
  // thread's succeeded. Midway others see the permit not taken yet; its hold is claimed or waiting.
  while (true) {
    const word = atomic.load<u64>(counter + COUNTER_OUT);
    if (atomic.load<u64>(counter + COUNTER_META) != metaOf(handle, Kind.Permits)) return Status.Stale;
    if (isLocked(word)) continue;
    if (!fits(counter, word, increment)) return Status.Exceeds;
    if (atomic.cmpxchg<u64>(counter + COUNTER_OUT, word, word + increment) == word) {
      // Straight line, as in holdReserve. Who removes the governor frees the holds that wait, so this one may be another's
      // by now; then the word is nobody's any more, or the successor's, which began it anew.
      const held = restated(before, ownerOf(before), HELD);
      return atomic.cmpxchg<u64>(hold + HOLD_STATE, before, held) == before ? Status.Ok : Status.Stale;
    }
  }
}

/** Whether somebody waits for the same category who came before `place`. Looks at the holds only if anybody waits. */
function isAwaited(counter: u32, handle: f64, increment: u64, place: u64): bool {
  if (atomic.load<u32>(counter + COUNTER_WAITING) == 0) return false;
  const count = holdsCapacity();
  for (let slot: u32 = 0; slot < count; slot++) {
    if (waitsFor(holdAt(slot), handle, increment, place)) return true;
  }
  return false;
}

/** Whether a hold waits for a category at a place before `place`. Its figures count if it is the same wait behind them. */
function waitsFor(hold: u32, handle: f64, increment: u64, place: u64): bool {
  const word = atomic.load<u64>(hold + HOLD_STATE);
  return (
    stateOf(word) == WAITING &&
    atomic.load<u64>(hold + HOLD_COUNTER) == reinterpret<u64>(handle) &&
    atomic.load<u64>(hold + HOLD_AMOUNT) == increment &&
    atomic.load<u64>(hold + HOLD_STAMP) < place &&
    atomic.load<u64>(hold + HOLD_STATE) == word
  );
}

/** The address of a hold that waits under this ticket and owner, or 0. */
function waitOf(handle: f64, slot: f64, owner: f64, ticket: f64): u32 {
  if (checkHandle(handle, Kind.Permits) == Status.HandleInvalid) return 0;
  if (!isIntegerIn(slot, 0, <f64>holdsCapacity() - 1) || !isOwner(owner) || !isTicket(ticket)) return 0;
  const hold = holdAt(<u32>slot);
  if (atomic.load<u64>(hold + HOLD_STATE) != stateWord(<u64>ticket, <u32>owner, WAITING)) return 0;
  return load<f64>(hold + HOLD_COUNTER) == handle ? hold : 0;
}
