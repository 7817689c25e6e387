// Who may do what over HTTP: keys and what Purser adds to them, permissions, scope filters, tenants that never see each
// other, and strangers for whom no object is woken. Called by http-suite.ts.

import { describe, expect, test } from "vitest";
import { type Caller, type Fields, type Front, faultOf, type Known, reserveBody } from "./front.ts";

export function accessSuite(front: Front, caller: Caller, keys: Known): void {
  const { ADMIN, send, post, get, makeKey, makeTenant } = caller;

  describe("what Purser adds to a key", () => {
    const settingsOf = (key: Fields) =>
      `/v1/x-purser/api-keys/${(key["x-cycles-api-key"] ?? "").split("_").slice(2, 4).join("_")}`;
    const patch = (path: string, headers: Fields, body: unknown) => send("PATCH", path, headers, body);

    test("is read and changed by the operator alone, and holds from the next request on", async () => {
      const key = await makeKey("acme");
      const path = settingsOf(key);
      const keyId = path.split("/")[4];
      expect((await get(path, ADMIN)).json).toEqual({
        key_id: keyId,
        tenant_id: "acme",
        remaining_ttl_ms: true,
        may_issue_tokens: false,
      });
      const settings = { remaining_ttl_ms: false, allowed_origins: ["https://app.example"] };
      const changed = await patch(path, ADMIN, settings);
      expect([changed.status, changed.json]).toEqual([
        200,
        { key_id: keyId, tenant_id: "acme", may_issue_tokens: false, ...settings },
      ]);

      const page = { ...key, origin: "https://app.example" };
      const reserved = await post("/v1/reservations", page, reserveBody("acme", "from a page"));
      expect(reserved.status).toBe(200);
      expect(reserved.json).not.toHaveProperty("remaining_ttl_ms");
      for (const headers of [key, { ...key, origin: "https://evil.example" }]) {
        const refused = await get("/v1/balances?tenant=acme", headers);
        expect(faultOf(refused)).toMatch(/^403 FORBIDDEN The API key is/);
        expect(refused.headers.get("x-cycles-tenant")).toBe("acme");
      }
      expect((await patch(path, ADMIN, { allowed_origins: [] })).json).toEqual({
        key_id: keyId,
        tenant_id: "acme",
        remaining_ttl_ms: false,
        may_issue_tokens: false,
      });
      expect((await get("/v1/balances?tenant=acme", key)).status).toBe(200);
    });

    test("is closed to everybody else, and says what is wrong", async () => {
      const key = await makeKey("acme");
      const path = settingsOf(key);
      for (const headers of [{}, key]) {
        expect(faultOf(await get(path, headers))).toBe("401 UNAUTHORIZED Missing admin API key");
        expect(faultOf(await patch(path, headers, {}))).toBe("401 UNAUTHORIZED Missing admin API key");
      }
      expect(faultOf(await patch(path, ADMIN, { allowed_origins: ["https://app.example/path"] }))).toMatch(
        /^400 INVALID_REQUEST allowed_origins.0 must be an origin/,
      );
      for (const id of ["acme_ffffffffffff", "ffffffffffff"]) {
        expect(faultOf(await get(`/v1/x-purser/api-keys/${id}`, ADMIN))).toMatch(/^404 NOT_FOUND/);
      }
    });

    test("a tenant's counters stand beside it", async () => {
      await makeTenant("counted");
      const answer = await get("/v1/x-purser/counters?tenant_id=counted", ADMIN);
      expect(answer.json).toEqual({ figure_faults: 0, commits_refused: 0, events_refused: 0 });
      expect(faultOf(await get("/v1/x-purser/counters?tenant_id=counted", keys.acme))).toMatch(/^401/);
    });
  });

  describe("tenants never see each other", () => {
    test("a foreign reservation is forbidden, one never issued unknown, and nothing moved", async () => {
      const mine = await post("/v1/reservations", keys.acme, reserveBody("acme", "mine"));
      const path = `/v1/reservations/${mine.json.reservation_id}`;
      const commit = { idempotency_key: "c", actual: { unit: "TOKENS", amount: 1 } };
      expect(faultOf(await get(path, keys.other))).toMatch(/^403 FORBIDDEN/);
      expect(faultOf(await post(`${path}/commit`, keys.other, commit))).toMatch(/^403 FORBIDDEN/);
      expect(faultOf(await post(`${path}/release`, keys.other, { idempotency_key: "r" }))).toMatch(
        /^403 FORBIDDEN/,
      );
      expect(
        faultOf(await post(`${path}/extend`, keys.other, { idempotency_key: "e", extend_by_ms: 1 })),
      ).toMatch(/^403 FORBIDDEN/);
      expect(faultOf(await get(`${path.slice(0, -1)}~`, keys.other))).toMatch(
        /^404 NOT_FOUND Resource not found/,
      );
      expect(faultOf(await get(`/v1/reservations/${"a".repeat(129)}`, keys.other))).toMatch(
        /^400 INVALID_REQUEST/,
      );
      expect((await get(path, keys.acme)).json.status).toBe("ACTIVE");
    });

    test("an operator finds a reservation of any tenant by its id alone, and wakes nothing with another", async () => {
      const path = async (tenant: string, key: Fields) =>
        `/v1/reservations/${(await post("/v1/reservations", key, reserveBody(tenant, "for the operator"))).json.reservation_id}`;
      for (const [tenant, key] of [
        ["acme", keys.acme],
        ["other", keys.other],
      ] as const) {
        const answer = await get(await path(tenant, key), ADMIN);
        expect([answer.status, answer.json.subject]).toEqual([200, { tenant }]);
        expect(answer.json).toEqual((await get(await path(tenant, key), key)).json);
        expect(answer.headers.get("x-cycles-tenant")).toBe(tenant);
      }
      const mine = await path("acme", keys.acme);
      const before = await front.objects();
      expect(faultOf(await get(`${mine.slice(0, -1)}~`, ADMIN))).toMatch(/^404 NOT_FOUND Resource not found/);
      expect(faultOf(await get(`/v1/reservations/${"a".repeat(129)}`, ADMIN))).toMatch(
        /^400 INVALID_REQUEST/,
      );
      // As long as the right one, and different at its end alone.
      const nearly = `${front.adminKey.slice(0, -1)}${front.adminKey.endsWith("x") ? "y" : "x"}`;
      const wrong = [{ "x-admin-api-key": "wrong" }, { "x-admin-api-key": nearly }];
      for (const headers of [...wrong, { ...keys.acme, "x-admin-api-key": "wrong" }]) {
        const refused = await get(mine, headers);
        expect(faultOf(refused)).toBe("401 UNAUTHORIZED INVALID_KEY");
        expect(refused.headers.has("x-cycles-tenant")).toBe(false);
      }
      // Settling and extending take a tenant's key only.
      for (const verb of ["commit", "extend"]) {
        expect(faultOf(await post(`${mine}/${verb}`, ADMIN, { idempotency_key: "x" }))).toBe(
          "401 UNAUTHORIZED Missing API key",
        );
      }
      expect(await front.objects()).toBe(before);
    });

    test("nor each other's balances, subjects or budgets", async () => {
      expect(faultOf(await get("/v1/balances?tenant=acme", keys.other))).toMatch(/^403 FORBIDDEN/);
      const own = await get("/v1/balances?tenant=other", keys.other);
      expect(own.json.balances.map((row: { scope_path: string }) => row.scope_path)).toEqual([
        "tenant:other",
      ]);
      expect(own.headers.get("x-cycles-tenant")).toBe("other");
      expect(faultOf(await post("/v1/reservations", keys.other, reserveBody("acme", "k")))).toMatch(
        /^403 FORBIDDEN/,
      );
      const foreign = {
        scope: "tenant:acme/agent:x",
        unit: "TOKENS",
        allocated: { unit: "TOKENS", amount: 1 },
      };
      expect(faultOf(await post("/v1/admin/budgets", keys.other, foreign))).toMatch(/^403 FORBIDDEN/);
    });
  });

  describe("keys", () => {
    test.each([
      ["none", {}, "401 UNAUTHORIZED Missing API key"],
      ["an empty one", { "x-cycles-api-key": "" }, "401 UNAUTHORIZED Missing API key"],
      ["noise", { "x-cycles-api-key": "abc" }, "401 UNAUTHORIZED INVALID_KEY"],
      [
        "a forged one",
        { "x-cycles-api-key": `cyc_live_ghost_${"0".repeat(12)}_${"0".repeat(64)}` },
        "401 UNAUTHORIZED INVALID_KEY",
      ],
      ["the operator's", { "x-cycles-api-key": front.adminKey }, "401 UNAUTHORIZED INVALID_KEY"],
    ])("%s: 401, no tenant header, and no object is woken", async (_, headers, fault) => {
      const before = await front.objects();
      for (const answer of [
        await get("/v1/balances?tenant=ghost", headers),
        await post("/v1/reservations", headers, reserveBody("ghost", "k")),
        await post("/v1/reservations", headers, "not even JSON"),
        await get("/v1/reservations/x", headers),
      ]) {
        expect(faultOf(answer)).toBe(fault);
        expect(answer.headers.has("x-cycles-tenant")).toBe(false);
      }
      expect(await front.objects()).toBe(before);
    });

    test("an object is made where an operator asks for one, and is counted", async () => {
      const before = await front.objects();
      expect((await get("/v1/admin/tenants/asked-for", ADMIN)).status).toBe(404);
      expect(await front.objects()).toBe(before + 1);
    });

    test("the operator's plane is closed to strangers and wakes nothing for them", async () => {
      const before = await front.objects();
      const body = { tenant_id: "stranger", name: "x" };
      for (const path of [
        "/v1/admin/tenants",
        "/v1/admin/budgets",
        "/v1/admin/budgets/fund",
        "/v1/admin/api-keys",
      ]) {
        expect(faultOf(await post(path, {}, body))).toBe("401 UNAUTHORIZED Missing admin API key");
        expect(faultOf(await post(path, { "x-admin-api-key": "wrong" }, body))).toBe(
          "401 UNAUTHORIZED INVALID_KEY",
        );
      }
      expect(await front.objects()).toBe(before);
    });

    test("a permission that is missing is 403, and admin:write opens budgets but no reservations", async () => {
      const reader = await makeKey("acme", { permissions: ["balances:read"] });
      expect((await get("/v1/balances?tenant=acme", reader)).status).toBe(200);
      expect(faultOf(await post("/v1/reservations", reader, reserveBody("acme", "p")))).toMatch(
        /^403 FORBIDDEN .*reservations:create/,
      );
      const writer = await makeKey("acme", { permissions: ["admin:write"] });
      const budget = {
        scope: "tenant:acme/agent:made",
        unit: "TOKENS",
        allocated: { unit: "TOKENS", amount: 1 },
      };
      expect((await post("/v1/admin/budgets", writer, budget)).status).toBe(201);
      expect(faultOf(await post("/v1/admin/budgets", reader, budget))).toMatch(
        /^403 INSUFFICIENT_PERMISSIONS/,
      );
      expect(faultOf(await post("/v1/reservations", writer, reserveBody("acme", "p")))).toMatch(
        /^403 FORBIDDEN/,
      );
    });

    test("a scope filter keeps a key to its scopes", async () => {
      const narrow = await makeKey("acme", { scope_filter: ["agent:mine"] });
      const subject = (agent: string) =>
        reserveBody("acme", `filter ${agent}`).replace(
          '"tenant":"acme"',
          `"tenant":"acme","agent":"${agent}"`,
        );
      expect(faultOf(await post("/v1/reservations", narrow, subject("yours")))).toMatch(/^403 FORBIDDEN/);
      const reserved = await post("/v1/reservations", narrow, subject("Mine"));
      expect(reserved.status).toBe(200);
      expect((await get("/v1/balances?tenant=acme", narrow)).json.balances).toEqual([]);
      const wide = await post("/v1/reservations", keys.acme, reserveBody("acme", "wide"));
      expect(faultOf(await get(`/v1/reservations/${wide.json.reservation_id}`, narrow))).toMatch(
        /^403 FORBIDDEN/,
      );
    });

    test.runIf(front.rows !== undefined).each([
      ["revoked", "revoked_at_ms = 1", "KEY_REVOKED"],
      ["expired", "expires_at_ms = 1", "KEY_EXPIRED"],
      ["another digest", "digest = replace(digest, substr(digest, 1, 1), 'x')", "INVALID_KEY"],
      ["gone", "key_id = 'ffffffffffff'", "KEY_NOT_FOUND"],
    ])(
      "a key that is %s: 401 with the reason, before the request is even judged",
      async (_, change, reason) => {
        const key = await makeKey("acme");
        const keyId = (key["x-cycles-api-key"] ?? "").split("_")[3];
        await front.rows?.("acme", `UPDATE api_keys SET ${change} WHERE key_id = ?`, keyId ?? "");
        const typed = { ...key, "content-type": "text/plain" };
        for (const answer of [
          await get("/v1/balances", key),
          await post("/v1/reservations", key, "{}"),
          await post("/v1/reservations", key, "{"),
          await post("/v1/reservations", typed, "{}"),
          await post("/v1/reservations", { ...key, "x-idempotency-key": "x" }, '{"idempotency_key":"y"}'),
          await post("/v1/reservations/x/commit", key, "[".repeat(100)),
          await post("/v1/reservations/x/extend", key, " ".repeat(64 * 1024 + 1)),
          await post("/v1/admin/budgets", key, "{"),
        ]) {
          expect(faultOf(answer)).toBe(`401 UNAUTHORIZED ${reason}`);
          expect(answer.headers.has("x-cycles-tenant")).toBe(false);
        }
      },
    );

    test("are not made for the past, nor for a tenant that isn't there", async () => {
      const past = { tenant_id: "acme", name: "x", expires_at: "2020-01-01T00:00:00Z" };
      expect(faultOf(await post("/v1/admin/api-keys", ADMIN, past))).toMatch(
        /^400 INVALID_REQUEST expires_at must be in the future/,
      );
      const nobody = { tenant_id: "nobody-there", name: "x" };
      expect(faultOf(await post("/v1/admin/api-keys", ADMIN, nobody))).toMatch(/^400 TENANT_NOT_FOUND/);
    });
  });
}
