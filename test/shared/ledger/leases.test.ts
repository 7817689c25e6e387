// Leases by the ledger's rules: granting and shares, reports in and out of order, expiry by both policies, late spend,
// and what an operator does to them. After each test's steps the figures stand in one line a reader can add up.

import type { BudgetInput, LeaseBody, LeaseRenewalInput, Reply } from "purser/ledger";
import { describe, expect, test } from "vitest";
import { authorityWith, bodyOf, budget, TENANT, verdictOf } from "../../support/ledger-fixtures.ts";

const GRACE_MS = 5_000;

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
    const { authority, open, figures } = lender(1_000, budget(`tenant:${TENANT}/agent:a`, 400));
    const reply = bodyOf(
      open("k", 300, { subject: { tenant: TENANT, agent: "a" }, holder: "page 1", ttl_ms: 30_000 }),
    );
    expect(reply).toMatchObject({
      state: "active",
      epoch: 1,
      sequence: 0,
      granted: { unit: "TOKENS", amount: 300n },
      outstanding: 300n,
      recall: 0n,
      remaining_ttl_ms: 30_000,
      grace_ms: GRACE_MS,
      on_expiry: "charge",
      affected_scopes: [`tenant:${TENANT}`, `tenant:${TENANT}/agent:a`],
    });
    expect(reply).not.toHaveProperty("shortage");
    expect(figures()).toBe("1000/0/300/0→700");
    expect(figures(`tenant:${TENANT}/agent:a`)).toBe("400/0/300/0→100");
    expect(bodyOf(authority.listLeases()).leases).toMatchObject([
      { holder: "page 1", status: "ACTIVE", scope_path: `tenant:${TENANT}/agent:a`, granted: 300n },
    ]);
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

describe("expiry", () => {
  test("what nobody reported counts as spent, until its holder returns it", () => {
    const { open, giveBack, figures, clock, states, authority } = lender();
    open("k", 100, { ttl_ms: 10_000 });
    clock.advance(10_000 + GRACE_MS);
    expect(figures()).toBe("1000/0/100/0→900");
    clock.advance(1);
    expect(figures()).toBe("1000/100/0/0→900");
    expect(states()).toEqual(["EXPIRED 100-0-0=0 +100"]);
    expect(line(giveBack("k", { sequence: 1, spent: 30 }))).toBe("ended 100 0 0");
    expect(figures()).toBe("1000/30/0/0→970");
    expect(verdictOf(giveBack("k", { sequence: 1, spent: 30 }))).toBe("200");
    expect(figures()).toBe("1000/30/0/0→970");
    expect(bodyOf(authority.exposure()).exposure).toEqual([]);
  });
});
