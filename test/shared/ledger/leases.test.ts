// Leases by the ledger's rules: granting and shares, reports in and out of order, expiry by both policies, late spend,
// and what an operator does to them. After each test's steps the figures stand in one line a reader can add up.

import {
  type BudgetInput,
  type Caller,
  type LeaseBody,
  type LeaseRenewalInput,
  Ledger,
  MemoryStore,
  type Reply,
} from "purser/ledger";
import { describe, expect, test } from "vitest";
import {
  authorityWith,
  bodyOf,
  budget,
  openLedger,
  reserveRequest,
  TENANT,
  tokens,
  verdictOf,
} from "../../support/ledger-fixtures.ts";

const GRACE_MS = 5_000;
const TOP = { scope: `tenant:${TENANT}`, unit: "TOKENS" } as const;
const AGENT = `tenant:${TENANT}/agent:a`;
const OF_AGENT = { tenant: TENANT, agent: "a" };

/** An authority with one budget on the tenant's scope, and leases by their keys. */
function lender(allocated = 1_000, ...rest: BudgetInput[]) {
  const world = authorityWith(budget(`tenant:${TENANT}`, allocated), ...rest);
  const { authority } = world;
  const names = new Map<string, { id: string; epoch: number }>();
  const open = (key: string, want: number, more: object = {}): Reply<LeaseBody> => {
    const request = {
      idempotency_key: key,
      subject: { tenant: TENANT },
      unit: "TOKENS" as const,
      want,
      ...more,
    };
    const reply = authority.openLease(request);
    if (reply.ok) names.set(key, { id: reply.body.lease_id, epoch: reply.body.epoch });
    return reply;
  };
  const reportOf = (key: string, sequence: number, spent: number, held = 0, returned = 0) => {
    const { id = "", epoch = 1 } = names.get(key) ?? {};
    return { id, report: { epoch, unit: "TOKENS" as const, sequence, spent, held, returned } };
  };
  const renew = (
    key: string,
    figures: { sequence: number; spent?: number; held?: number; returned?: number; want?: number },
    more: Partial<LeaseRenewalInput> = {},
  ): Reply<LeaseBody> => {
    const { sequence, spent = 0, held = 0, returned = 0, want = 0 } = figures;
    const { id, report } = reportOf(key, sequence, spent, held, returned);
    return authority.renewLease(id, { ...report, want, ...more });
  };
  const giveBack = (
    key: string,
    {
      sequence,
      spent = 0,
      held = 0,
      returned = 0,
    }: { sequence: number; spent?: number; held?: number; returned?: number },
  ): Reply<LeaseBody> => {
    const { id, report } = reportOf(key, sequence, spent, held, returned);
    return authority.returnLease(id, report);
  };
  const states = () =>
    bodyOf(authority.listLeases()).leases.map(
      (it) => `${it.status} ${it.granted}-${it.spent}-${it.returned}=${it.outstanding} +${it.charged}`,
    );
  return { ...world, open, renew, giveBack, states, idOf: (key: string) => names.get(key)?.id ?? "" };
}

/** granted, outstanding and what is asked back. */
const line = (reply: Reply<LeaseBody>): string => {
  const { state, granted, outstanding, recall } = bodyOf(reply);
  return `${state} ${granted.amount} ${outstanding} ${recall}`;
};

describe("opening", () => {
  test("a grant is reserved on every budget of the path at once, and shows who holds it", () => {
    const { authority, open, figures } = lender(1_000, budget(AGENT, 400));
    const reply = bodyOf(open("k", 300, { subject: OF_AGENT, holder: "page 1", ttl_ms: 30_000 }));
    expect(reply).toMatchObject({
      state: "active",
      sequence: 0,
      remaining_ttl_ms: 30_000,
      grace_ms: GRACE_MS,
    });
    expect(reply).toMatchObject({ affected_scopes: [`tenant:${TENANT}`, AGENT], on_expiry: "charge" });
    expect(reply).not.toHaveProperty("shortage");
    expect(figures()).toBe("1000/0/300/0→700");
    expect(figures(AGENT)).toBe("400/0/300/0→100");
    expect(bodyOf(authority.listLeases()).leases).toMatchObject([
      { holder: "page 1", status: "ACTIVE", scope_path: AGENT, granted: 300n, outstanding: 300n },
    ]);
  });

  test("less than is wanted, never less than the minimum; a refusal takes nothing and tells why", () => {
    const { open, figures } = lender(1_000, budget(AGENT, 40));
    expect(bodyOf(open("k", 300, { subject: OF_AGENT, min: 40 }))).toMatchObject({
      granted: { amount: 40n },
      shortage: { error: "BUDGET_EXCEEDED", details: { scope: AGENT, requested: 300, remaining: 40 } },
    });
    expect(open("l", 300, { subject: OF_AGENT, min: 1 })).toMatchObject({
      error: "BUDGET_EXCEEDED",
      details: { scope: AGENT, requested: 1n, remaining: 0n },
    });
    expect(figures()).toBe("1000/0/40/0→960");
  });

  test("slices shrink near exhaustion, so that several can work; the minimum outweighs the share", () => {
    const { open, figures } = lender();
    const granted = ["a", "b", "c"].map((key) => bodyOf(open(key, 400)).granted.amount);
    expect(granted).toEqual([400n, 400n, 200n]);
    expect(verdictOf(open("d", 400))).toBe("409 BUDGET_EXCEEDED");
    const shared = lender();
    shared.open("a", 600);
    shared.open("b", 50);
    // A third of all that is or was there to lend, though 350 are left; more only to whom less is of no use.
    expect(bodyOf(shared.open("c", 340))).toMatchObject({
      granted: { amount: 333n },
      shortage: { message: expect.stringContaining("shared between leases") },
    });
    const needy = lender();
    needy.open("a", 600);
    needy.open("b", 50);
    expect(bodyOf(needy.open("c", 400, { min: 340 })).granted.amount).toBe(340n);
    expect(figures()).toBe("1000/0/1000/0→0");
  });

  test("refused like a reserve: policies' rates, a suspended tenant, frozen and indebted budgets, none at all", () => {
    const { authority, open, clock } = lender();
    expect(verdictOf(open("n", 1, { unit: "CREDITS" }))).toBe("400 UNIT_MISMATCH");
    authority.freezeBudget(TOP);
    expect(verdictOf(open("f", 1))).toBe("409 BUDGET_FROZEN");
    authority.unfreezeBudget(TOP);
    const rate_limits = { max_reservations_per_minute: 1 };
    bodyOf(authority.createPolicy({ name: "slow", scope_pattern: `tenant:${TENANT}`, rate_limits }));
    bodyOf(open("a", 1));
    expect(verdictOf(open("b", 1))).toBe("429 LIMIT_EXCEEDED");
    // A repetition is not another call.
    bodyOf(open("a", 1));
    clock.advance(60_000);
    bodyOf(open("b", 1));

    const { ledger, turn } = openLedger(100);
    bodyOf(ledger.updateTenant({ status: "SUSPENDED" }, turn()));
    const request = { idempotency_key: "k", subject: { tenant: TENANT }, unit: "TOKENS", want: 1 };
    expect(verdictOf(ledger.openLease(request, turn()))).toBe("401 UNAUTHORIZED");
  });

  test("no more leases than the tenant and the key may have", () => {
    const { ledger, turn } = openLedger(100, { limits: { leasesMax: 2, leasesPerKeyMax: 1 } });
    const caller = { keyId: "0123456789ab", digest: "d" };
    const key = { tenant_id: TENANT, name: "k" };
    bodyOf(ledger.createApiKey(key, { ...caller, prefix: "p" }, turn()));
    const open = (name: string, by?: typeof caller) =>
      ledger.openLease(
        { idempotency_key: name, subject: { tenant: TENANT }, unit: "TOKENS", want: 1 },
        { ...turn(), caller: by },
      );
    const first = bodyOf(open("a", caller));
    expect(verdictOf(open("b", caller))).toBe("429 LIMIT_EXCEEDED");
    bodyOf(open("b"));
    expect(verdictOf(open("c"))).toBe("429 LIMIT_EXCEEDED");
    const report = { epoch: 1, unit: "TOKENS", sequence: 1, spent: 0, held: 0, returned: 0 };
    bodyOf(ledger.returnLease(first.lease_id, report, turn()));
    bodyOf(open("c", caller));
  });

  test("its life is bounded by its settings, the tenant and the policies, and never shortened by a renewal", () => {
    const { authority, open, renew } = lender();
    const lifeOf = (reply: Reply<LeaseBody>) => bodyOf(reply).remaining_ttl_ms;
    expect(lifeOf(open("default", 1))).toBe(60_000);
    expect(lifeOf(open("long", 1, { ttl_ms: 600_000 }))).toBe(600_000);
    bodyOf(authority.changeLeaseSettings({ ttl_ms_max: 30_000 }));
    expect(lifeOf(open("bounded", 1))).toBe(30_000);
    expect(lifeOf(renew("long", { sequence: 1 }))).toBe(600_000);
    const reservation_ttl_override = { max_ttl_ms: 20_000 };
    bodyOf(
      authority.createPolicy({ name: "short", scope_pattern: `tenant:${TENANT}`, reservation_ttl_override }),
    );
    expect(lifeOf(open("policy", 1))).toBe(20_000);

    const { ledger, turn } = openLedger(1_000);
    const terms = { default_reservation_ttl_ms: 10_000, max_reservation_ttl_ms: 10_000 };
    bodyOf(ledger.updateTenant(terms, turn()));
    const request = { idempotency_key: "tenant", subject: { tenant: TENANT }, unit: "TOKENS", want: 1 };
    expect(lifeOf(ledger.openLease(request, turn()))).toBe(10_000);
  });
});

describe("reporting", () => {
  test("spent, held and returned are booked by their difference, and the lease grows to what is wanted", () => {
    const { open, renew, figures, clock } = lender();
    open("k", 100);
    clock.advance(50_000);
    expect(line(renew("k", { sequence: 1, spent: 60, held: 10, want: 100 }))).toBe("active 160 100 0");
    expect(figures()).toBe("1000/60/100/0→840");
    expect(line(renew("k", { sequence: 2, spent: 90, held: 0, returned: 40, want: 0 }))).toBe(
      "active 160 30 0",
    );
    expect(figures()).toBe("1000/90/30/0→880");
  });

  test("again, out of order, falling: booked once, in the order of the numbers, or refused", () => {
    const { open, renew, giveBack, figures } = lender();
    open("k", 100);
    renew("k", { sequence: 5, spent: 30, returned: 10, want: 70 });
    const before = figures();
    for (const [ask, verdict] of [
      [() => renew("k", { sequence: 5, spent: 30, returned: 10, want: 500 }), "200"],
      [() => renew("k", { sequence: 4, spent: 20, want: 500 }), "200"],
      [() => renew("k", { sequence: 5, spent: 31 }), "409 IDEMPOTENCY_MISMATCH"],
      [() => giveBack("k", { sequence: 5, spent: 30 }), "409 IDEMPOTENCY_MISMATCH"],
      [() => renew("k", { sequence: 6, spent: 29, returned: 10 }), "400 INVALID_REQUEST"],
      [() => renew("k", { sequence: 6, spent: 30, returned: 9 }), "400 INVALID_REQUEST"],
    ] as const) {
      expect(verdictOf(ask())).toBe(verdict);
      expect(figures()).toBe(before);
    }
    expect(bodyOf(renew("k", { sequence: 4 }))).toMatchObject({ sequence: 5, outstanding: 70n });
  });

  test("spent beyond the grant is charged, as debt beyond every limit, and the budget lends no more", () => {
    const { open, renew, figures } = lender(100, budget(AGENT, 60, { overdraft_limit: tokens(5) }));
    open("k", 50, { subject: OF_AGENT });
    expect(line(renew("k", { sequence: 1, spent: 130, want: 50 }))).toBe("active 130 0 0");
    expect(figures()).toBe("100/100/0/30→-30");
    expect(figures(AGENT)).toBe("60/60/0/70→-70!");
    expect(bodyOf(renew("k", { sequence: 2, spent: 130, want: 50 }))).toMatchObject({
      outstanding: 0n,
      shortage: { error: "OVERDRAFT_LIMIT_EXCEEDED", details: { scope: AGENT } },
    });
  });

  test("held and returned beyond what there is do not count", () => {
    const { open, renew, states } = lender();
    open("k", 100);
    renew("k", { sequence: 1, spent: 20, held: 500, returned: 30 });
    expect(states()).toEqual(["ACTIVE 100-20-30=50 +0"]);
    renew("k", { sequence: 2, spent: 20, returned: 700 });
    expect(states()).toEqual(["ACTIVE 120-20-100=0 +0"]);
  });

  test("a suspended tenant and a frozen budget take reports, lend nothing, prolong nothing and want all that is idle", () => {
    const { authority, open, renew, figures, clock } = lender();
    const { expires_at_ms } = bodyOf(open("k", 100));
    authority.freezeBudget(TOP);
    clock.advance(10_000);
    expect(bodyOf(renew("k", { sequence: 1, spent: 10, held: 20, want: 200 }))).toMatchObject({
      outstanding: 90n,
      recall: 70n,
      expires_at_ms,
      shortage: { error: "BUDGET_FROZEN" },
    });
    expect(figures()).toBe("1000/10/90/0→900");
    authority.unfreezeBudget(TOP);
    expect(bodyOf(renew("k", { sequence: 2, spent: 10, held: 0, want: 100 }))).toMatchObject({
      outstanding: 100n,
      recall: 0n,
      remaining_ttl_ms: 60_000,
    });
  });

  test("the idle part above an even share is asked back while somebody was refused, and for a minute", () => {
    const { open, renew, clock } = lender(100);
    open("a", 100);
    const idle = () => bodyOf(renew("a", { sequence: 1, held: 30, want: 100 })).recall;
    expect(idle()).toBe(0n);
    expect(verdictOf(open("b", 10))).toBe("409 BUDGET_EXCEEDED");
    expect(idle()).toBe(20n);
    clock.advance(60_000);
    expect(bodyOf(renew("a", { sequence: 2, held: 30, want: 100 })).recall).toBe(0n);
    // A reserve that finds everything lent asks for its share just as well.
    const { authority } = lender(100);
    const request = { idempotency_key: "l", subject: { tenant: TENANT }, unit: "TOKENS" as const, want: 100 };
    const { lease_id, epoch } = bodyOf(authority.openLease(request));
    expect(verdictOf(authority.reserve(reserveRequest("r", 10)))).toBe("409 BUDGET_EXCEEDED");
    const report = { epoch, unit: "TOKENS" as const, sequence: 1, spent: 0, held: 0, returned: 0, want: 100 };
    expect(bodyOf(authority.renewLease(lease_id, report)).recall).toBe(50n);
  });

  test("each who was refused is left a share: at the next report, and by whoever comes before him", () => {
    const { open, renew, clock } = lender(1_200);
    open("a", 1_200);
    const idle = (sequence: number, returned = 0) =>
      bodyOf(renew("a", { sequence, returned, want: 1_200 - returned })).recall;
    for (const key of ["b", "c", "d", "d", "b"]) expect(verdictOf(open(key, 1_200))).toMatch(/^409/);
    expect(idle(1)).toBe(900n);
    expect(idle(2, 900)).toBe(0n);
    for (const key of ["b", "c", "d"]) expect(line(open(key, 1_200))).toBe("active 300 300 0");
    // However many there are, or whoever asks with ever new keys: no more than so many count.
    for (let n = 0; n < 100; n++) expect(verdictOf(open(`new ${n}`, 1_200))).toMatch(/^409/);
    expect(idle(3, 900)).toBe(300n - 1_200n / 36n);
    clock.advance(59_999);
    expect(bodyOf(open("b", 1_200)).recall).toBe(300n - 1_200n / 36n);
    clock.advance(1);
    expect(idle(4, 900)).toBe(0n);
  });

  test("a question that finds everything lent asks for no share: nobody will come for it", () => {
    const { authority, open, renew } = lender(100);
    open("a", 100);
    const { subject, action, estimate } = reserveRequest("x", 10);
    const asked = authority.decide({ idempotency_key: "d", subject, action, estimate });
    expect(bodyOf(asked).decision).toBe("DENY");
    expect(bodyOf(authority.reserve(reserveRequest("dry", 10, { dry_run: true }))).decision).toBe("DENY");
    expect(bodyOf(renew("a", { sequence: 1, want: 100 })).recall).toBe(0n);
  });

  test("what is returned goes back at once, what is held stays, until a later report or the end", () => {
    const { open, giveBack, figures, states, clock } = lender();
    for (const key of ["a", "b"]) open(key, 100, { ttl_ms: 10_000 });
    for (const key of ["a", "b"]) {
      expect(line(giveBack(key, { sequence: 1, spent: 20, held: 30 }))).toBe("ended 100 30 0");
    }
    expect(figures()).toBe("1000/40/60/0→900");
    giveBack("a", { sequence: 2, spent: 45 });
    expect(figures()).toBe("1000/65/30/0→905");
    clock.advance(10_000 + GRACE_MS + 1);
    expect(figures()).toBe("1000/95/0/0→905");
    expect(states().sort()).toEqual(["EXPIRED 100-20-50=0 +30", "RETURNED 100-45-55=0 +0"]);
  });
});

describe("shares", () => {
  test("what a holder cannot go on without it gets beyond its share, but never more than there is", () => {
    const { open, renew, figures } = lender(1_000);
    open("one", 10);
    open("two", 10);
    expect(line(renew("one", { sequence: 1, want: 900 }))).toBe("active 500 500 0");
    expect(line(renew("one", { sequence: 2, want: 900 }, { min: 800 }))).toBe("active 800 800 300");
    expect(line(renew("one", { sequence: 3, want: 2_000 }, { min: 2_000 }))).toMatch(/^active 990 990 /);
    expect(figures()).toBe("1000/0/1000/0→0");
    expect(verdictOf(renew("one", { sequence: 4, want: 5 }, { min: 6 }))).toMatch(/^400 INVALID_REQUEST/);
  });
});

describe("the end", () => {
  test("what nobody reported counts as spent, from the moment after the grace, until its holder returns it", () => {
    const { open, renew, giveBack, figures, clock, states, authority } = lender();
    open("k", 100, { ttl_ms: 10_000 });
    clock.advance(10_000 + GRACE_MS);
    expect(figures()).toBe("1000/0/100/0→900");
    clock.advance(1);
    expect(figures()).toBe("1000/100/0/0→900");
    expect(states()).toEqual(["EXPIRED 100-0-0=0 +100"]);
    // A late renewal only adds: its sender went on until it heard the answer.
    expect(line(renew("k", { sequence: 1, spent: 30, held: 5, want: 100 }))).toBe("ended 100 0 0");
    expect(figures()).toBe("1000/100/0/0→900");
    expect(line(giveBack("k", { sequence: 2, spent: 60, held: 10 }))).toBe("ended 100 0 0");
    expect(figures()).toBe("1000/70/0/0→930");
    expect(line(giveBack("k", { sequence: 3, spent: 65 }))).toBe("ended 100 0 0");
    expect(figures()).toBe("1000/65/0/0→935");
    // Beyond all that was granted, late: charged as well.
    giveBack("k", { sequence: 4, spent: 1_100 });
    expect(figures()).toBe("1000/1000/0/100→-100");
    expect(bodyOf(authority.exposure()).exposure).toEqual([]);
  });

  test("by the policy refund it goes back, the exposure says what that may cost, and late spend is charged", () => {
    const { authority, open, renew, giveBack, figures, clock } = lender(100);
    bodyOf(authority.changeLeaseSettings({ on_expiry: "refund", grace_ms: 0 }));
    open("k", 60, { ttl_ms: 1_000 });
    renew("k", { sequence: 1, spent: 10, want: 50 });
    const exposed = () =>
      bodyOf(authority.exposure()).exposure.map((it) => `${it.leases} ${it.outstanding} ${it.beyond}`);
    expect(exposed()).toEqual(["1 50 50"]);
    clock.advance(1_001);
    expect(figures()).toBe("100/10/0/0→90");
    expect(exposed()).toEqual(["0 0 50"]);
    bodyOf(authority.reserve(reserveRequest("r", 90)));
    renew("k", { sequence: 2, spent: 25, held: 5 });
    expect(figures()).toBe("100/10/90/20→-20");
    expect(exposed()).toEqual(["0 0 30"]);
    giveBack("k", { sequence: 3, spent: 28 });
    expect(figures()).toBe("100/10/90/18→-18");
    expect(exposed()).toEqual([]);
  });

  test("a renewal within the grace is in time; a lease that was told to have ended stays so when the clock goes back", () => {
    const { open, renew, states, clock } = lender();
    open("a", 10, { ttl_ms: 1_000 });
    clock.advance(1_000 + GRACE_MS);
    expect(line(renew("a", { sequence: 1, spent: 4, want: 10 }))).toBe("active 14 10 0");
    clock.advance(2_000_000);
    expect(states()).toEqual(["EXPIRED 14-4-0=0 +10"]);
    clock.advance(-2_000_000);
    expect(states()).toEqual(["EXPIRED 14-4-0=0 +10"]);
  });

  test("after a clock that ran ahead no lease outlives the longest life", () => {
    const { open, authority, clock } = lender();
    clock.advance(100_000_000);
    open("k", 10, { ttl_ms: 600_000 });
    clock.advance(-100_000_000);
    const [lease] = bodyOf(authority.listLeases()).leases;
    expect(lease?.expires_at_ms).toBe(clock.now() + 600_000);
  });

  test("closing the tenant counts what is out as spent, and hears nothing more", () => {
    const { ledger, turn, store } = openLedger(100);
    bodyOf(ledger.changeLeaseSettings({ on_expiry: "refund" }, turn()));
    const request = { idempotency_key: "k", subject: { tenant: TENANT }, unit: "TOKENS", want: 40 };
    const { lease_id } = bodyOf(ledger.openLease(request, turn()));
    bodyOf(ledger.updateTenant({ status: "CLOSED" }, turn()));
    expect(store.readAccounts([`tenant:${TENANT}`], "TOKENS")).toMatchObject([{ spent: 40n, reserved: 0n }]);
    const report = { epoch: 1, unit: "TOKENS", sequence: 1, spent: 1, held: 0, returned: 0 };
    expect(verdictOf(ledger.returnLease(lease_id, report, turn()))).toBe("409 TENANT_CLOSED");
    const operations = bodyOf(ledger.listAudit({ limit: "100" }, turn())).logs.map(
      ({ operation }) => operation,
    );
    expect(operations).toContain("lease.expired_via_tenant_cascade");
    expect(ledger.nextDeadlineMs).toBeUndefined();
  });
});

describe("the path changes under a lease", () => {
  test("a new window: the next renewal moves it, and what it spent before stays in the old one", () => {
    const { authority, open, renew, giveBack, clock, figures } = lender(100);
    bodyOf(authority.setPeriod(TOP, { kind: "every", every_ms: 3_600_000 }));
    clock.advance(3_600_000 - (clock.now() % 3_600_000) - 30_000);
    open("k", 60);
    clock.advance(40_000);
    expect(figures()).toBe("100/0/0/0→100");
    expect(line(renew("k", { sequence: 1, spent: 15, want: 60 }))).toBe("active 75 60 0");
    expect(figures()).toBe("100/0/60/0→40");
    const [passed] = bodyOf(authority.getPeriod(TOP)).passed_windows;
    expect(passed).toMatchObject({ spent: { amount: 15n }, reserved: { amount: 0n } });
    giveBack("k", { sequence: 2, spent: 20 });
    expect(figures()).toBe("100/5/0/0→95");
  });

  test("where it does not fit it stays in the old window, to its end", () => {
    const { authority, open, renew, clock, figures } = lender(100);
    bodyOf(authority.setPeriod(TOP, { kind: "every", every_ms: 3_600_000 }));
    clock.advance(3_600_000 - (clock.now() % 3_600_000) - 30_000);
    const { expires_at_ms } = bodyOf(open("k", 60));
    clock.advance(40_000);
    bodyOf(authority.reserve(reserveRequest("r", 90)));
    expect(bodyOf(renew("k", { sequence: 1, spent: 15, want: 60 }))).toMatchObject({
      outstanding: 45n,
      recall: 45n,
      expires_at_ms,
      shortage: { error: "BUDGET_EXCEEDED" },
    });
    clock.advance(66_000);
    expect(figures()).toBe("100/0/0/0→100");
    const [passed] = bodyOf(authority.getPeriod(TOP)).passed_windows;
    expect(passed).toMatchObject({ spent: { amount: 60n }, reserved: { amount: 0n } });
  });

  test("a budget that is new on the path takes part from the next renewal on", () => {
    const { authority, open, renew, figures } = lender();
    open("k", 100, { subject: OF_AGENT });
    bodyOf(authority.createBudget(budget(AGENT, 80)));
    expect(bodyOf(renew("k", { sequence: 1, spent: 10, want: 100 }))).toMatchObject({
      outstanding: 90n,
      recall: 90n,
    });
    expect(figures(AGENT)).toBe("80/0/0/0→80");
    expect(line(renew("k", { sequence: 2, spent: 40, want: 70 }))).toBe("active 110 70 0");
    expect(figures(AGENT)).toBe("80/0/70/0→10");
    expect(figures()).toBe("1000/40/70/0→890");
  });
});

describe("after a restore from a backup", () => {
  test("the epoch ends what was lent; what the backup does not know is charged once, to whom the report names", () => {
    const { authority: lost, clock } = lender();
    const request = { idempotency_key: "k", subject: OF_AGENT, unit: "TOKENS" as const, want: 100 };
    const lease = bodyOf(lost.openLease(request));
    // The backup is from before: no lease, and another one that is not known to have ended.
    const { authority, open, states, figures } = lender();
    open("old", 50);
    const { epoch } = bodyOf(authority.raiseLeaseEpoch());
    expect(epoch).toBe(clock.now());
    expect(figures()).toBe("1000/50/0/0→950");

    const report = {
      epoch: lease.epoch,
      unit: "TOKENS" as const,
      sequence: 7,
      spent: 30,
      held: 10,
      returned: 5,
    };
    expect(authority.returnLease(lease.lease_id, report)).toMatchObject({
      error: "INVALID_REQUEST",
      details: { field: "subject" },
    });
    const whole = { ...report, subject: OF_AGENT };
    for (let time = 0; time < 2; time += 1) {
      expect(bodyOf(authority.renewLease(lease.lease_id, { ...whole, want: 100 }))).toMatchObject({
        state: "ended",
        epoch: lease.epoch,
        sequence: 7,
        outstanding: 0n,
      });
      expect(figures()).toBe("1000/90/0/0→910");
    }
    bodyOf(authority.returnLease(lease.lease_id, { ...whole, sequence: 8, spent: 35, held: 0 }));
    expect(figures()).toBe("1000/85/0/0→915");
    expect(states().sort()).toEqual(["EXPIRED 50-0-0=0 +50", "RETURNED 45-35-5=0 +0"]);
    // The same key opens another lease now.
    expect(bodyOf(authority.openLease(request))).toMatchObject({ epoch, granted: { amount: 100n } });
    expect(bodyOf(authority.openLease(request)).lease_id).not.toBe(lease.lease_id);
  });

  test("an id is believed for as long as leases are kept, and only if this deployment issued it", () => {
    const { authority: lost } = lender();
    const request = { idempotency_key: "k", subject: { tenant: TENANT }, unit: "TOKENS" as const, want: 1 };
    const { lease_id } = bodyOf(lost.openLease(request));
    const { authority, clock, figures } = lender();
    const report = { ...request, epoch: 1, sequence: 1, spent: 9, held: 0, returned: 0 };
    const { idempotency_key: _, want: __, ...told } = report;
    const verdict = (id: string) => verdictOf(authority.returnLease(id, told));
    expect(verdict(`${lease_id.slice(0, -1)}${lease_id.endsWith("A") ? "B" : "A"}`)).toBe("404 NOT_FOUND");
    expect(verdict(bodyOf(authority.reserve(reserveRequest("r", 1))).reservation_id ?? "")).toBe(
      "404 NOT_FOUND",
    );
    clock.advance(33 * 86_400_000);
    expect(verdict(lease_id)).toBe("404 NOT_FOUND");
    expect(figures()).toBe("1000/0/0/0→1000");
    const { ledger, turn } = openLedger();
    const foreign = new Ledger({ tenant: "other", store: new MemoryStore(), secrets: ["s"] });
    bodyOf(foreign.createTenant({ tenant_id: "other", name: "o" }, turn()));
    bodyOf(foreign.createBudget(budget("tenant:other", 10), turn()));
    const theirs = bodyOf(foreign.openLease({ ...request, subject: { tenant: "other" } }, turn()));
    expect(verdictOf(ledger.returnLease(theirs.lease_id, told, turn()))).toBe("403 FORBIDDEN");
  });
});

describe("a bounded settling", () => {
  test("while holds of its budgets are still to be settled, a report is booked, and grows and shows nothing", () => {
    const { ledger, turn, clock } = openLedger(1_000, { limits: { neededHoldsPerMoment: 1 } });
    const open = (key: string, ttl: number) => {
      const request = {
        idempotency_key: key,
        subject: { tenant: TENANT },
        unit: "TOKENS",
        want: 10,
        ttl_ms: ttl,
      };
      return bodyOf(ledger.openLease(request, turn())).lease_id;
    };
    const id = open("long", 600_000);
    for (let index = 0; index < 80; index += 1) open(`short ${index}`, 1_000);
    clock.advance(1_000 + GRACE_MS + 1);
    const report = { epoch: 1, unit: "TOKENS", sequence: 1, spent: 4, held: 0, returned: 0, want: 50 };
    const reply = bodyOf(ledger.renewLease(id, report, turn()));
    expect(reply).toMatchObject({ sequence: 1, outstanding: 6n });
    expect(reply).not.toHaveProperty("balances");
    expect(verdictOf(ledger.openLease({ ...report, idempotency_key: "n" }, turn()))).toBe(
      "400 INVALID_REQUEST",
    );
    const more = { idempotency_key: "n", subject: { tenant: TENANT }, unit: "TOKENS", want: 1 };
    expect(verdictOf(ledger.openLease(more, turn()))).toBe("503 INTERNAL_ERROR");
    clock.advance(1);
    expect(ledger.sweep(turn())).toBeGreaterThan(0);
    bodyOf(ledger.openLease(more, turn()));
  });
});

describe("a holder with a token", () => {
  /** A ledger with a key, and a token of a cap of 100 that may lease. */
  function withToken(terms: object = {}) {
    const { ledger, store, clock } = openLedger(1_000);
    const as = (caller?: Caller) => ({ nowMs: clock.now(), caller });
    const KEY = { keyId: "0123456789ab", digest: "d" };
    bodyOf(ledger.createApiKey({ tenant_id: TENANT, name: "k" }, { ...KEY, prefix: "p" }, as()));
    bodyOf(ledger.changeApiKeySettings(KEY.keyId, { may_issue_tokens: true }, as()));
    const issued = ledger.issueToken(
      { scope: `tenant:${TENANT}`, cap: tokens(100), ...terms },
      new Uint8Array(16).fill(7),
      as(KEY),
    );
    const tokenId = bodyOf(issued).token_id.split("_")[1] ?? "";
    const figures = () =>
      store
        .readAccounts([`tenant:${TENANT}`, `x-token:${tokenId}`], "TOKENS")
        .map(({ spent, reserved, debt }) => `${spent}/${reserved}/${debt}`);
    const open = (want: number, caller: Caller | undefined = { tokenId }) =>
      ledger.openLease(
        { idempotency_key: "k", subject: { tenant: TENANT }, unit: "TOKENS", want },
        as(caller),
      );
    const told = (sequence: number, spent: bigint | number, held = 0) => ({
      epoch: 1,
      unit: "TOKENS",
      sequence,
      spent,
      held,
      returned: 0,
    });
    return { ledger, clock, as, KEY, caller: { tokenId }, figures, open, told };
  }

  test("leases within its cap, which counts what it spends; what it says beyond that puts nobody into debt", () => {
    const { ledger, as, caller, figures, open, told } = withToken();
    const lease = bodyOf(open(500));
    expect(lease.granted.amount).toBe(100n);
    expect(figures()).toEqual(["0/100/0", "0/100/0"]);
    const renewed = bodyOf(ledger.renewLease(lease.lease_id, { ...told(1, 60), want: 100 }, as(caller)));
    expect(renewed.outstanding).toBe(40n);
    expect(renewed.balances).toHaveLength(1);
    expect(figures()).toEqual(["60/40/0", "60/40/0"]);
    // Once more the same, and the cap has room again: not another report.
    bodyOf(ledger.renewLease(lease.lease_id, { ...told(1, 60), want: 100 }, as(caller)));
    bodyOf(ledger.returnLease(lease.lease_id, told(2, 2n ** 60n), as(caller)));
    expect(figures()).toEqual(["100/0/0", "100/0/0"]);
    bodyOf(ledger.returnLease(lease.lease_id, told(2, 2n ** 60n), as(caller)));
    bodyOf(ledger.returnLease(lease.lease_id, told(3, 2n ** 60n), as(caller)));
    expect(figures()).toEqual(["100/0/0", "100/0/0"]);
  });

  test("sees and reports its own alone, has its own keys, and no more out than its most per operation", () => {
    const { ledger, as, KEY, caller, open, told } = withToken({ max_per_operation: tokens(30) });
    const own = bodyOf(open(31));
    expect(own.outstanding).toBe(30n);
    const others = bodyOf(open(500, KEY));
    expect(others.lease_id).not.toBe(own.lease_id);
    expect(bodyOf(ledger.listLeases({}, as(caller))).leases.map(({ lease_id }) => lease_id)).toEqual([
      own.lease_id,
    ]);
    expect(bodyOf(ledger.listLeases({}, as(KEY))).leases).toHaveLength(2);
    expect(verdictOf(ledger.returnLease(others.lease_id, told(1, 1), as(caller)))).toBe("403 FORBIDDEN");
    expect(verdictOf(ledger.exposure(as(caller)))).toBe("403 FORBIDDEN");
    const grown = bodyOf(ledger.renewLease(own.lease_id, { ...told(1, 20), want: 100 }, as(caller)));
    expect(grown.outstanding).toBe(30n);
  });

  test("a revoked token is not heard; its lease ends by itself, and its key corrects it, also once the cap is forgotten", () => {
    const { ledger, clock, as, KEY, caller, figures, open, told } = withToken();
    const { lease_id } = bodyOf(open(50));
    bodyOf(ledger.revokeToken(caller.tokenId, {}, as(KEY)));
    expect(verdictOf(ledger.renewLease(lease_id, { ...told(1, 5), want: 50 }, as(caller)))).toBe(
      "401 UNAUTHORIZED",
    );
    clock.advance(60_000 + GRACE_MS + 1);
    ledger.sweep(as());
    expect(figures()).toEqual(["50/0/0", "50/0/0"]);
    clock.advance(2 * 3_600_000 + 900_000);
    for (let turn = 0; turn < 3; turn += 1) ledger.sweep(as());
    expect(figures()).toEqual(["50/0/0"]);
    bodyOf(ledger.returnLease(lease_id, told(2, 5), as(KEY)));
    expect(figures()).toEqual(["5/0/0"]);
  });
});

describe("the list", () => {
  test("newest first, page by page, each once; old ones go with their retention", () => {
    const { authority, open, giveBack, clock } = lender();
    for (const key of ["a", "b", "c", "d"]) {
      open(key, 1);
      clock.advance(1);
    }
    giveBack("b", { sequence: 1 });
    const page = (query: object) => bodyOf(authority.listLeases(query));
    const first = page({ limit: 3 });
    const second = page({ limit: 3, cursor: first.next_cursor ?? "" });
    expect([first, second].map(({ leases, has_more }) => [leases.length, has_more])).toEqual([
      [3, true],
      [1, false],
    ]);
    const times = [...first.leases, ...second.leases].map(({ created_at_ms }) => created_at_ms);
    expect(times).toEqual([...new Set(times)].sort((a, b) => b - a));
    expect(page({ status: "RETURNED" }).leases).toHaveLength(1);
    expect(
      verdictOf(authority.listLeases({ limit: 3, status: "ACTIVE", cursor: first.next_cursor ?? "" })),
    ).toBe("400 INVALID_REQUEST");
    clock.advance(33 * 86_400_000);
    open("e", 1);
    giveBack("e", { sequence: 1 });
    expect(page({ status: "RETURNED" }).leases).toHaveLength(1);
  });
});
