// Lending against its reference model, and against what it promises. Any sequence of grants, reports (again, late, out of
// order, wrong), ends, freezes and restores gets the model's answers and figures; after every step nothing is lent that is
// not set aside, and each budget was charged the sum of what its leases were. A failure prints its seed.

import fc from "fast-check";
import type { LeaseBody, Reply } from "purser/ledger";
import { LocalLedger } from "purser/ledger";
import { expect, test } from "vitest";
import { LeaseModel, type ModelLease } from "../../support/lease-model.ts";
import { bodyOf, testClock, tokens, verdictOf } from "../../support/ledger-fixtures.ts";

const SCOPES = ["tenant:acme", "tenant:acme/workspace:w", "tenant:acme/workspace:w/agent:a"];
const SUBJECTS = [
  { tenant: "acme" },
  { tenant: "acme", workspace: "w" },
  { tenant: "acme", workspace: "w", agent: "a" },
] as const;

const amount = fc.bigInt({ min: 0n, max: 150n });
const positive = fc.bigInt({ min: 1n, max: 150n });

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("open" as const),
      subject: fc.nat(SUBJECTS.length - 1),
      want: positive,
      least: positive,
      ttlMs: fc.constantFrom(1_000, 60_000),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("report" as const),
      pick: fc.nat(),
      /** The number relative to the last: mostly the next one, sometimes one that was heard, sometimes one is lost. */
      ahead: fc.constantFrom(1n, 1n, 1n, 1n, 2n, 0n, -1n),
      spent: fc.oneof(fc.bigInt({ min: 0n, max: 40n }), fc.bigInt({ min: -2n, max: 200n })),
      held: fc.bigInt({ min: 0n, max: 60n }),
      returned: fc.bigInt({ min: -1n, max: 40n }),
      want: fc.oneof(amount, fc.constant("return" as const)),
      needed: amount,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("advance" as const),
      ms: fc.constantFrom(1, 500, 5_000, 6_000, 61_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("freeze" as const), scope: fc.nat(SCOPES.length - 1) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("add" as const),
      scope: fc.nat(SCOPES.length - 1),
      allocated: amount,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("credit" as const),
      scope: fc.nat(SCOPES.length - 1),
      by: amount,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("policy" as const),
      policy: fc.constantFrom("charge" as const, "refund" as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("epoch" as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

class Pair {
  readonly clock = testClock();
  readonly model = new LeaseModel(this.clock.now());
  readonly authority = new LocalLedger({ tenant: "acme", now: this.clock.now });
  readonly #epochs = new Map<string, number>();
  #policy: "charge" | "refund" = "charge";
  #keys = 0;

  add(scope: string, allocated: bigint): void {
    if (this.model.accounts.has(scope)) return;
    bodyOf(this.authority.createBudget({ scope, unit: "TOKENS", allocated: tokens(allocated) }));
    const account = { allocated, frozen: false, spent: 0n, debt: 0n, refused: [] };
    this.model.accounts.set(scope, account);
  }

  run(it: Step): void {
    if (it.kind === "open") this.#open(it);
    if (it.kind === "report") this.#report(it);
    if (it.kind === "advance") {
      this.clock.advance(it.ms);
      this.model.advance(it.ms);
    }
    if (it.kind === "add") this.add(SCOPES[it.scope] ?? "", it.allocated);
    if (it.kind === "freeze") this.#freeze(SCOPES[it.scope] ?? "");
    if (it.kind === "credit") this.#credit(SCOPES[it.scope] ?? "", it.by);
    if (it.kind === "policy") {
      this.#policy = it.policy;
      bodyOf(this.authority.changeLeaseSettings({ on_expiry: it.policy }));
    }
    if (it.kind === "epoch") {
      bodyOf(this.authority.raiseLeaseEpoch());
      this.model.raiseEpoch();
    }
  }

  #open({ subject, want, least, ttlMs }: Step & { kind: "open" }): void {
    this.#keys += 1;
    const min = least < want ? least : want;
    const scopes = SCOPES.slice(0, subject + 1);
    const expected = this.model.open(`k${this.#keys}`, scopes, want, min);
    const request = {
      idempotency_key: `k${this.#keys}`,
      subject: SUBJECTS[subject] ?? SUBJECTS[0],
      unit: "TOKENS" as const,
      want,
      min,
      ttl_ms: ttlMs,
    };
    const reply = this.authority.openLease(request);
    expect(reply.ok ? reply.body.granted.amount : verdictOf(reply)).toBe(expected);
    if (!reply.ok || typeof expected === "string") return;
    expect(expected >= min && expected <= want).toBe(true);
    expect(reply.body.shortage === undefined).toBe(expected === want);
    const budgeted = scopes.filter((scope) => this.model.accounts.has(scope));
    this.#epochs.set(reply.body.lease_id, reply.body.epoch);
    const lease: ModelLease = {
      id: reply.body.lease_id,
      subject: scopes,
      scopes: budgeted,
      granted: expected,
      spent: 0n,
      returned: 0n,
      held: 0n,
      charged: 0n,
      sequence: 0,
      ttlMs,
      expiresAtMs: this.model.nowMs + ttlMs,
      policy: this.#policy,
      status: "ACTIVE",
      ended: false,
    };
    this.model.leases.push(lease);
    expect(reply.body.recall).toBe(this.model.recall(lease));
    // The same request again is the same lease, and takes nothing.
    expect(bodyOf(this.authority.openLease(request))).toMatchObject({
      lease_id: lease.id,
      outstanding: expected,
    });
  }

  #report({ pick, ahead, want, needed, ...told }: Step & { kind: "report" }): void {
    const lease = this.model.leases[pick % Math.max(1, this.model.leases.length)];
    if (lease === undefined) return;
    const positiveOf = (value: bigint) => (value < 0n ? 0n : value);
    const report = {
      sequence: Math.max(1, lease.sequence + Number(ahead)),
      spent: positiveOf(lease.spent + told.spent),
      held: told.held,
      returned: positiveOf(lease.returned + told.returned),
    };
    const min = want === "return" || needed > want ? 0n : needed;
    const expected = this.model.report(lease, report, want, min);
    const request = { ...report, epoch: this.#epochs.get(lease.id) ?? 0, unit: "TOKENS" as const };
    const ask = (): Reply<LeaseBody> =>
      want === "return"
        ? this.authority.returnLease(lease.id, request)
        : this.authority.renewLease(lease.id, { ...request, want, min });
    const reply = ask();
    expect(reply.ok ? "200" : verdictOf(reply)).toBe(/^\d/.test(expected) ? expected : "200");
    if (!reply.ok) return;
    const { granted, outstanding, recall, state, sequence } = reply.body;
    expect({ granted: granted.amount, outstanding, recall, state, sequence }).toEqual({
      granted: lease.granted,
      outstanding: LeaseModel.outstanding(lease),
      recall: this.model.recall(lease),
      state: lease.status === "ACTIVE" ? "active" : "ended",
      sequence: lease.sequence,
    });
    // Whatever was said, saying it again changes nothing and is answered alike.
    if (report.sequence === lease.sequence) expect(ask()).toEqual(reply);
  }

  #freeze(scope: string): void {
    const account = this.model.accounts.get(scope);
    if (account === undefined) return;
    account.frozen = !account.frozen;
    const budget = { scope, unit: "TOKENS" as const };
    bodyOf(account.frozen ? this.authority.freezeBudget(budget) : this.authority.unfreezeBudget(budget));
  }

  #credit(scope: string, by: bigint): void {
    const account = this.model.accounts.get(scope);
    if (account === undefined || account.frozen) return;
    this.#keys += 1;
    const repaid = account.debt < by ? account.debt : by;
    account.debt -= repaid;
    account.allocated += by - repaid;
    const request = {
      operation: "REPAY_DEBT" as const,
      amount: tokens(by),
      idempotency_key: `k${this.#keys}`,
    };
    bodyOf(this.authority.fund({ scope, unit: "TOKENS" }, request));
  }

  check(): void {
    const rows = bodyOf(this.authority.balances()).balances;
    expect(rows.map(({ scope_path }) => scope_path)).toEqual([...this.model.accounts.keys()].sort());
    for (const row of rows) {
      const scope = row.scope_path;
      const account = this.model.accounts.get(scope);
      const figures = {
        scope,
        allocated: row.allocated.amount,
        spent: row.spent.amount,
        reserved: row.reserved.amount,
        debt: row.debt?.amount ?? 0n,
      };
      expect(figures).toEqual({
        scope,
        allocated: account?.allocated,
        spent: account?.spent,
        reserved: this.model.reserved(scope),
        debt: account?.debt,
      });
      // What is lent and what is spent was always there to be lent and spent; what was not is debt.
      expect(figures.spent + figures.reserved <= figures.allocated).toBe(true);
    }
    expect(this.authority.counters.figureFaults).toBe(0);
    const open = this.model.leases.filter(({ ended }) => !ended);
    const outstanding = open.reduce((sum, lease) => sum + LeaseModel.outstanding(lease), 0n);
    const beyond = this.model.leases
      .filter(({ ended, status, policy }) => policy === "refund" && (!ended || status === "EXPIRED"))
      .map(({ granted, returned, spent, charged }) => granted - returned - spent - charged)
      .reduce((sum, rest) => sum + (rest > 0n ? rest : 0n), 0n);
    const [exposure] = bodyOf(this.authority.exposure()).exposure;
    expect(exposure ?? { leases: 0, outstanding: 0n, beyond: 0n }).toMatchObject({
      leases: open.length,
      outstanding,
      beyond,
    });
  }
}

test("any sequence of grants, reports and ends gives the model's answers and figures", () => {
  fc.assert(
    fc.property(
      fc.array(amount, { minLength: 2, maxLength: 3 }),
      fc.array(step, { maxLength: 40 }),
      (budgets, steps) => {
        const pair = new Pair();
        budgets.forEach((allocated, index) => {
          pair.add(SCOPES[index] ?? "", allocated);
        });
        for (const each of steps) {
          pair.run(each);
          pair.check();
        }
      },
    ),
    { numRuns: 250 },
  );
});
