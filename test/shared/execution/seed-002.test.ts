// The tests of the third seed (noether-engine, executor/budget.rs, `mod tests`), under their own names, in their order.

import "purser";
import { expect, test } from "vitest";
import { BudgetedExecutor, buildCostMap, MemoryStageStore } from "../../../src/execution/index.ts";
import { sequential, stage, stageRecord, stages } from "../../support/compositions.ts";

test("no_cost_stages_pass_through", async () => {
  const budgeted = new BudgetedExecutor(stages({ a: 1 }), new Map(), 0);
  expect(await budgeted.execute("a", null)).toBe(1);
  expect(budgeted.spentCents).toBe(0);
});

test("within_budget_executes_and_tracks_cost", async () => {
  const budgeted = new BudgetedExecutor(stages({ llm: "ok" }), new Map([["llm", 10]]), 100);
  expect(await budgeted.execute("llm", null)).toBe("ok");
  expect(budgeted.spentCents).toBe(10);
});

test("over_budget_returns_error_and_rolls_back", async () => {
  const inner = stages({ expensive: "ok" });
  const budgeted = new BudgetedExecutor(inner, new Map([["expensive", 50]]), 49);
  await expect(budgeted.execute("expensive", null)).rejects.toMatchObject({
    name: "BudgetExceededError",
    code: "BUDGET_EXCEEDED",
    spentCents: 0,
    budgetCents: 49,
    stageId: "expensive",
    costCents: 50,
  });
  expect(budgeted.spentCents).toBe(0);
  expect(inner.calls).toEqual([]);
});

test("second_stage_pushes_over_budget", async () => {
  const costs = new Map([
    ["a", 60],
    ["b", 50],
  ]);
  const budgeted = new BudgetedExecutor(stages({ a: 1, b: 2 }), costs, 100);
  expect(await budgeted.execute("a", null)).toBe(1);
  expect(budgeted.spentCents).toBe(60);
  await expect(budgeted.execute("b", null)).rejects.toMatchObject({ spentCents: 60, budgetCents: 100 });
  expect(budgeted.spentCents).toBe(60);
});

test("build_cost_map_extracts_costs_from_store", () => {
  const store = new MemoryStageStore();
  store.put(stageRecord("s1", 25));
  store.put(stageRecord("s2", 75));
  const node = sequential(stage("s1", { pinning: "signature" }), stage("s2", { pinning: "signature" }));
  const map = buildCostMap(node, store);
  expect(map.get("s1")).toBe(25);
  expect(map.get("s2")).toBe(75);
});

test("build_cost_map_ignores_free_stages", () => {
  const store = new MemoryStageStore();
  store.put(stageRecord("free"));
  expect(buildCostMap(stage("free", { pinning: "signature" }), store)).toEqual(new Map());
});
