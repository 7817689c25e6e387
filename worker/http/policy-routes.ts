// Policies of the governance plane. Invariant: they are open to an operator, who says which tenant is meant, and to a
// tenant's key with the permission. Who may call: app.ts, through admin-routes.ts.

import type { PolicyBody, PolicyInput, PolicyPatchInput, Reply } from "purser/ledger";
import { refuse, shorten, tenantOfPolicy } from "purser/ledger";
import { bodyOf, memberOf, namedTenant, open, openChange, withTenantNotFound } from "./admin-access.ts";
import type { Route, RouteCall } from "./app.ts";
import { tenantStub } from "./tenant-stub.ts";

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

export const policyRoutes: readonly Route[] = [
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
