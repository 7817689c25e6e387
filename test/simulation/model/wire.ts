// The model's own idea of the wire: scopes of a subject, one canonical text per request, the bodies of replies.
// Invariant: nothing here comes from the ledger's code. Who may call: the model.

import { heldOn, INT64_MAX, isOverLimit, type ModelBudget, type ModelState, remainingOf } from "./state.ts";

const LEVELS = ["tenant", "workspace", "app", "workflow", "agent", "toolset"];
const SAFE_MAX = 2n ** 53n - 1n;

export type Members = Readonly<Record<string, unknown>>;

/** Every scope that a subject is accounted to: growing prefixes of what it names, in lower case. */
export function scopesOf(subject: Members): string[] {
  const scopes: string[] = [];
  for (const level of LEVELS) {
    const value = subject[level];
    if (typeof value !== "string" || value.trim() === "") continue;
    const above = scopes.at(-1);
    const segment = `${level}:${value.toLowerCase()}`;
    scopes.push(above === undefined ? segment : `${above}/${segment}`);
  }
  return scopes;
}

/** Equal for requests that mean the same: members in one order, numbers as digits, what is absent left out. */
export function canonical(value: unknown): string {
  if (typeof value === "bigint" || typeof value === "number") return String(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "undefined";
  const members = Object.entries(value).filter(([, item]) => item !== undefined);
  const texts = members.map(([name, item]) => `${JSON.stringify(name)}:${canonical(item)}`);
  return `{${texts.sort().join()}}`;
}

/** A subject without its blank levels. */
export function subjectOf(subject: Members): Members {
  const given = Object.entries(subject).filter(
    ([level, value]) => !LEVELS.includes(level) || (typeof value === "string" && value.trim() !== ""),
  );
  return Object.fromEntries(given);
}

export function amountOf(unit: string, amount: bigint): Members {
  return { unit, amount };
}

export function exact(amount: bigint | number): bigint {
  return BigInt(amount);
}

export function balanceOf(state: ModelState, budget: ModelBudget, nowMs: number): Members {
  const amount = (value: bigint): Members => amountOf(budget.unit, value);
  return {
    scope: budget.scope.split("/").at(-1),
    scope_path: budget.scope,
    remaining: amount(remainingOf(state, budget, nowMs)),
    reserved: amount(heldOn(state, budget, nowMs)),
    spent: amount(budget.spent),
    allocated: amount(budget.allocated),
    debt: budget.debt > 0n ? amount(budget.debt) : undefined,
    overdraft_limit: budget.limit > 0n ? amount(budget.limit) : undefined,
    is_over_limit: isOverLimit(budget) ? true : undefined,
  };
}

/** The member of a decision's reply; absent as a whole where one figure is beyond what a double holds. */
export function balancesMember(
  state: ModelState,
  budgets: readonly ModelBudget[],
  nowMs: number,
): { balances?: Members[] } {
  const isSafe = budgets.every((budget) => {
    const { allocated, spent, debt, limit } = budget;
    const figures = [
      allocated,
      spent,
      debt,
      limit,
      heldOn(state, budget, nowMs),
      remainingOf(state, budget, nowMs),
    ];
    return figures.every((figure) => figure <= SAFE_MAX && figure >= -SAFE_MAX);
  });
  return isSafe ? { balances: budgets.map((budget) => balanceOf(state, budget, nowMs)) } : {};
}

/** Whether figures can stand in an int64 ledger: each from 0 to the maximum, remaining no lower than its negative. */
export function fits(figures: Pick<ModelBudget, "allocated" | "spent" | "debt">, held: bigint): boolean {
  const { allocated, spent, debt } = figures;
  const all = [allocated, spent, debt, held].every((figure) => figure >= 0n && figure <= INT64_MAX);
  return all && allocated - spent - debt - held >= -INT64_MAX;
}

export function isoTime(timeMs: number): string {
  return new Date(timeMs).toISOString();
}
