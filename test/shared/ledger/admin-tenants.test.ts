// Tenants on the governance plane: read, changed, suspended, closed. The closing is judged by what is left open: nothing.

import { Ledger, MemoryStore } from "purser/ledger";
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

const KEY = { keyId: "0123456789ab", digest: "d", prefix: "p" };

function setUp() {
  const { clock, store, ledger, turn } = openLedger(1000);
  bodyOf(ledger.createApiKey({ tenant_id: TENANT, name: "k" }, KEY, turn()));
  const reserve = (key: string, amount: number, rest = {}) =>
    ledger.reserve(reserveRequest(key, amount, rest), turn());
  const hold = (key: string, amount: number, rest = {}) =>
    bodyOf(reserve(key, amount, rest)).reservation_id ?? "";
  const patch = (request: unknown) => ledger.updateTenant(request, turn());
  return { clock, store, ledger, turn, reserve, hold, patch };
}

describe("a tenant's settings", () => {
  test("are changed where given, count a revision, and are shown", () => {
    const { clock, store, ledger, turn, patch } = setUp();
    clock.advance(1000);
    const changed = patch({
      name: "New",
      metadata: { plan: "pro" },
      default_commit_overage_policy: "REJECT",
      default_reservation_ttl_ms: 5000,
      max_reservation_ttl_ms: 10_000,
      max_reservation_extensions: 2,
    });
    const body = bodyOf(changed);
    expect(body).toMatchObject({
      tenant_id: TENANT,
      name: "New",
      status: "ACTIVE",
      metadata: { plan: "pro" },
      default_commit_overage_policy: "REJECT",
      default_reservation_ttl_ms: 5000,
      max_reservation_ttl_ms: 10_000,
      max_reservation_extensions: 2,
    });
    expect(Date.parse(body.updated_at) - Date.parse(body.created_at)).toBe(1000);
    expect(bodyOf(ledger.getTenant(turn()))).toEqual(body);
    expect(store.readTenant()?.revision).toBe(2);
    // What is left out stays.
    expect(bodyOf(patch({ name: "Newer" }))).toMatchObject({ ...body, name: "Newer" });
    expect(store.readTenant()?.revision).toBe(3);
  });

  test.each([
    [{ tenant_id: "other" }, "tenant_id is not a known field"],
    [{ parent_tenant_id: "other" }, "parent_tenant_id is not a known field"],
    [{ reservation_expiry_policy: "GRACE_ONLY" }, "reservation_expiry_policy is not a known field"],
    [{ name: " " }, "name must not be blank"],
    [{ status: "GONE" }, "status must be ACTIVE, SUSPENDED or CLOSED"],
    [{ default_reservation_ttl_ms: 3_600_001 }, "default_reservation_ttl_ms must be at most 3600000"],
    [{ max_reservation_ttl_ms: 59_999 }, "default_reservation_ttl_ms must be at most 59999"],
    [[], "request must be a JSON object"],
  ])("%j is refused and changes nothing", (request, message) => {
    const { store, patch } = setUp();
    const before = store.readTenant();
    expect(patch(request)).toMatchObject({ status: 400, message: expect.stringContaining(message) });
    expect(store.readTenant()).toEqual(before);
  });

  test("of a tenant that does not exist are nobody's", () => {
    const ledger = new Ledger({ tenant: "ghost", store: new MemoryStore(), secrets: ["s"] });
    expect(verdictOf(ledger.getTenant({ nowMs: 1 }))).toBe("404 NOT_FOUND");
    expect(verdictOf(ledger.updateTenant({ name: "x" }, { nowMs: 1 }))).toBe("404 NOT_FOUND");
  });
});

test("a suspended tenant settles what it holds and takes nothing new, until it is active again", () => {
  const { clock, ledger, turn, reserve, hold, patch } = setUp();
  const [a, b, c] = [hold("a", 10), hold("b", 10), hold("c", 10)];
  clock.advance(5);
  const suspended = bodyOf(patch({ status: "SUSPENDED" }));
  expect(Date.parse(suspended.suspended_at ?? "")).toBe(clock.now());
  clock.advance(5);
  expect(bodyOf(patch({ status: "SUSPENDED" })).suspended_at).toBe(suspended.suspended_at);
  expect([
    verdictOf(reserve("new", 1)),
    verdictOf(ledger.extend(c, { idempotency_key: "e", extend_by_ms: 1000 }, turn())),
    verdictOf(ledger.event(eventRequest("ev", 1), turn())),
    verdictOf(ledger.commit(a, { idempotency_key: "s", actual: tokens(3) }, turn())),
    verdictOf(ledger.release(b, { idempotency_key: "s" }, turn())),
    verdictOf(ledger.balances({ tenant: TENANT }, turn())),
    verdictOf(ledger.createBudget(budget("tenant:acme/agent:x", 1), turn())),
  ]).toEqual([
    "401 UNAUTHORIZED",
    "401 UNAUTHORIZED",
    "401 UNAUTHORIZED",
    "200",
    "200",
    "200",
    "400 INVALID_REQUEST",
  ]);
  expect(bodyOf(patch({ status: "ACTIVE" }))).not.toHaveProperty("suspended_at");
  expect(verdictOf(reserve("new", 1))).toBe("200");
});

describe("closing a tenant", () => {
  function closed() {
    const world = setUp();
    const { clock, ledger, turn, hold, patch } = world;
    bodyOf(ledger.createBudget(budget("tenant:acme/agent:a", 500), turn()));
    bodyOf(ledger.createBudget(budget("tenant:acme", 7, { unit: "CREDITS" }), turn()));
    bodyOf(ledger.freezeBudget({ scope: "tenant:acme", unit: "CREDITS" }, {}, turn()));
    bodyOf(
      ledger.createApiKey({ tenant_id: TENANT, name: "old" }, { ...KEY, keyId: "00000000000f" }, turn()),
    );
    bodyOf(ledger.revokeApiKey("00000000000f", {}, turn()));
    const due = hold("due", 5, { ttl_ms: 1000 });
    const committed = hold("committed", 20);
    const settle = { idempotency_key: "c", actual: tokens(20) };
    const answer = ledger.commit(committed, settle, turn());
    clock.advance(10_000);
    const deep = hold("deep", 30, { subject: { tenant: TENANT, agent: "a" } });
    const flat = hold("flat", 40);
    const tenant = bodyOf(patch({ status: "CLOSED" }));
    return { ...world, tenant, ids: { due, committed, deep, flat }, settle, answer };
  }

  test("leaves nothing reserved, no budget open, no key standing, and no deadline", () => {
    const { clock, store, ledger, tenant, ids } = closed();
    expect(tenant).toMatchObject({ status: "CLOSED", closed_at: new Date(clock.now()).toISOString() });
    const accounts = [...store.scanAccounts()];
    expect(
      accounts.map(({ scope, unit, status, reserved, spent }) => [scope, unit, status, reserved, spent]),
    ).toEqual([
      ["tenant:acme", "CREDITS", "CLOSED", 0n, 0n],
      ["tenant:acme", "TOKENS", "CLOSED", 0n, 20n],
      ["tenant:acme/agent:a", "TOKENS", "CLOSED", 0n, 0n],
    ]);
    expect(Object.values(ids).map((id) => store.readReservation(id)?.status)).toEqual([
      "EXPIRED",
      "COMMITTED",
      "RELEASED",
      "RELEASED",
    ]);
    expect(ledger.nextDeadlineMs).toBeUndefined();
    expect([...store.scanDeadlines()]).toEqual([]);
    expect(store.readApiKey(KEY.keyId)).toMatchObject({
      revokedAtMs: clock.now(),
      revokedReason: "tenant_closed",
    });
    expect(store.readApiKey("00000000000f")?.revokedReason).toBeUndefined();
  });

  test("writes one audit row per object under one correlation id", () => {
    const { ledger, turn, ids } = closed();
    const { logs } = bodyOf(ledger.listAudit({ operation: "updateTenant" }, turn()));
    expect(logs).toMatchObject([
      {
        metadata: {
          event_kind: "tenant.closed",
          prior_status: "ACTIVE",
          correlation_id: "tenant.closed:acme",
        },
      },
    ]);
    const cascade = bodyOf(ledger.listAudit({ search: "_via_tenant_cascade" }, turn())).logs;
    const kinds = cascade.map(({ operation, metadata }) => [
      operation.split("_via_")[0],
      metadata?.scope ?? metadata?.name ?? metadata?.released_amount,
      metadata?.correlation_id,
    ]);
    expect(kinds.reverse()).toEqual([
      ["reservation.released", 30n, "tenant.closed:acme"],
      ["reservation.released", 40n, "tenant.closed:acme"],
      ["budget.closed", "tenant:acme", "tenant.closed:acme"],
      ["budget.closed", "tenant:acme", "tenant.closed:acme"],
      ["budget.closed", "tenant:acme/agent:a", "tenant.closed:acme"],
      ["api_key.revoked", "k", "tenant.closed:acme"],
    ]);
    expect(cascade.map(({ resource_id }) => resource_id)).toEqual(
      expect.arrayContaining([ids.deep, ids.flat]),
    );
  });

  test("is for ever: what would change anything is refused, replays and reads answer, closing again is a retry", () => {
    const { ledger, turn, reserve, patch, ids, settle, answer, store } = closed();
    const rows = [...store.scanAudit()].length;
    const name = { scope: "tenant:acme", unit: "TOKENS" };
    const fund = { operation: "CREDIT", amount: tokens(1), idempotency_key: "f" };
    const refused = [
      reserve("new", 1),
      ledger.commit(ids.flat, { idempotency_key: "x", actual: tokens(1) }, turn()),
      ledger.release(ids.flat, { idempotency_key: "x" }, turn()),
      ledger.extend(ids.flat, { idempotency_key: "x", extend_by_ms: 1000 }, turn()),
      ledger.event(eventRequest("ev", 1), turn()),
      ledger.createBudget(budget("tenant:acme/app:x", 1), turn()),
      ledger.updateBudget(name, { metadata: {} }, turn()),
      ledger.freezeBudget(name, {}, turn()),
      ledger.unfreezeBudget(name, {}, turn()),
      ledger.fund(name, fund, turn()),
      ledger.createApiKey({ tenant_id: TENANT, name: "k" }, { ...KEY, keyId: "00000000000e" }, turn()),
      ledger.updateApiKey(KEY.keyId, { name: "x" }, turn()),
      ledger.revokeApiKey(KEY.keyId, {}, turn()),
      patch({ status: "ACTIVE" }),
      patch({ status: "CLOSED", name: "x" }),
      patch({ name: "x" }),
    ].map(verdictOf);
    expect(new Set(refused)).toEqual(new Set(["409 TENANT_CLOSED"]));

    expect(ledger.commit(ids.committed, settle, turn())).toEqual(answer);
    expect(bodyOf(ledger.balances({ tenant: TENANT }, turn())).balances.length).toBe(3);
    expect(bodyOf(ledger.listBudgets({ status: "CLOSED" }, turn())).ledgers.length).toBe(3);
    expect(bodyOf(ledger.getReservation(ids.flat, turn()))).toMatchObject({ status: "RELEASED" });
    const caller = { keyId: KEY.keyId, digest: KEY.digest };
    expect(ledger.balances({ tenant: TENANT }, { ...turn(), caller })).toMatchObject({
      status: 401,
      message: "KEY_REVOKED",
    });
    expect(verdictOf(patch({ status: "CLOSED" }))).toBe("200");
    expect([...store.scanAudit()].length).toBe(rows);
  });

  test("does nothing at all where a budget's holds do not add up", () => {
    const { store, turn, hold, ledger } = setUp();
    const id = hold("a", 10);
    const [account] = store.readAccounts(["tenant:acme"], "TOKENS");
    if (account === undefined) throw new Error("no account");
    store.updateAccount({ ...account, reserved: 11n });
    expect(() => ledger.updateTenant({ status: "CLOSED" }, turn())).toThrow(
      /has 11 reserved, its holds have 10/,
    );
    expect(store.readTenant()?.status).toBe("ACTIVE");
    expect(store.readReservation(id)?.status).toBe("ACTIVE");
    expect([...store.scanAudit()].map(({ operation }) => operation)).not.toContain("updateTenant");
  });
});
