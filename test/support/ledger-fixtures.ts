// Small builders for ledger tests: requests that differ from a plain one in what a test is about.
// Nothing here decides anything; every value a test relies on stands in the test.

import type { AmountInput, BudgetInput, ReserveInput, Unit } from "purser/ledger";

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
