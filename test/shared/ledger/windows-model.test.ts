// Budgets with periods against their reference model: any sequence of operations over many windows gets the same answers
// and the same figures in every window, whoever looks when, and all that was ever charged stands in exactly one of them.

import fc from "fast-check";
import { LocalLedger, MemoryStore } from "purser/ledger";
import { expect, test } from "vitest";
import { bodyOf, reserveRequest, testClock, tokens, verdictOf } from "../../support/ledger-fixtures.ts";
import type { Policy } from "../../support/ledger-model.ts";
import { type ModelHold, PeriodModel } from "../../support/period-model.ts";

const HOUR = 3_600_000;
// Three budgets on two paths: windows of different lengths, and none.
const BUDGETS = [
  { scope: "tenant:acme", periodMs: HOUR },
  { scope: "tenant:acme/agent:a", periodMs: 1.5 * HOUR },
  { scope: "tenant:acme/agent:b", periodMs: undefined },
];
const UNIT = "TOKENS" as const;

// Overdrafts that meet a boundary are what is hard; estimates and actuals are chosen so that they are common.
const estimate = fc.oneof(fc.constant(0n), fc.bigInt({ min: 0n, max: 60n }));
const actual = fc.oneof(fc.bigInt({ min: 0n, max: 60n }), fc.bigInt({ min: 40n, max: 180n }));
const policy = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Policy>("ALLOW_WITH_OVERDRAFT") },
  { weight: 1, arbitrary: fc.constantFrom<Policy>("REJECT", "ALLOW_IF_AVAILABLE") },
);
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("reserve" as const),
      agent: fc.constantFrom(undefined, "a", "b"),
      amount: estimate,
      policy,
      ttlMs: fc.constantFrom(HOUR / 2, 4 * HOUR, 12 * HOUR),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant("commit" as const), pick: fc.nat(5), amount: actual }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("release" as const), pick: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("credit" as const), pick: fc.nat(2), amount: estimate }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("advance" as const),
      ms: fc.constantFrom(1, HOUR / 3, HOUR / 2, HOUR, 1.5 * HOUR, 7 * HOUR),
    }),
  },
  // Looking is an operation too: it may begin a window.
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("look" as const), pick: fc.nat(2) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

class Pair {
  readonly clock = testClock(500_000 * HOUR + 777);
  readonly model = new PeriodModel(this.clock.now());
  readonly store = new MemoryStore();
  readonly authority = new LocalLedger({ tenant: "acme", now: this.clock.now, store: this.store });
  #calls = 0;

  constructor(settings: readonly { base: bigint; limit: bigint }[]) {
    const tenant = this.store.readTenant();
    if (tenant !== undefined) this.store.writeTenant({ ...tenant, maxReservationTtlMs: 24 * HOUR });
    for (const [index, { scope, periodMs }] of BUDGETS.entries()) {
      const { base = 0n, limit = 0n } = settings[index] ?? {};
      const request = { scope, unit: UNIT, allocated: tokens(base), overdraft_limit: tokens(limit) };
      bodyOf(this.authority.createBudget(request));
      if (periodMs !== undefined) {
        bodyOf(this.authority.setPeriod({ scope, unit: UNIT }, { kind: "every", every_ms: periodMs }));
      }
      this.model.add(scope, base, limit, periodMs);
    }
  }

  run(each: Step): void {
    this.#calls += 1;
    const key = `key ${this.#calls}`;
    if (each.kind === "reserve") this.#reserve(each, key);
    if (each.kind === "advance") {
      this.clock.advance(each.ms);
      this.model.advance(each.ms);
    }
    if (each.kind === "look") bodyOf(this.authority.getPeriod(this.#name(each.pick)));
    if (each.kind === "credit") {
      const { scope } = this.#name(each.pick);
      const request = { operation: "CREDIT", amount: tokens(each.amount), idempotency_key: key } as const;
      bodyOf(this.authority.fund({ scope, unit: UNIT }, request));
      this.model.credit(scope, each.amount);
    }
    if (each.kind !== "commit" && each.kind !== "release") return;
    const { holds } = this.model;
    // Counted from the latest, so that most are still there.
    const hold = holds[holds.length - 1 - (each.pick % Math.max(holds.length, 1))];
    if (hold !== undefined) this.#settle(hold, each, key);
  }

  /** Every figure of every window that there is, and that every unit ever charged is in one of them. */
  check(): void {
    for (const [scope, budget] of this.model.budgets) {
      const shown = bodyOf(this.authority.getPeriod({ scope, unit: UNIT }));
      const windows = [shown.window, ...shown.passed_windows];
      let [spent, owed, carried] = [0n, 0n, 0n];
      for (const [index, window] of windows.entries()) {
        const number =
          index === 0 ? budget.current : Math.floor(Date.parse(window.starts_at) / (budget.periodMs ?? 1));
        const expected = budget.windows.get(number);
        const figures = {
          allocated: window.allocated.amount,
          spent: window.spent.amount,
          reserved: window.reserved.amount,
          debt: window.debt.amount,
          carried: window.carried_debt.amount,
        };
        expect({ scope, number, ...figures }).toEqual({
          scope,
          number,
          ...expected,
          reserved: this.model.reserved(scope, number),
          debt: index === 0 ? budget.debt : 0n,
        });
        const { allocated, reserved, debt } = figures;
        expect(window.remaining.amount).toBe(allocated - figures.spent - reserved - debt);
        spent += figures.spent;
        owed += debt;
        carried += figures.carried;
      }
      expect({ scope, charged: spent + owed - carried }).toEqual({ scope, charged: budget.charged });
      const held = this.model.holds.filter(
        ({ state, scopes }) => state === "ACTIVE" && scopes.includes(scope),
      );
      const reserved = windows.reduce((sum, window) => sum + window.reserved.amount, 0n);
      expect(reserved).toBe(held.reduce((sum, hold) => sum + hold.amount, 0n));
    }
  }

  #reserve(each: Step & { kind: "reserve" }, key: string): void {
    const { agent, policy, ttlMs } = each;
    const scopes = ["tenant:acme", ...(agent === undefined ? [] : [`tenant:acme/agent:${agent}`])];
    const reply = this.authority.reserve(
      reserveRequest(key, each.amount, {
        subject: { tenant: "acme", ...(agent !== undefined && { agent }) },
        overage_policy: policy,
        ttl_ms: ttlMs,
        grace_period_ms: 0,
      }),
    );
    expect(verdictOf(reply)).toBe(this.model.reserve(scopes, each.amount, policy, ttlMs));
    const made = this.model.holds.at(-1);
    if (reply.ok && made !== undefined) made.id = reply.body.reservation_id ?? "";
  }

  #settle(hold: ModelHold, each: Step & { kind: "commit" | "release" }, key: string): void {
    if (each.kind === "release") {
      const reply = this.authority.release(hold.id, { idempotency_key: key });
      expect(verdictOf(reply)).toBe(this.model.release(hold));
      return;
    }
    const reply = this.authority.commit(hold.id, { idempotency_key: key, actual: tokens(each.amount) });
    expect(verdictOf(reply)).toBe(this.model.commit(hold, each.amount));
  }

  #name(pick: number) {
    return { scope: BUDGETS[pick]?.scope ?? "", unit: UNIT };
  }
}

test("any sequence of operations over many windows gives the model's answers and figures", () => {
  const settings = fc.array(
    fc.record({ base: fc.constantFrom(0n, 20n, 100n, 300n), limit: fc.constantFrom(0n, 30n, 30n, 200n) }),
    { minLength: BUDGETS.length, maxLength: BUDGETS.length },
  );
  fc.assert(
    fc.property(
      settings,
      fc.array(step, { maxLength: 60, size: "+1" }),
      fc.boolean(),
      (budgets, steps, checksEachStep) => {
        const pair = new Pair(budgets);
        for (const each of steps) {
          pair.run(each);
          // Checking looks at every budget; half of the runs leave them alone until the end.
          if (checksEachStep) pair.check();
        }
        pair.check();
      },
    ),
    { numRuns: 400 },
  );
});
