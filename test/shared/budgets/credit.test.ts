// Thread credit, several threads' worth of it in one thread: every kernel that is attached to a memory is a thread of its
// own to it. Sequential calls must be answered as if there were no credit at all.

import fc from "fast-check";
import {
  AtomicBudget,
  AtomicTokenBudget,
  allOf,
  attachKernel,
  createKernel,
  type Kernel,
  TakenCost,
} from "purser";
import { describe, expect, test } from "vitest";

const THREADS = 3;
const NAME = "lent";
const CREDIT_MAX = 4_194_303;

function threads(capacity: number, credit: number, { shared }: { shared?: boolean } = {}) {
  const first = createKernel({ budgets: 2, holds: 8, ...(shared === undefined ? {} : { shared }) });
  const kernels = [first, ...Array.from({ length: THREADS - 1 }, () => attachKernel(first.memory))];
  const budgets = kernels.map((kernel) => new AtomicBudget(capacity, { kernel, name: NAME, credit }));
  return { kernels, budgets, budget: pick(budgets, 0), other: pick(budgets, 1) };
}

function pick<T>(from: readonly T[], index: number): T {
  const found = from[index % from.length];
  if (found === undefined) throw new Error("nothing to pick from");
  return found;
}

/** As many reservations as the kernel has free holds. */
function freeHolds(kernel: Kernel): number {
  const tokens = new AtomicTokenBudget(1_000, { kernel, name: "counts free holds" });
  for (let free = 0; ; free++) {
    try {
      tokens.tryReserveTokens(1);
    } catch (error) {
      expect(error).toMatchObject({ code: "KERNEL_FULL" });
      tokens.remove();
      return free;
    }
  }
}

const amount = fc.oneof(fc.nat({ max: 12 }), fc.nat({ max: 120 }), fc.constant(1));
const step = fc.record({
  op: fc.constantFrom("take", "take", "take", "fit", "give", "give", "grant", "refill", "close"),
  thread: fc.nat({ max: THREADS - 1 }),
  amount,
});

test.each([{ shared: true }, { shared: false }])(
  "every history of three threads is answered as if there were no credit (shared where possible: $shared)",
  ({ shared }) => {
    fc.assert(
      fc.property(
        fc.nat({ max: 150 }),
        fc.integer({ min: 1, max: 40 }),
        fc.array(step, { maxLength: 60 }),
        (opening, credit, steps) => {
          const { kernels, budgets, budget } = threads(opening, credit, shared ? {} : { shared: false });
          let capacity = opening;
          let out = 0;
          let outMost = 0;
          let denied = 0;
          let overReleased = 0;
          for (const { op, thread, amount } of steps) {
            const mine = pick(budgets, thread);
            if (op === "take") {
              const fits = out + amount <= capacity;
              expect(mine.tryReserve(amount)).toBe(fits);
              if (fits) out += amount;
              else denied++;
              outMost = Math.max(outMost, out);
            } else if (op === "fit") {
              const least = amount >> 1;
              const granted = out + least > capacity ? null : Math.min(amount, capacity - out);
              expect(mine.tryReserve({ want: amount, min: least })).toBe(granted);
              if (granted === null) denied++;
              else out += granted;
              outMost = Math.max(outMost, out);
            } else if (op === "give") {
              mine.release(amount);
              const given = Math.min(amount, out);
              out -= given;
              overReleased += amount - given;
            } else if (op === "grant") {
              mine.grant(amount);
              capacity += amount;
            } else if (op === "refill") {
              mine.refill();
              out = 0;
            } else {
              pick(kernels, thread).close();
            }
            for (const seen of budgets) expect(seen.available).toBe(capacity - out);
            expect(budget.capacity).toBe(capacity);
            expect(budget.denied).toBe(denied);
            expect(budget.overReleased).toBe(overReleased);
            expect(budget.highWater).toBeGreaterThanOrEqual(outMost);
            expect(budget.highWater).toBeLessThanOrEqual(capacity);
          }
          // What the figures say is to be had, by any thread, and not one unit more.
          const last = pick(budgets, steps.length);
          expect(last.tryReserve(capacity - out)).toBe(true);
          for (const seen of budgets) expect(seen.tryReserve(1)).toBe(false);
        },
      ),
      { numRuns: 300 },
    );
  },
);

describe("a budget with credit", () => {
  test("takes back what another thread holds idle before it says no", () => {
    const { budget, other } = threads(100, 20);
    expect(budget.tryReserve(1)).toBe(true); // lends this thread a slice
    expect(other.tryReserve(99)).toBe(true);
    expect(budget.tryReserve(1)).toBe(false);
    expect(budget.denied).toBe(1);
  });

  test("lends ever less as less is left: half of that at most, shared by all who have a cell", () => {
    const { budgets, budget } = threads(100, 50);
    const lent = budgets.map((one) => {
      expect(one.tryReserve(1)).toBe(true);
      return budget.highWater; // what is out, the slices included
    });
    // 1 and half of 99; 1 and a quarter of 49; 1 and a sixth of 36.
    expect(lent).toEqual([50, 63, 70]);
    expect(budget.available).toBe(97);
  });

  test("what one thread took another one may give back, and no more than that", () => {
    const { budget, other } = threads(100, 20);
    for (let taken = 0; taken < 30; taken++) budget.tryReserve(1);
    other.release(30);
    expect(budget.available).toBe(100);
    other.release(5);
    expect(budget.overReleased).toBe(5);
    expect(other.tryReserve(100)).toBe(true);
  });

  test("a cell that slept through every tag of a refill has nothing to give", () => {
    const { budget, other } = threads(100, 20);
    expect(budget.tryReserve(1)).toBe(true);
    for (let refill = 0; refill < 512; refill++) other.refill();
    expect(other.tryReserve(100)).toBe(true);
    expect(budget.tryReserve(1)).toBe(false);
    budget.release(1);
    expect(other.available).toBe(1);
  });

  test("the name is another budget without credit, or with another one", () => {
    const { kernels } = threads(100, 20);
    const kernel = pick(kernels, 0);
    for (const options of [{}, { credit: 21 }]) {
      expect(() => new AtomicBudget(100, { kernel, name: NAME, ...options })).toThrow(
        expect.objectContaining({ code: "BUDGET_MISMATCH" }),
      );
    }
    expect(new AtomicBudget(100, { kernel, name: NAME, credit: 20 }).available).toBe(100);
  });

  test("each thread that spends takes one hold, which the next one gets when it is gone", () => {
    const { kernels, budgets } = threads(100, 5);
    const kernel = pick(kernels, 0);
    expect(freeHolds(kernel)).toBe(8);
    for (const budget of budgets) {
      expect(budget.tryReserve(1)).toBe(true);
      expect(
        new AtomicBudget(100, { kernel: budget.kernel as Kernel, name: NAME, credit: 5 }).tryReserve(1),
      ).toBe(true);
    }
    expect(freeHolds(kernel)).toBe(5);
    expect(kernel.reclaim(pick(kernels, 1).owner)).toBe(0);
    expect(kernel.reclaim(pick(kernels, 2).owner)).toBe(0);
    const late = attachKernel(kernel.memory);
    expect(new AtomicBudget(100, { kernel: late, name: NAME, credit: 5 }).tryReserve(94)).toBe(true);
    expect(freeHolds(kernel)).toBe(5);
    pick(budgets, 0).remove();
    expect(freeHolds(kernel)).toBe(8);
  });

  test("spends and gives back as exactly while every hold is taken, and has a cell once one is free", () => {
    const kernel = createKernel({ budgets: 2, holds: 1 });
    const tokens = new AtomicTokenBudget(10, { kernel, name: "tokens" });
    const budget = new AtomicBudget(10, { kernel, name: NAME, credit: 2 });
    const reservation = tokens.tryReserveTokens(1);
    expect(budget.tryReserve(8)).toBe(true);
    expect(budget.tryReserve(3)).toBe(false);
    budget.release(9);
    expect([budget.available, budget.overReleased, budget.denied]).toEqual([10, 1, 1]);
    reservation?.cancel();
    expect(budget.tryReserve(9)).toBe(true);
    expect(() => tokens.tryReserveTokens(1)).toThrow("holds"); // the cell has the only one
    expect(budget.tryReserve(2)).toBe(false);
  });

  test("a thread that never spent gives back what another took, with every hold taken", () => {
    const kernel = createKernel({ budgets: 2, holds: 2 });
    const [budget, other] = [kernel, attachKernel(kernel.memory)].map(
      (one) => new AtomicBudget(10, { kernel: one, name: NAME, credit: 2 }),
    );
    const tokens = new AtomicTokenBudget(10, { kernel, name: "tokens" });
    expect(budget?.tryReserve(4)).toBe(true);
    using _last = tokens.tryReserveTokens(1);
    other?.release(4);
    expect([budget?.available, budget?.overReleased]).toEqual([10, 0]);
    expect(other?.tryReserve(10)).toBe(true); // with what the first has idle
  });

  test("what allOf took comes back though every hold is taken meanwhile", () => {
    const kernel = createKernel({ budgets: 2, holds: 2 });
    const budget = new AtomicBudget(100, { kernel, name: NAME, credit: 5 });
    const tokens = new AtomicTokenBudget(10, { kernel, name: "tokens" });
    const taken = allOf(budget).tryReserve([40]);
    using _first = tokens.tryReserveTokens(1);
    using _second = tokens.tryReserveTokens(1);
    taken?.release();
    taken?.release();
    expect([budget.available, budget.overReleased]).toEqual([100, 0]);
  });

  test("is refused for tokens", () => {
    const options = { name: "tokens with credit", credit: 5 } as object;
    expect(() => new AtomicTokenBudget(10, options)).toThrow("credit must be left out");
  });

  test("what could not be given back can be given back later, once", () => {
    let fails = true;
    let given = 0;
    const cost = new TakenCost(40, (amount) => {
      if (fails) throw new Error("not now");
      given += amount;
    });
    expect(() => cost.release()).toThrow("not now");
    fails = false;
    cost.release();
    cost.release();
    expect(given).toBe(40);
  });

  test("is gone for every thread once it is removed", () => {
    const { kernels, budget, other } = threads(100, 20);
    budget.tryReserve(1);
    other.remove();
    const gone = expect.objectContaining({ code: "BUDGET_REMOVED" });
    expect(() => budget.tryReserve(1)).toThrow(gone);
    expect(() => budget.release(1)).toThrow(gone);
    expect(() => budget.available).toThrow(gone);
    const successor = new AtomicBudget(7, { kernel: pick(kernels, 2), name: NAME, credit: 3 });
    expect(successor.tryReserve(7)).toBe(true);
    expect(successor.tryReserve(1)).toBe(false);
  });

  test("takes part in allOf, with what other threads hold idle", () => {
    const { budget, other, kernels } = threads(100, 20);
    const kernel = pick(kernels, 0);
    const tokens = new AtomicTokenBudget(10, { kernel, name: "tokens" });
    const both = allOf(tokens, budget);
    expect(other.tryReserve(1)).toBe(true); // 20 are idle there
    expect(both.tryReserve([5, 100])).toBeNull();
    expect(tokens.available).toBe(10);
    const taken = both.tryReserve([5, 99]);
    expect(taken).not.toBeNull();
    expect(other.tryReserve(1)).toBe(false);
    taken?.release();
    expect([tokens.available, budget.available, budget.denied]).toEqual([10, 99, 2]);
    expect(budget.overReleased).toBe(0);
  });

  test("explains a denial by what is out, not by what is lent", () => {
    const { budget, other } = threads(100, 20);
    budget.tryReserve(10);
    other.tryReserve(1);
    expect(other.explainDenial(95)).toMatchObject({ code: "HELD_BY_INFLIGHT", available: 89, held: 11 });
  });

  test.each([0, -1, 0.5, Number.NaN, CREDIT_MAX + 1, "7", null])("refuses a credit of %s", (credit) => {
    const kernel = createKernel({ budgets: 1, holds: 1 });
    const open = () => new AtomicBudget(10, { kernel, name: NAME, credit: credit as number });
    expect(open).toThrow(expect.objectContaining({ code: "ARGUMENT_INVALID" }));
    expect(open).toThrow(/^credit must be/);
    expect(new AtomicBudget(10, { kernel, name: NAME, credit: CREDIT_MAX }).tryReserve(10)).toBe(true);
  });

  test("figures stay exact at the largest capacity and the largest slice", () => {
    const kernel = createKernel({ budgets: 1, holds: 2 });
    const most = Number.MAX_SAFE_INTEGER;
    const budget = new AtomicBudget(most, { kernel, name: NAME, credit: CREDIT_MAX });
    const other = new AtomicBudget(most, {
      kernel: attachKernel(kernel.memory),
      name: NAME,
      credit: CREDIT_MAX,
    });
    expect(budget.tryReserve(CREDIT_MAX)).toBe(true);
    expect(budget.tryReserve(CREDIT_MAX)).toBe(true);
    budget.release(CREDIT_MAX);
    budget.release(CREDIT_MAX);
    expect(other.tryReserve(most)).toBe(true);
    expect(budget.tryReserve(1)).toBe(false);
    other.release(most);
    expect(budget.available).toBe(most);
    expect(budget.overReleased).toBe(0);
  });
});
