// RateBudget: exact against a model in fractions of integers, the clock, the burst, bad input.

import fc from "fast-check";
import { allOf, attachKernel, createKernel, RateBudget } from "purser";
import { describe, expect, test } from "vitest";
import { BAD_AMOUNTS } from "../../support/arbitraries.ts";

function clockAt(startMs: number) {
  let nowMs = startMs;
  return { now: () => nowMs, set: (ms: number) => (nowMs = ms), advance: (ms: number) => (nowMs += ms) };
}

test("every grant keeps within burst + limit · t / window, is never refused below it, and waits exactly", () => {
  const step = fc.record({
    advanceMs: fc.nat({ max: 40 }),
    cost: fc.nat({ max: 12 }),
    release: fc.boolean(),
  });
  const kernel = createKernel({ budgets: 1, holds: 1 });
  fc.assert(
    fc.property(
      fc.record({
        limit: fc.integer({ min: 1, max: 30 }),
        windowMs: fc.integer({ min: 1, max: 100 }),
        burst: fc.nat({ max: 20 }),
        startMs: fc.constantFrom(0, 1, 1_700_000_000_000, 4_000_000_000_000),
      }),
      fc.array(step, { maxLength: 60 }),
      ({ limit, windowMs, burst, startMs }, steps) => {
        const clock = clockAt(startMs);
        const rate = new RateBudget({ limit, windowMs, burst }, { now: clock.now, kernel, name: "modelled" });
        // The model: what the bucket lacks, in units of 1 / window of a token, so that it is an integer.
        let lacks = 0;
        for (const { advanceMs, cost, release } of steps) {
          clock.advance(advanceMs);
          lacks = Math.max(0, lacks - advanceMs * limit);
          const room = burst * windowMs - lacks;
          expect(rate.available).toBe(Math.floor(room / windowMs));
          const fits = cost * windowMs <= room;
          const short = cost * windowMs - room;
          expect(rate.retryAfterMs(cost)).toBe(cost > burst ? null : Math.max(0, Math.ceil(short / limit)));
          expect(rate.tryReserve(cost)).toBe(fits);
          if (fits) lacks += cost * windowMs;
          if (fits && release) {
            rate.release(cost);
            lacks -= cost * windowMs;
          }
        }
        rate.remove();
      },
    ),
    { numRuns: 200 },
  );
});

describe("the clock", () => {
  test("that goes back grants nothing, and takes nothing away", () => {
    const clock = clockAt(1_000_000);
    const rate = new RateBudget({ limit: 10, windowMs: 1_000 }, { now: clock.now });
    expect(rate.tryReserve(10)).toBe(true);
    clock.set(999_000);
    expect(rate.tryReserve(1)).toBe(false);
    clock.set(1_000_000);
    expect(rate.tryReserve(1)).toBe(false);
    clock.set(1_000_100);
    expect(rate.tryReserve(1)).toBe(true);
    expect(rate.tryReserve(1)).toBe(false);
  });

  test("may stand, and may tell fractions", () => {
    const clock = clockAt(0.9);
    const rate = new RateBudget({ limit: 1_000, windowMs: 1_000, burst: 1 }, { now: clock.now });
    expect(rate.tryReserve(1)).toBe(true);
    expect(rate.tryReserve(1)).toBe(false);
    clock.set(1);
    expect(rate.tryReserve(1)).toBe(true);
  });
});

test("a cost whose time would not fit into 64 bits is refused, and given back it is all there was", () => {
  const rate = new RateBudget({ limit: 1, windowMs: 4_096, burst: 10 }, { now: () => 1_000_000 });
  expect(rate.tryReserve(2 ** 52)).toBe(false); // 2^52 · 4,096 ms is 2^64
  expect(rate.tryReserve(10)).toBe(true);
  rate.release(2 ** 52);
  expect(rate.available).toBe(10);
});

test("a denial says when to come back, exactly", () => {
  const clock = clockAt(0);
  const rate = new RateBudget({ limit: 3, windowMs: 1_000, burst: 5 }, { now: clock.now, name: "requests" });
  expect(rate.tryReserve(5)).toBe(true);
  expect(rate.explainDenial(1)).toMatchObject({ code: "RATE", scope: "requests", retry: { afterMs: 334 } });
  clock.set(333);
  expect(rate.tryReserve(1)).toBe(false);
  clock.set(334);
  expect(rate.tryReserve(1)).toBe(true);
  expect(rate.explainDenial(6)).toMatchObject({ code: "TOO_LARGE_EVER", retry: "never", limit: 5 });
});

test("threads of one kernel share a rate by its name", () => {
  const kernel = createKernel();
  const clock = clockAt(0);
  const limits = { limit: 10, windowMs: 1_000 };
  const here = new RateBudget(limits, { now: clock.now, kernel, name: "tokens" });
  const there = new RateBudget(limits, {
    now: clock.now,
    kernel: attachKernel(kernel.memory),
    name: "tokens",
  });
  expect(here.tryReserve(7)).toBe(true);
  expect(there.tryReserve(4)).toBe(false);
  expect(there.available).toBe(3);
  expect(() => new RateBudget({ ...limits, burst: 3 }, { now: clock.now, kernel, name: "tokens" })).toThrow(
    expect.objectContaining({ code: "BUDGET_MISMATCH" }),
  );
});

describe.each(BAD_AMOUNTS)("%s", (value, errorClass) => {
  test("is refused everywhere, and nothing changes", () => {
    const bad = value as number;
    const now = () => 0;
    expect(() => new RateBudget({ limit: bad, windowMs: 1 }, { now })).toThrow(errorClass);
    expect(() => new RateBudget({ limit: 1, windowMs: bad }, { now })).toThrow(errorClass);
    if (value !== undefined)
      expect(() => new RateBudget({ limit: 1, windowMs: 1, burst: bad }, { now })).toThrow(errorClass);
    const rate = new RateBudget({ limit: 10, windowMs: 10 }, { now });
    expect(() => rate.tryReserve(bad)).toThrow(errorClass);
    expect(() => rate.release(bad)).toThrow(errorClass);
    expect(() => rate.retryAfterMs(bad)).toThrow(errorClass);
    expect(() => rate.explainDenial(bad)).toThrow(errorClass);
    expect(rate.available).toBe(10);
  });
});

test("a denial is of one moment, though the clock goes on while it is made", () => {
  let nowMs = 0;
  const now = () => nowMs++;
  const kernel = createKernel({ budgets: 1, holds: 1 });
  const rate = new RateBudget({ limit: 1, windowMs: 5, burst: 1 }, { now, kernel });
  const both = allOf(rate);
  expect(rate.tryReserve(1)).toBe(true); // at 0: the next fits at 5
  expect(rate.explainDenial(1)).toMatchObject({ retry: { afterMs: 4 }, available: 0 }); // at 1
  for (const afterMs of [3, 2, 1]) {
    expect(both.explainDenial([1])).toMatchObject({ code: "RATE", retry: { afterMs }, available: 0 });
  }
  expect(both.explainDenial([1])).toBeNull(); // at 5
});

test("a clock that is none, or that tells nonsense, is refused", () => {
  expect(() => new RateBudget({ limit: 1, windowMs: 1 }, { now: 5 as never })).toThrow(TypeError);
  for (const nonsense of [Number.NaN, -1, 2 ** 53]) {
    const rate = new RateBudget({ limit: 1, windowMs: 1 }, { now: () => nonsense });
    expect(() => rate.tryReserve(1)).toThrow(/now\(\) must be an integer/);
  }
  const fast = new RateBudget({ limit: 2 ** 20, windowMs: 1 }, { now: () => 2 ** 50 });
  expect(() => fast.tryReserve(1)).toThrow(/now\(\) must be an integer from 0 to/);
  expect(() => new RateBudget({ limit: 2 ** 32 - 1, windowMs: 1_000 }, { now: Date.now })).toThrow(
    /limit must be/,
  );
  const tight = new RateBudget({ limit: 999_983, windowMs: 60_000 }, { now: () => 4_000_000_000_000 });
  expect(tight.tryReserve(999_983)).toBe(true);
  expect(() => new RateBudget({ limit: 1, windowMs: 2 ** 32 - 1, burst: 2 ** 40 }, { now: () => 0 })).toThrow(
    /burst/,
  );
});
