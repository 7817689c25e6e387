// A backlog of expired holds costs a decision only what that decision needs, and a fixed share of the rest. Work is
// counted, not timed: the heap's changes, the store's calls.

import { Ledger, MemoryStore } from "purser/ledger";
import { afterEach, expect, test, vi } from "vitest";
import { Deadlines } from "../../../src/ledger/deadlines.ts";
import { LIMITS } from "../../../src/ledger/limits.ts";
import {
  bodyOf,
  budget,
  reserveRequest,
  TENANT,
  testClock,
  tokens,
  verdictOf,
} from "../../support/ledger-fixtures.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

/** A ledger with budgets of two agents and `backlog` holds of agent a that have expired. */
function ledgerWithBacklog(backlog: number) {
  const clock = testClock();
  const store = new MemoryStore();
  const ledger = new Ledger({ tenant: TENANT, store, secrets: ["s"] });
  const turn = () => ({ nowMs: clock.now() });
  bodyOf(ledger.createTenant({ tenant_id: TENANT, name: TENANT }, turn()));
  for (const agent of ["a", "b"])
    bodyOf(ledger.createBudget(budget(`tenant:acme/agent:${agent}`, 1_000_000), turn()));
  const reserve = (key: string, agent: string) =>
    ledger.reserve(
      reserveRequest(key, 1, { subject: { tenant: TENANT, agent }, ttl_ms: 1000, grace_period_ms: 0 }),
      turn(),
    );
  for (let index = 0; index < backlog; index += 1) bodyOf(reserve(`a${index}`, "a"));
  clock.advance(1001);
  const held = () => [...store.scanDeadlines()].length;
  return { ledger, clock, store, turn, reserve, held };
}

test("a decision that needs none of it settles its share and looks at no more", () => {
  const backlog = 5000;
  const { ledger, reserve, held, turn } = ledgerWithBacklog(backlog);
  const added = vi.spyOn(Deadlines.prototype, "set");
  const deleted = vi.spyOn(Deadlines.prototype, "delete");
  bodyOf(reserve("b0", "b"));
  // The share, and the reservation itself.
  expect(held()).toBe(backlog - LIMITS.sweepHoldsPerTurn + 1);
  expect(added.mock.calls.length).toBe(1);
  expect(deleted.mock.calls.length).toBeLessThanOrEqual(LIMITS.sweepHoldsPerTurn + 1);

  // A sweep has a share of its own.
  expect(ledger.sweep(turn())).toBe(LIMITS.sweepHoldsPerAlarm);
  expect(held()).toBe(backlog - LIMITS.sweepHoldsPerTurn - LIMITS.sweepHoldsPerAlarm + 1);
  expect(added.mock.calls.length).toBe(1);
});

test("the same work whatever the backlog", () => {
  const workOf = (backlog: number) => {
    const { reserve, store } = ledgerWithBacklog(backlog);
    const calls = (["readReservation", "readAccounts", "updateAccount", "finishReservation"] as const).map(
      (name) => vi.spyOn(store, name),
    );
    bodyOf(reserve("b0", "b"));
    return calls.map((call) => call.mock.calls.length);
  };
  expect(workOf(4000)).toEqual(workOf(400));
});

test("balances settle what is due on the accounts they show, children and other units included", () => {
  const { ledger, reserve, clock, turn, held } = ledgerWithBacklog(3 * LIMITS.sweepHoldsPerTurn);
  for (let index = 0; index < 2 * LIMITS.sweepHoldsPerTurn; index += 1) bodyOf(reserve(`b${index}`, "b"));
  // Agent a's backlog has shrunk by a share per reserve; all of b is due now, behind nothing.
  clock.advance(1001);
  const shown = bodyOf(ledger.balances({ agent: "b" }, turn())).balances;
  expect(shown.map((row) => [row.scope_path, row.reserved])).toEqual([["tenant:acme/agent:b", tokens(0n)]]);
  expect(
    bodyOf(ledger.balances({ tenant: "acme" }, turn())).balances.map((row) => row.reserved.amount),
  ).toEqual([0n, 0n]);
  expect(held()).toBe(0);
});

test("a backlog on the decision's own account never refuses it", () => {
  const { ledger, reserve, turn } = ledgerWithBacklog(3 * LIMITS.sweepHoldsPerTurn);
  const whole = reserveRequest("whole", 1_000_000, { subject: { tenant: TENANT, agent: "a" } });
  expect(verdictOf(ledger.reserve(whole, turn()))).toBe("200");
  expect(verdictOf(reserve("one more", "a"))).toBe("409 BUDGET_EXCEEDED");
});
