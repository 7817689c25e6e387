// Guarded counters: one budget each, shared by every thread that attached to the memory.
//
// Invariant: available = max(0, balance) and debt = max(0, −balance) are two faces of one word, so a take can never
// see one without the other, a refund repays debt first by plain addition, and what is granted never exceeds the
// balance. capacity = balance + (what is out: taken, held, consumed in this epoch).
// Who may call: any thread, through index.ts, with a handle of the directory.
//
// The balance word carries a 10-bit tag that moves with every refill and every reuse of the slot. A compare-and-swap
// that was prepared before such a change therefore fails. To be fooled, a thread would have to sleep between two
// neighbouring instructions for an exact multiple of 1,024 refills and wake to the very same balance.
//
// A thread can be terminated at loop heads and calls only (engines check for interrupts there); from a successful
// compare-and-swap to the end of the straight line behind it nothing can come between. hold.ts relies on that.

import { Figure, Kind } from "./abi";
import {
  AMOUNT_MAX,
  COUNTER_BALANCE,
  COUNTER_CAPACITY,
  COUNTER_CONSUMED,
  COUNTER_DENIED,
  COUNTER_GENERATION,
  COUNTER_GUARDS,
  COUNTER_HIGH_WATER,
  COUNTER_META,
  COUNTER_OPENING,
  COUNTER_OVER_RELEASED,
  COUNTER_STAMP,
  COUNTER_WAITING,
  counterOf,
  isAmount,
  isOwner,
  metaOf,
} from "./layout";
import { lock, unlock } from "./lock";
import { Status } from "./status";

const TAG_SHIFT: u64 = 54;
const TAG_MASK: u64 = 1023;
const VALUE_MASK: u64 = (1 << 54) - 1;

// @ts-ignore: decorator
@inline
export function tagOf(word: u64): u64 {
  return word >>> TAG_SHIFT;
}

/** The balance of a budget that is being removed because it is idle. No other path leads here: debt ends one above. */
export const RETIRED: i64 = -9007199254740992;

/** The signed balance: the low 54 bits, sign-extended. */
// @ts-ignore: decorator
@inline
export function balanceOf(word: u64): i64 {
  return (<i64>(word << 10)) >> 10;
}

// @ts-ignore: decorator
@inline
export function wordOf(tag: u64, balance: i64): u64 {
  return (tag << TAG_SHIFT) | (<u64>balance & VALUE_MASK);
}

/** Ok, or why this handle cannot be used for this kind; Kind.Any takes every kind. */
export function checkHandle(handle: f64, kind: Kind): Status {
  const counter = counterOf(handle);
  if (counter == 0) return Status.HandleInvalid;
  const meta = atomic.load<u64>(counter + COUNTER_META);
  if (meta == 0 || meta >>> 8 != metaOf(handle, 0) >>> 8) return Status.Stale;
  return kind == Kind.Any || <u32>(meta & 255) == <u32>kind ? Status.Ok : Status.WrongKind;
}

/** Ok for a budget that has a balance: permits and rates have other things in that word. */
function checkBalance(handle: f64): Status {
  const status = checkHandle(handle, Kind.Counter);
  return status == Status.WrongKind ? checkHandle(handle, Kind.Tokens) : status;
}

// ---------------------------------------------------------------------------------------------------------------------
// Decisions

/**
 * Takes `amount` if the balance has it; grants nothing, not even 0, while there is debt.
 * Never adds first to roll back later: a take that fits cannot be refused because a larger one is just failing.
 */
export function counterTake(handle: f64, amount: f64): i32 {
  if (!isAmount(amount)) return Status.AmountInvalid;
  const counter = counterOf(handle);
  if (counter == 0) return Status.HandleInvalid;
  const meta = metaOf(handle, Kind.Counter);
  const cost = <i64>amount;
  // Reads the meta and the balance word; changes the balance word alone. Ends because a failed swap means that another
  // thread's change succeeded (lock-free), and each such change is one finite operation. Midway others see the old
  // balance, afterwards the new one; there is no state between.
  while (true) {
    if (atomic.load<u64>(counter + COUNTER_META) != meta) return checkHandle(handle, Kind.Counter);
    const word = atomic.load<u64>(counter + COUNTER_BALANCE);
    const balance = balanceOf(word);
    if (balance < cost) return deny(counter, handle, balance);
    const next = balance - cost;
    if (atomic.cmpxchg<u64>(counter + COUNTER_BALANCE, word, wordOf(tagOf(word), next)) == word) {
      noteHighWater(counter, handle, next);
      return Status.Ok;
    }
  }
}

/** Gives `amount` back, capped at capacity; what the cap swallows is counted as over-released. */
export function counterGive(handle: f64, amount: f64): i32 {
  if (!isAmount(amount)) return Status.AmountInvalid;
  const counter = counterOf(handle);
  if (counter == 0) return Status.HandleInvalid;
  const meta = metaOf(handle, Kind.Counter);
  const credit = <i64>amount;
  // Reads meta, balance and capacity; changes the balance word. Ends as counterTake's loop does. Capacity only rises
  // while a budget lives, so a stale read of it can cap too early by an ongoing grant, never grant too much.
  while (true) {
    if (atomic.load<u64>(counter + COUNTER_META) != meta) return checkHandle(handle, Kind.Counter);
    const word = atomic.load<u64>(counter + COUNTER_BALANCE);
    const balance = balanceOf(word);
    const room = <i64>atomic.load<u64>(counter + COUNTER_CAPACITY) - balance;
    const given = min<i64>(credit, room);
    if (atomic.cmpxchg<u64>(counter + COUNTER_BALANCE, word, wordOf(tagOf(word), balance + given)) == word) {
      if (credit > given) tally(counter + COUNTER_OVER_RELEASED, handle, credit - given);
      return Status.Ok;
    }
  }
}

/**
 * Raises capacity and balance by `amount`: a slice that a larger budget lends to this one. Repays debt first.
 * Under the lock, because a refill between the two writes would hand the amount out twice.
 */
export function counterGrant(handle: f64, amount: f64, owner: f64): i32 {
  if (!isAmount(amount)) return Status.AmountInvalid;
  if (!isOwner(owner)) return Status.HandleInvalid;
  if (!lock(<u32>owner)) return Status.Busy;
  const status = grant(handle, <i64>amount);
  unlock(<u32>owner);
  return status;
}

function grant(handle: f64, amount: i64): Status {
  const status = checkBalance(handle);
  if (status != Status.Ok) return status;
  const counter = counterOf(handle);
  const capacity = <i64>atomic.load<u64>(counter + COUNTER_CAPACITY);
  if (amount > AMOUNT_MAX - capacity) return Status.Overflow;
  // Capacity first, balance second: whoever reads between them sees a budget smaller than granted, and a thread that
  // dies between them leaves a grant unused, never a grant unbacked. Ends as counterTake's loop does.
  atomic.store<u64>(counter + COUNTER_CAPACITY, <u64>(capacity + amount));
  while (true) {
    const word = atomic.load<u64>(counter + COUNTER_BALANCE);
    const next = wordOf(tagOf(word), balanceOf(word) + amount);
    if (atomic.cmpxchg<u64>(counter + COUNTER_BALANCE, word, next) == word) return Status.Ok;
  }
}

/**
 * Starts a new epoch with the full capacity, of which debt is repaid first. What was taken before belongs to the old
 * epoch: a hold that settles later never credits this one.
 */
export function counterRefill(handle: f64, owner: f64): i32 {
  if (!isOwner(owner)) return Status.HandleInvalid;
  if (!lock(<u32>owner)) return Status.Busy;
  const status = checkBalance(handle);
  if (status == Status.Ok) {
    const counter = counterOf(handle);
    startEpoch(counter, <i64>atomic.load<u64>(counter + COUNTER_CAPACITY), true);
  }
  unlock(<u32>owner);
  return status;
}

/**
 * Under the lock: replaces the balance, and with a new tag disowns every swap that was prepared before.
 * Reads balance and stamp; changes the balance word, then the stamp; ends as counterTake's loop does. Between the two
 * writes others derive the epoch from the tag (epochOf).
 */
function startEpoch(counter: u32, capacity: i64, repayDebt: bool): void {
  while (true) {
    const word = atomic.load<u64>(counter + COUNTER_BALANCE);
    const epoch = epochOf(counter, word) + 1;
    const balance = repayDebt ? capacity + min<i64>(balanceOf(word), 0) : capacity;
    if (atomic.cmpxchg<u64>(counter + COUNTER_BALANCE, word, wordOf(epoch & TAG_MASK, balance)) == word) {
      atomic.store<u64>(counter + COUNTER_STAMP, epoch);
      return;
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Figures

/**
 * One figure of a budget; it may be late by the time it is read. The handle is checked before and after: a generation
 * never returns, so if it stands twice, the slot served this budget all the time between.
 * @returns the figure, or −status
 */
export function budgetFigure(handle: f64, figure: u32): f64 {
  const before = checkBalance(handle);
  if (before != Status.Ok) return -(<f64>before);
  const value = read(counterOf(handle), figure);
  const after = checkBalance(handle);
  return after == Status.Ok ? value : -(<f64>after);
}

function read(counter: u32, figure: u32): f64 {
  if (figure == <u32>Figure.Capacity) return <f64>atomic.load<u64>(counter + COUNTER_CAPACITY);
  if (figure >= <u32>Figure.Consumed && figure <= <u32>Figure.OverReleased) {
    // These four words stand in the order of the enumeration.
    return <f64>(atomic.load<u64>(counter + COUNTER_CONSUMED + ((figure - <u32>Figure.Consumed) << 3)) & VALUE_MASK);
  }
  const word = atomic.load<u64>(counter + COUNTER_BALANCE);
  if (figure == <u32>Figure.Available) return <f64>max<i64>(balanceOf(word), 0);
  if (figure == <u32>Figure.Debt) return <f64>max<i64>(-balanceOf(word), 0);
  if (figure == <u32>Figure.Epoch) return <f64>epochOf(counter, word);
  return -(<f64>Status.ArgumentInvalid);
}

// ---------------------------------------------------------------------------------------------------------------------
// Inside the kernel

/**
 * The epoch, in full, that a balance word belongs to. The stamp may lag behind the tag while a refill is under way, or
 * be ahead of a word that was loaded before one; the nearest epoch with that tag is meant.
 */
// @ts-ignore: decorator
@inline
export function epochOf(counter: u32, word: u64): u64 {
  const stamp = atomic.load<u64>(counter + COUNTER_STAMP);
  const distance = <i64>((tagOf(word) - stamp + 512) & TAG_MASK) - 512;
  return stamp + <u64>distance;
}

/** Counts a refusal and answers it, by the balance that was too small. A budget on its way out refuses nobody. */
export function deny(counter: u32, handle: f64, balance: i64): Status {
  if (balance == RETIRED) return Status.Stale;
  tally(counter + COUNTER_DENIED, handle, 1);
  return balance < 0 ? Status.InDebt : Status.Exceeds;
}

/** Under the lock: takes the whole balance of an idle budget out of everybody's reach. False if something is out. */
export function retire(counter: u32): bool {
  const word = atomic.load<u64>(counter + COUNTER_BALANCE);
  if (balanceOf(word) != <i64>atomic.load<u64>(counter + COUNTER_CAPACITY)) return false;
  return atomic.cmpxchg<u64>(counter + COUNTER_BALANCE, word, wordOf(tagOf(word), RETIRED)) == word;
}

/**
 * Adds to a tagged word unless the slot has passed to another budget, then drops it. Saturates at 2^53−1: a tally is
 * telemetry, and no decision reads it. Ends because a failed swap means that another thread's addition succeeded.
 */
export function tally(address: u32, handle: f64, amount: i64): void {
  const tag = metaOf(handle, 0) >>> 8 & TAG_MASK;
  while (true) {
    const word = atomic.load<u64>(address);
    if (word >>> TAG_SHIFT != tag) return;
    const next = <u64>min<i64>(<i64>(word & VALUE_MASK) + amount, AMOUNT_MAX);
    if (atomic.cmpxchg<u64>(address, word, (tag << TAG_SHIFT) | next) == word) return;
  }
}

/** Raises the high-water mark to what is out after a take. One load in the usual case that it stands higher. */
// @ts-ignore: decorator
@inline
export function noteHighWater(counter: u32, handle: f64, balance: i64): void {
  const out = <i64>atomic.load<u64>(counter + COUNTER_CAPACITY) - balance;
  if (out > <i64>(atomic.load<u64>(counter + COUNTER_HIGH_WATER) & VALUE_MASK)) raiseHighWater(counter, handle, out);
}

/** Ends because the mark only rises. */
function raiseHighWater(counter: u32, handle: f64, out: i64): void {
  const tag = metaOf(handle, 0) >>> 8 & TAG_MASK;
  while (true) {
    const word = atomic.load<u64>(counter + COUNTER_HIGH_WATER);
    if (word >>> TAG_SHIFT != tag || <i64>(word & VALUE_MASK) >= out) return;
    const next = (tag << TAG_SHIFT) | <u64>min<i64>(out, AMOUNT_MAX);
    if (atomic.cmpxchg<u64>(counter + COUNTER_HIGH_WATER, word, next) == word) return;
  }
}

/**
 * Adds to what the budget has consumed, before anything is credited. Overflow leaves it as it was. That also bounds
 * debt: a balance can only fall below zero by what is counted here, so it never passes −(2^53−1).
 * @returns Ok, Overflow, or Stale when the slot serves another budget by now
 */
export function consume(counter: u32, handle: f64, amount: i64): Status {
  const tag = metaOf(handle, 0) >>> 8 & TAG_MASK;
  // Reads and changes the consumed word; ends because a failed swap means that another thread's addition succeeded.
  while (true) {
    const word = atomic.load<u64>(counter + COUNTER_CONSUMED);
    if (word >>> TAG_SHIFT != tag || atomic.load<u64>(counter + COUNTER_META) != metaOf(handle, Kind.Tokens)) {
      return Status.Stale;
    }
    const consumed = <i64>(word & VALUE_MASK);
    if (amount > AMOUNT_MAX - consumed) return Status.Overflow;
    if (atomic.cmpxchg<u64>(counter + COUNTER_CONSUMED, word, word + <u64>amount) == word) return Status.Ok;
  }
}

/** Makes a slot serve a new budget. The directory's lock is held and no handle of this generation exists yet. */
export function counterOpen(counter: u32, kind: Kind, capacity: u64, guards: u64): u32 {
  const generation = atomic.load<u32>(counter + COUNTER_GENERATION) + 1;
  atomic.store<u32>(counter + COUNTER_GENERATION, generation);
  atomic.store<u64>(counter + COUNTER_CAPACITY, capacity);
  atomic.store<u64>(counter + COUNTER_OPENING, capacity);
  atomic.store<u64>(counter + COUNTER_GUARDS, guards);
  atomic.store<u32>(counter + COUNTER_WAITING, 0);
  const tag = (<u64>generation & TAG_MASK) << TAG_SHIFT;
  atomic.store<u64>(counter + COUNTER_CONSUMED, tag);
  atomic.store<u64>(counter + COUNTER_HIGH_WATER, tag);
  atomic.store<u64>(counter + COUNTER_DENIED, tag);
  atomic.store<u64>(counter + COUNTER_OVER_RELEASED, tag);
  // Threads with an older generation's handle may still be about to swap the balance: the new tag makes them fail.
  if (kind == Kind.Rate) atomic.store<u64>(counter + COUNTER_BALANCE, 0);
  else startEpoch(counter, kind == Kind.Permits ? 0 : <i64>capacity, false);
  atomic.store<u64>(counter + COUNTER_META, (<u64>generation << 8) | <u64>kind);
  return generation;
}
