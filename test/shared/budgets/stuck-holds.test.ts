// Holds that another thread is adjusting, or was adjusting when it died: who meets one waits for it, does meanwhile what
// can be done without it, and counts nothing twice. The other thread's steps are made by hand, in the kernel's memory.

import {
  AtomicBudget,
  AtomicTokenBudget,
  allOf,
  attachKernel,
  createKernel,
  type Kernel,
  TenantTokenTracker,
} from "purser";
import { describe, expect, test } from "vitest";
import { COUNTER_BYTES, HEADER_BYTES, HOLD_BYTES, PENDING_BYTES } from "../../../src/kernel/generated/abi.ts";
import { rightBehindFirst } from "../../support/right-behind.ts";

// As assembly/hold.ts and assembly/layout.ts have them.
const HOLD_OWNER_OFFSET = 52;
const STATE_BITS = 3n;
const OWNER_AND_STATE_BITS = 23n;
const HELD = 2n;
const ADJUSTING = 4n;

/** Leaves a held hold as a thread leaves it that is in the middle of adjusting it. @returns what lets go of it */
function hold(kernel: Kernel, slot: number, adjuster: Kernel): () => void {
  const at = HEADER_BYTES + PENDING_BYTES + kernel.budgets * COUNTER_BYTES + slot * HOLD_BYTES;
  const state = new BigUint64Array(kernel.memory.buffer, at, 1);
  const [held = 0n] = state;
  expect(held & ((1n << STATE_BITS) - 1n)).toBe(HELD);
  const ticket = held >> OWNER_AND_STATE_BITS;
  const owner = (held >> STATE_BITS) & ((1n << (OWNER_AND_STATE_BITS - STATE_BITS)) - 1n);
  new Uint32Array(kernel.memory.buffer, at + HOLD_OWNER_OFFSET, 1)[0] = Number(owner);
  state[0] = (ticket << OWNER_AND_STATE_BITS) | (BigInt(adjuster.owner) << STATE_BITS) | ADJUSTING;
  return () => {
    state[0] = held;
  };
}

const SCOPE = { tenantId: "acme" };
const BUSY = expect.objectContaining({ code: "KERNEL_BUSY" });

function tenant() {
  const kernel = createKernel({ budgets: 2, holds: 4 });
  const tracker = new TenantTokenTracker(100, { kernel, name: "agents" });
  const reservation = tracker.reserve(SCOPE, 5);
  const other = attachKernel(kernel.memory);
  const theirs = new TenantTokenTracker(100, { kernel: other, name: "agents" }).reserve(SCOPE, 6);
  const [mySlot = 0, theirSlot = 0] = heldSlots(kernel);
  return { kernel, other, tracker, reservation, theirs, mySlot, theirSlot };
}

/** The slots of all holds that are held, those of 5 tokens before those of 6. */
function heldSlots(kernel: Kernel): number[] {
  const begin = HEADER_BYTES + PENDING_BYTES + kernel.budgets * COUNTER_BYTES;
  const found: { slot: number; amount: bigint }[] = [];
  for (let slot = 0; slot < kernel.holds; slot++) {
    const [state = 0n, , amount = 0n] = new BigUint64Array(
      kernel.memory.buffer,
      begin + slot * HOLD_BYTES,
      3,
    );
    if ((state & 7n) === HELD) found.push({ slot, amount });
  }
  return found.sort((a, b) => Number(a.amount - b.amount)).map(({ slot }) => slot);
}

describe("an adjustment of a tenant", () => {
  test("that could take off a part at first takes off the rest later, and no more", () => {
    const { kernel, other, tracker, theirSlot } = tenant();
    rightBehindFirst(kernel, "budgetAdjust", hold(kernel, theirSlot, other));
    tracker.adjust(SCOPE, -8); // 5 of one at once, 3 of the other
    expect(tracker.snapshot().get("acme")?.inFlight).toBe(3);
    expect(tracker.overCap(SCOPE)).toBe(0);
  });

  test("that could not add anything at first adds it later, once", () => {
    const { kernel, other, tracker, reservation, theirSlot } = tenant();
    reservation.release();
    rightBehindFirst(kernel, "budgetAdjust", hold(kernel, theirSlot, other));
    tracker.adjust(SCOPE, 8);
    expect(tracker.snapshot().get("acme")?.inFlight).toBe(14);
  });
});

describe("what a dead thread was adjusting", () => {
  test("says so, and ends as it should once that thread is reclaimed", () => {
    const { kernel, other, tracker, reservation, mySlot } = tenant();
    hold(kernel, mySlot, other);
    expect(() => reservation.release()).toThrow(BUSY);
    expect(() => reservation.adjust(1)).toThrow(BUSY);
    expect(reservation.tokens).toBe(5);
    kernel.reclaim(other.owner); // and what it held itself is gone with it
    expect(reservation.adjust(1)).toBe(6);
    reservation.release();
    reservation.release();
    expect(tracker.snapshot().get("acme")?.inFlight).toBe(0);
  });

  test("keeps no other part of an allOf from going back", () => {
    const kernel = createKernel({ budgets: 4, holds: 8 });
    const dead = attachKernel(kernel.memory);
    const [first, last] = ["first", "last"].map((name) => new AtomicTokenBudget(10, { kernel, name }));
    const rows = new AtomicBudget(10, { kernel, name: "rows" });
    if (first === undefined || last === undefined) throw new Error("there are two");
    const taken = allOf(first, rows, last).tryReserve([5, 4, 6]);
    const [slot = 0] = heldSlots(kernel);
    hold(kernel, slot, dead);
    expect(() => taken?.release()).toThrow(BUSY);
    expect([first.available, rows.available, last.available]).toEqual([5, 10, 10]);
    kernel.reclaim(dead.owner);
    taken?.release();
    expect([first.available, rows.available, last.available]).toEqual([10, 10, 10]);
    expect(rows.overReleased).toBe(0);
  });
});
