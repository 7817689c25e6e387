// A range instead of an amount: every budget grants as much of it as it has. Against a model of one number, in every form
// a budget comes in; then what a caller makes of it, and everything that is no range.

import fc from "fast-check";
import {
  type AmountRange,
  AtomicTokenBudget,
  createKernel,
  RateBudget,
  type TenantReservation,
  TenantTokenTracker,
  type TokenReservation,
  withTokens,
} from "purser";
import { describe, expect, test } from "vitest";
import { BAD_AMOUNTS, edgeAmount } from "../../support/arbitraries.ts";
import { BUDGET_FORMS } from "../../support/budget-forms.ts";

/** What should be granted of a range: all that is left of it, or null. A balance below 0 is debt. */
const expected = ({ want, min }: AmountRange, balance: number): number | null =>
  min > balance ? null : Math.min(want, balance);

const range = fc
  .tuple(edgeAmount, edgeAmount)
  .map(([a, b]) => ({ want: Math.max(a, b), min: Math.min(a, b) }));
const small = fc.nat({ max: 60 });
const smallRange = fc.tuple(small, small).map(([a, b]) => ({ want: a + b, min: a }));

const step = fc.oneof(
  fc.record({ op: fc.constant("fit" as const), range: fc.oneof(smallRange, range) }),
  fc.record({ op: fc.constant("take" as const), amount: small }),
  fc.record({ op: fc.constant("give" as const), amount: small }),
  fc.record({ op: fc.constant("grant" as const), amount: small }),
  fc.record({ op: fc.constant("refill" as const) }),
);

describe.each(BUDGET_FORMS)("$form", (form) => {
  test("AtomicBudget grants of a range what it has, and counts what it refuses", () => {
    fc.assert(
      fc.property(fc.oneof(small, edgeAmount), fc.array(step, { maxLength: 40 }), (opening, steps) => {
        const budget = form.counted(opening);
        let capacity = opening;
        let out = 0;
        let outMost = 0;
        let denied = 0;
        for (const current of steps) {
          if (current.op === "fit" || current.op === "take") {
            const asked =
              current.op === "fit" ? current.range : { want: current.amount, min: current.amount };
            const granted = expected(asked, capacity - out);
            if (current.op === "fit") expect(budget.tryReserve(asked)).toBe(granted);
            else expect(budget.tryReserve(current.amount)).toBe(granted !== null);
            out += granted ?? 0;
            denied += granted === null ? 1 : 0;
          } else if (current.op === "give") {
            budget.release(Math.min(current.amount, out));
            out -= Math.min(current.amount, out);
          } else if (current.op === "grant" && capacity + current.amount <= Number.MAX_SAFE_INTEGER) {
            budget.grant(current.amount);
            capacity += current.amount;
          } else if (current.op === "refill") {
            budget.refill();
            out = 0;
          }
          outMost = Math.max(outMost, out);
          expect([budget.available, budget.denied, budget.overReleased]).toEqual([capacity - out, denied, 0]);
          expect(budget.highWater).toBeGreaterThanOrEqual(outMost);
          expect(budget.highWater).toBeLessThanOrEqual(capacity);
        }
        budget.remove();
      }),
      { numRuns: 120 },
    );
  });

  test("AtomicTokenBudget reserves of a range what it has, nothing in debt, and settles what was granted", () => {
    const tokenStep = fc.oneof(
      {
        weight: 3,
        arbitrary: fc.record({ op: fc.constant("fit" as const), range: fc.oneof(smallRange, range) }),
      },
      { weight: 2, arbitrary: fc.record({ op: fc.constant("use" as const), used: small }) },
      { weight: 1, arbitrary: fc.record({ op: fc.constant("cancel" as const) }) },
    );
    fc.assert(
      fc.property(small, fc.array(tokenStep, { maxLength: 40 }), (capacity, steps) => {
        const budget = form.tokens(capacity);
        const open: TokenReservation[] = [];
        let balance = capacity;
        let held = 0;
        for (const current of steps) {
          if (current.op === "fit") {
            const reservation = budget.tryReserveTokens(current.range);
            const granted = expected(current.range, balance);
            expect(reservation?.estimate ?? null).toBe(granted);
            if (reservation !== null) open.push(reservation);
            balance -= granted ?? 0;
            held += granted ?? 0;
          } else {
            const reservation = open.shift();
            if (reservation === undefined) continue;
            held -= reservation.estimate;
            balance += reservation.estimate - (current.op === "use" ? current.used : 0);
            if (current.op === "use") budget.recordUsage(reservation, current.used, 0);
            else reservation.cancel();
          }
          expect({
            balance: budget.available - budget.debt,
            held: budget.held,
            open: budget.openReservations,
          }).toEqual({
            balance,
            held,
            open: open.length,
          });
        }
        for (const reservation of open) reservation.cancel();
        budget.remove();
      }),
      { numRuns: 120 },
    );
  });

  test("a reservation of a range expires like any other", () => {
    const budget = form.tokens(100);
    expect(budget.tryReserveTokens({ want: 500, min: 1 }, { expiresAtMs: 10 })?.estimate).toBe(100);
    expect(budget.tryReserveTokens({ want: 5, min: 1 })).toBeNull();
    expect(budget.expire(10)).toBe(1);
    expect(budget.available).toBe(100);
  });

  test("withTokens hands what was granted to the call, which clamps itself", async () => {
    const budget = form.tokens(1_000);
    const call = (maxTokens: number) => ({ result: maxTokens, promptTokens: 0, completionTokens: maxTokens });
    const ask = () => withTokens(budget, { want: 800, min: 100 }, ({ estimate }) => call(estimate));
    expect(await ask()).toBe(800);
    expect(await ask()).toBe(200);
    await expect(ask()).rejects.toMatchObject({ denial: { requested: 100, available: 0 } });
    expect([budget.tokensConsumed(), budget.debt]).toEqual([1_000, 0]);
  });

  test.each(BAD_AMOUNTS)("%s is no bound of a range, and nothing changes", (value, errorClass) => {
    const bad = value as number;
    const counted = form.counted(10);
    const tokens = form.tokens(10);
    for (const asked of [
      { want: bad, min: 0 },
      { want: 5, min: bad },
    ]) {
      expect(() => counted.tryReserve(asked)).toThrow(errorClass);
      expect(() => tokens.tryReserveTokens(asked)).toThrow(errorClass);
    }
    expect([counted.available, counted.denied, tokens.available, tokens.openReservations]).toEqual([
      10, 0, 10, 0,
    ]);
  });

  test("a least that is more than the most is refused by name", () => {
    const call = () => form.counted(10).tryReserve({ want: 5, min: 6 });
    expect(call).toThrow("cost.min must be an integer from 0 to 5, got 6");
    expect(call).toThrow(expect.objectContaining({ code: "ARGUMENT_INVALID" }));
  });
});

test("RateBudget grants of a range what the rate allows now", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 50 }),
      fc.integer({ min: 1, max: 2_000 }),
      fc.nat({ max: 80 }),
      fc.array(fc.record({ range: smallRange, stepMs: fc.nat({ max: 900 }), back: fc.boolean() }), {
        maxLength: 30,
      }),
      (limit, windowMs, burst, steps) => {
        let nowMs = 5_000;
        const kernel = createKernel({ budgets: 1, holds: 1, shared: false });
        const rate = new RateBudget({ limit, windowMs, burst }, { now: () => nowMs, kernel });
        for (const { range: asked, stepMs, back } of steps) {
          nowMs += stepMs;
          const { available } = rate;
          const fits = expected(asked, available);
          expect(rate.tryReserve(asked)).toBe(fits);
          expect(rate.available).toBe(available - (fits ?? 0));
          if (back && fits !== null) {
            rate.release(fits);
            expect(rate.available).toBe(available);
          }
        }
        rate.remove();
      },
    ),
    { numRuns: 200 },
  );
});

test("TenantTokenTracker reserves of a range what the tenant's cap leaves", () => {
  fc.assert(
    fc.property(
      small,
      fc.array(fc.record({ range: smallRange, ends: fc.boolean() }), { maxLength: 30 }),
      (cap, steps) => {
        const tracker = new TenantTokenTracker(cap, {
          kernel: createKernel({ budgets: 2, holds: 64, shared: false }),
        });
        const open: TenantReservation[] = [];
        let inFlight = 0;
        for (const { range: asked, ends } of steps) {
          const granted = expected(asked, cap - inFlight);
          const reservation = tracker.tryReserve({ tenantId: "acme" }, asked);
          expect(reservation?.tokens ?? null).toBe(granted);
          if (reservation !== null) open.push(reservation);
          inFlight += granted ?? 0;
          if (ends) {
            const first = open.shift();
            inFlight -= first?.tokens ?? 0;
            first?.release();
          }
          expect(tracker.totals().inFlight).toBe(inFlight);
        }
      },
    ),
    { numRuns: 100 },
  );
});

test("a tenant or a rate that was asked for no range, or for less than nothing, says so", () => {
  const tracker = new TenantTokenTracker(10);
  const rate = new RateBudget({ limit: 1, windowMs: 1_000 }, { now: () => 0 });
  for (const bad of [{}, { want: 1 }, { want: 1, min: 2 }, { want: -1, min: -1 }, null, "1"]) {
    expect(() => tracker.tryReserve({}, bad as AmountRange)).toThrow(
      expect.objectContaining({ code: "ARGUMENT_INVALID" }),
    );
    expect(() => rate.tryReserve(bad as AmountRange)).toThrow(
      expect.objectContaining({ code: "ARGUMENT_INVALID" }),
    );
  }
  expect(tracker.totals()).toEqual({ tenants: 0, inFlight: 0 });
  expect(() => tracker.reserve({}, { want: 20, min: 11 })).toThrow(
    expect.objectContaining({ code: "TENANT_OVERLOADED" }),
  );
  expect(tracker.reserve({}, { want: 20, min: 10 }).tokens).toBe(10);
});

test("with every hold of a kernel taken a range is an error and no denial, as a single amount is", () => {
  const kernel = createKernel({ budgets: 1, holds: 1, shared: false });
  const tokens = new AtomicTokenBudget(10, { kernel });
  expect(tokens.tryReserveTokens({ want: 5, min: 0 })?.estimate).toBe(5);
  expect(() => tokens.tryReserveTokens({ want: 5, min: 0 })).toThrow(
    expect.objectContaining({ code: "KERNEL_FULL" }),
  );
  expect([tokens.available, tokens.denied]).toEqual([5, 0]);
});
