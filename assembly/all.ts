// All or nothing over several budgets: counters, token budgets, rates and permits, decided at one moment.
//
// Invariant: either every budget's word moves, in one straight line in which all of them are locked (word.ts), or none
// does. A refusal belongs to the moment at which one budget's word was read that did not have enough: nothing was
// written before, so nothing is rolled back, and nobody else is refused because of it.
// Who may call: any thread, through index.ts, with an owner id that the kernel issued to it.
//
// Each part of the decision is a claimed hold (hold.ts); they are chained in ascending order of their counters, so that
// all threads lock in one order and no budget stands in a chain twice. A claimed hold has taken nothing: reclaim frees
// the chain of a thread that died.

import { ALL_INDEX, ALL_MAX, Kind } from "./abi";
import { capacityOf, checkHandle, deny, epochOf, noteHighWater, refuse } from "./counter";
import { creditCollect } from "./credit";
import { CLAIMED, claim, FREE, HELD, isTicket, prepare, stateWord } from "./hold";
import {
  COUNTER_META,
  COUNTER_OUT,
  counterOf,
  HOLD_ADDRESS,
  HOLD_AMOUNT,
  HOLD_COUNTER,
  HOLD_DEADLINE,
  HOLD_KEEPS,
  HOLD_NEXT,
  HOLD_SEEN,
  HOLD_STAMP,
  HOLD_STATE,
  holdAt,
  holdsCapacity,
  isAmount,
  isIntegerIn,
  isOwner,
  metaOf,
} from "./layout";
import { checkCategory, incrementOf, isFree } from "./permit";
import { arrivalAfter, isTime, NEVER } from "./rate";
import { Status } from "./status";
import { isLocked, LOCK, valueOf } from "./word";

/** Another thread moved one of the words between the look and the lock. */
const AGAIN: i32 = -1;

/**
 * Claims a hold for one part of a decision and puts it in front of `chain`. Counters must come in descending order.
 *
 * @param chain the slot that was claimed before this one, or −1 for the first
 * @param amount what to take; for permits where the category's field begins
 * @param time for token budgets the deadline, as for holdReserve; for rates the present, as for rateTake
 * @param ticket the chain's ticket + 1; @param hint as for holdReserve
 * @returns the hold's slot, or −status; then the chain is let go, unless owner, ticket or chain are none
 */
export function allClaim(chain: f64, handle: f64, amount: f64, time: f64, owner: f64, ticket: f64, hint: f64): i32 {
  if (!isOwner(owner) || !isTicket(ticket)) return -Status.HandleInvalid;
  const next = chain == -1 ? 0 : holdOf(chain, owner, ticket - 1);
  if (next == 0 && chain != -1) return -Status.HandleInvalid;
  let status = checkPart(handle, amount, time);
  const counter = counterOf(handle);
  if (status == Status.Ok && next != 0) {
    const before = load<u32>(next + HOLD_ADDRESS) > counter && chainLength(next, owner, ticket - 1) < ALL_MAX;
    if (!before) status = Status.ArgumentInvalid;
  }
  let slot = -1;
  if (status == Status.Ok) {
    slot = claim(stateWord(<u64>ticket, <u32>owner, CLAIMED), hint);
    if (slot < 0) status = Status.HoldsFull;
  }
  if (status != Status.Ok) {
    if (next != 0) release(next);
    return -status;
  }
  const hold = holdAt(<u32>slot);
  const kind = kindOf(counter);
  prepare(hold, handle, kind == Kind.Permits ? incrementOf(amount) : <u64>amount, <u64>time);
  store<u64>(hold + HOLD_STAMP, <u64>amount);
  store<u32>(hold + HOLD_KEEPS, kind == Kind.Tokens || kind == Kind.Permits);
  store<u32>(hold + HOLD_ADDRESS, counter);
  store<u32>(hold + HOLD_NEXT, next == 0 ? hold : next);
  return slot;
}

/** Whether a budget, an amount and a time make a part of a decision. */
function checkPart(handle: f64, amount: f64, time: f64): Status {
  if (!isAmount(amount)) return Status.AmountInvalid;
  if (!isAmount(time)) return Status.TimeInvalid;
  const status = checkHandle(handle, Kind.Any);
  if (status != Status.Ok) return status;
  const kind = kindOf(counterOf(handle));
  if (kind == Kind.Permits) return time == 0 ? checkCategory(handle, amount) : Status.TimeInvalid;
  if (kind == Kind.Rate && !isTime(counterOf(handle), time)) return Status.TimeInvalid;
  return Status.Ok;
}

/**
 * Takes everything that the chain stands for, at one moment, or nothing. Tokens and permits are held from here on; the
 * holds of counters and rates are free again, and if nothing was taken, all of them.
 *
 * @param slot the chain's first hold, which was claimed last, under `ticket`
 * @returns Ok, or the status of the budget that refused + its position in the chain · ALL_INDEX
 */
export function allTake(slot: f64, owner: f64, ticket: f64): i32 {
  if (!isOwner(owner) || !isTicket(ticket)) return Status.HandleInvalid;
  const first = holdOf(slot, owner, ticket);
  if (first == 0) return Status.HandleInvalid;
  const count = chainLength(first, owner, ticket);
  if (count == 0) return Status.HandleInvalid;
  // Ends because a failed lock means that another thread's change succeeded, or that another one is in its locked
  // straight line. Between the rounds nothing is locked and nothing was changed.
  while (true) {
    const answer = take(first, first, count, 0);
    if (answer == AGAIN) continue;
    if (answer != Status.Ok) release(first);
    return answer;
  }
}

/**
 * Looks at this part's word and at those behind it, swaps them all, and then raises the high-water marks. It calls
 * itself so that the stack carries what the marks need across the swap: the holds may be somebody else's by then.
 */
function take(hold: u32, first: u32, count: u32, index: u32): i32 {
  const handle = load<f64>(hold + HOLD_COUNTER);
  const counter = load<u32>(hold + HOLD_ADDRESS);
  const word = atomic.load<u64>(counter + COUNTER_OUT);
  const kind = kindOf(counter);
  const status = look(hold, counter, handle, kind, word);
  if (status != Status.Ok) return status == AGAIN ? AGAIN : status + <i32>(index * ALL_INDEX);
  const out = valueOf(word) + load<u64>(hold + HOLD_AMOUNT);
  const next = load<u32>(hold + HOLD_NEXT);
  const taken = next == hold ? swap(first, count) : take(next, first, count, index + 1);
  if (taken == Status.Ok && (kind <= <u32>Kind.Tokens || kind == Kind.Credit)) noteHighWater(counter, handle, out);
  return taken;
}

/** Whether this part fits; notes the word and what is to be added to it. Counts the refusal if it does not. */
function look(hold: u32, counter: u32, handle: f64, kind: u32, word: u64): i32 {
  // The word was loaded before this look at the meta word, so it is this budget's (counter.ts).
  if (atomic.load<u64>(counter + COUNTER_META) != metaOf(handle, <Kind>kind)) return Status.Stale;
  if (isLocked(word)) return AGAIN;
  const amount = load<u64>(hold + HOLD_AMOUNT);
  if (kind == Kind.Credit && valueOf(word) + amount > capacityOf(counter)) {
    // Other threads may hold it idle. If not, this is the moment of the refusal.
    const status = creditCollect(counter, handle, amount);
    return status == Status.Ok ? AGAIN : status;
  }
  if (kind <= <u32>Kind.Tokens || kind == Kind.Credit) {
    if (valueOf(word) + amount > capacityOf(counter)) return deny(counter, handle, word);
    store<u64>(hold + HOLD_STAMP, epochOf(counter, word));
  } else if (kind == Kind.Permits) {
    if (!isFree(counter, handle, word, amount)) return refuse(counter, handle);
  } else {
    const arrival = arrivalAfter(counter, word, load<u64>(hold + HOLD_STAMP), load<u64>(hold + HOLD_DEADLINE));
    if (arrival == NEVER) return refuse(counter, handle);
    store<u64>(hold + HOLD_AMOUNT, arrival - word);
  }
  store<u64>(hold + HOLD_SEEN, word);
  return Status.Ok;
}

/**
 * Locks every word that is still as it was seen. If all are, moves them; otherwise puts back those that it locked.
 * Without a loop, at whose head a thread could end: the same line stands here once for each of ALL_MAX parts, and
 * every function in it is inlined.
 */
function swap(first: u32, count: u32): i32 {
  let locked: u32 = 0;
  let open = first; // the next one to be locked, or 0
  if (open != 0) open = lock(open) ? ((locked += 1), nextOf(open)) : 0;
  if (open != 0) open = lock(open) ? ((locked += 1), nextOf(open)) : 0;
  if (open != 0) open = lock(open) ? ((locked += 1), nextOf(open)) : 0;
  if (open != 0) open = lock(open) ? ((locked += 1), nextOf(open)) : 0;
  if (open != 0) open = lock(open) ? ((locked += 1), nextOf(open)) : 0;
  if (open != 0) open = lock(open) ? ((locked += 1), nextOf(open)) : 0;
  if (open != 0) open = lock(open) ? ((locked += 1), nextOf(open)) : 0;
  if (open != 0) open = lock(open) ? ((locked += 1), nextOf(open)) : 0;
  const whole = locked == count;
  let held = first; // the next one to be let go
  if (locked != 0) (locked -= 1), (held = unlock(held, whole));
  if (locked != 0) (locked -= 1), (held = unlock(held, whole));
  if (locked != 0) (locked -= 1), (held = unlock(held, whole));
  if (locked != 0) (locked -= 1), (held = unlock(held, whole));
  if (locked != 0) (locked -= 1), (held = unlock(held, whole));
  if (locked != 0) (locked -= 1), (held = unlock(held, whole));
  if (locked != 0) (locked -= 1), (held = unlock(held, whole));
  if (locked != 0) (locked -= 1), (held = unlock(held, whole));
  return whole ? Status.Ok : AGAIN;
}

// @ts-ignore: decorator
@inline
function lock(hold: u32): bool {
  const word = load<u64>(hold + HOLD_SEEN);
  return atomic.cmpxchg<u64>(load<u32>(hold + HOLD_ADDRESS) + COUNTER_OUT, word, word | LOCK) == word;
}

/** Moves the word and then the hold's state, or puts the word back. @returns the next hold, read while this one is ours */
// @ts-ignore: decorator
@inline
function unlock(hold: u32, whole: bool): u32 {
  const word = load<u64>(hold + HOLD_SEEN);
  const next = load<u32>(hold + HOLD_NEXT);
  atomic.store<u64>(load<u32>(hold + HOLD_ADDRESS) + COUNTER_OUT, whole ? word + load<u64>(hold + HOLD_AMOUNT) : word);
  if (whole) {
    const claimed = load<u64>(hold + HOLD_STATE);
    atomic.store<u64>(hold + HOLD_STATE, load<u32>(hold + HOLD_KEEPS) != 0 ? claimed - CLAIMED + HELD : FREE);
  }
  return next;
}

/** The next hold of a chain, or 0 after the last. */
// @ts-ignore: decorator
@inline
function nextOf(hold: u32): u32 {
  const next = load<u32>(hold + HOLD_NEXT);
  return next == hold ? 0 : next;
}

// @ts-ignore: decorator
@inline
function kindOf(counter: u32): u32 {
  return <u32>(atomic.load<u64>(counter + COUNTER_META) & 255);
}

/** The address of a hold that is claimed under this ticket and owner, or 0. */
function holdOf(slot: f64, owner: f64, ticket: f64): u32 {
  if (!isIntegerIn(slot, 0, <f64>holdsCapacity() - 1)) return 0;
  const hold = holdAt(<u32>slot);
  return isClaimed(hold, owner, ticket) ? hold : 0;
}

function isClaimed(hold: u32, owner: f64, ticket: f64): bool {
  return atomic.load<u64>(hold + HOLD_STATE) == stateWord(<u64>ticket, <u32>owner, CLAIMED);
}

/** How many holds are chained from this one on, or 0 if any of them is no longer claimed under its ticket. */
function chainLength(first: u32, owner: f64, ticket: f64): u32 {
  let hold = first;
  for (let length: u32 = 1; length <= ALL_MAX; length++) {
    const next = load<u32>(hold + HOLD_NEXT);
    if (next == hold) return length;
    if (!isClaimed(next, owner, ticket - <f64>length)) return 0;
    hold = next;
  }
  return 0;
}

/** Frees a chain. Each hold's way on is read before the hold is free for others. */
function release(first: u32): void {
  let hold = first;
  while (true) {
    const next = load<u32>(hold + HOLD_NEXT);
    atomic.store<u64>(hold + HOLD_STATE, FREE);
    if (next == hold) return;
    hold = next;
  }
}
