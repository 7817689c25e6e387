// The ledger against its reference model: any sequence of operations, with time passing, gets the same answers and the
// same figures. After every step, on every scope: the identity, the conservation of what is held, and a replay of the
// last success that answers alike and changes nothing. A failure prints its seed.

import fc from "fast-check";
import { LocalLedger } from "purser/ledger";
import { expect, test } from "vitest";
import { reserveRequest, testClock, tokens, verdictOf } from "../../support/ledger-fixtures.ts";
import { LedgerModel, type ModelReservation, type Policy } from "../../support/ledger-model.ts";

const SCOPES = [
  "tenant:acme",
  "tenant:acme/workspace:w",
  "tenant:acme/workspace:w/agent:a",
  "tenant:acme/workspace:w/agent:b",
];
const SUBJECTS = [
  { tenant: "acme" },
  { tenant: "acme", workspace: "w" },
  { tenant: "acme", workspace: "w", agent: "a" },
  { tenant: "acme", workspace: "w", agent: "B" },
  { tenant: "acme", agent: "a" },
  { workspace: "w" },
];

// Small amounts meet budgets' edges often; the large ones leave the range of a double.
const amount = fc.oneof(
  { weight: 8, arbitrary: fc.bigInt({ min: 0n, max: 120n }) },
  { weight: 1, arbitrary: fc.bigInt({ min: 2n ** 53n - 2n, max: 2n ** 53n + 2n }) },
);
const policy = fc.constantFrom<Policy>("REJECT", "ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT");

const operation = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("reserve" as const),
      subject: fc.nat(SUBJECTS.length - 1),
      amount,
      policy,
      ttlMs: fc.constantFrom(1000, 2000, 60_000),
      graceMs: fc.constantFrom(0, 500),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("event" as const),
      subject: fc.nat(SUBJECTS.length - 1),
      amount,
      policy,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("decide" as const),
      subject: fc.nat(SUBJECTS.length - 1),
      amount,
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("commit" as const), pick: fc.nat(), amount }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("release" as const), pick: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("extend" as const),
      pick: fc.nat(),
      byMs: fc.constantFrom(1, 1000, 86_400_000),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("fund" as const),
      scope: fc.nat(SCOPES.length - 1),
      how: fc.constantFrom(
        "CREDIT" as const,
        "DEBIT" as const,
        "RESET" as const,
        "RESET_SPENT" as const,
        "REPAY_DEBT" as const,
      ),
      amount,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("advance" as const),
      ms: fc.constantFrom(1, 499, 500, 1000, 61_000),
    }),
  },
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

const setup = fc.array(
  fc.record({ allocated: amount, limit: fc.constantFrom(0n, 0n, 30n), there: fc.boolean() }),
  { minLength: SCOPES.length, maxLength: SCOPES.length },
);

/** Drives the ledger and the model side by side. */
class Pair {
  readonly clock = testClock();
  readonly model = new LedgerModel(this.clock.now());
  readonly authority = new LocalLedger({ tenant: "acme", now: this.clock.now });
  #calls = 0;
  /** Asks the last success again; gives its answer then and now. */
  replay: (() => [unknown, unknown]) | undefined;

  addBudget(scope: string, allocated: bigint, limit: bigint): void {
    this.authority.createBudget({
      scope,
      unit: "TOKENS",
      allocated: tokens(allocated),
      overdraft_limit: tokens(limit),
    });
    this.model.accounts.set(scope, { allocated, spent: 0n, debt: 0n, limit, mark: false });
  }

  run(step: Operation): void {
    this.#calls += 1;
    const key = `key-${this.#calls}`;
    if (step.kind === "reserve") this.#reserve(step, key);
    if (step.kind === "event") this.#event(step, key);
    if (step.kind === "decide") this.#decide(step, key);
    if (step.kind === "fund") this.#fund(step, key);
    if (step.kind === "advance") this.#advance(step.ms);
    const { reservations } = this.model;
    const target = "pick" in step ? reservations[step.pick % Math.max(reservations.length, 1)] : undefined;
    if (target === undefined) return;
    if (step.kind === "commit") this.#commit(target, step.amount, key);
    if (step.kind === "release") {
      this.#compare(
        () => this.authority.release(target.id, { idempotency_key: key }),
        this.model.release(target),
      );
    }
    if (step.kind === "extend") {
      const ask = () => this.authority.extend(target.id, { idempotency_key: key, extend_by_ms: step.byMs });
      this.#compare(ask, this.model.extend(target, step.byMs));
    }
  }

  /** Every figure of every scope, and the identity. */
  check(): void {
    const reply = this.authority.balances();
    if (!reply.ok) throw new Error(reply.message);
    expect(reply.body.balances.map((row) => row.scope_path)).toEqual([...this.model.accounts.keys()].sort());
    for (const row of reply.body.balances) {
      const scope = row.scope_path;
      const account = this.model.accounts.get(scope);
      const debt = row.debt?.amount ?? 0n;
      expect({
        scope,
        allocated: row.allocated.amount,
        spent: row.spent.amount,
        reserved: row.reserved.amount,
        debt,
        over: row.is_over_limit === true,
      }).toEqual({
        scope,
        allocated: account?.allocated,
        spent: account?.spent,
        reserved: this.model.reserved(scope),
        debt: account?.debt,
        over: this.model.isOverLimit(scope),
      });
      expect(row.remaining.amount).toBe(row.allocated.amount - row.spent.amount - row.reserved.amount - debt);
    }
    expect(this.authority.counters.figureFaults).toBe(0);
  }

  #reserve(step: Operation & { kind: "reserve" }, key: string): void {
    const subject = SUBJECTS[step.subject] ?? {};
    const scopes = scopesByHand(subject);
    const ask = () =>
      this.authority.reserve(
        reserveRequest(key, step.amount, {
          subject,
          overage_policy: step.policy,
          ttl_ms: step.ttlMs,
          grace_period_ms: step.graceMs,
        }),
      );
    const reply = this.#compare(ask, this.model.judgeReserve(scopes, step.amount));
    if (!reply.ok) return;
    this.model.reservations.push({
      id: (reply.body as { reservation_id: string }).reservation_id,
      scopes: scopes.filter((scope) => this.model.accounts.has(scope)),
      amount: step.amount,
      policy: step.policy,
      expiresAtMs: this.model.nowMs + step.ttlMs,
      graceMs: step.graceMs,
      extensions: 0,
      state: "ACTIVE",
    });
  }

  #event(step: Operation & { kind: "event" }, key: string): void {
    const subject = SUBJECTS[step.subject] ?? {};
    const expected = this.model.event(scopesByHand(subject), step.amount, step.policy);
    const { estimate: actual, ...rest } = reserveRequest(key, step.amount, { subject });
    const reply = this.#compare(
      () => this.authority.event({ ...rest, actual, overage_policy: step.policy }),
      expected.verdict,
    );
    if (!reply.ok) return;
    const { charged } = reply.body as { charged?: { amount: bigint } };
    expect(charged?.amount).toBe(expected.charged === step.amount ? undefined : expected.charged);
  }

  #decide(step: Operation & { kind: "decide" }, key: string): void {
    const subject = SUBJECTS[step.subject] ?? {};
    const expected = this.model.judgeDecide(scopesByHand(subject), step.amount);
    const request = reserveRequest(key, step.amount, { subject });
    const reply = this.#compare(() => this.authority.decide(request), "200");
    const { decision, reason_code } = reply.ok
      ? (reply.body as { decision: string; reason_code?: string })
      : { decision: "none" };
    expect([decision, reason_code].filter(Boolean).join(" ")).toBe(expected);
    const dry = this.authority.reserve({ ...request, idempotency_key: `dry ${key}`, dry_run: true });
    expect(dry).toMatchObject({ ok: true, body: { decision } });
  }

  #commit(target: ModelReservation, actual: bigint, key: string): void {
    const expected = this.model.commit(target, actual);
    const ask = () => this.authority.commit(target.id, { idempotency_key: key, actual: tokens(actual) });
    const reply = this.#compare(ask, expected.verdict);
    if (reply.ok) expect(reply.body).toMatchObject({ charged: tokens(expected.charged) });
  }

  #fund(step: Operation & { kind: "fund" }, key: string): void {
    const scope = SCOPES[step.scope] ?? "";
    const request = { operation: step.how, amount: tokens(step.amount), idempotency_key: key };
    const ask = () => this.authority.fund({ scope, unit: "TOKENS" }, request);
    this.#compare(ask, this.model.fund(scope, step.how, step.amount));
  }

  #advance(ms: number): void {
    this.clock.advance(ms);
    this.model.advance(ms);
    this.replay = undefined;
  }

  #compare<
    Reply extends { ok: true; status: number; body: unknown } | { ok: false; status: number; error: string },
  >(ask: () => Reply, verdict: string): Reply {
    const reply = ask();
    expect(verdictOf(reply)).toBe(verdict);
    if (reply.ok) this.replay = () => [reply, ask()];
    return reply;
  }
}

/** The scopes of a subject, spelled out: the model must not borrow the derivation it judges. */
function scopesByHand(subject: { tenant?: string; workspace?: string; agent?: string }): string[] {
  const { tenant, workspace, agent } = subject;
  const parts = [
    tenant && `tenant:${tenant}`,
    workspace && `workspace:${workspace}`,
    agent && `agent:${agent.toLowerCase()}`,
  ];
  const present = parts.filter((part) => part !== undefined);
  return present.map((_, index) => present.slice(0, index + 1).join("/"));
}

test("any sequence of operations gives the model's answers and figures", () => {
  fc.assert(
    fc.property(setup, fc.array(operation, { maxLength: 40 }), (budgets, steps) => {
      const pair = new Pair();
      budgets.forEach(({ allocated, limit, there }, index) => {
        if (there) pair.addBudget(SCOPES[index] ?? "", allocated, limit);
      });
      for (const step of steps) {
        pair.run(step);
        pair.check();
        const [then, again] = pair.replay?.() ?? [];
        expect(again).toEqual(then);
      }
      pair.check();
    }),
    { numRuns: 400 },
  );
});
