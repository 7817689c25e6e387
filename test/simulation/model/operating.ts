// What the model foretells for operators: making and funding budgets, and reading all balances. Who may call: the model.

import type { BalancesQuery, BudgetInput, FundInput } from "purser/ledger";
import type { AnyReply } from "../calls.ts";
import { findReplay, KEPT_DAYS, keepAnswer } from "./answers.ts";
import { applyFunding } from "./money.ts";
import {
  budgetKey,
  type Expected,
  granted,
  heldOn,
  isOverLimit,
  type ModelBudget,
  type ModelState,
  refused,
  remainingOf,
} from "./state.ts";
import { amountOf, balanceOf, canonical, exact, isoTime, type Members, scopesOf } from "./wire.ts";

export function foretellCreateBudget(state: ModelState, body: BudgetInput, nowMs: number): Expected {
  const { tenant } = state;
  if (tenant.status === "CLOSED") return refused("409 TENANT_CLOSED");
  if (tenant.status !== "ACTIVE") return refused("400 INVALID_REQUEST");
  const key = budgetKey(body.scope, body.unit);
  if (state.budgets.has(key)) return refused("409 DUPLICATE_RESOURCE");
  const budget: ModelBudget = {
    scope: body.scope,
    unit: body.unit,
    allocated: exact(body.allocated.amount),
    spent: 0n,
    debt: 0n,
    limit: exact(body.overdraft_limit?.amount ?? 0n),
    mark: false,
    status: "ACTIVE",
    policy: body.commit_overage_policy,
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
  };
  state.budgets.set(key, budget);
  state.audited += 1;
  return granted(budgetBody(state, budget, nowMs), 201);
}

export function foretellFund(
  state: ModelState,
  { scope, unit }: { scope: string; unit: string },
  body: FundInput,
  nowMs: number,
  reply: AnyReply,
): Expected {
  const request = {
    namespace: `fund ${scope} ${unit}`,
    keptDays: KEPT_DAYS.fund,
    key: body.idempotency_key,
    print: canonical(body),
  };
  const replay = findReplay(state, request, nowMs, reply);
  if (replay !== undefined) return replay;
  if (state.tenant.status === "CLOSED") return refused("409 TENANT_CLOSED");
  const budget = state.budgets.get(budgetKey(scope, unit));
  if (budget === undefined) return refused("404 BUDGET_NOT_FOUND");
  if (budget.status === "FROZEN") return refused("409 BUDGET_FROZEN", scope);
  if (budget.status === "CLOSED") return refused("409 BUDGET_CLOSED", scope);
  const before = { ...figures(state, budget, nowMs) };
  const refusal = applyFunding(
    state,
    budget,
    { operation: body.operation, amount: exact(body.amount.amount), spent: exact(body.spent?.amount ?? 0n) },
    nowMs,
  );
  if (refusal !== undefined) return refusal;
  const after = figures(state, budget, nowMs);
  const answer: Record<string, unknown> = { operation: body.operation, timestamp: isoTime(nowMs) };
  for (const name of ["allocated", "remaining", "debt", "spent"] as const) {
    answer[`previous_${name}`] = amountOf(unit, before[name]);
    answer[`new_${name}`] = amountOf(unit, after[name]);
  }
  state.audited += 1;
  keepAnswer(state, request, answer, nowMs);
  return granted(answer);
}

/** Every budget whose path has all the segments that the query gives; none of the simulation's reads needs two pages. */
export function foretellBalances(state: ModelState, query: BalancesQuery, nowMs: number): Expected {
  if (query.tenant !== undefined && query.tenant !== state.tenant.tenantId) return refused("403 FORBIDDEN");
  const segments =
    scopesOf({ ...query })
      .at(-1)
      ?.split("/") ?? [];
  const rows = [...state.budgets.values()]
    .filter(({ scope }) => segments.every((segment) => scope.split("/").includes(segment)))
    .sort((a, b) => (`${a.scope}\n${a.unit}` < `${b.scope}\n${b.unit}` ? -1 : 1));
  return granted({ balances: rows.map((row) => balanceOf(state, row, nowMs)), has_more: false });
}

function figures(state: ModelState, budget: ModelBudget, nowMs: number) {
  const { allocated, debt, spent } = budget;
  return { allocated, debt, spent, remaining: remainingOf(state, budget, nowMs) };
}

/** Without `ledger_id`, which is opaque and of no consequence to money. */
export function budgetBody(state: ModelState, budget: ModelBudget, nowMs: number): Members {
  const amount = (value: bigint): Members => amountOf(budget.unit, value);
  return {
    tenant_id: state.tenant.tenantId,
    scope: budget.scope,
    scope_path: budget.scope,
    unit: budget.unit,
    allocated: amount(budget.allocated),
    remaining: amount(remainingOf(state, budget, nowMs)),
    reserved: amount(heldOn(state, budget, nowMs)),
    spent: amount(budget.spent),
    debt: amount(budget.debt),
    overdraft_limit: amount(budget.limit),
    is_over_limit: isOverLimit(budget),
    commit_overage_policy: budget.policy,
    status: budget.status,
    created_at: isoTime(budget.createdAtMs),
    updated_at: isoTime(budget.updatedAtMs),
  };
}
