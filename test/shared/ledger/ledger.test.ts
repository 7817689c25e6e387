// The ledger's rules, operation by operation, over the in-process authority: answers, order of refusals, expiry windows,
// idempotency, overage policies. Times are the test's own.

import {
  type AmountInput,
  type BudgetInput,
  INT64_MAX,
  type LedgerStore,
  LocalLedger,
  MemoryStore,
  type ReserveInput,
} from "purser/ledger";
import { describe, expect, test } from "vitest";
import {
  authorityWith,
  bodyOf,
  budget,
  reserveRequest,
  TENANT,
  testClock,
  tokens,
  verdictOf,
} from "../../support/ledger-fixtures.ts";

const ACTION = { kind: "llm.completion", name: "test-model" };

describe("reserve", () => {
  test("answers with the protocol's shape and takes the estimate out", () => {
    const { authority, clock, figures } = authorityWith(budget("tenant:acme", 1000));
    const reply = authority.reserve(
      reserveRequest("k", 200, {
        subject: { tenant: "acme", agent: "Bot" },
        ttl_ms: 30_000,
        metadata: { a: 1.5 },
      }),
    );
    expect(reply).toEqual({
      ok: true,
      status: 200,
      body: {
        decision: "ALLOW",
        reservation_id: expect.stringMatching(/^[A-Za-z0-9_-]{35,128}$/),
        affected_scopes: ["tenant:acme", "tenant:acme/agent:bot"],
        expires_at_ms: clock.now() + 30_000,
        remaining_ttl_ms: 30_000,
        scope_path: "tenant:acme/agent:bot",
        reserved: tokens(200n),
        balances: [
          {
            scope: "tenant:acme",
            scope_path: "tenant:acme",
            remaining: tokens(800n),
            reserved: tokens(200n),
            spent: tokens(0n),
            allocated: tokens(1000n),
          },
        ],
      },
    });
    expect(figures()).toBe("1000/0/200/0→800");
  });

  test("takes from all budgeted scopes or from none", () => {
    const { figures, reserve } = authorityWith(
      budget("tenant:acme", 1000),
      budget("tenant:acme/agent:b", 100),
    );
    const subject = { tenant: "acme", agent: "b" };
    expect(verdictOf(reserve("k1", 100, { subject }))).toBe("200");
    const refused = reserve("k2", 1, { subject });
    expect(refused).toMatchObject({
      status: 409,
      error: "BUDGET_EXCEEDED",
      message: "Budget exceeded for: tenant:acme/agent:b",
      details: { scope: "tenant:acme/agent:b", remaining: 0n, requested: 1n },
    });
    expect(figures()).toBe("1000/0/100/0→900");
    expect(figures("tenant:acme/agent:b")).toBe("100/0/100/0→0");
  });

  test("a budget made after the reserve is no part of it", () => {
    const { authority, figures, reserveId } = authorityWith(budget("tenant:acme", 1000));
    const subject = { tenant: "acme", agent: "b" };
    const id = reserveId("k", 100, { subject });
    bodyOf(authority.createBudget(budget("tenant:acme/agent:b", 50)));
    bodyOf(authority.commit(id, { idempotency_key: "c", actual: tokens(70) }));
    expect(figures()).toBe("1000/70/0/0→930");
    expect(figures("tenant:acme/agent:b")).toBe("50/0/0/0→50");
  });

  test.each<[string, Partial<ReserveInput>, string]>([
    ["no budget at all", { subject: { tenant: "acme2" } }, "403 FORBIDDEN"],
    ["the tenant in another case", { subject: { tenant: "Acme" } }, "403 FORBIDDEN"],
    ["a subject without tenant", { subject: { workspace: "w" } }, "404 NOT_FOUND"],
    [
      "a unit that no scope is budgeted in",
      { estimate: { unit: "CREDITS", amount: 1 } },
      "400 UNIT_MISMATCH",
    ],
    ["more than there is", { estimate: tokens(1001) }, "409 BUDGET_EXCEEDED"],
    ["exactly what there is", { estimate: tokens(1000) }, "200"],
    ["nothing", { estimate: tokens(0) }, "200"],
    ["blank levels", { subject: { tenant: "acme", agent: "  " } }, "200"],
  ])("%s", (_, rest, verdict) => {
    const { reserve } = authorityWith(budget("tenant:acme", 1000));
    expect(verdictOf(reserve("k", 1, rest))).toBe(verdict);
  });

  test("a wrong unit names what would be right", () => {
    const { reserve } = authorityWith(
      budget("tenant:acme", 1),
      budget("tenant:acme", 1, { unit: "CREDITS" }),
    );
    expect(reserve("k", 0, { estimate: { unit: "RISK_POINTS", amount: 0 } })).toMatchObject({
      error: "UNIT_MISMATCH",
      details: { scope: "tenant:acme", requested_unit: "RISK_POINTS", expected_units: ["CREDITS", "TOKENS"] },
    });
  });

  test("the ttl is capped by the tenant's longest and defaults to its own", () => {
    const { clock, reserve } = authorityWith(budget("tenant:acme", 1000));
    expect(bodyOf(reserve("k1", 1, { ttl_ms: 86_400_000 })).expires_at_ms).toBe(clock.now() + 3_600_000);
    expect(bodyOf(reserve("k2", 1)).expires_at_ms).toBe(clock.now() + 60_000);
  });

  test("balances stay out of a reply that a double could not carry", () => {
    const { reserve, figures } = authorityWith(budget("tenant:acme", INT64_MAX));
    const body = bodyOf(reserve("k", INT64_MAX));
    expect(body.reserved).toEqual(tokens(INT64_MAX));
    expect("balances" in body).toBe(false);
    expect(figures()).toBe(`${INT64_MAX}/0/${INT64_MAX}/0→0`);
  });
});

describe("bad input changes nothing and names field, rule and value", () => {
  const deep: Record<string, unknown> = {};
  for (let at = deep, depth = 0; depth < 40; depth += 1) at = at.x = {} as Record<string, unknown>;
  test.each<[string, unknown, string]>([
    ["idempotency_key", undefined, "idempotency_key is required"],
    ["idempotency_key", "", "idempotency_key must be 1 to 256 characters long"],
    ["idempotency_key", "k".repeat(257), "idempotency_key must be 1 to 256 characters long"],
    ["idempotency_key", "\ud800", "idempotency_key must be well-formed Unicode"],
    ["subject", {}, "subject must give at least one of tenant"],
    ["subject", { dimensions: { a: "b" } }, "subject must give at least one of tenant"],
    ["subject", { tenant: "acme", team: "x" }, "subject.team is not a known field"],
    ["subject", { tenant: "acme", agent: "a/b" }, "subject.agent must consist of letters"],
    ["subject", { tenant: "acme", agent: "a".repeat(129) }, "subject.agent must be at most 128"],
    ["subject", { tenant: "acme", dimensions: { a: 1 } }, "subject.dimensions.a must be a string, got 1"],
    ["subject", { tenant: "acme", dimensions: [] }, "subject.dimensions must be a JSON object, got an array"],
    ["action", { kind: " ", name: "n" }, "action.kind must not be blank"],
    ["action", { kind: "k".repeat(65), name: "n" }, "action.kind must be 1 to 64"],
    ["action", { kind: "k" }, "action.name is required"],
    ["action", { ...ACTION, tags: Array(11).fill("t") }, "action.tags must have at most 10"],
    ["estimate", 5, "estimate must be a JSON object, got 5"],
    [
      "estimate",
      { unit: "TOKENS", amount: -1 },
      "estimate.amount must be an integer from 0 to 9223372036854775807, got -1",
    ],
    ["estimate", { unit: "TOKENS", amount: 0.5 }, "estimate.amount must be an integer from 0"],
    [
      "estimate",
      { unit: "TOKENS", amount: "5" },
      'estimate.amount must be an integer from 0 to 9223372036854775807, got "5"',
    ],
    ["estimate", { unit: "TOKENS", amount: 2 ** 53 }, "estimate.amount must be an integer from 0"],
    ["estimate", { unit: "TOKENS", amount: INT64_MAX + 1n }, "got 9223372036854775808"],
    ["estimate", { unit: "tokens", amount: 1 }, "estimate.unit must be one of USD_MICROCENTS"],
    ["estimate", { unit: "TOKENS", amount: 1, currency: "x" }, "estimate.currency is not a known field"],
    ["ttl_ms", 999, "ttl_ms must be an integer from 1000 to 86400000, got 999"],
    ["ttl_ms", 86_400_001, "ttl_ms must be an integer from 1000"],
    ["ttl_ms", null, "ttl_ms must be an integer from 1000 to 86400000, got null"],
    ["grace_period_ms", 60_001, "grace_period_ms must be an integer from 0 to 60000"],
    ["overage_policy", "NONE", "overage_policy must be one of REJECT"],
    ["dry_run", "true", "dry_run must be true or false"],
    ["metadata", [], "metadata must be a JSON object, got an array"],
    ["metadata", deep, "metadata must be a JSON object"],
    ["unknown", 1, "unknown is not a known field"],
  ])("%s, case %#", (field, value, message) => {
    const { authority, figures } = authorityWith(budget("tenant:acme", 1000));
    const { [field as "metadata"]: _, ...rest } = reserveRequest("k", 1);
    const reply = authority.reserve(
      (value === undefined ? rest : { ...rest, [field]: value }) as ReserveInput,
    );
    expect(reply).toMatchObject({ ok: false, status: 400, error: "INVALID_REQUEST" });
    expect(reply.ok ? "" : reply.message).toContain(message);
    expect(figures()).toBe("1000/0/0/0→1000");
  });

  test("something that is no object", () => {
    const { authority } = authorityWith(budget("tenant:acme", 1000));
    for (const input of [null, 5, "x", []] as unknown[]) {
      expect(verdictOf(authority.reserve(input as ReserveInput))).toBe("400 INVALID_REQUEST");
    }
  });
});

describe("dry run", () => {
  test("evaluates alike, takes nothing, and has no id", () => {
    const { figures, reserve } = authorityWith(budget("tenant:acme", 1000));
    expect(bodyOf(reserve("k", 1000, { dry_run: true }))).toEqual({
      decision: "ALLOW",
      affected_scopes: ["tenant:acme"],
      scope_path: "tenant:acme",
      reserved: tokens(1000n),
      balances: [expect.objectContaining({ remaining: tokens(1000n) })],
    });
    expect(figures()).toBe("1000/0/0/0→1000");
  });

  test.each<[string, Partial<ReserveInput>, string]>([
    ["too much", { estimate: tokens(1001) }, "BUDGET_EXCEEDED"],
    ["no budget", { subject: { agent: "x" } }, "BUDGET_NOT_FOUND"],
  ])("%s is a DENY", (_, rest, reason) => {
    const { reserve } = authorityWith(budget("tenant:acme", 1000));
    const body = bodyOf(reserve("k", 1, { dry_run: true, ...rest }));
    expect(body).toMatchObject({ decision: "DENY", reason_code: reason });
    expect(Object.keys(body).sort()).toEqual(["affected_scopes", "decision", "reason_code"]);
  });

  test("a wrong unit stays an error", () => {
    const { reserve } = authorityWith(budget("tenant:acme", 1000));
    expect(verdictOf(reserve("k", 1, { dry_run: true, estimate: { unit: "CREDITS", amount: 1 } }))).toBe(
      "400 UNIT_MISMATCH",
    );
  });

  test("is replayed, and its key can't be used live", () => {
    const { authority, clock, reserve } = authorityWith(budget("tenant:acme", 1000));
    const first = reserve("k", 600, { dry_run: true });
    bodyOf(reserve("other", 600));
    expect(reserve("k", 600, { dry_run: true })).toEqual(first);
    expect(verdictOf(reserve("k", 600))).toBe("409 IDEMPOTENCY_MISMATCH");
    expect(verdictOf(authority.reserve(reserveRequest("other", 600, { dry_run: true })))).toBe(
      "409 IDEMPOTENCY_MISMATCH",
    );
    clock.advance(2 * 86_400_000);
    expect(verdictOf(reserve("k", 600))).toBe("200");
  });
});

describe("overage", () => {
  // One row: budgets of two scopes (allocated, overdraft limit), the policy, estimate, actual, then the answer.
  test.each<
    [
      string,
      [number, number],
      [number, number],
      ReserveInput["overage_policy"],
      number,
      string,
      string,
      string,
    ]
  >([
    [
      "REJECT within the estimate",
      [100, 0],
      [100, 0],
      "REJECT",
      30,
      "30 +20",
      "100/30/0/0→70",
      "100/30/0/0→70",
    ],
    [
      "REJECT beyond",
      [100, 0],
      [100, 0],
      "REJECT",
      51,
      "409 BUDGET_EXCEEDED",
      "100/0/50/0→50",
      "100/0/50/0→50",
    ],
    [
      "IF_AVAILABLE, covered",
      [100, 0],
      [100, 0],
      "ALLOW_IF_AVAILABLE",
      80,
      "80",
      "100/80/0/0→20",
      "100/80/0/0→20",
    ],
    [
      "IF_AVAILABLE, capped by the child alone",
      [100, 0],
      [60, 0],
      "ALLOW_IF_AVAILABLE",
      90,
      "60",
      "100/60/0/0→40",
      "60/60/0/0→0!",
    ],
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
      "OVERDRAFT, covered",
      [100, 50],
      [100, 50],
      "ALLOW_WITH_OVERDRAFT",
      90,
      "90",
      "100/90/0/0→10",
      "100/90/0/0→10",
    ],
    [
      "OVERDRAFT, in debt",
      [100, 50],
      [60, 50],
      "ALLOW_WITH_OVERDRAFT",
      90,
      "90",
      "100/90/0/0→10",
      "60/60/0/30→-30",
    ],
    [
      "OVERDRAFT to the limit",
      [60, 30],
      [60, 30],
      "ALLOW_WITH_OVERDRAFT",
      90,
      "90",
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
      "60/0/50/0→10",
      "60/0/50/0→10",
    ],
    [
      "OVERDRAFT, parent without a limit caps",
      [60, 0],
      [100, 50],
      "ALLOW_WITH_OVERDRAFT",
      90,
      "60",
      "60/60/0/0→0!",
      "100/60/0/0→40",
    ],
  ])("%s", (_, parent, child, overage_policy, actual, answer, parentAfter, childAfter) => {
    const { authority, figures, reserveId } = authorityWith(
      budget("tenant:acme", parent[0], { overdraft_limit: tokens(parent[1]) }),
      budget("tenant:acme/agent:b", child[0], { overdraft_limit: tokens(child[1]) }),
    );
    const subject = { tenant: "acme", agent: "b" };
    const id = reserveId("k", 50, { subject, ...(overage_policy && { overage_policy }) });
    const reply = authority.commit(id, { idempotency_key: "c", actual: tokens(actual) });
    const told = reply.ok
      ? `${reply.body.charged.amount}${reply.body.released ? ` +${reply.body.released.amount}` : ""}`
      : verdictOf(reply);
    expect(told).toBe(answer);
    expect(figures()).toBe(parentAfter);
    expect(figures("tenant:acme/agent:b")).toBe(childAfter);
  });

  test("request, else the deepest budget, else the default decides the policy", () => {
    const { authority, reserveId } = authorityWith(
      budget("tenant:acme", 100, { commit_overage_policy: "ALLOW_IF_AVAILABLE" }),
      budget("tenant:acme/agent:b", 100, { commit_overage_policy: "REJECT" }),
    );
    const deep = { subject: { tenant: "acme", agent: "b" } };
    const commit = (id: string) =>
      verdictOf(authority.commit(id, { idempotency_key: "c", actual: tokens(2) }));
    expect(commit(reserveId("k1", 1, deep))).toBe("409 BUDGET_EXCEEDED");
    expect(commit(reserveId("k2", 1))).toBe("200");
    expect(commit(reserveId("k3", 1, { ...deep, overage_policy: "ALLOW_IF_AVAILABLE" }))).toBe("200");
  });

  test("debt without a limit, a mark, and debt beyond a limit block new reservations in their own words", () => {
    const { authority, reserve, reserveId } = authorityWith(budget("tenant:acme", 60));
    const id = reserveId("k1", 50);
    bodyOf(authority.commit(id, { idempotency_key: "c", actual: tokens(90) }));
    expect(verdictOf(reserve("k2", 0))).toBe("409 OVERDRAFT_LIMIT_EXCEEDED");
    bodyOf(
      authority.fund(
        { scope: "tenant:acme", unit: "TOKENS" },
        { operation: "CREDIT", amount: tokens(10), idempotency_key: "f" },
      ),
    );
    expect(verdictOf(reserve("k2", 10))).toBe("200");
  });
});

describe("settling", () => {
  test("a reservation is settled at most once, and says how it ended", () => {
    const { authority, figures, reserveId } = authorityWith(budget("tenant:acme", 100));
    const id = reserveId("k", 50);
    const commit = { idempotency_key: "c", actual: tokens(20), metadata: { run: 7 } };
    const first = authority.commit(id, commit);
    expect(authority.commit(id, commit)).toEqual(first);
    expect(verdictOf(authority.commit(id, { ...commit, actual: tokens(21) }))).toBe(
      "409 IDEMPOTENCY_MISMATCH",
    );
    expect(verdictOf(authority.commit(id, { ...commit, idempotency_key: "c2" }))).toBe(
      "409 RESERVATION_FINALIZED",
    );
    expect(verdictOf(authority.release(id, { idempotency_key: "c" }))).toBe("409 RESERVATION_FINALIZED");
    expect(verdictOf(authority.extend(id, { idempotency_key: "e", extend_by_ms: 1 }))).toBe(
      "409 RESERVATION_FINALIZED",
    );
    expect(figures()).toBe("100/20/0/0→80");
    expect(bodyOf(authority.getReservation(id))).toMatchObject({
      status: "COMMITTED",
      reserved: tokens(50n),
      committed: tokens(20n),
      committed_metadata: { run: 7 },
      finalized_at_ms: expect.any(Number),
    });
  });

  test("release gives everything back", () => {
    const { authority, figures, reserveId } = authorityWith(budget("tenant:acme", 100));
    const id = reserveId("k", 50);
    const first = authority.release(id, { idempotency_key: "r", reason: "guard_dropped" });
    expect(first).toMatchObject({ body: { status: "RELEASED", released: tokens(50n) } });
    expect(authority.release(id, { idempotency_key: "r", reason: "guard_dropped" })).toEqual(first);
    expect(verdictOf(authority.commit(id, { idempotency_key: "c", actual: tokens(1) }))).toBe(
      "409 RESERVATION_FINALIZED",
    );
    expect(figures()).toBe("100/0/0/0→100");
  });

  test("a wrong unit, a refused commit and an unknown id leave the hold as it was", () => {
    const { authority, figures, reserveId } = authorityWith(budget("tenant:acme", 100));
    const id = reserveId("k", 50, { overage_policy: "REJECT" });
    const commit = (actual: AmountInput, to = id) =>
      verdictOf(authority.commit(to, { idempotency_key: "c", actual }));
    expect(commit({ unit: "CREDITS", amount: 1 })).toBe("400 UNIT_MISMATCH");
    expect(commit(tokens(51))).toBe("409 BUDGET_EXCEEDED");
    expect(commit(tokens(1), "never-issued")).toBe("404 NOT_FOUND");
    expect(commit(tokens(1), "x".repeat(129))).toBe("400 INVALID_REQUEST");
    expect(figures()).toBe("100/0/50/0→50");
    expect(commit(tokens(50))).toBe("200");
  });

  test("another tenant's reservation is forbidden, not unknown", () => {
    const other = new LocalLedger({ tenant: "other", now: () => 0 });
    bodyOf(other.createBudget(budget("tenant:other", 10)));
    const foreign =
      bodyOf(other.reserve(reserveRequest("k", 1, { subject: { tenant: "other" } }))).reservation_id ?? "";
    const { authority } = authorityWith(budget("tenant:acme", 100));
    expect(verdictOf(authority.getReservation(foreign))).toBe("403 FORBIDDEN");
    expect(verdictOf(authority.commit(foreign, { idempotency_key: "c", actual: tokens(1) }))).toBe(
      "403 FORBIDDEN",
    );
    expect(verdictOf(authority.release(foreign, { idempotency_key: "c" }))).toBe("403 FORBIDDEN");
  });
});

describe("time", () => {
  // ttl 1000, grace 500: at each moment after the reserve, what commit, extend and get answer.
  test.each([
    [999, "200", "200", "200"],
    [1000, "200", "200", "200"],
    [1001, "200", "410 RESERVATION_EXPIRED", "200"],
    [1500, "200", "410 RESERVATION_EXPIRED", "200"],
    [1501, "410 RESERVATION_EXPIRED", "410 RESERVATION_EXPIRED", "410 RESERVATION_EXPIRED"],
  ])("%i ms later: commit and release %s, extend %s, get %s", (afterMs, commit, extend, get) => {
    const { authority, clock, figures, reserveId } = authorityWith(budget("tenant:acme", 100));
    const window = { ttl_ms: 1000, grace_period_ms: 500 };
    const [a, b, c, d] = ["a", "b", "c", "d"].map((key) => reserveId(key, 10, window)) as [
      string,
      string,
      string,
      string,
    ];
    clock.advance(afterMs);
    expect(verdictOf(authority.getReservation(d))).toBe(get);
    expect(verdictOf(authority.extend(c, { idempotency_key: "e", extend_by_ms: 1000 }))).toBe(extend);
    expect(verdictOf(authority.commit(a, { idempotency_key: "c", actual: tokens(10) }))).toBe(commit);
    expect(verdictOf(authority.release(b, { idempotency_key: "r" }))).toBe(commit);
    expect(figures()).toBe(commit === "200" ? "100/10/20/0→70" : "100/0/0/0→100");
  });

  test("what has expired is free for the next reserve, without any sweep", () => {
    const { clock, reserve, reserveId } = authorityWith(budget("tenant:acme", 100));
    reserveId("k1", 100, { ttl_ms: 1000, grace_period_ms: 0 });
    expect(verdictOf(reserve("k2", 100))).toBe("409 BUDGET_EXCEEDED");
    clock.advance(1001);
    expect(verdictOf(reserve("k2", 100))).toBe("200");
  });

  test("a backlog larger than a turn's share is settled wherever the decision needs it", () => {
    const { clock, figures, reserve, reserveId } = authorityWith(
      budget("tenant:acme/agent:a", 1000),
      budget("tenant:acme/agent:b", 1000),
    );
    const agent = (name: string) => ({
      subject: { tenant: "acme", agent: name },
      ttl_ms: 1000,
      grace_period_ms: 0,
    });
    for (let index = 0; index < 100; index += 1) {
      reserveId(`a${index}`, 1, agent("a"));
      reserveId(`b${index}`, 10, agent("b"));
    }
    clock.advance(1001);
    expect(verdictOf(reserve("last", 1000, agent("b")))).toBe("200");
    expect(figures("tenant:acme/agent:a")).toBe("1000/0/0/0→1000");
    expect(figures("tenant:acme/agent:b")).toBe("1000/0/1000/0→0");
  });

  test("the clock never goes back", () => {
    const { authority, clock, reserveId } = authorityWith(budget("tenant:acme", 100));
    const id = reserveId("k1", 10, { ttl_ms: 1000, grace_period_ms: 0 });
    clock.advance(1001);
    expect(verdictOf(authority.getReservation(id))).toBe("410 RESERVATION_EXPIRED");
    clock.advance(-60_000);
    expect(verdictOf(authority.getReservation(id))).toBe("410 RESERVATION_EXPIRED");
    expect(verdictOf(authority.commit(id, { idempotency_key: "c", actual: tokens(1) }))).toBe(
      "410 RESERVATION_EXPIRED",
    );
  });

  test.each([Number.NaN, -1, 0.5, 2 ** 53])("a host clock that says %s is a bug", (nowMs) => {
    const { authority, clock } = authorityWith(budget("tenant:acme", 100));
    clock.set(nowMs);
    expect(() => authority.balances()).toThrow(RangeError);
  });

  test("extend adds to the expiry, is capped by the tenant's longest life from now, and counted", () => {
    const { authority, clock, reserveId } = authorityWith(budget("tenant:acme", 100));
    const start = clock.now();
    const id = reserveId("k", 10, { ttl_ms: 60_000 });
    const extend = (key: string, by: number) =>
      authority.extend(id, { idempotency_key: key, extend_by_ms: by });
    const first = extend("e1", 30_000);
    expect(first).toMatchObject({
      body: { status: "ACTIVE", expires_at_ms: start + 90_000, remaining_ttl_ms: 90_000 },
    });
    clock.advance(1000);
    expect(extend("e1", 30_000)).toEqual({ ...first, body: { ...bodyOf(first), remaining_ttl_ms: 89_000 } });
    expect(verdictOf(extend("e1", 30_001))).toBe("409 IDEMPOTENCY_MISMATCH");
    expect(bodyOf(extend("e2", 86_400_000)).expires_at_ms).toBe(start + 1000 + 3_600_000);
    expect(bodyOf(extend("e3", 1)).expires_at_ms).toBe(start + 1000 + 3_600_000);
    for (let count = 4; count <= 10; count += 1) bodyOf(extend(`e${count}`, 1));
    expect(verdictOf(extend("e11", 1))).toBe("409 MAX_EXTENSIONS_EXCEEDED");
    bodyOf(authority.release(id, { idempotency_key: "r" }));
    expect(bodyOf(extend("e1", 30_000)).remaining_ttl_ms).toBe(0);
  });
});

test("a store that fails at any call leaves no trace, in rows or in memory", () => {
  const clock = testClock();
  const memory = new MemoryStore();
  let callsLeft = Number.POSITIVE_INFINITY;
  const failing = new Proxy<LedgerStore>(memory, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name, target);
      if (typeof method !== "function") return method;
      return (...args: unknown[]) => {
        callsLeft -= 1;
        if (callsLeft === 0) throw new Error("disk gone");
        return Reflect.apply(method, target, args);
      };
    },
  });
  const authority = new LocalLedger({ tenant: TENANT, store: failing, now: clock.now });
  bodyOf(authority.createBudget(budget("tenant:acme", 100)));
  for (const key of ["a", "b"])
    bodyOf(authority.reserve(reserveRequest(key, 40, { ttl_ms: 1000, grace_period_ms: 0 })));
  clock.advance(1001);
  const held = () => [...memory.scanDeadlines()].map(({ id }) => id).sort();
  // Settles a and b, then reserves: the failure moves one call further each time, until none is left to fail.
  let failures = 0;
  for (; ; failures += 1) {
    const before = held();
    callsLeft = failures + 1;
    try {
      expect(verdictOf(authority.reserve(reserveRequest("c", 100)))).toBe("200");
      break;
    } catch (error) {
      expect(error).toMatchObject({ message: "disk gone" });
      expect(held()).toEqual(before);
      expect(memory.readAccounts(["tenant:acme"])[0]?.reserved).toBe(80n);
    }
  }
  callsLeft = Number.POSITIVE_INFINITY;
  expect(failures).toBeGreaterThan(10);
  expect(bodyOf(authority.balances()).balances[0]).toMatchObject({
    reserved: tokens(100n),
    remaining: tokens(0n),
  });
});

describe("idempotent reserve", () => {
  test("the first body comes back, with the time that remains today", () => {
    const { authority, clock, figures, reserve } = authorityWith(budget("tenant:acme", 100));
    const first = bodyOf(reserve("k", 50, { ttl_ms: 60_000 }));
    clock.advance(10_000);
    bodyOf(reserve("other", 20));
    expect(bodyOf(reserve("k", 50, { ttl_ms: 60_000 }))).toEqual({ ...first, remaining_ttl_ms: 50_000 });
    expect(bodyOf(reserve("k", 50, { ttl_ms: 60_000, grace_period_ms: 5000, dry_run: false }))).toMatchObject(
      {
        reservation_id: first.reservation_id,
      },
    );
    expect(figures()).toBe("100/0/70/0→30");
    bodyOf(authority.release(first.reservation_id ?? "", { idempotency_key: "r" }));
    expect(bodyOf(reserve("k", 50, { ttl_ms: 60_000 }))).toEqual({ ...first, remaining_ttl_ms: 0 });
    expect(figures()).toBe("100/0/20/0→80");
  });

  test.each<[string, Partial<ReserveInput>]>([
    ["amount", { estimate: tokens(51) }],
    ["unit", { estimate: { unit: "CREDITS", amount: 50 } }],
    ["ttl", { ttl_ms: 60_000 }],
    ["grace", { grace_period_ms: 4999 }],
    ["policy", { overage_policy: "ALLOW_IF_AVAILABLE" }],
    ["case of the subject", { subject: { tenant: "acme", agent: "B" } }],
    ["metadata", { metadata: {} }],
    ["dry run", { dry_run: true }],
  ])("another %s under the same key is a mismatch", (_, rest) => {
    const { reserve } = authorityWith(budget("tenant:acme", 100));
    const subject = { tenant: "acme", agent: "b" };
    bodyOf(reserve("k", 50, { subject }));
    expect(verdictOf(reserve("k", 50, { subject, ...rest }))).toBe("409 IDEMPOTENCY_MISMATCH");
  });

  test("the order of keys in metadata is no difference", () => {
    const { reserve } = authorityWith(budget("tenant:acme", 100));
    const first = bodyOf(reserve("k", 50, { metadata: { a: 1, b: { c: 2, d: 3 } } }));
    expect(bodyOf(reserve("k", 50, { metadata: { b: { d: 3, c: 2 }, a: 1 } }))).toEqual(first);
  });

  test("a refusal is not kept: the same key is evaluated afresh", () => {
    const { authority, reserve } = authorityWith(budget("tenant:acme", 100));
    expect(verdictOf(reserve("k", 101))).toBe("409 BUDGET_EXCEEDED");
    bodyOf(
      authority.fund(
        { scope: "tenant:acme", unit: "TOKENS" },
        { operation: "CREDIT", amount: tokens(1), idempotency_key: "f" },
      ),
    );
    expect(verdictOf(reserve("k", 101))).toBe("200");
  });

  test("is found across midnight, and new again after three days", () => {
    const { clock, reserve } = authorityWith(budget("tenant:acme", 100));
    const first = bodyOf(reserve("k", 10)).reservation_id;
    clock.advance(2 * 86_400_000);
    expect(bodyOf(reserve("k", 10)).reservation_id).toBe(first);
    clock.advance(86_400_000);
    expect(bodyOf(reserve("k", 10)).reservation_id).not.toBe(first);
  });
});

describe("a tenant that is not active", () => {
  // What a fresh operation answers; replays of earlier successes still answer, and reads stay open.
  test.each([
    ["SUSPENDED", "401 UNAUTHORIZED", "200", "401 UNAUTHORIZED", "401 UNAUTHORIZED", "400 INVALID_REQUEST"],
    [
      "CLOSED",
      "409 TENANT_CLOSED",
      "409 TENANT_CLOSED",
      "409 TENANT_CLOSED",
      "DENY TENANT_CLOSED",
      "409 TENANT_CLOSED",
    ],
  ] as const)("%s", (status, fresh, settling, extending, dry, budgeting) => {
    const store = new MemoryStore();
    const authority = new LocalLedger({ tenant: TENANT, store, now: testClock().now });
    bodyOf(authority.createBudget(budget("tenant:acme", 1000)));
    const [a, b, c] = ["a", "b", "c"].map(
      (key) => bodyOf(authority.reserve(reserveRequest(key, 10))).reservation_id ?? "",
    );
    const commit = { idempotency_key: "c", actual: tokens(5) };
    const committed = authority.commit(a ?? "", commit);
    const tenant = store.readTenant();
    if (tenant === undefined) throw new Error("the authority made no tenant");
    store.writeTenant({ ...tenant, status });

    expect(authority.commit(a ?? "", commit)).toEqual(committed);
    expect(verdictOf(authority.reserve(reserveRequest("a", 10)))).toBe("200");
    expect(verdictOf(authority.reserve(reserveRequest("d", 10)))).toBe(fresh);
    expect(verdictOf(authority.extend(b ?? "", { idempotency_key: "e", extend_by_ms: 1 }))).toBe(extending);
    expect(verdictOf(authority.commit(b ?? "", commit))).toBe(settling);
    expect(verdictOf(authority.release(c ?? "", { idempotency_key: "r" }))).toBe(settling);
    const dryRun = authority.reserve(reserveRequest("d", 10, { dry_run: true }));
    expect(dryRun.ok ? `${dryRun.body.decision} ${dryRun.body.reason_code}` : verdictOf(dryRun)).toBe(dry);
    expect(verdictOf(authority.createBudget(budget("tenant:acme/agent:x", 1)))).toBe(budgeting);
    expect(verdictOf(authority.balances())).toBe("200");
    expect(verdictOf(authority.getReservation(a ?? ""))).toBe("200");
  });
});

test.each(["FROZEN", "CLOSED"] as const)(
  "a budget that is %s takes nothing new and lets held work settle",
  (status) => {
    const store = new MemoryStore();
    const authority = new LocalLedger({ tenant: TENANT, store, now: testClock().now });
    bodyOf(authority.createBudget(budget("tenant:acme", 1000)));
    const [a, b, c] = ["a", "b", "c"].map(
      (key) => bodyOf(authority.reserve(reserveRequest(key, 10))).reservation_id ?? "",
    );
    const [account] = store.readAccounts(["tenant:acme"]);
    if (account === undefined) throw new Error("no account");
    store.rewriteAccount({ ...account, status });
    expect(verdictOf(authority.reserve(reserveRequest("d", 0)))).toBe(`409 BUDGET_${status}`);
    expect(authority.reserve(reserveRequest("dry", 0, { dry_run: true }))).toMatchObject({
      body: { decision: "DENY", reason_code: `BUDGET_${status}` },
    });
    const credit = { operation: "CREDIT" as const, amount: tokens(1), idempotency_key: "f" };
    expect(verdictOf(authority.fund({ scope: "tenant:acme", unit: "TOKENS" }, credit))).toBe(
      `409 BUDGET_${status}`,
    );
    expect(verdictOf(authority.commit(a ?? "", { idempotency_key: "c", actual: tokens(5) }))).toBe("200");
    expect(verdictOf(authority.release(b ?? "", { idempotency_key: "r" }))).toBe("200");
    expect(verdictOf(authority.extend(c ?? "", { idempotency_key: "e", extend_by_ms: 1 }))).toBe("200");
  },
);

describe("balances", () => {
  test("children are included, all given segments must be there, pages follow each other", () => {
    const { authority } = authorityWith(
      budget("tenant:acme", 1),
      budget("tenant:acme", 2, { unit: "CREDITS" }),
      budget("tenant:acme/workspace:w", 3),
      budget("tenant:acme/workspace:w/agent:a", 4),
      budget("tenant:acme/agent:a", 5),
    );
    const paths = (query: Parameters<LocalLedger["balances"]>[0]) =>
      bodyOf(authority.balances(query)).balances.map((row) => `${row.scope_path} ${row.allocated.unit}`);
    expect(paths({ tenant: "acme" })).toHaveLength(5);
    expect(paths({ workspace: "W" })).toEqual([
      "tenant:acme/workspace:w TOKENS",
      "tenant:acme/workspace:w/agent:a TOKENS",
    ]);
    expect(paths({ agent: "a", workspace: "w" })).toEqual(["tenant:acme/workspace:w/agent:a TOKENS"]);
    expect(paths({ app: "none" })).toEqual([]);

    const seen: string[] = [];
    for (let cursor: string | undefined, pages = 0; pages === 0 || cursor !== undefined; pages += 1) {
      const page = bodyOf(
        authority.balances({ tenant: "acme", limit: 2, ...(cursor !== undefined && { cursor }) }),
      );
      seen.push(...page.balances.map((row) => `${row.scope_path} ${row.allocated.unit}`));
      expect(page.has_more).toBe(page.next_cursor !== undefined);
      cursor = page.next_cursor;
    }
    expect(seen).toEqual(paths({ tenant: "acme" }));
  });

  test.each([
    [{}, "400 INVALID_REQUEST"],
    [{ tenant: "" }, "400 INVALID_REQUEST"],
    [{ tenant: "other" }, "403 FORBIDDEN"],
    [{ tenant: "acme", limit: 0 }, "400 INVALID_REQUEST"],
    [{ tenant: "acme", limit: "201" }, "400 INVALID_REQUEST"],
    [{ tenant: "acme", limit: "200" }, "200"],
    [{ tenant: "acme", cursor: "%%" }, "400 INVALID_REQUEST"],
    [{ tenant: "acme", unknown: "ignored" }, "200"],
  ])("%j: %s", (query, verdict) => {
    const { authority } = authorityWith(budget("tenant:acme", 1));
    expect(verdictOf(authority.balances(query))).toBe(verdict);
  });
});

describe("the operator's side", () => {
  test.each([
    ["CREDIT", 40, undefined, "200", "140/10/20/0→110"],
    ["DEBIT", 70, undefined, "200", "30/10/20/0→0"],
    ["DEBIT", 71, undefined, "409 BUDGET_EXCEEDED", "100/10/20/0→70"],
    ["RESET", 20, undefined, "200", "20/10/20/0→-10"],
    ["RESET_SPENT", 50, undefined, "200", "50/0/20/0→30"],
    ["RESET_SPENT", 50, 40, "200", "50/40/20/0→-10"],
    ["REPAY_DEBT", 5, undefined, "200", "105/10/20/0→75"],
  ] as const)("%s %i (spent %s)", (operation, amount, spent, verdict, after) => {
    const { authority, figures, reserveId } = authorityWith(budget("tenant:acme", 100));
    bodyOf(authority.commit(reserveId("k1", 10), { idempotency_key: "c", actual: tokens(10) }));
    reserveId("k2", 20);
    const request = {
      operation,
      amount: tokens(amount),
      idempotency_key: "f",
      ...(spent !== undefined && { spent: tokens(spent) }),
    };
    const first = authority.fund({ scope: "tenant:acme", unit: "TOKENS" }, request);
    expect(verdictOf(first)).toBe(verdict);
    expect(figures()).toBe(after);
    if (first.ok) {
      expect(authority.fund({ scope: "tenant:acme", unit: "TOKENS" }, request)).toEqual(first);
      expect(figures()).toBe(after);
    }
  });

  test("REPAY_DEBT pays what is owed and credits the rest", () => {
    const { authority, figures, reserveId } = authorityWith(
      budget("tenant:acme", 60, { overdraft_limit: tokens(40) }),
    );
    const id = reserveId("k", 50, { overage_policy: "ALLOW_WITH_OVERDRAFT" });
    bodyOf(authority.commit(id, { idempotency_key: "c", actual: tokens(90) }));
    expect(figures()).toBe("60/60/0/30→-30");
    const body = bodyOf(
      authority.fund(
        { scope: "tenant:acme", unit: "TOKENS" },
        { operation: "REPAY_DEBT", amount: tokens(35), idempotency_key: "f" },
      ),
    );
    expect(body).toMatchObject({
      previous_debt: tokens(30n),
      new_debt: tokens(0n),
      new_remaining: tokens(5n),
    });
    expect(figures()).toBe("65/60/0/0→5");
  });

  test("a funding key belongs to its budget, and to one request", () => {
    const { authority, figures } = authorityWith(budget("tenant:acme", 1), budget("tenant:acme/agent:a", 1));
    const credit = { operation: "CREDIT" as const, amount: tokens(1), idempotency_key: "f" };
    bodyOf(authority.fund({ scope: "tenant:acme", unit: "TOKENS" }, credit));
    bodyOf(authority.fund({ scope: "tenant:ACME/agent:A", unit: "TOKENS" }, credit));
    expect(
      verdictOf(authority.fund({ scope: "tenant:acme", unit: "TOKENS" }, { ...credit, amount: tokens(2) })),
    ).toBe("409 IDEMPOTENCY_MISMATCH");
    expect([figures(), figures("tenant:acme/agent:a")]).toEqual(["2/0/0/0→2", "2/0/0/0→2"]);
  });

  test.each<[string, BudgetInput, string]>([
    ["the same scope and unit in another case", budget("tenant:ACME", 1), "409 DUPLICATE_RESOURCE"],
    ["another tenant's scope", budget("tenant:other", 1), "403 FORBIDDEN"],
    ["a scope out of order", budget("tenant:acme/agent:a/workspace:w", 1), "400 INVALID_REQUEST"],
    [
      "an amount in another unit",
      { ...budget("tenant:acme/agent:a", 1), unit: "CREDITS" },
      "400 UNIT_MISMATCH",
    ],
    [
      "another tenant's id",
      { ...budget("tenant:acme/agent:a", 1), tenant_id: "other" },
      "400 INVALID_REQUEST",
    ],
    ["a new unit", budget("tenant:acme", 1, { unit: "CREDITS" }), "201"],
  ])("a budget for %s", (_, request, verdict) => {
    const { authority } = authorityWith(budget("tenant:acme", 1));
    expect(verdictOf(authority.createBudget(request))).toBe(verdict);
  });

  test("figures beyond int64 are refused, not wrapped", () => {
    const { authority, figures } = authorityWith(budget("tenant:acme", INT64_MAX));
    const credit = { operation: "CREDIT" as const, amount: tokens(1), idempotency_key: "f" };
    expect(verdictOf(authority.fund({ scope: "tenant:acme", unit: "TOKENS" }, credit))).toBe(
      "400 INVALID_REQUEST",
    );
    expect(figures()).toBe(`${INT64_MAX}/0/0/0→${INT64_MAX}`);
  });

  test("a budget that is not there", () => {
    const { authority } = authorityWith();
    const credit = { operation: "CREDIT" as const, amount: tokens(1), idempotency_key: "f" };
    expect(verdictOf(authority.fund({ scope: "tenant:acme", unit: "TOKENS" }, credit))).toBe(
      "404 BUDGET_NOT_FOUND",
    );
  });

  test.each(["", "ab", "Acme", "a_b", "a".repeat(65)])("a tenant cannot be called %j", (tenant) => {
    expect(() => new LocalLedger({ tenant, now: () => 0 })).toThrow(TypeError);
  });
});
