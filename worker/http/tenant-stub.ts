// The way to a tenant's object. Typed as what the object's methods answer, since the platform's own stub types give up
// on recursive JSON (metadata, details). Who may call: the routes, with a tenant from a verified key or a checked operator's text.

import type { Env } from "../env.ts";
import type { TenantBudget } from "../tenant/tenant-budget.ts";

type Operations = Omit<
  TenantBudget,
  "alarm" | "announce" | "fetch" | "now" | "store" | "ctx" | "env" | `__${string}` | `webSocket${string}`
>;

/** Each operation of the object, answered over RPC. */
export type TenantStub = {
  [Name in keyof Operations]: Operations[Name] extends (...args: infer Args) => Promise<infer Result>
    ? (...args: Args) => Promise<Result>
    : never;
};

/**
 * What may be asked a second time where the platform lost the first answer: reads, and whatever carries an idempotency
 * key, so that a call that was decided after all answers as before. What operators change otherwise is not among
 * them.
 */
const REPEATABLE: ReadonlySet<string> = new Set<keyof TenantStub>([
  "reserve",
  "reserveFit",
  "commit",
  "release",
  "extend",
  "decide",
  "event",
  "getReservation",
  "listReservations",
  "introspect",
  "balances",
  "checkKey",
  "createTenant",
  "fund",
  "openLease",
  "renewLease",
  "returnLease",
  "listLeases",
  "exposure",
  "readLeaseSettings",
  "changeLeaseSettings",
  "readApiKeySettings",
  "changeApiKeySettings",
  "readCounters",
  "getTenant",
  "lookupBudget",
  "listBudgets",
  "listApiKeys",
  "listAudit",
  "listPolicies",
  "getPeriod",
  "renewToken",
  "revokeToken",
  "listTokens",
]);

export function tenantStub(env: Env, tenant: string): TenantStub {
  const open = (): object => env.TENANT_BUDGET.getByName(tenant);
  const first = open();
  return new Proxy(first, {
    get: (_, name) => {
      // A stub is no promise: whoever returns one from an async function must not call an operation "then".
      if (name === "then") return undefined;
      const ask = async (stub: object, args: unknown[]): Promise<unknown> =>
        Reflect.apply(Reflect.get(stub, name), stub, args);
      if (typeof name !== "string" || !REPEATABLE.has(name)) return (...args: unknown[]) => ask(first, args);
      // A stub that threw stays broken, so the second try is on a new one. Only once: more would be a storm.
      return (...args: unknown[]) =>
        ask(first, args).catch((error: unknown) => {
          if (!isRetryable(error)) throw error;
          return ask(open(), args);
        });
    },
  }) as unknown as TenantStub;
}

/** The platform marks what a second try may cure; never while the object is overloaded. */
function isRetryable(error: unknown): boolean {
  const has = (mark: string) => error instanceof Error && Reflect.get(error, mark) === true;
  return has("retryable") && !has("overloaded");
}
