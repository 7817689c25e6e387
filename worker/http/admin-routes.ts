// The governance plane. Invariant: the operator's key opens everything, and then the request must say which tenant it is
// for; a tenant's own key opens budgets and funding of that tenant alone. Who may call: app.ts.

import {
  API_KEY_RANDOM_BYTES,
  type BudgetInput,
  type Caller,
  type FundInput,
  isTenantId,
  type Reply,
  refuse,
} from "purser/ledger";
import type { Route, RouteCall } from "./app.ts";
import { apiKeys, isOperator, requireAdmin, requireTenant } from "./auth.ts";
import { readBody, readBodyFor } from "./body.ts";
import { HttpRefusal } from "./errors.ts";
import { type TenantStub, tenantStub } from "./tenant-stub.ts";

/** The tenant that an operator's request names. */
export function namedTenant(value: unknown, field = "tenant_id"): string {
  if (isTenantId(value)) return value;
  const message = `${field} must be 3 to 64 lower-case letters, digits or '-'`;
  throw new HttpRefusal(refuse("INVALID_REQUEST", message, { field }));
}

function memberOf(body: unknown, name: string): unknown {
  return typeof body === "object" && body !== null && Object.hasOwn(body, name)
    ? Reflect.get(body, name)
    : undefined;
}

/** The tenant's object for a call by an operator (who names the tenant) or by a tenant's key (whose tenant it is). */
async function openBudgets(
  call: RouteCall,
  named: (body: unknown) => unknown,
): Promise<{ budget: TenantStub; body: unknown; caller: Caller | undefined }> {
  const { request, env } = call;
  if (!isOperator(request.headers) && request.headers.get("x-cycles-api-key") !== null) {
    const { tenant, caller } = requireTenant(request.headers, env);
    call.asTenant(tenant);
    const budget = tenantStub(env, tenant);
    return { budget, body: await readBodyFor(budget, caller, request), caller };
  }
  await requireAdmin(request.headers, env);
  const body = await readBody(request);
  return { budget: tenantStub(env, namedTenant(named(body))), body, caller: undefined };
}

/** The governance plane answers 400 where an operator names a tenant that does not exist. */
function withTenantNotFound<Body>(reply: Reply<Body>): Reply<Body> {
  return !reply.ok && reply.error === "NOT_FOUND" ? refuse("TENANT_NOT_FOUND", reply.message) : reply;
}

export const adminRoutes: readonly Route[] = [
  {
    method: "POST",
    path: "/v1/admin/tenants",
    handle: async ({ request, env }) => {
      await requireAdmin(request.headers, env);
      const body = await readBody(request);
      return tenantStub(env, namedTenant(memberOf(body, "tenant_id"))).createTenant(body);
    },
  },
  {
    method: "POST",
    path: "/v1/admin/budgets",
    handle: async (call) => {
      const { budget, body, caller } = await openBudgets(call, (it) => memberOf(it, "tenant_id"));
      return withTenantNotFound(await budget.createBudget(body as BudgetInput, caller));
    },
  },
  {
    method: "POST",
    path: "/v1/admin/budgets/fund",
    handle: async (call) => {
      const query = call.query();
      const { budget, body, caller } = await openBudgets(call, () => query.tenant_id);
      const target = { scope: query.scope ?? "", unit: query.unit ?? "" };
      return withTenantNotFound(await budget.fund(target, body as FundInput, caller));
    },
  },
  {
    method: "POST",
    path: "/v1/admin/api-keys",
    handle: async ({ request, env }) => {
      await requireAdmin(request.headers, env);
      const body = await readBody(request);
      const tenant = namedTenant(memberOf(body, "tenant_id"));
      const key = apiKeys(env).mint(tenant, crypto.getRandomValues(new Uint8Array(API_KEY_RANDOM_BYTES)));
      const { keyId, digest, prefix } = key;
      const reply = withTenantNotFound(
        await tenantStub(env, tenant).createApiKey(body, { keyId, digest, prefix }),
      );
      if (!reply.ok) return reply;
      // The only time the key's text leaves; only its digest was stored.
      return { ...reply, body: { ...reply.body, key_secret: key.text } };
    },
  },
];
