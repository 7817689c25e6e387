// The audit log: one row per change, in the change's own transaction, none without one; who acted; what it can be asked.

import {
  type Caller,
  type CallSource,
  Ledger,
  LocalLedger,
  MemoryStore,
  type TenantLimits,
} from "purser/ledger";
import { describe, expect, test } from "vitest";
import { MS_PER_DAY } from "../../../src/ledger/limits.ts";
import {
  bodyOf,
  budget,
  reserveRequest,
  TENANT,
  testClock,
  tokens,
  verdictOf,
} from "../../support/ledger-fixtures.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const NAME = { scope: "tenant:acme", unit: "TOKENS" };

function setUp(limits: Partial<TenantLimits> = {}) {
  const clock = testClock();
  const store = new MemoryStore();
  const ledger = new Ledger({ tenant: TENANT, store, secrets: ["s"], limits });
  let calls = 0;
  /** A call as the front hands it over: by an operator, or by a key. */
  const via = (caller?: Caller) => {
    calls += 1;
    const operator = caller === undefined;
    const source: CallSource = { requestId: `req_${calls}`, traceId: TRACE, operator, userAgent: "test" };
    return { nowMs: clock.now(), caller, source };
  };
  const inside = () => ({ nowMs: clock.now() });
  const logs = (query: object = {}) => bodyOf(ledger.listAudit(query, inside())).logs;
  return { clock, store, ledger, via, inside, logs };
}

/** A tenant with a budget and a key, and the key's caller. */
function setUpTenant(limits: Partial<TenantLimits> = {}) {
  const world = setUp(limits);
  const { ledger, via } = world;
  bodyOf(ledger.createTenant({ tenant_id: TENANT, name: "Acme" }, via()));
  bodyOf(ledger.createBudget(budget("tenant:acme", 100), via()));
  const caller = { keyId: "0123456789ab", digest: "d" };
  bodyOf(ledger.createApiKey({ tenant_id: TENANT, name: "k" }, { ...caller, prefix: "p" }, via()));
  const hold = (key: string) =>
    bodyOf(ledger.reserve(reserveRequest(key, 10), via(caller))).reservation_id ?? "";
  return { ...world, caller, hold };
}

const CREDIT = { operation: "CREDIT", amount: tokens(5), idempotency_key: "f", reason: "top-up" } as const;

describe("who did what", () => {
  test("is one row for each change, with the request that asked for it", () => {
    const { ledger, via, caller, hold, logs } = setUpTenant();
    const id = hold("a");
    bodyOf(ledger.fund(NAME, CREDIT, via()));
    bodyOf(ledger.fund(NAME, { ...CREDIT, idempotency_key: "g" }, via(caller)));
    bodyOf(ledger.updateBudget(NAME, { overdraft_limit: tokens(5), metadata: { secret: "s" } }, via()));
    bodyOf(ledger.freezeBudget(NAME, { reason: "incident" }, via()));
    bodyOf(ledger.unfreezeBudget(NAME, {}, via()));
    bodyOf(ledger.updateApiKey(caller.keyId, { name: "new" }, via()));
    bodyOf(ledger.changeApiKeySettings(caller.keyId, { remaining_ttl_ms: false }, via()));
    bodyOf(ledger.updateTenant({ status: "SUSPENDED" }, via()));
    bodyOf(ledger.updateTenant({ status: "ACTIVE" }, via()));
    bodyOf(ledger.release(id, { idempotency_key: "r", reason: "[INCIDENT]" }, via()));
    bodyOf(ledger.revokeApiKey(caller.keyId, { reason: "lost" }, via()));
    const rows = logs({ limit: 100 }).toReversed();
    expect(rows.map((row) => [row.operation, row.actor_type, row.resource_type, row.status])).toEqual([
      ["createTenant", "admin", "tenant", 201],
      ["createBudget", "admin_on_behalf_of", "budget", 201],
      ["createApiKey", "admin", "api_key", 201],
      ["fundBudget", "admin_on_behalf_of", "budget", 200],
      ["fundBudget", "api_key", "budget", 200],
      ["updateBudget", "admin", "budget", 200],
      ["freezeBudget", "admin", "budget", 200],
      ["unfreezeBudget", "admin", "budget", 200],
      ["updateApiKey", "admin", "api_key", 200],
      ["updateApiKeySettings", "admin", "api_key", 200],
      ["updateTenant", "admin", "tenant", 200],
      ["updateTenant", "admin", "tenant", 200],
      ["releaseReservation", "admin_on_behalf_of", "reservation", 200],
      ["revokeApiKey", "admin", "api_key", 200],
    ]);
    expect(new Set(rows.map(({ log_id }) => log_id)).size).toBe(rows.length);
    expect(rows[3]).toEqual({
      log_id: "log_acme_4",
      timestamp: expect.stringMatching(/Z$/),
      tenant_id: TENANT,
      actor_type: "admin_on_behalf_of",
      user_agent: "test",
      operation: "fundBudget",
      resource_type: "budget",
      resource_id: expect.stringMatching(/^ldg_/),
      request_id: "req_5",
      trace_id: TRACE,
      status: 200,
      amount: tokens(5n),
      metadata: { ...NAME, operation: "CREDIT", idempotency_key: "f", reason: "top-up" },
    });
    expect(rows[4]?.key_id).toBe(`acme_${caller.keyId}`);
    expect(rows[12]).toMatchObject({
      resource_id: id,
      subject: { tenant: TENANT },
      action: { kind: "llm.completion" },
      amount: tokens(10n),
      metadata: { reason: "[INCIDENT]" },
    });
    // Metadata is the tenant's own and of any length; the log says only that it changed.
    expect(
      JSON.stringify(rows, (_, value) => (typeof value === "bigint" ? String(value) : value)),
    ).not.toContain("secret");
  });

  test("a call from inside, without a request, is the system's", () => {
    const { ledger, inside, logs } = setUpTenant();
    bodyOf(ledger.fund(NAME, CREDIT, inside()));
    const [row] = logs();
    expect(row?.actor_type).toBe("system");
    expect(row).not.toHaveProperty("request_id");
  });
});

test("nothing is written for what changed nothing: refusals, replays, retries, reads, a tenant's own release", () => {
  const { ledger, store, via, caller, hold } = setUpTenant();
  const [mine, operators] = [hold("a"), hold("b")];
  bodyOf(ledger.fund(NAME, CREDIT, via()));
  const release = { idempotency_key: "r" };
  bodyOf(ledger.release(operators, release, via()));
  const before = [...store.scanAudit()].length;
  expect([
    verdictOf(ledger.fund(NAME, CREDIT, via())),
    verdictOf(ledger.release(operators, release, via())),
    verdictOf(ledger.release(mine, release, via(caller))),
    verdictOf(ledger.createTenant({ tenant_id: TENANT, name: "x" }, via())),
    verdictOf(ledger.listBudgets({}, via())),
    verdictOf(ledger.getTenant(via())),
  ]).toEqual(["200", "200", "200", "200", "200", "200"]);
  expect([
    verdictOf(ledger.fund(NAME, { ...CREDIT, amount: tokens(6) }, via())),
    verdictOf(ledger.createBudget(budget("tenant:acme", 1), via())),
    verdictOf(ledger.release(operators, { idempotency_key: "r2" }, via())),
    verdictOf(ledger.unfreezeBudget(NAME, {}, via())),
    verdictOf(ledger.updateTenant({ name: "" }, via())),
  ]).toEqual([
    "409 IDEMPOTENCY_MISMATCH",
    "409 DUPLICATE_RESOURCE",
    "409 RESERVATION_FINALIZED",
    "409 INVALID_REQUEST",
    "400 INVALID_REQUEST",
  ]);
  expect([...store.scanAudit()].length).toBe(before);
});

test("a row and its change stand or fall together", () => {
  const { ledger, store, via, hold } = setUpTenant();
  const id = hold("a");
  const changes = [
    () => ledger.fund(NAME, CREDIT, via()),
    () => ledger.freezeBudget(NAME, {}, via()),
    () => ledger.release(id, { idempotency_key: "r" }, via()),
    () => ledger.updateTenant({ status: "CLOSED" }, via()),
  ];
  const figures = () => [
    store.readTenant(),
    ...store.scanAccounts(),
    ...store.scanDeadlines(),
    ...store.scanAudit(),
  ];
  const before = figures();
  const { insertAudit } = store;
  store.insertAudit = () => {
    throw new Error("disk full");
  };
  for (const change of changes) expect(change).toThrow("disk full");
  expect(figures()).toEqual(before);
  store.insertAudit = insertAudit;
  for (const change of changes) expect(verdictOf(change())).toMatch(/^200|409 BUDGET_FROZEN/);
});

describe("the log is asked", () => {
  function withRows() {
    const world = setUpTenant();
    const { ledger, via, caller, clock } = world;
    for (const n of [1, 2, 3]) {
      clock.advance(1000);
      bodyOf(ledger.fund(NAME, { ...CREDIT, idempotency_key: `f${n}` }, via(n === 2 ? caller : undefined)));
    }
    return world;
  }

  test.each([
    [{}, 6],
    [{ operation: "fundBudget" }, 3],
    [{ operation: "createTenant,createApiKey,none" }, 2],
    [{ resource_type: "budget" }, 4],
    [{ resource_type: "tenant,api_key" }, 2],
    [{ resource_id: "acme" }, 1],
    [{ key_id: "acme_0123456789ab" }, 1],
    [{ status: "201" }, 3],
    [{ status_min: "201", status_max: "299" }, 3],
    [{ status_max: "200" }, 3],
    [{ error_code: "BUDGET_EXCEEDED" }, 0],
    [{ error_code_exclude: "BUDGET_EXCEEDED" }, 6],
    [{ trace_id: TRACE }, 6],
    [{ trace_id: "1".repeat(32) }, 0],
    [{ request_id: "req_2" }, 1],
    [{ search: "FUND" }, 3],
    [{ search: "log_acme_1" }, 1],
    [{ operation: "fundBudget", key_id: "acme_0123456789ab" }, 1],
    [{ operation: "", search: "", from: "", sort_by: "status", unknown: "1" }, 6],
  ])("%j: %i rows", (query, count) => {
    expect(withRows().logs(query).length).toBe(count);
  });

  test("between two moments, both included", () => {
    const { clock, logs } = withRows();
    const at = (ms: number) => new Date(clock.now() + ms).toISOString();
    expect(logs({ from: at(-1000) }).length).toBe(2);
    expect(logs({ from: at(-1000), to: at(-1000) }).length).toBe(1);
    expect(logs({ to: at(-3000) }).length).toBe(3);
  });

  test.each([
    { status: "200", status_min: "100" },
    { status: "99" },
    { status_min: "600" },
    { status_min: "300", status_max: "200" },
    { from: "2030-01-02T00:00:00Z", to: "2030-01-01T00:00:00Z" },
    { from: "yesterday" },
    { operation: Array.from({ length: 26 }, (_, n) => `o${n}`).join(",") },
    { search: "x".repeat(129) },
    { limit: "101" },
    { cursor: "AAAA" },
  ])("%j is 400", (query) => {
    const { ledger, inside } = withRows();
    expect(verdictOf(ledger.listAudit(query, inside()))).toBe("400 INVALID_REQUEST");
  });

  test("newest first, page by page, while rows are added", () => {
    const { ledger, inside, via } = withRows();
    const seen: string[] = [];
    let cursor: string | undefined;
    for (let page = 0; page === 0 || cursor !== undefined; page += 1) {
      const body = bodyOf(ledger.listAudit({ limit: "2", cursor }, inside()));
      seen.push(...body.logs.map(({ log_id }) => log_id));
      cursor = body.next_cursor;
      if (page === 0) bodyOf(ledger.fund(NAME, { ...CREDIT, idempotency_key: "later" }, via()));
    }
    expect(seen).toEqual([6, 5, 4, 3, 2, 1].map((seq) => `log_acme_${seq}`));
  });

  test("a call looks at so many rows and leaves the rest to the next", () => {
    const { ledger, inside } = setUpTenant({ auditRowsPerCall: 2 });
    const first = bodyOf(ledger.listAudit({ operation: "createTenant" }, inside()));
    expect([first.logs.length, first.has_more]).toEqual([0, true]);
    const cursor = first.next_cursor;
    const second = bodyOf(ledger.listAudit({ operation: "createTenant", cursor }, inside()));
    expect([second.logs.length, second.has_more]).toEqual([1, false]);
  });
});

describe("the log is kept", () => {
  test("for a year, then pruned with the next change or sweep", () => {
    const { clock, ledger, via, inside, logs } = setUpTenant();
    clock.advance(365 * MS_PER_DAY);
    ledger.sweep(inside());
    expect(logs().length).toBe(3);
    clock.advance(MS_PER_DAY);
    bodyOf(ledger.fund(NAME, CREDIT, via()));
    expect(logs().map(({ log_id }) => log_id)).toEqual(["log_acme_4"]);
    clock.advance(366 * MS_PER_DAY);
    ledger.sweep(inside());
    // The newest stays, so that no number is given twice.
    expect(logs().length).toBe(1);
  });

  test("up to so many rows, the oldest going first", () => {
    const { ledger, via, logs } = setUpTenant({ auditRowsMax: 3 });
    for (const n of [4, 5, 6]) {
      bodyOf(ledger.fund(NAME, { ...CREDIT, idempotency_key: `f${n}` }, via()));
      expect(logs().map(({ log_id }) => log_id)).toEqual([n, n - 1, n - 2].map((seq) => `log_acme_${seq}`));
    }
  });
});

test("an authority in this process changes budgets and keeps a log of it, too", () => {
  const authority = new LocalLedger({ tenant: TENANT, now: testClock().now });
  const name = { scope: "tenant:acme", unit: "TOKENS" } as const;
  bodyOf(authority.createBudget(budget("tenant:acme", 100)));
  bodyOf(authority.updateBudget(name, { overdraft_limit: tokens(7) }));
  bodyOf(authority.freezeBudget(name));
  expect(verdictOf(authority.reserve(reserveRequest("k", 1)))).toBe("409 BUDGET_FROZEN");
  bodyOf(authority.unfreezeBudget(name));
  expect(bodyOf(authority.lookupBudget(name))).toMatchObject({
    status: "ACTIVE",
    overdraft_limit: tokens(7n),
  });
  const { logs } = bodyOf(authority.listAudit());
  expect(logs.map(({ operation, actor_type }) => [operation, actor_type])).toEqual([
    ["unfreezeBudget", "system"],
    ["freezeBudget", "system"],
    ["updateBudget", "system"],
    ["createBudget", "system"],
    ["createTenant", "system"],
  ]);
});
