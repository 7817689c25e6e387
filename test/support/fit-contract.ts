// What every way to the authority answers to a reservation of as much as there is, in the wire's shapes and through the
// interface: over HTTP, by RPC and in this process. Beside authority-contract.ts and client-contract.ts, and with their
// invariant: a refusal has moved nothing, and all balances add up.

import { expect, test } from "vitest";
import type { Answer, TenantWay } from "./authority-contract.ts";
import type { ClientWay } from "./client-contract.ts";

const tokens = (amount: number) => ({ unit: "TOKENS" as const, amount });
const ACTION = { kind: "llm.completion", name: "model" };

/** A tenant with 1,000 tokens, of which its agent may have 400. */
async function withBudgets(way: TenantWay): Promise<TenantWay> {
  for (const [below, amount] of [
    ["", 1_000],
    ["/agent:a", 400],
  ] as const) {
    const scope = `tenant:${way.tenant}${below}`;
    expect((await way.createBudget({ scope, unit: "TOKENS", allocated: tokens(amount) })).status).toBe(201);
  }
  return way;
}

/** spent/reserved of the tenant's budget and of its agent's. */
async function figuresOf(way: TenantWay): Promise<string[]> {
  const { body } = await way.balances({ tenant: way.tenant });
  return (body.balances as Record<string, { amount: number } | undefined>[]).map((row) => {
    const of = (name: string) => row[name]?.amount ?? 0;
    expect(of("remaining")).toBe(of("allocated") - of("spent") - of("reserved") - of("debt"));
    return `${of("spent")}/${of("reserved")}`;
  });
}

const verdict = ({ status, body }: Answer): string =>
  "error" in body ? `${status} ${String(body.error)}` : String(status);

/** The tests, in the describe block of {@link authorityContract}. */
export function fitContract(open: () => Promise<TenantWay>): void {
  const openTenant = async () => withBudgets(await open());
  const ask = (way: TenantWay, key: string, want: number, min: number, rest: object = {}) => ({
    idempotency_key: key,
    subject: { tenant: way.tenant, agent: "a" },
    action: ACTION,
    estimate: tokens(want),
    estimate_min: min,
    ...rest,
  });

  test("fit: what the tightest budget has, the same again for the same key, and settled as what it is", async () => {
    const way = await openTenant();
    const first = await way.reserveFit(ask(way, "1", 300, 100));
    expect([first.status, first.body.reserved]).toEqual([200, tokens(300)]);
    const second = await way.reserveFit(ask(way, "2", 300, 100));
    expect([second.status, second.body.reserved]).toEqual([200, tokens(100)]);
    const again = await way.reserveFit(ask(way, "2", 300, 100));
    expect(again.body).toMatchObject({ reservation_id: second.body.reservation_id, reserved: tokens(100) });
    expect(await figuresOf(way)).toEqual(["0/400", "0/400"]);
    expect(await way.reservation(String(second.body.reservation_id))).toMatchObject({
      body: { reserved: tokens(100), status: "ACTIVE" },
    });
    const settled = await way.commit(String(second.body.reservation_id), {
      idempotency_key: "2",
      actual: tokens(60),
    });
    expect(settled.body).toMatchObject({ charged: tokens(60), released: tokens(40) });
    expect(await figuresOf(way)).toEqual(["60/300", "60/300"]);
  });

  test("fit: less than the least is a refusal about the least; a question answers what would be reserved", async () => {
    const way = await openTenant();
    expect((await way.reserveFit(ask(way, "q", 900, 1, { dry_run: true }))).body).toMatchObject({
      decision: "ALLOW",
      reserved: tokens(400),
    });
    expect(await figuresOf(way)).toEqual(["0/0", "0/0"]);
    const refused = await way.reserveFit(ask(way, "1", 900, 401));
    expect(verdict(refused)).toBe("409 BUDGET_EXCEEDED");
    expect(refused.body.details).toMatchObject({ requested: 401, remaining: 400 });
    expect((await way.reserveFit(ask(way, "2", 900, 401, { dry_run: true }))).body).toMatchObject({
      decision: "DENY",
    });
    expect(await figuresOf(way)).toEqual(["0/0", "0/0"]);
    expect((await way.reserveFit(ask(way, "3", 900, 400))).body.reserved).toEqual(tokens(400));
    expect(verdict(await way.reserveFit(ask(way, "4", 900, 1)))).toBe("409 BUDGET_EXCEEDED");
    expect((await way.reserveFit(ask(way, "5", 900, 0))).body.reserved).toEqual(tokens(0));
  });

  test("fit: one key is one request, whichever kind it was", async () => {
    const way = await openTenant();
    const { estimate_min, ...plain } = ask(way, "k", 100, 50);
    expect((await way.reserveFit({ ...plain, estimate_min })).status).toBe(200);
    expect(verdict(await way.reserve(plain))).toBe("409 IDEMPOTENCY_MISMATCH");
    expect(verdict(await way.reserveFit({ ...plain, estimate_min: 51 }))).toBe("409 IDEMPOTENCY_MISMATCH");
    expect(await figuresOf(way)).toEqual(["0/100", "0/100"]);
  });

  test.each([
    ["none", { estimate_min: undefined }],
    ["more than the estimate", { estimate_min: 101 }],
    ["below 0", { estimate_min: -1 }],
    ["a fraction", { estimate_min: 1.5 }],
    ["a text", { estimate_min: "1" }],
    ["an amount", { estimate_min: tokens(1) }],
    ["an unknown field", { estimate_max: 1 }],
  ])("fit: a least that is %s is 400, and nothing moved", async (_, rest) => {
    const way = await openTenant();
    const request = Object.entries(ask(way, "k", 100, 1, rest)).filter(([, value]) => value !== undefined);
    const refused = await way.reserveFit(Object.fromEntries(request));
    expect(verdict(refused)).toBe("400 INVALID_REQUEST");
    expect(String(refused.body.message)).toMatch(/estimate_m(in|ax)/);
    expect(await figuresOf(way)).toEqual(["0/0", "0/0"]);
  });

  test("fit: the protocol's own request knows no least", async () => {
    const way = await openTenant();
    expect(verdict(await way.reserve(ask(way, "k", 100, 1)))).toBe("400 INVALID_REQUEST");
  });
}

/** The same through the interface, in the describe block of {@link clientContract}. */
export function fitClientContract(open: () => Promise<ClientWay>): void {
  const call = (want: number, min: number) => ({
    subject: { agent: "a" },
    action: ACTION,
    estimate: tokens(want),
    min,
  });

  test("fit: reserve and guard get what there is, in numbers and exactly", async () => {
    const { tenant, numbers, exact } = await open();
    await withBudgets(tenant);
    expect(await numbers.reserve(call(300, 1))).toMatchObject({ ok: true, reserved: tokens(300) });
    const guard = await exact.guard(call(300, 1));
    if (!guard.ok) throw new Error("expected a guard");
    expect(guard.reserved).toEqual({ unit: "TOKENS", amount: 100n });
    expect(await numbers.reserve(call(300, 1))).toMatchObject({
      ok: false,
      denial: { code: "BUDGET_EXCEEDED", retry: "when-released", figures: { requested: 1, available: 0 } },
    });
    expect(await guard.commit({ actual: 70n })).toMatchObject({
      charged: { amount: 70n },
      released: { amount: 30n },
    });
    expect(await numbers.reserve(call(300, 30))).toMatchObject({ ok: true, reserved: tokens(30) });
    expect(await figuresOf(tenant)).toEqual(["70/330", "70/330"]);
  });

  test("fit: a least that is no amount, or more than the estimate, is not sent", async () => {
    const { tenant, numbers } = await open();
    await withBudgets(tenant);
    const refusal = { code: "ARGUMENT_INVALID" };
    for (const min of [-1, 1.5, Number.NaN, 101, 2 ** 53, "1" as never]) {
      await expect(numbers.reserve(call(100, min))).rejects.toMatchObject(refusal);
    }
    expect(await figuresOf(tenant)).toEqual(["0/0", "0/0"]);
  });
}
