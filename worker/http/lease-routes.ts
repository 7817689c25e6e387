// Leases over HTTP, under Purser's own path: a tenant's key opens, renews and returns them; an operator, who names the
// tenant, sees them too and sets how the tenant lends. The object checks the rest. Who may call: app.ts.

import type {
  Caller,
  LeaseInput,
  LeaseRenewalInput,
  LeaseReturnInput,
  LeaseSettingsInput,
  LeasesQuery,
  Reply,
} from "purser/ledger";
import { namedTenant, openAsOperator } from "./admin-access.ts";
import type { Route, RouteCall } from "./app.ts";
import { isOperator } from "./auth.ts";
import { readBody } from "./body.ts";
import { open, postRoute } from "./runtime-routes.ts";
import { type TenantStub, tenantStub } from "./tenant-stub.ts";

/** The object of the tenant that an operator names. */
async function openNamed(call: RouteCall) {
  const { source } = await openAsOperator(call);
  const tenant = namedTenant(call.query().tenant_id);
  call.asTenant(tenant);
  return { budget: tenantStub(call.env, tenant), source };
}

/** A question that a tenant's key may ask of its own, and an operator of anybody's. */
function readRoute(
  path: string,
  ask: (
    budget: TenantStub,
    query: Readonly<Record<string, string>>,
    caller: Caller | undefined,
  ) => Promise<Reply<unknown>>,
): Route {
  return {
    method: "GET",
    path,
    handle: async (call) => {
      if (isOperator(call.request.headers))
        return ask((await openNamed(call)).budget, call.query(), undefined);
      const { budget, caller } = await open(call);
      return ask(budget, call.query(), caller);
    },
  };
}

export const leaseRoutes: readonly Route[] = [
  postRoute<LeaseInput>("/v1/x-purser/leases", (budget, body, caller) => budget.openLease(body, caller)),
  {
    method: "POST",
    path: "/v1/x-purser/leases/epoch",
    handle: async (call) => {
      const { budget, source } = await openNamed(call);
      return budget.raiseLeaseEpoch(source);
    },
  },
  {
    method: "GET",
    path: "/v1/x-purser/leases/settings",
    handle: async (call) => (await openNamed(call)).budget.readLeaseSettings(),
  },
  {
    method: "PUT",
    path: "/v1/x-purser/leases/settings",
    handle: async (call) => {
      const { budget, source } = await openNamed(call);
      return budget.changeLeaseSettings((await readBody(call.request)) as LeaseSettingsInput, source);
    },
  },
  postRoute<LeaseRenewalInput>("/v1/x-purser/leases/:id/renew", (budget, body, caller, id) =>
    budget.renewLease(id, body, caller),
  ),
  postRoute<LeaseReturnInput>("/v1/x-purser/leases/:id/return", (budget, body, caller, id) =>
    budget.returnLease(id, body, caller),
  ),
  readRoute("/v1/x-purser/leases", (budget, query, caller) =>
    budget.listLeases(query as LeasesQuery, caller),
  ),
  readRoute("/v1/x-purser/exposure", (budget, _query, caller) => budget.exposure(caller)),
];
