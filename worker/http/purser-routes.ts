// What Purser offers beyond the protocol, under its vendor path. Invariant: the operator's key opens all of it, and each
// request names its tenant. Who may call: app.ts.

import type { ApiKeySettingsInput } from "purser/ledger";
import { namedTenant } from "./admin-routes.ts";
import type { Route, RouteCall } from "./app.ts";
import { requireAdmin } from "./auth.ts";
import { readBody } from "./body.ts";
import { type TenantStub, tenantStub } from "./tenant-stub.ts";

/** The object of the tenant that an operator's query names. */
async function openNamed({ request, env, query, asTenant }: RouteCall): Promise<TenantStub> {
  await requireAdmin(request.headers, env);
  const tenant = namedTenant(query().tenant_id);
  asTenant(tenant);
  return tenantStub(env, tenant);
}

export const purserRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/v1/x-purser/api-keys/:key_id",
    handle: async (call) => (await openNamed(call)).readApiKeySettings(call.param("key_id")),
  },
  {
    method: "PATCH",
    path: "/v1/x-purser/api-keys/:key_id",
    handle: async (call) => {
      const budget = await openNamed(call);
      const settings = (await readBody(call.request)) as ApiKeySettingsInput;
      return budget.changeApiKeySettings(call.param("key_id"), settings);
    },
  },
  {
    method: "GET",
    path: "/v1/x-purser/counters",
    handle: async (call) => (await openNamed(call)).readCounters(),
  },
];
