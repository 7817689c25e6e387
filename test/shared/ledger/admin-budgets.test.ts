// Budgets on the governance plane: found, listed, changed, frozen. A refused change leaves the budget as it was.

import { INT64_MAX } from "purser/ledger";
import { describe, expect, test } from "vitest";
import {
  bodyOf,
  budget,
  eventRequest,
  openLedger,
  reserveRequest,
  TENANT,
  tokens,
  verdictOf,
} from "../../support/ledger-fixtures.ts";

const NAME = { scope: "tenant:acme", unit: "TOKENS" };

function setUp() {
  const { clock, store, ledger, turn } = openLedger(100);
  const makeKey = (keyId: string, rest: object) => {
    const minted = { keyId, digest: `digest of ${keyId}`, prefix: "p" };
    bodyOf(ledger.createApiKey({ tenant_id: TENANT, name: "k", ...rest }, minted, turn()));
    return { ...turn(), caller: { keyId, digest: minted.digest } };
  };
  const account = () => store.readAccounts(["tenant:acme"], "TOKENS")[0];
  return { clock, store, ledger, turn, makeKey, account };
}

describe("a budget's settings", () => {
  test("an overdraft limit set later lets a commit go into debt, and lowered below it blocks reserves", () => {
    const { ledger, turn, account } = setUp();
    const overdraft = (amount: bigint | number) =>
      ledger.updateBudget(NAME, { overdraft_limit: tokens(amount) }, turn());
    const spend = (key: string, estimate: number, actual: number) => {
      const ask = reserveRequest(key, estimate, { overage_policy: "ALLOW_WITH_OVERDRAFT" });
      const id = bodyOf(ledger.reserve(ask, turn())).reservation_id ?? "";
      return ledger.commit(id, { idempotency_key: "c", actual: tokens(actual) }, turn());
    };
    expect(bodyOf(overdraft(50))).toMatchObject({ overdraft_limit: tokens(50n), is_over_limit: false });
    expect(verdictOf(spend("a", 100, 140))).toBe("200");
    expect(account()).toMatchObject({ spent: 100n, debt: 40n });
    expect(bodyOf(overdraft(30))).toMatchObject({ debt: tokens(40n), is_over_limit: true });
    expect(verdictOf(ledger.reserve(reserveRequest("b", 0), turn()))).toBe("409 OVERDRAFT_LIMIT_EXCEEDED");
    expect(bodyOf(overdraft(INT64_MAX))).toMatchObject({ is_over_limit: false });
    expect(bodyOf(overdraft(0))).toMatchObject({ is_over_limit: false });
    expect(verdictOf(ledger.reserve(reserveRequest("b", 0), turn()))).toBe("409 DEBT_OUTSTANDING");
  });

  test("the mark of a capped charge goes with a new limit, not with other changes", () => {
    const { ledger, turn, account } = setUp();
    const id = bodyOf(ledger.reserve(reserveRequest("a", 100), turn())).reservation_id ?? "";
    bodyOf(ledger.commit(id, { idempotency_key: "c", actual: tokens(120) }, turn()));
    expect(account()?.overLimitMark).toBe(true);
    bodyOf(ledger.updateBudget(NAME, { metadata: { a: 1 } }, turn()));
    expect(account()?.overLimitMark).toBe(true);
    bodyOf(ledger.updateBudget(NAME, { overdraft_limit: tokens(0) }, turn()));
    expect(account()?.overLimitMark).toBe(false);
  });

  test("a commit overage policy set later is the reservations' default; what is left out stays", () => {
    const { ledger, turn, account } = setUp();
    bodyOf(ledger.updateBudget(NAME, { commit_overage_policy: "REJECT", metadata: { a: 1 } }, turn()));
    const id = bodyOf(ledger.reserve(reserveRequest("a", 10), turn())).reservation_id ?? "";
    const commit = ledger.commit(id, { idempotency_key: "c", actual: tokens(11) }, turn());
    expect(verdictOf(commit)).toBe("409 BUDGET_EXCEEDED");
    bodyOf(ledger.updateBudget(NAME, {}, turn()));
    expect(account()).toMatchObject({ commitOveragePolicy: "REJECT", settings: { metadata: { a: 1 } } });
  });

  test.each([
    [NAME, { overdraft_limit: { unit: "CREDITS", amount: 1 } }, "400 UNIT_MISMATCH"],
    [NAME, { overdraft_limit: tokens(-1) }, "400 INVALID_REQUEST"],
    [NAME, { overdraft_limit: 5 }, "400 INVALID_REQUEST"],
    [NAME, { allocated: tokens(1) }, "400 INVALID_REQUEST"],
    [NAME, { status: "CLOSED" }, "400 INVALID_REQUEST"],
    [{ scope: "tenant:acme", unit: "CREDITS" }, {}, "404 BUDGET_NOT_FOUND"],
    [{ scope: "tenant:acme/agent:a", unit: "TOKENS" }, {}, "404 BUDGET_NOT_FOUND"],
    [{ scope: "tenant:other", unit: "TOKENS" }, {}, "403 FORBIDDEN"],
    [{ scope: "acme", unit: "TOKENS" }, {}, "400 INVALID_REQUEST"],
    [{ scope: "tenant:acme" }, {}, "400 INVALID_REQUEST"],
  ])("%j %j is %s, and nothing changes", (name, request, verdict) => {
    const { ledger, turn, store } = setUp();
    const before = [...store.scanAccounts(), ...store.scanAudit()];
    expect(verdictOf(ledger.updateBudget(name, request, turn()))).toBe(verdict);
    expect([...store.scanAccounts(), ...store.scanAudit()]).toEqual(before);
  });
});

describe("a frozen budget", () => {
  test("takes nothing new and is not funded; what is held is settled; its settings can be changed", () => {
    const { ledger, turn } = setUp();
    const hold = (key: string) =>
      bodyOf(ledger.reserve(reserveRequest(key, 10), turn())).reservation_id ?? "";
    const [a, b, c] = [hold("a"), hold("b"), hold("c")];
    expect(bodyOf(ledger.freezeBudget(NAME, { reason: "incident" }, turn()))).toMatchObject({
      status: "FROZEN",
    });
    const fund = { operation: "CREDIT", amount: tokens(1), idempotency_key: "f" };
    expect([
      verdictOf(ledger.reserve(reserveRequest("d", 1), turn())),
      verdictOf(ledger.event(eventRequest("e", 1), turn())),
      verdictOf(ledger.fund(NAME, fund, turn())),
      verdictOf(ledger.freezeBudget(NAME, {}, turn())),
      verdictOf(ledger.extend(c, { idempotency_key: "x", extend_by_ms: 1000 }, turn())),
      verdictOf(ledger.commit(a, { idempotency_key: "c", actual: tokens(10) }, turn())),
      verdictOf(ledger.release(b, { idempotency_key: "r" }, turn())),
      verdictOf(ledger.updateBudget(NAME, { overdraft_limit: tokens(5) }, turn())),
    ]).toEqual([
      "409 BUDGET_FROZEN",
      "409 BUDGET_FROZEN",
      "409 BUDGET_FROZEN",
      "409 BUDGET_FROZEN",
      "200",
      "200",
      "200",
      "200",
    ]);
    expect(bodyOf(ledger.unfreezeBudget(NAME, {}, turn()))).toMatchObject({ status: "ACTIVE" });
    expect(verdictOf(ledger.unfreezeBudget(NAME, {}, turn()))).toBe("409 INVALID_REQUEST");
    expect(verdictOf(ledger.reserve(reserveRequest("d", 1), turn()))).toBe("200");
    expect(verdictOf(ledger.fund(NAME, fund, turn()))).toBe("200");
  });

  test.each([{ why: "x" }, { reason: "x".repeat(513) }, { reason: 1 }, null])("%j is refused", (request) => {
    const { ledger, turn, account } = setUp();
    expect(verdictOf(ledger.freezeBudget(NAME, request, turn()))).toBe("400 INVALID_REQUEST");
    expect(account()?.status).toBe("ACTIVE");
  });
});

describe("budgets are found", () => {
  function withMany() {
    const world = setUp();
    const { ledger, turn, clock } = world;
    const make = (scope: string, allocated: number, rest = {}) =>
      bodyOf(ledger.createBudget(budget(scope, allocated, rest), turn()));
    make("tenant:acme", 50, { unit: "CREDITS" });
    make("tenant:acme/workspace:eng", 0);
    make("tenant:acme/workspace:eng/agent:a", 40);
    make("tenant:acme/workspace:ops", 30, { overdraft_limit: tokens(10) });
    const spent = {
      subject: { tenant: TENANT, workspace: "ops" },
      overage_policy: "ALLOW_WITH_OVERDRAFT",
    } as const;
    bodyOf(ledger.event({ ...eventRequest("e", 35), ...spent }, turn()));
    bodyOf(ledger.reserve(reserveRequest("due", 20, { ttl_ms: 1000 }), turn()));
    bodyOf(ledger.freezeBudget({ scope: "tenant:acme/workspace:eng/agent:a", unit: "TOKENS" }, {}, turn()));
    clock.advance(10_000);
    return world;
  }

  test("by exact scope and unit, with what has expired given back", () => {
    const { ledger, turn } = withMany();
    const found = bodyOf(ledger.lookupBudget({ scope: "tenant:ACME", unit: "TOKENS" }, turn()));
    expect(found).toMatchObject({
      scope: "tenant:acme",
      reserved: tokens(0n),
      spent: tokens(35n),
      status: "ACTIVE",
    });
    expect(found).not.toHaveProperty("metadata");
    expect(verdictOf(ledger.lookupBudget({ scope: "tenant:acme/app:x", unit: "TOKENS" }, turn()))).toBe(
      "404 BUDGET_NOT_FOUND",
    );
  });

  test.each([
    [{}, ["C", "T", "eng", "eng/a", "ops"]],
    [{ unit: "CREDITS" }, ["C"]],
    [{ scope_prefix: "tenant:acme/workspace:ENG" }, ["eng", "eng/a"]],
    [{ status: "FROZEN" }, ["eng/a"]],
    [{ has_debt: "true" }, ["ops"]],
    [{ has_debt: "false", unit: "TOKENS" }, ["T", "eng", "eng/a"]],
    [{ over_limit: "true" }, []],
    [{ over_limit: "false", unit: "CREDITS" }, ["C"]],
    [{ utilization_min: "0.35", utilization_max: "0.99" }, ["T"]],
    [{ utilization_min: "1" }, ["ops"]],
    [{ utilization_max: "0" }, ["C", "eng", "eng/a"]],
    [{ search: "OPS" }, ["ops"]],
    [{ search: "", status: "", unknown: "1", sort_by: "utilization" }, ["C", "T", "eng", "eng/a", "ops"]],
  ])("by filters: %j", (query, expected) => {
    const { ledger, turn } = withMany();
    const names = bodyOf(ledger.listBudgets(query, turn())).ledgers.map(
      ({ scope, unit }) =>
        scope.replace("tenant:acme", "").replace("/workspace:", "").replace("agent:", "") || unit.charAt(0),
    );
    expect(names).toEqual(expected);
  });

  test.each([
    { status: "OPEN" },
    { unit: "EUR" },
    { has_debt: "yes" },
    { utilization_min: "2" },
    { utilization_min: "x" },
    { utilization_min: "0.6", utilization_max: "0.5" },
    { search: "x".repeat(129) },
    { limit: "0" },
    { limit: "101" },
    { limit: "1e1" },
    { cursor: "x" },
    { cursor: "🙂" },
  ])("%j is 400", (query) => {
    const { ledger, turn } = withMany();
    expect(verdictOf(ledger.listBudgets(query, turn()))).toBe("400 INVALID_REQUEST");
  });

  test.each([1, 2, 3, 5])("in pages of %i, each once, and a cursor is bound to its filters", (limit) => {
    const { ledger, turn } = withMany();
    const names: string[] = [];
    let cursor: string | undefined;
    do {
      const page = bodyOf(ledger.listBudgets({ limit, ...(cursor !== undefined && { cursor }) }, turn()));
      names.push(...page.ledgers.map(({ scope, unit }) => `${scope} ${unit}`));
      expect(page.has_more).toBe(page.next_cursor !== undefined);
      cursor = page.next_cursor;
      if (cursor !== undefined) {
        expect(verdictOf(ledger.listBudgets({ cursor, limit: 100 }, turn()))).toBe("200");
        expect(verdictOf(ledger.listBudgets({ cursor, unit: "TOKENS" }, turn()))).toBe("400 INVALID_REQUEST");
      }
    } while (cursor !== undefined);
    expect(names).toEqual([...new Set(names)].sort());
    expect(names.length).toBe(5);
  });

  test("by a tenant's key within its permissions and its scope filter", () => {
    const { ledger, makeKey } = withMany();
    const narrow = makeKey("000000000001", {
      scope_filter: ["workspace:eng"],
      permissions: ["budgets:read"],
    });
    const scopes = bodyOf(ledger.listBudgets({}, narrow)).ledgers.map(({ scope }) => scope);
    expect(scopes).toEqual(["tenant:acme/workspace:eng", "tenant:acme/workspace:eng/agent:a"]);
    expect(verdictOf(ledger.lookupBudget({ scope: "tenant:acme", unit: "TOKENS" }, narrow))).toBe(
      "403 FORBIDDEN",
    );
    const agent = makeKey("000000000002", { permissions: ["reservations:create"] });
    expect(verdictOf(ledger.listBudgets({}, agent))).toBe("403 INSUFFICIENT_PERMISSIONS");
    expect(verdictOf(ledger.lookupBudget(NAME, agent))).toBe("403 INSUFFICIENT_PERMISSIONS");
    const reader = makeKey("000000000003", { permissions: ["admin:read"] });
    expect(verdictOf(ledger.lookupBudget(NAME, reader))).toBe("200");
  });
});
