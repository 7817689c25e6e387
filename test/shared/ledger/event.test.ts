// Events: spending without a reservation. The overage table, all scopes or none, and the recovery of a commit that came
// too late.

import { type EventInput, LocalLedger, MemoryStore } from "purser/ledger";
import { describe, expect, test } from "vitest";
import {
  authorityWith,
  bodyOf,
  budget,
  testClock,
  tokens,
  verdictOf,
} from "../../support/ledger-fixtures.ts";

const spend = (key: string, actual: bigint | number, rest: Partial<EventInput> = {}): EventInput => ({
  idempotency_key: key,
  subject: { tenant: "acme" },
  action: { kind: "llm.completion", name: "test-model" },
  actual: tokens(actual),
  ...rest,
});

const DEEP = { tenant: "acme", agent: "b" };

describe("an event", () => {
  test("is 201 in the protocol's shape, and spent on every budgeted scope", () => {
    const { authority, figures } = authorityWith(
      budget("tenant:acme", 100),
      budget("tenant:acme/agent:b", 50),
    );
    const metrics = { tokens_input: 1, tokens_output: 2, custom: { cached: true } };
    const reply = authority.event(
      spend("k", 30, { subject: DEEP, metrics, client_time_ms: 1, metadata: { run: 7 } }),
    );
    expect(reply).toEqual({
      ok: true,
      status: 201,
      body: {
        status: "APPLIED",
        event_id: expect.stringMatching(/^evt_[-0-9A-Z_a-z]{24}$/),
        balances: [
          expect.objectContaining({ scope_path: "tenant:acme", spent: tokens(30n), remaining: tokens(70n) }),
          expect.objectContaining({ scope_path: "tenant:acme/agent:b", remaining: tokens(20n) }),
        ],
      },
    });
    expect([figures(), figures("tenant:acme/agent:b")]).toEqual(["100/30/0/0→70", "50/30/0/0→20"]);
  });

  // Budgets of two scopes (allocated, overdraft limit), the policy, the actual amount; then what was charged (where less),
  // or the refusal, and the figures of both.
  test.each<
    [string, [number, number], [number, number], EventInput["overage_policy"], number, string, string, string]
  >([
    ["REJECT, covered", [100, 0], [60, 0], "REJECT", 60, "all", "100/60/0/0→40", "60/60/0/0→0"],
    [
      "REJECT, the child short",
      [100, 0],
      [60, 9],
      "REJECT",
      61,
      "409 BUDGET_EXCEEDED",
      "100/0/0/0→100",
      "60/0/0/0→60",
    ],
    ["no policy, covered", [100, 0], [60, 0], undefined, 60, "all", "100/60/0/0→40", "60/60/0/0→0"],
    ["no policy, the child short", [100, 0], [60, 0], undefined, 90, "60", "100/60/0/0→40", "60/60/0/0→0!"],
    [
      "IF_AVAILABLE, both short",
      [55, 0],
      [60, 0],
      "ALLOW_IF_AVAILABLE",
      90,
      "55",
      "55/55/0/0→0!",
      "60/55/0/0→5!",
    ],
    [
      "IF_AVAILABLE never owes",
      [100, 50],
      [60, 50],
      "ALLOW_IF_AVAILABLE",
      90,
      "60",
      "100/60/0/0→40",
      "60/60/0/0→0!",
    ],
    [
      "OVERDRAFT, in debt",
      [100, 50],
      [60, 50],
      "ALLOW_WITH_OVERDRAFT",
      90,
      "all",
      "100/90/0/0→10",
      "60/60/0/30→-30",
    ],
    [
      "OVERDRAFT to the limit",
      [60, 30],
      [60, 30],
      "ALLOW_WITH_OVERDRAFT",
      90,
      "all",
      "60/60/0/30→-30",
      "60/60/0/30→-30",
    ],
    [
      "OVERDRAFT one beyond",
      [60, 30],
      [60, 30],
      "ALLOW_WITH_OVERDRAFT",
      91,
      "409 OVERDRAFT_LIMIT_EXCEEDED",
      "60/0/0/0→60",
      "60/0/0/0→60",
    ],
    [
      "OVERDRAFT, the parent without a limit caps",
      [60, 0],
      [100, 50],
      "ALLOW_WITH_OVERDRAFT",
      90,
      "60",
      "60/60/0/0→0!",
      "100/60/0/0→40",
    ],
  ])("%s", (_, parent, child, overage_policy, actual, answer, parentAfter, childAfter) => {
    const { authority, figures } = authorityWith(
      budget("tenant:acme", parent[0], { overdraft_limit: tokens(parent[1]) }),
      budget("tenant:acme/agent:b", child[0], { overdraft_limit: tokens(child[1]) }),
    );
    const reply = authority.event(
      spend("k", actual, { subject: DEEP, ...(overage_policy && { overage_policy }) }),
    );
    expect(reply.ok ? (reply.body.charged?.amount.toString() ?? "all") : verdictOf(reply)).toBe(answer);
    expect([figures(), figures("tenant:acme/agent:b")]).toEqual([parentAfter, childAfter]);
  });

  test("neither debt nor an over-limit mark stops it, and held amounts stay held", () => {
    const { authority, figures, reserveId } = authorityWith(
      budget("tenant:acme", 60, { overdraft_limit: tokens(40) }),
    );
    reserveId("r", 20);
    const owe = { overage_policy: "ALLOW_WITH_OVERDRAFT" } as const;
    expect(verdictOf(authority.event(spend("1", 50, owe)))).toBe("201");
    expect(figures()).toBe("60/40/20/10→-10");
    expect(bodyOf(authority.event(spend("2", 5))).charged).toEqual(tokens(0n));
    expect(figures()).toBe("60/40/20/10→-10!");
    expect(verdictOf(authority.event(spend("3", 30, owe)))).toBe("201");
    expect(figures()).toBe("60/40/20/40→-40!");
  });

  test("a tenant's or budget's REJECT does not reach it: recovery must be able to write down", () => {
    const { authority, figures } = authorityWith(
      budget("tenant:acme", 10, { commit_overage_policy: "REJECT" }),
    );
    expect(bodyOf(authority.event(spend("k", 15))).charged).toEqual(tokens(10n));
    expect(figures()).toBe("10/10/0/0→0!");
  });

  test.each<[string, Partial<EventInput>, string]>([
    ["no budget anywhere", { subject: { agent: "x" } }, "404 NOT_FOUND"],
    ["a wrong unit", { actual: { unit: "CREDITS", amount: 1 } }, "400 UNIT_MISMATCH"],
    ["another tenant", { subject: { tenant: "other" } }, "403 FORBIDDEN"],
    ["a client time below zero", { client_time_ms: -1 }, "400 INVALID_REQUEST"],
    ["an estimate", { estimate: tokens(1) } as Partial<EventInput>, "400 INVALID_REQUEST"],
  ])("%s: refused, and nothing changed", (_, rest, verdict) => {
    const { authority, figures } = authorityWith(budget("tenant:acme", 100));
    const reply = authority.event(spend("k", 1, rest));
    expect(verdictOf(reply)).toBe(verdict);
    if (verdict.startsWith("400 UNIT")) {
      expect(reply).toMatchObject({ details: { scope: "tenant:acme", expected_units: ["TOKENS"] } });
    }
    expect(figures()).toBe("100/0/0/0→100");
  });

  test("a frozen or closed budget refuses it, and the refusals are counted", () => {
    const store = new MemoryStore();
    const clock = testClock();
    const authority = new LocalLedger({ tenant: "acme", now: clock.now, store });
    bodyOf(authority.createBudget(budget("tenant:acme", 100)));
    const [account] = store.readAccounts(["tenant:acme"]);
    if (account === undefined) throw new Error("no account");
    for (const status of ["FROZEN", "CLOSED"] as const) {
      store.rewriteAccount({ ...account, status });
      expect(verdictOf(authority.event(spend(status, 1)))).toBe(`409 BUDGET_${status}`);
    }
    expect(authority.counters).toEqual({ figureFaults: 0, commitsRefused: 0, eventsRefused: 2 });
    store.rewriteAccount(account);
    expect(verdictOf(authority.event(spend("FROZEN", 1)))).toBe("201");
  });

  test("is charged once per key, for 7 days, and a refused key is new", () => {
    const { authority, clock, figures } = authorityWith(budget("tenant:acme", 100));
    expect(verdictOf(authority.event(spend("k", 101, { overage_policy: "REJECT" })))).toBe(
      "409 BUDGET_EXCEEDED",
    );
    const first = authority.event(spend("k", 10));
    bodyOf(authority.event(spend("other", 10)));
    clock.advance(7 * 86_400_000);
    expect(authority.event(spend("k", 10))).toEqual(first);
    expect(verdictOf(authority.event(spend("k", 11)))).toBe("409 IDEMPOTENCY_MISMATCH");
    expect(figures()).toBe("100/20/0/0→80");
    clock.advance(86_400_000);
    const again = bodyOf(authority.event(spend("k", 10)));
    expect(again.event_id).not.toBe(bodyOf(first).event_id);
    expect(figures()).toBe("100/30/0/0→70");
  });

  test("recovers, under the commit's own key, what came after the expiry", () => {
    const { authority, clock, figures, reserveId } = authorityWith(budget("tenant:acme", 100));
    const id = reserveId("r", 80, { ttl_ms: 1000, grace_period_ms: 0 });
    clock.advance(1001);
    const commit = { idempotency_key: "c", actual: tokens(75) };
    expect(verdictOf(authority.commit(id, commit))).toBe("410 RESERVATION_EXPIRED");
    const metadata = { recovered_reservation_id: id, recovery_reason: "commit_after_reservation_expired" };
    expect(bodyOf(authority.event(spend("c", 75, { metadata }))).charged).toBeUndefined();
    expect(figures()).toBe("100/75/0/0→25");
  });

  test("settles first what has expired on its scopes, so that nothing free is taken for held", () => {
    const { authority, clock, figures, reserveId } = authorityWith(budget("tenant:acme", 100));
    reserveId("r", 80, { ttl_ms: 1000, grace_period_ms: 0 });
    clock.advance(1001);
    expect(verdictOf(authority.event(spend("e", 90, { overage_policy: "REJECT" })))).toBe("201");
    expect(figures()).toBe("100/90/0/0→10");
  });
});

test("refused commits are counted", () => {
  const { authority, reserveId } = authorityWith(budget("tenant:acme", 100));
  const id = reserveId("r", 10, { overage_policy: "REJECT" });
  expect(verdictOf(authority.commit(id, { idempotency_key: "c", actual: tokens(11) }))).toBe(
    "409 BUDGET_EXCEEDED",
  );
  expect(authority.counters.commitsRefused).toBe(1);
});
