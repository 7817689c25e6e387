// A backlog of expired holds costs a decision only what that decision needs, and a fixed share of the rest. Work is
// counted, not timed: the heap's changes, the store's calls.

import type { Ledger, TenantLimits, Turn } from "purser/ledger";
import { afterEach, describe, expect, test, vi } from "vitest";
import { Deadlines } from "../../../src/ledger/deadlines.ts";
import { LIMITS } from "../../../src/ledger/limits.ts";
import {
  bodyOf,
  budget,
  openLedger,
  reserveRequest,
  TENANT,
  tokens,
  verdictOf,
} from "../../support/ledger-fixtures.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

/** A ledger with budgets of two agents and `backlog` holds of agent a that have expired. */
function ledgerWithBacklog(backlog: number, limits: Partial<TenantLimits> = {}) {
  const { clock, store, ledger, turn } = openLedger(undefined, { limits });
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
  expect(held()).toBe(backlog - LIMITS.otherHoldsPerMoment + 1);
  expect(added.mock.calls.length).toBe(1);
  expect(deleted.mock.calls.length).toBeLessThanOrEqual(LIMITS.otherHoldsPerMoment + 1);

  // A sweep has a share of its own.
  expect(ledger.sweep(turn())).toBe(LIMITS.sweepHoldsPerAlarm);
  expect(held()).toBe(backlog - LIMITS.otherHoldsPerMoment - LIMITS.sweepHoldsPerAlarm + 1);
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

test("calls at one moment share one allowance of what they don't need", () => {
  const backlog = 3 * LIMITS.otherHoldsPerMoment;
  const { reserve, held, clock } = ledgerWithBacklog(backlog);
  for (const key of ["b0", "b1", "b2"]) bodyOf(reserve(key, "b"));
  expect(held()).toBe(backlog - LIMITS.otherHoldsPerMoment + 3);
  clock.advance(1);
  bodyOf(reserve("b3", "b"));
  expect(held()).toBe(backlog - 2 * LIMITS.otherHoldsPerMoment + 4);
});

test("balances settle what is due on the accounts they show, children and other units included", () => {
  const { ledger, reserve, clock, turn, held } = ledgerWithBacklog(3 * LIMITS.otherHoldsPerMoment);
  for (let index = 0; index < 2 * LIMITS.otherHoldsPerMoment; index += 1) bodyOf(reserve(`b${index}`, "b"));
  // All of b is due now, behind what is left of agent a's.
  clock.advance(1001);
  const shown = bodyOf(ledger.balances({ agent: "b" }, turn())).balances;
  expect(shown.map((row) => [row.scope_path, row.reserved])).toEqual([["tenant:acme/agent:b", tokens(0n)]]);
  expect(
    bodyOf(ledger.balances({ tenant: "acme" }, turn())).balances.map((row) => row.reserved.amount),
  ).toEqual([0n, 0n]);
  expect(held()).toBe(0);
});

test("a backlog on the decision's own account never refuses it", () => {
  const { ledger, reserve, turn } = ledgerWithBacklog(3 * LIMITS.otherHoldsPerMoment);
  const whole = reserveRequest("whole", 1_000_000, { subject: { tenant: TENANT, agent: "a" } });
  expect(verdictOf(ledger.reserve(whole, turn()))).toBe("200");
  expect(verdictOf(reserve("one more", "a"))).toBe("409 BUDGET_EXCEEDED");
});

describe("a backlog on the decision's own account that is too long for one moment", () => {
  const BACKLOG = 3_000;
  const PER_MOMENT = LIMITS.neededHoldsPerMoment;
  const scope = "tenant:acme/agent:a";
  const name = { scope, unit: "TOKENS" };
  const ask = (key: string, amount = 1) => ({
    ...reserveRequest(key, amount, { subject: { tenant: TENANT, agent: "a" } }),
  });
  const { estimate: actual, ttl_ms: _ttl, ...event } = { ttl_ms: 0, ...ask("event") };
  const settling = {
    ok: false,
    status: 503,
    error: "INTERNAL_ERROR",
    message: "Expired reservations of these budgets are still being settled, retry later",
    retryAfterMs: 1000,
  };

  const NEEDS_FIGURES: [string, (ledger: Ledger, turn: Turn) => unknown][] = [
    ["reserve", (ledger, turn) => ledger.reserve(ask("k"), turn)],
    ["dry run", (ledger, turn) => ledger.reserve({ ...ask("k"), dry_run: true }, turn)],
    ["decide", (ledger, turn) => ledger.decide(ask("k"), turn)],
    ["event", (ledger, turn) => ledger.event({ ...event, actual }, turn)],
    ["balances", (ledger, turn) => ledger.balances({ tenant: TENANT }, turn)],
    ["list of budgets", (ledger, turn) => ledger.listBudgets({}, turn)],
    ["lookup", (ledger, turn) => ledger.lookupBudget(name, turn)],
    ["freeze", (ledger, turn) => ledger.freezeBudget(name, {}, turn)],
    [
      "fund",
      (ledger, turn) =>
        ledger.fund(name, { operation: "DEBIT", amount: tokens(1), idempotency_key: "f" }, turn),
    ],
  ];
  /** Calls, three at each moment, until all is settled. Nothing may be decided before, and no moment takes more than its share. */
  function callUntilSettled(
    { ledger, turn, held, clock, store }: ReturnType<typeof ledgerWithBacklog>,
    call: (ledger: Ledger, turn: Turn) => unknown,
    perMoment: number,
  ): unknown {
    const settled = vi.spyOn(store, "finishReservation");
    for (let left = held(); left > perMoment; ) {
      const before = settled.mock.calls.length;
      for (let n = 0; n < 3; n += 1) expect(call(ledger, turn())).toEqual(settling);
      const count = settled.mock.calls.length - before;
      expect(count).toBe(perMoment + LIMITS.otherHoldsPerMoment);
      left -= count;
      expect(held()).toBe(left);
      clock.advance(1);
    }
    return call(ledger, turn());
  }

  test.each(NEEDS_FIGURES)("%s: 503 until all is settled, then decided on exact figures", (_, call) => {
    const perMoment = 100;
    const setUp = ledgerWithBacklog(1_000, { neededHoldsPerMoment: perMoment });
    expect(callUntilSettled(setUp, call, perMoment)).toMatchObject({ ok: true });
    const [shown] = bodyOf(setUp.ledger.balances({ agent: "a" }, setUp.turn())).balances;
    expect(shown?.reserved.amount).toBe(BigInt(setUp.held()));
    expect(setUp.held()).toBeLessThanOrEqual(1);
  });

  test("three thousand of them: a thousand a moment, and then the whole budget is there", () => {
    const setUp = ledgerWithBacklog(BACKLOG);
    const reserveAll = (ledger: Ledger, turn: Turn) => ledger.reserve(ask("whole", 1_000_000), turn);
    expect(callUntilSettled(setUp, reserveAll, PER_MOMENT)).toMatchObject({ ok: true });
    expect(setUp.held()).toBe(1);
  });

  test("sweeps settle a thousand each, and then all figures are exact", () => {
    const { ledger, turn, held, clock } = ledgerWithBacklog(BACKLOG);
    for (let left = BACKLOG; left > 0; left -= LIMITS.sweepHoldsPerAlarm) {
      expect(ledger.nextDeadlineMs).toBeLessThan(turn().nowMs);
      expect(ledger.sweep(turn())).toBe(LIMITS.sweepHoldsPerAlarm);
      clock.advance(1);
    }
    expect([held(), ledger.nextDeadlineMs]).toEqual([0, undefined]);
    expect(verdictOf(ledger.reserve(ask("whole", 1_000_000), turn()))).toBe("200");
  });

  test("what needs no other's figures goes on, and shows none", () => {
    const { ledger, turn, clock } = ledgerWithBacklog(0);
    const live = ["commit", "more", "release", "extend"].map(
      (key) => bodyOf(ledger.reserve({ ...ask(key, 10), ttl_ms: 60_000 }, turn())).reservation_id ?? "",
    );
    const due = Array.from(
      { length: 3 * PER_MOMENT },
      (_, n) =>
        bodyOf(ledger.reserve({ ...ask(`due${n}`), ttl_ms: 1000, grace_period_ms: 0 }, turn()))
          .reservation_id ?? "",
    );
    clock.advance(1001);
    const [toCommit = "", toExceed = "", toRelease = "", toExtend = ""] = live;
    const commit = (id: string, amount: number) =>
      ledger.commit(id, { idempotency_key: "c", actual: tokens(amount) }, turn());
    expect(commit(toExceed, 11)).toEqual(settling);
    expect(bodyOf(commit(toCommit, 10))).toEqual({ status: "COMMITTED", charged: tokens(10n) });
    expect(bodyOf(ledger.release(toRelease, { idempotency_key: "r" }, turn()))).toEqual({
      status: "RELEASED",
      released: tokens(10n),
    });
    const extended = bodyOf(ledger.extend(toExtend, { idempotency_key: "e", extend_by_ms: 1000 }, turn()));
    expect(extended).not.toHaveProperty("balances");
    // The last of the backlog, unsettled still: its time is over all the same.
    expect(verdictOf(commit(due.at(-1) ?? "", 1))).toBe("410 RESERVATION_EXPIRED");
    while (ledger.sweep(turn()) > 0) clock.advance(1);
    expect(bodyOf(commit(toExceed, 11)).charged).toEqual(tokens(11n));
    const [shown] = bodyOf(ledger.balances({ agent: "a" }, turn())).balances;
    expect([shown?.reserved, shown?.spent]).toEqual([tokens(10n), tokens(21n)]);
  });

  test("a clock that stands still behind the ledger's time holds nobody up", () => {
    const { ledger, turn, reserve, clock } = ledgerWithBacklog(2 * PER_MOMENT);
    expect(reserve("k", "a")).toEqual(settling);
    // The host's clock went back, so the ledger's time stands; each reading of it is a moment all the same.
    clock.advance(-60_000);
    bodyOf(reserve("k", "a"));
    expect(turn().nowMs).toBeLessThan(ledger.nextDeadlineMs ?? 0);
  });
});
