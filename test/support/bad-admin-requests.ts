// The operators' part of the bad requests: what a body of each governance operation looks like before it is spoilt, and
// addresses that lead nowhere. Invariant as in bad-requests.ts, its only caller: wrong in one way, so nothing changes.

import fc from "fast-check";
import type { BadRequest, Operation, Target } from "./bad-requests.ts";

/** Where '"k"' stands in a body, any text would be accepted. */
export function adminOperationsOf(target: Target): readonly Operation[] {
  const { tenant, apiKeyId, policyId, adminKey } = target;
  const headers = { "x-admin-api-key": adminKey };
  const amount = { unit: "TOKENS", amount: 1 };
  const scope = `tenant:${tenant}`;
  const budget = `scope=${scope}&unit=TOKENS`;
  const metadata = { note: "k" };
  return [
    {
      method: "POST",
      path: "/v1/admin/tenants",
      headers,
      body: { tenant_id: tenant, name: "k" },
      required: ["tenant_id", "name"],
    },
    {
      method: "PATCH",
      path: `/v1/admin/tenants/${tenant}`,
      headers,
      body: { name: "k" },
      required: [],
    },
    {
      method: "POST",
      path: "/v1/admin/budgets",
      headers,
      body: { tenant_id: tenant, scope: `${scope}/agent:new`, unit: "TOKENS", allocated: amount, metadata },
      required: ["tenant_id", "scope", "unit", "allocated"],
      amount: ["allocated", "amount"],
    },
    {
      method: "PATCH",
      path: `/v1/admin/budgets?${budget}`,
      headers,
      body: { overdraft_limit: amount, metadata },
      required: [],
      amount: ["overdraft_limit", "amount"],
    },
    {
      method: "POST",
      path: `/v1/admin/budgets/freeze?${budget}`,
      headers,
      body: { reason: "k" },
      required: [],
      isBodyOptional: true,
    },
    {
      method: "POST",
      path: `/v1/admin/budgets/fund?tenant_id=${tenant}&${budget}`,
      headers,
      body: { operation: "CREDIT", amount, idempotency_key: "k" },
      required: ["operation", "amount", "idempotency_key"],
      amount: ["amount", "amount"],
    },
    {
      method: "POST",
      path: "/v1/admin/api-keys",
      headers,
      body: { tenant_id: tenant, name: "k" },
      required: ["tenant_id", "name"],
    },
    { method: "PATCH", path: `/v1/admin/api-keys/${apiKeyId}`, headers, body: { name: "k" }, required: [] },
    {
      method: "POST",
      path: "/v1/admin/policies",
      headers,
      body: { tenant_id: tenant, name: "k", scope_pattern: scope, caps: { max_tokens: 1 } },
      required: ["tenant_id", "name", "scope_pattern"],
    },
    { method: "PATCH", path: `/v1/admin/policies/${policyId}`, headers, body: { name: "k" }, required: [] },
    {
      method: "PATCH",
      path: `/v1/x-purser/api-keys/${apiKeyId}`,
      headers,
      body: { remaining_ttl_ms: false },
      required: [],
    },
    {
      method: "PUT",
      path: `/v1/x-purser/budgets/periods?${budget}`,
      headers,
      body: { kind: "daily", allocated: amount },
      required: ["kind"],
      amount: ["allocated", "amount"],
    },
    {
      method: "PUT",
      path: `/v1/x-purser/leases/settings?tenant_id=${tenant}`,
      headers,
      body: { grace_ms: 1 },
      required: [],
    },
  ];
}

const LISTS = ["tenants?", "budgets?", "api-keys?", "audit/logs?"];

/** Routes, methods, ids and queries of the operators' plane. */
export function adminAddressFaults(target: Target): fc.Arbitrary<BadRequest> {
  const { tenant, foreignTenant, apiKey, apiKeyId, adminKey } = target;
  const admin = { "x-admin-api-key": adminKey };
  const own = { "x-cycles-api-key": apiKey };
  const json = { "content-type": "application/json" };
  const body = new TextEncoder().encode(JSON.stringify({ name: "k" }));
  const bad = (fault: string, method: string, path: string, status: number, headers = admin as Headers) => ({
    fault: `operators: ${fault}`,
    method,
    path,
    headers: method === "PATCH" ? { ...json, ...headers } : headers,
    ...(method === "PATCH" && { body }),
    statuses: [status],
  });
  const lists = fc.constantFrom(...LISTS, `policies?tenant_id=${tenant}&`, `budgets?tenant_id=${tenant}&`);
  const word = fc.string({ unit: fc.constantFrom(..."abcxyz0189_~"), minLength: 1, maxLength: 60 });
  // Few names: each of them wakes an object.
  const nobody = fc.constantFrom("nobody-at-all", "nobody-else");
  return fc.oneof(
    word.map((it) => bad("an unknown route", "GET", `/v1/admin/x-${it}`, 404)),
    fc
      .constantFrom(
        ["DELETE", "/v1/admin/tenants"],
        ["PUT", "/v1/admin/budgets"],
        ["POST", "/v1/admin/audit/logs"],
        ["DELETE", "/v1/x-purser/counters"],
        ["POST", "/v1/x-purser/budgets/periods"],
      )
      .map(([method = "", path = ""]) => bad("a wrong method", method, path, 405)),
    fc
      .constantFrom("0", "-1", "201", "1.5", "x", "1e9", "٣", "9".repeat(400))
      .chain((limit) =>
        lists.map((it) =>
          bad("a limit that is none", "GET", `/v1/admin/${it}limit=${encodeURIComponent(limit)}`, 400),
        ),
      ),
    fc
      .tuple(lists, fc.string({ minLength: 1, maxLength: 200 }))
      .map(([it, cursor]) =>
        bad(
          "a cursor that was never given",
          "GET",
          `/v1/admin/${it}cursor=~${encodeURIComponent(cursor)}`,
          400,
        ),
      ),
    fc
      .constantFrom(
        "tenants?status=GONE",
        `tenants?search=${"x".repeat(129)}`,
        ...["unit=EUR", "status=OPEN", "over_limit=maybe", "utilization_min=2"].map(
          (it) => `budgets?tenant_id=${tenant}&${it}`,
        ),
        `api-keys?tenant_id=${tenant}&status=LOST`,
        `policies?tenant_id=${tenant}&status=LOST`,
      )
      .map((it) => bad("a filter that is none", "GET", `/v1/admin/${it}`, 400)),
    fc
      .constantFrom("A", "ab", "a_b", "x".repeat(65), " ", "acme/x")
      .chain((it) =>
        fc
          .constantFrom(["GET", 400] as const, ["PATCH", 400] as const)
          .map(([method, status]) =>
            bad("a tenant id that is none", method, `/v1/admin/tenants/${encodeURIComponent(it)}`, status),
          ),
      ),
    fc
      .tuple(nobody, fc.constantFrom("GET", "PATCH"))
      .map(([it, method]) => bad("a tenant that is not there", method, `/v1/admin/tenants/${it}`, 404)),
    fc
      .tuple(word, fc.constantFrom("admin/api-keys", "admin/policies", "x-purser/api-keys"))
      .map(([it, path]) => bad("an id that was never issued", "PATCH", `/v1/${path}/~${it}`, 404)),
    word.map((it) => bad("an id that was never issued", "DELETE", `/v1/admin/api-keys/~${it}`, 404)),
    fc
      .constantFrom(
        "",
        "scope=tenant&unit=TOKENS",
        `scope=agent:a&unit=TOKENS`,
        `scope=tenant:${tenant}&unit=EUR`,
      )
      .chain((query) =>
        fc
          .constantFrom(
            ["GET", "admin/budgets/lookup"],
            ["POST", "admin/budgets/freeze"],
            ["POST", "admin/budgets/unfreeze"],
            ["GET", "x-purser/budgets/periods"],
            ["DELETE", "x-purser/budgets/periods"],
          )
          .map(([method = "", path]) =>
            bad("a budget's name that is none", method, `/v1/${path}?${query}`, 400),
          ),
      ),
    fc
      .constantFrom("freeze", "unfreeze")
      .map((verb) =>
        bad(
          "a budget that is not there",
          "POST",
          `/v1/admin/budgets/${verb}?scope=tenant:${tenant}/agent:none&unit=TOKENS`,
          404,
        ),
      ),
    fc
      .constantFrom("admin/budgets/lookup", "x-purser/budgets/periods")
      .map((path) =>
        bad(
          "another tenant's budget",
          "GET",
          `/v1/${path}?scope=tenant:${foreignTenant}&unit=TOKENS`,
          403,
          own,
        ),
      ),
    fc
      .constantFrom(
        ["GET", "admin/tenants"],
        ["PATCH", `admin/tenants/${tenant}`],
        ["DELETE", `admin/api-keys/${apiKeyId}`],
        ["PATCH", `x-purser/api-keys/${apiKeyId}`],
        ["POST", `admin/budgets/freeze?scope=tenant:${tenant}&unit=TOKENS`],
        ["GET", "admin/audit/logs"],
        ["GET", `x-purser/counters?tenant_id=${tenant}`],
      )
      .map(([method = "", path]) =>
        bad("a tenant's key for an operator's route", method, `/v1/${path}`, 401, own),
      ),
  );
}

type Headers = Readonly<Record<string, string>>;
