// The runtime plane on the wire: the shapes of every operation's answers, replays, and exact integers in the text itself.
// Called by http-suite.ts.

import { describe, expect, test } from "vitest";
import { type Caller, type Front, faultOf, type Known, reserveBody } from "./front.ts";

export function runtimeSuite(front: Front, caller: Caller, keys: Known): void {
  const { ADMIN, post, get, makeKey, makeTenant } = caller;

  describe("a reservation's life over HTTP", () => {
    test("reserve, look, commit, balances", async () => {
      const key = await makeTenant("life");
      const reserved = await post("/v1/reservations", key, reserveBody("life", "k", 300));
      expect(reserved.status).toBe(200);
      expect(reserved.json).toEqual({
        decision: "ALLOW",
        reservation_id: expect.any(String),
        affected_scopes: ["tenant:life"],
        expires_at_ms: expect.any(Number),
        remaining_ttl_ms: 60_000,
        scope_path: "tenant:life",
        reserved: { unit: "TOKENS", amount: 300 },
        balances: [
          {
            scope: "tenant:life",
            scope_path: "tenant:life",
            remaining: { unit: "TOKENS", amount: 700 },
            reserved: { unit: "TOKENS", amount: 300 },
            spent: { unit: "TOKENS", amount: 0 },
            allocated: { unit: "TOKENS", amount: 1000 },
          },
        ],
      });
      const path = `/v1/reservations/${reserved.json.reservation_id}`;
      expect((await get(path, key)).json).toEqual({
        reservation_id: reserved.json.reservation_id,
        status: "ACTIVE",
        idempotency_key: "k",
        subject: { tenant: "life" },
        action: { kind: "k", name: "n" },
        reserved: { unit: "TOKENS", amount: 300 },
        created_at_ms: expect.any(Number),
        expires_at_ms: reserved.json.expires_at_ms,
        scope_path: "tenant:life",
        affected_scopes: ["tenant:life"],
      });
      const extended = await post(`${path}/extend`, key, { idempotency_key: "e", extend_by_ms: 1000 });
      expect(extended.json).toMatchObject({
        status: "ACTIVE",
        expires_at_ms: reserved.json.expires_at_ms + 1000,
      });
      const committed = await post(`${path}/commit`, key, {
        idempotency_key: "c",
        actual: { unit: "TOKENS", amount: 120 },
        metrics: { tokens_input: 100, custom: { a: 1 } },
      });
      expect(committed.json).toMatchObject({
        status: "COMMITTED",
        charged: { amount: 120 },
        released: { amount: 180 },
      });
      expect((await get("/v1/balances?tenant=life&include_children=true&unknown=1", key)).json).toEqual({
        balances: [
          {
            scope: "tenant:life",
            scope_path: "tenant:life",
            remaining: { unit: "TOKENS", amount: 880 },
            reserved: { unit: "TOKENS", amount: 0 },
            spent: { unit: "TOKENS", amount: 120 },
            allocated: { unit: "TOKENS", amount: 1000 },
          },
        ],
        has_more: false,
      });
    });

    test("a replay is the same text, byte for byte, but for the time that remains", async () => {
      const key = await makeTenant("replay");
      const first = await post("/v1/reservations", key, reserveBody("replay", "k"));
      const again = await post("/v1/reservations", key, reserveBody("replay", "k"));
      const withoutTime = (text: string) => text.replace(/"remaining_ttl_ms":\d+/, "");
      expect(withoutTime(again.text)).toBe(withoutTime(first.text));
      expect(again.text).toMatch(/"remaining_ttl_ms":\d+/);

      const commit = `/v1/reservations/${first.json.reservation_id}/commit`;
      const request = { idempotency_key: "c", actual: { unit: "TOKENS", amount: 7 } };
      const committed = await post(commit, key, request);
      expect((await post(commit, key, request)).text).toBe(committed.text);
      const fund = "/v1/admin/budgets/fund?tenant_id=replay&scope=tenant:replay&unit=TOKENS";
      const credit = { operation: "CREDIT", amount: { unit: "TOKENS", amount: 5 }, idempotency_key: "f" };
      const funded = await post(fund, ADMIN, credit);
      expect(funded.json).toMatchObject({
        previous_allocated: { amount: 1000 },
        new_allocated: { amount: 1005 },
      });
      expect((await post(fund, ADMIN, credit)).text).toBe(funded.text);
    });

    test("release gives back", async () => {
      const reserved = await post("/v1/reservations", keys.acme, reserveBody("acme", "to release"));
      const path = `/v1/reservations/${reserved.json.reservation_id}/release`;
      expect((await post(path, keys.acme, { idempotency_key: "r", reason: "x" })).json).toMatchObject({
        status: "RELEASED",
        released: { unit: "TOKENS", amount: 10 },
      });
    });
  });

  describe("decide and events over HTTP", () => {
    const eventBody = (tenant: string, key: string, amount: number, rest = "") =>
      reserveBody(tenant, key, amount, rest).replace('"estimate"', '"actual"');

    test("a decision is 200 whether it allows or denies, and is replayed byte for byte", async () => {
      const key = await makeTenant("decides");
      const allowed = await post("/v1/decide", key, reserveBody("decides", "a", 1000));
      expect([allowed.status, allowed.json]).toEqual([
        200,
        { decision: "ALLOW", affected_scopes: ["tenant:decides"] },
      ]);
      const denied = await post("/v1/decide", key, reserveBody("decides", "d", 1001));
      expect([denied.status, denied.json]).toEqual([
        200,
        { decision: "DENY", reason_code: "BUDGET_EXCEEDED", affected_scopes: ["tenant:decides"] },
      ]);
      expect((await post("/v1/decide", key, reserveBody("decides", "d", 1001))).text).toBe(denied.text);
      expect(faultOf(await post("/v1/decide", key, reserveBody("decides", "d", 1)))).toMatch(
        /^409 IDEMPOTENCY_MISMATCH/,
      );
    });

    test("an event is 201, also when replayed, tells a capped charge, and changes the balance once", async () => {
      const key = await makeTenant("spends");
      const first = await post("/v1/events", key, eventBody("spends", "e", 990));
      expect([first.status, first.json]).toEqual([
        201,
        {
          status: "APPLIED",
          event_id: expect.any(String),
          balances: [expect.objectContaining({ remaining: { unit: "TOKENS", amount: 10 } })],
        },
      ]);
      const again = await post("/v1/events", key, eventBody("spends", "e", 990));
      expect([again.status, again.text]).toEqual([201, first.text]);
      const capped = await post("/v1/events", key, eventBody("spends", "capped", 20));
      expect(capped.json).toMatchObject({ charged: { unit: "TOKENS", amount: 10 } });
      const refused = eventBody("spends", "refused", 1, ',"overage_policy":"REJECT"');
      expect(faultOf(await post("/v1/events", key, refused))).toMatch(/^409 BUDGET_EXCEEDED/);
      const balances = await get("/v1/balances?tenant=spends", key);
      expect(balances.json.balances[0].spent.amount).toBe(1000);
    });

    test("each wants its permission", async () => {
      const reader = await makeKey("acme", { permissions: ["balances:read"] });
      expect(faultOf(await post("/v1/decide", reader, reserveBody("acme", "p")))).toMatch(
        /^403 FORBIDDEN .*reservations:create/,
      );
      expect(faultOf(await post("/v1/events", reader, eventBody("acme", "p", 1)))).toMatch(
        /^403 FORBIDDEN .*reservations:commit/,
      );
    });
  });

  describe("listing over HTTP", () => {
    test("pages by the key's own tenant, with or without naming it", async () => {
      const key = await makeTenant("lists");
      const ids: string[] = [];
      for (const name of ["a", "b", "c"]) {
        const body = reserveBody("lists", name, 1, `,"metadata":{"name":"${name}"}`);
        ids.push((await post("/v1/reservations", key, body)).json.reservation_id);
      }
      await post(`/v1/reservations/${ids[1]}/release`, key, { idempotency_key: "r" });
      const first = await get("/v1/reservations?sort_by=reservation_id&sort_dir=asc&limit=2&unknown=1", key);
      expect(first.json).toEqual({
        reservations: [expect.any(Object), expect.any(Object)],
        has_more: true,
        next_cursor: expect.stringMatching(/^[-\w]+$/),
      });
      const rest = await get(
        `/v1/reservations?tenant=lists&sort_by=reservation_id&sort_dir=asc&include=metadata&cursor=${first.json.next_cursor}`,
        key,
      );
      const rows = [...first.json.reservations, ...rest.json.reservations];
      expect(rows.map((row) => row.reservation_id)).toEqual([...ids].sort());
      expect(first.json.reservations[0]).not.toHaveProperty("metadata");
      expect(rest.json.reservations[0].metadata).toEqual({ name: expect.any(String) });
      expect(rest.headers.get("x-cycles-tenant")).toBe("lists");

      const released = await get(
        "/v1/reservations?status=RELEASED&finalized_from=&from=2020-01-01T00:00:00Z",
        key,
      );
      expect(released.json.reservations.map((row: { reservation_id: string }) => row.reservation_id)).toEqual(
        [ids[1]],
      );
      expect(faultOf(await get("/v1/reservations?tenant=other", key))).toMatch(/^403 FORBIDDEN/);
      expect(faultOf(await get("/v1/reservations?limit=0", key))).toMatch(/^400 INVALID_REQUEST limit/);
      const wrong = `/v1/reservations?cursor=${first.json.next_cursor}`;
      expect(faultOf(await get(wrong, key))).toMatch(/^400 INVALID_REQUEST cursor/);
    });

    test("an operator names the tenant, and finds nothing where there is none", async () => {
      for (const path of ["/v1/reservations", "/v1/reservations?tenant=", "/v1/reservations?status=ACTIVE"]) {
        expect(faultOf(await get(path, ADMIN))).toBe(
          "400 INVALID_REQUEST tenant query parameter is required when using admin key authentication",
        );
      }
      const reserved = await post("/v1/reservations", keys.acme, reserveBody("acme", "listed"));
      const found = await get("/v1/reservations?tenant=acme&idempotency_key=listed", ADMIN);
      expect(found.json.reservations).toMatchObject([{ reservation_id: reserved.json.reservation_id }]);
      expect(found.headers.get("x-cycles-tenant")).toBe("acme");
      for (const tenant of ["nobody-at-all", "Not%20A%20Tenant"]) {
        const none = await get(`/v1/reservations?tenant=${tenant}`, ADMIN);
        expect([none.status, none.json]).toEqual([200, { reservations: [], has_more: false }]);
        expect(none.headers.has("x-cycles-tenant")).toBe(false);
      }
      expect(faultOf(await get("/v1/reservations?tenant=acme", { "x-admin-api-key": "wrong" }))).toBe(
        "401 UNAUTHORIZED INVALID_KEY",
      );
    });

    test("a scope filter and a missing permission hold here too", async () => {
      const narrow = await makeKey("acme", { scope_filter: ["agent:lister"] });
      await post("/v1/reservations", keys.acme, reserveBody("acme", "not for the lister"));
      expect((await get("/v1/reservations", narrow)).json).toEqual({ reservations: [], has_more: false });
      const writer = await makeKey("acme", { permissions: ["reservations:create"] });
      expect(faultOf(await get("/v1/reservations", writer))).toMatch(/^403 FORBIDDEN .*reservations:list/);
    });
  });

  describe("introspection over HTTP", () => {
    test("tells a key what it may do, and the operator everything", async () => {
      const reader = await makeKey("acme", { permissions: ["reservations:list"], scope_filter: ["agent:*"] });
      const told = await get("/v1/auth/introspect", reader);
      expect(told.json).toMatchObject({
        authenticated: true,
        auth_type: "tenant",
        permissions: ["reservations:list"],
        tenant_id: "acme",
        scope_filter: ["agent:*"],
        capabilities: { view_reservations: true, manage_reservations: false, view_tenants: false },
      });
      const operator = await get("/v1/auth/introspect", { ...reader, ...ADMIN });
      expect(operator.json).toMatchObject({ auth_type: "admin", permissions: ["*"] });
      expect(operator.headers.has("x-cycles-tenant")).toBe(false);
      expect(faultOf(await get("/v1/auth/introspect", {}))).toBe("401 UNAUTHORIZED Missing API key");
      expect(faultOf(await get("/v1/auth/introspect", { "x-admin-api-key": "no" }))).toBe(
        "401 UNAUTHORIZED INVALID_KEY",
      );
    });
  });

  describe("int64 in the text itself", () => {
    const MAX = "9223372036854775807";

    test.runIf(front.int64)("2^63−1 goes in, through SQL and out unrounded", async () => {
      const key = await makeTenant("exact", MAX);
      const reserved = await post("/v1/reservations", key, reserveBody("exact", "k", "9007199254740993"));
      expect(reserved.text).toContain('"reserved":{"unit":"TOKENS","amount":9007199254740993}');
      expect(reserved.text).not.toContain('"balances"');
      const path = `/v1/reservations/${reserved.json.reservation_id}`;
      expect((await get(path, key)).text).toContain('"amount":9007199254740993}');
      const commit = await post(
        `${path}/commit`,
        key,
        `{"idempotency_key":"c","actual":{"unit":"TOKENS","amount":${MAX}}}`,
      );
      expect(commit.text).toContain(`"charged":{"unit":"TOKENS","amount":${MAX}}`);
      const balances = await get("/v1/balances?tenant=exact", key);
      expect(balances.text).toContain(`"spent":{"unit":"TOKENS","amount":${MAX}}`);
      expect(balances.text).toContain('"remaining":{"unit":"TOKENS","amount":0}');
    });

    test.each([
      "9223372036854775808",
      "99999999999999999999999999",
      "-1",
      "1.0",
      "1e3",
      "-0",
      "0.99999999999999999999",
      '"10"',
      "null",
      "true",
    ])("%s is refused with the field's path", async (text) => {
      const answer = await post("/v1/reservations", keys.acme, reserveBody("acme", "int64", text));
      expect(faultOf(answer)).toContain(
        "400 INVALID_REQUEST estimate.amount must be an integer from 0 to 9223372036854775807",
      );
      expect(answer.json.details).toEqual({ field: "estimate.amount" });
    });
  });
}
