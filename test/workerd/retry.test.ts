// A call whose answer the platform lost: the front asks once more, on a new stub, with the same idempotency key. The
// object is the real one; what fails is its method, before or after it has decided.

import { env, exports } from "cloudflare:workers";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { Env } from "../../worker/env.ts";
import { tenantStub } from "../../worker/http/tenant-stub.ts";
import { TenantBudget } from "../../worker/tenant/tenant-budget.ts";
import { freshTenantName, START_MS, tenantWith, within } from "./support.ts";

const OWN = Object.getOwnPropertyDescriptors(TenantBudget.prototype);
const own = TenantBudget.prototype.reserve;

afterEach(() => {
  Object.defineProperties(TenantBudget.prototype, OWN);
  vi.restoreAllMocks();
});

type Marks = Partial<Record<"retryable" | "overloaded", true>>;

/** The first `failures` calls fail with these marks, after the decision if `decides`. Returns the count of calls. */
function failing(failures: number, marks: Marks, decides: boolean): { calls: number } {
  const seen = { calls: 0 };
  TenantBudget.prototype.reserve = async function (...args) {
    seen.calls += 1;
    if (seen.calls > failures) return own.apply(this, args);
    if (decides) await own.apply(this, args);
    throw Object.assign(new Error("Network connection lost."), marks);
  };
  return seen;
}

function post(path: string, headers: Record<string, string>, body: unknown): Promise<Response> {
  return exports.default.fetch(
    new Request(`https://purser.test${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    }),
  );
}

const ADMIN = { "x-admin-api-key": env.PURSER_ADMIN_KEY };

async function tenantAndKey() {
  const { tenant, stub } = await tenantWith(100);
  const made = await post("/v1/admin/api-keys", ADMIN, { tenant_id: tenant, name: "k" });
  const { key_secret: key } = (await made.json()) as { key_secret: string };
  const reserve = () =>
    post(
      "/v1/reservations",
      { "x-cycles-api-key": key },
      {
        idempotency_key: "k",
        subject: { tenant },
        action: { kind: "k", name: "n" },
        estimate: { unit: "TOKENS", amount: 60 },
      },
    );
  const held = () =>
    within(stub, START_MS, async (_, state) => {
      await state.storage.deleteAlarm();
      return state.storage.sql.exec("SELECT amount FROM reservations WHERE finished = 0").toArray();
    });
  return { tenant, reserve, held };
}

test.each([
  ["before the decision", false],
  ["after it", true],
])("an answer lost %s is asked for once more, and the reservation is made once", async (_, decides) => {
  const { reserve, held } = await tenantAndKey();
  const seen = failing(1, { retryable: true }, decides);
  const answer = await reserve();
  expect([answer.status, seen.calls]).toEqual([200, 2]);
  expect(await answer.json()).toMatchObject({ decision: "ALLOW", reserved: { amount: 60 } });
  expect(await held()).toEqual([{ amount: 60 }]);
});

test.each([
  ["lost twice", { retryable: true }, 2, 500],
  ["not to be asked for again", {}, 1, 500],
  ["of an overloaded object", { retryable: true, overloaded: true }, 1, 503],
] as const)("an answer %s is not asked for a third time", async (_, marks, calls, status) => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  const { reserve, held } = await tenantAndKey();
  const seen = failing(9, marks, false);
  const answer = await reserve();
  expect([answer.status, seen.calls]).toEqual([status, calls]);
  expect(answer.headers.get("retry-after")).toBe(status === 503 ? "1" : null);
  expect(await answer.json()).toMatchObject({ error: "INTERNAL_ERROR" });
  expect(await held()).toEqual([]);
});

test("what has no key to be recognised by is asked once", async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  const { tenant } = await tenantAndKey();
  let calls = 0;
  TenantBudget.prototype.createBudget = async () => {
    calls += 1;
    throw Object.assign(new Error("Network connection lost."), { retryable: true });
  };
  const body = { tenant_id: tenant, scope: `tenant:${tenant}`, unit: "CREDITS" };
  const answer = await post("/v1/admin/budgets", ADMIN, {
    ...body,
    allocated: { unit: "CREDITS", amount: 1 },
  });
  expect([answer.status, calls]).toEqual([500, 1]);
});

/** What is asked once more where the platform lost the answer: it only reads, or has a key to be recognised by. */
const ASKED_AGAIN = [
  ["reserve", "reserveFit", "commit", "release", "extend", "decide", "event", "fund", "createTenant"],
  ["getReservation", "listReservations", "balances", "introspect", "checkKey", "exposure", "listLeases"],
  ["openLease", "renewLease", "returnLease", "readLeaseSettings", "changeLeaseSettings"],
  ["getTenant", "lookupBudget", "listBudgets", "getPeriod", "listPolicies", "listAudit", "readCounters"],
  ["listApiKeys", "readApiKeySettings", "changeApiKeySettings", "listTokens", "renewToken", "revokeToken"],
].flat();

/** What is not: a second time it would be done twice, or refused although it was done. */
const ASKED_ONCE = [
  ["createBudget", "updateBudget", "freezeBudget", "unfreezeBudget", "setPeriod", "removePeriod"],
  ["createPolicy", "updatePolicy", "createApiKey", "updateApiKey", "revokeApiKey", "updateTenant"],
  ["issueToken", "attenuateToken", "raiseLeaseEpoch"],
].flat();

describe("of all that can be asked of a tenant's object", () => {
  /** Asks `operation`, whose first answer is lost, and counts how often it came and how many stubs were made. */
  async function ask(operation: string): Promise<{ answered: boolean; calls: number; stubs: number }> {
    const seen = { calls: 0, stubs: 0 };
    Reflect.set(TenantBudget.prototype, operation, async () => {
      seen.calls += 1;
      if (seen.calls > 1) return { ok: true };
      throw Object.assign(new Error("Network connection lost."), { retryable: true });
    });
    const getByName = (name: string) => {
      seen.stubs += 1;
      return env.TENANT_BUDGET.getByName(name);
    };
    const asked = tenantStub({ TENANT_BUDGET: { getByName } } as unknown as Env, freshTenantName());
    const call: () => Promise<unknown> = Reflect.get(asked, operation);
    const answered = await call().then(
      () => true,
      () => false,
    );
    return { answered, ...seen };
  }

  test.each(ASKED_AGAIN)("%s is asked once more, on a new stub", async (operation) => {
    expect(await ask(operation)).toEqual({ answered: true, calls: 2, stubs: 2 });
  });

  test.each(ASKED_ONCE)("%s is not asked again", async (operation) => {
    expect(await ask(operation)).toEqual({ answered: false, calls: 1, stubs: 1 });
  });

  test("every operation is the one or the other", () => {
    const own = ["constructor", "alarm", "announce", "now"];
    const operations = Object.keys(OWN).filter((name) => !own.includes(name));
    expect([...ASKED_AGAIN, ...ASKED_ONCE].sort()).toEqual(operations.sort());
  });
});
