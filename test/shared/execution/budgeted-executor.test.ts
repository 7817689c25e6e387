// BudgetedExecutor: what is charged, refused, given back and shared.

import fc from "fast-check";
import { AtomicBudget, attachKernel, createKernel } from "purser";
import { describe, expect, test } from "vitest";
import {
  BudgetedExecutor,
  COST_DENIED,
  type CostMap,
  type StageExecutor,
} from "../../../src/execution/index.ts";
import { BAD_AMOUNTS, edgeAmount } from "../../support/arbitraries.ts";
import { stages } from "../../support/compositions.ts";

const failing = () => {
  throw new Error("stage failed");
};

describe("charging", () => {
  test("happens before the stage runs, and the stage sees its input and context", async () => {
    const seen: unknown[] = [];
    const inner: StageExecutor = {
      execute: (...call) => {
        seen.push(...call, executor.spentCents);
        return "done";
      },
    };
    const executor = new BudgetedExecutor(inner, new Map([["a", 7]]), 10);
    const signal = new AbortController().signal;
    const input = { x: 1 };
    expect(await executor.execute("a", input, { signal, pinning: "both" })).toBe("done");
    expect(seen).toEqual(["a", input, { signal, pinning: "both" }, 7]);
    expect(seen[1]).toBe(input);
  });

  test("a budget is spent to the last cent and no further", async () => {
    const inner = stages({ a: 1 });
    const executor = new BudgetedExecutor(inner, new Map([["a", 4]]), 10);
    await executor.execute("a", null);
    await executor.execute("a", null);
    await expect(executor.execute("a", null)).rejects.toMatchObject({
      message: 'stage "a" costs 4 cents, and 8 of 10 are spent',
    });
    expect(executor.spentCents).toBe(8);
    expect(executor.budgetCents).toBe(10);
    expect(executor.budget.denied).toBe(1);
    expect(inner.calls.length).toBe(2);
  });

  test("at 2^53−1 nothing wraps around", async () => {
    const max = Number.MAX_SAFE_INTEGER;
    const costs = new Map([
      ["most", max],
      ["one", 1],
    ]);
    const executor = new BudgetedExecutor(stages({}), costs, max);
    await executor.execute("most", null);
    expect(executor.spentCents).toBe(max);
    for (const [stageId, costCents] of costs) {
      await expect(executor.execute(stageId, null)).rejects.toMatchObject({ spentCents: max, costCents });
    }
    expect(executor.spentCents).toBe(max);
  });

  test("a large stage that is refused takes nothing that a small one needs", async () => {
    await fc.assert(
      fc.asyncProperty(edgeAmount, fc.array(edgeAmount, { maxLength: 20 }), async (budget, costs) => {
        const map = new Map(costs.map((cents, index) => [`${index}`, cents]));
        using executor = new BudgetedExecutor(stages({}), map, budget);
        let spent = 0;
        const calls = costs.map((cents, index) => ({ cents, done: executor.execute(`${index}`, null) }));
        for (const { cents, done } of calls) {
          const fits = cents <= budget - spent;
          if (fits) spent += cents;
          expect(
            await done.then(
              () => true,
              () => false,
            ),
          ).toBe(fits);
        }
        expect(executor.spentCents).toBe(spent);
      }),
    );
  });

  test("a failed stage stays paid, and its error is handed on as it is", async () => {
    const reason = { code: "MINE" };
    const inner = stages({ a: () => Promise.reject(reason), b: failing });
    const executor = new BudgetedExecutor(
      inner,
      new Map([
        ["a", 3],
        ["b", 4],
      ]),
      10,
    );
    await expect(executor.execute("a", null)).rejects.toBe(reason);
    await expect(executor.execute("b", null)).rejects.toThrow("stage failed");
    expect(executor.spentCents).toBe(7);
  });

  test("or is given back", async () => {
    const inner = stages({ a: failing, b: () => Promise.reject(undefined), ok: 1 });
    const costs = new Map([
      ["a", 3],
      ["b", 4],
      ["ok", 5],
    ]);
    const executor = new BudgetedExecutor(inner, costs, 10, { refundOnFailure: true });
    await expect(executor.execute("a", null)).rejects.toThrow("stage failed");
    await expect(executor.execute("b", null)).rejects.toBeUndefined();
    await executor.execute("ok", null);
    expect(executor.spentCents).toBe(5);
    expect(executor.budget.overReleased).toBe(0);
  });

  test("a refund to a purse that is gone does not hide why the stage failed", async () => {
    const executor = new BudgetedExecutor(
      stages({
        a: () => {
          executor[Symbol.dispose]();
          failing();
        },
      }),
      new Map([["a", 3]]),
      10,
      { refundOnFailure: true },
    );
    await expect(executor.execute("a", null)).rejects.toThrow("stage failed");
  });
});

describe("unknown costs", () => {
  test("are free unless the executor is told otherwise", async () => {
    const inner = stages({ known: 1, zero: 2, missing: 3 });
    const costs = new Map([
      ["known", 5],
      ["zero", 0],
    ]);
    const free = new BudgetedExecutor(inner, costs, 5);
    expect([free.costOf("known"), free.costOf("zero"), free.costOf("missing")]).toEqual([5, 0, 0]);
    expect(await free.execute("missing", null)).toBe(3);

    const priced = new BudgetedExecutor(inner, costs, 5, { unknown: 2 });
    expect(await priced.execute("missing", null)).toBe(3);
    expect(await priced.execute("zero", null)).toBe(2);
    expect(priced.spentCents).toBe(2);

    const strict = new BudgetedExecutor(inner, costs, 5, { unknown: "deny" });
    expect(await strict.execute("zero", null)).toBe(2);
    await expect(strict.execute("missing", null)).rejects.toMatchObject({
      code: "BUDGET_EXCEEDED",
      costCents: COST_DENIED,
      message: 'stage "missing" has no known cost, and unknown costs are denied',
    });
    expect(strict.spentCents).toBe(0);
  });

  test("that the cost map denies are refused, whatever the budget", async () => {
    const inner = stages({ a: 1 });
    const executor = new BudgetedExecutor(inner, new Map([["a", COST_DENIED]]), Number.MAX_SAFE_INTEGER);
    await expect(executor.execute("a", null)).rejects.toMatchObject({
      costCents: COST_DENIED,
      spentCents: 0,
    });
    expect(inner.calls).toEqual([]);
  });

  test("the map is copied: a later change of it changes no price", () => {
    const costs = new Map([["a", 5]]);
    const executor = new BudgetedExecutor(stages({}), costs, 5);
    costs.set("a", 0).set("b", 1);
    expect([executor.costOf("a"), executor.costOf("b")]).toEqual([5, 0]);
  });
});

describe("one purse", () => {
  test("two threads, played by two attachments, never overspend it together", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.integer({ min: 0, max: 60 }),
        fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 25 }), fc.boolean()), { maxLength: 12 }),
        async (scheduler, budgetCents, calls) => {
          const kernel = createKernel({ budgets: 1, holds: 1 });
          const options = { name: "purse", refundOnFailure: true };
          let running = 0;
          let kept = 0;
          let most = 0;
          const inner: StageExecutor = {
            async execute(stageId, fails) {
              const cents = Number(stageId);
              running += cents;
              most = Math.max(most, running + kept);
              await scheduler.schedule(Promise.resolve());
              running -= cents;
              if (fails === true) throw new Error("stage failed");
              kept += cents;
            },
          };
          const costs = new Map(Array.from({ length: 26 }, (_, cents) => [`${cents}`, cents]));
          const mine = new BudgetedExecutor(inner, costs, budgetCents, { ...options, kernel });
          const attached = attachKernel(kernel.memory);
          const theirs = new BudgetedExecutor(inner, costs, budgetCents, { ...options, kernel: attached });
          const done = calls.map(([first, cents, fails]) =>
            (first ? mine : theirs).execute(`${cents}`, fails).catch((error: Error) => error),
          );
          await scheduler.waitFor(Promise.all(done));
          expect(most).toBeLessThanOrEqual(budgetCents);
          expect(mine.spentCents).toBe(kept);
          expect(theirs.spentCents).toBe(kept);
          expect(mine.budget.overReleased).toBe(0);
        },
      ),
      { numRuns: 200 },
    );
  });

  test("what another budget of the name takes is spent here too", async () => {
    const kernel = createKernel();
    const executor = new BudgetedExecutor(stages({}), new Map([["a", 6]]), 10, { kernel, name: "purse" });
    expect(new AtomicBudget(10, { kernel, name: "purse" }).tryReserve(5)).toBe(true);
    await expect(executor.execute("a", null)).rejects.toMatchObject({ spentCents: 5, budgetCents: 10 });
  });

  test("disposing frees the slot of a private purse, once, and leaves a shared one", () => {
    const kernel = createKernel({ budgets: 2, holds: 1 });
    const shared = new BudgetedExecutor(stages({}), new Map(), 10, { kernel, name: "purse" });
    for (let round = 0; round < 5; round++) {
      using own = new BudgetedExecutor(stages({}), new Map(), 10, { kernel });
      own[Symbol.dispose]();
      expect(() => own.spentCents).toThrow(expect.objectContaining({ code: "BUDGET_REMOVED" }));
    }
    shared[Symbol.dispose]();
    expect(shared.spentCents).toBe(0);
    shared.budget.remove();
  });
});

describe("bad input", () => {
  const inner = stages({});

  test.each(BAD_AMOUNTS)("%s is neither a budget nor a cost", (value, errorClass) => {
    const bad = value as number;
    const kernel = createKernel({ budgets: 1, holds: 1 });
    const make = (cents: number, costs: CostMap, options: object = {}) =>
      new BudgetedExecutor(inner, costs, cents, { kernel, name: "purse", ...options });
    expect(() => make(bad, new Map())).toThrow(errorClass);
    expect(() => make(bad, new Map())).toThrow(/budgetCents must be/);
    if (value !== COST_DENIED) expect(() => make(1, new Map([["a", bad]]))).toThrow(errorClass);
    if (value !== undefined) expect(() => make(1, new Map(), { unknown: bad })).toThrow(errorClass);
    // Nothing was opened: the name is still free for another capacity.
    expect(new AtomicBudget(77, { kernel, name: "purse" }).capacity).toBe(77);
  });

  test.each([[null], [undefined], [{}], [7], [{ execute: 1 }]])("%j is no executor", (value) => {
    expect(() => new BudgetedExecutor(value as unknown as StageExecutor, new Map(), 1)).toThrow(
      /inner must be a StageExecutor/,
    );
  });

  test.each([[null], [undefined], [{}], [[]], [new Map([[{}, 1]])]])("%j is no cost map", (value) => {
    expect(() => new BudgetedExecutor(inner, value as unknown as CostMap, 1)).toThrow(TypeError);
  });

  test.each<[string, unknown, RegExp | string]>([
    ["null", null, /context must be an object/],
    ["a number", 5, /context must be an object/],
    ["a signal that is none", { signal: 5 }, /signal must be an AbortSignal/],
    [
      "a pinning that is none",
      { pinning: "nope" },
      /pinning must be "signature" or "both", got string "nope"/,
    ],
    ["an aborted signal", { signal: AbortSignal.abort(new Error("too late")) }, "too late"],
  ])("%s as a call's context: nothing is paid, and the stage is not called", async (_, context, message) => {
    const called = stages({ a: 1 });
    const executor = new BudgetedExecutor(called, new Map([["a", 3]]), 10);
    await expect(executor.execute("a", 1, context as object)).rejects.toThrow(message);
    expect([executor.spentCents, called.calls.length]).toEqual([0, 0]);
  });

  test("options that are none", () => {
    const make = (options: object) => new BudgetedExecutor(inner, new Map(), 1, options);
    expect(() => make({ refundOnFailure: "yes" })).toThrow(/refundOnFailure must be a boolean/);
    expect(() => make({ unknown: "free" })).toThrow(/unknown must be "deny" or a number of cents/);
    expect(() => make({ name: "" })).toThrow(RangeError);
    expect(() => make({ kernel: {} })).toThrow(/kernel must be a Kernel/);
  });

  test.each([[7], [null], [undefined], [{}]])("%j is no stage id", async (value) => {
    const executor = new BudgetedExecutor(inner, new Map(), 1, { unknown: 1 });
    await expect(executor.execute(value as unknown as string, null)).rejects.toThrow(
      /stageId must be a string/,
    );
    expect(executor.spentCents).toBe(0);
  });
});
