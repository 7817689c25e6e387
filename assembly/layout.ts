// The memory map. Every address in the kernel is computed here, from slots that were range-checked; no address ever
// leaves the kernel. A fresh memory is all zeros, and all zeros is a valid empty state for every record below, so
// initialising means writing the header and nothing else.
//
//    0 ┌──────────────────────────────────────────────┐
//      │ header                                 128 B │
//  128 ├──────────────────────────────────────────────┤
//      │ pending owners: 256 × u32             1024 B │
// 1152 ├──────────────────────────────────────────────┤
//      │ counters: `budgets` × 128 B                  │  hammered words stand 128 B apart, so that two budgets
//      ├──────────────────────────────────────────────┤  never share a cache line or its prefetched neighbour
//      │ holds: `holds` × 64 B                        │  one cache line each
//      └──────────────────────────────────────────────┘
//
// header      +0 u64 magic and layout version    +8 u64 capacities: holds << 32 | budgets (0: not initialised)
//             +16 u32 owners issued              +20 u32 directory lock: owner, or 0
//             +24 u32 longest probe of the directory so far      +28 u32 sequence, moved for waiting threads
//
// counter     +0  u64 lock << 63 | tag (9 bits) << 54 | what is out (54 bits)   ← the only contended word (word.ts)
//             +8  u64 meta: generation << 8 | kind; 0 while the slot serves no budget
//             +16 u64 capacity   (tagged)        +24 u64 stamp: the epoch in full
//             +32 u64 consumed   (tagged)        +40 u64 high-water mark of what is out          (tagged)
//             +48 u64 denied     (tagged)        +56 u64 over-released                            (tagged)
//             +64 u64 key, high  +72 u64 key, low (the 128-bit hash of the name)
//             +80 u64 asked for at opening       +88 u32 generation, survives removal
//             +92 u32 waiting for a permit       +96 u64 guard bits of permits, a slice of credit, a tenant's group
//             +104 u64 generation << 32 | slot of the first cell + 1     +112 u64 lent to cells
//             +120 u64 what a thread that collects wants (all three for credit alone: credit.ts)
//             +120 u32 of tokens: whether a lease supplies it (the host's alone: src/kernel/supply.ts)
//   Rates (rate.ts) keep their arrival time in the contended word, their burst in the capacity, and limit and window where
//   permits keep their guards.
//   Permits (permit.ts) keep their fields in the contended word, their limits in the capacity, and use `consumed` to number
//   those who wait.
//   A tagged word is generation (9 bits) << 54 | value (54 bits): a thread that still holds a removed budget's
//   handle cannot write into its successor's figures, because its compare-and-swap carries the old tag.
//
// hold        +0  u64 state word: ticket (41 bits) << 23 | owner (20 bits) << 3 | state (3 bits)
//             +8  f64 counter handle             +16 u64 amount
//             +24 u64 stamp of the epoch it was taken in
//             +32 u64 deadline in ms, 0 for none +40 u64 actual, once settled
//             +48 u32 progress of the settlement +52 u32 owner, while another thread adjusts the amount
//   While claimed as one of several (all.ts): +24 a rate's cost, +32 a rate's present, +40 u64 the word that was seen, +52
//   u32 whether it will be held, +56 u32 address of the counter, +60 u32 address of the next hold, or its own if last.
//   While it is a thread's cell (credit.ts): +24 u64 its budget's meta word, +48 u32 slot of the next cell + 1, +52 u32 how many cells from here on,
//   +56 u64 the cell word.

export { COUNTER_DENIED, COUNTER_GUARDS, COUNTER_META, COUNTER_WAITING, HEADER_LOCK, HEADER_SEQUENCE } from "./abi";
import {
  COUNTER_BYTES,
  HEADER_BYTES,
  HOLD_BYTES,
  Kind,
  LAYOUT_VERSION,
  PENDING_BYTES,
} from "./abi";

/** "PURSER" in ASCII, then the layout version in the low 16 bits. */
export const MAGIC: u64 = 0x5055_5253_4552_0000 | <u64>LAYOUT_VERSION;

export const AMOUNT_MAX: i64 = 9007199254740991;
export const AMOUNT_MAX_F64: f64 = 9007199254740991.0;

export const PENDING: u32 = HEADER_BYTES;
export const COUNTERS: u32 = PENDING + PENDING_BYTES;

export const HEADER_MAGIC: u32 = 0;
export const HEADER_CAPACITIES: u32 = 8;
export const HEADER_OWNERS: u32 = 16;
export const HEADER_PROBE_MAX: u32 = 24;

export const COUNTER_OUT: u32 = 0;
export const COUNTER_CAPACITY: u32 = 16;
export const COUNTER_STAMP: u32 = 24;
export const COUNTER_CONSUMED: u32 = 32;
export const COUNTER_HIGH_WATER: u32 = 40;
export const COUNTER_OVER_RELEASED: u32 = 56;
export const COUNTER_KEY_HIGH: u32 = 64;
export const COUNTER_KEY_LOW: u32 = 72;
export const COUNTER_OPENING: u32 = 80;
export const COUNTER_GENERATION: u32 = 88;
export const COUNTER_CELLS: u32 = 104;
export const COUNTER_LENT: u32 = 112;
export const COUNTER_WANTED: u32 = 120;

export const HOLD_STATE: u32 = 0;
export const HOLD_COUNTER: u32 = 8;
export const HOLD_AMOUNT: u32 = 16;
export const HOLD_STAMP: u32 = 24;
export const HOLD_DEADLINE: u32 = 32;
export const HOLD_ACTUAL: u32 = 40;
export const HOLD_PROGRESS: u32 = 48;
export const HOLD_OWNER: u32 = 52;
export const HOLD_SEEN: u32 = 40;
export const HOLD_KEEPS: u32 = 52;
export const HOLD_ADDRESS: u32 = 56;
export const HOLD_NEXT: u32 = 60;
export const CELL_META: u32 = 24;
export const CELL_NEXT: u32 = 48;
export const CELL_RANK: u32 = 52;
export const CELL_WORD: u32 = 56;

// ---------------------------------------------------------------------------------------------------------------------
// Header

// @ts-ignore: decorator
@inline
export function budgetsCapacity(): u32 {
  return <u32>atomic.load<u64>(HEADER_CAPACITIES);
}

// @ts-ignore: decorator
@inline
export function holdsCapacity(): u32 {
  return <u32>(atomic.load<u64>(HEADER_CAPACITIES) >>> 32);
}

// @ts-ignore: decorator
@inline
export function ownersIssued(): u32 {
  return atomic.load<u32>(HEADER_OWNERS);
}

/** Bytes that a memory of these capacities needs. */
export function bytesFor(budgets: u32, holds: u32): u64 {
  return <u64>COUNTERS + <u64>budgets * COUNTER_BYTES + <u64>holds * HOLD_BYTES;
}

// ---------------------------------------------------------------------------------------------------------------------
// Checks. Range checks are written so that NaN fails them.

/** True for an integer in 0 … 2^53−1. JavaScript turned null, strings and the like into numbers before this. */
// @ts-ignore: decorator
@inline
export function isAmount(x: f64): bool {
  return x >= 0 && x <= AMOUNT_MAX_F64 && Math.trunc(x) == x;
}

/** True for an integer in `low` … `high`. */
export function isIntegerIn(x: f64, low: f64, high: f64): bool {
  return x >= low && x <= high && Math.trunc(x) == x;
}

/** True for an owner id that this memory has issued. */
export function isOwner(owner: f64): bool {
  return isIntegerIn(owner, 1, <f64>ownersIssued());
}

// ---------------------------------------------------------------------------------------------------------------------
// Handles: slot + generation · 2^20, an exact integer below 2^52. Generation 0 does not exist.

const SLOT_BITS: u64 = 20;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;

// @ts-ignore: decorator
@inline
export function handleOf(slot: u32, generation: u32): f64 {
  return <f64>(((<u64>generation) << SLOT_BITS) | <u64>slot);
}

/** From here on, up to 2^53, the low 52 bits of a number's representation are the number less this. */
const TWO_52: f64 = 4503599627370496.0;

/** The bits of an integer in 0 … 2^52−1, or NO_BITS for anything else; cheaper than converting there and back. */
// @ts-ignore: decorator
@inline
export function bitsOf(x: f64): u64 {
  const shifted = x + TWO_52;
  return x >= 0 && x < TWO_52 && shifted - TWO_52 == x ? reinterpret<u64>(shifted) & 0xf_ffff_ffff_ffff : NO_BITS;
}

export const NO_BITS: u64 = u64.MAX_VALUE;

/** The counter's address, or 0 when the handle is no handle of this memory. */
export function counterOf(handle: f64): u32 {
  const bits = bitsOf(handle);
  if (bits == NO_BITS) return 0;
  const slot = <u32>(bits & SLOT_MASK);
  return slot < budgetsCapacity() ? COUNTERS + slot * COUNTER_BYTES : 0;
}

/** The meta word of a live budget with this handle and kind. */
// @ts-ignore: decorator
@inline
export function metaOf(handle: f64, kind: Kind): u64 {
  return ((<u64>handle >>> SLOT_BITS) << 8) | <u64>kind;
}

/** The generation of the budget that a handle names. */
// @ts-ignore: decorator
@inline
export function generationOf(handle: f64): u64 {
  return <u64>handle >>> SLOT_BITS;
}

// @ts-ignore: decorator
@inline
export function counterAt(slot: u32): u32 {
  return COUNTERS + slot * COUNTER_BYTES;
}

// @ts-ignore: decorator
@inline
export function holdAt(slot: u32): u32 {
  return COUNTERS + budgetsCapacity() * COUNTER_BYTES + slot * HOLD_BYTES;
}
