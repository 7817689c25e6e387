// Guarded counters: one budget each, shared by every thread that attached to the memory.
//
// Invariant: the one contended word holds how much is out; available = max(0, capacity − out) and debt = max(0, out −
// capacity) are two faces of it. So a take can never see one without the other, a refund repays debt first by plain
// subtraction, and a grant, which raises the capacity, is one change of one word too. Capacity only rises.
// Who may call: any thread, through index.ts, with a handle of the directory.
//
// The word (word.ts) carries a 9-bit tag that moves with every refill and every reuse of the slot. Each operation loads the word
// first and looks at the slot's meta word second: if the meta is still this budget's, so was the word, and a
// compare-and-swap that comes too late finds another tag and fails. To be fooled, a thread would have to sleep between
// two neighbouring instructions for an exact multiple of 512 refills and wake to the very same figure.
//
// A thread can be terminated at loop heads and calls only (engines check for interrupts there); from a successful
// compare-and-swap to the end of the straight line behind it nothing can come between. hold.ts and word.ts rely on that.

import { Figure, Kind } from "./abi";
import { creditRefill, idleAmount } from "./credit";
import {
  AMOUNT_MAX,
  COUNTER_CAPACITY,
  COUNTER_CELLS,
  COUNTER_CONSUMED,
  COUNTER_DENIED,
  COUNTER_GENERATION,
  COUNTER_GUARDS,
  COUNTER_HIGH_WATER,
  COUNTER_LENT,
  COUNTER_META,
  COUNTER_OUT,
  COUNTER_OVER_RELEASED,
  COUNTER_STAMP,
  COUNTER_WANTED,
  counterOf,
  isAmount,
  isIntegerIn,
  metaOf,
} from "./layout";
import { Status } from "./status";
import { bare, isLocked, TAG_MASK, tagged, tagOf, VALUE_MASK, valueOf, valueUnlocked, withValue } from "./word";

/** What is out of a budget that is being removed because it is idle. What was really out ends one below. */
export const RETIRED: u64 = VALUE_MASK;
const OUT_MAX: u64 = VALUE_MASK - 1;
const TAG_HALF: i64 = <i64>(TAG_MASK + 1) / 2;

/** The tag that a handle's generation gives to the words that are not contended. */
// @ts-ignore: decorator
@inline
function generationTag(handle: f64): u64 {
  return (metaOf(handle, Kind.Any) >>> 8) & TAG_MASK;
}

/** May rise by the time it is read; then a refusal is one of the moment before. */
// @ts-ignore: decorator
@inline
export function capacityOf(counter: u32): u64 {
  return valueOf(atomic.load<u64>(counter + COUNTER_CAPACITY));
}

/** Ok, or why this handle cannot be used for this kind; Kind.Any takes every kind. */
export function checkHandle(handle: f64, kind: Kind): Status {
  const counter = counterOf(handle);
  if (counter == 0) return Status.HandleInvalid;
  const meta = atomic.load<u64>(counter + COUNTER_META);
  if (meta == 0 || meta >>> 8 != metaOf(handle, Kind.Any) >>> 8) return Status.Stale;
  return kind == Kind.Any || <u32>(meta & 255) == <u32>kind ? Status.Ok : Status.WrongKind;
}

/** Ok for a budget that has something out: permits and rates have other things in that word. */
function checkCounted(handle: f64): Status {
  let status = checkHandle(handle, Kind.Counter);
  if (status == Status.WrongKind) status = checkHandle(handle, Kind.Tokens);
  return status == Status.WrongKind ? checkHandle(handle, Kind.Credit) : status;
}

// ---------------------------------------------------------------------------------------------------------------------
// Decisions

/**
 * Takes `amount` if it fits; grants nothing, not even 0, while there is debt.
 * Never adds first to roll back later: a take that fits cannot be refused because a larger one is just failing.
 */
export function counterTake(handle: f64, amount: f64): i32 {
  if (!isAmount(amount)) return Status.AmountInvalid;
  const counter = counterOf(handle);
  if (counter == 0) return Status.HandleInvalid;
  const cost = <u64>amount;
  // Reads the word, meta and capacity; changes the word alone. Ends because a failed swap means that another thread's
  // change succeeded (lock-free), and each such change is one finite operation. There is no state midway.
  while (true) {
    const word = atomic.load<u64>(counter + COUNTER_OUT);
    if (atomic.load<u64>(counter + COUNTER_META) != metaOf(handle, Kind.Counter)) return checkHandle(handle, Kind.Counter);
    const next = valueUnlocked(word) + cost;
    if (next > capacityOf(counter)) {
      if (isLocked(word)) continue;
      return deny(counter, handle, word);
    }
    if (atomic.cmpxchg<u64>(counter + COUNTER_OUT, word, withValue(word, next)) == word) {
      noteHighWater(counter, handle, next);
      return Status.Ok;
    }
  }
}

/**
 * Gives `amount` back, capped at what is out; what the cap swallows is counted as over-released. To a token budget only
 * what `counterFit` took may be given: whoever took it knows.
 */
export function counterGive(handle: f64, amount: f64): i32 {
  if (!isAmount(amount)) return Status.AmountInvalid;
  const counter = counterOf(handle);
  if (counter == 0) return Status.HandleInvalid;
  // Reads the word and meta; changes the word. Ends as counterTake's loop does; there is no state midway.
  while (true) {
    const word = bare(atomic.load<u64>(counter + COUNTER_OUT));
    const meta = atomic.load<u64>(counter + COUNTER_META);
    if (meta != metaOf(handle, Kind.Counter) && meta != metaOf(handle, Kind.Tokens)) return checkHandle(handle, Kind.Counter);
    const out = valueOf(word);
    const given = min<u64>(<u64>amount, out);
    if (atomic.cmpxchg<u64>(counter + COUNTER_OUT, word, withValue(word, out - given)) == word) {
      if (<u64>amount > given) tally(counter + COUNTER_OVER_RELEASED, handle, <u64>amount - given);
      return Status.Ok;
    }
  }
}

/** Raises the capacity by `amount`: a slice that a larger budget lends to this one. Repays debt first, of itself. */
export function counterGrant(handle: f64, amount: f64): i32 {
  if (!isAmount(amount)) return Status.AmountInvalid;
  const status = checkCounted(handle);
  if (status != Status.Ok) return status;
  const address = counterOf(handle) + COUNTER_CAPACITY;
  // Reads and changes the capacity, whose tag is the generation's. Ends because a failed swap means that another grant
  // succeeded. Others see the capacity before or after.
  while (true) {
    const word = atomic.load<u64>(address);
    if (tagOf(word) != generationTag(handle)) return Status.Stale;
    if (<u64>amount > <u64>AMOUNT_MAX - valueOf(word)) return Status.Overflow;
    if (atomic.cmpxchg<u64>(address, word, word + <u64>amount) == word) return Status.Ok;
  }
}

/**
 * Starts a new epoch with the full capacity, of which debt is repaid first. What was taken before belongs to the old
 * epoch: a hold that settles later never credits this one.
 */
export function counterRefill(handle: f64): i32 {
  const status = checkCounted(handle);
  if (status != Status.Ok) return status;
  if (checkHandle(handle, Kind.Credit) == Status.Ok) return creditRefill(handle);
  const counter = counterOf(handle);
  // Reads the word, meta, capacity and stamp; changes the word with a new tag, then moves the stamp. Ends as
  // counterTake's loop does. Between the two writes others derive the epoch from the tag (epochOf).
  while (true) {
    const word = bare(atomic.load<u64>(counter + COUNTER_OUT));
    const live = checkCounted(handle);
    if (live != Status.Ok) return live;
    if (valueOf(word) == RETIRED) return Status.Stale;
    const epoch = epochOf(counter, word) + 1;
    const capacity = capacityOf(counter);
    const debt = valueOf(word) - min<u64>(valueOf(word), capacity);
    if (atomic.cmpxchg<u64>(counter + COUNTER_OUT, word, tagged(epoch, debt)) == word) {
      advanceStamp(counter, epoch);
      return Status.Ok;
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
export function budgetFigure(handle: f64, figure: f64): f64 {
  if (!isIntegerIn(figure, 0, <f64>Figure.Epoch)) return -(<f64>Status.ArgumentInvalid);
  const before = checkCounted(handle);
  if (before != Status.Ok) return -(<f64>before);
  const value = read(counterOf(handle), handle, <u32>figure);
  const after = checkCounted(handle);
  return after == Status.Ok ? value : -(<f64>after);
}

function read(counter: u32, handle: f64, figure: u32): f64 {
  if (figure == <u32>Figure.Capacity) return <f64>capacityOf(counter);
  if (figure >= <u32>Figure.Consumed && figure <= <u32>Figure.OverReleased) {
    // These four words stand in the order of the enumeration.
    return <f64>valueOf(atomic.load<u64>(counter + COUNTER_CONSUMED + ((figure - <u32>Figure.Consumed) << 3)));
  }
  const word = atomic.load<u64>(counter + COUNTER_OUT);
  const out = valueOf(word);
  const capacity = capacityOf(counter);
  if (figure == <u32>Figure.Available) {
    const idle = checkHandle(handle, Kind.Credit) == Status.Ok ? idleAmount(handle, bare(word)) : 0;
    // What moves between cells and word while they are read may be seen twice, but there is never more than capacity.
    return <f64>(capacity - min<u64>(out - min<u64>(out, idle), capacity));
  }
  if (figure == <u32>Figure.Debt) return <f64>(out - min<u64>(out, capacity));
  return <f64>epochOf(counter, word);
}

// ---------------------------------------------------------------------------------------------------------------------
// Inside the kernel

/**
 * The epoch, in full, that a word belongs to. The stamp may lag behind the tag while a refill is under way, or be ahead
 * of a word that was loaded before one; the nearest epoch with that tag is meant. Called before the swap that it is for:
 * if more refills than the tag can tell come between, that swap fails.
 */
// @ts-ignore: decorator
@inline
export function epochOf(counter: u32, word: u64): u64 {
  const stamp = atomic.load<u64>(counter + COUNTER_STAMP);
  const distance = <i64>((tagOf(word) - stamp + TAG_HALF) & TAG_MASK) - TAG_HALF;
  return stamp + <u64>distance;
}

/** Moves the stamp up to `epoch`; ends because the stamp only rises. Others see it before or after (epochOf). */
export function advanceStamp(counter: u32, epoch: u64): void {
  let stamp = atomic.load<u64>(counter + COUNTER_STAMP);
  while (stamp < epoch) {
    const seen = atomic.cmpxchg<u64>(counter + COUNTER_STAMP, stamp, epoch);
    if (seen == stamp) return;
    stamp = seen;
  }
}

/** Counts a refusal and answers it, by the word that left too little. A budget on its way out refuses nobody. */
export function deny(counter: u32, handle: f64, word: u64): Status {
  if (valueOf(word) == RETIRED) return Status.Stale;
  tally(counter + COUNTER_DENIED, handle, 1);
  return valueOf(word) > capacityOf(counter) ? Status.InDebt : Status.Exceeds;
}

/** Counts a refusal of permits or a rate, whose words tell no debt, and answers it. */
export function refuse(counter: u32, handle: f64): Status {
  tally(counter + COUNTER_DENIED, handle, 1);
  return Status.Exceeds;
}

/** Under the directory's lock: takes an idle budget out of everybody's reach. False if something is out, or being moved. */
export function retire(counter: u32): bool {
  const word = bare(atomic.load<u64>(counter + COUNTER_OUT));
  return valueOf(word) == 0 && atomic.cmpxchg<u64>(counter + COUNTER_OUT, word, withValue(word, RETIRED)) == word;
}

/**
 * Adds to a tagged word unless the slot has passed to another budget, then drops it. Saturates at 2^53−1: no decision
 * reads it. Ends because a failed swap means that another thread's addition succeeded; others see it before or after.
 */
export function tally(address: u32, handle: f64, amount: u64): void {
  while (true) {
    const word = atomic.load<u64>(address);
    if (tagOf(word) != generationTag(handle)) return;
    const next = min<u64>(valueOf(word) + amount, <u64>AMOUNT_MAX);
    if (atomic.cmpxchg<u64>(address, word, withValue(word, next)) == word) return;
  }
}

/** Raises the high-water mark to what is out. One load in the usual case that it stands higher. */
// @ts-ignore: decorator
@inline
export function noteHighWater(counter: u32, handle: f64, out: u64): void {
  if (out > valueOf(atomic.load<u64>(counter + COUNTER_HIGH_WATER))) raiseHighWater(counter, handle, out);
}

/** Reads and changes the mark; ends because it only rises. Others see it before or after. */
function raiseHighWater(counter: u32, handle: f64, out: u64): void {
  while (true) {
    const word = atomic.load<u64>(counter + COUNTER_HIGH_WATER);
    if (tagOf(word) != generationTag(handle) || valueOf(word) >= out) return;
    const next = withValue(word, min<u64>(out, <u64>AMOUNT_MAX));
    if (atomic.cmpxchg<u64>(counter + COUNTER_HIGH_WATER, word, next) == word) return;
  }
}

/** Whether `amount` can still be counted as consumed. Several threads at the very edge may pass it together; then the
 * count saturates, as tally does. */
export function canConsume(counter: u32, amount: u64): bool {
  return amount <= <u64>AMOUNT_MAX - valueOf(atomic.load<u64>(counter + COUNTER_CONSUMED));
}

/** What is out after a change of `delta`, within what the word can hold. */
// @ts-ignore: decorator
@inline
export function changed(out: u64, delta: i64): u64 {
  return delta < 0 ? out - min<u64>(out, <u64>-delta) : min<u64>(out + <u64>delta, OUT_MAX);
}

/**
 * Makes a slot serve a new budget. The directory's lock is held and no handle of this generation exists yet. How many wait
 * is not set back: each of them takes itself off that count, also if the line that it waits in is gone.
 */
export function counterOpen(counter: u32, kind: Kind, capacity: u64, guards: u64): u32 {
  const generation = atomic.load<u32>(counter + COUNTER_GENERATION) + 1;
  atomic.store<u32>(counter + COUNTER_GENERATION, generation);
  const tag = tagged(generation, 0);
  atomic.store<u64>(counter + COUNTER_CAPACITY, tag | capacity);
  atomic.store<u64>(counter + COUNTER_GUARDS, guards);
  atomic.store<u64>(counter + COUNTER_CONSUMED, tag);
  atomic.store<u64>(counter + COUNTER_HIGH_WATER, tag);
  atomic.store<u64>(counter + COUNTER_DENIED, tag);
  atomic.store<u64>(counter + COUNTER_OVER_RELEASED, tag);
  beginEmpty(counter, kind);
  // From here on nobody has the word locked for the budget before; what goes with its credit is changed under that lock.
  atomic.store<u64>(counter + COUNTER_CELLS, <u64>generation << 32);
  atomic.store<u64>(counter + COUNTER_LENT, 0);
  atomic.store<u64>(counter + COUNTER_WANTED, 0);
  atomic.store<u64>(counter + COUNTER_META, (<u64>generation << 8) | <u64>kind);
  return generation;
}

/**
 * Nothing is out, under a new tag: threads with an older generation's handle may still be about to swap the word, and
 * fail. A rate has no tag and begins at the time 0. Ends because each of them can succeed at most once before it looks
 * at the meta word, which is 0 here.
 */
function beginEmpty(counter: u32, kind: Kind): void {
  while (true) {
    const word = bare(atomic.load<u64>(counter + COUNTER_OUT));
    const epoch = epochOf(counter, word) + 1;
    const empty = kind == Kind.Rate ? 0 : tagged(epoch, 0);
    if (atomic.cmpxchg<u64>(counter + COUNTER_OUT, word, empty) == word) {
      advanceStamp(counter, epoch);
      return;
    }
  }
}
