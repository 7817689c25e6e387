// Budgets with a period: each window has its own figures, holds settle into the window they were made in, what is unused
// ends, debt does not, and nothing depends on who looks when.

import { Ledger, LocalLedger, MemoryStore, type PeriodInput } from "purser/ledger";
import { describe, expect, test, vi } from "vitest";
import {
  bodyOf,
  budget,
  reserveRequest,
  testClock,
  tokens,
  verdictOf,
} from "../../support/ledger-fixtures.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const MONDAY = Date.UTC(2027, 0, 4);
const NAME = { scope: "tenant:acme", unit: "TOKENS" } as const;
const DAILY: PeriodInput = { kind: "daily" };

function world(
  period: PeriodInput | undefined = DAILY,
  { allocated = 100, limit = 0, startMs = MONDAY + 12 * HOUR, ttlMs = 24 * HOUR } = {},
) {
  const clock = testClock(startMs);
  const store = new MemoryStore();
  const open = () => new LocalLedger({ tenant: "acme", now: clock.now, store });
  const authority = open();
  // The tenant's own maximum would end every hold within the hour.
  const tenant = store.readTenant();
  if (tenant !== undefined) store.writeTenant({ ...tenant, maxReservationTtlMs: ttlMs });
  bodyOf(authority.createBudget(budget(NAME.scope, allocated, { overdraft_limit: tokens(limit) })));
  if (period !== undefined) bodyOf(authority.setPeriod(NAME, period));
  let calls = 0;
  const reserve = (
    amount: number,
    policy: "REJECT" | "ALLOW_IF_AVAILABLE" | "ALLOW_WITH_OVERDRAFT" = "REJECT",
  ) => {
    calls += 1;
    return authority.reserve(
      reserveRequest(`key ${calls}`, amount, { ttl_ms: ttlMs, grace_period_ms: 0, overage_policy: policy }),
    );
  };
  const hold = (...args: Parameters<typeof reserve>) => bodyOf(reserve(...args)).reservation_id ?? "";
  const commit = (id: string, amount: number) =>
    authority.commit(id, { idempotency_key: `commit ${id}`, actual: tokens(amount) });
  /** allocated, spent, reserved, debt, carried debt: of the window that stands, then of those that passed. */
  const windows = () => {
    const { window, passed_windows: passed } = bodyOf(authority.getPeriod(NAME));
    return [window, ...passed].map((each) => {
      const figures = [each.allocated, each.spent, each.reserved, each.debt].map(({ amount }) =>
        Number(amount),
      );
      const [all = 0, spent = 0, reserved = 0, debt = 0] = figures;
      expect(each.remaining.amount).toBe(BigInt(all - spent - reserved - debt));
      return [...figures, Number(each.carried_debt.amount)].join(" ");
    });
  };
  return { clock, store, open, authority, reserve, hold, commit, windows };
}

describe("a list of budgets filters on the figures that it shows", () => {
  const NAMES = ["full", "over", "owing"] as const;
  /** Three budgets: all spent, marked over its limit, in debt; each with a day as its period. */
  function spentWorld() {
    const clock = testClock(MONDAY + 12 * HOUR);
    const store = new MemoryStore();
    const ledger = new Ledger({ tenant: "acme", store, secrets: ["s"] });
    const turn = () => ({ nowMs: clock.now() });
    bodyOf(ledger.createTenant({ tenant_id: "acme", name: "Acme" }, turn()));
    for (const agent of NAMES) {
      const scope = `tenant:acme/agent:${agent}`;
      const overdraft_limit = tokens(agent === "owing" ? 500 : 0);
      bodyOf(ledger.createBudget(budget(scope, 100, { overdraft_limit }), turn()));
      bodyOf(ledger.setPeriod({ scope, unit: "TOKENS" }, DAILY, turn()));
      const { estimate: _, ...ask } = reserveRequest(agent, 0, { subject: { tenant: "acme", agent } });
      const spent = { full: 100, over: 120, owing: 250 }[agent];
      const policy = agent === "owing" ? "ALLOW_WITH_OVERDRAFT" : "ALLOW_IF_AVAILABLE";
      bodyOf(ledger.event({ ...ask, actual: tokens(spent), overage_policy: policy }, turn()));
    }
    const list = (query: object) =>
      bodyOf(ledger.listBudgets(query, turn())).ledgers.map(({ scope }) => scope.replace(/.*:/, ""));
    return { clock, store, list };
  }

  test.each([
    [{ utilization_min: "1" }, ["full", "over", "owing"], ["owing"]],
    [{ utilization_max: "0" }, [], ["full", "over"]],
    [{ over_limit: "true" }, ["over"], []],
    [{ over_limit: "false" }, ["full", "owing"], ["full", "over", "owing"]],
    [{ has_debt: "true" }, ["owing"], ["owing"]],
    [{ has_debt: "false" }, ["full", "over"], ["full", "over"]],
  ])("%j, before and after a window's end", (query, before, after) => {
    const { clock, list } = spentWorld();
    expect(list(query)).toEqual(before);
    // 150 are owed: the next window repays 100 of it and owes 50, the one after that owes nothing.
    clock.advance(DAY);
    expect(list(query)).toEqual(after);
    expect(list({})).toEqual([...NAMES]);
    expect(list(query)).toEqual(after);
  });

  test("debt that the windows between have repaid is none", () => {
    const { clock, list } = spentWorld();
    clock.advance(2 * DAY);
    expect(list({ has_debt: "true" })).toEqual([]);
    expect(list({ utilization_min: "0.5" })).toEqual(["owing"]);
  });

  test("and turns the windows of those alone", () => {
    const { clock, store, list } = spentWorld();
    clock.advance(DAY);
    const writes = vi.spyOn(store, "updateAccount");
    list({ has_debt: "true" });
    expect(writes.mock.calls.map(([{ scope }]) => scope)).toEqual(["tenant:acme/agent:owing"]);
  });
});

describe("a time zone", () => {
  test("is kept by its own name, however it was spelt", () => {
    const { authority } = world();
    const shown = bodyOf(authority.setPeriod(NAME, { kind: "daily", time_zone: "eUROPE/bERLIN" }));
    expect(shown.period).toMatchObject({ time_zone: "Europe/Berlin" });
  });

  test.each(["+01:00", "-0800", "Mars/Olympus", "x".repeat(65)])(
    "%s is none: 400 that says so",
    (time_zone) => {
      const { authority, windows } = world();
      const before = windows();
      expect(authority.setPeriod(NAME, { kind: "daily", time_zone })).toMatchObject({
        status: 400,
        error: "INVALID_REQUEST",
        message: expect.stringMatching(
          /^time_zone must be the name of an IANA time zone like .*, not an offset, got "/,
        ),
        details: { field: "time_zone" },
      });
      expect(windows()).toEqual(before);
    },
  );
});

describe("a new window", () => {
  test("begins with the allocation at the boundary, to the millisecond, with no job run", () => {
    const { clock, reserve, windows } = world();
    expect(verdictOf(reserve(100))).toBe("200");
    expect(verdictOf(reserve(1))).toBe("409 BUDGET_EXCEEDED");
    clock.set(MONDAY + DAY - 1);
    expect(verdictOf(reserve(1))).toBe("409 BUDGET_EXCEEDED");
    clock.set(MONDAY + DAY);
    expect(verdictOf(reserve(60))).toBe("200");
    expect(windows()).toEqual(["100 0 60 0 0", "100 0 100 0 0"]);
  });

  test("has the period's allocation; funding is for the window that stands", () => {
    const { authority, clock, windows } = world({ ...DAILY, allocated: tokens(70) });
    expect(windows()).toEqual(["100 0 0 0 0"]);
    bodyOf(authority.fund(NAME, { operation: "CREDIT", amount: tokens(5), idempotency_key: "f" }));
    clock.advance(DAY);
    expect(windows()).toEqual(["70 0 0 0 0", "105 0 0 0 0"]);
  });

  test("is shown by balances, whoever asks first", () => {
    const { authority, clock, hold } = world();
    hold(30);
    clock.advance(DAY);
    const [row] = bodyOf(authority.balances()).balances;
    expect(row).toMatchObject({ remaining: tokens(100n), reserved: tokens(0n), spent: tokens(0n) });
  });

  test("leaves no trace of windows in which nothing happened", () => {
    const { clock, reserve, windows } = world();
    for (let day = 0; day < 5; day += 1) {
      clock.advance(DAY);
      expect(windows().length).toBe(1);
    }
    reserve(1);
    clock.advance(30 * DAY);
    expect(windows()).toEqual(["100 0 0 0 0", "100 0 0 0 0"]);
  });
});

describe("holds settle into the window they were made in", () => {
  test("commit, release and expiry, each late", () => {
    const { authority, clock, hold, commit, windows } = world();
    const [committed, released] = [hold(40), hold(30)];
    hold(20);
    clock.set(MONDAY + DAY);
    const today = hold(50);
    expect(windows()).toEqual(["100 0 50 0 0", "100 0 90 0 0"]);
    const settled = bodyOf(commit(committed, 25));
    // The reply shows what stands now; the window of the hold is another one.
    expect(settled).toMatchObject({
      charged: tokens(25n),
      balances: [{ reserved: tokens(50n), spent: tokens(0n) }],
    });
    bodyOf(authority.release(released, { idempotency_key: "r" }));
    expect(windows()).toEqual(["100 0 50 0 0", "100 25 20 0 0"]);
    clock.set(MONDAY + 36 * HOUR + 1);
    expect(windows()).toEqual(["100 0 50 0 0", "100 25 0 0 0"]);
    bodyOf(commit(today, 50));
    expect(windows()).toEqual(["100 50 0 0 0", "100 25 0 0 0"]);
  });

  test("across two and more windows, and after the ledger's memory was lost", () => {
    const { clock, hold, open, reserve, windows } = world({ kind: "every", every_ms: HOUR });
    const first = hold(40);
    clock.advance(HOUR);
    const second = hold(50);
    clock.advance(HOUR);
    reserve(60);
    const other = open();
    const commit = (id: string, amount: number) =>
      bodyOf(other.commit(id, { idempotency_key: `c ${id}`, actual: tokens(amount) }));
    commit(first, 11);
    commit(second, 22);
    expect(windows()).toEqual(["100 0 60 0 0", "100 22 0 0 0", "100 11 0 0 0"]);
  });

  test("each budget of a path in a window of its own", () => {
    const { authority, clock } = world();
    const leaf = { scope: "tenant:acme/agent:a", unit: "TOKENS" } as const;
    bodyOf(authority.createBudget(budget(leaf.scope, 1000)));
    bodyOf(authority.setPeriod(leaf, { kind: "every", every_ms: HOUR }));
    const subject = { tenant: "acme", agent: "a" };
    const { reservation_id: id = "" } = bodyOf(
      authority.reserve(reserveRequest("k", 10, { subject, ttl_ms: 2 * HOUR })),
    );
    clock.advance(HOUR);
    const { balances } = bodyOf(authority.commit(id, { idempotency_key: "c", actual: tokens(10) }));
    expect(balances?.map(({ spent }) => spent.amount)).toEqual([10n, 0n]);
    expect(bodyOf(authority.getPeriod(leaf)).passed_windows[0]?.spent.amount).toBe(10n);
  });

  test("an overage is covered by that window's own budget, or by nothing", () => {
    const { clock, hold, commit, windows } = world();
    const [rejects, capped] = [hold(40, "REJECT"), hold(40, "ALLOW_IF_AVAILABLE")];
    clock.advance(DAY);
    expect(verdictOf(commit(rejects, 41))).toBe("409 BUDGET_EXCEEDED");
    expect(bodyOf(commit(capped, 70)).charged).toEqual(tokens(60n));
    expect(windows()).toEqual(["100 0 0 0 0", "100 60 40 0 0"]);
  });

  test("a hold of nothing too; only after a hundred windows does it fall to the one that stands", () => {
    const { clock, commit, hold, windows } = world({ kind: "every", every_ms: 60_000 });
    const [early, late] = [hold(0, "ALLOW_IF_AVAILABLE"), hold(0, "ALLOW_IF_AVAILABLE")];
    clock.advance(60_000);
    bodyOf(commit(early, 7));
    expect(windows()).toEqual(["100 0 0 0 0", "100 7 0 0 0"]);
    for (let minute = 0; minute < 110; minute += 1) {
      clock.advance(60_000);
      hold(1);
    }
    expect(windows()[0]).toBe("100 0 1 0 0");
    bodyOf(commit(late, 5));
    expect(windows()[0]).toBe("100 5 1 0 0");
  });
});

describe("debt", () => {
  test("passes to the next window, whose allocation repays it first", () => {
    const { clock, commit, hold, reserve, windows } = world(DAILY, { limit: 50 });
    bodyOf(commit(hold(80, "ALLOW_WITH_OVERDRAFT"), 140));
    expect(windows()).toEqual(["100 100 0 40 0"]);
    clock.advance(DAY);
    expect(windows()).toEqual(["100 40 0 0 40", "100 140 0 0 0"]);
    expect([verdictOf(reserve(61)), verdictOf(reserve(60))]).toEqual(["409 BUDGET_EXCEEDED", "200"]);
  });

  test("beyond one allocation is repaid by as many windows as it takes, whoever looks meanwhile", () => {
    for (const looks of [[1, 2, 3], [3], [2, 3]]) {
      const { clock, commit, hold, windows } = world({ ...DAILY, allocated: tokens(30) }, { limit: 80 });
      bodyOf(commit(hold(100, "ALLOW_WITH_OVERDRAFT"), 170));
      for (const day of looks) {
        clock.set(MONDAY + day * DAY);
        windows();
      }
      expect(windows()[0]).toBe("30 10 0 0 10");
    }
  });

  test("of a late commit falls to the window that stands", () => {
    const { clock, commit, hold, windows } = world(DAILY, { limit: 50 });
    const late = hold(90, "ALLOW_WITH_OVERDRAFT");
    clock.advance(DAY);
    hold(95);
    const { balances } = bodyOf(commit(late, 120));
    expect(balances?.[0]).toMatchObject({ spent: tokens(5n), debt: tokens(15n), reserved: tokens(95n) });
    expect(windows()).toEqual(["100 5 95 15 20", "100 120 0 0 0"]);
  });

  test("of a late commit beyond the limit is refused, and nothing changes", () => {
    const { clock, commit, hold, windows } = world(DAILY, { limit: 15 });
    const late = hold(90, "ALLOW_WITH_OVERDRAFT");
    clock.advance(DAY);
    hold(100);
    const before = windows();
    expect(verdictOf(commit(late, 126))).toBe("409 OVERDRAFT_LIMIT_EXCEEDED");
    expect(windows()).toEqual(before);
    expect(verdictOf(commit(late, 115))).toBe("200");
    expect(windows()).toEqual(["100 0 100 15 15", "100 115 0 0 0"]);
  });

  test("of several late commits stays within the limit together", () => {
    const { clock, commit, hold, windows } = world(DAILY, { limit: 15 });
    const [first, second] = [hold(50, "ALLOW_WITH_OVERDRAFT"), hold(50, "ALLOW_WITH_OVERDRAFT")];
    clock.advance(DAY);
    hold(100);
    bodyOf(commit(first, 60));
    const before = windows();
    expect(before).toEqual(["100 0 100 10 10", "100 60 50 0 0"]);
    expect(verdictOf(commit(second, 60))).toBe("409 OVERDRAFT_LIMIT_EXCEEDED");
    expect(windows()).toEqual(before);
    bodyOf(commit(second, 55));
    expect(windows()).toEqual(["100 0 100 15 15", "100 115 0 0 0"]);
  });

  test("is lifted with the over-limit mark when a window begins", () => {
    const { clock, commit, hold, reserve } = world();
    bodyOf(commit(hold(80, "ALLOW_IF_AVAILABLE"), 200));
    expect(verdictOf(reserve(0))).toBe("409 OVERDRAFT_LIMIT_EXCEEDED");
    clock.advance(DAY);
    expect(verdictOf(reserve(100))).toBe("200");
  });
});

describe("periods are given, changed and taken away", () => {
  test("without moving a figure; holds from before stay where they are", () => {
    const { authority, clock, commit, hold, windows } = world(undefined);
    const early = hold(40);
    bodyOf(authority.setPeriod(NAME, DAILY));
    expect(windows()).toEqual(["100 0 40 0 0"]);
    clock.set(MONDAY + DAY);
    const second = hold(10);
    bodyOf(authority.setPeriod(NAME, { kind: "monthly", time_zone: "Europe/Berlin" }));
    expect(windows()).toEqual(["100 0 10 0 0", "100 0 40 0 0"]);
    clock.advance(2 * DAY);
    expect(windows()[0]).toBe("100 0 0 0 0");
    bodyOf(authority.removePeriod(NAME));
    clock.advance(400 * DAY);
    const late = hold(5);
    expect([verdictOf(commit(early, 1)), verdictOf(commit(second, 1))]).toEqual([
      "410 RESERVATION_EXPIRED",
      "410 RESERVATION_EXPIRED",
    ]);
    expect(bodyOf(authority.getPeriod(NAME)).window.ends_at).toBeUndefined();
    bodyOf(commit(late, 5));
    expect(windows()).toEqual(["100 5 0 0 0", "100 0 0 0 0"]);
  });

  test("and say what they are", () => {
    const { authority } = world({ kind: "weekly", time_zone: "America/New_York", allocated: tokens(7) });
    const shown = bodyOf(authority.getPeriod(NAME));
    expect(shown.period).toEqual({ kind: "weekly", time_zone: "America/New_York", allocated: tokens(7n) });
    expect(shown.window).toMatchObject({
      starts_at: "2027-01-04T12:00:00.000Z",
      ends_at: "2027-01-11T05:00:00.000Z",
    });
    const every = { kind: "every", every_ms: HOUR, starts_at: "2027-01-04T00:30:00Z" } as const;
    expect(bodyOf(authority.setPeriod(NAME, every))).toMatchObject({
      period: { kind: "every", every_ms: HOUR, starts_at: "2027-01-04T00:30:00.000Z", allocated: tokens(7n) },
      window: { ends_at: "2027-01-04T12:30:00.000Z" },
    });
    expect(bodyOf(authority.removePeriod(NAME)).period).toBeUndefined();
    expect(bodyOf(authority.removePeriod(NAME)).period).toBeUndefined();
  });

  test.each<[string, object, string]>([
    ["an unknown kind", { kind: "yearly" }, "400 INVALID_REQUEST"],
    ["an unknown time zone", { kind: "daily", time_zone: "Mars/Olympus" }, "400 INVALID_REQUEST"],
    ["every without a length", { kind: "every" }, "400 INVALID_REQUEST"],
    ["every with a time zone", { kind: "every", every_ms: HOUR, time_zone: "UTC" }, "400 INVALID_REQUEST"],
    ["a length with a calendar", { kind: "daily", every_ms: HOUR }, "400 INVALID_REQUEST"],
    [
      "an anchor with a calendar",
      { kind: "daily", starts_at: "2027-01-01T00:00:00Z" },
      "400 INVALID_REQUEST",
    ],
    ["less than a minute", { kind: "every", every_ms: 59_999 }, "400 INVALID_REQUEST"],
    ["another unit", { kind: "daily", allocated: { unit: "CREDITS", amount: 1 } }, "400 UNIT_MISMATCH"],
    ["an unknown field", { kind: "daily", rollover: true }, "400 INVALID_REQUEST"],
  ])("%s is refused", (_, period, verdict) => {
    const { authority } = world();
    const before = authority.getPeriod(NAME);
    expect(verdictOf(authority.setPeriod(NAME, period as PeriodInput))).toBe(verdict);
    expect(authority.getPeriod(NAME)).toEqual(before);
  });

  test("no budget, another tenant's, or one that would carry forward: refused", () => {
    const { authority } = world();
    const set = (scope: string) => verdictOf(authority.setPeriod({ scope, unit: "TOKENS" }, DAILY));
    expect([set("tenant:acme/agent:x"), set("tenant:other"), set("agent:x")]).toEqual([
      "404 BUDGET_NOT_FOUND",
      "403 FORBIDDEN",
      "400 INVALID_REQUEST",
    ]);
    bodyOf(authority.createBudget(budget("tenant:acme/app:x", 5, { rollover_policy: "CARRY_FORWARD" })));
    expect(set("tenant:acme/app:x")).toBe("400 INVALID_REQUEST");
  });
});

describe("denials say when the budget resets", () => {
  test("in the details of an error and as retry_after_ms of a question", () => {
    const { authority, reserve, hold } = world();
    hold(60);
    expect(reserve(50)).toMatchObject({ error: "BUDGET_EXCEEDED", details: { resets_at_ms: MONDAY + DAY } });
    expect(reserve(50)).toMatchObject({ details: { retry_after_ms: DAY / 2 } });
    const ask = (amount: number) => {
      const { subject, action, estimate } = reserveRequest("x", amount);
      return bodyOf(authority.decide({ idempotency_key: `d${amount}`, subject, action, estimate }));
    };
    expect(ask(50)).toMatchObject({
      decision: "DENY",
      reason_code: "BUDGET_EXCEEDED",
      retry_after_ms: 12 * HOUR,
    });
    expect(ask(101)).not.toHaveProperty("retry_after_ms");
    const dry = authority.reserve(reserveRequest("dry", 50, { dry_run: true }));
    expect(dry).toMatchObject({ body: { decision: "DENY", retry_after_ms: 12 * HOUR } });
  });

  test("and what is owed by then is paid out of it first", () => {
    const { authority, hold, commit } = world(DAILY, { limit: 30 });
    commit(hold(100, "ALLOW_WITH_OVERDRAFT"), 130);
    const ask = (amount: number) => {
      const { subject, action, estimate } = reserveRequest("x", amount);
      return bodyOf(authority.decide({ idempotency_key: `d${amount}`, subject, action, estimate }));
    };
    expect(ask(70)).toMatchObject({ decision: "DENY", retry_after_ms: 12 * HOUR });
    expect(ask(71)).not.toHaveProperty("retry_after_ms");
  });

  test("at the last of the resets it needs, and not at all where one budget has none", () => {
    const { authority, hold } = world();
    hold(100);
    const ask = (agent: string) => {
      const { action, estimate } = reserveRequest("x", 50);
      return bodyOf(
        authority.decide({ idempotency_key: agent, subject: { tenant: "acme", agent }, action, estimate }),
      ).retry_after_ms;
    };
    bodyOf(authority.createBudget(budget("tenant:acme/agent:weekly", 60)));
    bodyOf(authority.setPeriod({ scope: "tenant:acme/agent:weekly", unit: "TOKENS" }, { kind: "weekly" }));
    bodyOf(authority.createBudget(budget("tenant:acme/agent:never", 10)));
    expect([ask("other"), ask("weekly"), ask("never")]).toEqual([12 * HOUR, 12 * HOUR, undefined]);
    const subject = { tenant: "acme", agent: "weekly" };
    bodyOf(authority.fund(NAME, { operation: "CREDIT", amount: tokens(20), idempotency_key: "f" }));
    bodyOf(authority.reserve(reserveRequest("w", 20, { subject })));
    const { action, estimate } = reserveRequest("x", 50);
    const decided = authority.decide({ idempotency_key: "both", subject, action, estimate });
    expect(bodyOf(decided).retry_after_ms).toBe(6 * DAY + 12 * HOUR);
  });
});

describe("a clock that ran ahead and was put back", () => {
  test("finds the window of the real time again, with what happened in it", () => {
    const { clock, commit, hold, reserve, windows } = world();
    const id = hold(40);
    clock.advance(365 * DAY);
    expect(verdictOf(reserve(100))).toBe("200");
    clock.advance(-365 * DAY);
    expect(windows()[0]).toBe("100 0 0 0 0");
    expect(verdictOf(commit(id, 30))).toBe("410 RESERVATION_EXPIRED");
    expect(verdictOf(reserve(101))).toBe("409 BUDGET_EXCEEDED");
    bodyOf(commit(hold(60), 60));
    expect(windows()[0]).toBe("100 60 0 0 0");
    clock.advance(365 * DAY);
    expect(windows()[0]).toBe("100 0 0 0 0");
  });

  test("and began a window that nobody had been in before", () => {
    const { clock, hold, windows } = world();
    clock.advance(10 * DAY);
    hold(70);
    clock.advance(-5 * DAY);
    expect(windows()).toEqual(["100 0 0 0 0", "100 0 70 0 0"]);
    clock.advance(5 * DAY);
    // Put back, the clock also shortened the hold: it is over by now.
    expect(windows()).toEqual(["100 0 0 0 0"]);
  });
});

test("closing the tenant releases what every window holds, and time stands still for its budgets", () => {
  const { clock, hold, store } = world();
  hold(40);
  clock.advance(DAY);
  hold(30);
  const ledger = new Ledger({ tenant: "acme", store, secrets: ["local authority"] });
  const turn = () => ({ nowMs: clock.now() });
  bodyOf(ledger.updateTenant({ status: "CLOSED" }, turn()));
  const [row] = bodyOf(ledger.balances({ tenant: "acme" }, turn())).balances;
  expect(row).toMatchObject({ reserved: tokens(0n), remaining: tokens(100n) });
  expect(store.readWindows(NAME, 9)).toMatchObject([{ reserved: 0n }]);
  const [closed] = store.readAccounts([NAME.scope]);
  clock.advance(10 * DAY);
  expect(bodyOf(ledger.getPeriod(NAME, turn())).window.ends_at).toBe("2027-01-06T00:00:00.000Z");
  expect(store.readAccounts([NAME.scope])).toEqual([closed]);
  expect(verdictOf(ledger.setPeriod(NAME, DAILY, turn()))).toBe("409 TENANT_CLOSED");
});

test("of passed windows the latest hundred are kept, and every one that holds something", () => {
  const { clock, hold, store } = world({ kind: "every", every_ms: 60_000 });
  hold(1);
  for (let minute = 0; minute < 130; minute += 1) {
    clock.advance(60_000);
    hold(1);
  }
  const kept = store.readWindows(NAME, 1000);
  expect(kept.length).toBe(130);
  clock.advance(25 * HOUR);
  for (let minute = 0; minute < 20; minute += 1) {
    clock.advance(60_000);
    hold(1);
  }
  expect(store.readWindows(NAME, 1000).length).toBe(100);
});
