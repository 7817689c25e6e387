// Random graphs whose stages fail at random and end in any order: no run overspends, every run stays within its bounds,
// and the books agree, whatever is refunded.

import "purser";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  BudgetExceededError,
  BudgetedExecutor,
  buildCostMap,
  costBounds,
  MemoryStageStore,
  parseComposition,
  runComposition,
} from "../../../src/execution/index.ts";
import {
  compositions,
  outputOf,
  remoteAnswering,
  STAGE_IDS,
  stageRecord,
} from "../../support/compositions.ts";

const price = fc.oneof(fc.constant(undefined), fc.integer({ min: 0, max: 40 }));
const prices = fc.array(price, { minLength: STAGE_IDS.length, maxLength: STAGE_IDS.length });
const unknown = fc.constantFrom<undefined | "deny" | number>(undefined, "deny", 0, 9);

/** An amount that is often just enough, or just not. */
function budgetNear({ minCents, maxCents }: { minCents: number; maxCents: number }, choice: number): number {
  const around = [minCents - 1, minCents, (minCents + maxCents) >> 1, maxCents - 1, maxCents, maxCents + 1];
  const budget = around[choice % around.length] ?? 0;
  return Number.isSafeInteger(budget) && budget >= 0 ? budget : choice * 10;
}

test("every real run's spentCents lies within costBounds, and no order of events overspends the budget", async () => {
  let completed = 0;
  let refused = 0;
  let failed = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      compositions.map(parseComposition),
      prices,
      fc.record({ unknown, refundOnFailure: fc.boolean(), choice: fc.nat(20) }),
      fc.infiniteStream(fc.integer({ min: 0, max: 9 })),
      fc.constantFrom(0, 0, 1, 3),
      async (scheduler, graph, cents, options, chance, failuresInTen) => {
        const store = new MemoryStageStore(STAGE_IDS.map((id, index) => stageRecord(id, cents[index])));
        const costOptions = options.unknown === undefined ? {} : { unknown: options.unknown };
        const bounds = costBounds(graph, store, costOptions);
        expect(bounds.minCents).toBeLessThanOrEqual(bounds.maxCents);
        const budgetCents = budgetNear(bounds, options.choice);

        // What a call costs, and what comes back if it fails, in a book of its own.
        const costs = buildCostMap(graph, store, costOptions);
        const { refundOnFailure } = options;
        let booked = 0;
        let failures = 0;
        const violations: object[] = [];
        const work = async (id: string, input: unknown) => {
          const cost = costs.get(id) ?? 0;
          booked += cost;
          // Not thrown here: it would pass for a failure of the stage.
          if (executor.spentCents !== booked || booked > budgetCents) violations.push({ id, booked });
          const fails = (chance.next().value ?? 0) < failuresInTen;
          await scheduler.schedule(Promise.resolve(), id);
          if (!fails) return outputOf(id, input);
          failures++;
          if (refundOnFailure) booked -= cost;
          throw new Error(`${id} failed`);
        };
        using executor = new BudgetedExecutor({ execute: work }, costs, budgetCents, { refundOnFailure });
        const run = runComposition(graph, { a: 1, source_0: true }, executor, {
          fetch: remoteAnswering(work),
          delay: () => undefined,
        });
        const ending = await scheduler.waitFor(
          run.then(
            (value) => ({ ok: true as const, ...value }),
            (error: unknown) => ({ ok: false as const, error }),
          ),
        );
        // Calls that were left alone end too.
        await scheduler.waitIdle();
        expect(executor.spentCents).toBe(booked);
        expect(violations).toEqual([]);

        if (ending.ok) {
          completed++;
          expect(ending.spentCents).toBeGreaterThanOrEqual(bounds.minCents);
          expect(ending.spentCents).toBeLessThanOrEqual(bounds.maxCents);
          expect(ending.trace.reduce((sum, { costCents }) => sum + costCents, 0)).toBe(ending.spentCents);
        } else if (ending.error instanceof BudgetExceededError) {
          refused++;
          const { stageId, costCents, budgetCents: limit } = ending.error;
          expect(costCents).toBe(costs.get(stageId));
          expect(limit).toBe(budgetCents);
          expect(budgetCents).toBeLessThan(bounds.maxCents);
        } else {
          failed++;
          expect(failures).toBeGreaterThan(0);
        }
        if (bounds.minCents > budgetCents) expect(ending.ok).toBe(false);
        if (bounds.maxCents <= budgetCents && failures === 0) expect(ending.ok).toBe(true);
        expect(executor.spentCents).toBeLessThanOrEqual(bounds.maxCents);
      },
    ),
    { numRuns: 600 },
  );
  // The property is worth something only if all three endings were seen.
  expect(Math.min(completed, refused, failed)).toBeGreaterThan(10);
});

test("the bounds are reached: some run of a small graph costs the least, and some the most", async () => {
  const store = new MemoryStageStore([stageRecord("yes", 5), stageRecord("text", 3), stageRecord("same", 1)]);
  const graph =
    parseComposition(`{ "op": "Retry", "max_attempts": 2, "stage": { "op": "Sequential", "stages": [
    { "op": "Branch", "predicate": { "op": "Stage", "id": "same" },
      "if_true": { "op": "Stage", "id": "yes" },
      "if_false": { "op": "Retry", "max_attempts": 2, "stage": { "op": "Stage", "id": "text" } } },
    { "op": "Stage", "id": "text" } ] } }`);
  const seen = new Set<number>();
  const succeeded = new Set<number>();
  // Every course of at most 8 calls: does the predicate say yes, and does the call fail?
  for (let course = 0; course < 2 ** 9; course++) {
    let calls = 0;
    const execute = () => {
      if ((course & (2 ** calls++)) !== 0) throw new Error("stage failed");
      return course >= 2 ** 8;
    };
    using executor = new BudgetedExecutor({ execute }, buildCostMap(graph, store), 1_000);
    const ok = await runComposition(graph, null, executor).then(
      () => true,
      () => false,
    );
    seen.add(executor.spentCents);
    if (ok) succeeded.add(executor.spentCents);
  }
  expect(costBounds(graph, store)).toEqual({ minCents: Math.min(...succeeded), maxCents: Math.max(...seen) });
});
