// Calls that hold what they probably use, and a reserve for the others: whatever the calls turn out to use, no token is used
// that neither budget gave out, nobody is stopped while there is any left, and every token comes back or is consumed.

import fc from "fast-check";
import { AtomicTokenBudget, createKernel } from "purser";
import {
  ElasticBudget,
  type ElasticReservation,
  EstimateAdvisor,
  withSuggestedTokens,
} from "purser/estimates";
import { describe, expect, test } from "vitest";
import { BAD_AMOUNTS } from "../../support/arbitraries.ts";

const small = fc.nat({ max: 60 });
const which = fc.nat({ max: 20 });
const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ op: fc.constant("admit" as const), hold: small, least: small }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant("grow" as const), which, by: small }) },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant("settle" as const),
      which,
      share: fc.integer({ min: 0, max: 100 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("release" as const), which }) },
);

test.each([
  ["private", () => ({})],
  ["in a kernel", () => ({ kernel: createKernel({ budgets: 2, holds: 512, shared: false }) })],
])("%s: every history keeps what is held and consumed within both budgets, to the unit", (_, options) => {
  fc.assert(
    fc.property(
      fc.nat({ max: 200 }),
      fc.nat({ max: 60 }),
      fc.integer({ min: 1, max: 20 }),
      fc.array(step, { maxLength: 60 }),
      (own, reserve, stepTokens, steps) => {
        const place = options();
        const budget = new AtomicTokenBudget(own, place);
        const tail = new AtomicTokenBudget(reserve, place);
        const elastic = new ElasticBudget({ budget, tail, stepTokens });
        const open: ElasticReservation[] = [];
        let consumed = 0;
        for (const current of steps) {
          if (current.op === "admit") {
            const want = Math.max(current.hold, current.least);
            const before = budget.available;
            const call = elastic.tryReserve({ want, min: current.least });
            expect(call?.held ?? null).toBe(current.least > before ? null : Math.min(want, before));
            if (call !== null) open.push(call);
          } else {
            const call = open[current.which % Math.max(1, open.length)];
            if (call === undefined) continue;
            if (current.op === "grow") {
              const total = call.held + current.by;
              const may = call.growTo(total);
              expect(may).toBe(call.held);
              // Only who finds both budgets empty is stopped.
              if (may < total)
                expect([call.isStopped, budget.available, tail.available]).toEqual([true, 0, 0]);
            } else {
              open.splice(open.indexOf(call), 1);
              if (current.op === "settle") {
                const used = Math.floor((call.held * current.share) / 100);
                const prompt = Math.floor(used / 3);
                call.settle(prompt, used - prompt);
                consumed += used;
              }
              call.release();
            }
          }
          const held = open.reduce((sum, call) => sum + call.held, 0);
          const drawn = open.reduce((sum, call) => sum + call.drawn, 0);
          expect({
            debt: budget.debt + tail.debt,
            held: budget.held + tail.held,
            drawn: tail.held,
            consumed: budget.tokensConsumed() + tail.tokensConsumed(),
            left: budget.available + tail.available,
          }).toEqual({ debt: 0, held, drawn, consumed, left: own + reserve - held - consumed });
        }
      },
    ),
    { numRuns: 400 },
  );
});

function elastic(own = 100, reserve = 20) {
  const budget = new AtomicTokenBudget(own);
  const tail = new AtomicTokenBudget(reserve);
  return { budget, tail, both: new ElasticBudget({ budget, tail, stepTokens: 5 }) };
}

function admitted(both: ElasticBudget, hold: number): ElasticReservation {
  const call = both.tryReserve(hold);
  if (call === null) throw new Error("expected a reservation");
  return call;
}

describe("a call that outgrows its hold", () => {
  test("draws from the budget, then from the reserve, and is told where to stop", () => {
    const { budget, tail, both } = elastic();
    const call = admitted(both, 90);
    expect([call.growTo(91), budget.available]).toEqual([95, 5]); // a step at least
    expect([call.growTo(103), call.drawn, tail.available]).toEqual([105, 5, 15]);
    expect([call.growTo(200), call.isStopped]).toEqual([120, true]);
    expect(both.tryReserve(1)).toBeNull();
    call.settle(20, 100);
    expect([budget.tokensConsumed(), tail.tokensConsumed(), budget.debt, tail.debt]).toEqual([100, 20, 0, 0]);
  });

  test("leaves the reserve whole where the budget can pay by then", () => {
    const { budget, tail, both } = elastic();
    const first = admitted(both, 60);
    const second = admitted(both, 40);
    expect(second.growTo(55)).toBe(55);
    expect(tail.available).toBe(5);
    first.release();
    second.settle(5, 50);
    expect([budget.tokensConsumed(), tail.tokensConsumed(), tail.available]).toEqual([55, 0, 20]);
  });

  test("and does not stop is charged for all of it, as debt", () => {
    const { budget, both } = elastic(10, 0);
    admitted(both, 10).settle(4, 9);
    expect([budget.tokensConsumed(), budget.debt]).toEqual([13, 3]);
  });

  test("is settled once; ended, it grows no more", () => {
    const { budget, both } = elastic();
    const over = expect.objectContaining({ code: "RESERVATION_SETTLED" });
    const call = admitted(both, 10);
    call.settle(1, 1);
    expect(() => call.settle(1, 1)).toThrow(over);
    expect(() => call.growTo(50)).toThrow(over);
    call.release();
    expect([budget.available, budget.tokensConsumed()]).toEqual([98, 2]);
    {
      using dropped = admitted(both, 10);
      expect(dropped.growTo(15)).toBe(15);
    }
    expect(budget.available).toBe(98);
  });
});

describe("withSuggestedTokens", () => {
  const ROUTE = { model: "m", route: "r" };

  test("holds what is suggested, settles and learns; one that was stopped teaches that more is needed", async () => {
    const { budget, tail, both } = elastic(1_000, 10);
    const advisor = new EstimateAdvisor({ callsMin: 2, quantile: 0.5 });
    const ask = (answer: number) =>
      withSuggestedTokens({ ...ROUTE, advisor, budget: both, certain: 100, estimate: 400 }, (call) => {
        const { held } = call;
        const completionTokens = Math.min(answer, call.growTo(100 + answer) - 100);
        return { result: held, promptTokens: 100, completionTokens };
      });
    expect(await ask(40)).toBe(500);
    expect(await ask(40)).toBe(500);
    const held = await ask(40);
    expect(held).toBeGreaterThanOrEqual(140);
    expect(held).toBeLessThanOrEqual(144);
    expect(await ask(395)).toBe(held); // outgrows it, and there is enough
    expect(budget.available).toBe(1_000 - 3 * 140 - 495);
    await expect(ask(1)).rejects.toMatchObject({ code: "BUDGET_DENIED", denial: { available: 85 } });
    budget.grant(60);
    expect(await ask(395)).toBe(held); // is stopped at what both have left
    expect([budget.available, budget.debt, tail.available, tail.debt]).toEqual([0, 0, 0, 0]);
    const next = new ElasticBudget({ budget: new AtomicTokenBudget(10_000), tail });
    for (let call = 0; call < 5; call++) {
      await withSuggestedTokens({ ...ROUTE, advisor, budget: next, estimate: 400 }, (stopped) => {
        stopped.growTo(99_999);
        return { result: 0, promptTokens: 0, completionTokens: 1 };
      });
    }
    expect(advisor.suggest(ROUTE, 400)).toBe(400);
  });

  test("gives everything back and learns nothing when the call fails or is aborted", async () => {
    const { budget, tail, both } = elastic();
    const advisor = new EstimateAdvisor({ callsMin: 1 });
    const call = { ...ROUTE, advisor, budget: both, estimate: 50 };
    const failing = withSuggestedTokens(call, (reservation) => {
      reservation.growTo(110);
      throw new Error("no model");
    });
    await expect(failing).rejects.toThrow("no model");
    const controller = new AbortController();
    const aborted = withSuggestedTokens(call, () => new Promise<never>(() => {}), {
      signal: controller.signal,
    });
    controller.abort(new Error("enough"));
    await expect(aborted).rejects.toThrow("enough");
    expect([budget.available, tail.available, advisor.routes]).toEqual([100, 20, 0]);
  });
});

describe("bad input", () => {
  test.each(BAD_AMOUNTS)("%s is no amount, and nothing changes", (value, errorClass) => {
    const { budget, both } = elastic();
    const bad = value as number;
    const call = admitted(both, 10);
    expect(() => both.tryReserve(bad)).toThrow(errorClass);
    expect(() => both.explainDenial(bad)).toThrow(errorClass);
    expect(() => call.growTo(bad)).toThrow(errorClass);
    expect(() => call.settle(bad, 0)).toThrow(errorClass);
    expect(() => call.settle(0, bad)).toThrow(errorClass);
    expect([budget.available, budget.held]).toEqual([90, 10]);
    call.settle(1, 1);
  });

  test("what is no budget that answers at once is refused", () => {
    const { budget, tail } = elastic();
    expect(() => new ElasticBudget({ budget: {} as never, tail })).toThrow("budget must be a token budget");
    expect(() => new ElasticBudget({ budget, tail: null as never })).toThrow("tail must be a token budget");
    expect(() => new ElasticBudget({ budget, tail, stepTokens: 0 })).toThrow(
      "stepTokens must be an integer from 1",
    );
  });
});
