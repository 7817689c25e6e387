// A call whose answer the platform lost: the front asks once more, on a new stub, with the same idempotency key. The
// object is the real one; what fails is its method, before or after it has decided.

import { env, exports } from "cloudflare:workers";
import { afterEach, expect, test, vi } from "vitest";
import { TenantBudget } from "../../worker/tenant/tenant-budget.ts";
import { START_MS, tenantWith, within } from "./support.ts";

const own = TenantBudget.prototype.reserve;
const ownBudget = TenantBudget.prototype.createBudget;

afterEach(() => {
  TenantBudget.prototype.reserve = own;
  TenantBudget.prototype.createBudget = ownBudget;
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
