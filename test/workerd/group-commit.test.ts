// Group commit in the real object: calls that arrive together share one transaction, are decided in their order as if
// they had come one after another, and fail alone, or all together with the transaction.

import { env } from "cloudflare:workers";
import fc from "fast-check";
import { LocalLedger, ReservationIds } from "purser/ledger";
import { describe, expect, test, vi } from "vitest";
import { tenantStub } from "../../worker/http/tenant-stub.ts";
import { GroupCommit, WAITING_CALLS_MAX } from "../../worker/tenant/group-commit.ts";
import type { TenantBudget } from "../../worker/tenant/tenant-budget.ts";
import { reserveRequest, tokens, verdictOf } from "../support/ledger-fixtures.ts";
import { dump, START_MS, tenantWith, withExec, within } from "./support.ts";

/** Counts the outermost transactions that the object's store begins during `work`. */
async function countTransactions(budget: TenantBudget, work: () => Promise<unknown>): Promise<number> {
  const { store } = budget;
  const own = store.transact.bind(store);
  let depth = 0;
  let count = 0;
  store.transact = (decide) => {
    if (depth === 0) count += 1;
    depth += 1;
    try {
      return own(decide);
    } finally {
      depth -= 1;
    }
  };
  await work();
  Reflect.deleteProperty(store, "transact");
  return count;
}

const each = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index));

describe("calls that arrive together", () => {
  test("share one transaction, and the first in the line get what there is", async () => {
    const { tenant, stub } = await tenantWith(100);
    await within(stub, START_MS, async (budget, state) => {
      let verdicts: string[] = [];
      const transactions = await countTransactions(budget, async () => {
        const replies = each(30, (n) => budget.reserve(reserveRequest(`k${n}`, 10, { subject: { tenant } })));
        verdicts = (await Promise.all(replies)).map(verdictOf);
      });
      expect(transactions).toBe(1);
      expect(verdicts).toEqual([...each(10, () => "200"), ...each(20, () => "409 BUDGET_EXCEEDED")]);
      await state.storage.deleteAlarm();
    });
  });

  test("by RPC, keep their order too", async () => {
    const { tenant, stub: platformStub } = await tenantWith(100);
    const stub = tenantStub(env, tenant);
    const replies = each(30, (n) => stub.reserve(reserveRequest(`k${n}`, 10, { subject: { tenant } })));
    const verdicts = (await Promise.all(replies)).map(verdictOf);
    expect(verdicts).toEqual([...each(10, () => "200"), ...each(20, () => "409 BUDGET_EXCEEDED")]);
    await within(platformStub, START_MS, (_, state) => state.storage.deleteAlarm());
  });

  test("get the answers and leave the balances of the same calls made one after another", async () => {
    const key = fc.constantFrom("a", "b", "c", "d");
    const step = fc.oneof(
      fc.record({ kind: fc.constant("reserve" as const), key, amount: fc.integer({ min: 0, max: 60 }) }),
      fc.record({ kind: fc.constant("commit" as const), key, amount: fc.integer({ min: 0, max: 60 }) }),
      fc.record({ kind: fc.constant("release" as const), key, amount: fc.constant(0) }),
      fc.record({ kind: fc.constant("extend" as const), key, amount: fc.integer({ min: 1, max: 9_000 }) }),
    );
    const property = fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 24 }), async (steps) => {
      const { tenant, stub } = await tenantWith(100);
      const ids = new ReservationIds([env.PURSER_HASH_SECRET]);
      const day = Math.floor(START_MS / 86_400_000);
      const local = new LocalLedger({ tenant, now: () => START_MS, secret: env.PURSER_HASH_SECRET });
      local.createBudget({ scope: `tenant:${tenant}`, unit: "TOKENS", allocated: tokens(100) });

      const ask = <Authority extends LocalLedger | TenantBudget>(
        authority: Authority,
        { kind, key: name, amount }: (typeof steps)[number],
      ) => {
        const id = ids.issue(tenant, name, day);
        if (kind === "reserve")
          return authority.reserve(reserveRequest(name, amount, { subject: { tenant } }));
        const idempotency_key = `${kind} ${name}`;
        if (kind === "commit") return authority.commit(id, { idempotency_key, actual: tokens(amount) });
        if (kind === "release") return authority.release(id, { idempotency_key });
        return authority.extend(id, { idempotency_key, extend_by_ms: amount });
      };
      const apart = steps.map((one) => ask(local, one));
      await within(stub, START_MS, async (budget, state) => {
        const together = await Promise.all(steps.map((one) => ask(budget, one)));
        expect(together).toEqual(apart);
        expect(await budget.balances({ tenant })).toEqual(local.balances({ tenant }));
        await state.storage.deleteAlarm();
      });
    });
    await fc.assert(property, { numRuns: 60 });
  });
});

describe("a fault", () => {
  /** Statements that fail wherever one of their values is this key. */
  const failingFor = (state: DurableObjectState, key: string) =>
    ((text: string, ...values: unknown[]) => {
      if (values.includes(key)) throw new Error("power cut");
      return state.storage.sql.exec(text, ...values);
    }) as SqlStorage["exec"];

  test("of one call fails that call alone", async () => {
    const { tenant, stub } = await tenantWith(100);
    await within(stub, START_MS, async (budget, state) => {
      const outcomes = await withExec(budget, failingFor(state, "k1"), () =>
        Promise.allSettled(
          each(3, (n) => budget.reserve(reserveRequest(`k${n}`, 30, { subject: { tenant } }))),
        ),
      );
      expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
      expect(await budget.balances({ tenant })).toMatchObject({
        body: { balances: [{ reserved: tokens(60n), remaining: tokens(40n) }] },
      });
      // What the failed call left in memory is gone as well: its key is free and gets the rest.
      const again = await budget.reserve(reserveRequest("k1", 40, { subject: { tenant } }));
      expect(verdictOf(again)).toBe("200");
      await state.storage.deleteAlarm();
    });
  });

  test("of the group's transaction fails all of it, and leaves no trace", async () => {
    const { tenant, stub } = await tenantWith(100);
    await within(stub, START_MS, async (budget, state) => {
      const untouched = dump(state);
      const { store } = budget;
      const own = store.transact.bind(store);
      let depth = 0;
      store.transact = (decide) => {
        depth += 1;
        try {
          return own(() => {
            const result = decide();
            if (depth === 1) throw new Error("power cut");
            return result;
          });
        } finally {
          depth -= 1;
        }
      };
      const outcomes = await Promise.allSettled(
        each(3, (n) => budget.reserve(reserveRequest(`k${n}`, 30, { subject: { tenant } }))),
      );
      Reflect.deleteProperty(store, "transact");
      expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
      expect(dump(state)).toBe(untouched);
      expect(await state.storage.getAlarm()).toBeNull();

      const again = await budget.reserve(reserveRequest("k0", 100, { subject: { tenant } }));
      expect(verdictOf(again)).toBe("200");
      expect(await state.storage.getAlarm()).toBe(START_MS + 65_001);
      await state.storage.deleteAlarm();
    });
  });
});

test.each([
  ["rejects", () => Promise.reject(new Error("no timer"))],
  [
    "throws",
    () => {
      throw new Error("no timer");
    },
  ],
])("a gathering that %s holds nobody up, and the line goes on", async (_, gather) => {
  const said = vi.spyOn(console, "error").mockImplementation(() => undefined);
  const group = new GroupCommit({ transact: (decideAll) => decideAll(), gather });
  expect(await Promise.all([group.run(() => 1), group.run(() => 2)])).toEqual([1, 2]);
  expect(await group.run(() => 3)).toBe(3);
  expect(group.isFull).toBe(false);
  expect(said).toHaveBeenCalled();
  said.mockRestore();
});

test("past the end of the line a call is refused as overload, and everybody in the line is decided", async () => {
  const { tenant, stub } = await tenantWith(WAITING_CALLS_MAX);
  await within(stub, START_MS, async (budget, state) => {
    const replies = await Promise.all(
      each(WAITING_CALLS_MAX + 2, (n) => budget.reserve(reserveRequest(`k${n}`, 1, { subject: { tenant } }))),
    );
    expect(replies.slice(0, WAITING_CALLS_MAX).every(({ ok }) => ok)).toBe(true);
    const refused = {
      ok: false,
      status: 503,
      error: "INTERNAL_ERROR",
      message: expect.stringContaining("overloaded"),
      retryAfterMs: 1_000,
    };
    expect(replies.slice(WAITING_CALLS_MAX)).toEqual([refused, refused]);
    // And the next one finds an empty line again.
    const late = await budget.reserve(reserveRequest("late", 1, { subject: { tenant } }));
    expect(verdictOf(late)).toBe("409 BUDGET_EXCEEDED");
    await state.storage.deleteAlarm();
  });
});
