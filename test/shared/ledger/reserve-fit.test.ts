// Reserving as much as fits, against the budgets' own figures: whatever was reserved, spent, frozen or lent before, what is
// granted is exactly what the tightest budget of the path has, within the range; and it is settled like any reservation.

import fc from "fast-check";
import { LocalLedger } from "purser/ledger";
import { expect, test } from "vitest";
import { budget, TENANT, tokens } from "../../support/ledger-fixtures.ts";

const PATHS = [{}, { agent: "a" }, { agent: "b" }, { app: "x", agent: "a" }] as const;
const LIMITS = { "": 1_000, "/agent:a": 300, "/app:x": 200, "/app:x/agent:a": 150 } as const;

const amount = fc.nat({ max: 400 });
const step = fc.oneof(
  fc.record({
    op: fc.constant("fit" as const),
    path: fc.constantFrom(...PATHS),
    least: amount,
    more: amount,
    isDry: fc.boolean(),
  }),
  fc.record({ op: fc.constant("commit" as const), which: fc.nat({ max: 30 }), actual: amount }),
  fc.record({ op: fc.constant("release" as const), which: fc.nat({ max: 30 }) }),
  fc.record({ op: fc.constant("lease" as const), path: fc.constantFrom(...PATHS), want: amount }),
);

function setUp() {
  const ledger = new LocalLedger({ tenant: TENANT, now: () => 1_800_000_000_000 });
  for (const [below, allocated] of Object.entries(LIMITS)) {
    expect(ledger.createBudget(budget(`tenant:${TENANT}${below}`, allocated)).ok).toBe(true);
  }
  const rows = () => {
    const reply = ledger.balances();
    if (!reply.ok) throw new Error(reply.message);
    return reply.body.balances;
  };
  /** The budgets on the way to this subject. */
  const wayOf = (path: { readonly app?: string; readonly agent?: string }) => {
    const levels = Object.entries({ app: path.app, agent: path.agent }).filter(([, id]) => id !== undefined);
    const scopes = [""];
    for (const [level, id] of levels) scopes.push(`${scopes.at(-1)}/${level}:${id}`);
    return rows().filter(({ scope_path }) => scopes.includes(scope_path.slice(`tenant:${TENANT}`.length)));
  };
  /** What the tightest of them has left. */
  const leftFor = (path: Parameters<typeof wayOf>[0]): bigint => {
    const [tightest = 0n] = wayOf(path)
      .map(({ remaining }) => remaining.amount)
      .sort((a, b) => Number(a - b));
    return tightest;
  };
  /** Whether one of them could not be charged all that was used: it takes nothing more, not even nothing. */
  const isOverLimit = (path: Parameters<typeof wayOf>[0]): boolean =>
    wayOf(path).some(({ is_over_limit }) => is_over_limit === true);
  return { ledger, rows, leftFor, isOverLimit };
}

test("every history: a fit gets what the tightest budget has, within its range, or nothing moves", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const { ledger, rows, leftFor, isOverLimit } = setUp();
      const open: string[] = [];
      for (const [index, current] of steps.entries()) {
        const before = rows();
        const idempotency_key = `step ${index}`;
        if (current.op === "fit") {
          const { path, least, more, isDry } = current;
          const left = leftFor(path);
          const isClosed = isOverLimit(path);
          const reply = ledger.reserveFit({
            idempotency_key,
            subject: { tenant: TENANT, ...path },
            action: { kind: "llm", name: "m" },
            estimate: tokens(least + more),
            estimate_min: least,
            dry_run: isDry,
          });
          const granted =
            isClosed || BigInt(least) > left
              ? null
              : left < BigInt(least + more)
                ? left
                : BigInt(least + more);
          if (granted === null)
            expect(isDry ? reply.ok && reply.body.decision : !reply.ok).toBe(isDry ? "DENY" : true);
          else expect(reply.ok && reply.body.reserved?.amount).toBe(granted);
          if (granted === null || isDry) expect(rows()).toEqual(before);
          else {
            expect(leftFor(path)).toBe(left - granted);
            if (reply.ok) open.push(String(reply.body.reservation_id));
          }
        } else if (current.op === "lease") {
          const subject = { tenant: TENANT, ...current.path };
          ledger.openLease({ idempotency_key, subject, unit: "TOKENS", want: current.want + 1 });
        } else {
          const [id] = open.splice(current.which % Math.max(1, open.length), 1);
          if (id === undefined) continue;
          if (current.op === "release") expect(ledger.release(id, { idempotency_key }).ok).toBe(true);
          else if (!ledger.commit(id, { idempotency_key, actual: tokens(current.actual) }).ok) open.push(id);
        }
        for (const { remaining, allocated, spent, reserved, debt } of rows()) {
          const figure = (of: { readonly amount: bigint } | undefined) => of?.amount ?? 0n;
          expect(remaining.amount).toBe(figure(allocated) - figure(spent) - figure(reserved) - figure(debt));
          expect(figure(spent) + figure(reserved)).toBeLessThanOrEqual(figure(allocated) + figure(debt));
        }
      }
    }),
    { numRuns: 150 },
  );
});

test("a frozen budget lends nothing, however little is wanted", () => {
  const { ledger, rows } = setUp();
  expect(ledger.freezeBudget({ scope: `tenant:${TENANT}`, unit: "TOKENS" }).ok).toBe(true);
  const before = rows();
  const reply = ledger.reserveFit({
    idempotency_key: "k",
    subject: { tenant: TENANT },
    action: { kind: "llm", name: "m" },
    estimate: tokens(10),
    estimate_min: 0,
  });
  expect(reply).toMatchObject({ ok: false, error: "BUDGET_FROZEN" });
  expect(rows()).toEqual(before);
});
