// Groups of everything that may arrive together at a real object, agents with their keys and operators, beside the same
// calls one after another on a ledger in memory: the same answers and, after every group, the same rows. One member may
// fail, or the whole group; then the rest is as if those had never come.

import { env } from "cloudflare:workers";
import fc from "fast-check";
import {
  type KeyCaller as Caller,
  LeaseIds,
  Ledger,
  type LedgerStore,
  MemoryStore,
  type Reply,
  ReservationIds,
} from "purser/ledger";
import { describe, expect, test } from "vitest";
import { tenantStub } from "../../worker/http/tenant-stub.ts";
import type { TenantBudget } from "../../worker/tenant/tenant-budget.ts";
import { eventRequest, reserveRequest, tokens, verdictOf } from "../support/ledger-fixtures.ts";
import { freshTenantName, START_MS, stubOf, tenantWith, withExec, within } from "./support.ts";

const UNIT = "TOKENS" as const;
const DAY = Math.floor(START_MS / 86_400_000);

/** What of an object's calls these tests use; the ledger in memory is given the same shape. */
type Authority = Pick<
  TenantBudget,
  | "reserve"
  | "commit"
  | "release"
  | "extend"
  | "event"
  | "decide"
  | "balances"
  | "updateTenant"
  | "createBudget"
  | "updateBudget"
  | "freezeBudget"
  | "unfreezeBudget"
  | "fund"
  | "setPeriod"
  | "createPolicy"
  | "updatePolicy"
  | "createApiKey"
  | "updateApiKey"
  | "revokeApiKey"
  | "openLease"
  | "renewLease"
  | "returnLease"
  | "changeLeaseSettings"
  | "raiseLeaseEpoch"
>;

/** Each call is a turn of its own, as in the object's methods of the same names. */
function oneByOne(ledgerNow: () => Ledger, now: () => number): Authority {
  const turn = (caller?: Parameters<Authority["reserve"]>[1]) => ({ nowMs: now(), caller });
  return {
    reserve: async (body, caller) => ledgerNow().reserve(body, turn(caller)),
    commit: async (id, body, caller) => ledgerNow().commit(id, body, turn(caller)),
    release: async (id, body, caller) => ledgerNow().release(id, body, turn(caller)),
    extend: async (id, body, caller) => ledgerNow().extend(id, body, turn(caller)),
    event: async (body, caller) => ledgerNow().event(body, turn(caller)),
    decide: async (body, caller) => ledgerNow().decide(body, turn(caller)),
    balances: async (query, caller) => ledgerNow().balances(query, turn(caller)),
    updateTenant: async (body) => ledgerNow().updateTenant(body, turn()),
    createBudget: async (body, caller) => ledgerNow().createBudget(body, turn(caller)),
    updateBudget: async (name, body) => ledgerNow().updateBudget(name, body, turn()),
    freezeBudget: async (name, body) => ledgerNow().freezeBudget(name, body, turn()),
    unfreezeBudget: async (name, body) => ledgerNow().unfreezeBudget(name, body, turn()),
    fund: async (name, body, caller) => ledgerNow().fund(name, body, turn(caller)),
    setPeriod: async (name, body, caller) => ledgerNow().setPeriod(name, body, turn(caller)),
    createPolicy: async (body, caller) => ledgerNow().createPolicy(body, turn(caller)),
    updatePolicy: async (id, body, caller) => ledgerNow().updatePolicy(id, body, turn(caller)),
    createApiKey: async (body, minted) => ledgerNow().createApiKey(body, minted, turn()),
    updateApiKey: async (id, body) => ledgerNow().updateApiKey(id, body, turn()),
    revokeApiKey: async (id, query) => ledgerNow().revokeApiKey(id, query, turn()),
    openLease: async (body, caller) => ledgerNow().openLease(body, turn(caller)),
    renewLease: async (id, body, caller) => ledgerNow().renewLease(id, body, turn(caller)),
    returnLease: async (id, body, caller) => ledgerNow().returnLease(id, body, turn(caller)),
    changeLeaseSettings: async (body) => ledgerNow().changeLeaseSettings(body, turn()),
    raiseLeaseEpoch: async () => ledgerNow().raiseLeaseEpoch(turn()),
  };
}

const keyOf = (digit: string): Caller => ({ keyId: digit.repeat(12), digest: digit.repeat(64) });
const CALLERS = { operator: undefined, one: keyOf("1"), two: keyOf("2") } as const;

const step = fc.record({
  what: fc.oneof(
    { weight: 6, arbitrary: fc.constant("reserve" as const) },
    { weight: 6, arbitrary: fc.constantFrom("commit", "release", "extend", "event", "decide") },
    { weight: 6, arbitrary: fc.constantFrom("lease", "renew", "return") },
    { weight: 1, arbitrary: fc.constantFrom("refund", "epoch") },
    { weight: 3, arbitrary: fc.constantFrom("balances", "fund", "freeze", "unfreeze", "budget", "limit") },
    { weight: 2, arbitrary: fc.constantFrom("suspend", "activate", "key", "revoke", "period") },
    { weight: 1, arbitrary: fc.constantFrom("policy", "ratelimit") },
  ),
  who: fc.constantFrom("one" as const, "one" as const, "two" as const, "operator" as const),
  key: fc.constantFrom("a", "b", "c", "d", "e"),
  sequence: fc.integer({ min: 1, max: 4 }),
  agent: fc.boolean(),
  amount: fc.integer({ min: 0, max: 60 }),
});
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

/** `mark` stands in what the call writes last, so that a statement can be made to fail for this call alone. */
function ask(authority: Authority, tenant: string, one: Step, mark = ""): Promise<Reply<unknown>> {
  const { who, key, amount, agent } = one;
  const caller = CALLERS[who];
  const subject = agent ? { tenant, agent: "x" } : { tenant };
  const name = { scope: agent ? `tenant:${tenant}/agent:x` : `tenant:${tenant}`, unit: UNIT };
  const id = new ReservationIds([env.PURSER_HASH_SECRET]).issue(tenant, key, DAY);
  const leaseId = new LeaseIds([env.PURSER_HASH_SECRET]).issue(tenant, `1 ${key}`, DAY);
  const { sequence } = one;
  const report = { epoch: 1, subject, unit: UNIT, sequence, spent: sequence * 5, held: amount, returned: 0 };
  const idempotency_key = `${mark}${one.what}-${key}`;
  switch (one.what) {
    case "reserve":
      return authority.reserve(reserveRequest(`${mark}${key}`, amount, { subject, ttl_ms: 2_000 }), caller);
    case "commit":
      return authority.commit(id, { idempotency_key, actual: tokens(amount) }, caller);
    case "release":
      return authority.release(id, { idempotency_key }, caller);
    case "extend":
      return authority.extend(id, { idempotency_key, extend_by_ms: 1 + amount * 100 }, caller);
    case "event":
      return authority.event(eventRequest(idempotency_key, amount, { subject }), caller);
    case "decide":
      return authority.decide(reserveRequest(idempotency_key, amount, { subject }), caller);
    case "balances":
      return authority.balances({ tenant }, caller);
    case "fund": {
      const operation = amount % 2 === 0 ? "CREDIT" : "DEBIT";
      return authority.fund(name, { operation, amount: tokens(amount), idempotency_key });
    }
    case "freeze":
      return authority.freezeBudget(name, { reason: `${mark}freeze` });
    case "unfreeze":
      return authority.unfreezeBudget(name, { reason: `${mark}unfreeze` });
    case "budget":
      return authority.createBudget({ ...name, allocated: tokens(amount), metadata: { note: mark } });
    case "limit":
      return authority.updateBudget(name, { overdraft_limit: tokens(amount), metadata: { note: mark } });
    case "suspend":
      return authority.updateTenant({ status: "SUSPENDED", name: `${mark}${key}` });
    case "activate":
      return authority.updateTenant({ status: "ACTIVE", name: `${mark}${key}` });
    case "key":
      return authority.updateApiKey(keyOf("1").keyId, {
        name: `${mark}${key}`,
        ...(agent && { permissions: amount % 2 === 0 ? ["balances:read"] : ["reservations:create"] }),
      });
    case "revoke":
      return authority.revokeApiKey(keyOf("2").keyId, { reason: `${mark}gone` });
    case "period":
      return authority.setPeriod(name, { kind: "every", every_ms: 3_600_000, allocated: tokens(amount + 1) });
    case "policy":
      return authority.createPolicy({
        name: `${mark}${key}`,
        scope_pattern: `tenant:${tenant}`,
        rate_limits: { max_reservations_per_minute: 1 + (amount % 4) },
      });
    case "ratelimit":
      return authority.updatePolicy(`pol_${tenant}_1`, {
        description: mark,
        rate_limits: amount % 2 === 0 ? {} : { max_reservations_per_minute: 1 + (amount % 4) },
      });
    case "lease":
      return authority.openLease(
        {
          idempotency_key: `${mark}${key}`,
          subject,
          unit: UNIT,
          want: amount + 1,
          holder: `${mark}h`,
          ttl_ms: 2_000,
        },
        caller,
      );
    case "renew":
      return authority.renewLease(leaseId, { ...report, want: amount }, caller);
    case "return":
      return authority.returnLease(leaseId, report, caller);
    case "refund":
      return authority.changeLeaseSettings({ on_expiry: amount % 2 === 0 ? "charge" : "refund" });
    case "epoch":
      return authority.raiseLeaseEpoch();
    default:
      throw new Error(`no such step: ${one.what}`);
  }
}

async function settle(authority: Authority, tenant: string): Promise<void> {
  const scope = `tenant:${tenant}`;
  await authority.createBudget({ scope, unit: UNIT, allocated: tokens(100) });
  for (const { keyId, digest } of [keyOf("1"), keyOf("2")]) {
    const minted = { keyId, digest, prefix: keyId };
    expect(await authority.createApiKey({ tenant_id: tenant, name: keyId }, minted)).toMatchObject({
      ok: true,
    });
  }
}

/** Everything that a store holds, as records. */
function contentsOf(store: LedgerStore) {
  const accounts = [...store.scanAccounts()];
  const everywhere = { createdAtMs: Number.MAX_SAFE_INTEGER, id: "~" };
  const scan = { order: "id", descending: false, rowsMax: 10_000 } as const;
  return {
    tenant: store.readTenant(),
    accounts,
    windows: accounts.map((account) => store.readWindows(account, 100)),
    apiKeys: [...store.scanApiKeys()],
    policies: store.readPolicies(),
    audit: [...store.scanAudit()],
    leases: [...store.scanLeases({ below: everywhere, rowsMax: 10_000 })],
    leaseSettings: store.readLeaseSettings(),
    reservations: [
      ...store.scanReservations({
        ...scan,
        halves: ["active", "finished"],
        above: { createdAtMs: 0, id: "" },
        below: everywhere,
      }),
    ],
  };
}

/** Lets `work` run while every outermost transaction of the store fails at its end. */
async function withoutCommits<T>(budget: TenantBudget, work: () => Promise<T>): Promise<T> {
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
  try {
    return await work();
  } finally {
    Reflect.deleteProperty(store, "transact");
  }
}

const MARK = "cursed ";
/** Statements that fail wherever the mark stands in one of their values. */
const failingForMark = (state: DurableObjectState) =>
  ((text: string, ...values: unknown[]) => {
    if (values.some((value) => typeof value === "string" && value.includes(MARK)))
      throw new Error("power cut");
    return state.storage.sql.exec(text, ...values);
  }) as SqlStorage["exec"];

const group = fc.record({
  steps: fc.array(step, { minLength: 1, maxLength: 10 }),
  /** Nothing fails, the commit of all fails, or one of them fails. */
  fault: fc.constantFrom("none" as const, "none" as const, "commit" as const, "one" as const),
  cursed: fc.nat(),
  afterMs: fc.constantFrom(0, 0, 700, 8_000, 60_000),
});

test("groups of everything give the answers and the rows of the same calls one after another", async () => {
  const counts = { undone: 0, failed: 0, answered: 0 };
  const property = fc.asyncProperty(fc.array(group, { minLength: 1, maxLength: 5 }), async (groups) => {
    const tenant = freshTenantName();
    let nowMs = START_MS;
    const memory = new MemoryStore();
    const open = () => new Ledger({ tenant, store: memory, secrets: [env.PURSER_HASH_SECRET] });
    let ledger = open();
    const apart = oneByOne(
      () => ledger,
      () => nowMs,
    );
    ledger.createTenant({ tenant_id: tenant, name: tenant }, { nowMs });
    await settle(apart, tenant);
    await within(stubOf(tenant), START_MS, async (budget, state) => {
      budget.now = () => nowMs;
      budget.announce = async () => {};
      await budget.createTenant({ tenant_id: tenant, name: tenant });
      await settle(budget, tenant);
      for (const { steps, fault, cursed, afterMs } of groups) {
        nowMs += afterMs;
        const marks = steps.map((_, n) => (fault === "one" && n === cursed % steps.length ? MARK : ""));
        const askAll = () => Promise.allSettled(steps.map((one, n) => ask(budget, tenant, one, marks[n])));
        const together =
          fault === "commit"
            ? await withoutCommits(budget, askAll)
            : await withExec(budget, failingForMark(state), askAll);
        for (const [n, one] of steps.entries()) {
          const outcome = together[n];
          if (outcome?.status === "rejected") {
            expect(fault === "commit" || marks[n] === MARK, `${one.what}: ${outcome.reason}`).toBe(true);
            counts[fault === "commit" ? "undone" : "failed"] += 1;
            // The object forgot what it remembered, so who was refused on a budget that is lent is not waited for.
            ledger = open();
          } else {
            expect(outcome?.value).toEqual(await ask(apart, tenant, one, marks[n]));
            counts.answered += 1;
          }
        }
        expect(contentsOf(budget.store)).toEqual(contentsOf(memory));
      }
      await state.storage.deleteAlarm();
    });
  });
  await fc.assert(property, { numRuns: 70 });
  // What the property is about did happen; calls that fail alone are the rarest, about twenty of them.
  for (const count of Object.values(counts)) expect(count).toBeGreaterThan(8);
});

describe("in one group", () => {
  test("each call sees what the one before it has changed: budget, tenant, key, a new budget", async () => {
    const { tenant, stub } = await tenantWith(100);
    const name = { scope: `tenant:${tenant}`, unit: UNIT };
    const deeper = { tenant, agent: "x" };
    const caller = keyOf("1");
    const reserve = (budget: TenantBudget, key: string, subject = { tenant }) =>
      budget.reserve(reserveRequest(key, 10, { subject }), caller);
    await within(stub, START_MS, async (budget, state) => {
      await budget.createApiKey({ tenant_id: tenant, name: "k" }, { ...caller, prefix: "p" });
      const scope = `tenant:${tenant}/agent:x`;
      const verdicts = await Promise.all([
        reserve(budget, "a"),
        budget.freezeBudget(name, {}),
        reserve(budget, "b"),
        budget.unfreezeBudget(name, {}),
        reserve(budget, "c", deeper),
        budget.createBudget({ scope, unit: UNIT, allocated: tokens(5) }),
        reserve(budget, "d", deeper),
        budget.updateTenant({ status: "SUSPENDED" }),
        reserve(budget, "e"),
        budget.updateTenant({ status: "ACTIVE" }),
        reserve(budget, "f"),
        budget.updateApiKey(caller.keyId, { permissions: ["balances:read"] }),
        reserve(budget, "g"),
        budget.revokeApiKey(caller.keyId, {}),
        reserve(budget, "h"),
      ]);
      expect(verdicts.map(verdictOf)).toEqual([
        ...["200", "200", "409 BUDGET_FROZEN", "200"],
        ...["200", "201", "409 BUDGET_EXCEEDED"],
        ...["200", "401 UNAUTHORIZED", "200", "200"],
        ...["200", "403 FORBIDDEN", "200", "401 UNAUTHORIZED"],
      ]);
      await state.storage.deleteAlarm();
    });
  });

  test("calls by RPC share a transaction", async () => {
    const { tenant, stub } = await tenantWith(100);
    let transactions = 0;
    await within(stub, START_MS, ({ store }) => {
      const { storage } = store;
      const own = storage.transactionSync.bind(storage);
      storage.transactionSync = (decide) => {
        transactions += 1;
        return own(decide);
      };
    });
    const reached = tenantStub(env, tenant);
    const calls = Array.from({ length: 20 }, (_, n) =>
      reached.reserve(reserveRequest(`k${n}`, 1, { subject: { tenant } })),
    );
    expect(new Set((await Promise.all(calls)).map(verdictOf))).toEqual(new Set(["200"]));
    expect(transactions).toBeLessThan(5);
    await within(stub, START_MS, (_, state) => state.storage.deleteAlarm());
  });
});

describe("after a group that failed", () => {
  test("what it would have held is not waited for, and what it would have expired is still given back", async () => {
    const { tenant, stub } = await tenantWith(100);
    const reserve = (budget: TenantBudget, key: string, amount: number, ttl_ms = 1_000) =>
      budget.reserve(reserveRequest(key, amount, { subject: { tenant }, ttl_ms, grace_period_ms: 0 }));
    await within(stub, START_MS, async (budget, state) => {
      expect(verdictOf(await reserve(budget, "due", 70))).toBe("200");
      // "due" is past its grace: the group gives it back, takes for itself, and is undone.
      budget.now = () => START_MS + 1_500;
      const outcomes = await withoutCommits(budget, () =>
        Promise.allSettled([reserve(budget, "x", 40), reserve(budget, "y", 60)]),
      );
      expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
      expect((await state.storage.getAlarm()) ?? 0).toBeLessThanOrEqual(START_MS + 1_001);
      // The same keys on the same day, at once: nothing of them is there, and all of the budget is.
      expect(verdictOf(await reserve(budget, "y", 100))).toBe("200");
      expect(verdictOf(await reserve(budget, "x", 1))).toBe("409 BUDGET_EXCEEDED");
      // Long after all those deadlines, one of which never came to be.
      budget.now = () => START_MS + 60_000;
      expect(verdictOf(await reserve(budget, "x", 100, 5_000))).toBe("200");
      await budget.alarm();
      expect(contentsOf(budget.store).accounts).toMatchObject([{ reserved: 100n, spent: 0n, debt: 0n }]);
      await state.storage.deleteAlarm();
    });
  });
});
