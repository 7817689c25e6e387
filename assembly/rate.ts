// Rates: at most so much per window, with a burst, as one word that says until when the rate is used up.
//
// Invariant: over any stretch of time t that the callers' clocks show, what was granted is at most burst + limit · t /
// window. The word only depends on what was granted and when, so a clock that goes back grants nothing.
// Who may call: any thread, through index.ts, with one clock for all threads of a rate.
//
// Time is scaled so that nothing is ever rounded: with limit and window reduced by their common divisor, one
// millisecond is `limit` units and one unit of cost takes `window` units. The word holds the theoretical arrival time
// (generic cell rate algorithm): when the last cost would have ended if all of them had been spread evenly.
// It needs 63 bits, so that above the lock's bit it leaves none for a tag: a removed rate's late swap would have to find
// its very own arrival time.

import { Kind } from "./abi";
import { capacityOf, checkHandle, refuse } from "./counter";
import {
  COUNTER_OUT,
  COUNTER_GUARDS,
  COUNTER_META,
  counterOf,
  isAmount,
  metaOf,
} from "./layout";
import { Status } from "./status";
import { bare, isLocked } from "./word";

/** The burst and the present in scaled time stay within this, the present below it, so that their sum is below the lock. */
const SCALED_MAX: u64 = 1 << 62;
/** No arrival time. */
export const NEVER: u64 = u64.MAX_VALUE;

/** Whether a burst and a reduced limit and window (32 bits each) can be computed with. */
export function isRate(burst: u64, limit: u64, window: u64): bool {
  return limit >= 1 && window >= 1 && burst <= SCALED_MAX / window;
}

/**
 * Takes `cost` if the rate allows it at `now`.
 * @returns Ok; Exceeds; TimeInvalid if `now` is beyond what the rate can compute with
 */
export function rateTake(handle: f64, cost: f64, now: f64): i32 {
  if (!isAmount(cost)) return Status.AmountInvalid;
  if (!isAmount(now)) return Status.TimeInvalid;
  const status = checkHandle(handle, Kind.Rate);
  if (status != Status.Ok) return status;
  const counter = counterOf(handle);
  if (!isTime(counter, now)) return Status.TimeInvalid;
  // Reads meta and the arrival time; changes the arrival time. Ends because a failed swap means another thread's
  // succeeded. There is no state between.
  while (true) {
    const arrival = atomic.load<u64>(counter + COUNTER_OUT);
    if (atomic.load<u64>(counter + COUNTER_META) != metaOf(handle, Kind.Rate)) return checkHandle(handle, Kind.Rate);
    if (isLocked(arrival)) continue;
    const next = arrivalAfter(counter, arrival, <u64>cost, <u64>now);
    if (next == NEVER) return refuse(counter, handle);
    if (atomic.cmpxchg<u64>(counter + COUNTER_OUT, arrival, next) == arrival) return Status.Ok;
  }
}

/** Whether the rate can compute with this moment. */
export function isTime(counter: u32, now: f64): bool {
  return <u64>now <= (SCALED_MAX - 1) / (atomic.load<u64>(counter + COUNTER_GUARDS) >>> 32);
}

/** The arrival time once `cost` was granted, or NEVER if it is not granted now. */
export function arrivalAfter(counter: u32, arrival: u64, cost: u64, now: u64): u64 {
  const scale = atomic.load<u64>(counter + COUNTER_GUARDS);
  const window = scale & 0xffffffff;
  const burst = capacityOf(counter);
  if (cost > burst) return NEVER;
  const time = now * (scale >>> 32);
  const next = max<u64>(arrival, time) + cost * window;
  return next > time + burst * window ? NEVER : next;
}

/** Takes back a cost that was granted and then not used: the rate is used up so much less long. */
export function rateGive(handle: f64, cost: f64): i32 {
  if (!isAmount(cost)) return Status.AmountInvalid;
  const status = checkHandle(handle, Kind.Rate);
  if (status != Status.Ok) return status;
  const counter = counterOf(handle);
  const window = atomic.load<u64>(counter + COUNTER_GUARDS) & 0xffffffff;
  const took = min<u64>(<u64>cost, capacityOf(counter)) * window;
  // As in rateTake. An arrival time in the past grants no more than one at this moment, so this needs no clock.
  while (true) {
    const arrival = bare(atomic.load<u64>(counter + COUNTER_OUT));
    if (atomic.load<u64>(counter + COUNTER_META) != metaOf(handle, Kind.Rate)) return checkHandle(handle, Kind.Rate);
    const next = arrival - min<u64>(arrival, took);
    if (atomic.cmpxchg<u64>(counter + COUNTER_OUT, arrival, next) == arrival) return Status.Ok;
  }
}

/** Milliseconds from `now` until `cost` fits, if nobody else takes; 0 if it fits; −status. Exceeds: it never fits. */
export function rateWait(handle: f64, cost: f64, now: f64): f64 {
  if (!isAmount(cost)) return -(<f64>Status.AmountInvalid);
  if (!isAmount(now)) return -(<f64>Status.TimeInvalid);
  const status = checkHandle(handle, Kind.Rate);
  if (status != Status.Ok) return -(<f64>status);
  const counter = counterOf(handle);
  const scale = atomic.load<u64>(counter + COUNTER_GUARDS);
  const limit = scale >>> 32;
  const window = scale & 0xffffffff;
  const burst = capacityOf(counter);
  if (<u64>cost > burst) return -(<f64>Status.Exceeds);
  if (!isTime(counter, now)) return -(<f64>Status.TimeInvalid);
  const time = <u64>now * limit;
  const free = time + (burst - <u64>cost) * window; // the latest arrival time at which the cost fits now
  const arrival = bare(atomic.load<u64>(counter + COUNTER_OUT));
  return arrival <= free ? 0 : <f64>((arrival - free + limit - 1) / limit);
}

/** What fits at `now`, or −status. May be late. */
export function rateAvailable(handle: f64, now: f64): f64 {
  if (!isAmount(now)) return -(<f64>Status.TimeInvalid);
  const status = checkHandle(handle, Kind.Rate);
  if (status != Status.Ok) return -(<f64>status);
  const counter = counterOf(handle);
  if (!isTime(counter, now)) return -(<f64>Status.TimeInvalid);
  return <f64>roomAt(counter, bare(atomic.load<u64>(counter + COUNTER_OUT)), <u64>now);
}

/** The most that is granted at `now` under this arrival time. */
export function roomAt(counter: u32, arrival: u64, now: u64): u64 {
  const scale = atomic.load<u64>(counter + COUNTER_GUARDS);
  const time = now * (scale >>> 32);
  const end = time + capacityOf(counter) * (scale & 0xffffffff);
  const from = max<u64>(arrival, time);
  return from >= end ? 0 : (end - from) / (scale & 0xffffffff);
}
