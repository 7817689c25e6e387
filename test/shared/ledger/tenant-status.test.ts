// What a suspended and a closed tenant is still answered: new spending refused in each operation's own way, earlier
// answers repeated, work in flight settled, reads open.

import { Ledger, LocalLedger, MemoryStore, type TenantStatus, type Turn } from "purser/ledger";
import { describe, expect, test } from "vitest";
import {
  bodyOf,
  budget,
  reserveRequest,
  testClock,
  tokens,
  verdictOf,
} from "../../support/ledger-fixtures.ts";

/** One of everything while the tenant is active; then its status, set as an operator's change would leave it. */
function worldWith(status: TenantStatus) {
  const clock = testClock();
  const store = new MemoryStore();
  const authority = new LocalLedger({ tenant: "acme", now: clock.now, store });
  bodyOf(authority.createBudget(budget("tenant:acme", 100)));
  const spend = (key: string) => {
    const { estimate: actual, ...rest } = reserveRequest(key, 10);
    return authority.event({ ...rest, actual });
  };
  const earlier = {
    reserve: () => authority.reserve(reserveRequest("r", 10)),
    dryRun: () => authority.reserve(reserveRequest("y", 10, { dry_run: true })),
    decide: () => authority.decide(reserveRequest("d", 10)),
    event: () => spend("e"),
  };
  const first = Object.values(earlier).map((ask) => ask());
  const [held, other] = ["held", "other"].map(
    (key) => bodyOf(authority.reserve(reserveRequest(key, 5))).reservation_id ?? "",
  );
  const tenant = store.readTenant();
  if (tenant === undefined || held === undefined || other === undefined) throw new Error("no world");
  store.writeTenant({ ...tenant, status });
  return { authority, store, clock, spend, earlier, first, held, other };
}

describe.each(["SUSPENDED", "CLOSED"] as const)("a tenant that is %s", (status) => {
  test("gets its earlier answers again", () => {
    const { earlier, first } = worldWith(status);
    expect(Object.values(earlier).map((ask) => ask())).toEqual(first);
  });

  test("is not served anew, and nothing changes", () => {
    const { authority, store, spend, held } = worldWith(status);
    const before = store.readAccounts(["tenant:acme"]);
    const closed = status === "CLOSED";
    const refusal = closed ? "409 TENANT_CLOSED" : "401 UNAUTHORIZED";
    expect(verdictOf(authority.reserve(reserveRequest("r2", 1)))).toBe(refusal);
    expect(verdictOf(spend("e2"))).toBe(refusal);
    expect(verdictOf(authority.extend(held, { idempotency_key: "x", extend_by_ms: 1 }))).toBe(refusal);
    for (const ask of [
      authority.decide(reserveRequest("d2", 1)),
      authority.reserve(reserveRequest("y2", 1, { dry_run: true })),
    ]) {
      if (closed) expect(bodyOf(ask)).toMatchObject({ decision: "DENY", reason_code: "TENANT_CLOSED" });
      else expect(ask).toMatchObject({ status: 401, message: "TENANT_SUSPENDED" });
    }
    expect(store.readAccounts(["tenant:acme"])).toEqual(before);
  });

  test("settles its work if suspended, and not if closed; reads stay open", () => {
    const { authority, held, other } = worldWith(status);
    const verdict = status === "CLOSED" ? "409 TENANT_CLOSED" : "200";
    expect(verdictOf(authority.getReservation(held))).toBe("200");
    expect(bodyOf(authority.listReservations({ status: "ACTIVE" })).reservations.length).toBe(3);
    expect(verdictOf(authority.balances())).toBe("200");
    expect(verdictOf(authority.commit(held, { idempotency_key: "c", actual: tokens(5) }))).toBe(verdict);
    expect(verdictOf(authority.release(other, { idempotency_key: "r" }))).toBe(verdict);
  });
});

describe("a suspended tenant's own key", () => {
  const NOW_MS = 1_800_000_000_000;
  const NAME = { scope: "tenant:acme", unit: "TOKENS" };
  const CALLER = { keyId: "0123456789ab", digest: "d" };

  test("may look at what is set up and change none of it; an operator may", () => {
    const store = new MemoryStore();
    const ledger = new Ledger({ tenant: "acme", store, secrets: ["s"] });
    const operator = { nowMs: NOW_MS };
    const own = { nowMs: NOW_MS, caller: CALLER };
    const credit = (key: string) => ({ operation: "CREDIT", amount: tokens(1), idempotency_key: key });
    bodyOf(ledger.createTenant({ tenant_id: "acme", name: "Acme" }, operator));
    bodyOf(ledger.createBudget(budget("tenant:acme", 100), operator));
    bodyOf(ledger.createApiKey({ tenant_id: "acme", name: "k" }, { ...CALLER, prefix: "p" }, operator));
    const policy = { name: "p", scope_pattern: "tenant:acme", rate_limits: { max_commits_per_minute: 1 } };
    const { policy_id: id } = bodyOf(ledger.createPolicy(policy, operator));
    const funded = ledger.fund(NAME, credit("f"), own);
    expect(verdictOf(funded)).toBe("200");
    bodyOf(ledger.updateTenant({ status: "SUSPENDED" }, operator));

    const changes = [
      (turn: Turn) => ledger.fund(NAME, credit("g"), turn),
      (turn: Turn) => ledger.createPolicy({ ...policy, name: "q" }, turn),
      (turn: Turn) => ledger.updatePolicy(id, { rate_limits: {} }, turn),
      (turn: Turn) => ledger.setPeriod(NAME, { kind: "daily" }, turn),
      (turn: Turn) => ledger.removePeriod(NAME, turn),
    ];
    const create = (turn: Turn) => ledger.createBudget(budget("tenant:acme/agent:a", 1), turn);
    const all = () => [...store.scanAccounts(), ...store.readPolicies(), ...store.scanAudit()];
    const before = all();
    for (const change of [...changes, create]) {
      expect(change(own)).toMatchObject({ status: 401, message: "TENANT_SUSPENDED" });
    }
    expect(all()).toEqual(before);
    expect(ledger.fund(NAME, credit("f"), own)).toEqual(funded);
    const reads = [
      ledger.lookupBudget(NAME, own),
      ledger.listBudgets({}, own),
      ledger.listPolicies({}, own),
      ledger.getPeriod(NAME, own),
    ];
    expect(reads.map(verdictOf)).toEqual(["200", "200", "200", "200"]);

    expect(changes.map((change) => verdictOf(change(operator)))).toEqual(["200", "201", "200", "200", "200"]);
    expect(verdictOf(create(operator))).toBe("400 INVALID_REQUEST");
  });
});
