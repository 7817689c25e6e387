// Tokens over HTTP: made and prolonged by who issues them, narrowed by who holds one, revoked and listed by either and by
// operators. Invariant: the tenant comes from the verified key or token, for an operator from the id or a parameter; the
// object decides. Who may call: app.ts.

import {
  type AttenuateInput,
  type Caller,
  type CallSource,
  parseTokenName,
  type Refusal,
  type Reply,
  refuse,
  shorten,
  type TokenInput,
} from "purser/ledger";
import { type Access, isNotFound, namedTenant, open } from "./admin-access.ts";
import type { Route, RouteCall } from "./app.ts";
import { requireTenant } from "./auth.ts";
import { readBodyFor, readOptionalBody } from "./body.ts";
import { sourceOf } from "./correlation.ts";
import { type TenantStub, tenantStub } from "./tenant-stub.ts";

type Make = (stub: TenantStub, body: unknown, caller: Caller, source: CallSource) => Promise<Reply<unknown>>;

/** A new token. Operators make none: a tenant's own key answers for it. */
function makeRoute(path: string, make: Make): Route {
  return {
    method: "POST",
    path,
    handle: async (call) => {
      const { tenant, caller, source } = await openAsTenant(call);
      const stub = tenantStub(call.env, tenant);
      return make(stub, await readBodyFor(stub, caller, call.request), caller, source);
    },
  };
}

async function openAsTenant({ request, env, correlation, asTenant }: RouteCall) {
  const { tenant, caller } = await requireTenant(request.headers, env);
  asTenant(tenant);
  return { tenant, caller, source: sourceOf(request.headers, correlation(), false) };
}

/** The token that a path names, and the object of its tenant, which must be the caller's own. */
function namedToken(
  call: RouteCall,
  access: Pick<Access, "tenant">,
): { readonly ok: true; readonly stub: TenantStub; readonly tokenId: string } | Refusal {
  const text = call.param("token_id");
  const name = parseTokenName(text);
  if (name === undefined) return refuse("NOT_FOUND", `Token not found: ${shorten(text, 128)}`);
  if (access.tenant !== undefined && name.tenant !== access.tenant)
    return refuse("FORBIDDEN", "The token belongs to another tenant");
  call.asTenant(name.tenant);
  return { ok: true, stub: tenantStub(call.env, name.tenant), tokenId: name.tokenId };
}

export const tokenRoutes: readonly Route[] = [
  makeRoute("/v1/x-purser/tokens", (stub, body, caller, source) =>
    stub.issueToken(body as TokenInput, caller, source),
  ),
  makeRoute("/v1/x-purser/tokens/attenuate", (stub, body, caller, source) =>
    stub.attenuateToken(body as AttenuateInput, caller, source),
  ),
  {
    method: "POST",
    path: "/v1/x-purser/tokens/:token_id/renew",
    handle: async (call) => {
      const access = await openAsTenant(call);
      const { caller, source } = access;
      const stub = tenantStub(call.env, access.tenant);
      const body = await readBodyFor(stub, caller, call.request, readOptionalBody);
      const named = namedToken(call, access);
      return named.ok ? stub.renewToken(named.tokenId, body as { ttl_ms?: number }, caller, source) : named;
    },
  },
  {
    method: "DELETE",
    path: "/v1/x-purser/tokens/:token_id",
    handle: async (call) => {
      const access = await open(call);
      const named = namedToken(call, access);
      return named.ok
        ? named.stub.revokeToken(named.tokenId, call.query(), access.caller, access.source)
        : named;
    },
  },
  {
    method: "GET",
    path: "/v1/x-purser/tokens",
    handle: async (call) => {
      const { tenant: own, caller } = await open(call);
      const tenant = own ?? namedTenant(call.query().tenant_id);
      const reply = await tenantStub(call.env, tenant).listTokens(call.query(), caller);
      if (isNotFound(reply)) return { ok: true, status: 200, body: { tokens: [], has_more: false } };
      call.asTenant(tenant);
      return reply;
    },
  },
];
