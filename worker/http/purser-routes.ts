// What Purser offers beyond the protocol, under its vendor path. Invariant: the operator's key opens all of it, and each
// request names its tenant, by the id of a key or by a parameter. Who may call: app.ts.

import type { ApiKeySettingsInput } from "purser/ledger";
import { namedTenant, onKey, openAsOperator } from "./admin-access.ts";
import type { Route } from "./app.ts";
import { readBody } from "./body.ts";
import { tenantStub } from "./tenant-stub.ts";

export const purserRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/v1/x-purser/api-keys/:key_id",
    handle: async (call) => {
      await openAsOperator(call);
      return onKey(call, (stub, keyId) => stub.readApiKeySettings(keyId));
    },
  },
  {
    method: "PATCH",
    path: "/v1/x-purser/api-keys/:key_id",
    handle: async (call) => {
      const { source } = await openAsOperator(call);
      const settings = (await readBody(call.request)) as ApiKeySettingsInput;
      return onKey(call, (stub, keyId) => stub.changeApiKeySettings(keyId, settings, source));
    },
  },
  {
    method: "GET",
    path: "/v1/x-purser/counters",
    handle: async (call) => {
      await openAsOperator(call);
      const tenant = namedTenant(call.query().tenant_id);
      call.asTenant(tenant);
      return tenantStub(call.env, tenant).readCounters();
    },
  },
];
