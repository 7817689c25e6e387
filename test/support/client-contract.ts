// What the interface answers, whichever way leads to the authority: the same calls get the same values, denials and
// errors over HTTP, by RPC and in this process. Beside authority-contract.ts, which asks the same of the wire.
// Invariant of every test: after what was refused, all balances are as they were before.

import type { Authority, Balance, Denied, Granted, ReserveRequest } from "purser/client";
import type { BudgetInput } from "purser/ledger";
import { describe, expect, test } from "vitest";
import type { TenantWay } from "./authority-contract.ts";
import { fitClientContract } from "./fit-contract.ts";
import { leaseClientContract } from "./lease-contract.ts";

/** One tenant and two authorities on it; `numbers` was opened with the tenant as its subject, `exact` like it. */
export interface ClientWay {
  readonly tenant: TenantWay;
  readonly numbers: Authority;
  readonly exact: Authority<bigint>;
}

const tokens = (amount: number) => ({ unit: "TOKENS" as const, amount });
const ACTION = { kind: "llm.completion", name: "model" };

export function clientContract(name: string, open: () => Promise<ClientWay>): void {
  async function openWith(
    budgets: Readonly<Record<string, number | bigint>> = { "": 1000 },
    rest: Partial<BudgetInput> = {},
  ): Promise<ClientWay> {
    const way = await open();
    for (const [below, amount] of Object.entries(budgets)) {
      const scope = `tenant:${way.tenant.tenant}${below}`;
      const allocated = { unit: "TOKENS" as const, amount };
      expect((await way.tenant.createBudget({ scope, unit: "TOKENS", allocated, ...rest })).status).toBe(201);
    }
    return way;
  }

  const ask = (amount: number, rest: Partial<ReserveRequest> = {}): ReserveRequest => ({
    action: ACTION,
    estimate: tokens(amount),
    ...rest,
  });

  /** What `work` rejects with, as plain fields; and that it moved nothing. */
  async function rejection(authority: Authority, work: () => Promise<unknown>) {
    const before = await authority.balances();
    const error = await work().then(
      (value) => expect.fail(`expected a rejection, got ${JSON.stringify(value)}`),
      (thrown: unknown) => thrown,
    );
    expect(await authority.balances()).toEqual(before);
    const { code, outcome, status, details, idempotencyKey, message } = error as Record<string, unknown>;
    return { code, outcome, status, details, idempotencyKey, message };
  }

  describe(`an Authority, ${name}`, () => {
    test("reserve, look, extend, commit", async () => {
      const { tenant, numbers } = await openWith();
      const scope = `tenant:${tenant.tenant}`;
      const balance = (remaining: number, reserved: number, spent: number): Balance => ({
        scopePath: scope,
        unit: "TOKENS",
        remaining,
        allocated: 1000,
        spent,
        reserved,
        debt: 0,
        overdraftLimit: 0,
        isOverLimit: false,
      });
      const held = granted(
        await numbers.reserve(ask(300, { idempotencyKey: "k", ttlMs: 30_000, metadata: { run: 7 } })),
      );
      expect(held).toEqual({
        ok: true,
        decision: "ALLOW",
        reservationId: expect.any(String),
        reserved: tokens(300),
        expiresAtMs: expect.any(Number),
        remainingTtlMs: 30_000,
        affectedScopes: [scope],
        balances: [balance(700, 300, 0)],
      });
      const id = held.reservationId;
      expect(await numbers.reservation(id)).toEqual({
        reservationId: id,
        status: "ACTIVE",
        idempotencyKey: "k",
        subject: { tenant: tenant.tenant },
        action: ACTION,
        reserved: tokens(300),
        createdAtMs: held.expiresAtMs - 30_000,
        expiresAtMs: held.expiresAtMs,
        scopePath: scope,
        affectedScopes: [scope],
        metadata: { run: 7 },
      });
      expect(await numbers.extend(id, { extendByMs: 5_000 })).toMatchObject({
        ok: true,
        expiresAtMs: held.expiresAtMs + 5_000,
      });
      const metrics = {
        tokensInput: 100,
        tokensOutput: 20,
        latencyMs: 7,
        modelVersion: "1",
        custom: { a: 1 },
      };
      expect(await numbers.commit(id, { actual: tokens(120), metrics, metadata: { end: "stop" } })).toEqual({
        ok: true,
        charged: tokens(120),
        released: tokens(180),
        balances: [balance(880, 0, 120)],
      });
      expect(await numbers.balances()).toEqual([balance(880, 0, 120)]);
      expect(await numbers.reservation(id)).toMatchObject({
        status: "COMMITTED",
        committed: tokens(120),
        finalizedAtMs: expect.any(Number),
        committedMetadata: { end: "stop" },
      });
    });

    test("a commit of everything has released nothing; a release gives everything back", async () => {
      const { numbers } = await openWith();
      const [first, second] = [
        granted(await numbers.reserve(ask(300))),
        granted(await numbers.reserve(ask(200))),
      ];
      expect(await numbers.commit(first.reservationId, { actual: tokens(300) })).toMatchObject({
        charged: tokens(300),
        released: tokens(0),
      });
      expect(await numbers.release(second.reservationId, { reason: "not needed" })).toMatchObject({
        ok: true,
        released: tokens(200),
      });
      expect(await numbers.balances()).toMatchObject([{ spent: 300, reserved: 0, remaining: 700 }]);
    });

    test("the subject's levels are added to those the authority was opened with", async () => {
      const { tenant, numbers } = await openWith({ "": 1000, "/agent:bot": 100 });
      const scopes = [`tenant:${tenant.tenant}`, `tenant:${tenant.tenant}/agent:bot`];
      const held = granted(await numbers.reserve(ask(80, { subject: { agent: "Bot" } })));
      expect(held.affectedScopes).toEqual(scopes);
      expect((await numbers.balances()).map(({ scopePath, reserved }) => [scopePath, reserved])).toEqual([
        [scopes[0], 80],
        [scopes[1], 80],
      ]);
      expect(await numbers.balances({ tenant: tenant.tenant, agent: "bot" })).toHaveLength(1);
    });

    test("a guard is settled once, and released when it is dropped", async () => {
      const { numbers, exact } = await openWith();
      const guard = await numbers.guard(ask(300));
      if (!guard.ok) throw new Error(guard.denial.message);
      expect(await guard.commit({ actual: 120, metrics: { tokensOutput: 20 } })).toMatchObject({ ok: true });
      await expect(guard.commit({ actual: 120 })).rejects.toMatchObject({ code: "RESERVATION_SETTLED" });
      const dropped = await exact.guard(ask(500));
      if (!dropped.ok) throw new Error(dropped.denial.message);
      {
        await using own = dropped;
        expect(own.reserved).toEqual({ unit: "TOKENS", amount: 500n });
      }
      expect(await numbers.balances()).toMatchObject([{ spent: 120, reserved: 0, remaining: 880 }]);
      expect(await numbers.guard(ask(881))).toMatchObject({ ok: false, denial: { code: "BUDGET_EXCEEDED" } });
    });

    test("what a guard spent is an event once its reservation has expired, and counts once", async ({
      skip,
    }) => {
      const { tenant, numbers } = await openWith();
      if (tenant.advance === undefined) return skip("this way has a clock that nobody sets");
      const guard = await numbers.guard(ask(300, { ttlMs: 1_000, gracePeriodMs: 0 }), { heartbeat: false });
      if (!guard.ok) throw new Error(guard.denial.message);
      await tenant.advance(1_001);
      expect(await guard.commit({ actual: 120, metadata: { run: 7 } })).toMatchObject({
        ok: true,
        charged: tokens(120),
        released: tokens(0),
        eventId: expect.any(String),
      });
      expect(guard.isOver).toBe(true);
      expect(await numbers.flush()).toEqual({ outstanding: 0 });
      expect(await numbers.balances()).toMatchObject([{ spent: 120, reserved: 0, remaining: 880 }]);
    });

    describe("denials are values that say what to do", () => {
      test("too much for now, too much for ever, and the figures of the budget that said no", async () => {
        const { tenant, numbers } = await openWith({ "": 1000, "/agent:bot": 100 });
        const subject = { agent: "bot" };
        const held = granted(await numbers.reserve(ask(60, { subject })));
        const refused = denied(await numbers.reserve(ask(41, { subject })));
        expect(refused).toEqual({
          code: "BUDGET_EXCEEDED",
          message: expect.stringContaining("Budget exceeded for"),
          scope: `tenant:${tenant.tenant}/agent:bot`,
          figures: { unit: "TOKENS", requested: 41, limit: 100, available: 40, spent: 0, held: 60, debt: 0 },
          retry: "when-released",
        });
        expect(denied(await numbers.reserve(ask(101, { subject }))).retry).toBe("never");
        await numbers.commit(held.reservationId, { actual: tokens(60) });
        expect(denied(await numbers.reserve(ask(41, { subject })))).toMatchObject({
          figures: { available: 40, spent: 60, held: 0 },
          retry: "never",
        });
        expect(await numbers.balances({ tenant: tenant.tenant, agent: "bot" })).toMatchObject([
          { reserved: 0 },
        ]);
      });

      test("no budget at all", async () => {
        const { numbers } = await openWith({});
        const none = { code: "BUDGET_NOT_FOUND", retry: "never" };
        expect(denied(await numbers.reserve(ask(1)))).toMatchObject(none);
        expect(denied(await numbers.decide(ask(1)))).toMatchObject(none);
        expect(denied(await numbers.recordEvent({ action: ACTION, actual: tokens(1) }))).toMatchObject(none);
      });

      test("decide takes nothing and is asked like a reserve", async () => {
        const { tenant, numbers } = await openWith({ "": 100 });
        await numbers.reserve(ask(60));
        expect(await numbers.decide(ask(40))).toEqual({
          ok: true,
          decision: "ALLOW",
          affectedScopes: [`tenant:${tenant.tenant}`],
        });
        expect(denied(await numbers.decide(ask(41)))).toMatchObject({
          code: "BUDGET_EXCEEDED",
          retry: "when-released",
        });
        expect(await numbers.balances()).toMatchObject([{ reserved: 60 }]);
      });

      test("a commit that the policy refuses leaves the reservation as it was", async () => {
        const { numbers } = await openWith({ "": 100 });
        const { reservationId } = granted(await numbers.reserve(ask(60, { overagePolicy: "REJECT" })));
        const refused = await numbers.commit(reservationId, { actual: tokens(61) });
        expect(denied(refused)).toMatchObject({ code: "BUDGET_EXCEEDED" });
        expect(await numbers.reservation(reservationId)).toMatchObject({ status: "ACTIVE" });
        expect(await numbers.commit(reservationId, { actual: tokens(60) })).toMatchObject({ ok: true });
      });

      test("debt, and what a budget may not owe", async () => {
        const { numbers } = await openWith({ "": 100 }, { overdraft_limit: tokens(50) });
        const event = { action: ACTION, overagePolicy: "ALLOW_WITH_OVERDRAFT" as const };
        expect(await numbers.recordEvent({ ...event, actual: tokens(130) })).toMatchObject({
          ok: true,
          charged: tokens(130),
        });
        expect(denied(await numbers.recordEvent({ ...event, actual: tokens(21) }))).toMatchObject({
          code: "OVERDRAFT_LIMIT_EXCEEDED",
          retry: "never",
        });
        expect(await numbers.balances()).toMatchObject([{ spent: 100, debt: 30, overdraftLimit: 50 }]);
      });

      test("an extension too many", async () => {
        const { numbers } = await openWith();
        const { reservationId } = granted(await numbers.reserve(ask(1)));
        for (let n = 0; n < 10; n++) {
          expect(await numbers.extend(reservationId, { extendByMs: 1 })).toMatchObject({ ok: true });
        }
        expect(denied(await numbers.extend(reservationId, { extendByMs: 1 }))).toMatchObject({
          code: "MAX_EXTENSIONS_EXCEEDED",
          retry: "never",
        });
      });
    });

    test("an event is charged in full, or what the budget has, and says which", async () => {
      const { numbers } = await openWith({ "": 100 });
      const event = { action: ACTION, metrics: { tokensOutput: 3 }, clientTimeMs: 1 };
      expect(await numbers.recordEvent({ ...event, actual: tokens(70) })).toMatchObject({
        ok: true,
        eventId: expect.any(String),
        charged: tokens(70),
      });
      expect(await numbers.recordEvent({ ...event, actual: tokens(70) })).toMatchObject({
        charged: tokens(30),
      });
      expect(await numbers.balances()).toMatchObject([{ spent: 100, remaining: 0, isOverLimit: true }]);
    });

    describe("keys", () => {
      test("one key is one change; without one each call is its own", async () => {
        const { numbers } = await openWith();
        const first = granted(await numbers.reserve(ask(10, { idempotencyKey: "k" })));
        const again = granted(await numbers.reserve(ask(10, { idempotencyKey: "k" })));
        expect(again.reservationId).toBe(first.reservationId);
        expect(
          await rejection(numbers, () => numbers.reserve(ask(11, { idempotencyKey: "k" }))),
        ).toMatchObject({
          code: "IDEMPOTENCY_MISMATCH",
          outcome: "refused",
          status: 409,
          idempotencyKey: "k",
        });
        const commit = { idempotencyKey: "c", actual: tokens(7) };
        const committed = await numbers.commit(first.reservationId, commit);
        expect(await numbers.commit(first.reservationId, commit)).toEqual(committed);
        const others = [await numbers.reserve(ask(1)), await numbers.reserve(ask(1))].map(granted);
        expect(new Set(others.map((it) => it.reservationId)).size).toBe(2);
        expect(await numbers.balances()).toMatchObject([{ spent: 7, reserved: 2 }]);
      });
    });

    describe("errors are thrown, with the wire's code and what is known of the outcome", () => {
      test("what cannot be settled any more", async () => {
        const { numbers } = await openWith();
        const { reservationId: id } = granted(await numbers.reserve(ask(10)));
        await numbers.commit(id, { actual: tokens(4) });
        const finalized = {
          code: "RESERVATION_FINALIZED",
          outcome: "refused",
          idempotencyKey: expect.any(String),
        };
        expect(await rejection(numbers, () => numbers.commit(id, { actual: tokens(4) }))).toMatchObject(
          finalized,
        );
        expect(await rejection(numbers, () => numbers.release(id))).toMatchObject(finalized);
        expect(await rejection(numbers, () => numbers.extend(id, { extendByMs: 1 }))).toMatchObject(
          finalized,
        );
      });

      test("what was asked wrongly", async () => {
        const { tenant, numbers } = await openWith();
        const credits = { estimate: { unit: "CREDITS" as const, amount: 1 } };
        expect(await rejection(numbers, () => numbers.reserve(ask(1, credits)))).toMatchObject({
          code: "UNIT_MISMATCH",
          status: 400,
          details: {
            scope: `tenant:${tenant.tenant}`,
            requested_unit: "CREDITS",
            expected_units: ["TOKENS"],
          },
        });
        const subject = { agent: "no spaces" };
        expect(await rejection(numbers, () => numbers.reserve(ask(1, { subject })))).toMatchObject({
          code: "INVALID_REQUEST",
          message: expect.stringContaining("subject.agent"),
        });
        const other = { tenant: "somebody-else" };
        expect(await rejection(numbers, () => numbers.reserve(ask(1, { subject: other })))).toMatchObject({
          code: "FORBIDDEN",
        });
        expect(await rejection(numbers, () => numbers.reservation("no-such-id"))).toMatchObject({
          code: "NOT_FOUND",
          idempotencyKey: undefined,
        });
      });

      test.each([
        ["a member that is undefined", { a: undefined, b: 1 }, { b: 1 }],
        ["a Date", { at: new Date(0) }, { at: "1970-01-01T00:00:00.000Z" }],
        ["what is undefined in a list", { a: [undefined, 1] }, { a: [null, 1] }],
        ["what has a form of its own", { a: { toJSON: () => "text" } }, { a: "text" }],
        ["numbers of any form", { a: -0, b: 1.5, c: 1e21 }, { a: 0, b: 1.5, c: 1e21 }],
        ["as many bytes as can be", { a: "x".repeat(16_376) }, { a: "x".repeat(16_376) }],
        [
          "as many bytes as can be, of more than one each",
          { a: "é".repeat(8_188) },
          { a: "é".repeat(8_188) },
        ],
        ["one byte more", { a: "x".repeat(16_377) }, "INVALID_REQUEST"],
        ["null", null, "INVALID_REQUEST"],
        ["a list", [1], "INVALID_REQUEST"],
        ["half of a surrogate pair", { a: "\ud800" }, "INVALID_REQUEST"],
        ["a function", { a: () => 1 }, "ARGUMENT_INVALID"],
        ["no number", { a: Number.NaN }, "ARGUMENT_INVALID"],
      ] as const)("metadata with %s means the same everywhere", async (_, metadata, expected) => {
        const { numbers } = await openWith();
        const reserving = () => numbers.reserve({ ...ask(1), metadata: metadata as never });
        if (typeof expected === "string") {
          expect(await rejection(numbers, reserving)).toMatchObject({ code: expected });
        } else {
          const { reservationId } = granted(await reserving());
          expect((await numbers.reservation(reservationId)).metadata).toEqual(expected);
        }
      });

      test.each([
        ["estimate.amount", "an integer from 0", (it: Authority) => it.reserve(ask(-1))],
        ["estimate.amount", "0.5", (it: Authority) => it.decide(ask(0.5))],
        ["actual.amount", "NaN", (it: Authority) => it.commit("id", { actual: tokens(Number.NaN) })],
        ["ttlMs", "NaN", (it: Authority) => it.reserve(ask(1, { ttlMs: Number.NaN }))],
        ["extendByMs", "0", (it: Authority) => it.extend("id", { extendByMs: 0 })],
        ["reservationId", "1 to 128", (it: Authority) => it.release("")],
        ["reservationId", '".."', (it: Authority) => it.reservation("..")],
        ["idempotencyKey", "1 to 256", (it: Authority) => it.reserve(ask(1, { idempotencyKey: "" }))],
      ])("%s: names argument, rule and value (%s), and asks nobody", async (argument, rule, work) => {
        const { numbers } = await openWith();
        const { code, message } = await rejection(numbers, () => work(numbers));
        expect(code).toBe("ARGUMENT_INVALID");
        expect(message).toContain(argument);
        expect(message).toContain(rule);
      });

      test("an aborted signal: the reason", async () => {
        const { numbers } = await openWith();
        const before = await numbers.balances();
        const signal = AbortSignal.abort(new Error("enough"));
        await expect(numbers.reserve(ask(1), { signal })).rejects.toThrow("enough");
        expect(await numbers.balances()).toEqual(before);
      });

      test("an expired reservation", async ({ skip }) => {
        const { tenant, numbers } = await openWith();
        if (tenant.advance === undefined) return skip("this way has a clock that nobody sets");
        const { reservationId: id } = granted(
          await numbers.reserve(ask(10, { ttlMs: 1_000, gracePeriodMs: 0 })),
        );
        await tenant.advance(1_001);
        const expired = { code: "RESERVATION_EXPIRED", status: 410, outcome: "refused" };
        expect(await rejection(numbers, () => numbers.commit(id, { actual: tokens(4) }))).toMatchObject(
          expired,
        );
        expect(await rejection(numbers, () => numbers.reservation(id))).toMatchObject(expired);
        expect(await numbers.balances()).toMatchObject([{ reserved: 0, remaining: 1000 }]);
      });
    });

    test("reservations come page by page, filtered and in order, and no further than they are asked for", async () => {
      const { numbers } = await openWith();
      const ids: string[] = [];
      for (let n = 1; n <= 7; n++) ids.push(granted(await numbers.reserve(ask(n))).reservationId);
      await numbers.release(ids[2] ?? "");
      const amounts = async (query: Parameters<Authority["reservations"]>[0]) => {
        const rows: number[] = [];
        for await (const row of numbers.reservations(query)) rows.push(row.reserved.amount);
        return rows;
      };
      const order = { sortBy: "reserved", sortDirection: "asc", pageRows: 3 } as const;
      expect(await amounts(order)).toEqual([1, 2, 3, 4, 5, 6, 7]);
      expect(await amounts({ ...order, status: "RELEASED" })).toEqual([3]);
      expect(await amounts({ ...order, levels: { agent: "nobody" } })).toEqual([]);
      const { createdAtMs } = await numbers.reservation(ids[0] ?? "");
      expect(await amounts({ ...order, createdToMs: createdAtMs - 1 })).toEqual([]);
      for await (const { reserved } of numbers.reservations({ ...order, sortDirection: "desc" })) {
        expect(reserved).toEqual(tokens(7));
        break;
      }
    });

    leaseClientContract(open);

    fitClientContract(open);

    describe("amounts beyond 2^53−1", () => {
      const huge = 2n ** 62n;

      test("BigInt where it was asked for", async () => {
        const { exact } = await openWith({ "": huge });
        const estimate = { unit: "TOKENS" as const, amount: 2n ** 60n + 1n };
        const held = await exact.reserve({ action: ACTION, estimate });
        if (!held.ok) throw new Error(held.denial.message);
        expect(held.reserved).toEqual(estimate);
        const actual = { unit: "TOKENS" as const, amount: 2n ** 59n + 1n };
        expect(await exact.commit(held.reservationId, { actual })).toMatchObject({
          charged: actual,
          released: { unit: "TOKENS", amount: 2n ** 59n },
        });
        expect(await exact.balances()).toMatchObject([
          { allocated: huge, spent: 2n ** 59n + 1n, remaining: huge - 2n ** 59n - 1n, debt: 0n },
        ]);
        const tooMuch = await exact.reserve({ action: ACTION, estimate: { unit: "TOKENS", amount: huge } });
        expect(tooMuch).toMatchObject({ ok: false, denial: { figures: { requested: huge, limit: huge } } });
      });

      test("as a plain number an error, never a rounded one; a decision beside them is still told", async () => {
        const { numbers } = await openWith({ "": huge });
        await expect(numbers.balances()).rejects.toMatchObject({
          code: "AMOUNT_UNSAFE",
          message: expect.stringContaining("exact: true"),
        });
        const held = granted(await numbers.reserve(ask(5)));
        expect(held).not.toHaveProperty("balances");
        expect(await numbers.commit(held.reservationId, { actual: tokens(5) })).toMatchObject({
          charged: tokens(5),
        });
        const estimate = { unit: "TOKENS" as const, amount: 2n ** 53n };
        await expect(numbers.reserve({ action: ACTION, estimate })).rejects.toMatchObject({
          code: "AMOUNT_UNSAFE",
          outcome: "done",
        });
      });
    });
  });
}

export function granted(answer: Granted | Denied): Granted {
  if (answer.ok) return answer;
  throw new Error(`expected a reservation, got ${answer.denial.code}: ${answer.denial.message}`);
}

export function denied(answer: { readonly ok: true } | Denied): Denied["denial"] {
  if (!answer.ok) return answer.denial;
  throw new Error(`expected a denial, got ${JSON.stringify(answer)}`);
}
