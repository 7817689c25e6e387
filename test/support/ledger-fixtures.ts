// Small builders for ledger tests: requests that differ from a plain one in what a test is about.
// Nothing here decides anything; every value a test relies on stands in the test.

import {
  type AmountInput,
  type BudgetInput,
  type EventInput,
  Ledger,
  type LedgerOptions,
  LocalLedger,
  MemoryStore,
  type ReserveInput,
  type Unit,
} from "purser/ledger";

export const TENANT = "acme";

export function tokens(amount: bigint | number): AmountInput & { unit: "TOKENS" } {
  return { unit: "TOKENS", amount };
}

export function budget(
  scope: string,
  allocated: bigint | number,
  rest: Partial<BudgetInput> = {},
): BudgetInput {
  const unit: Unit = rest.unit ?? "TOKENS";
  return { scope, unit, allocated: { unit, amount: allocated }, ...rest };
}

export function reserveRequest(
  key: string,
  estimate: bigint | number,
  rest: Partial<ReserveInput> = {},
): ReserveInput {
  return {
    idempotency_key: key,
    subject: { tenant: TENANT },
    action: { kind: "llm.completion", name: "test-model" },
    estimate: tokens(estimate),
    ...rest,
  };
}

export function eventRequest(
  key: string,
  actual: bigint | number,
  rest: Partial<EventInput> = {},
): EventInput {
  return {
    idempotency_key: key,
    subject: { tenant: TENANT },
    action: { kind: "llm.completion", name: "test-model" },
    actual: tokens(actual),
    ...rest,
  };
}

/** A clock that only moves when told to. */
export function testClock(startMs = 1_800_000_000_000) {
  let timeMs = startMs;
  return {
    now: () => timeMs,
    advance(ms: number) {
      timeMs += ms;
    },
    set(ms: number) {
      timeMs = ms;
    },
  };
}

/** A ledger over a store in memory, with its tenant and, where given, a budget of so many tokens on the tenant's scope. */
export function openLedger(allocated?: number, options: Partial<LedgerOptions> = {}) {
  const clock = testClock();
  const store = new MemoryStore();
  const ledger = new Ledger({ tenant: TENANT, store, secrets: ["s"], ...options });
  const turn = () => ({ nowMs: clock.now() });
  bodyOf(ledger.createTenant({ tenant_id: TENANT, name: TENANT }, turn()));
  if (allocated !== undefined) bodyOf(ledger.createBudget(budget(`tenant:${TENANT}`, allocated), turn()));
  return { clock, store, ledger, turn };
}

/** The body of a reply that must be a success. */
export function bodyOf<Body>(
  reply: { ok: true; body: Body } | { ok: false; error: string; message: string },
): Body {
  if (!reply.ok) throw new Error(`expected a success, got ${reply.error}: ${reply.message}`);
  return reply.body;
}

/** `200`, or `409 BUDGET_EXCEEDED`: what a table of answers compares. */
export function verdictOf(
  reply: { ok: true; status: number } | { ok: false; status: number; error: string },
): string {
  return reply.ok ? String(reply.status) : `${reply.status} ${reply.error}`;
}

/** An authority over a memory store with these budgets, its clock, and what a test asks of it again and again. */
export function authorityWith(...budgets: BudgetInput[]) {
  const clock = testClock();
  const authority = new LocalLedger({ tenant: TENANT, now: clock.now });
  for (const each of budgets) bodyOf(authority.createBudget(each));
  /** allocated/spent/reserved/debt→remaining of one scope. */
  const figures = (scope = `tenant:${TENANT}`) => {
    const rows = bodyOf(authority.balances()).balances;
    const row = rows.find(({ scope_path }) => scope_path === scope);
    if (row === undefined) throw new Error(`no balance for ${scope}`);
    const { allocated, spent, reserved, debt, remaining, is_over_limit } = row;
    const mark = is_over_limit === true ? "!" : "";
    return `${allocated.amount}/${spent.amount}/${reserved.amount}/${debt?.amount ?? 0}→${remaining.amount}${mark}`;
  };
  const reserve = (key: string, estimate: bigint | number, rest: Partial<ReserveInput> = {}) =>
    authority.reserve(reserveRequest(key, estimate, rest));
  const reserveId = (key: string, estimate: bigint | number, rest: Partial<ReserveInput> = {}) =>
    bodyOf(reserve(key, estimate, rest)).reservation_id ?? "";
  return { authority, clock, figures, reserve, reserveId };
}
