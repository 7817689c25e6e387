// The model's money: what admits a reservation, what a settlement charges, what funding does. From the protocol's
// tables (reserve: order of refusals; overage policies; funding operations). Invariant: decides over all budgets first
// and writes only if all agree. Who may call: the model.

import {
  type Expected,
  heldOn,
  isOverLimit,
  type ModelBudget,
  type ModelState,
  type Policy,
  refused,
  remainingOf,
} from "./state.ts";
import { fits } from "./wire.ts";

const OVERFLOW = "400 INVALID_REQUEST";

/** Why no reservation of `amount` can be made here; one reason is looked for on every budget before the next. */
export function refuseToReserve(
  state: ModelState,
  budgets: readonly ModelBudget[],
  amount: bigint,
  nowMs: number,
): (Expected & { ok: false }) | undefined {
  const reasons: [string, (budget: ModelBudget) => boolean][] = [
    ["409 OVERDRAFT_LIMIT_EXCEEDED", isOverLimit],
    ["409 BUDGET_FROZEN", ({ status }) => status === "FROZEN"],
    ["409 BUDGET_CLOSED", ({ status }) => status === "CLOSED"],
    ["409 DEBT_OUTSTANDING", ({ debt, limit }) => debt > 0n && limit === 0n],
    ["409 BUDGET_EXCEEDED", (budget) => remainingOf(state, budget, nowMs) < amount],
  ];
  for (const [verdict, holds] of reasons) {
    const first = budgets.find(holds);
    if (first !== undefined) return refused(verdict, first.scope);
  }
  return undefined;
}

export interface Usage {
  /** What was reserved for it and is given back as it is charged. */
  readonly estimate: bigint;
  readonly actual: bigint;
  readonly policy: Policy;
}

export type Charge = { readonly ok: true; readonly charged: bigint } | (Expected & { ok: false });

/** Books what was used on every budget, or refuses and books nothing. */
export function charge(
  state: ModelState,
  budgets: readonly ModelBudget[],
  { estimate, actual, policy }: Usage,
  nowMs: number,
): Charge {
  const within = atMost(actual, estimate);
  const excess = actual - within;
  if (excess > 0n && policy === "REJECT") return refused("409 BUDGET_EXCEEDED", budgets[0]?.scope);
  const available = new Map(
    budgets.map((budget) => [budget, atLeastZero(remainingOf(state, budget, nowMs))]),
  );
  const availableOn = (budget: ModelBudget): bigint => available.get(budget) ?? 0n;
  const mayOwe = ({ limit }: ModelBudget): boolean => policy === "ALLOW_WITH_OVERDRAFT" && limit > 0n;

  const beyond = budgets
    .filter((budget) => !mayOwe(budget))
    .reduce((least, budget) => atMost(availableOn(budget), least), excess);
  const owes = (budget: ModelBudget): bigint => atLeastZero(beyond - availableOn(budget));
  const tooDeep = budgets.find(
    (budget) => mayOwe(budget) && owes(budget) > 0n && budget.debt + owes(budget) > budget.limit,
  );
  if (tooDeep !== undefined) return refused("409 OVERDRAFT_LIMIT_EXCEEDED", tooDeep.scope);

  const booked = budgets.map((budget) => ({
    budget,
    spent: budget.spent + within + beyond - owes(budget),
    debt: budget.debt + owes(budget),
    held: heldOn(state, budget, nowMs) - estimate,
  }));
  const unfit = booked.find(
    ({ budget, spent, debt, held }) => !fits({ allocated: budget.allocated, spent, debt }, held),
  );
  if (unfit !== undefined) return refused(OVERFLOW, unfit.budget.scope);
  for (const { budget, spent, debt } of booked) {
    const isShort = beyond < excess && remainingOf(state, budget, nowMs) < excess && !mayOwe(budget);
    if (isShort) budget.mark = true;
    Object.assign(budget, { spent, debt, updatedAtMs: nowMs });
  }
  return { ok: true, charged: within + beyond };
}

/** Charges what nothing was reserved for. Debt and marks do not stop it, a frozen or closed budget does. */
export function chargeEvent(
  state: ModelState,
  budgets: readonly ModelBudget[],
  { actual, policy }: Omit<Usage, "estimate">,
  nowMs: number,
): Charge {
  const frozen = budgets.find(({ status }) => status === "FROZEN");
  if (frozen !== undefined) return refused("409 BUDGET_FROZEN", frozen.scope);
  const closed = budgets.find(({ status }) => status === "CLOSED");
  if (closed !== undefined) return refused("409 BUDGET_CLOSED", closed.scope);
  if (policy !== "REJECT") return charge(state, budgets, { estimate: 0n, actual, policy }, nowMs);
  const short = budgets.find((budget) => remainingOf(state, budget, nowMs) < actual);
  if (short !== undefined) return refused("409 BUDGET_EXCEEDED", short.scope);
  return charge(state, budgets, { estimate: 0n, actual, policy: "ALLOW_IF_AVAILABLE" }, nowMs);
}

/** One funding operation; lifts the mark of a capped charge. */
export function applyFunding(
  state: ModelState,
  budget: ModelBudget,
  { operation, amount, spent }: { operation: string; amount: bigint; spent: bigint },
  nowMs: number,
): (Expected & { ok: false }) | undefined {
  const next = { allocated: budget.allocated, spent: budget.spent, debt: budget.debt };
  if (operation === "CREDIT") next.allocated += amount;
  if (operation === "DEBIT") {
    if (remainingOf(state, budget, nowMs) < amount) return refused("409 BUDGET_EXCEEDED", budget.scope);
    next.allocated -= amount;
  }
  if (operation === "RESET" || operation === "RESET_SPENT") next.allocated = amount;
  if (operation === "RESET_SPENT") next.spent = spent;
  if (operation === "REPAY_DEBT") {
    const repaid = atMost(amount, budget.debt);
    next.debt -= repaid;
    next.allocated += amount - repaid;
  }
  if (!fits(next, heldOn(state, budget, nowMs))) return refused(OVERFLOW, budget.scope);
  Object.assign(budget, next, { mark: false, updatedAtMs: nowMs });
  return undefined;
}

function atLeastZero(value: bigint): bigint {
  return value > 0n ? value : 0n;
}

function atMost(value: bigint, most: bigint): bigint {
  return value < most ? value : most;
}
