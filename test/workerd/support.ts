// Helpers for tests that hold a real Durable Object: a fresh tenant, its clock, its rows, its statements; and the Worker's
// own front before all of them.

import { listDurableObjectIds, runInDurableObject } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import type { TenantBudget } from "../../worker/tenant/tenant-budget.ts";
import type { Front } from "../support/http/front.ts";

/** Where the tests' time begins: far ahead of the platform's own, so that no alarm ever fires by itself. */
export const START_MS = 4_000_000_000_000;

let tenants = 0;

/** A name that no other test of this file uses. */
export function freshTenantName(): string {
  tenants += 1;
  return `tenant-${tenants}`;
}

export type Stub = DurableObjectStub<TenantBudget>;

export function stubOf(tenant: string): Stub {
  return env.TENANT_BUDGET.getByName(tenant);
}

/** The Worker as it is deployed, asked without a network. */
export const front: Front = {
  adminKey: env.PURSER_ADMIN_KEY,
  int64: true,
  send: (path, sent) => exports.default.fetch(new Request(`https://purser.test${path}`, sent)),
  objects: async () => (await listDurableObjectIds(env.TENANT_BUDGET)).length,
  rows: (tenant, sql, ...values) =>
    runInDurableObject(stubOf(tenant), (_budget, state) => state.storage.sql.exec(sql, ...values).toArray()),
};

/** Works on the live instance, with its clock at `nowMs`. What the callback returns comes out unchanged. */
export function within<T>(
  stub: Stub,
  nowMs: number,
  work: (budget: TenantBudget, state: DurableObjectState) => T | Promise<T>,
): Promise<T> {
  return runInDurableObject(stub, async (budget: TenantBudget, state) => {
    budget.now = () => nowMs;
    return work(budget, state);
  });
}

/** A tenant with one budget of `allocated` tokens on its own scope, made at START_MS. */
export async function tenantWith(allocated: bigint | number): Promise<{ tenant: string; stub: Stub }> {
  const tenant = freshTenantName();
  const stub = stubOf(tenant);
  await within(stub, START_MS, async (budget) => {
    await budget.createTenant({ tenant_id: tenant, name: tenant });
    await budget.createBudget({
      scope: `tenant:${tenant}`,
      unit: "TOKENS",
      allocated: { unit: "TOKENS", amount: allocated },
    });
  });
  return { tenant, stub };
}

/** Every row of every table, as text: two equal dumps are two equal databases. */
export function dump(state: DurableObjectState): string {
  const tables = state.storage.sql
    .exec<{ name: string }>(
      "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\' ORDER BY name",
    )
    .toArray();
  return JSON.stringify(
    tables.map(({ name }) => [name, state.storage.sql.exec(`SELECT * FROM ${name}`).toArray()]),
  );
}

/** Puts `exec` in the place of the store's own for the time of `work`. */
export async function withExec<T>(
  budget: TenantBudget,
  exec: SqlStorage["exec"],
  work: () => T | Promise<T>,
): Promise<T> {
  const { store } = budget;
  const own = store.sql;
  Reflect.set(store, "sql", { exec });
  try {
    return await work();
  } finally {
    Reflect.set(store, "sql", own);
  }
}
