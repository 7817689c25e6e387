import { BudgetedExecutor, costBoundsOf, parseComposition, runComposition, type StageExecutor } from "purser";

const graph = parseComposition(`{ "op": "Sequential", "stages": [
  { "op": "Parallel", "branches": { "a": { "op": "Stage", "id": "search" }, "b": { "op": "Stage", "id": "search" } } },
  { "op": "Retry", "max_attempts": 2, "stage": { "op": "Stage", "id": "summarise" } } ] }`);
const costs = new Map([
  ["search", 2],
  ["summarise", 9],
]); // whole cents; buildCostMap reads them from a stage store

export async function brief(question: string, inner: StageExecutor, budgetCents: number): Promise<string> {
  const { minCents, maxCents } = costBoundsOf(graph, costs); // 13 … 22
  if (minCents > budgetCents) return `needs ${minCents} to ${maxCents} cents`;
  using executor = new BudgetedExecutor(inner, costs, budgetCents);
  const { output } = await runComposition(graph, question, executor);
  return String(output); // each stage was paid for before it ran; BudgetExceededError otherwise
}
