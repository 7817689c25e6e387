// The way to a tenant's object. Typed as what the object's methods answer, since the platform's own stub types give up
// on recursive JSON (metadata, details). Who may call: the routes, with a tenant from a verified key or a checked operator's text.

import type { Env } from "../env.ts";
import type { TenantBudget } from "../tenant/tenant-budget.ts";

type Operations = Omit<
  TenantBudget,
  "alarm" | "fetch" | "now" | "store" | "ctx" | "env" | `__${string}` | `webSocket${string}`
>;

/** Each operation of the object, answered over RPC. */
export type TenantStub = {
  [Name in keyof Operations]: Operations[Name] extends (...args: infer Args) => Promise<infer Result>
    ? (...args: Args) => Promise<Result>
    : never;
};

export function tenantStub(env: Env, tenant: string): TenantStub {
  return env.TENANT_BUDGET.getByName(tenant) as unknown as TenantStub;
}
