// allOf: several budgets at one moment or not at all.

import {
  AtomicBudget,
  AtomicTokenBudget,
  allOf,
  ConcurrencyGovernor,
  createKernel,
  defaultKernel,
  type Kernel,
  RateBudget,
} from "purser";
import { describe, expect, test } from "vitest";
import { COUNTER_BYTES, HEADER_BYTES, PENDING_BYTES } from "../../../src/kernel/generated/abi.ts";

function world() {
  const kernel = createKernel({ budgets: 16, holds: 32 });
  let nowMs = 1_000_000;
  const options = { kernel, now: () => nowMs };
  return {
    kernel,
    rows: new AtomicBudget(10, { kernel, name: "rows" }),
    tokens: new AtomicTokenBudget(1_000, { kernel, name: "tokens" }),
    requests: new RateBudget({ limit: 10, windowMs: 1_000 }, { ...options, name: "requests" }),
    slowly: new RateBudget({ limit: 1, windowMs: 7_000, burst: 3 }, { ...options, name: "slowly" }),
    governor: new ConcurrencyGovernor({ streams: 1, tools: 2, total: 2 }, { kernel, name: "slots" }),
    later: (ms: number) => {
      nowMs += ms;
    },
  };
}

function granted<T>(value: T | null): T {
  if (value === null) throw new Error("expected it to be granted");
  return value;
}

/** The records of the kernel's budgets, one string each. */
function records(kernel: Kernel): string[] {
  const bytes = new Uint8Array(kernel.memory.buffer.slice(0));
  const begin = HEADER_BYTES + PENDING_BYTES;
  return Array.from({ length: kernel.budgets }, (_, slot) =>
    bytes.slice(begin + slot * COUNTER_BYTES, begin + (slot + 1) * COUNTER_BYTES).join(),
  );
}

describe("what is taken together", () => {
  test("comes out of every budget, and each part ends by itself", () => {
    const { rows, tokens, requests, governor } = world();
    const call = allOf(tokens, rows, requests, governor.category("streams"));
    const taken = granted(call.tryReserve([400, 3, 2]));
    expect([tokens.available, rows.available, requests.available]).toEqual([600, 7, 8]);
    expect(governor.stats()).toMatchObject({ streamsAvailable: 0, toolsAvailable: 2, globalAvailable: 1 });
    const [reservation, cost, request, permit] = taken.parts;
    tokens.recordUsage(reservation, 100, 50);
    cost.release();
    cost.release();
    request.release();
    permit.release();
    expect([tokens.available, rows.available, requests.available]).toEqual([850, 10, 10]);
    expect(governor.stats()).toMatchObject({ streamsAvailable: 1, globalAvailable: 2 });
    taken.release();
    expect([tokens.available, tokens.tokensConsumed(), rows.available]).toEqual([850, 150, 10]);
    expect([rows.overReleased, tokens.openReservations]).toEqual([0, 0]);
  });

  test("goes back whole when it is disposed, once", () => {
    const { rows, tokens, requests, governor } = world();
    const call = allOf(requests, governor.category("tools"), tokens, rows);
    {
      using taken = call.tryReserve([10, 1, 1_000, 10]);
      expect(taken).not.toBeNull();
      expect(call.tryReserve([0, 1, 0, 0])).not.toBeNull();
    }
    expect([requests.available, tokens.available, rows.available]).toEqual([10, 1_000, 10]);
    expect(governor.stats().toolsAvailable).toBe(1); // the second one is still out
    expect(rows.highWater).toBe(10);
    expect(tokens.highWater).toBe(1_000);
  });

  test("a cost of 0 is taken like any other, and needs a budget without debt", () => {
    const { rows, tokens } = world();
    const call = allOf(rows, tokens);
    tokens.recordUsage(granted(tokens.tryReserveTokens(0)), 1_001, 0);
    expect(call.tryReserve([0, 0])).toBeNull();
    expect(call.explainDenial([0, 0])).toMatchObject({ guard: 1, debt: 1 });
    tokens.refill();
    expect(call.tryReserve([0, 0])).not.toBeNull();
  });

  test("one budget alone is as good as several", () => {
    const { rows } = world();
    const call = allOf(rows);
    expect(granted(call.tryReserve([10])).parts).toHaveLength(1);
    expect(call.tryReserve([1])).toBeNull();
  });

  test("eight budgets, in any order of their slots", () => {
    const kernel = createKernel({ budgets: 8, holds: 8 });
    const budgets = Array.from({ length: 8 }, (_, n) => new AtomicBudget(n + 1, { kernel, name: `${n}` }));
    const call = allOf(...budgets);
    const costs = budgets.map((_, n) => n + 1);
    const taken = granted(call.tryReserve(costs));
    expect(budgets.map((budget) => budget.available)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    expect(taken.parts.map(({ cost }) => cost)).toEqual(costs);
    for (const [n, budget] of budgets.entries()) {
      taken.release();
      expect(budget.available).toBe(n + 1);
      expect(budget.tryReserve(1)).toBe(true);
      expect(call.tryReserve(costs)).toBeNull();
      expect(call.explainDenial(costs)?.guard).toBe(n);
      budget.release(1);
    }
    expect(budgets.map((budget) => budget.denied)).toEqual([1, 1, 1, 1, 1, 1, 1, 1]);
    expect(budgets.map((budget) => budget.available)).toEqual(costs);
  });

  test("token reservations can expire, be adopted elsewhere and outlive a refill", () => {
    const { kernel, rows, tokens } = world();
    const call = allOf(rows, tokens);
    const first = granted(call.tryReserve([1, 600], { expiresAtMs: 50 }));
    expect(kernel.expire(49)).toBe(0);
    expect(kernel.expire(50)).toBe(1);
    expect([tokens.available, rows.available]).toEqual([1_000, 9]);
    expect(() => tokens.recordUsage(first.parts[1], 1, 1)).toThrow(
      expect.objectContaining({ code: "RESERVATION_SETTLED" }),
    );
    const second = granted(call.tryReserve([1, 600]));
    const adopted = tokens.adopt(tokens.toTicket(second.parts[1]));
    tokens.refill();
    expect(tokens.held).toBe(0);
    tokens.recordUsage(adopted, 600, 100);
    expect([tokens.available, tokens.tokensConsumed()]).toEqual([900, 700]);
  });

  test("closing the kernel gives back tokens and permits; a removed budget's part ends without effect", () => {
    const { kernel, rows, tokens, governor } = world();
    const taken = granted(allOf(rows, tokens, governor.category("tools")).tryReserve([1, 500]));
    rows.remove();
    kernel.close();
    expect(tokens.available).toBe(1_000);
    expect(governor.stats().toolsAvailable).toBe(2);
    taken.release();
    expect([tokens.available, governor.stats().toolsAvailable]).toEqual([1_000, 2]);
  });
});

describe("a refusal", () => {
  test.each([
    ["rows", 0, [11, 1, 1], "TOO_LARGE_EVER"],
    ["tokens", 1, [1, 1_001, 1], "TOO_LARGE_EVER"],
    ["requests", 2, [1, 1, 11], "TOO_LARGE_EVER"],
    ["streams", 3, [1, 1, 1], "HELD_BY_INFLIGHT"],
  ] as const)("by %s leaves the others as they were, byte for byte", (name, guard, costs, code) => {
    const { kernel, rows, tokens, requests, governor } = world();
    if (name === "streams") governor.tryAcquireStream();
    const call = allOf(rows, tokens, requests, governor.category("streams"));
    const before = records(kernel);
    const free = kernel.holds;
    expect(call.tryReserve(costs)).toBeNull();
    const after = records(kernel);
    const changed = after.filter((record, slot) => record !== before[slot]);
    expect(changed).toHaveLength(1); // the count of denials
    expect(call.explainDenial(costs)).toMatchObject({ guard, code, scope: name });
    for (let n = name === "streams" ? 1 : 0; n < free; n++) granted(tokens.tryReserveTokens(0)); // no hold stays behind
    const denied = { rows: rows.denied, tokens: tokens.denied };
    expect(denied).toEqual({ rows: name === "rows" ? 1 : 0, tokens: name === "tokens" ? 1 : 0 });
  });

  test("by rates alone says exactly when all of it fits", () => {
    const { rows, requests, slowly, later } = world();
    const call = allOf(requests, rows, slowly);
    granted(call.tryReserve([9, 1, 3]));
    const denial = call.explainDenial([4, 1, 1]);
    expect(denial).toMatchObject({ guard: 2, code: "RATE", retry: { afterMs: 7_000 } });
    later(6_999);
    expect(call.tryReserve([4, 1, 1])).toBeNull();
    later(1);
    expect(call.explainDenial([4, 1, 1])).toBeNull();
    expect(call.tryReserve([4, 1, 1])).not.toBeNull();
  });

  test("names the guard that stands in the way longest", () => {
    const { rows, tokens, requests, governor } = world();
    const call = allOf(requests, governor.category("streams"), rows, tokens);
    granted(requests.tryReserve(10) || null);
    expect(call.explainDenial([1, 1, 1, 1])).toMatchObject({ guard: 0, retry: { afterMs: 100 } });
    granted(governor.tryAcquireStream());
    expect(call.explainDenial([1, 1, 1, 1])).toMatchObject({
      guard: 1,
      scope: "streams",
      retry: "when-released",
    });
    expect(call.explainDenial([1, 1, 1, 1_001])).toMatchObject({ guard: 3, retry: "never" });
  });

  test("a category never lets anybody pass those who wait, and nobody in once its governor is closed", async () => {
    const { rows, governor } = world();
    const call = allOf(rows, governor.category("streams"));
    const first = granted(governor.tryAcquireStream());
    const waiting = governor.acquireStream();
    expect(call.explainDenial([1])).toMatchObject({ guard: 1, available: 0, held: 1, limit: 1 });
    first.release();
    expect(call.tryReserve([1])).toBeNull(); // it is the waiting one's
    (await waiting).release();
    granted(call.tryReserve([1])).release();
    governor.close();
    expect(call.tryReserve([1])).toBeNull();
    expect(call.explainDenial([1])).toMatchObject({ guard: 1, retry: "never" });
    expect(rows.available).toBe(10);
  });

  test("two categories meet in the governor's total", () => {
    const { rows, tokens, governor } = world();
    const tools = allOf(rows, governor.category("tools"));
    const streams = allOf(tokens, governor.category("streams"));
    granted(tools.tryReserve([1]));
    granted(streams.tryReserve([1]));
    expect(tools.tryReserve([1])).toBeNull();
    expect(tools.explainDenial([1])).toMatchObject({ guard: 1, available: 0, retry: "when-released" });
    expect(rows.available).toBe(9);
  });
});

describe("bad input", () => {
  test("budgets that cannot be asked together are refused with the guard's place", () => {
    const { kernel, rows, tokens, governor } = world();
    const elsewhere = new AtomicBudget(1, { kernel: createKernel({ budgets: 1, holds: 1 }), name: "rows" });
    const cases: [() => unknown, RegExp][] = [
      [() => allOf(), /the number of guards must be an integer from 1 to 8, got 0/],
      [() => allOf(...Array(9).fill(rows)), /the number of guards must be .* got 9/],
      [
        () => allOf(rows, null as never),
        /guards\[1\] must be a budget of this library or governor\.category/,
      ],
      [() => allOf(rows, {} as never), /guards\[1\] must be a budget of this library/],
      [() => allOf(governor as never), /guards\[0\] must be a budget of this library/],
      [() => allOf(rows, elsewhere), /guards\[1\] must be in the kernel of guards\[0\]/],
      [() => allOf(rows, new AtomicBudget(1)), /guards\[1\] must be made with a name or a kernel/],
      [() => allOf(new AtomicTokenBudget(1)), /guards\[0\] must be made with a name or a kernel/],
      [
        () => allOf(new RateBudget({ limit: 1, windowMs: 1 }, { now: () => 0 })),
        /guards\[0\] must be made with a name/,
      ],
      [
        () => allOf(ConcurrencyGovernor.withDefaults().category("tools")),
        /guards\[0\] must be made with a name/,
      ],
      [() => allOf(rows, tokens, rows), /guards\[2\] must be another budget than guards\[0\]/],
      [
        () => allOf(rows, new AtomicBudget(10, { kernel, name: "rows" })),
        /guards\[1\] must be another budget than guards\[0\]/,
      ],
      [
        () => allOf(governor.category("streams"), governor.category("tools")),
        /guards\[1\] must be another budget than guards\[0\]/,
      ],
    ];
    for (const [call, message] of cases) {
      expect(call).toThrow(message);
      expect(call).toThrow(expect.objectContaining({ code: "ARGUMENT_INVALID" }));
    }
    expect(() => governor.category("nonsense")).toThrow(/category must be one of streams, tools/);
  });

  test("costs that are none change nothing and are named", () => {
    const { kernel, rows, tokens, governor } = world();
    const call = allOf(rows, tokens, governor.category("streams"));
    const before = new Uint8Array(kernel.memory.buffer.slice(0)).join();
    const cases: [unknown, RegExp][] = [
      [undefined, /costs must be an array/],
      [7, /costs must be an array/],
      [[], /costs\[0\] must be a number, got undefined/],
      [[1], /costs\[1\] must be a number, got undefined/],
      [[1, 1, 1, 1], /the number of costs must be an integer from 0 to 3, got 4/],
      [[-1, 1], /costs\[0\] must be an integer from 0/],
      [[1, 0.5], /costs\[1\] must be an integer from 0/],
      [[1, Number.NaN], /costs\[1\] must be an integer from 0/],
      [[1, 2 ** 53], /costs\[1\] must be an integer from 0/],
      [[{ want: 2, min: 1 }, 1], /costs\[0\] must be a number, got object/],
      [["1", 1], /costs\[0\] must be a number, got string "1"/],
      [[1, 1, 2], /costs\[2\] must be an integer from 1 to 1, got 2/],
      [[1, 1, 0], /costs\[2\] must be an integer from 1 to 1, got 0/],
    ];
    for (const [costs, message] of cases) {
      expect(() => call.tryReserve(costs as number[])).toThrow(message);
      expect(() => call.explainDenial(costs as number[])).toThrow(message);
    }
    for (const expiresAtMs of [0, -1, 0.5, Number.NaN]) {
      expect(() => call.tryReserve([1, 1], { expiresAtMs })).toThrow(/expiresAtMs must be an integer/);
    }
    expect(new Uint8Array(kernel.memory.buffer.slice(0)).join()).toBe(before);
  });

  test("a clock that fails or is out of range, a removed budget and a full kernel leave no hold behind", () => {
    const kernel = createKernel({ budgets: 4, holds: 3 });
    let now: () => number = () => 0;
    const rows = new AtomicBudget(10, { kernel, name: "rows" });
    const tokens = new AtomicTokenBudget(10, { kernel, name: "tokens" });
    const rate = new RateBudget(
      { limit: 1_000_000, windowMs: 1 },
      { kernel, name: "rate", now: () => now() },
    );
    const call = allOf(rows, tokens, rate);
    now = () => {
      throw new Error("no clock");
    };
    expect(() => call.tryReserve([1, 1, 1])).toThrow("no clock");
    now = () => Number.MAX_SAFE_INTEGER;
    expect(() => call.tryReserve([1, 1, 1])).toThrow(/now\(\) must be an integer/);
    now = () => 0;
    const open = granted(tokens.tryReserveTokens(1));
    expect(() => call.tryReserve([1, 1, 1])).toThrow(expect.objectContaining({ code: "KERNEL_FULL" }));
    open.cancel();
    granted(call.tryReserve([1, 1, 1])).release();
    rows.remove();
    expect(() => call.tryReserve([1, 1, 1])).toThrow(expect.objectContaining({ code: "BUDGET_REMOVED" }));
    for (let n = 0; n < 3; n++) granted(tokens.tryReserveTokens(1));
    expect(tokens.available).toBe(7);
  });

  test("a budget and its successor in the same slot: the removed one says so", () => {
    const kernel = createKernel({ budgets: 1, holds: 4 });
    const old = new AtomicBudget(1, { kernel, name: "a" });
    old.remove();
    const successor = new AtomicBudget(1, { kernel, name: "b" });
    expect(() => allOf(successor, old)).toThrow(expect.objectContaining({ code: "BUDGET_REMOVED" }));
  });
});

test("budgets with names and no kernel are together in the default one", () => {
  const rows = new AtomicBudget(1, { name: "all-of rows" });
  const tokens = new AtomicTokenBudget(1, { name: "all-of tokens" });
  expect(rows.kernel).toBe(defaultKernel());
  granted(allOf(rows, tokens).tryReserve([1, 1])).release();
  expect([rows.available, tokens.available]).toEqual([1, 1]);
  rows.remove();
  tokens.remove();
});
