// What every way to the authority answers about leases, in the wire's shapes and through the interface: over HTTP, by RPC
// and in this process. Beside authority-contract.ts and client-contract.ts, and with their invariant: a refusal has
// moved nothing, and all balances add up.

import type { Leased } from "purser/client";
import type { BudgetInput } from "purser/ledger";
import { expect, test } from "vitest";
import type { Answer, TenantWay } from "./authority-contract.ts";
import type { ClientWay } from "./client-contract.ts";

async function lender(
  way: TenantWay,
  allocated = 1_000,
  rest: Partial<BudgetInput> = {},
): Promise<TenantWay> {
  const scope = `tenant:${way.tenant}`;
  const amount = { unit: "TOKENS" as const, amount: allocated };
  expect((await way.createBudget({ scope, unit: "TOKENS", allocated: amount, ...rest })).status).toBe(201);
  return way;
}

/** spent/reserved/debt of the tenant's budget. */
async function figuresOf(way: TenantWay): Promise<string> {
  const { body } = await way.balances({ tenant: way.tenant });
  const [row] = body.balances as Record<string, { amount: number } | undefined>[];
  const of = (name: string) => row?.[name]?.amount ?? 0;
  expect(of("remaining")).toBe(of("allocated") - of("spent") - of("reserved") - of("debt"));
  return `${of("spent")}/${of("reserved")}/${of("debt")}`;
}

const verdict = ({ status, body }: Answer): string =>
  "error" in body ? `${status} ${String(body.error)}` : `${status} ${String(body.state)}`;

const ask = (way: TenantWay, key: string, want: number, rest: object = {}) => ({
  idempotency_key: key,
  subject: { tenant: way.tenant },
  unit: "TOKENS",
  want,
  ...rest,
});

/** The wire's leases. Called within the contract of a way. */
export function leaseContract(open: () => Promise<TenantWay>): void {
  test("leases: opened, renewed, returned, listed, and the sum of what is out", async () => {
    const way = await lender(await open());
    const scope = `tenant:${way.tenant}`;
    const opened = await way.openLease(ask(way, "k", 300, { ttl_ms: 30_000, holder: "page" }));
    expect(opened).toEqual({
      status: 200,
      body: {
        lease_id: expect.stringMatching(/^l[-\w]{34,}$/),
        epoch: 1,
        sequence: 0,
        state: "active",
        granted: { unit: "TOKENS", amount: 300 },
        outstanding: 300,
        recall: 0,
        remaining_ttl_ms: 30_000,
        grace_ms: 5_000,
        expires_at_ms: expect.any(Number),
        on_expiry: "charge",
        affected_scopes: [scope],
        balances: [expect.objectContaining({ scope_path: scope, reserved: { unit: "TOKENS", amount: 300 } })],
      },
    });
    const id = String(opened.body.lease_id);
    expect(await way.openLease(ask(way, "k", 300, { ttl_ms: 30_000, holder: "page" }))).toMatchObject({
      status: 200,
      body: { lease_id: id, outstanding: 300 },
    });
    expect(verdict(await way.openLease(ask(way, "k", 301)))).toBe("409 IDEMPOTENCY_MISMATCH");

    const report = { epoch: 1, unit: "TOKENS", sequence: 1, spent: 120, held: 30, returned: 0 };
    const renewed = await way.renewLease(id, { ...report, want: 300 });
    expect(renewed).toMatchObject({
      status: 200,
      body: { sequence: 1, outstanding: 300, granted: { amount: 420 } },
    });
    expect(await figuresOf(way)).toBe("120/300/0");
    expect(await way.exposure()).toEqual({
      status: 200,
      body: { exposure: [{ unit: "TOKENS", leases: 1, outstanding: 300, beyond: 0 }] },
    });
    expect(verdict(await way.renewLease(id, { ...report, spent: 119, want: 0 }))).toBe(
      "409 IDEMPOTENCY_MISMATCH",
    );
    expect(verdict(await way.renewLease(id, { ...report, sequence: 2, spent: 119, want: 0 }))).toBe(
      "400 INVALID_REQUEST",
    );
    expect(verdict(await way.renewLease(id, { ...report, sequence: 2, epoch: 2, want: 0 }))).toBe(
      "400 INVALID_REQUEST",
    );
    expect(verdict(await way.renewLease(id, { ...report, sequence: 2, unit: "CREDITS", want: 0 }))).toBe(
      "400 UNIT_MISMATCH",
    );

    const returned = await way.returnLease(id, { ...report, sequence: 2, spent: 150, held: 0 });
    expect(returned).toMatchObject({
      status: 200,
      body: { state: "ended", outstanding: 0, remaining_ttl_ms: 0 },
    });
    expect(await figuresOf(way)).toBe("150/0/0");
    const { body } = await way.leases({ limit: "5" });
    expect(body).toEqual({
      leases: [
        {
          lease_id: id,
          epoch: 1,
          status: "RETURNED",
          holder: "page",
          scope_path: scope,
          unit: "TOKENS",
          granted: 420,
          spent: 150,
          returned: 270,
          held: 0,
          outstanding: 0,
          charged: 0,
          sequence: 2,
          created_at_ms: expect.any(Number),
          renewed_at_ms: expect.any(Number),
          expires_at_ms: expect.any(Number),
        },
      ],
      has_more: false,
    });
    expect((await way.leases({ status: "ACTIVE" })).body).toEqual({ leases: [], has_more: false });
  });

  test("leases: less than is wanted near exhaustion, never less than the minimum", async () => {
    const way = await lender(await open(), 100);
    const first = await way.openLease(ask(way, "a", 80));
    const second = await way.openLease(ask(way, "b", 80, { min: 10 }));
    expect(second.body).toMatchObject({
      granted: { amount: 20 },
      shortage: { error: "BUDGET_EXCEEDED", details: { requested: 80, remaining: 20 } },
    });
    const before = await figuresOf(way);
    const third = await way.openLease(ask(way, "c", 80, { min: 1 }));
    expect(third).toMatchObject({
      status: 409,
      body: { error: "BUDGET_EXCEEDED", details: { requested: 1 } },
    });
    expect(await figuresOf(way)).toBe(before);
    // With somebody waiting, the idle part of the large one is asked for.
    const report = { epoch: 1, unit: "TOKENS", sequence: 1, spent: 0, held: 0, returned: 0, want: 80 };
    const renewed = await way.renewLease(String(first.body.lease_id), report);
    expect(renewed.body).toMatchObject({ outstanding: 80, recall: 47 });
    const given = { ...report, sequence: 2, returned: 47, want: 33 };
    await way.renewLease(String(first.body.lease_id), given);
    expect((await way.openLease(ask(way, "c", 80, { min: 1 }))).body).toMatchObject({
      granted: { amount: 33 },
    });
    expect(await figuresOf(way)).toBe("0/86/0");
  });

  test("leases: settings, and an epoch that ends all of an earlier one", async () => {
    const way = await lender(await open());
    expect((await way.leaseSettings()).body).toEqual({
      tenant_id: way.tenant,
      epoch: 1,
      on_expiry: "charge",
      ttl_ms_max: 600_000,
      grace_ms: 5_000,
    });
    expect(verdict(await way.setLeaseSettings({ grace_ms: 60_001 }))).toBe("400 INVALID_REQUEST");
    const set = { on_expiry: "refund", ttl_ms_max: 20_000, grace_ms: 0 };
    expect((await way.setLeaseSettings(set)).body).toMatchObject({ epoch: 1, ...set });
    const opened = await way.openLease(ask(way, "k", 100));
    expect(opened.body).toMatchObject({ on_expiry: "refund", remaining_ttl_ms: 20_000, grace_ms: 0 });

    const raised = await way.raiseLeaseEpoch();
    expect(raised.status).toBe(200);
    expect(Number(raised.body.epoch)).toBeGreaterThan(1);
    expect(await figuresOf(way)).toBe("0/0/0");
    expect((await way.exposure()).body).toEqual({
      exposure: [{ unit: "TOKENS", leases: 0, outstanding: 0, beyond: 100 }],
    });
    const id = String(opened.body.lease_id);
    const late = { epoch: 1, unit: "TOKENS", sequence: 1, spent: 60, held: 0, returned: 0 };
    expect(verdict(await way.returnLease(id, late))).toBe("200 ended");
    expect(verdict(await way.returnLease(id, late))).toBe("200 ended");
    expect(await figuresOf(way)).toBe("60/0/0");
    expect((await way.exposure()).body).toEqual({ exposure: [] });
    const again = await way.openLease(ask(way, "k", 100));
    expect(again.body).toMatchObject({ epoch: raised.body.epoch, outstanding: 100 });
    expect(again.body.lease_id).not.toBe(id);
  });

  test("leases: what is not known, not owned or not well-formed", async () => {
    const way = await lender(await open());
    const report = { epoch: 1, unit: "TOKENS", sequence: 1, spent: 0, held: 0, returned: 0 };
    expect(verdict(await way.returnLease("lAAAunknown", report))).toBe("404 NOT_FOUND");
    expect(verdict(await way.openLease(ask(way, "a", 0)))).toBe("400 INVALID_REQUEST");
    expect(verdict(await way.openLease(ask(way, "a", 5, { min: 6 })))).toBe("400 INVALID_REQUEST");
    expect(verdict(await way.openLease(ask(way, "a", 5, { ttl_ms: 999 })))).toBe("400 INVALID_REQUEST");
    expect(verdict(await way.openLease(ask(way, "a", 5, { unit: "CREDITS" })))).toBe("400 UNIT_MISMATCH");
    expect(verdict(await way.openLease(ask(way, "a", 5, { subject: { tenant: "other-one" } })))).toBe(
      "403 FORBIDDEN",
    );
    expect(verdict(await way.leases({ cursor: "x" }))).toBe("400 INVALID_REQUEST");
    expect(await figuresOf(way)).toBe("0/0/0");
  });
}

/** The interface's leases. Called within the contract of a way. */
export function leaseClientContract(open: () => Promise<ClientWay>): void {
  const leased = (answer: Leased | { readonly ok: false }): Leased => {
    if (answer.ok) return answer;
    throw new Error(`expected a lease, got ${JSON.stringify(answer)}`);
  };

  test("a lease through the interface, to its end", async () => {
    const { tenant, numbers } = await open();
    await lender(tenant);
    const lease = leased(await numbers.lease({ unit: "TOKENS", want: 400, ttlMs: 30_000, holder: "page" }));
    expect(lease).toMatchObject({
      ok: true,
      state: "active",
      sequence: 0,
      granted: { unit: "TOKENS", amount: 400 },
      outstanding: 400,
      recall: 0,
      remainingTtlMs: 30_000,
      graceMs: 5_000,
      onExpiry: "charge",
      affectedScopes: [`tenant:${tenant.tenant}`],
      balances: [{ reserved: 400, remaining: 600 }],
    });
    const name = { leaseId: lease.leaseId, epoch: lease.epoch, unit: "TOKENS" as const };
    const told = { sequence: 1, spent: 100, held: 20, returned: 0 };
    const renewed = await numbers.renewLease(name, { ...told, want: 5_000 });
    expect(renewed).toMatchObject({
      outstanding: 900,
      granted: { amount: 1_000 },
      shortage: {
        code: "BUDGET_EXCEEDED",
        retry: "never",
        figures: { requested: 4_700, available: 600, limit: 1_000 },
      },
    });
    expect(await numbers.exposure()).toEqual([{ unit: "TOKENS", leases: 1, outstanding: 900, beyond: 0 }]);
    const states: unknown[] = [];
    for await (const state of numbers.leases({ status: "ACTIVE", pageRows: 1 })) states.push(state);
    expect(states).toMatchObject([
      { leaseId: lease.leaseId, status: "ACTIVE", holder: "page", spent: 100, held: 20, outstanding: 900 },
    ]);
    const ended = await numbers.returnLease(name, { sequence: 2, spent: 110, held: 0, returned: 0 });
    expect(ended).toMatchObject({ state: "ended", outstanding: 0, balances: [{ spent: 110, reserved: 0 }] });
    // Spent beyond the grant by a report that comes after the end: charged, as debt.
    const late = await numbers.returnLease(name, { sequence: 3, spent: 1_200, held: 0, returned: 0 });
    expect(late).toMatchObject({ state: "ended", balances: [{ spent: 1_000, debt: 200, remaining: -200 }] });
  });

  test("a lease that cannot be had is a denial; a report that cannot be is an error", async () => {
    const { tenant, numbers } = await open();
    expect(await numbers.lease({ unit: "TOKENS", want: 1 })).toMatchObject({
      ok: false,
      denial: { code: "BUDGET_NOT_FOUND", retry: "never" },
    });
    await lender(tenant, 10);
    expect(await numbers.lease({ unit: "TOKENS", want: 20, min: 11 })).toMatchObject({
      ok: false,
      denial: { code: "BUDGET_EXCEEDED", figures: { requested: 11, available: 10 } },
    });
    const name = { leaseId: "lnobody", epoch: 1, unit: "TOKENS" as const };
    await expect(
      numbers.returnLease(name, { sequence: 1, spent: 1, held: 0, returned: 0 }),
    ).rejects.toMatchObject({ code: "NOT_FOUND", outcome: "refused" });
    await expect(numbers.returnLease(name, { sequence: 0, spent: 1, held: 0, returned: 0 })).rejects.toThrow(
      RangeError,
    );
    await expect(numbers.lease({ unit: "TOKENS", want: 1.5 })).rejects.toThrow(RangeError);
  });
}
