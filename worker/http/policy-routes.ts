// Policies of the governance plane, and the periods of budgets, which are Purser's own and so lie under /v1/x-purser/.
// Invariant: both are open to an operator, who says which tenant is meant, and to a tenant's key with the permission.
// Who may call: app.ts, through admin-routes.ts.

import type {
  PeriodBody,
  PeriodInput,
  PolicyBody,
  PolicyInput,
  PolicyPatchInput,
  Reply,
} from "purser/ledger";
import { refuse, shorten, tenantOfPolicy } from "purser/ledger";
import {
  type Access,
  memberOf,
  namedBudget,
  namedTenant,
  open,
  openChange,
  withBudgetNotFound,
  withTenantNotFound,
} from "./admin-access.ts";
import type { Route, RouteCall } from "./app.ts";
import { readBody, readBodyFor } from "./body.ts";
import { type TenantStub, tenantStub } from "./tenant-stub.ts";

/** The JSON of a change, by whoever was let in. */
function bodyOf({ request }: RouteCall, { caller }: Access, stub: TenantStub): Promise<unknown> {
  return caller === undefined ? readBody(request) : readBodyFor(stub, caller, request);
}

/** A policy's id leads to its tenant; one that is none wakes no object. */
async function updatePolicy(call: RouteCall): Promise<Reply<PolicyBody>> {
  const access = await open(call);
  const policyId = call.param("policy_id");
  const tenant = access.tenant ?? tenantOfPolicy(policyId);
  if (tenant === undefined) return refuse("NOT_FOUND", `Policy not found: ${shorten(policyId, 128)}`);
  const stub = tenantStub(call.env, tenant);
  const body = (await bodyOf(call, access, stub)) as PolicyPatchInput;
  return stub.updatePolicy(policyId, body, access.caller, access.source);
}

const policyRoutes: readonly Route[] = [
  {
    method: "POST",
    path: "/v1/admin/policies",
    handle: async (call) => {
      const { stub, body, caller, source } = await openChange(call, (it) => memberOf(it, "tenant_id"));
      return withTenantNotFound(await stub.createPolicy(body as PolicyInput, caller, source));
    },
  },
  {
    method: "GET",
    path: "/v1/admin/policies",
    handle: async (call) => {
      const { tenant, caller } = await open(call);
      const query = call.query();
      const stub = tenantStub(call.env, tenant ?? namedTenant(query.tenant_id));
      return withTenantNotFound(await stub.listPolicies(query, caller));
    },
  },
  { method: "PATCH", path: "/v1/admin/policies/:policy_id", handle: updatePolicy },
];

const PERIODS = "/v1/x-purser/budgets/periods";

function periodRoute(
  method: Route["method"],
  act: (
    stub: TenantStub,
    budget: Parameters<TenantStub["getPeriod"]>[0],
    access: Access,
    call: RouteCall,
  ) => Promise<Reply<PeriodBody>>,
): Route {
  return {
    method,
    path: PERIODS,
    handle: async (call) => {
      const access = await open(call);
      const { stub, budget } = namedBudget(call, access);
      return withBudgetNotFound(await act(stub, budget, access, call), budget);
    },
  };
}

const periodRoutes: readonly Route[] = [
  periodRoute("GET", (stub, budget, { caller }) => stub.getPeriod(budget, caller)),
  periodRoute("PUT", async (stub, budget, access, call) => {
    const body = (await bodyOf(call, access, stub)) as PeriodInput;
    return stub.setPeriod(budget, body, access.caller, access.source);
  }),
  periodRoute("DELETE", (stub, budget, { caller, source }) => stub.removePeriod(budget, caller, source)),
];

export const governanceRoutes: readonly Route[] = [...policyRoutes, ...periodRoutes];
