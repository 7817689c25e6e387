// The authority over HTTP, as the contract asks it: through any function that carries a request, so that the same suite
// meets the front inside workerd, a real server, and a server behind a validator.

import { type JsonValue, parseJson, stringifyJson } from "purser/ledger";
import { type Answer, answerOfWire, type TenantWay, type Way } from "./authority-contract.ts";

export interface Carrier {
  readonly adminKey: string;
  readonly int64: boolean;
  /** Sends a request to the authority; `path` begins with a slash. */
  send(
    path: string,
    init: { method: string; headers: Record<string, string>; body?: string },
  ): Promise<Response>;
  /** Moves the clock of a tenant's object, where that can be done. */
  advance?(tenant: string, ms: number): Promise<void>;
}

/** A tenant with the key that opens it, for clients that bring their own transport. */
export interface HttpTenantWay extends TenantWay {
  readonly apiKey: string;
}

export interface HttpWay extends Way {
  open(): Promise<HttpTenantWay>;
}

let made = 0;

/** Tenants of this process; `run` keeps those of two runs against one server apart. */
export function httpWay(carrier: Carrier, run = "c"): HttpWay {
  return {
    int64: carrier.int64,
    open: async () => {
      made += 1;
      const tenant = `${run}-tenant-${made}`;
      const admin = { "x-admin-api-key": carrier.adminKey };
      await ask(carrier, "POST", "/v1/admin/tenants", admin, { tenant_id: tenant, name: tenant });
      const key = await ask(carrier, "POST", "/v1/admin/api-keys", admin, {
        tenant_id: tenant,
        name: "contract",
      });
      // From here on its time stands still until a test moves it.
      await carrier.advance?.(tenant, 0);
      return tenantOver(carrier, tenant, String(key.body.key_secret));
    },
  };
}

function tenantOver(carrier: Carrier, tenant: string, apiKey: string): HttpTenantWay {
  const key = { "x-cycles-api-key": apiKey };
  const admin = { "x-admin-api-key": carrier.adminKey };
  const post = (path: string, body: unknown) => ask(carrier, "POST", path, key, body);
  const get = (path: string) => ask(carrier, "GET", path, key);
  const of = (id: string) => `/v1/reservations/${encodeURIComponent(id)}`;
  const leaseOf = (id: string) => `/v1/x-purser/leases/${encodeURIComponent(id)}`;
  const { advance } = carrier;
  return {
    tenant,
    apiKey,
    reserveFit: (request) => post("/v1/x-purser/reservations", request),
    reserve: (request) => post("/v1/reservations", request),
    commit: (id, request) => post(`${of(id)}/commit`, request),
    release: (id, request) => post(`${of(id)}/release`, request),
    extend: (id, request) => post(`${of(id)}/extend`, request),
    decide: (request) => post("/v1/decide", request),
    event: (request) => post("/v1/events", request),
    reservation: (id) => get(of(id)),
    reservations: (query) => get(`/v1/reservations?${new URLSearchParams(query)}`),
    balances: (query) => get(`/v1/balances?${new URLSearchParams(query)}`),
    createBudget: (request) =>
      ask(carrier, "POST", "/v1/admin/budgets", admin, { tenant_id: tenant, ...request }),
    fund: ({ scope, unit }, request) => {
      const query = new URLSearchParams({ tenant_id: tenant, scope, unit });
      return ask(carrier, "POST", `/v1/admin/budgets/fund?${query}`, admin, request);
    },
    freeze: (budget) =>
      ask(carrier, "POST", `/v1/admin/budgets/freeze?${new URLSearchParams(budget)}`, admin),
    unfreeze: (budget) =>
      ask(carrier, "POST", `/v1/admin/budgets/unfreeze?${new URLSearchParams(budget)}`, admin),
    createPolicy: (request) =>
      ask(carrier, "POST", "/v1/admin/policies", admin, { tenant_id: tenant, ...request }),
    openLease: (request) => post("/v1/x-purser/leases", request),
    renewLease: (id, request) => post(`${leaseOf(id)}/renew`, request),
    returnLease: (id, request) => post(`${leaseOf(id)}/return`, request),
    leases: (query) => get(`/v1/x-purser/leases?${new URLSearchParams(query)}`),
    exposure: () => get("/v1/x-purser/exposure"),
    leaseSettings: () => ask(carrier, "GET", `/v1/x-purser/leases/settings?tenant_id=${tenant}`, admin),
    setLeaseSettings: (request) =>
      ask(carrier, "PUT", `/v1/x-purser/leases/settings?tenant_id=${tenant}`, admin, request),
    raiseLeaseEpoch: () => ask(carrier, "POST", `/v1/x-purser/leases/epoch?tenant_id=${tenant}`, admin),
    ...(advance === undefined ? {} : { advance: (ms: number) => advance(tenant, ms) }),
  };
}

async function ask(
  carrier: Carrier,
  method: string,
  path: string,
  headers: Record<string, string>,
  body?: unknown,
): Promise<Answer> {
  const response = await carrier.send(
    path,
    body === undefined
      ? { method, headers }
      : {
          method,
          headers: { ...headers, "content-type": "application/json" },
          body: stringifyJson(body as JsonValue),
        },
  );
  const parsed = parseJson(await response.text());
  if (!parsed.ok) throw new TypeError(`the answer to ${method} ${path} is no JSON: ${parsed.message}`);
  return answerOfWire(response.status, parsed.value as JsonValue);
}
