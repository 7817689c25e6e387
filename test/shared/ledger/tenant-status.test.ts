// What a suspended and a closed tenant is still answered: new spending refused in each operation's own way, earlier
// answers repeated, work in flight settled, reads open.

import { LocalLedger, MemoryStore, type TenantStatus } from "purser/ledger";
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
