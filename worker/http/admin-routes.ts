// The governance plane: tenants, API keys, and the audit log, whose routes here are the operators' alone; budgets, policies
// and periods have files of their own. Who may call: app.ts.

import { API_KEY_RANDOM_BYTES, apiKeyListSchema, auditListSchema } from "purser/ledger";
import { registryOf } from "../registry/registry-stub.ts";
import {
  listAsOperator,
  memberOf,
  namedTenant,
  onKey,
  openAsOperator,
  withTenantNotFound,
} from "./admin-access.ts";
import { budgetRoutes } from "./admin-budget-routes.ts";
import type { Route } from "./app.ts";
import { apiKeys } from "./auth.ts";
import { readBody } from "./body.ts";
import { periodRoutes } from "./period-routes.ts";
import { policyRoutes } from "./policy-routes.ts";
import { tenantStub } from "./tenant-stub.ts";

const tenantRoutes: readonly Route[] = [
  {
    method: "POST",
    path: "/v1/admin/tenants",
    handle: async (call) => {
      const { source } = await openAsOperator(call);
      const body = await readBody(call.request);
      return tenantStub(call.env, namedTenant(memberOf(body, "tenant_id"))).createTenant(body, source);
    },
  },
  {
    method: "GET",
    path: "/v1/admin/tenants",
    handle: async (call) => {
      await openAsOperator(call);
      return registryOf(call.env).list(call.query());
    },
  },
  {
    method: "GET",
    path: "/v1/admin/tenants/:tenant_id",
    handle: async (call) => {
      await openAsOperator(call);
      const stub = tenantStub(call.env, namedTenant(call.param("tenant_id")));
      return withTenantNotFound(await stub.getTenant(), 404);
    },
  },
  {
    method: "PATCH",
    path: "/v1/admin/tenants/:tenant_id",
    handle: async (call) => {
      const { source } = await openAsOperator(call);
      const stub = tenantStub(call.env, namedTenant(call.param("tenant_id")));
      return withTenantNotFound(await stub.updateTenant(await readBody(call.request), source), 404);
    },
  },
];

const keyRoutes: readonly Route[] = [
  {
    method: "POST",
    path: "/v1/admin/api-keys",
    handle: async (call) => {
      const { source } = await openAsOperator(call);
      const body = await readBody(call.request);
      const tenant = namedTenant(memberOf(body, "tenant_id"));
      const random = crypto.getRandomValues(new Uint8Array(API_KEY_RANDOM_BYTES));
      const { text, keyId, digest, prefix } = apiKeys(call.env).mint(tenant, random);
      const reply = withTenantNotFound(
        await tenantStub(call.env, tenant).createApiKey(body, { keyId, digest, prefix }, source),
      );
      if (!reply.ok) return reply;
      // The only time the key's text leaves; only its digest was stored.
      return { ...reply, body: { ...reply.body, key_secret: text } };
    },
  },
  {
    method: "GET",
    path: "/v1/admin/api-keys",
    handle: async (call) => {
      await openAsOperator(call);
      return listAsOperator(call, "keys", apiKeyListSchema, (stub, query) => stub.listApiKeys(query));
    },
  },
  {
    method: "PATCH",
    path: "/v1/admin/api-keys/:key_id",
    handle: async (call) => {
      const { source } = await openAsOperator(call);
      const body = await readBody(call.request);
      return onKey(call, (stub, keyId) => stub.updateApiKey(keyId, body, source));
    },
  },
  {
    method: "DELETE",
    path: "/v1/admin/api-keys/:key_id",
    handle: async (call) => {
      const { source } = await openAsOperator(call);
      return onKey(call, (stub, keyId) => stub.revokeApiKey(keyId, call.query(), source));
    },
  },
];

const auditRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/v1/admin/audit/logs",
    handle: async (call) => {
      await openAsOperator(call);
      return listAsOperator(call, "logs", auditListSchema, (stub, query) => stub.listAudit(query));
    },
  },
];

export const adminRoutes: readonly Route[] = [
  ...tenantRoutes,
  ...budgetRoutes,
  ...policyRoutes,
  ...periodRoutes,
  ...keyRoutes,
  ...auditRoutes,
];
