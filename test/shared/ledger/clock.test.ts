// A host's clock that lies: small steps back are hiccups, large ones are corrections, and no reading stops expiry for
// longer than the limit says.

import { LocalLedger, MemoryStore } from "purser/ledger";
import { describe, expect, test } from "vitest";
import { CLOCK_BACK_MS_MAX, MS_PER_DAY } from "../../../src/ledger/limits.ts";
import {
  bodyOf,
  budget,
  reserveRequest,
  TENANT,
  testClock,
  tokens,
  verdictOf,
} from "../../support/ledger-fixtures.ts";

const YEARS_MS = 5 * 365 * MS_PER_DAY;

function setUp() {
  const clock = testClock();
  const store = new MemoryStore();
  const authority = new LocalLedger({ tenant: TENANT, now: clock.now, store });
  bodyOf(authority.createBudget(budget("tenant:acme", 100)));
  const reserve = (key: string, amount: number, ttl_ms = 60_000) =>
    bodyOf(authority.reserve(reserveRequest(key, amount, { ttl_ms, grace_period_ms: 0 })));
  return { authority, clock, store, reserve };
}

describe("what was done by a clock that ran ahead, and is asked again when it was put right, counts once", () => {
  const MINUTE_MS = 60_000;
  test.each([
    ["six minutes, over midnight", 6 * MINUTE_MS],
    ["a day", MS_PER_DAY],
    ["two days", 2 * MS_PER_DAY],
  ])("%s", (_, aheadMs) => {
    const { authority, clock, reserve } = setUp();
    clock.set(Math.ceil(clock.now() / MS_PER_DAY) * MS_PER_DAY - 3 * MINUTE_MS);
    const { subject, action } = reserveRequest("x", 1);
    const fund = { operation: "CREDIT" as const, amount: tokens(5), idempotency_key: "f" };
    const place = { scope: "tenant:acme", unit: "TOKENS" as const };
    const all = () => [
      reserve("r", 10, 3_600_000).reservation_id,
      bodyOf(authority.event({ idempotency_key: "e", subject, action, actual: tokens(7) })).event_id,
      bodyOf(authority.fund(place, fund)).new_allocated,
    ];
    clock.advance(aheadMs);
    const first = all();
    clock.advance(-aheadMs);
    expect(all()).toEqual(first);
    const [row] = bodyOf(authority.balances()).balances;
    expect(row).toMatchObject({ allocated: tokens(105n), spent: tokens(7n), reserved: tokens(10n) });
    const { reservations } = bodyOf(authority.listReservations({ idempotency_key: "r" }));
    expect(reservations).toHaveLength(1);
  });
});

describe("a reading far ahead that is corrected", () => {
  test("leaves expiry working: new holds live and end by the corrected time", () => {
    const { authority, clock, reserve } = setUp();
    const nowMs = clock.now();
    clock.advance(YEARS_MS);
    authority.balances();
    clock.set(nowMs);
    const held = reserve("k", 60);
    expect(held.expires_at_ms).toBe(nowMs + 60_000);
    clock.advance(60_001);
    expect(verdictOf(authority.getReservation(held.reservation_id ?? ""))).toBe("410 RESERVATION_EXPIRED");
    expect(bodyOf(authority.balances()).balances[0]?.remaining).toEqual(tokens(100n));
  });

  test.each(["the same object", "one that woke anew"])(
    "ends holds made under it within the longest life: %s",
    (who) => {
      const { authority, clock, store, reserve } = setUp();
      const nowMs = clock.now();
      clock.advance(YEARS_MS);
      const held = reserve("k", 60);
      clock.set(nowMs);
      const next =
        who === "the same object" ? authority : new LocalLedger({ tenant: TENANT, now: clock.now, store });
      expect(bodyOf(next.balances()).balances[0]?.remaining).toEqual(tokens(40n));
      const longest = 3_600_000;
      clock.advance(longest);
      expect(verdictOf(next.getReservation(held.reservation_id ?? ""))).toBe("200");
      clock.advance(1);
      expect(verdictOf(next.getReservation(held.reservation_id ?? ""))).toBe("410 RESERVATION_EXPIRED");
      expect(bodyOf(next.balances()).balances[0]?.remaining).toEqual(tokens(100n));
    },
  );

  test("revives nothing that it had expired", () => {
    const { authority, clock, reserve } = setUp();
    const held = reserve("k", 60);
    const nowMs = clock.now();
    clock.advance(YEARS_MS);
    authority.balances();
    clock.set(nowMs + 1);
    const commit = { idempotency_key: "c", actual: tokens(1) };
    expect(verdictOf(authority.commit(held.reservation_id ?? "", commit))).toBe("410 RESERVATION_EXPIRED");
    expect(bodyOf(authority.balances()).balances[0]?.remaining).toEqual(tokens(100n));
  });

  test("leaves lives alone that were right", () => {
    const { authority, clock, reserve } = setUp();
    const held = reserve("k", 60, 3_600_000);
    // Ahead by less than its life, then put right: it keeps its expiry.
    clock.advance(2 * CLOCK_BACK_MS_MAX);
    authority.balances();
    clock.advance(-CLOCK_BACK_MS_MAX - 1);
    const body = bodyOf(authority.getReservation(held.reservation_id ?? ""));
    expect(body.expires_at_ms).toBe(held.expires_at_ms);
  });
});

describe("a step back", () => {
  test.each([
    [CLOCK_BACK_MS_MAX, "410 RESERVATION_EXPIRED"],
    [CLOCK_BACK_MS_MAX + 1, "200"],
  ])("of %i ms leaves a hold that nobody was told the end of: %s", (backMs, verdict) => {
    const { authority, clock, reserve } = setUp();
    const id = reserve("k", 60).reservation_id ?? "";
    clock.advance(60_001);
    expect(verdictOf(authority.getReservation("nobody's"))).toBe("404 NOT_FOUND");
    clock.advance(-backMs);
    expect(verdictOf(authority.getReservation(id))).toBe(verdict);
  });

  test.each<[string, (authority: LocalLedger, id: string) => unknown]>([
    ["looked at", (authority, id) => verdictOf(authority.getReservation(id))],
    ["listed", (authority) => bodyOf(authority.listReservations()).reservations[0]?.status],
    ["filtered", (authority) => bodyOf(authority.listReservations({ status: "EXPIRED" })).has_more],
  ])(
    "of any length leaves expired what was %s as expired, and what is charged then is charged once",
    (_, tell) => {
      const { authority, clock, store, reserve } = setUp();
      const id = reserve("k", 60).reservation_id ?? "";
      const startMs = clock.now();
      clock.advance(60_001);
      tell(authority, id);
      clock.set(startMs);
      const woken = new LocalLedger({ tenant: TENANT, now: clock.now, store });
      // Told that its reservation is gone, a client charges what it spent by an event; its commit must not count too.
      const { estimate: actual, ...ask } = reserveRequest("c", 50);
      expect(verdictOf(woken.event({ ...ask, actual }))).toBe("201");
      const commit = { idempotency_key: "c", actual: tokens(50) };
      expect(verdictOf(woken.commit(id, commit))).toBe("410 RESERVATION_EXPIRED");
      expect(verdictOf(woken.getReservation(id))).toBe("410 RESERVATION_EXPIRED");
      expect(bodyOf(woken.balances()).balances[0]).toMatchObject({
        spent: tokens(50n),
        reserved: tokens(0n),
        remaining: tokens(50n),
      });
    },
  );
});

test("a correction whose turn fails is made by the next one", () => {
  const { clock, store, reserve, authority } = setUp();
  const nowMs = clock.now();
  clock.advance(YEARS_MS);
  const held = reserve("k", 60);
  clock.set(nowMs);
  const own = store.scanAccounts;
  store.scanAccounts = () => {
    throw new Error("disk gone");
  };
  expect(() => authority.balances()).toThrow("disk gone");
  store.scanAccounts = own;
  authority.balances();
  expect(bodyOf(authority.getReservation(held.reservation_id ?? "")).expires_at_ms).toBe(nowMs + 3_600_000);
});
