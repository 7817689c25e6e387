// Policies and periods over HTTP: who may set them, and what decisions look like under them. Called by http-suite.ts.

import { describe, expect, test } from "vitest";
import { type Caller, codeOf, type Fields, type Json, reserveBody, tokens } from "./front.ts";

const AGENT = ["reservations:create", "reservations:commit", "balances:read"];

export function policySuite({ ADMIN, send }: Caller): void {
  let tenants = 0;

  /** A tenant with a budget of 100 tokens, and what makes keys for it. */
  async function makeTenant() {
    tenants += 1;
    const tenant = `governed-${tenants}`;
    const post = async (path: string, body: unknown) => {
      const answer = await send("POST", `/v1/admin${path}`, ADMIN, body);
      expect(codeOf(answer)).toBe("201");
      return answer.json;
    };
    await post("/tenants", { tenant_id: tenant, name: tenant });
    const scope = `tenant:${tenant}`;
    await post("/budgets", { tenant_id: tenant, scope, unit: "TOKENS", allocated: tokens(100) });
    const key = async (permissions: readonly string[], rest: object = {}) => {
      const made = await post("/api-keys", { tenant_id: tenant, name: "key", permissions, ...rest });
      return { "x-cycles-api-key": made.key_secret as string };
    };
    return { tenant, scope, key };
  }

  describe("policies", () => {
    test("are an operator's, who names the tenant, or a key's with the permission, who doesn't", async () => {
      const { tenant, scope, key } = await makeTenant();
      const writer = await key(["policies:write"]);
      const filtered = await key(["policies:write"], { scope_filter: ["agent:a"] });
      const create = (headers: Fields, body: object) =>
        send("POST", "/v1/admin/policies", headers, { name: "p", scope_pattern: scope, ...body }).then(
          codeOf,
        );
      expect(await create(ADMIN, {})).toBe("400 INVALID_REQUEST");
      expect(await create(ADMIN, { tenant_id: "no-such-tenant" })).toBe("400 TENANT_NOT_FOUND");
      expect(await create(ADMIN, { tenant_id: tenant })).toBe("201");
      expect(await create(writer, { name: "q", tenant_id: tenant })).toBe("400 INVALID_REQUEST");
      expect(await create(writer, { name: "q" })).toBe("201");
      expect(await create(writer, { name: "q" })).toBe("409 DUPLICATE_RESOURCE");
      expect(await create(filtered, { name: "r" })).toBe("403 FORBIDDEN");
      expect(await create(filtered, { name: "r", scope_pattern: `${scope}/agent:a` })).toBe("201");
      expect(await create(await key(AGENT), { name: "s" })).toBe("403 INSUFFICIENT_PERMISSIONS");
      expect(await create({}, { name: "s" })).toBe("401 UNAUTHORIZED");

      const list = (headers: Fields, query = "") => send("GET", `/v1/admin/policies${query}`, headers);
      expect(codeOf(await list(ADMIN))).toBe("400 INVALID_REQUEST");
      const reader = await key(["policies:read"]);
      for (const answer of [await list(ADMIN, `?tenant_id=${tenant}`), await list(reader)]) {
        expect(answer.json.policies.map(({ name }: Json) => name)).toEqual(["p", "q", "r"]);
        expect(answer.json.has_more).toBe(false);
      }
      expect(codeOf(await list(writer))).toBe("403 INSUFFICIENT_PERMISSIONS");

      const patch = (headers: Fields, id: string, body: object) =>
        send("PATCH", `/v1/admin/policies/${id}`, headers, body);
      const changed = await patch(ADMIN, `pol_${tenant}_1`, { status: "DISABLED" });
      expect(changed.json).toMatchObject({ policy_id: `pol_${tenant}_1`, status: "DISABLED" });
      expect(codeOf(await patch(writer, `pol_${tenant}_1`, { status: "ACTIVE" }))).toBe("200");
      expect(codeOf(await patch(filtered, `pol_${tenant}_1`, { priority: 1 }))).toBe("403 FORBIDDEN");
      for (const id of [`pol_${tenant}_9`, "pol_no-such-tenant_1", "nonsense", "pol__1"]) {
        expect(codeOf(await patch(ADMIN, id, {}))).toBe("404 NOT_FOUND");
      }
      const other = await makeTenant();
      const stranger = await other.key(["policies:write"]);
      expect(codeOf(await patch(stranger, `pol_${tenant}_1`, { priority: 1 }))).toBe("404 NOT_FOUND");

      const audit = await send("GET", `/v1/admin/audit/logs?tenant_id=${tenant}&resource_type=policy`, ADMIN);
      expect(audit.json.logs.map(({ operation }: Json) => operation)).toEqual([
        "updatePolicy",
        "updatePolicy",
        "createPolicy",
        "createPolicy",
        "createPolicy",
      ]);
    });

    test("cap and throttle decisions on the wire", async () => {
      const { tenant, scope, key } = await makeTenant();
      const agent = await key(AGENT);
      const policy = {
        tenant_id: tenant,
        name: "p",
        scope_pattern: scope,
        caps: { max_tokens: 4096, tool_denylist: ["rm"] },
        rate_limits: { max_reservations_per_minute: 1 },
      };
      expect(codeOf(await send("POST", "/v1/admin/policies", ADMIN, policy))).toBe("201");
      const reserve = (id: string) => send("POST", "/v1/reservations", agent, reserveBody(tenant, id, 1));
      // Whatever minute it is, one of three falls into a minute that has had one.
      const answers = [await reserve("a"), await reserve("b"), await reserve("c")];
      const [first] = answers;
      expect(first?.json).toMatchObject({ decision: "ALLOW_WITH_CAPS", caps: policy.caps });
      const throttled = answers.find(({ status }) => status === 429);
      expect(throttled?.json).toMatchObject({
        error: "LIMIT_EXCEEDED",
        details: { limit_per_minute: 1, scope },
      });
      const retryAfter = throttled?.headers.get("retry-after") ?? "";
      expect(retryAfter).toMatch(/^[0-9]+$/);
      expect(Number(retryAfter)).toBeGreaterThanOrEqual(1);
      expect(Number(retryAfter)).toBeLessThanOrEqual(60);
      expect(throttled?.headers.get("x-ratelimit-reset")).toMatch(/^[0-9]{10}$/);
      expect((await reserve("a")).json).toMatchObject({ reservation_id: first?.json.reservation_id });
    });
  });

  describe("periods", () => {
    const path = (scope: string) => `/v1/x-purser/budgets/periods?scope=${scope}&unit=TOKENS`;

    test("are an operator's, or a key's with the right to write budgets", async () => {
      const { tenant, scope, key } = await makeTenant();
      const writer = await key(["budgets:write"]);
      const reader = await key(["budgets:read"]);
      const daily = { kind: "daily", time_zone: "Europe/Berlin", allocated: tokens(70) };
      const set = await send("PUT", path(scope), ADMIN, daily);
      expect(set.json).toMatchObject({ scope, unit: "TOKENS", period: daily, passed_windows: [] });
      expect(set.json.window).toMatchObject({ allocated: tokens(100), carried_debt: tokens(0) });
      expect(codeOf(await send("PUT", path(scope), writer, daily))).toBe("200");
      expect(codeOf(await send("PUT", path(scope), reader, daily))).toBe("403 INSUFFICIENT_PERMISSIONS");
      expect(codeOf(await send("PUT", path(scope), writer, "{"))).toBe("400 INVALID_REQUEST");
      expect((await send("GET", path(scope), reader)).json).toEqual(set.json);
      expect(codeOf(await send("GET", path(scope), await key(AGENT)))).toBe("403 INSUFFICIENT_PERMISSIONS");
      expect(codeOf(await send("GET", path(`${scope}/agent:x`), ADMIN))).toBe("404 BUDGET_NOT_FOUND");
      expect(codeOf(await send("GET", path("tenant:no-such-tenant"), ADMIN))).toBe("404 BUDGET_NOT_FOUND");
      expect(codeOf(await send("GET", path("nonsense"), ADMIN))).toBe("400 INVALID_REQUEST");
      expect(codeOf(await send("POST", path(scope), ADMIN, daily))).toBe("405 INVALID_REQUEST");
      const looked = await send("GET", `/v1/admin/budgets/lookup?scope=${scope}&unit=TOKENS`, ADMIN);
      expect(looked.json.period_end).toBe(set.json.window.ends_at);
      const removed = await send("DELETE", path(scope), writer);
      expect(removed.json.period).toBeUndefined();
      expect(removed.json.window.ends_at).toBeUndefined();
      const audit = await send("GET", `/v1/admin/audit/logs?tenant_id=${tenant}&resource_type=budget`, ADMIN);
      expect(audit.json.logs.map(({ operation }: Json) => operation)).toEqual([
        "removeBudgetPeriod",
        "setBudgetPeriod",
        "setBudgetPeriod",
        "createBudget",
      ]);
    });
  });
}
