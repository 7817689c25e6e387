// Holds: one slot per outstanding reservation of tokens, per permit, and per place in the line for one.
//
// Invariant: a hold is settled at most once, by whichever thread, because leaving the state `held` is one
// compare-and-swap on a word that names (ticket, owner), a pair that is never used twice. Every unit that is out of a
// token budget is in exactly one hold, until that hold gives it back or it was consumed.
// Who may call: any thread, through index.ts, with an owner id that the kernel issued to it.
//
//      free ──claim──▶ claimed ──take──▶ held ──settle──▶ settled ──credit──▶ free
//                                        ▲  │
//                                        └──┴─ adjusting
//
// A slot can also be a thread's cell of credit, which is no hold and has a state of its own (credit.ts).
//
// A thread can be terminated at loop heads and calls. At those points its hold stands in one of these states, and
// reclaim knows what each means:
//   claimed    nothing was taken (the take and `held` stand on one straight line): free the slot;
//   held       the amount is out: settle it with 0;
//   waiting    it stands in line for a permit (permit.ts): out of the line;
//   adjusting  nothing was changed yet: back to held, under the hold's own owner;
//   settled    progress 0: nothing was booked; progress 1: consumption was, the credit was not. Finish it.
// `settled` and `adjusting` carry the thread that is at it as owner, so that it is that thread's death that counts.

import { Kind, TICKET_MAX } from "./abi";
import {
  AMOUNT_MAX_F64,
  COUNTER_CONSUMED,
  COUNTER_META,
  COUNTER_OUT,
  COUNTER_OVER_RELEASED,
  counterOf,
  HOLD_ACTUAL,
  HOLD_AMOUNT,
  HOLD_COUNTER,
  HOLD_OWNER,
  HOLD_DEADLINE,
  HOLD_PROGRESS,
  HOLD_STAMP,
  HOLD_STATE,
  holdAt,
  holdsCapacity,
  isAmount,
  isIntegerIn,
  isOwner,
  metaOf,
} from "./layout";
import { canConsume, capacityOf, changed, checkHandle, deny, epochOf, noteHighWater, tally } from "./counter";
import { forgetWanted, leaveCell } from "./credit";
import { forget } from "./header";
import { unlock } from "./lock";
import { dropWait, permitGive } from "./permit";
import { Status } from "./status";
import { bare, isLocked, valueOf, valueUnlocked, withValue } from "./word";

export const FREE: u64 = 0;
export const CLAIMED: u64 = 1;
export const HELD: u64 = 2;
const SETTLED: u64 = 3;
const ADJUSTING: u64 = 4;
export const WAITING: u64 = 5;
/** A cell of thread credit (credit.ts); its owner is 0 while no thread has it. */
export const CREDIT: u64 = 6;
const STATE_MASK: u64 = 7;

const OWNER_SHIFT: u64 = 3;
const OWNER_MASK: u64 = (1 << 20) - 1;
const TICKET_SHIFT: u64 = 23;

/** An adjustment is a few instructions; whose thread does not run just now is worth no more looks: Busy. */
const LOOKS_MAX: u32 = 1 << 12;

// @ts-ignore: decorator
@inline
export function stateWord(ticket: u64, owner: u32, state: u64): u64 {
  return (ticket << TICKET_SHIFT) | (<u64>owner << OWNER_SHIFT) | state;
}

// @ts-ignore: decorator
@inline
export function stateOf(word: u64): u64 {
  return word & STATE_MASK;
}

// @ts-ignore: decorator
@inline
export function ownerOf(word: u64): u32 {
  return <u32>((word >>> OWNER_SHIFT) & OWNER_MASK);
}

/** The same ticket in another state, under another owner. */
// @ts-ignore: decorator
@inline
export function restated(word: u64, owner: u32, state: u64): u64 {
  return stateWord(word >>> TICKET_SHIFT, owner, state);
}

/** True for a number that can be a ticket. */
export function isTicket(ticket: f64): bool {
  return isIntegerIn(ticket, 1, <f64>TICKET_MAX);
}

/**
 * Takes `amount` out of a token budget and remembers it in a hold.
 *
 * @param owner the calling thread; @param ticket a number this owner never used before
 * @param deadline when `holdExpire` may give it back, in ms of the caller's clock; 0 for never
 * @param hint a slot that is probably free; only speed depends on it
 * @returns the hold's slot, or −status
 */
export function holdReserve(handle: f64, amount: f64, owner: f64, ticket: f64, deadline: f64, hint: f64): i32 {
  if (!isAmount(amount)) return -Status.AmountInvalid;
  if (!isAmount(deadline)) return -Status.TimeInvalid;
  if (!isOwner(owner) || !isTicket(ticket)) return -Status.HandleInvalid;
  const counter = counterOf(handle);
  if (counter == 0) return -Status.HandleInvalid;
  const cost = <u64>amount;
  // Look before claiming: most denials cost no slot.
  const seen = atomic.load<u64>(counter + COUNTER_OUT);
  if (atomic.load<u64>(counter + COUNTER_META) != metaOf(handle, Kind.Tokens)) return -checkHandle(handle, Kind.Tokens);
  if (valueOf(seen) + cost > capacityOf(counter) && !isLocked(seen)) return -deny(counter, handle, seen);

  const claimed = stateWord(<u64>ticket, <u32>owner, CLAIMED);
  const slot = claim(claimed, hint);
  if (slot < 0) return -Status.HoldsFull;
  const hold = holdAt(<u32>slot);
  prepare(hold, handle, cost, <u64>deadline);

  // Reads the word, meta, capacity and stamp; changes the word. Ends because a failed swap means another thread's
  // succeeded. Midway others see a claimed slot, which nobody but reclaim touches, and a word before or after the take.
  while (true) {
    const word = atomic.load<u64>(counter + COUNTER_OUT);
    const next = valueUnlocked(word) + cost;
    const live = atomic.load<u64>(counter + COUNTER_META) == metaOf(handle, Kind.Tokens);
    if (!live || next > capacityOf(counter)) {
      if (live && isLocked(word)) continue;
      atomic.store<u64>(hold + HOLD_STATE, FREE);
      return live ? -deny(counter, handle, word) : -checkHandle(handle, Kind.Tokens);
    }
    store<u64>(hold + HOLD_STAMP, epochOf(counter, word));
    if (atomic.cmpxchg<u64>(counter + COUNTER_OUT, word, withValue(word, next)) == word) {
      // Straight line: from here to `held` no interrupt can come (see the head of this file).
      atomic.store<u64>(hold + HOLD_STATE, restated(claimed, <u32>owner, HELD));
      noteHighWater(counter, handle, next);
      return slot;
    }
  }
}

/** Fills a claimed hold. Nobody looks at it before its state says more than claimed. */
// @ts-ignore: decorator
@inline
export function prepare(hold: u32, handle: f64, amount: u64, deadline: u64): void {
  store<f64>(hold + HOLD_COUNTER, handle);
  store<u64>(hold + HOLD_AMOUNT, amount);
  store<u64>(hold + HOLD_DEADLINE, deadline);
  store<u32>(hold + HOLD_PROGRESS, 0);
}

/**
 * Settles a hold with what was really used: what was not used goes back (debt is repaid by it first), what was used
 * beyond it is charged as well. In a later epoch than its own a hold credits nothing, and still charges what
 * went beyond it. `actual` 0 is a release.
 *
 * @param settler the calling thread, which need not be the owner
 * @returns Ok; NotHeld if it was settled before, in which case nothing changes; Overflow if all consumption together
 *   would leave its range, in which case it stays held;
 *   Stale if the budget was removed: the hold is gone, no figure changed
 */
export function holdSettle(handle: f64, slot: f64, owner: f64, ticket: f64, actual: f64, settler: f64): i32 {
  if (!isAmount(actual)) return Status.AmountInvalid;
  if (!isIntegerIn(slot, 0, <f64>holdsCapacity() - 1)) return Status.HandleInvalid;
  if (!isOwner(owner) || !isOwner(settler) || !isTicket(ticket)) return Status.HandleInvalid;
  if (counterOf(handle) == 0) return Status.HandleInvalid;
  const hold = holdAt(<u32>slot);
  const held = stateWord(<u64>ticket, <u32>owner, HELD);
  const word = steady(hold, <u64>ticket);
  if (word != held) return notHeld(word, held);
  // Fields are stable while the state word stands; if it changes after this look, the swap below fails.
  const foreign = load<f64>(hold + HOLD_COUNTER) != handle;
  if (foreign && atomic.load<u64>(hold + HOLD_STATE) == held) return Status.ForeignHold;
  // Before anything is settled, so that a refusal leaves the hold as it is.
  if (!canConsume(counterOf(handle), <u64>actual) && checkHandle(handle, Kind.Tokens) == Status.Ok) return Status.Overflow;
  return settle(hold, held, <u64>actual, <u32>settler);
}

/** The state word, once nobody is adjusting this ticket's hold any more. */
function steady(hold: u32, ticket: u64): u64 {
  let word = atomic.load<u64>(hold + HOLD_STATE);
  for (let looks: u32 = 0; looks < LOOKS_MAX; looks++) {
    if (stateOf(word) != ADJUSTING || word >>> TICKET_SHIFT != ticket) break;
    word = atomic.load<u64>(hold + HOLD_STATE);
  }
  return word;
}

/** Why a hold is not to be had now: its adjuster is slow, or it is gone. */
function notHeld(word: u64, held: u64): Status {
  return stateOf(word) == ADJUSTING && word >>> TICKET_SHIFT == held >>> TICKET_SHIFT ? Status.Busy : Status.NotHeld;
}

/** The one way out of `held` for good. Ends because each round waits for one adjustment, which is finite. */
function settle(hold: u32, held: u64, actual: u64, settler: u32): Status {
  const settled = restated(held, settler, SETTLED);
  while (true) {
    if (atomic.cmpxchg<u64>(hold + HOLD_STATE, held, settled) == held) {
      store<u64>(hold + HOLD_ACTUAL, actual);
      return finish(hold);
    }
    const word = steady(hold, held >>> TICKET_SHIFT);
    if (word != held) return notHeld(word, held);
  }
}

/** Books a settled hold and frees its slot. The caller's thread is the one that the state word names. */
function finish(hold: u32): Status {
  const handle = load<f64>(hold + HOLD_COUNTER);
  const counter = counterOf(handle);
  if ((atomic.load<u64>(counter + COUNTER_META) & 255) == Kind.Permits) {
    const given = permitGive(counter, handle, load<u64>(hold + HOLD_AMOUNT));
    atomic.store<u64>(hold + HOLD_STATE, FREE);
    return given;
  }
  const actual = load<u64>(hold + HOLD_ACTUAL);
  if (load<u32>(hold + HOLD_PROGRESS) == 0) {
    if (actual > 0) tally(counter + COUNTER_CONSUMED, handle, actual);
    store<u32>(hold + HOLD_PROGRESS, 1);
  }
  const delta = <i64>actual - load<i64>(hold + HOLD_AMOUNT);
  let status = Status.Ok;
  let next: u64 = 0;
  // Reads the word, meta and stamp; changes the word. Ends because a failed swap means another thread's succeeded.
  // Midway others see the hold settled and its refund not there yet: less available than there is.
  while (true) {
    const word = bare(atomic.load<u64>(counter + COUNTER_OUT));
    if (atomic.load<u64>(counter + COUNTER_META) != metaOf(handle, Kind.Tokens)) {
      status = Status.Stale;
      break;
    }
    const current = epochOf(counter, word) == load<u64>(hold + HOLD_STAMP);
    const change = current ? delta : max<i64>(delta, 0);
    if (change == 0) break;
    next = changed(valueOf(word), change);
    if (atomic.cmpxchg<u64>(counter + COUNTER_OUT, word, withValue(word, next)) == word) break;
  }
  atomic.store<u64>(hold + HOLD_STATE, FREE);
  if (delta > 0 && status == Status.Ok) noteHighWater(counter, handle, next);
  return status;
}

/**
 * Changes what a hold holds: by at most what is available upwards, by at most what it holds downwards. What could not be
 * taken is counted as over-released. A hold of an earlier epoch stays as it is.
 *
 * @param delta a signed integer; @param adjuster the calling thread
 * @returns what it holds now, or −status
 */
export function holdAdjust(handle: f64, slot: f64, owner: f64, ticket: f64, delta: f64, adjuster: f64): f64 {
  if (!isIntegerIn(delta, -AMOUNT_MAX_F64, AMOUNT_MAX_F64)) return -(<f64>Status.AmountInvalid);
  if (!isIntegerIn(slot, 0, <f64>holdsCapacity() - 1)) return -(<f64>Status.HandleInvalid);
  if (!isOwner(owner) || !isOwner(adjuster) || !isTicket(ticket)) return -(<f64>Status.HandleInvalid);
  const status = checkHandle(handle, Kind.Tokens);
  if (status != Status.Ok) return -(<f64>status);
  const hold = holdAt(<u32>slot);
  const held = stateWord(<u64>ticket, <u32>owner, HELD);
  // Ends because each round waits for one adjustment of another thread, which is finite.
  while (true) {
    const word = steady(hold, <u64>ticket);
    if (word != held) return -(<f64>notHeld(word, held));
    if (load<f64>(hold + HOLD_COUNTER) != handle) return -(<f64>Status.ForeignHold);
    if (!still(hold, held, <u32>adjuster)) continue;
    const amount = load<i64>(hold + HOLD_AMOUNT);
    return <f64>(amount + adjust(hold, held, amount, <i64>delta));
  }
}

/**
 * Changes what a budget's open holds hold together by `delta`: upwards on one of them, downwards on as many as it takes.
 * So what is out is at every moment the sum of what the holds hold. Without an open hold nothing happens.
 *
 * @returns a status; or, below 0, what is still to be taken off: other threads are adjusting the holds that are left, so
 *   ask again with that. Busy says the same of a change upwards, of which nothing is done yet.
 */
export function budgetAdjust(handle: f64, delta: f64, adjuster: f64): f64 {
  if (!isIntegerIn(delta, -AMOUNT_MAX_F64, AMOUNT_MAX_F64)) return <f64>Status.AmountInvalid;
  if (!isOwner(adjuster)) return <f64>Status.HandleInvalid;
  const status = checkHandle(handle, Kind.Tokens);
  if (status != Status.Ok) return <f64>status;
  let rest = <i64>delta;
  let busy = false;
  const count = holdsCapacity();
  for (let slot: u32 = 0; slot < count && rest != 0; slot++) {
    const hold = holdAt(slot);
    let word = atomic.load<u64>(hold + HOLD_STATE);
    // Ends as holdAdjust's loop does. Whose hold it is is read behind its state: if that stands, so does this.
    while (isOpen(word) && load<f64>(hold + HOLD_COUNTER) == handle) {
      if (stateOf(word) == HELD && still(hold, word, <u32>adjuster)) {
        const change = adjust(hold, word, load<i64>(hold + HOLD_AMOUNT), rest);
        // Upwards one hold gets it all; what did not fit was counted.
        rest = rest > 0 ? 0 : rest - change;
        break;
      }
      const next = steady(hold, word >>> TICKET_SHIFT);
      if (stateOf(next) == ADJUSTING && next >>> TICKET_SHIFT == word >>> TICKET_SHIFT) {
        busy = true;
        break;
      }
      word = next;
    }
  }
  if (!busy || rest == 0) return <f64>Status.Ok;
  return rest > 0 ? <f64>Status.Busy : <f64>rest;
}

/** Whether a hold of this state word holds something that an adjustment can change, now or in a moment. */
// @ts-ignore: decorator
@inline
function isOpen(word: u64): bool {
  return stateOf(word) == HELD || stateOf(word) == ADJUSTING;
}

/** Holds the hold still for this thread alone: until `adjust` lets go, nobody changes or settles it. False if it changed. */
function still(hold: u32, held: u64, adjuster: u32): bool {
  if (atomic.cmpxchg<u64>(hold + HOLD_STATE, held, restated(held, adjuster, ADJUSTING)) != held) return false;
  store<u32>(hold + HOLD_OWNER, ownerOf(held));
  return true;
}

/** Changes balance and amount of a hold that stands still, and lets go. @returns the change that was made */
function adjust(hold: u32, held: u64, amount: i64, delta: i64): i64 {
  const handle = load<f64>(hold + HOLD_COUNTER);
  const counter = counterOf(handle);
  let missing: i64 = 0;
  // Reads the word, meta, capacity and stamp; changes the word. Ends because a failed swap means another thread's
  // succeeded. Midway others see the hold adjusting and wait for it; the word is before or after.
  while (true) {
    const word = atomic.load<u64>(counter + COUNTER_OUT);
    if (atomic.load<u64>(counter + COUNTER_META) != metaOf(handle, Kind.Tokens)) break;
    if (isLocked(word)) continue;
    if (epochOf(counter, word) != load<u64>(hold + HOLD_STAMP)) break;
    const out = valueOf(word);
    const room = <i64>(capacityOf(counter) - min<u64>(out, capacityOf(counter)));
    const change = delta < 0 ? -min<i64>(-delta, amount) : min<i64>(delta, room);
    missing = max<i64>(delta - change, 0);
    if (change == 0) break;
    const next = changed(out, change);
    if (atomic.cmpxchg<u64>(counter + COUNTER_OUT, word, withValue(word, next)) == word) {
      // Straight line to `held`, as in holdReserve.
      store<i64>(hold + HOLD_AMOUNT, amount + change);
      atomic.store<u64>(hold + HOLD_STATE, held);
      noteHighWater(counter, handle, next);
      if (missing > 0) tally(counter + COUNTER_OVER_RELEASED, handle, missing);
      return change;
    }
  }
  atomic.store<u64>(hold + HOLD_STATE, held);
  if (missing > 0) tally(counter + COUNTER_OVER_RELEASED, handle, missing);
  return 0;
}

/** Gives back every hold whose deadline is at or before `now`. @returns how many, or −status */
export function holdExpire(now: f64, settler: f64): i32 {
  if (!isAmount(now)) return -Status.TimeInvalid;
  if (!isOwner(settler)) return -Status.HandleInvalid;
  let expired = 0;
  const count = holdsCapacity();
  for (let slot: u32 = 0; slot < count; slot++) {
    const hold = holdAt(slot);
    const word = atomic.load<u64>(hold + HOLD_STATE);
    if (stateOf(word) != HELD) continue;
    const deadline = load<u64>(hold + HOLD_DEADLINE);
    if (deadline == 0 || deadline > <u64>now) continue;
    // Ticket and owner are never used twice, so a successful swap proves that the deadline was this hold's.
    const status = settle(hold, word, 0, <u32>settler);
    if (status != Status.NotHeld && status != Status.Busy) expired++;
  }
  return expired;
}

/**
 * Gives back what a thread that is gone (or the calling thread, on its way out) held, finishes what it had begun to
 * settle, and frees the directory if it died in there. Never to be called for a thread that still runs.
 *
 * @returns how many holds were given back or finished, or −status
 */
export function holdReclaim(owner: f64, settler: f64): i32 {
  if (!isOwner(owner) || !isOwner(settler)) return -Status.HandleInvalid;
  unlock(<u32>owner);
  forget(<u32>owner);
  forgetWanted();
  let reclaimed = 0;
  const count = holdsCapacity();
  for (let slot: u32 = 0; slot < count; slot++) {
    const hold = holdAt(slot);
    let word = atomic.load<u64>(hold + HOLD_STATE);
    if (stateOf(word) == ADJUSTING) {
      if (ownerOf(word) == <u32>owner) {
        // Nobody but its adjuster, who is gone, moves a hold out of this state.
        atomic.cmpxchg<u64>(hold + HOLD_STATE, word, restated(word, load<u32>(hold + HOLD_OWNER), HELD));
      }
      word = steady(hold, word >>> TICKET_SHIFT);
      // Somebody else adjusts a hold of the dead one and is slow: ask again, what was done already stays done.
      if (stateOf(word) == ADJUSTING && load<u32>(hold + HOLD_OWNER) == <u32>owner) return -Status.Busy;
    }
    const state = stateOf(word);
    // Also those that nobody owns: a budget whose remover died left them behind.
    if (state == CREDIT && ownerOf(word) == 0) leaveCell(hold, word);
    if (ownerOf(word) != <u32>owner) continue;
    if (state == HELD) {
      const status = settle(hold, word, 0, <u32>settler);
      if (status == Status.Busy) return -Status.Busy;
      if (status != Status.NotHeld) reclaimed++;
    } else if (state == SETTLED) {
      // Taking it over is one swap, so that two reclaiming threads cannot both finish it.
      const taken = restated(word, <u32>settler, SETTLED);
      if (word != taken && atomic.cmpxchg<u64>(hold + HOLD_STATE, word, taken) != word) continue;
      finish(hold);
      reclaimed++;
    } else if (state == WAITING) {
      dropWait(hold, load<f64>(hold + HOLD_COUNTER), word);
    } else if (state == CREDIT) {
      leaveCell(hold, word);
    } else if (state == CLAIMED) {
      atomic.cmpxchg<u64>(hold + HOLD_STATE, word, FREE);
    }
  }
  return reclaimed;
}

/**
 * What is out in holds of the current epoch, by looking at every hold. Late by design while other threads work, though
 * each hold counts as it stood at one moment; exact when they rest. It is counted and not kept, so it cannot drift.
 */
export function heldAmount(handle: f64): f64 {
  return scan(handle, true);
}

/** How many holds are open on a budget, of every epoch. May be late. */
export function heldCount(handle: f64): f64 {
  return scan(handle, false);
}

function scan(handle: f64, amounts: bool): f64 {
  const status = checkHandle(handle, Kind.Tokens);
  if (status != Status.Ok) return -(<f64>status);
  const counter = counterOf(handle);
  const epoch = epochOf(counter, atomic.load<u64>(counter + COUNTER_OUT));
  let open: u64 = 0;
  let amount: u64 = 0;
  const count = holdsCapacity();
  for (let slot: u32 = 0; slot < count; slot++) {
    const hold = holdAt(slot);
    let word = atomic.load<u64>(hold + HOLD_STATE);
    // Its figures count if the same state stands behind them. Ends because else another thread has gone on with the hold.
    while (
      stateOf(word) >= HELD &&
      stateOf(word) <= ADJUSTING &&
      atomic.load<u64>(hold + HOLD_COUNTER) == reinterpret<u64>(handle)
    ) {
      const held = atomic.load<u64>(hold + HOLD_STAMP) == epoch ? atomic.load<u64>(hold + HOLD_AMOUNT) : 0;
      const next = atomic.load<u64>(hold + HOLD_STATE);
      if (next == word) {
        open++;
        amount += held;
        break;
      }
      word = next;
    }
  }
  return <f64>(amounts ? amount : open);
}

/** Frees the holds of a budget that was removed: its handle is stale, so nothing is booked. */
export function dropHolds(handle: f64, settler: u32): void {
  const count = holdsCapacity();
  for (let slot: u32 = 0; slot < count; slot++) {
    const hold = holdAt(slot);
    const word = atomic.load<u64>(hold + HOLD_STATE);
    if (load<f64>(hold + HOLD_COUNTER) != handle) continue;
    if (stateOf(word) == HELD) settle(hold, word, 0, settler);
    else if (stateOf(word) == WAITING) dropWait(hold, handle, word);
    else if (stateOf(word) == CREDIT) leaveCell(hold, word);
  }
}

/** Whether any hold, also one of amount 0 or one just being made, belongs to a budget. */
export function hasHolds(handle: f64): bool {
  const count = holdsCapacity();
  for (let slot: u32 = 0; slot < count; slot++) {
    const hold = holdAt(slot);
    if (stateOf(atomic.load<u64>(hold + HOLD_STATE)) != FREE && load<f64>(hold + HOLD_COUNTER) == handle) return true;
  }
  return false;
}

/**
 * Finds a free slot, the hint first, and makes it ours. One swap per slot that looks free; ends after one round.
 * @returns the slot, or −1 if every slot is taken
 */
export function claim(claimed: u64, hint: f64): i32 {
  const count = holdsCapacity();
  let slot: u32 = isIntegerIn(hint, 0, <f64>count - 1) ? <u32>hint : 0;
  for (let looked: u32 = 0; looked < count; looked++) {
    const hold = holdAt(slot);
    const word = atomic.load<u64>(hold + HOLD_STATE);
    if (stateOf(word) == FREE && atomic.cmpxchg<u64>(hold + HOLD_STATE, word, claimed) == word) return <i32>slot;
    slot = slot + 1 == count ? 0 : slot + 1;
  }
  return -1;
}
