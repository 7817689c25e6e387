// Takes of as much as fits: any amount between a least and a most, the largest that there is at one moment.
//
// Invariant: what is granted is min(most, what the budget had left) at the moment of the one swap that takes it, and a
// refusal belongs to a moment at which less than `least` was left. So no grant is smaller than it had to be, none is larger
// than what was there, and nobody is refused who asked for no more than there was.
// Who may call: any thread, through index.ts, with a handle of the directory. Budgets with credit: credit.ts.

import { Kind } from "./abi";
import { capacityOf, checkHandle, deny, epochOf, noteHighWater, refuse } from "./counter";
import { CLAIMED, FREE, HELD, isTicket, stateWord } from "./hold";
import {
  COUNTER_META,
  COUNTER_OUT,
  counterOf,
  HOLD_ADDRESS,
  HOLD_AMOUNT,
  HOLD_COUNTER,
  HOLD_NEXT,
  HOLD_STAMP,
  HOLD_STATE,
  holdAt,
  holdsCapacity,
  isAmount,
  isIntegerIn,
  isOwner,
  metaOf,
} from "./layout";
import { arrivalAfter, isTime, NEVER, roomAt } from "./rate";
import { Status } from "./status";
import { isLocked, valueOf, withValue } from "./word";

/** Ok for two amounts of which the first is not the larger. */
export function checkRange(least: f64, most: f64): Status {
  if (!isAmount(least) || !isAmount(most)) return Status.AmountInvalid;
  return least <= most ? Status.Ok : Status.ArgumentInvalid;
}

/** In place of what is out: there is not even the least. */
const NONE: u64 = u64.MAX_VALUE;

/** What is out once as much as fits was taken, or NONE. In debt nothing fits, not even 0. */
// @ts-ignore: decorator
@inline
function outAfter(counter: u32, out: u64, least: u64, most: u64): u64 {
  const capacity = capacityOf(counter);
  return out + least > capacity ? NONE : min<u64>(out + most, capacity);
}

/**
 * Takes as much as fits of a counter; of a token budget too, without a hold. What nobody gives back stays out there: so a
 * slice goes back to who lent it, the mirror of a grant, and no take can have it meanwhile.
 * @returns what was taken, or −status
 */
export function counterFit(handle: f64, least: f64, most: f64): f64 {
  const range = checkRange(least, most);
  if (range != Status.Ok) return -(<f64>range);
  const counter = counterOf(handle);
  if (counter == 0) return -(<f64>Status.HandleInvalid);
  // Reads the word, meta and capacity; changes the word alone. Ends as counterTake's loop does; there is no state midway.
  while (true) {
    const word = atomic.load<u64>(counter + COUNTER_OUT);
    const meta = atomic.load<u64>(counter + COUNTER_META);
    if (meta != metaOf(handle, Kind.Counter) && meta != metaOf(handle, Kind.Tokens)) {
      return -(<f64>checkHandle(handle, Kind.Counter));
    }
    if (isLocked(word)) continue;
    const out = valueOf(word);
    const next = outAfter(counter, out, <u64>least, <u64>most);
    if (next == NONE) return -(<f64>deny(counter, handle, word));
    if (atomic.cmpxchg<u64>(counter + COUNTER_OUT, word, withValue(word, next)) != word) continue;
    noteHighWater(counter, handle, next);
    return <f64>(next - out);
  }
}

/**
 * Takes as much as fits of a token budget, for a hold that `allClaim` claimed alone and with `most` as its amount. It is
 * held from here on, with what was granted as its amount; or free again, if less than `least` was left.
 *
 * @param slot, owner, ticket as the hold was claimed
 * @returns what was taken, or −status
 */
export function holdFit(slot: f64, owner: f64, ticket: f64, least: f64): f64 {
  if (!isAmount(least)) return -(<f64>Status.AmountInvalid);
  if (!isIntegerIn(slot, 0, <f64>holdsCapacity() - 1)) return -(<f64>Status.HandleInvalid);
  if (!isOwner(owner) || !isTicket(ticket)) return -(<f64>Status.HandleInvalid);
  const hold = holdAt(<u32>slot);
  const claimed = stateWord(<u64>ticket, <u32>owner, CLAIMED);
  const isWhole = atomic.load<u64>(hold + HOLD_STATE) == claimed && load<u32>(hold + HOLD_NEXT) == hold;
  if (!isWhole) return -(<f64>Status.HandleInvalid);
  const most = load<u64>(hold + HOLD_AMOUNT);
  if (<u64>least > most) return -(<f64>Status.ArgumentInvalid);
  const handle = load<f64>(hold + HOLD_COUNTER);
  const counter = load<u32>(hold + HOLD_ADDRESS);
  // As in holdReserve: midway others see a claimed slot, and a word before or after the take.
  while (true) {
    const word = atomic.load<u64>(counter + COUNTER_OUT);
    if (atomic.load<u64>(counter + COUNTER_META) != metaOf(handle, Kind.Tokens)) {
      atomic.store<u64>(hold + HOLD_STATE, FREE);
      return -(<f64>checkHandle(handle, Kind.Tokens));
    }
    if (isLocked(word)) continue;
    const out = valueOf(word);
    const next = outAfter(counter, out, <u64>least, most);
    if (next == NONE) {
      atomic.store<u64>(hold + HOLD_STATE, FREE);
      return -(<f64>deny(counter, handle, word));
    }
    store<u64>(hold + HOLD_AMOUNT, next - out);
    store<u64>(hold + HOLD_STAMP, epochOf(counter, word));
    if (atomic.cmpxchg<u64>(counter + COUNTER_OUT, word, withValue(word, next)) == word) {
      // Straight line: from here to `held` no interrupt can come (hold.ts).
      atomic.store<u64>(hold + HOLD_STATE, claimed - CLAIMED + HELD);
      noteHighWater(counter, handle, next);
      return <f64>(next - out);
    }
  }
}

/** Takes as much as fits of a rate at `now`. @returns what was taken, or −status */
export function rateFit(handle: f64, least: f64, most: f64, now: f64): f64 {
  const range = checkRange(least, most);
  if (range != Status.Ok) return -(<f64>range);
  if (!isAmount(now)) return -(<f64>Status.TimeInvalid);
  const status = checkHandle(handle, Kind.Rate);
  if (status != Status.Ok) return -(<f64>status);
  const counter = counterOf(handle);
  if (!isTime(counter, now)) return -(<f64>Status.TimeInvalid);
  // As in rateTake.
  while (true) {
    const arrival = atomic.load<u64>(counter + COUNTER_OUT);
    if (atomic.load<u64>(counter + COUNTER_META) != metaOf(handle, Kind.Rate)) return -(<f64>checkHandle(handle, Kind.Rate));
    if (isLocked(arrival)) continue;
    const cost = min<u64>(<u64>most, roomAt(counter, arrival, <u64>now));
    const next = cost < <u64>least ? NEVER : arrivalAfter(counter, arrival, cost, <u64>now);
    if (next == NEVER) return -(<f64>refuse(counter, handle));
    if (atomic.cmpxchg<u64>(counter + COUNTER_OUT, arrival, next) == arrival) return <f64>cost;
  }
}
