// The Durable Object itself: what survives an eviction, what a throw leaves, how many rows a decision writes, when an
// alarm stands, and that a name without a tenant stores nothing.

import { evictDurableObject, runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, test, vi } from "vitest";
import { tenantStub } from "../../worker/http/tenant-stub.ts";
import type { TenantBudget } from "../../worker/tenant/tenant-budget.ts";
import { bodyOf, reserveRequest, tokens, verdictOf } from "../support/ledger-fixtures.ts";
import {
  dump,
  freshTenantName,
  START_MS,
  type Stub,
  stubOf,
  tenantWith,
  withExec,
  within,
} from "./support.ts";

type Step = (budget: TenantBudget, tenant: string, ids: Record<string, string>) => unknown;

/** Reserve under `key`, and remember the id by it. */
const reserve =
  (key: string, amount: number, ttl_ms = 60_000): Step =>
  async (budget, tenant, ids) => {
    const reply = await budget.reserve(
      reserveRequest(key, amount, { subject: { tenant }, ttl_ms, grace_period_ms: 0 }),
    );
    if (reply.ok && reply.body.reservation_id !== undefined) ids[key] = reply.body.reservation_id;
    return reply;
  };
const commit =
  (key: string, actual: number): Step =>
  (budget, _, ids) =>
    budget.commit(ids[key] ?? "", { idempotency_key: `commit ${key}`, actual: tokens(actual) });
const release =
  (key: string): Step =>
  (budget, _, ids) =>
    budget.release(ids[key] ?? "", { idempotency_key: `release ${key}` });
const extend =
  (key: string): Step =>
  (budget, _, ids) =>
    budget.extend(ids[key] ?? "", { idempotency_key: `extend ${key}`, extend_by_ms: 60_000 });
const fund: Step = (budget, tenant) =>
  budget.fund(
    { scope: `tenant:${tenant}`, unit: "TOKENS" },
    { operation: "CREDIT", amount: tokens(5), idempotency_key: "fund" },
  );
const decide =
  (key: string, amount: number): Step =>
  (budget, tenant) =>
    budget.decide(reserveRequest(key, amount, { subject: { tenant } }));
/** Spend under `key`, and remember the event's id by it. */
const event =
  (key: string, amount: number): Step =>
  async (budget, tenant, ids) => {
    const { estimate: actual, ...rest } = reserveRequest(key, amount, { subject: { tenant } });
    const reply = await budget.event({ ...rest, actual });
    if (reply.ok) ids[key] = reply.body.event_id;
    return reply;
  };
const balances: Step = (budget, tenant) => budget.balances({ tenant });

/** Open a lease under `key`, and remember the id by it. */
const lease =
  (key: string, want: number, ttl_ms = 60_000): Step =>
  async (budget, tenant, ids) => {
    const request = { idempotency_key: key, subject: { tenant }, unit: "TOKENS" as const, want, ttl_ms };
    const reply = await budget.openLease(request);
    if (reply.ok) ids[key] = reply.body.lease_id;
    return reply;
  };
const reportOf = (sequence: number, spent: number) => ({
  epoch: 1,
  unit: "TOKENS" as const,
  sequence,
  spent,
  held: 0,
  returned: 0,
});
const renew =
  (key: string, sequence: number, spent: number, want: number): Step =>
  (budget, _, ids) =>
    budget.renewLease(ids[key] ?? "", { ...reportOf(sequence, spent), want });
const giveBack =
  (key: string, sequence: number, spent: number): Step =>
  (budget, _, ids) =>
    budget.returnLease(ids[key] ?? "", reportOf(sequence, spent));
const refunding: Step = (budget) => budget.changeLeaseSettings({ on_expiry: "refund", grace_ms: 0 });
const newEpoch: Step = (budget) => budget.raiseLeaseEpoch();

const HOUR_MS = 3_600_000;
const policy =
  (perMinute: number): Step =>
  (budget, tenant) =>
    budget.createPolicy({
      name: "policy",
      scope_pattern: `tenant:${tenant}`,
      caps: { max_tokens: 7 },
      rate_limits: { max_reservations_per_minute: perMinute },
    });
const loosen: Step = (budget, tenant) => budget.updatePolicy(`pol_${tenant}_1`, { rate_limits: {} });
const period: Step = (budget, tenant) =>
  budget.setPeriod({ scope: `tenant:${tenant}`, unit: "TOKENS" }, { kind: "every", every_ms: HOUR_MS });
const lend: Step = (budget, tenant) =>
  budget.updateBudget({ scope: `tenant:${tenant}`, unit: "TOKENS" }, { overdraft_limit: tokens(50) });

/** [milliseconds after the start, step]; b expires between the fourth and the fifth. */
const STORY: readonly [number, Step][] = [
  [0, reserve("a", 40)],
  [0, reserve("b", 30, 1000)],
  [10, extend("a")],
  [20, fund],
  [20, event("e", 2)],
  [20, decide("f", 40)],
  [20, lease("l", 20, 1_000)],
  [500, renew("l", 1, 1, 6)],
  [600, giveBack("l", 2, 1)],
  [600, lease("m", 5, 1_000)],
  [1700, renew("m", 1, 1, 5)],
  [2000, giveBack("m", 2, 2)],
  [2000, reserve("c", 52)],
  [2000, commit("a", 45)],
  [2100, release("c")],
  [2200, reserve("d", 1)],
  [2300, commit("d", 0)],
  // Replays of everything, after everything.
  [3000, reserve("a", 40)],
  [3000, commit("a", 45)],
  [3000, release("c")],
  [3000, extend("a")],
  [3000, fund],
  [3000, event("e", 2)],
  [3000, decide("f", 40)],
  [3000, lease("l", 20, 1_000)],
  [3000, giveBack("l", 2, 1)],
  [3000, renew("m", 1, 1, 5)],
  [3000, commit("b", 1)],
  [3000, balances],
];

/** Plays the story on a fresh tenant, evicting after each step that `evictsAfter` names. Answers without names and ids. */
async function play(evictsAfter: (index: number) => boolean): Promise<string[]> {
  const { tenant, stub } = await tenantWith(100);
  const ids: Record<string, string> = {};
  const answers: string[] = [];
  for (const [index, [afterMs, step]] of STORY.entries()) {
    const answer = await within(stub, START_MS + afterMs, (budget) => step(budget, tenant, ids));
    answers.push(anonymous(answer, tenant, ids));
    if (evictsAfter(index)) await evictDurableObject(stub);
  }
  return answers;
}

function anonymous(answer: unknown, tenant: string, ids: Record<string, string>): string {
  let text = JSON.stringify(answer, (_, value) => (typeof value === "bigint" ? `${value}n` : value));
  for (const [key, id] of Object.entries(ids)) text = text.replaceAll(id, `<id of ${key}>`);
  return text.replaceAll(tenant, "<tenant>");
}

describe("eviction", () => {
  test("between any two steps, or between all of them, changes no answer", async () => {
    const undisturbed = await play(() => false);
    expect(undisturbed.at(-2)).toContain("RESERVATION_EXPIRED");
    expect(undisturbed.at(-1)).toContain('"remaining":{"unit":"TOKENS","amount":"55n"}');
    for (let index = 0; index < STORY.length - 1; index += 1) {
      expect(await play((at) => at === index)).toEqual(undisturbed);
    }
    expect(await play(() => true)).toEqual(undisturbed);
  });

  test("does not turn the clock back", async () => {
    const { tenant, stub } = await tenantWith(100);
    const ids: Record<string, string> = {};
    await within(stub, START_MS, (budget) => reserve("a", 10, 1000)(budget, tenant, ids));
    // Another decision writes a later time; afterwards the host's clock is minutes behind.
    await within(stub, START_MS + 1001, (budget) => reserve("b", 1)(budget, tenant, ids));
    await evictDurableObject(stub);
    const late = await within(stub, START_MS - 240_000, (budget) => budget.getReservation(ids.a ?? ""));
    expect(verdictOf(late)).toBe("410 RESERVATION_EXPIRED");
  });
});

describe("a throw inside a decision", () => {
  const cases: [string, Step[], number, Step][] = [
    ["reserve", [], 0, reserve("x", 10)],
    ["commit", [reserve("a", 10)], 0, commit("a", 15)],
    ["release", [reserve("a", 10)], 0, release("a")],
    ["extend", [reserve("a", 10)], 0, extend("a")],
    ["fund", [], 0, fund],
    ["decide", [], 0, decide("d", 10)],
    ["event", [], 0, event("e", 10)],
    ["a change of policy", [policy(5)], 0, loosen],
    ["a reserve that begins a lot of its rate", [policy(5)], 0, reserve("x", 10)],
    ["period", [], 0, period],
    ["a reserve that begins a window", [period, reserve("a", 10, 7_200_000)], HOUR_MS, reserve("x", 10)],
    [
      "a late commit that leaves debt to a later window",
      [period, lend, reserve("a", 90, 7_200_000)],
      HOUR_MS,
      commit("a", 110),
    ],
    [
      "a reserve that settles what expired",
      [reserve("a", 60, 1000), reserve("b", 30, 1000)],
      1001,
      reserve("x", 100),
    ],
    ["a lease", [], 0, lease("l", 10)],
    ["a report", [lease("l", 10)], 0, renew("l", 1, 5, 20)],
    ["a return", [lease("l", 10)], 0, giveBack("l", 1, 5)],
    ["a late return", [lease("l", 10, 1_000)], HOUR_MS, giveBack("l", 1, 5)],
    [
      "a report that moves its lease to a new window",
      [period, lease("l", 10, 600_000)],
      599_000,
      renew("l", 1, 5, 20),
    ],
    ["a new epoch", [lease("l", 10), lease("m", 10)], 0, newEpoch],
    ["balances that settle what expired", [reserve("a", 60, 1000)], 1001, balances],
  ];
  test.each(cases)(
    "%s: after any statement, leaves no trace and harms no retry",
    async (_, before, afterMs, step) => {
      const { tenant, stub } = await tenantWith(100);
      const ids: Record<string, string> = {};
      for (const each of before) await within(stub, START_MS, (budget) => each(budget, tenant, ids));
      const statements = await within(stub, START_MS + afterMs, async (budget, state) => {
        const untouched = dump(state);
        for (let failsAfter = 1; ; failsAfter += 1) {
          let count = 0;
          const failing = ((text: string, ...values: unknown[]) => {
            const cursor = state.storage.sql.exec(text, ...values);
            count += 1;
            if (count === failsAfter) throw new Error("power cut");
            return cursor;
          }) as SqlStorage["exec"];
          try {
            expect(await withExec(budget, failing, () => step(budget, tenant, { ...ids }))).toMatchObject({
              ok: true,
            });
            expect(dump(state)).not.toBe(untouched);
            return count;
          } catch (error) {
            expect(error).toMatchObject({ message: "power cut" });
            expect(dump(state)).toBe(untouched);
          }
        }
      });
      expect(statements).toBeGreaterThan(3);
      expect(await within(stub, START_MS + afterMs, (budget) => step(budget, tenant, ids))).toMatchObject({
        ok: true,
      });
    },
  );
});

describe("rows written", () => {
  /** Counts the rows that the store's statements write during `work`. */
  async function countRows(
    budget: TenantBudget,
    state: DurableObjectState,
    work: () => unknown,
  ): Promise<number> {
    const cursors: { rowsWritten: number }[] = [];
    const counting = ((text: string, ...values: unknown[]) => {
      const cursor = state.storage.sql.exec(text, ...values);
      cursors.push(cursor);
      return cursor;
    }) as SqlStorage["exec"];
    await withExec(budget, counting, work);
    return cursors.reduce((sum, cursor) => sum + cursor.rowsWritten, 0);
  }

  test("2 per reserve, 3 per commit, 1 per pruned row; a refusal and a replay none", async () => {
    const { tenant, stub } = await tenantWith(1_000_000);
    const ids: Record<string, string> = {};
    const rowsOf = (afterMs: number, step: Step) =>
      within(stub, START_MS + afterMs, (budget, state) =>
        countRows(budget, state, () => step(budget, tenant, ids)),
      );
    expect(await rowsOf(0, reserve("a", 10))).toBe(2);
    expect(await rowsOf(0, reserve("a", 10))).toBe(0);
    expect(await rowsOf(0, reserve("b", 2_000_000))).toBe(0);
    expect(await rowsOf(0, commit("a", 15))).toBe(3);
    expect(await rowsOf(0, commit("a", 15))).toBe(0);
    expect(await rowsOf(0, decide("d", 10))).toBe(1);
    expect(await rowsOf(0, decide("d", 10))).toBe(0);
    expect(await rowsOf(0, event("e", 10))).toBe(2);
    expect(await rowsOf(0, event("e", 10))).toBe(0);
    const muchLater = 40 * 86_400_000;
    expect(await rowsOf(muchLater, reserve("c", 10))).toBe(2);
    // Three of its own; the old reservation and the two answers are pruned.
    expect(await rowsOf(muchLater, commit("c", 10))).toBe(6);
    expect(await rowsOf(muchLater, balances)).toBe(0);
  });

  test("with a period the same, and 1 more where a window begins; with a rate limit 1 more for each lot", async () => {
    const { tenant, stub } = await tenantWith(1_000_000);
    const ids: Record<string, string> = {};
    const rowsOf = (afterMs: number, step: Step) =>
      within(stub, START_MS + afterMs, (budget, state) =>
        countRows(budget, state, () => step(budget, tenant, ids)),
      );
    await rowsOf(0, period);
    expect([await rowsOf(0, reserve("a", 10)), await rowsOf(0, commit("a", 15))]).toEqual([2, 3]);
    await rowsOf(0, reserve("late", 10, 3_600_000));
    await rowsOf(0, reserve("owing", 10, 3_600_000));
    expect(await rowsOf(HOUR_MS, reserve("b", 10))).toBe(3);
    expect([await rowsOf(HOUR_MS, reserve("c", 10)), await rowsOf(HOUR_MS, commit("c", 10))]).toEqual([2, 3]);
    expect(await rowsOf(HOUR_MS, commit("late", 10))).toBe(3);
    // The next window begins (2), and two holds have expired meanwhile (3 each), one of them in a window that has passed.
    expect(await rowsOf(2 * HOUR_MS, balances)).toBe(8);

    await rowsOf(2 * HOUR_MS, policy(48));
    const rows: number[] = [];
    for (let index = 0; index < 7; index += 1) rows.push(await rowsOf(2 * HOUR_MS, reserve(`r${index}`, 1)));
    expect(rows).toEqual([3, 2, 2, 3, 2, 2, 3]);
  });

  test("a lease: 1 and 1 a budget; a renewal 1, and 1 if the budget changes; 2 and 1 at its end", async () => {
    const { tenant, stub } = await tenantWith(1_000_000);
    const ids: Record<string, string> = {};
    const rowsOf = (afterMs: number, step: Step) =>
      within(stub, START_MS + afterMs, (budget, state) =>
        countRows(budget, state, () => step(budget, tenant, ids)),
      );
    expect(await rowsOf(0, lease("l", 10))).toBe(2);
    expect(await rowsOf(0, lease("l", 10))).toBe(0);
    // A new life and nothing else; then spending, and more.
    expect(await rowsOf(1, renew("l", 1, 0, 10))).toBe(1);
    expect(await rowsOf(2, renew("l", 2, 5, 10))).toBe(2);
    expect(await rowsOf(2, renew("l", 2, 5, 10))).toBe(0);
    expect(await rowsOf(3, giveBack("l", 3, 7))).toBe(3);
    expect(await rowsOf(4, giveBack("l", 4, 8))).toBe(2);
    await rowsOf(5, lease("m", 10, 1_000));
    expect(await rowsOf(10_000, balances)).toBe(3);
    // One more for each index that knows of it: what a refunded one may have spent is a sum.
    await rowsOf(10_000, refunding);
    await rowsOf(10_000, lease("n", 10, 1_000));
    expect(await rowsOf(12_000, balances)).toBe(4);
  });

  test("at most 6 per reserve + commit over their whole life, pruning included", async () => {
    const { tenant, stub } = await tenantWith(1_000_000);
    const pairs = 40;
    const batch = (afterMs: number, name: string) =>
      within(stub, START_MS + afterMs, (budget, state) =>
        countRows(budget, state, async () => {
          const ids: Record<string, string> = {};
          for (let index = 0; index < pairs; index += 1) {
            await reserve(`${name}${index}`, 1)(budget, tenant, ids);
            await commit(`${name}${index}`, 1)(budget, tenant, ids);
          }
        }),
      );
    const first = await batch(0, "first");
    const second = await batch(40 * 86_400_000, "second");
    expect([first, second]).toEqual([5 * pairs, 6 * pairs]);
    const finished = await within(stub, START_MS, (_, state) =>
      state.storage.sql
        .exec<{ rows: number }>("SELECT count(*) AS rows FROM reservations WHERE finished = 1")
        .one(),
    );
    expect(finished.rows).toBe(pairs);
  });
});

describe("the alarm", () => {
  const alarmOf = (stub: Stub) => within(stub, START_MS, (_, state) => state.storage.getAlarm());

  test("stands at the earliest deadline, moves only earlier, sweeps, and is gone when nothing is held", async () => {
    const { tenant, stub } = await tenantWith(100);
    const ids: Record<string, string> = {};
    const now = START_MS;
    const at = (afterMs: number, step: Step) =>
      within(stub, now + afterMs, (budget) => step(budget, tenant, ids));
    expect(await alarmOf(stub)).toBeNull();
    await at(0, reserve("late", 10, 3_600_000));
    expect(await alarmOf(stub)).toBe(now + 3_600_001);
    await at(0, reserve("early", 10, 1_800_000));
    expect(await alarmOf(stub)).toBe(now + 1_800_001);
    await at(0, commit("early", 10));
    expect(await alarmOf(stub)).toBe(now + 1_800_001);

    await within(stub, now + 1_800_001, () => undefined);
    expect(await runDurableObjectAlarm(stub)).toBe(true);
    expect(await alarmOf(stub)).toBe(now + 3_600_001);
    await within(stub, now + 3_600_001, () => undefined);
    expect(await runDurableObjectAlarm(stub)).toBe(true);
    expect(await alarmOf(stub)).toBeNull();
    const statuses = await within(stub, now, (_, state) =>
      state.storage.sql
        .exec<{ status: string }>("SELECT status FROM reservations WHERE finished ORDER BY status")
        .toArray(),
    );
    expect(statuses).toEqual([{ status: "COMMITTED" }, { status: "EXPIRED" }]);
  });

  test("comes again a minute after a sweep that failed, and then sweeps", async () => {
    const { tenant, stub } = await tenantWith(100);
    const ids: Record<string, string> = {};
    await within(stub, START_MS, (budget) => reserve("a", 10, 1000)(budget, tenant, ids));
    const dueMs = START_MS + 1001;
    const said = vi.spyOn(console, "error").mockImplementation(() => undefined);
    await within(stub, dueMs, (budget) => {
      const failing = (() => {
        throw new Error("disk gone");
      }) as SqlStorage["exec"];
      // alarm() does all its work before it first waits, so the failing statements are in place throughout.
      return withExec(budget, failing, () => budget.alarm());
    });
    expect(said).toHaveBeenCalledOnce();
    said.mockRestore();
    expect(await alarmOf(stub)).toBe(dueMs + 60_000);
    const rows = () =>
      within(stub, dueMs + 60_000, (_, state) =>
        state.storage.sql
          .exec<{ held: number }>("SELECT count(*) AS held FROM reservations WHERE finished = 0")
          .one(),
      );
    expect(await rows()).toEqual({ held: 1 });
    expect(await runDurableObjectAlarm(stub)).toBe(true);
    expect(await rows()).toEqual({ held: 0 });
    expect(await alarmOf(stub)).toBeNull();
  });

  test("is not moved later by a registry that cannot be told", async () => {
    const { tenant, stub } = await tenantWith(100);
    const ids: Record<string, string> = {};
    const said = vi.spyOn(console, "error").mockImplementation(() => undefined);
    await within(stub, START_MS, async (budget) => {
      await reserve("a", 10, 5_000)(budget, tenant, ids);
      budget.announce = () => Promise.reject(new Error("registry gone"));
      await budget.updateTenant({ name: "renamed" });
      await budget.alarm();
    });
    expect(said).toHaveBeenCalledTimes(2);
    said.mockRestore();
    expect(await alarmOf(stub)).toBe(START_MS + 5_001);
    await within(stub, START_MS, (budget, state) => {
      Reflect.deleteProperty(budget, "announce");
      return state.storage.deleteAlarm();
    });
  });

  test("is one row per life of a reservation: the last settlement leaves it, it rings once and sets none", async () => {
    const { tenant, stub } = await tenantWith(100);
    const ids: Record<string, string> = {};
    const pair = (afterMs: number, name: string) =>
      within(stub, START_MS + afterMs, async (budget, state) => {
        const set = vi.spyOn(state.storage, "setAlarm");
        await reserve(name, 1, 60_000)(budget, tenant, ids);
        await commit(name, 1)(budget, tenant, ids);
        const settings = set.mock.calls.length;
        set.mockRestore();
        return settings;
      });
    expect([await pair(0, "a"), await pair(1_000, "b"), await pair(59_000, "c")]).toEqual([1, 0, 0]);
    await within(stub, START_MS + 60_001, () => undefined);
    expect(await runDurableObjectAlarm(stub)).toBe(true);
    expect(await alarmOf(stub)).toBeNull();
    expect(await pair(61_000, "d")).toBe(1);
    await within(stub, START_MS, (_, state) => state.storage.deleteAlarm());
  });

  test("late, early or twice, decides nothing", async () => {
    const { tenant, stub } = await tenantWith(100);
    const ids: Record<string, string> = {};
    const now = START_MS;
    await within(stub, now, (budget) => reserve("a", 10, 3_600_000)(budget, tenant, ids));
    await runDurableObjectAlarm(stub);
    await within(stub, now, (budget) => budget.alarm());
    expect(
      verdictOf(await within(stub, now + 3_600_000, (budget) => budget.getReservation(ids.a ?? ""))),
    ).toBe("200");
    expect(await alarmOf(stub)).toBe(now + 3_600_001);
    await within(stub, now, (_, state) => state.storage.deleteAlarm());
  });
});

describe("an object without a tenant", () => {
  test("stores nothing and grants nothing", async () => {
    const tenant = freshTenantName();
    const stub = stubOf(tenant);
    const caller = { keyId: "0123456789ab", digest: "0" };
    const answers = await within(stub, START_MS, async (budget) => [
      verdictOf(await budget.reserve(reserveRequest("k", 1, { subject: { tenant } }))),
      verdictOf(await budget.balances({ tenant }, caller)),
      verdictOf(
        await budget.createBudget({ scope: `tenant:${tenant}`, unit: "TOKENS", allocated: tokens(1) }),
      ),
      verdictOf(await budget.createTenant({ tenant_id: tenant, name: "" })),
    ]);
    expect(answers).toEqual(["404 NOT_FOUND", "401 UNAUTHORIZED", "404 NOT_FOUND", "400 INVALID_REQUEST"]);
    expect(await within(stub, START_MS, (_, state) => dump(state))).toBe("[]");
  });

  test("a name that is no tenant's, or none at all, serves nobody", async () => {
    const nameless: Stub = env.TENANT_BUDGET.get(env.TENANT_BUDGET.newUniqueId());
    for (const [stub, got] of [
      [stubOf("Acme"), '"Acme"'],
      [nameless, "none"],
    ] as const) {
      const replies = await within(stub, START_MS, async (budget) => [
        await budget.createTenant({ tenant_id: "acme", name: "x" }),
        await budget.balances({ tenant: "x" }),
        await budget.reserve(reserveRequest("k", 1), { keyId: "0123456789ab", digest: "0" }),
      ]);
      for (const reply of replies) {
        expect(reply).toMatchObject({
          status: 400,
          error: "INVALID_REQUEST",
          message: expect.stringMatching(new RegExp(`^tenant, .*, got ${got}$`)),
          details: { field: "tenant" },
        });
      }
      expect(await within(stub, START_MS, (_, state) => dump(state))).toBe("[]");
    }
    // The same over RPC, where a thrown class would not survive.
    expect(verdictOf(await tenantStub(env, "Acme").balances({ tenant: "x" }))).toBe("400 INVALID_REQUEST");
  });

  test("can't be made under another tenant's id", async () => {
    const reply = await within(stubOf(freshTenantName()), START_MS, (budget) =>
      budget.createTenant({ tenant_id: "someone-else", name: "x" }),
    );
    expect(verdictOf(reply)).toBe("400 INVALID_REQUEST");
  });
});

test("another Worker reserves and settles by RPC, with denials as values", async () => {
  const { tenant, stub: platformStub } = await tenantWith(100);
  const stub = tenantStub(env, tenant);
  const reserved = await stub.reserve(reserveRequest("k", 2n ** 53n + 1n, { subject: { tenant } }));
  expect(reserved).toMatchObject({
    ok: false,
    error: "BUDGET_EXCEEDED",
    details: { requested: 2n ** 53n + 1n },
  });
  const granted = bodyOf(await stub.reserve(reserveRequest("k", 60, { subject: { tenant } })));
  const settled = await stub.commit(granted.reservation_id ?? "", {
    idempotency_key: "c",
    actual: tokens(50),
  });
  expect(settled).toMatchObject({ ok: true, body: { charged: tokens(50n), released: tokens(10n) } });
  // This one ran on the real clock.
  await within(platformStub, START_MS, (_, state) => state.storage.deleteAlarm());
});
