// What is made with options or limits, given something that is no object, or no clock: an error that names the argument,
// before anything was made.

import {
  AtomicBudget,
  AtomicTokenBudget,
  allOf,
  BudgetedExecutor,
  buildCostMap,
  type CompositionNode,
  ConcurrencyGovernor,
  costBounds,
  createKernel,
  MemoryStageStore,
  RateBudget,
  runComposition,
  TenantTokenTracker,
} from "purser";
import { describe, expect, test } from "vitest";

const stages = { execute: async () => null };
const graph: CompositionNode = { op: "Const", value: 1 };
const store = new MemoryStageStore([]);
const row = new AtomicBudget(1, { kernel: createKernel({ budgets: 1, holds: 1 }) });
const MAKERS: readonly (readonly [string, (given: never) => unknown])[] = [
  ["options of AtomicBudget", (given) => new AtomicBudget(1, given)],
  ["options of AtomicTokenBudget", (given) => new AtomicTokenBudget(1, given)],
  ["options of TenantTokenTracker", (given) => new TenantTokenTracker(1, given)],
  ["options of BudgetedExecutor", (given) => new BudgetedExecutor(stages, new Map(), 1, given)],
  ["limits of ConcurrencyGovernor", (given) => new ConcurrencyGovernor(given)],
  ["options of ConcurrencyGovernor", (given) => new ConcurrencyGovernor({ total: 1, tools: 1 }, given)],
  ["limits of RateBudget", (given) => new RateBudget(given, { now: () => 0 })],
  ["options of RateBudget", (given) => new RateBudget({ limit: 1, windowMs: 1 }, given)],
  ["options of createKernel", (given) => createKernel(given)],
  ["options of buildCostMap", (given) => buildCostMap(graph, store, given)],
  ["options of costBounds", (given) => costBounds(graph, store, given)],
  ["options of allOf(…).tryReserve", (given) => allOf(row).tryReserve([1], given)],
];
const NO_OBJECTS: readonly (readonly [string, unknown])[] = [
  ["null", null],
  ["a number", 5],
  ["a text", "x"],
  ["true", true],
];

describe.each(MAKERS)("%s", (what, make) => {
  const [argument = ""] = what.split(" ");

  test.each(NO_OBJECTS)("%s", (_, given) => {
    const expected = expect.objectContaining({ code: "ARGUMENT_INVALID", name: "TypeError" });
    expect(() => make(given as never)).toThrow(expected);
    expect(() => make(given as never)).toThrow(`${argument} must be an object, got `);
  });
});

test.each(NO_OBJECTS)("options of runComposition: %s", async (_, given) => {
  const run = runComposition(graph, null, new BudgetedExecutor(stages, new Map(), 1), given as never);
  await expect(run).rejects.toMatchObject({
    code: "ARGUMENT_INVALID",
    message: expect.stringContaining("options must be an object, got "),
  });
});

test("a rate without a clock", () => {
  const make = (options: unknown) => () => new RateBudget({ limit: 1, windowMs: 1 }, options as never);
  expect(make({})).toThrow("now must be a function that returns milliseconds, got undefined");
  expect(make({ now: 5 })).toThrow("now must be a function that returns milliseconds, got number");
});
