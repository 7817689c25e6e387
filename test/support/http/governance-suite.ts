// The governance plane over HTTP: every route, who is let in, which tenant is meant, lists over all tenants, and nothing
// stored for tenants that do not exist. Called by http-suite.ts.

import { beforeAll, describe, expect, test } from "vitest";
import { type Answer, type Caller, codeOf, type Fields, type Front, type Json, tokens } from "./front.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";

export function governanceSuite(front: Front, { ADMIN, send }: Caller): void {
  const admin = (method: string, path: string, body?: unknown, headers: Fields = {}) =>
    send(method, `/v1/admin${path}`, { ...ADMIN, ...headers }, body);

  async function makeTenant(tenant: string, rest: object = {}): Promise<void> {
    expect(
      codeOf(await admin("POST", "/tenants", { tenant_id: tenant, name: `Name of ${tenant}`, ...rest })),
    ).toBe("201");
    const budget = { tenant_id: tenant, scope: `tenant:${tenant}`, unit: "TOKENS", allocated: tokens(1000) };
    expect(codeOf(await admin("POST", "/budgets", budget))).toBe("201");
  }

  async function makeKey(tenant: string, rest: object = {}): Promise<{ id: string; headers: Fields }> {
    const { json } = await admin("POST", "/api-keys", {
      tenant_id: tenant,
      name: `key of ${tenant}`,
      ...rest,
    });
    return { id: json.key_id, headers: { "x-cycles-api-key": json.key_secret } };
  }

  const reserve = (tenant: string, headers: Fields, key: string) =>
    send("POST", "/v1/reservations", headers, {
      idempotency_key: key,
      subject: { tenant },
      action: { kind: "k", name: "n" },
      estimate: tokens(10),
    });

  const nameOf = (tenant: string) => `scope=tenant:${tenant}&unit=TOKENS`;

  beforeAll(async () => {
    await makeTenant("aaa");
    await makeTenant("bbb", { parent_tenant_id: "aaa", metadata: { plan: "pro" } });
    await makeTenant("ccc");
  });

  describe("tenants", () => {
    test("are shown, changed, suspended and closed, and the list follows", async () => {
      await makeTenant("closing");
      const { headers } = await makeKey("closing");
      const held = await reserve("closing", headers, "a");
      expect((await admin("GET", "/tenants/closing")).json).toMatchObject({
        tenant_id: "closing",
        status: "ACTIVE",
      });
      const status = async () => {
        const { json } = await admin("GET", "/tenants?search=closing");
        return json.tenants.map((row: Json) => row.status);
      };
      expect(await status()).toEqual(["ACTIVE"]);

      const suspended = await admin("PATCH", "/tenants/closing", { status: "SUSPENDED" });
      expect([suspended.status, suspended.json.status]).toEqual([200, "SUSPENDED"]);
      expect((await reserve("closing", headers, "b")).json).toMatchObject({
        error: "UNAUTHORIZED",
        message: "TENANT_SUSPENDED",
      });
      expect(await status()).toEqual(["SUSPENDED"]);
      await admin("PATCH", "/tenants/closing", { status: "ACTIVE" });
      expect(codeOf(await reserve("closing", headers, "b"))).toBe("200");

      const closed = await admin("PATCH", "/tenants/closing", { status: "CLOSED" });
      expect(closed.json).toMatchObject({ status: "CLOSED", closed_at: expect.any(String) });
      expect(await status()).toEqual(["CLOSED"]);
      expect((await reserve("closing", headers, "c")).json).toMatchObject({ message: "KEY_REVOKED" });
      const released = await send("GET", `/v1/reservations/${held.json.reservation_id}`, ADMIN);
      expect(released.json.status).toBe("RELEASED");
      const ledgers = await admin("GET", "/budgets?tenant_id=closing");
      expect(ledgers.json.ledgers).toMatchObject([
        { status: "CLOSED", reserved: tokens(0), remaining: tokens(1000) },
      ]);
      expect(codeOf(await admin("PATCH", "/tenants/closing", { status: "ACTIVE" }))).toBe(
        "409 TENANT_CLOSED",
      );
      expect(codeOf(await admin("PATCH", "/tenants/closing", { status: "CLOSED" }))).toBe("200");
    });

    test("are listed by id in pages, and by filters", async () => {
      const ids = async (query: string) =>
        (await admin("GET", `/tenants?${query}`)).json.tenants.map((row: Json) => row.tenant_id);
      const all = await ids("");
      expect(all).toEqual([...new Set(all)].sort());
      expect(all).toEqual(expect.arrayContaining(["aaa", "bbb", "ccc"]));
      expect(await ids("parent_tenant_id=aaa")).toEqual(["bbb"]);
      expect(await ids("search=NAME%20OF%20BB")).toEqual(["bbb"]);
      expect(await ids("status=SUSPENDED&search=aaa")).toEqual([]);
      const paged: string[] = [];
      let cursor = "";
      do {
        const { json } = await admin("GET", `/tenants?limit=1&cursor=${cursor}`);
        paged.push(...json.tenants.map((row: Json) => row.tenant_id));
        expect(json.has_more).toBe(json.next_cursor !== undefined);
        cursor = json.next_cursor ?? "";
        if (cursor !== "") {
          expect(codeOf(await admin("GET", `/tenants?status=ACTIVE&cursor=${cursor}`))).toBe(
            "400 INVALID_REQUEST",
          );
        }
      } while (cursor !== "");
      expect(paged).toEqual(all);
      const [bbb] = (await admin("GET", "/tenants?search=bbb")).json.tenants;
      expect(bbb).toEqual((await admin("GET", "/tenants/bbb")).json);
      for (const bad of ["limit=101", "limit=x", "status=GONE", `search=${"x".repeat(129)}`, "cursor=x"]) {
        expect(codeOf(await admin("GET", `/tenants?${bad}`))).toBe("400 INVALID_REQUEST");
      }
    });
  });

  describe("budgets", () => {
    test("get an overdraft limit, are frozen and unfrozen, found and listed", async () => {
      await makeTenant("budgeted");
      const name = nameOf("budgeted");
      const patched = await admin("PATCH", `/budgets?${name}`, {
        overdraft_limit: tokens(50),
        commit_overage_policy: "ALLOW_WITH_OVERDRAFT",
      });
      expect(patched.json).toMatchObject({
        overdraft_limit: tokens(50),
        commit_overage_policy: "ALLOW_WITH_OVERDRAFT",
      });
      expect((await admin("POST", `/budgets/freeze?${name}`)).json.status).toBe("FROZEN");
      expect(codeOf(await admin("POST", `/budgets/freeze?${name}`, {}))).toBe("409 BUDGET_FROZEN");
      expect((await admin("GET", `/budgets/lookup?${name}`)).json).toMatchObject({
        scope: "tenant:budgeted",
        tenant_id: "budgeted",
        status: "FROZEN",
        overdraft_limit: tokens(50),
      });
      expect((await admin("POST", `/budgets/unfreeze?${name}`, { reason: "over" })).json.status).toBe(
        "ACTIVE",
      );
      const { json } = await admin("GET", "/budgets?tenant_id=budgeted&status=ACTIVE");
      expect(json).toMatchObject({ ledgers: [{ scope: "tenant:budgeted" }], has_more: false });
      expect(codeOf(await admin("POST", `/budgets/freeze?${name}`, { why: "x" }))).toBe(
        "400 INVALID_REQUEST",
      );
      expect(codeOf(await admin("PATCH", `/budgets?${name}`))).toBe("415 INVALID_REQUEST");
    });

    test("are a tenant's own to see, and an operator's to change", async () => {
      const { headers } = await makeKey("aaa");
      const own = await send("GET", "/v1/admin/budgets?tenant_id=bbb", headers);
      expect(own.json.ledgers.map((row: Json) => row.scope)).toEqual(["tenant:aaa"]);
      expect((await send("GET", `/v1/admin/budgets/lookup?${nameOf("aaa")}`, headers)).status).toBe(200);
      expect(codeOf(await send("GET", `/v1/admin/budgets/lookup?${nameOf("bbb")}`, headers))).toBe(
        "403 FORBIDDEN",
      );
      const refused = [
        await send("PATCH", `/v1/admin/budgets?${nameOf("aaa")}`, headers, {}),
        await send("POST", `/v1/admin/budgets/freeze?${nameOf("aaa")}`, headers),
        await send("POST", `/v1/admin/budgets/unfreeze?${nameOf("aaa")}`, headers),
      ];
      expect(new Set(refused.map(codeOf))).toEqual(new Set(["401 UNAUTHORIZED"]));
    });
  });

  describe("API keys", () => {
    test("are listed without their secrets, changed, and revoked by their id alone", async () => {
      const { id, headers } = await makeKey("bbb", { permissions: ["balances:read"] });
      const { json } = await admin("GET", "/api-keys?tenant_id=bbb&status=ACTIVE");
      const row = json.keys.find((it: Json) => it.key_id === id);
      expect(row).toMatchObject({ tenant_id: "bbb", name: "key of bbb", permissions: ["balances:read"] });
      expect(JSON.stringify(json)).not.toContain(headers["x-cycles-api-key"]);
      expect(codeOf(await reserve("bbb", headers, "denied"))).toBe("403 FORBIDDEN");
      const changed = await admin("PATCH", `/api-keys/${id}`, { permissions: ["reservations:create"] });
      expect(changed.json).toMatchObject({ key_id: id, permissions: ["reservations:create"] });
      expect(codeOf(await reserve("bbb", headers, "granted"))).toBe("200");
      const revoked = await admin("DELETE", `/api-keys/${id}?reason=lost`);
      expect(revoked.json).toMatchObject({ key_id: id, status: "REVOKED", revoked_reason: "lost" });
      expect((await reserve("bbb", headers, "late")).json.message).toBe("KEY_REVOKED");
      expect(codeOf(await admin("DELETE", `/api-keys/${id}`))).toBe("409 KEY_REVOKED");
    });

    test.each(["none", "bbb_ffffffffffff", "ghost_ffffffffffff", "bbb_0123456789AB", "x".repeat(300)])(
      "%s is 404",
      async (id) => {
        expect(codeOf(await admin("DELETE", `/api-keys/${id}`))).toBe("404 NOT_FOUND");
        expect(codeOf(await admin("PATCH", `/api-keys/${id}`, {}))).toBe("404 NOT_FOUND");
      },
    );
  });

  describe("a release by an operator", () => {
    test("is the tenant's own, with an audit row that says who, why and by which request", async () => {
      const { headers } = await makeKey("aaa");
      const id = (await reserve("aaa", headers, "hung")).json.reservation_id;
      const path = `/v1/reservations/${id}/release`;
      const release = (body: object) =>
        send("POST", path, { ...ADMIN, "x-cycles-trace-id": TRACE, "user-agent": "ops" }, body);
      const body = { idempotency_key: "r", reason: "[INCIDENT_FORCE_RELEASE]" };
      const released = await release(body);
      expect(released.json).toMatchObject({ status: "RELEASED", released: tokens(10) });
      expect(released.headers.get("x-cycles-tenant")).toBe("aaa");
      expect((await release(body)).json).toEqual(released.json);
      expect(codeOf(await release({ idempotency_key: "r2" }))).toBe("409 RESERVATION_FINALIZED");
      const { json } = await admin("GET", `/audit/logs?tenant_id=aaa&resource_id=${id}`);
      expect(json.logs).toMatchObject([
        {
          operation: "releaseReservation",
          actor_type: "admin_on_behalf_of",
          tenant_id: "aaa",
          request_id: released.headers.get("x-request-id"),
          trace_id: TRACE,
          user_agent: "ops",
          amount: tokens(10),
          metadata: { reason: "[INCIDENT_FORCE_RELEASE]" },
        },
      ]);
    });

    test("wants the operator's key, a body and an id that was issued", async () => {
      const release = (id: string, headers: Fields, body: unknown = { idempotency_key: "r" }) =>
        send("POST", `/v1/reservations/${id}/release`, headers, body);
      expect(codeOf(await release("x", { "x-admin-api-key": "wrong" }))).toBe("401 UNAUTHORIZED");
      expect(codeOf(await release("x", ADMIN))).toBe("404 NOT_FOUND");
      expect(codeOf(await release("x".repeat(129), ADMIN))).toBe("400 INVALID_REQUEST");
      const { headers } = await makeKey("aaa");
      const id = (await reserve("aaa", headers, "kept")).json.reservation_id;
      expect(codeOf(await release(id, ADMIN, {}))).toBe("400 INVALID_REQUEST");
      // The operator's key counts even beside a tenant's.
      expect(codeOf(await release(id, { ...headers, ...ADMIN }))).toBe("200");
    });
  });

  describe("over all tenants", () => {
    test.each([
      ["/budgets?search=tenant:", "ledgers", (row: Json) => row.tenant_id],
      ["/api-keys?search=key", "keys", (row: Json) => row.tenant_id],
      ["/audit/logs?operation=createTenant", "logs", (row: Json) => row.resource_id],
    ])("%s goes through them by id, page by page", async (path, name, tenantOf) => {
      await makeKey("ccc");
      const pagesOf = async (limit: number) => {
        const rows: Json[] = [];
        let cursor = "";
        do {
          const { json } = await admin("GET", `${path}&limit=${limit}&cursor=${cursor}`);
          expect(json[name].length).toBeLessThanOrEqual(limit);
          rows.push(...json[name]);
          cursor = json.next_cursor ?? "";
        } while (cursor !== "");
        return rows;
      };
      const whole = await pagesOf(100);
      const tenants = whole.map(tenantOf);
      expect(tenants).toEqual([...tenants].sort());
      expect(tenants).toContain("ccc");
      expect(await pagesOf(1)).toEqual(whole);
      // Wherever a page ends, at a tenant's boundary too, its cursor goes on with its own filters alone.
      const [kept = "", value = ""] = path.split("=");
      let { next_cursor: next } = (await admin("GET", `${path}&limit=1`)).json;
      while (next !== undefined) {
        const other = await admin("GET", `${kept}=${value}x&cursor=${next}`);
        expect(codeOf(other)).toBe("400 INVALID_REQUEST");
        ({ next_cursor: next } = (await admin("GET", `${path}&limit=1&cursor=${next}`)).json);
      }
      expect(codeOf(await admin("GET", `${path}&limit=0`))).toBe("400 INVALID_REQUEST");
      expect(codeOf(await admin("GET", `${path}&cursor=x`))).toBe("400 INVALID_REQUEST");
    });
  });

  describe("balances by the operator's key", () => {
    const balances = (query: string, headers: Fields = ADMIN) =>
      send("GET", `/v1/balances?${query}`, headers);
    const scopesOf = ({ json }: Answer) => json.balances.map((row: Json) => row.scope_path);

    beforeAll(async () => {
      const scope = "tenant:bbb/workspace:eng";
      for (const unit of ["TOKENS", "CREDITS"]) {
        const budget = { tenant_id: "bbb", scope, unit, allocated: { unit, amount: 10 } };
        expect(codeOf(await admin("POST", "/budgets", budget))).toBe("201");
      }
    });

    test.each([
      ["tenant=bbb", ["tenant:bbb", "tenant:bbb/workspace:eng", "tenant:bbb/workspace:eng"]],
      ["tenant=bbb&workspace=ENG", ["tenant:bbb/workspace:eng", "tenant:bbb/workspace:eng"]],
      ["workspace=eng&tenant_id=bbb", ["tenant:bbb/workspace:eng", "tenant:bbb/workspace:eng"]],
      ["tenant=nobody-here", []],
    ])("with a level (%s) they are the runtime plane's, of the named tenant", async (query, scopes) => {
      const answer = await balances(query);
      expect(codeOf(answer)).toBe("200");
      expect(scopesOf(answer).sort()).toEqual(scopes);
      for (const row of answer.json.balances) expect(row).not.toHaveProperty("ledger_id");
    });

    test("as a tenant's own key is answered", async () => {
      const { headers } = await makeKey("bbb");
      expect((await balances("tenant=bbb")).json).toEqual((await balances("tenant=bbb", headers)).json);
      expect((await balances("tenant=bbb")).headers.get("x-cycles-tenant")).toBe("bbb");
    });

    test.each([
      ["tenant_id=bbb", 3],
      ["tenant_id=bbb&unit=CREDITS", 1],
      ["tenant_id=bbb&scope_prefix=tenant:bbb/workspace", 2],
      ["scope_prefix=tenant:bbb", 3],
      ["tenant_id=nobody-here", 0],
    ])("without one (%s) they are the governance plane's whole budgets", async (query, count) => {
      const answer = await balances(query);
      expect(codeOf(answer)).toBe("200");
      expect(answer.json.balances.length).toBe(count);
      expect(answer.json).not.toHaveProperty("ledgers");
      const listed = await admin("GET", `/budgets?${query}`);
      expect(answer.json.balances).toEqual(listed.json.ledgers);
    });

    test("go on by a cursor, of either shape", async () => {
      for (const query of ["tenant=bbb", "unit=TOKENS"]) {
        const whole = await balances(query);
        const rows: Json[] = [];
        let cursor = "";
        do {
          const { json } = await balances(`${query}&limit=1${cursor}`);
          rows.push(...json.balances);
          cursor = json.has_more ? `&cursor=${json.next_cursor}` : "";
        } while (cursor !== "");
        expect(rows).toEqual(whole.json.balances);
      }
    });

    test.each(["", "limit=5", "workspace=eng", "tenant=Not-One", "unit=EUR", "tenant_id=Not-One"])(
      "%j says too little or something wrong: 400",
      async (query) => {
        expect(codeOf(await balances(query))).toBe("400 INVALID_REQUEST");
      },
    );

    test("want the operator's key, and a tenant's key has the runtime plane's alone", async () => {
      expect(codeOf(await balances("tenant_id=bbb", { "x-admin-api-key": "guess" }))).toBe(
        "401 UNAUTHORIZED",
      );
      const { headers } = await makeKey("bbb");
      expect(codeOf(await balances("tenant_id=bbb", headers))).toBe("400 INVALID_REQUEST");
    });
  });

  describe("strangers and strangers' names", () => {
    const ROUTES: [string, string, unknown?][] = [
      ["GET", "/tenants"],
      ["GET", "/tenants/stranger"],
      ["PATCH", "/tenants/stranger", {}],
      ["GET", "/budgets"],
      ["GET", `/budgets/lookup?${nameOf("stranger")}`],
      ["PATCH", `/budgets?${nameOf("stranger")}`, {}],
      ["POST", `/budgets/freeze?${nameOf("stranger")}`],
      ["POST", `/budgets/unfreeze?${nameOf("stranger")}`],
      ["GET", "/api-keys"],
      ["PATCH", "/api-keys/stranger_0123456789ab", {}],
      ["DELETE", "/api-keys/stranger_0123456789ab"],
      ["GET", "/audit/logs"],
    ];

    test.each(ROUTES)("%s %s is closed without the operator's key", async (method, path, body) => {
      const before = await front.objects();
      expect((await send(method, `/v1/admin${path}`, {}, body)).json.message).toBe("Missing admin API key");
      expect(
        (await send(method, `/v1/admin${path}`, { "x-admin-api-key": "wrong" }, body)).json.message,
      ).toBe("INVALID_KEY");
      expect(await front.objects()).toBe(before);
    });

    test("a tenant that does not exist is not found, and nothing is stored for it", async () => {
      const verdicts: string[] = [];
      for (const [method, path, body] of ROUTES) {
        if (path.includes("stranger")) verdicts.push(codeOf(await admin(method, path, body)));
      }
      expect(verdicts).toEqual([
        "404 TENANT_NOT_FOUND",
        "404 TENANT_NOT_FOUND",
        "404 BUDGET_NOT_FOUND",
        "404 BUDGET_NOT_FOUND",
        "404 BUDGET_NOT_FOUND",
        "404 BUDGET_NOT_FOUND",
        "404 NOT_FOUND",
        "404 NOT_FOUND",
      ]);
      for (const path of ["/budgets", "/api-keys", "/audit/logs"]) {
        const { json } = await admin("GET", `${path}?tenant_id=stranger`);
        expect(Object.values(json)).toEqual([[], false]);
        expect(codeOf(await admin("GET", `${path}?tenant_id=No`))).toBe("400 INVALID_REQUEST");
      }
      const tables = "SELECT name FROM sqlite_master WHERE name NOT LIKE '\\_cf%' ESCAPE '\\'";
      if (front.rows !== undefined) expect(await front.rows("stranger", tables)).toEqual([]);
    });
  });
}
