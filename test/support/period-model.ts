// A reference model of budgets with periods: far simpler than the ledger, and eager where that is lazy. It walks time
// window by window and hands debt on at every boundary; what is held is always the sum over the active reservations.
// Invariant: it shares no code with what it judges.

import type { Policy } from "./ledger-model.ts";

export interface ModelWindow {
  allocated: bigint;
  spent: bigint;
  carried: bigint;
}

export interface ModelBudget {
  /** Absent: one window for ever. */
  readonly periodMs?: number;
  readonly base: bigint;
  readonly limit: bigint;
  /** By number: the whole periods before it. */
  readonly windows: Map<number, ModelWindow>;
  current: number;
  /** Of the current window; passed ones owe nothing. */
  debt: bigint;
  mark: boolean;
  charged: bigint;
}

export interface ModelHold {
  id: string;
  /** The budgeted scopes, and the number of the window that each was in. */
  readonly scopes: readonly string[];
  readonly numbers: readonly number[];
  readonly amount: bigint;
  readonly policy: Policy;
  readonly expiresAtMs: number;
  state: "ACTIVE" | "COMMITTED" | "RELEASED" | "EXPIRED";
}

const min = (a: bigint, b: bigint) => (a < b ? a : b);
const atLeastZero = (a: bigint) => (a > 0n ? a : 0n);

export class PeriodModel {
  readonly budgets = new Map<string, ModelBudget>();
  readonly holds: ModelHold[] = [];
  nowMs: number;

  constructor(nowMs: number) {
    this.nowMs = nowMs;
  }

  add(scope: string, base: bigint, limit: bigint, periodMs?: number): void {
    const current = periodMs === undefined ? 0 : Math.floor(this.nowMs / periodMs);
    const windows = new Map([[current, { allocated: base, spent: 0n, carried: 0n }]]);
    const budget = { base, limit, windows, current, debt: 0n, mark: false, charged: 0n };
    this.budgets.set(scope, periodMs === undefined ? budget : { ...budget, periodMs });
  }

  budget(scope: string): ModelBudget {
    const budget = this.budgets.get(scope);
    if (budget === undefined) throw new Error(`model: no budget ${scope}`);
    return budget;
  }

  reserved(scope: string, number: number): bigint {
    return this.holds
      .filter(({ state }) => state === "ACTIVE")
      .filter(({ scopes, numbers }) => numbers[scopes.indexOf(scope)] === number)
      .reduce((sum, { amount }) => sum + amount, 0n);
  }

  remaining(scope: string, number: number): bigint {
    const budget = this.budget(scope);
    const { allocated, spent } = windowOf(budget, number);
    const debt = number === budget.current ? budget.debt : 0n;
    return allocated - spent - debt - this.reserved(scope, number);
  }

  advance(ms: number): void {
    this.nowMs += ms;
    for (const hold of this.holds) {
      if (hold.state === "ACTIVE" && this.nowMs > hold.expiresAtMs) hold.state = "EXPIRED";
    }
    for (const budget of this.budgets.values()) {
      while (budget.periodMs !== undefined && (budget.current + 1) * budget.periodMs <= this.nowMs)
        turn(budget);
    }
  }

  /** The expected answer; on `200` the hold stands, and the caller gives it the id it got. */
  reserve(scopes: readonly string[], amount: bigint, policy: Policy, ttlMs: number): string {
    const budgeted = scopes.filter((scope) => this.budgets.has(scope));
    const all = budgeted.map((scope) => ({ scope, ...this.budget(scope) }));
    if (all.some(({ mark, limit, debt }) => mark || (limit > 0n && debt > limit))) {
      return "409 OVERDRAFT_LIMIT_EXCEEDED";
    }
    if (all.some(({ debt, limit }) => debt > 0n && limit === 0n)) return "409 DEBT_OUTSTANDING";
    if (all.some(({ scope, current }) => this.remaining(scope, current) < amount))
      return "409 BUDGET_EXCEEDED";
    this.holds.push({
      id: "",
      scopes: budgeted,
      numbers: all.map(({ current }) => current),
      amount,
      policy,
      expiresAtMs: this.nowMs + ttlMs,
      state: "ACTIVE",
    });
    return "200";
  }

  release(hold: ModelHold): string {
    const refused = settled(hold);
    if (refused === undefined) hold.state = "RELEASED";
    return refused ?? "200";
  }

  commit(hold: ModelHold, actual: bigint): string {
    const refused = settled(hold);
    if (refused !== undefined) return refused;
    const over = atLeastZero(actual - hold.amount);
    const places = hold.scopes.map((scope, index) => {
      const number = hold.numbers[index] ?? 0;
      const budget = this.budget(scope);
      const isCurrent = number === budget.current;
      const available = atLeastZero(this.remaining(scope, number));
      const free = atLeastZero(this.remaining(scope, budget.current));
      return { budget, isCurrent, window: windowOf(budget, number), available, free };
    });
    const owes = (budget: ModelBudget) => hold.policy === "ALLOW_WITH_OVERDRAFT" && budget.limit > 0n;
    if (over > 0n && hold.policy === "REJECT") return "409 BUDGET_EXCEEDED";
    const charge = places.reduce(
      (most, { budget, available }) => (owes(budget) ? most : min(most, available)),
      over,
    );
    for (const { budget, isCurrent, available, free } of places) {
      const deficit = atLeastZero(charge - available);
      if (deficit === 0n) continue;
      // Of a passed window's deficit, the window that stands pays what it can; the rest is owed.
      const owed = isCurrent ? deficit : atLeastZero(deficit - free);
      if (deficit > budget.limit || (owed > 0n && budget.debt + owed > budget.limit)) {
        return "409 OVERDRAFT_LIMIT_EXCEEDED";
      }
    }
    hold.state = "COMMITTED";
    for (const { budget, isCurrent, window, available, free } of places) {
      const deficit = atLeastZero(charge - available);
      window.spent += min(actual, hold.amount) + charge;
      budget.charged += min(actual, hold.amount) + charge;
      if (isCurrent) {
        window.spent -= deficit;
        budget.debt += deficit;
        if (charge < over && available < over && !owes(budget)) budget.mark = true;
      } else if (deficit > 0n) {
        const current = windowOf(budget, budget.current);
        current.carried += deficit;
        current.spent += min(deficit, free);
        budget.debt += deficit - min(deficit, free);
      }
    }
    return "200";
  }

  credit(scope: string, amount: bigint): void {
    const budget = this.budget(scope);
    windowOf(budget, budget.current).allocated += amount;
    budget.mark = false;
  }
}

/** From one window to the very next. */
function turn(budget: ModelBudget): void {
  const owed = budget.debt;
  windowOf(budget, budget.current).spent += owed;
  const paid = min(owed, budget.base);
  budget.current += 1;
  budget.debt = owed - paid;
  budget.mark = false;
  budget.windows.set(budget.current, { allocated: budget.base, spent: paid, carried: owed });
}

function windowOf(budget: ModelBudget, number: number): ModelWindow {
  const window = budget.windows.get(number);
  if (window === undefined) throw new Error(`model: no window ${number}`);
  return window;
}

function settled({ state }: ModelHold): string | undefined {
  if (state === "EXPIRED") return "410 RESERVATION_EXPIRED";
  return state === "ACTIVE" ? undefined : "409 RESERVATION_FINALIZED";
}
