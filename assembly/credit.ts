// Thread credit: a counter whose threads spend from slices of their own. A slice stands in a cell, a hold slot that one
// thread owns, on a cache line of its own; taking from it or giving back to it is one swap there that nobody contends.
//
// Invariant: what is out, in the contended word, = Σ granted over the cells of the current epoch + what no cell accounts
// for. `lent` is that sum. A cell's granted = idle, which nobody has + taken, which users have. Both words are changed
// only while the contended word is locked (word.ts); a thread alone moves units between idle and taken of its own cell.
// So a cell that was emptied stays so until its thread comes by the lock, and lent = 0 says that all cells are empty.
//
// No take is refused while the budget as a whole covers it: who says no has the word locked, and what other cells
// account for is nothing, or too little even if all of it were idle. Until then it empties cell after cell, and nobody
// borrows meanwhile (`wanted`; only speed depends on it).
// Who may call: any thread, through index.ts, with a cell that creditJoin gave it or without one; all.ts without one.
//
//   cell word   0 | tag of the epoch (9 bits) | turn (8 bits) | granted (23 bits) | idle (23 bits)
//
// A refill makes all cells void by their tag, and then empties them, so that the tag may come round again. The turn
// tells a cell from another one that gets its slot after the budget was removed; to be fooled, a thread would have to
// sleep between two neighbouring instructions meanwhile and wake to the very same tag, turn and figures.

import { CREDIT_MAX, HOLD_BYTES, Kind, NO_CELL, OWNERS_MAX } from "./abi";
import { advanceStamp, capacityOf, checkHandle, deny, epochOf, noteHighWater, tally } from "./counter";
import { checkRange } from "./fit";
import { claim, CLAIMED, CREDIT, FREE, isTicket, ownerOf, prepare, restated, stateOf, stateWord } from "./hold";
import {
  bitsOf,
  budgetsCapacity,
  CELL_META,
  CELL_NEXT,
  CELL_RANK,
  CELL_WORD,
  COUNTER_CELLS,
  COUNTER_GUARDS,
  COUNTER_LENT,
  COUNTER_META,
  COUNTER_OUT,
  COUNTER_OVER_RELEASED,
  COUNTER_WANTED,
  counterAt,
  counterOf,
  generationOf,
  handleOf,
  HOLD_COUNTER,
  HOLD_STATE,
  holdAt,
  holdsCapacity,
  isAmount,
  isIntegerIn,
  isOwner,
  metaOf,
} from "./layout";
import { Status } from "./status";
import { isLocked, LOCK, TAG_SHIFT, tagged, VALUE_MASK, valueOf, withValue } from "./word";

const GRANTED_SHIFT: u64 = 23;
const FIGURE_MASK: u64 = (1 << 23) - 1;
const TURN_SHIFT: u64 = 46;
const TURN_MASK: u64 = 255;
const FIGURES_MASK: u64 = (1 << 46) - 1;

/** A cell as its thread names it: its slot, and its owner above. */
const SLOT_BITS: u64 = 22;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;
/** The bits of a hold's state word that name its owner and its state. */
const OWNER_AND_STATE: u64 = (1 << 23) - 1;

/** What a give wants that needs other cells empty: nobody borrows before it is done. */
const EVERYTHING: u64 = VALUE_MASK;

// Outcomes of `rebook` beside what was moved and −status.
/** A cell changed between the look and the lock. */
const AGAIN: i64 = i64.MIN_VALUE;
/** Other cells might make a difference. */
const COLLECT: i64 = i64.MIN_VALUE + 1;

/** True for a slice that a cell can hold twice over: once idle, once taken. */
export function isCredit(credit: f64): bool {
  return isIntegerIn(credit, 1, <f64>CREDIT_MAX);
}

// @ts-ignore: decorator
@inline
function idleOf(cell: u64): u64 {
  return cell & FIGURE_MASK;
}

// @ts-ignore: decorator
@inline
function grantedOf(cell: u64): u64 {
  return (cell >>> GRANTED_SHIFT) & FIGURE_MASK;
}

/** Whether a cell's figures count: its tag is the word's, and the word is not locked. */
// @ts-ignore: decorator
@inline
function isCurrent(word: u64, cell: u64): bool {
  return (word ^ cell) >>> TAG_SHIFT == 0;
}

// ---------------------------------------------------------------------------------------------------------------------
// Decisions

/**
 * The calling thread's cell of this budget: the one it has, one whose thread is gone, or a new one.
 * @param owner, ticket, hint as for holdReserve
 * @returns the cell, or −status: HoldsFull, Stale
 */
export function creditJoin(handle: f64, owner: f64, ticket: f64, hint: f64): f64 {
  if (!isOwner(owner) || !isTicket(ticket)) return -(<f64>Status.HandleInvalid);
  const status = checkHandle(handle, Kind.Credit);
  if (status != Status.Ok) return -(<f64>status);
  let free: u32 = 0;
  for (let cell = nextCell(handle, 0); cell != 0; cell = nextCell(handle, cell)) {
    const holder = ownerOf(atomic.load<u64>(cell + HOLD_STATE));
    if (holder == <u32>owner) return cellNumber(cell, <u32>owner);
    if (holder == 0) free = cell;
  }
  const mine = stateWord(<u64>ticket, <u32>owner, CREDIT);
  if (free != 0) {
    const word = atomic.load<u64>(free + HOLD_STATE);
    const isFree = stateOf(word) == CREDIT && ownerOf(word) == 0 && isCell(free, handle);
    if (isFree && atomic.cmpxchg<u64>(free + HOLD_STATE, word, mine) == word) return cellNumber(free, <u32>owner);
  }
  const slot = claim(restated(mine, <u32>owner, CLAIMED), hint);
  if (slot < 0) return -(<f64>Status.HoldsFull);
  const cell = holdAt(<u32>slot);
  prepare(cell, handle, 0, 0);
  store<u64>(cell + CELL_META, metaOf(handle, Kind.Credit));
  atomic.store<u64>(cell + CELL_WORD, ((<u64>ticket * 31 + <u64>owner) & TURN_MASK) << TURN_SHIFT);
  return push(handle, cell, mine) ? cellNumber(cell, <u32>owner) : -(<f64>Status.Stale);
}

/**
 * Takes −`delta` if the budget as a whole covers it, or gives `delta` back, capped at what is out; what the cap swallows
 * is counted as over-released. The thread's own cell is enough as long as neither its idle nor its taken is used up.
 *
 * @param cell from creditJoin, or NO_CELL for a thread that has none: it always decides under the lock, and borrows nothing
 */
export function creditMove(handle: f64, delta: f64, cell: f64): i32 {
  if (!isAmount(Math.abs(delta))) return Status.AmountInvalid;
  const counter = counterOf(handle);
  if (cell == NO_CELL && counter != 0) return moveLocked(counter, handle, 0, <i64>delta);
  const name = bitsOf(cell);
  const slot = <u32>(name & SLOT_MASK);
  const owner = name >>> SLOT_BITS;
  // Owner 0 is what nobody's cells have, so nobody's cell can be named.
  if (counter == 0 || owner == 0 || owner > <u64>OWNERS_MAX || slot >= holdsCapacity()) return Status.HandleInvalid;
  const own = holdAt(slot);
  // The word first, the cell second, and whose they are last: if the cell is swapped as it was read, it was this
  // thread's all the time, and the move belongs to the epoch that the word showed.
  const word = atomic.load<u64>(counter + COUNTER_OUT);
  const mine = atomic.load<u64>(own + CELL_WORD);
  const state = atomic.load<u64>(own + HOLD_STATE) & OWNER_AND_STATE;
  if (state != stateWord(0, <u32>owner, CREDIT) || load<f64>(own + HOLD_COUNTER) != handle) {
    const status = checkHandle(handle, Kind.Credit);
    return status == Status.Ok ? Status.NotHeld : status;
  }
  if (
    isCurrent(word, mine) &&
    idleOf(mine) + <u64>(<i64>delta) <= grantedOf(mine) && // below 0 is more than any figure
    atomic.load<u64>(counter + COUNTER_META) == load<u64>(own + CELL_META) &&
    atomic.cmpxchg<u64>(own + CELL_WORD, mine, mine + <u64>(<i64>delta)) == mine
  ) {
    return Status.Ok;
  }
  return moveLocked(counter, handle, own, <i64>delta);
}

/**
 * Takes as much as fits between `least` and `most`, always under the lock: only there is it known how much that is.
 *
 * @param cell as for creditMove
 * @returns what was taken, or −status
 */
export function creditFit(handle: f64, least: f64, most: f64, cell: f64): f64 {
  const range = checkRange(least, most);
  if (range != Status.Ok) return -(<f64>range);
  // Giving nothing says whether the cell is this thread's, of this budget.
  const status = creditMove(handle, 0, cell);
  if (status != Status.Ok) return -(<f64>status);
  const own = cell == NO_CELL ? 0 : holdAt(<u32>(<u64>cell & SLOT_MASK));
  return <f64>decide(counterOf(handle), handle, own, -(<i64>most), <u64>least, false);
}

function moveLocked(counter: u32, handle: f64, own: u32, delta: i64): i32 {
  return statusOf(decide(counter, handle, own, delta, <u64>abs(delta), false));
}

/** The status of an answer that is what was moved, or −status. */
function statusOf(answer: i64): i32 {
  return answer < 0 ? <i32>-answer : Status.Ok;
}

/**
 * Takes (`delta` < 0) or gives under the lock. As long as other cells might make a difference, it empties one of them and
 * looks again in the same lock. Ends because nobody borrows meanwhile, unless what it wants is there.
 */
function decide(counter: u32, handle: f64, own: u32, delta: i64, least: u64, look: bool): i64 {
  let other: u32 = 0;
  let answer = rebook(counter, handle, own, 0, delta, least, false, look);
  while (answer == COLLECT) {
    other = nextCell(handle, other);
    if (other == own && own != 0) other = nextCell(handle, other);
    answer = rebook(counter, handle, own, other, delta, least, true, look);
  }
  return answer;
}

/**
 * The one place where units move between the contended word and the cells. Under one lock it empties the cell `other` (0:
 * none), takes or gives `delta`, and lends the cell `own` (0: none) a fresh slice if the operation succeeded.
 *
 * @param least what a take may be cut down to, where the budget as a whole does not cover it
 * @param collecting whether this thread may be the one that wants others not to borrow
 * @param look whether only to see if the word has enough: nothing is taken
 * @returns what was taken or given; COLLECT if other cells might make a difference; or −status: Exceeds if the budget as a
 *   whole does not cover the take; Stale; NotHeld if `own` is no cell of this budget any more
 */
function rebook(
  counter: u32,
  handle: f64,
  own: u32,
  other: u32,
  delta: i64,
  least: u64,
  collecting: bool,
  look: bool,
): i64 {
  const credit = atomic.load<u64>(counter + COUNTER_GUARDS);
  // Ends because a failed swap means that another thread's change succeeded, or is being made under the lock.
  while (true) {
    const word = atomic.load<u64>(counter + COUNTER_OUT);
    const theirs = other == 0 ? 0 : atomic.load<u64>(other + CELL_WORD);
    const mine = own == 0 ? 0 : atomic.load<u64>(own + CELL_WORD);
    if (atomic.load<u64>(counter + COUNTER_META) != metaOf(handle, Kind.Credit)) return -<i64>checkHandle(handle, Kind.Credit);
    if (own != 0 && !isCell(own, handle)) return -<i64>Status.NotHeld;
    if (other != 0 && !isCell(other, handle)) return -<i64>Status.Stale;
    if (isLocked(word)) continue;
    const cells = <u64>countCells(counter);
    if (atomic.cmpxchg<u64>(counter + COUNTER_OUT, word, word | LOCK) != word) continue;

    // Locked: one straight line to the store that unlocks. The word may have gone to and fro since it was read, so what
    // goes with it counts only if it is the same now: the capacity is read here, and a cell that changed means AGAIN.
    const capacity = capacityOf(counter);
    let out = valueOf(word);
    let lent = atomic.load<u64>(counter + COUNTER_LENT);
    let answer: i64 = AGAIN;
    let given: u64 = 0;
    if (
      (own == 0 || atomic.load<u64>(own + CELL_WORD) == mine) &&
      (other == 0 || atomic.cmpxchg<u64>(other + CELL_WORD, theirs, theirs & ~FIGURES_MASK) == theirs)
    ) {
      if (other != 0 && isCurrent(word, theirs)) {
        out -= idleOf(theirs);
        lent -= grantedOf(theirs);
      }
      const counts = own != 0 && isCurrent(word, mine);
      const unlent = out - (counts ? idleOf(mine) : 0); //          out, without this cell's idle
      const elsewhere = lent - (counts ? grantedOf(mine) : 0); //   of it, what other cells account for
      let wanted = atomic.load<u64>(counter + COUNTER_WANTED);
      let next = unlent;
      if (delta < 0) {
        next = unlent + <u64>-delta;
        if (next > capacity && elsewhere != 0 && unlent + least - elsewhere <= capacity) {
          answer = COLLECT;
        } else if (unlent + least <= capacity) {
          // Either it fits, or no other cell accounts for anything and what is left is all there is.
          next = min<u64>(next, capacity);
          answer = <i64>(next - unlent);
        } else {
          answer = -<i64>Status.Exceeds;
        }
      } else {
        given = min<u64>(<u64>delta, unlent - elsewhere);
        next = unlent - given;
        answer = given == <u64>delta || elsewhere == 0 ? delta : COLLECT;
      }
      if (answer == COLLECT) wanted = delta < 0 ? <u64>-delta : EVERYTHING;
      else if (collecting || (answer >= 0 && wanted <= capacity - next)) wanted = 0;
      if (answer >= 0 && own != 0) {
        const slice = wanted == 0 ? min<u64>(credit, (capacity - next) / (cells << 1)) : 0;
        // What may come back without the lock: a take's own cost; after a give, as much as a slice.
        const taken = slice == 0 ? 0 : min<u64>(credit, delta < 0 ? next - unlent : next - elsewhere);
        const cell = (mine & (TURN_MASK << TURN_SHIFT)) | (word & ~VALUE_MASK) | ((slice + taken) << GRANTED_SHIFT) | slice;
        // Fails only if the budget was removed and its cells are another's by now.
        if (atomic.cmpxchg<u64>(own + CELL_WORD, mine, cell) == mine) {
          next += slice;
          lent = elsewhere + slice + taken;
        } else {
          answer = AGAIN;
        }
      }
      if (answer >= 0 && !look) out = next;
      atomic.store<u64>(counter + COUNTER_WANTED, wanted);
    }
    atomic.store<u64>(counter + COUNTER_LENT, lent);
    atomic.store<u64>(counter + COUNTER_OUT, withValue(word, out));
    // Unlocked.

    if (answer == AGAIN) continue;
    if (answer == -<i64>Status.Exceeds) return -<i64>deny(counter, handle, withValue(word, out));
    if (answer >= 0) {
      noteHighWater(counter, handle, out);
      if (delta > 0 && given < <u64>delta) tally(counter + COUNTER_OVER_RELEASED, handle, <u64>delta - given);
    }
    return answer;
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Inside the kernel

/** Brings what is idle into the word until it has `cost`, for who takes it from there. @returns as creditMove */
export function creditCollect(counter: u32, handle: f64, cost: u64): Status {
  return statusOf(decide(counter, handle, 0, -(<i64>cost), cost, true));
}

/** Starts a new epoch with nothing out, and empties the cells of the one before. The handle was checked. */
export function creditRefill(handle: f64): Status {
  const counter = counterOf(handle);
  // Reads the word, meta and stamp; changes the word and what goes with it. Ends as rebook's loop does.
  while (true) {
    const word = atomic.load<u64>(counter + COUNTER_OUT);
    if (atomic.load<u64>(counter + COUNTER_META) != metaOf(handle, Kind.Credit)) return checkHandle(handle, Kind.Credit);
    if (isLocked(word)) continue;
    const epoch = epochOf(counter, word) + 1;
    if (atomic.cmpxchg<u64>(counter + COUNTER_OUT, word, word | LOCK) != word) continue;
    atomic.store<u64>(counter + COUNTER_LENT, 0);
    atomic.store<u64>(counter + COUNTER_WANTED, 0);
    atomic.store<u64>(counter + COUNTER_OUT, tagged(epoch, 0));
    advanceStamp(counter, epoch);
    break;
  }
  for (let cell = nextCell(handle, 0); cell != 0; cell = nextCell(handle, cell)) rebook(counter, handle, 0, cell, 0, 0, false, false);
  return Status.Ok;
}

/**
 * A cell whose thread is gone: what is idle goes back, what was taken stays out, and the cell is for the next thread
 * that joins. `word` is its state word. If the budget was removed, its slot is free.
 */
export function leaveCell(cell: u32, word: u64): void {
  const handle = load<f64>(cell + HOLD_COUNTER);
  const left = rebook(counterOf(handle), handle, 0, cell, 0, 0, false, false) == 0;
  atomic.cmpxchg<u64>(cell + HOLD_STATE, word, left ? restated(word, 0, CREDIT) : FREE);
}

/**
 * Forgets what collecting threads want: one of them is gone, and it is nowhere written which, since who collects need not
 * have a cell. Those that are still at it say so again under their next lock.
 */
export function forgetWanted(): void {
  const count = budgetsCapacity();
  for (let slot: u32 = 0; slot < count; slot++) {
    const counter = counterAt(slot);
    const meta = atomic.load<u64>(counter + COUNTER_META);
    if ((meta & 255) != Kind.Credit || atomic.load<u64>(counter + COUNTER_WANTED) == 0) continue;
    rebook(counter, handleOf(slot, <u32>(meta >>> 8)), 0, 0, 0, 0, true, false);
  }
}

/** What is idle in all cells, by looking at each. Late while threads work, exact when they rest. */
export function idleAmount(handle: f64, word: u64): u64 {
  let idle: u64 = 0;
  for (let cell = nextCell(handle, 0); cell != 0; cell = nextCell(handle, cell)) {
    const theirs = atomic.load<u64>(cell + CELL_WORD);
    if (isCurrent(word, theirs)) idle += idleOf(theirs);
  }
  return idle;
}

/**
 * Puts a claimed hold in front of the budget's cells. A live budget's cells are never taken out, and the word where they
 * begin names the budget's generation, so a thread that comes too late joins nobody's cells. False if it does.
 */
function push(handle: f64, cell: u32, mine: u64): bool {
  const counter = counterOf(handle);
  const slot = <u64>((cell - holdAt(0)) / HOLD_BYTES);
  // Ends because a failed swap means that another thread's cell went in front.
  while (true) {
    const head = atomic.load<u64>(counter + COUNTER_CELLS);
    if (checkHandle(handle, Kind.Credit) != Status.Ok || head >>> 32 != generationOf(handle)) {
      atomic.store<u64>(cell + HOLD_STATE, FREE);
      return false;
    }
    store<u32>(cell + CELL_NEXT, <u32>head);
    store<u32>(cell + CELL_RANK, countCells(counter) + 1);
    // Straight line: a cell before it is in the list, a claimed hold again if it did not get there.
    atomic.store<u64>(cell + HOLD_STATE, mine);
    if (atomic.cmpxchg<u64>(counter + COUNTER_CELLS, head, (head >>> 32 << 32) | (slot + 1)) == head) return true;
    const claimed = mine - CREDIT + CLAIMED;
    if (atomic.cmpxchg<u64>(cell + HOLD_STATE, mine, claimed) != mine) return false; // the budget was removed, and this with it
  }
}

/** The cell behind `cell` (0: the first), or 0 at the end, and where a removed budget's cells end. */
function nextCell(handle: f64, cell: u32): u32 {
  const counter = counterOf(handle);
  const head = atomic.load<u64>(counter + COUNTER_CELLS);
  const next = cell != 0 ? load<u32>(cell + CELL_NEXT) : head >>> 32 == generationOf(handle) ? <u32>head : 0;
  if (next == 0 || next > holdsCapacity()) return 0;
  const found = holdAt(next - 1);
  return isCell(found, handle) ? found : 0;
}

/** How many cells a budget has, those that no thread owns included. Only the size of slices depends on it. */
// @ts-ignore: decorator
@inline
function countCells(counter: u32): u32 {
  const first = <u32>atomic.load<u64>(counter + COUNTER_CELLS);
  return first == 0 ? 0 : load<u32>(holdAt(first - 1) + CELL_RANK);
}

// @ts-ignore: decorator
@inline
function isCell(cell: u32, handle: f64): bool {
  return stateOf(atomic.load<u64>(cell + HOLD_STATE)) == CREDIT && load<f64>(cell + HOLD_COUNTER) == handle;
}

function cellNumber(cell: u32, owner: u32): f64 {
  return <f64>(((<u64>owner) << SLOT_BITS) | <u64>((cell - holdAt(0)) / HOLD_BYTES));
}
