// AtomicBudget against a model of two integers, after each step.

import fc from "fast-check";
import { AtomicBudget, type BudgetOptions, createKernel } from "purser";
import { expect, test } from "vitest";
import { edgeAmount } from "../../support/arbitraries.ts";

type Step = { op: "take" | "give" | "grant"; amount: number } | { op: "refill" };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ op: fc.constant("take" as const), amount: edgeAmount }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant("give" as const), amount: edgeAmount }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("grant" as const), amount: edgeAmount }) },
  { weight: 1, arbitrary: fc.constant({ op: "refill" as const }) },
);

const kernel = createKernel({ budgets: 1, holds: 1 });

test.each<[string, BudgetOptions]>([
  ["private", {}],
  ["in a kernel", { kernel, name: "modelled" }],
])("%s: every history of takes, gives, grants and refills leaves it as the model says", (_, options) => {
  fc.assert(
    fc.property(edgeAmount, fc.array(step, { maxLength: 80 }), (opening, steps) => {
      const budget = new AtomicBudget(opening, options);
      let capacity = opening;
      let available = opening;
      let denied = 0;
      let highWater = 0;
      let overReleased = 0n;
      for (const current of steps) {
        if (current.op === "refill") {
          budget.refill();
          available = capacity;
        } else if (current.op === "take") {
          const fits = current.amount <= available;
          expect(budget.tryReserve(current.amount)).toBe(fits);
          if (fits) available -= current.amount;
          else denied++;
          highWater = Math.max(highWater, fits ? capacity - available : 0);
        } else if (current.op === "give") {
          budget.release(current.amount);
          const given = Math.min(current.amount, capacity - available);
          available += given;
          overReleased += BigInt(current.amount - given);
        } else if (capacity + current.amount <= Number.MAX_SAFE_INTEGER) {
          budget.grant(current.amount);
          capacity += current.amount;
          available += current.amount;
        }
        expect(budget.available).toBe(available);
        expect(budget.capacity).toBe(capacity);
        expect(budget.utilization).toBe(capacity === 0 ? 0 : (capacity - available) / capacity);
        expect(budget.denied).toBe(denied);
        expect(budget.highWater).toBe(highWater);
        const tallied = overReleased < 2n ** 53n ? Number(overReleased) : Number.MAX_SAFE_INTEGER;
        expect(budget.overReleased).toBe(tallied);
      }
      budget.remove();
    }),
    { numRuns: 200 },
  );
});
