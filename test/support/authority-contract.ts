// What every way to the authority answers: over HTTP, by RPC and in this process, the same requests get the same
// replies. Each way gives fresh tenants and turns its own replies into `Answer`; the expectations stand here, once.
// Invariant of every test: after each answer all balances add up, and a refusal has changed none of them.

import type { BudgetInput, FundInput, JsonValue, PolicyInput, Reply, ReserveInput } from "purser/ledger";
import { describe, expect, test } from "vitest";
import { fitContract } from "./fit-contract.ts";
import { leaseContract } from "./lease-contract.ts";

/** A status and a body in plain JSON: BigInt that is safe as a number, the rest as text with an n. */
export interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

/** One tenant, reached in one way. Requests are sent as they are, wrong ones too. */
export interface TenantWay {
  readonly tenant: string;
  reserve(request: unknown): Promise<Answer>;
  reserveFit(request: unknown): Promise<Answer>;
  commit(id: string, request: unknown): Promise<Answer>;
  release(id: string, request: unknown): Promise<Answer>;
  extend(id: string, request: unknown): Promise<Answer>;
  decide(request: unknown): Promise<Answer>;
  event(request: unknown): Promise<Answer>;
  reservation(id: string): Promise<Answer>;
  reservations(query: Record<string, string>): Promise<Answer>;
  balances(query: Record<string, string>): Promise<Answer>;
  createBudget(request: BudgetInput): Promise<Answer>;
  fund(budget: { scope: string; unit: "TOKENS" }, request: FundInput): Promise<Answer>;
  freeze(budget: { scope: string; unit: "TOKENS" }): Promise<Answer>;
  unfreeze(budget: { scope: string; unit: "TOKENS" }): Promise<Answer>;
  createPolicy(request: PolicyInput): Promise<Answer>;
  openLease(request: unknown): Promise<Answer>;
  renewLease(id: string, request: unknown): Promise<Answer>;
  returnLease(id: string, request: unknown): Promise<Answer>;
  leases(query: Record<string, string>): Promise<Answer>;
  exposure(): Promise<Answer>;
  leaseSettings(): Promise<Answer>;
  setLeaseSettings(request: unknown): Promise<Answer>;
  raiseLeaseEpoch(): Promise<Answer>;
  /** Moves the authority's clock, where a test can. */
  advance?(ms: number): Promise<void>;
}

export interface Way {
  /** A tenant of its own, without a budget. */
  open(): Promise<TenantWay>;
  /** Whether amounts beyond 2^53−1 pass unharmed; a validator in between may refuse them. */
  readonly int64: boolean;
}

/** The answer that a ledger's reply is, as every other way gives it. */
export function answerOf(reply: Reply<unknown>): Answer {
  const { status } = reply;
  if (reply.ok) return { status, body: plain(reply.body) as Record<string, unknown> };
  const { error, message, details } = reply;
  return {
    status,
    body: details === undefined ? { error, message } : { error, message, details: plain(details) },
  };
}

/** JSON that can be compared: no BigInt left, absent fields absent. */
export function plain(value: unknown): unknown {
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : `${value}n`;
  }
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, it]) => it !== undefined)
      .map(([key, it]) => [key, plain(it)]),
  );
}

const tokens = (amount: number | bigint) => ({ unit: "TOKENS" as const, amount });
const ACTION = { kind: "llm.completion", name: "model" };

interface BalanceRow {
  readonly scope: string;
  readonly unit: string;
  readonly remaining: number;
  readonly reserved: number;
  readonly spent: number;
  readonly allocated: number;
  readonly debt: number;
}

/** All balances of the tenant, checked to add up. */
async function rowsOf(way: TenantWay): Promise<BalanceRow[]> {
  const { status, body } = await way.balances({ tenant: way.tenant, limit: "200" });
  expect(status).toBe(200);
  const rows = body.balances as Record<string, { unit: string; amount: number }>[];
  return rows.map((row) => {
    const figure = (name: string) => row[name]?.amount ?? 0;
    const shown = {
      scope: String(row.scope_path),
      unit: String(row.remaining?.unit),
      remaining: figure("remaining"),
      reserved: figure("reserved"),
      spent: figure("spent"),
      allocated: figure("allocated"),
      debt: figure("debt"),
    };
    expect(shown.remaining).toBe(shown.allocated - shown.spent - shown.reserved - shown.debt);
    return shown;
  });
}

/** `spent/reserved/debt` of each scope, in a line that reads at a glance. */
async function ledgerOf(way: TenantWay): Promise<Record<string, string>> {
  const rows = await rowsOf(way);
  return Object.fromEntries(
    rows.map((it) => [
      it.scope.replace(`tenant:${way.tenant}`, "*"),
      `${it.spent}/${it.reserved}/${it.debt}`,
    ]),
  );
}

const verdict = ({ status, body }: Answer): string =>
  "error" in body ? `${status} ${String(body.error)}` : String(status);

/** A refusal of this kind that moved nothing. */
async function expectRefused(way: TenantWay, ask: () => Promise<Answer>, expected: string): Promise<Answer> {
  const before = await rowsOf(way);
  const answer = await ask();
  expect(verdict(answer)).toBe(expected);
  expect(await rowsOf(way)).toEqual(before);
  return answer;
}

function reserveOf(way: TenantWay, key: string, amount: number | bigint, rest: Partial<ReserveInput> = {}) {
  return {
    idempotency_key: key,
    subject: { tenant: way.tenant },
    action: ACTION,
    estimate: tokens(amount),
    ...rest,
  };
}

async function idOf(answer: Promise<Answer>): Promise<string> {
  const { status, body } = await answer;
  expect({ status, decision: body.decision }).toEqual({ status: 200, decision: "ALLOW" });
  return String(body.reservation_id);
}

async function openWith(
  way: Way,
  budgets: Readonly<Record<string, number | bigint>> = { "": 1000 },
  rest: Partial<BudgetInput> = {},
): Promise<TenantWay> {
  const tenant = await way.open();
  for (const [below, allocated] of Object.entries(budgets)) {
    const scope = `tenant:${tenant.tenant}${below}`;
    const made = await tenant.createBudget({ scope, unit: "TOKENS", allocated: tokens(allocated), ...rest });
    expect(made.status).toBe(201);
  }
  return tenant;
}

export function authorityContract(name: string, open: () => Promise<Way> | Way): void {
  describe(`the authority, ${name}`, () => {
    test("reserve, look, extend, commit", async () => {
      const way = await openWith(await open());
      const { tenant } = way;
      const scope = `tenant:${tenant}`;
      const reserved = await way.reserve(reserveOf(way, "k", 300, { metadata: { run: 7 } }));
      const balance = (remaining: number, held: number, spent: number) => ({
        scope,
        scope_path: scope,
        remaining: tokens(remaining),
        reserved: tokens(held),
        spent: tokens(spent),
        allocated: tokens(1000),
      });
      expect(reserved).toEqual({
        status: 200,
        body: {
          decision: "ALLOW",
          reservation_id: expect.any(String),
          affected_scopes: [scope],
          expires_at_ms: expect.any(Number),
          remaining_ttl_ms: 60_000,
          scope_path: scope,
          reserved: tokens(300),
          balances: [balance(700, 300, 0)],
        },
      });
      const id = String(reserved.body.reservation_id);
      expect(await way.reservation(id)).toMatchObject({
        status: 200,
        body: {
          reservation_id: id,
          status: "ACTIVE",
          subject: { tenant },
          action: ACTION,
          reserved: tokens(300),
          affected_scopes: [scope],
          expires_at_ms: reserved.body.expires_at_ms,
        },
      });
      expect(await way.extend(id, { idempotency_key: "e", extend_by_ms: 1000 })).toMatchObject({
        status: 200,
        body: { status: "ACTIVE", expires_at_ms: Number(reserved.body.expires_at_ms) + 1000 },
      });
      expect(await way.commit(id, { idempotency_key: "c", actual: tokens(120) })).toEqual({
        status: 200,
        body: {
          status: "COMMITTED",
          charged: tokens(120),
          released: tokens(180),
          balances: [balance(880, 0, 120)],
        },
      });
      expect(await ledgerOf(way)).toEqual({ "*": "120/0/0" });
      expect((await way.reservation(id)).body).toMatchObject({ status: "COMMITTED", committed: tokens(120) });
    });

    test("release gives everything back", async () => {
      const way = await openWith(await open());
      const id = await idOf(way.reserve(reserveOf(way, "k", 300)));
      expect(await ledgerOf(way)).toEqual({ "*": "0/300/0" });
      expect(await way.release(id, { idempotency_key: "r", reason: "not needed" })).toMatchObject({
        status: 200,
        body: { status: "RELEASED", released: tokens(300) },
      });
      expect(await ledgerOf(way)).toEqual({ "*": "0/0/0" });
    });

    test("every budget on the path or none; gaps are skipped, scopes lower-cased, the subject echoed", async () => {
      const way = await openWith(await open(), { "": 1000, "/app:chat": 500, "/app:chat/agent:bot": 100 });
      const subject = { tenant: way.tenant, app: "Chat", agent: "Bot" };
      const reserved = await way.reserve(reserveOf(way, "a", 80, { subject }));
      expect(reserved.body.affected_scopes).toEqual([
        `tenant:${way.tenant}`,
        `tenant:${way.tenant}/app:chat`,
        `tenant:${way.tenant}/app:chat/agent:bot`,
      ]);
      const id = String(reserved.body.reservation_id);
      expect((await way.reservation(id)).body.subject).toEqual(subject);
      const refused = await expectRefused(
        way,
        () => way.reserve(reserveOf(way, "b", 21, { subject })),
        "409 BUDGET_EXCEEDED",
      );
      expect(refused.body.details).toMatchObject({
        scope: `tenant:${way.tenant}/app:chat/agent:bot`,
        requested: 21,
        remaining: 20,
      });
      // What lies beside the agent is not touched by it.
      await idOf(way.reserve(reserveOf(way, "c", 400, { subject: { tenant: way.tenant, app: "chat" } })));
      expect(await ledgerOf(way)).toEqual({
        "*": "0/480/0",
        "*/app:chat": "0/480/0",
        "*/app:chat/agent:bot": "0/80/0",
      });
      await way.commit(id, { idempotency_key: "c", actual: tokens(30) });
      expect(await ledgerOf(way)).toEqual({
        "*": "30/400/0",
        "*/app:chat": "30/400/0",
        "*/app:chat/agent:bot": "30/0/0",
      });
    });

    test("no budget on the path is 404, one in another unit 400", async () => {
      const way = await openWith(await open());
      const empty = await (await open()).open();
      const none = await empty.reserve(reserveOf(empty, "k", 1));
      expect(verdict(none)).toBe("404 NOT_FOUND");
      expect(none.body.message).toContain("Budget not found for provided scope");
      const credits = { estimate: { unit: "CREDITS" as const, amount: 1 } };
      const other = await expectRefused(
        way,
        () => way.reserve(reserveOf(way, "k", 1, credits)),
        "400 UNIT_MISMATCH",
      );
      expect(other.body.details).toEqual({
        scope: `tenant:${way.tenant}`,
        requested_unit: "CREDITS",
        expected_units: ["TOKENS"],
      });
    });

    describe("idempotency", () => {
      test("the same key and body get the first reply; another body is a mismatch; nothing moves", async () => {
        const way = await openWith(await open());
        const first = await way.reserve(reserveOf(way, "k", 100));
        const held = await ledgerOf(way);
        const again = await way.reserve(reserveOf(way, "k", 100));
        const stable = ({ remaining_ttl_ms: _, ...body }: Record<string, unknown>) => body;
        expect(stable(again.body)).toEqual(stable(first.body));
        await expectRefused(way, () => way.reserve(reserveOf(way, "k", 101)), "409 IDEMPOTENCY_MISMATCH");
        await expectRefused(
          way,
          () => way.reserve(reserveOf(way, "k", 100, { dry_run: true })),
          "409 IDEMPOTENCY_MISMATCH",
        );
        expect(await ledgerOf(way)).toEqual(held);

        const id = String(first.body.reservation_id);
        const commit = { idempotency_key: "c", actual: tokens(40) };
        const committed = await way.commit(id, commit);
        expect(await way.commit(id, commit)).toEqual(committed);
        expect(await ledgerOf(way)).toEqual({ "*": "40/0/0" });
        await expectRefused(
          way,
          () => way.commit(id, { ...commit, actual: tokens(41) }),
          "409 IDEMPOTENCY_MISMATCH",
        );
        await expectRefused(
          way,
          () => way.commit(id, { ...commit, idempotency_key: "other" }),
          "409 RESERVATION_FINALIZED",
        );
        await expectRefused(
          way,
          () => way.release(id, { idempotency_key: "r" }),
          "409 RESERVATION_FINALIZED",
        );
        await expectRefused(
          way,
          () => way.extend(id, { idempotency_key: "e", extend_by_ms: 1 }),
          "409 RESERVATION_FINALIZED",
        );
      });

      test("a refusal is not remembered: the same key is looked at afresh", async () => {
        const way = await openWith(await open(), { "": 100 });
        const request = reserveOf(way, "k", 150);
        await expectRefused(way, () => way.reserve(request), "409 BUDGET_EXCEEDED");
        const scope = `tenant:${way.tenant}`;
        const credit = { operation: "CREDIT" as const, amount: tokens(100), idempotency_key: "f" };
        expect((await way.fund({ scope, unit: "TOKENS" }, credit)).status).toBe(200);
        await idOf(way.reserve(request));
        expect(await ledgerOf(way)).toEqual({ "*": "0/150/0" });
      });

      test("decide, events, reserve and commit have keys of their own", async () => {
        const way = await openWith(await open());
        const id = await idOf(way.reserve(reserveOf(way, "same", 10)));
        const { subject, action } = reserveOf(way, "same", 10);
        const decided = await way.decide({ idempotency_key: "same", subject, action, estimate: tokens(10) });
        expect(decided).toMatchObject({ status: 200, body: { decision: "ALLOW" } });
        expect((await way.commit(id, { idempotency_key: "same", actual: tokens(10) })).status).toBe(200);
        const event = { idempotency_key: "same", subject, action, actual: tokens(5) };
        const applied = await way.event(event);
        expect(applied).toMatchObject({ status: 201, body: { status: "APPLIED" } });
        expect(await way.event(event)).toEqual(applied);
        await expectRefused(
          way,
          () => way.event({ ...event, actual: tokens(6) }),
          "409 IDEMPOTENCY_MISMATCH",
        );
        expect(await ledgerOf(way)).toEqual({ "*": "15/0/0" });
      });
    });

    describe("questions", () => {
      test("a dry run and decide say what a reserve would be told, and take nothing", async () => {
        const way = await openWith(await open(), { "": 100 });
        await idOf(way.reserve(reserveOf(way, "held", 60)));
        const before = await ledgerOf(way);
        const { subject, action } = reserveOf(way, "x", 1);
        const ask = (key: string, amount: number) =>
          way.decide({ idempotency_key: key, subject, action, estimate: tokens(amount) });
        expect(await ask("fits", 40)).toEqual({
          status: 200,
          body: { decision: "ALLOW", affected_scopes: [`tenant:${way.tenant}`] },
        });
        expect(await ask("too much", 41)).toMatchObject({
          status: 200,
          body: { decision: "DENY", reason_code: "BUDGET_EXCEEDED" },
        });
        const dry = await way.reserve(reserveOf(way, "dry", 40, { dry_run: true }));
        expect(dry).toMatchObject({ status: 200, body: { decision: "ALLOW", reserved: tokens(40) } });
        expect(dry.body).not.toHaveProperty("reservation_id");
        expect(await way.reserve(reserveOf(way, "dry2", 41, { dry_run: true }))).toMatchObject({
          status: 200,
          body: { decision: "DENY", reason_code: "BUDGET_EXCEEDED" },
        });
        expect(await ledgerOf(way)).toEqual(before);

        const empty = await (await open()).open();
        const nowhere = { ...reserveOf(empty, "k", 1) };
        expect(
          await empty.decide({
            idempotency_key: "k",
            subject: nowhere.subject,
            action,
            estimate: tokens(1),
          }),
        ).toMatchObject({ status: 200, body: { decision: "DENY", reason_code: "BUDGET_NOT_FOUND" } });
      });
    });

    describe("spending beyond the estimate", () => {
      // A budget of 100, of which 60 are held by a reservation that turns out to have cost `actual`.
      test.each([
        ["REJECT", 0, 61, "409 BUDGET_EXCEEDED", "0/60/0"],
        ["ALLOW_IF_AVAILABLE", 0, 90, "200", "90/0/0"],
        ["ALLOW_IF_AVAILABLE", 0, 130, "200", "100/0/0"],
        ["ALLOW_WITH_OVERDRAFT", 30, 130, "200", "100/0/30"],
        ["ALLOW_WITH_OVERDRAFT", 29, 130, "409 OVERDRAFT_LIMIT_EXCEEDED", "0/60/0"],
      ] as const)(
        "%s with an overdraft of %i: %i is %s",
        async (policy, overdraft, actual, answer, after) => {
          const way = await openWith(await open(), { "": 100 }, { overdraft_limit: tokens(overdraft) });
          const id = await idOf(way.reserve(reserveOf(way, "k", 60, { overage_policy: policy })));
          expect(verdict(await way.commit(id, { idempotency_key: "c", actual: tokens(actual) }))).toBe(
            answer,
          );
          expect(await ledgerOf(way)).toEqual({ "*": after });
        },
      );

      test.each([
        ["REJECT", 0, 101, "409 BUDGET_EXCEEDED", "0/0/0"],
        ["REJECT", 0, 100, "201", "100/0/0"],
        ["ALLOW_IF_AVAILABLE", 0, 130, "201", "100/0/0"],
        ["ALLOW_WITH_OVERDRAFT", 30, 130, "201", "100/0/30"],
        ["ALLOW_WITH_OVERDRAFT", 29, 130, "409 OVERDRAFT_LIMIT_EXCEEDED", "0/0/0"],
      ] as const)("an event, %s with %i: %i is %s", async (policy, overdraft, actual, answer, after) => {
        const way = await openWith(await open(), { "": 100 }, { overdraft_limit: tokens(overdraft) });
        const { subject, action } = reserveOf(way, "k", 1);
        const event = {
          idempotency_key: "k",
          subject,
          action,
          actual: tokens(actual),
          overage_policy: policy,
        };
        const applied = await way.event(event);
        expect(verdict(applied)).toBe(answer);
        if (applied.status === 201 && policy === "ALLOW_IF_AVAILABLE")
          expect(applied.body.charged).toEqual(tokens(100));
        else expect(applied.body).not.toHaveProperty("charged");
        expect(await ledgerOf(way)).toEqual({ "*": after });
      });

      test("debt blocks what it must, and is repaid", async () => {
        const way = await openWith(await open(), { "": 100 }, { overdraft_limit: tokens(50) });
        const { subject, action } = reserveOf(way, "k", 1);
        await way.event({
          idempotency_key: "owe",
          subject,
          action,
          actual: tokens(140),
          overage_policy: "ALLOW_WITH_OVERDRAFT",
        });
        expect(await ledgerOf(way)).toEqual({ "*": "100/0/40" });
        await expectRefused(way, () => way.reserve(reserveOf(way, "r", 1)), "409 BUDGET_EXCEEDED");
        const repay = { operation: "REPAY_DEBT" as const, amount: tokens(40), idempotency_key: "f" };
        const scope = `tenant:${way.tenant}`;
        expect((await way.fund({ scope, unit: "TOKENS" }, repay)).status).toBe(200);
        expect(await ledgerOf(way)).toEqual({ "*": "100/0/0" });
      });
    });

    test("reservations are listed in pages, newest first, by state", async () => {
      const way = await openWith(await open());
      const ids: string[] = [];
      for (let made = 0; made < 5; made += 1)
        ids.push(await idOf(way.reserve(reserveOf(way, `k${made}`, 1))));
      await way.release(String(ids[1]), { idempotency_key: "r" });
      const page = async (query: Record<string, string>) => {
        const { status, body } = await way.reservations({ tenant: way.tenant, ...query });
        expect(status).toBe(200);
        return body as { reservations: { reservation_id: string; status: string }[]; next_cursor?: string };
      };
      const seen: string[] = [];
      for (let cursor: string | undefined = ""; cursor !== undefined; ) {
        const found = await page({ limit: "2", ...(cursor === "" ? {} : { cursor }) });
        expect(found.reservations.length).toBeLessThanOrEqual(2);
        seen.push(...found.reservations.map((it) => it.reservation_id));
        cursor = found.next_cursor;
      }
      expect([...seen].sort()).toEqual([...ids].sort());
      const released = await page({ status: "RELEASED" });
      expect(released.reservations.map((it) => [it.reservation_id, it.status])).toEqual([
        [ids[1], "RELEASED"],
      ]);
    });

    describe("what cannot be", () => {
      test("an id that was never issued is 404 for every operation, one too long 400", async () => {
        const way = await openWith(await open());
        const id = await idOf(way.reserve(reserveOf(way, "k", 1)));
        const never = `${id.slice(0, -1)}${id.endsWith("x") ? "y" : "x"}`;
        const operations = (it: string): [string, () => Promise<Answer>][] => [
          ["commit", () => way.commit(it, { idempotency_key: "c", actual: tokens(1) })],
          ["release", () => way.release(it, { idempotency_key: "r" })],
          ["extend", () => way.extend(it, { idempotency_key: "e", extend_by_ms: 1 })],
          ["look", () => way.reservation(it)],
        ];
        for (const [, ask] of operations(never)) await expectRefused(way, ask, "404 NOT_FOUND");
        for (const [, ask] of operations("a".repeat(129)))
          await expectRefused(way, ask, "400 INVALID_REQUEST");
      });

      test.each<[string, Record<string, unknown>, string]>([
        ["no key", { idempotency_key: undefined }, "idempotency_key"],
        ["an empty key", { idempotency_key: "" }, "idempotency_key"],
        ["a key of 257", { idempotency_key: "k".repeat(257) }, "idempotency_key"],
        ["a subject without a level", { subject: { dimensions: { a: "b" } } }, "subject"],
        ["a level that is no text", { subject: { tenant: 7 } }, "subject.tenant"],
        ["no action", { action: undefined }, "action"],
        ["an action without a name", { action: { kind: "k" } }, "action.name"],
        ["a negative estimate", { estimate: { unit: "TOKENS", amount: -1 } }, "estimate.amount"],
        ["a fraction", { estimate: { unit: "TOKENS", amount: 1.5 } }, "estimate.amount"],
        ["an amount as text", { estimate: { unit: "TOKENS", amount: "1" } }, "estimate.amount"],
        ["an unknown unit", { estimate: { unit: "EUR", amount: 1 } }, "estimate.unit"],
        ["a ttl below a second", { ttl_ms: 999 }, "ttl_ms"],
        ["a ttl above a day", { ttl_ms: 86_400_001 }, "ttl_ms"],
        ["a grace above a minute", { grace_period_ms: 60_001 }, "grace_period_ms"],
        ["an unknown policy", { overage_policy: "SOMETIMES" }, "overage_policy"],
        ["a field that nobody knows", { surprise: true }, "surprise"],
      ])("%s: 400 that names the field, and nothing moved", async (_, rest, field) => {
        const way = await openWith(await open());
        const request = Object.fromEntries(
          Object.entries({ ...reserveOf(way, "k", 1), ...rest }).filter(([, it]) => it !== undefined),
        );
        const refused = await expectRefused(way, () => way.reserve(request), "400 INVALID_REQUEST");
        expect(refused.body).toMatchObject({ message: expect.stringContaining(field), details: { field } });
      });

      test("another tenant's subject is 403", async () => {
        const way = await openWith(await open());
        await expectRefused(
          way,
          () => way.reserve(reserveOf(way, "k", 1, { subject: { tenant: `${way.tenant}-not` } })),
          "403 FORBIDDEN",
        );
        await expectRefused(way, () => way.balances({ tenant: `${way.tenant}-not` }), "403 FORBIDDEN");
        await expectRefused(way, () => way.balances({}), "400 INVALID_REQUEST");
      });
    });

    test("a frozen budget takes nothing new, on any path through it, and what is held is settled", async () => {
      const way = await openWith(await open(), { "": 1000, "/agent:a": 500 });
      const subject = { tenant: way.tenant, agent: "a" };
      const [a, b] = [
        await idOf(way.reserve(reserveOf(way, "a", 10, { subject }))),
        await idOf(way.reserve(reserveOf(way, "b", 10, { subject }))),
      ];
      const budget = { scope: `tenant:${way.tenant}`, unit: "TOKENS" } as const;
      expect(await way.freeze(budget)).toMatchObject({ status: 200, body: { status: "FROZEN" } });
      const { estimate: actual, ...rest } = reserveOf(way, "e", 1, { subject });
      const refused: (() => Promise<Answer>)[] = [
        () => way.reserve(reserveOf(way, "c", 1, { subject })),
        () => way.event({ ...rest, actual }),
        () => way.fund(budget, { operation: "CREDIT", amount: tokens(1), idempotency_key: "f" }),
        () => way.freeze(budget),
      ];
      for (const ask of refused) await expectRefused(way, ask, "409 BUDGET_FROZEN");
      expect((await way.decide(reserveOf(way, "d", 1, { subject }))).body).toMatchObject({
        decision: "DENY",
        reason_code: "BUDGET_FROZEN",
      });
      expect((await way.commit(a, { idempotency_key: "c", actual: tokens(15) })).status).toBe(200);
      expect((await way.release(b, { idempotency_key: "r" })).status).toBe(200);
      expect(await ledgerOf(way)).toEqual({ "*": "15/0/0", "*/agent:a": "15/0/0" });
      expect(await way.unfreeze(budget)).toMatchObject({ status: 200, body: { status: "ACTIVE" } });
      await idOf(way.reserve(reserveOf(way, "c", 1, { subject })));
    });

    test("a reservation is extended ten times, and no more; it can still be committed", async () => {
      const way = await openWith(await open());
      const id = await idOf(way.reserve(reserveOf(way, "k", 5)));
      const extend = (key: string) => way.extend(id, { idempotency_key: key, extend_by_ms: 1 });
      for (let count = 1; count <= 10; count += 1) expect((await extend(`e${count}`)).status).toBe(200);
      await expectRefused(way, () => extend("e11"), "409 MAX_EXTENSIONS_EXCEEDED");
      expect((await extend("e10")).status).toBe(200);
      expect((await way.commit(id, { idempotency_key: "c", actual: tokens(5) })).status).toBe(200);
    });

    test("a policy's caps come with what is allowed below its pattern, its other rules bind, and nothing elsewhere", async () => {
      const way = await openWith(await open());
      const policy = await way.createPolicy({
        name: "agents",
        scope_pattern: `tenant:${way.tenant}/agent:*`,
        caps: { max_tokens: 100, tool_denylist: ["shell"] },
        commit_overage_policy: "REJECT",
        reservation_ttl_override: { max_extensions: 0 },
      });
      expect(policy.status).toBe(201);
      const subject = { tenant: way.tenant, agent: "a" };
      const caps = { max_tokens: 100, tool_denylist: ["shell"] };
      const capped = await way.reserve(reserveOf(way, "a", 10, { subject }));
      expect(capped).toMatchObject({ status: 200, body: { decision: "ALLOW_WITH_CAPS", caps } });
      const asked = await way.decide(reserveOf(way, "d", 10, { subject }));
      expect(asked.body).toMatchObject({ decision: "ALLOW_WITH_CAPS", caps });
      const id = String(capped.body.reservation_id);
      await expectRefused(
        way,
        () => way.extend(id, { idempotency_key: "e", extend_by_ms: 1 }),
        "409 MAX_EXTENSIONS_EXCEEDED",
      );
      await expectRefused(
        way,
        () => way.commit(id, { idempotency_key: "c", actual: tokens(11) }),
        "409 BUDGET_EXCEEDED",
      );
      const free = await way.reserve(reserveOf(way, "b", 10));
      expect(free.body).toMatchObject({ decision: "ALLOW" });
      expect(free.body).not.toHaveProperty("caps");
    });

    test("amounts beyond 2^53 pass unrounded, where the way lets them through", async () => {
      const ways = await open();
      const allocated = ways.int64 ? 9_223_372_036_854_775_807n : 9_007_199_254_740_991n;
      const way = await openWith(ways, { "": allocated });
      const id = await idOf(way.reserve(reserveOf(way, "k", allocated - 1n)));
      const committed = await way.commit(id, { idempotency_key: "c", actual: tokens(allocated - 2n) });
      expect(committed.body).toMatchObject({
        charged: plain(tokens(allocated - 2n)),
        released: tokens(1),
      });
      const { body } = await way.balances({ tenant: way.tenant });
      expect(body.balances).toMatchObject([{ spent: plain(tokens(allocated - 2n)), remaining: tokens(2) }]);
    });

    test("what expired is gone: 410, and its amount is back", async () => {
      const way = await openWith(await open());
      if (way.advance === undefined) {
        // A way without a clock of its own still shows that a grace of 0 and the shortest life are taken.
        expect(await way.reserve(reserveOf(way, "k", 1, { ttl_ms: 1000, grace_period_ms: 0 }))).toMatchObject(
          { status: 200, body: { remaining_ttl_ms: 1000 } },
        );
        return;
      }
      const id = await idOf(way.reserve(reserveOf(way, "k", 300, { ttl_ms: 1000, grace_period_ms: 500 })));
      await way.advance(1500);
      // Through its grace it can be settled, though no longer extended.
      await expectRefused(
        way,
        () => way.extend(id, { idempotency_key: "e", extend_by_ms: 1000 }),
        "410 RESERVATION_EXPIRED",
      );
      await way.advance(1);
      await idOf(way.reserve(reserveOf(way, "next", 1000)));
      expect(await ledgerOf(way)).toEqual({ "*": "0/1000/0" });
      const late: [string, () => Promise<Answer>][] = [
        ["commit", () => way.commit(id, { idempotency_key: "c", actual: tokens(1) })],
        ["release", () => way.release(id, { idempotency_key: "r" })],
        ["look", () => way.reservation(id)],
      ];
      for (const [, ask] of late) await expectRefused(way, ask, "410 RESERVATION_EXPIRED");
    });

    fitContract(async () => (await open()).open());

    leaseContract(async () => (await open()).open());
  });
}

/** The wire's JSON as an answer: what a request's own identity is left out. */
export function answerOfWire(status: number, parsed: JsonValue): Answer {
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new TypeError(`an answer must be a JSON object, got ${JSON.stringify(parsed)}`);
  }
  const { request_id: _, trace_id: __, ...body } = parsed;
  return { status, body: plain(body) as Record<string, unknown> };
}
