// HTTP itself: the closed error body on every fault, bodies and their limits, correlation, health, and the first steps of an
// operator. Called by http-suite.ts.

import { describe, expect, test } from "vitest";
import { type Caller, type Front, faultOf, type Known, reserveBody } from "./front.ts";

const JSON_TYPE = { "content-type": "application/json" };

export function wireSuite(front: Front, { ADMIN, send, post, get }: Caller, keys: Known): void {
  describe("faults of HTTP itself have the same body", () => {
    test.each([
      ["GET", "/nowhere", "404 NOT_FOUND"],
      ["GET", "/", "404 NOT_FOUND"],
      ["DELETE", "/v1/reservations", "405 INVALID_REQUEST The method must be POST, GET"],
      ["POST", "/v1/balances", "405 INVALID_REQUEST The method must be GET"],
      ["PUT", "/v1/reservations/x/commit", "405 INVALID_REQUEST"],
      ["POST", "/healthz", "405 INVALID_REQUEST"],
    ])("%s %s", async (method, path, fault) => {
      expect(faultOf(await send(method, path, keys.acme))).toContain(fault);
    });

    test.each([
      ["no JSON", {}, "{", "400 INVALID_REQUEST The body is not acceptable JSON"],
      ["an empty body", {}, "", "400 INVALID_REQUEST"],
      ["a list", {}, "[]", "400 INVALID_REQUEST"],
      [
        "deep nesting",
        {},
        `{"metadata":${"[".repeat(10_000)}${"]".repeat(10_000)}}`,
        "400 INVALID_REQUEST The body is not acceptable JSON: nested",
      ],
      ["__proto__", {}, '{"__proto__":{"x":1}}', "400 INVALID_REQUEST"],
      ["a lone surrogate", {}, '{"idempotency_key":"\\ud800"}', "400 INVALID_REQUEST"],
      [
        "another media type",
        { "content-type": "text/plain" },
        "{}",
        "415 INVALID_REQUEST content-type must be application/json",
      ],
      [
        "a compressed body",
        { "content-encoding": "gzip" },
        "{}",
        "415 INVALID_REQUEST content-encoding must be identity",
      ],
      ["a body of 64 KiB and one", {}, " ".repeat(64 * 1024 + 1), "413 INVALID_REQUEST"],
      [
        "another key in the header",
        { "x-idempotency-key": "other" },
        '{"idempotency_key":"k"}',
        "400 INVALID_REQUEST X-Idempotency-Key must equal",
      ],
    ])("%s", async (_, headers, body, fault) => {
      expect(faultOf(await post("/v1/reservations", { ...keys.acme, ...headers }, body))).toContain(fault);
    });

    test("a body of exactly 64 KiB is read, a longer one of unknown length is not", async () => {
      const body = reserveBody("acme", "padded");
      const padded = body + " ".repeat(64 * 1024 - body.length);
      expect((await post("/v1/reservations", keys.acme, padded)).status).toBe(200);
      let chunks = 0;
      const long = new ReadableStream<Uint8Array>({
        // One byte too many, and that the last one: nobody hangs up while the rest is still on its way.
        pull: (controller) => {
          chunks += 1;
          controller.enqueue(new Uint8Array(chunks > 4 ? 1 : 16 * 1024).fill(32));
          if (chunks > 4) controller.close();
        },
      });
      const headers = { ...JSON_TYPE, ...keys.acme };
      const answer = await front.send("/v1/reservations", { method: "POST", headers, body: long });
      expect(answer.status).toBe(413);
    });

    test("invalid UTF-8 is refused", async () => {
      const response = await front.send("/v1/reservations", {
        method: "POST",
        headers: { ...JSON_TYPE, ...keys.acme },
        body: Uint8Array.of(0x22, 0xff, 0x22),
      });
      expect([response.status, ((await response.json()) as { message: string }).message]).toEqual([
        400,
        "The body must be valid UTF-8",
      ]);
    });
  });

  test("a quoted path or value is never cut inside a character", async () => {
    const purse = "\u{1f45b}";
    for (const before of ["", "a"]) {
      const path = `/${before}${encodeURIComponent(purse.repeat(300))}`;
      const field = reserveBody("acme", "k").replace('"TOKENS"', JSON.stringify(before + purse.repeat(300)));
      for (const answer of [await get(path, {}), await post("/v1/reservations", keys.acme, field)]) {
        const fault = faultOf(answer);
        expect(fault).toContain(`${purse}…`);
        // Half a pair would have become U+FFFD on its way.
        expect(fault).not.toContain("\ufffd");
      }
    }
  });

  describe("correlation", () => {
    const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
    const OTHER = "0af7651916cd43dd8448eb211c80319c";
    test.each([
      [
        "a traceparent",
        { traceparent: `00-${TRACE}-00f067aa0ba902b7-01`, "x-cycles-trace-id": OTHER },
        TRACE,
      ],
      ["the own header", { "x-cycles-trace-id": OTHER }, OTHER],
      [
        "a traceparent of zeros",
        { traceparent: `00-${"0".repeat(32)}-00f067aa0ba902b7-01`, "x-cycles-trace-id": OTHER },
        OTHER,
      ],
      [
        "a traceparent with a span of zeros",
        { traceparent: `00-${TRACE}-${"0".repeat(16)}-01`, "x-cycles-trace-id": OTHER },
        OTHER,
      ],
      [
        "another version",
        { traceparent: `01-${TRACE}-00f067aa0ba902b7-01`, "x-cycles-trace-id": OTHER },
        OTHER,
      ],
      ["upper case", { "x-cycles-trace-id": OTHER.toUpperCase() }, undefined],
      ["nothing", {}, undefined],
    ])("%s", async (_, headers, expected) => {
      for (const path of ["/v1/balances?tenant=acme", "/nowhere", "/healthz"]) {
        const answer = await get(path, { ...keys.acme, ...headers });
        const trace = answer.headers.get("x-cycles-trace-id");
        if (expected === undefined) expect(trace).toMatch(/^(?!0{32})[0-9a-f]{32}$/);
        else expect(trace).toBe(expected);
        expect(answer.headers.get("x-request-id")).toMatch(/^req_[0-9a-f]{32}$/);
      }
    });
  });

  test.each(["/healthz", "/actuator/health", "/actuator/health/readiness"])(
    "%s answers without a key",
    async (path) => {
      const answer = await get(path, {});
      expect([answer.status, answer.json]).toEqual([200, { status: "UP" }]);
    },
  );

  describe("the operator's routes", () => {
    test("a tenant is made once and found again", async () => {
      const request = {
        tenant_id: "made-once",
        name: "Made Once",
        max_reservation_ttl_ms: 5000,
        metadata: { plan: "pro" },
      };
      const first = await post("/v1/admin/tenants", ADMIN, request);
      expect([first.status, first.json]).toEqual([
        201,
        {
          tenant_id: "made-once",
          name: "Made Once",
          status: "ACTIVE",
          default_reservation_ttl_ms: 5000,
          max_reservation_ttl_ms: 5000,
          max_reservation_extensions: 10,
          reservation_expiry_policy: "AUTO_RELEASE",
          metadata: { plan: "pro" },
          created_at: expect.stringMatching(/^\d{4}-.*Z$/),
          updated_at: expect.any(String),
        },
      ]);
      const second = await post("/v1/admin/tenants", ADMIN, { ...request, name: "Other" });
      expect([second.status, second.text]).toEqual([200, first.text]);
    });

    test.each([
      ["/v1/admin/tenants", { tenant_id: "A", name: "x" }, "400 INVALID_REQUEST tenant_id must be 3 to 64"],
      ["/v1/admin/tenants", { tenant_id: "abc" }, "400 INVALID_REQUEST name is required"],
      [
        "/v1/admin/tenants",
        { tenant_id: "abc", name: "x", reservation_expiry_policy: "MANUAL_CLEANUP" },
        "MANUAL_CLEANUP is not offered",
      ],
      [
        "/v1/admin/budgets",
        { scope: "tenant:acme", unit: "TOKENS", allocated: { unit: "TOKENS", amount: 1 } },
        "400 INVALID_REQUEST tenant_id must",
      ],
      [
        "/v1/admin/budgets",
        { tenant_id: "acme", scope: "tenant:acme", unit: "TOKENS", allocated: { unit: "TOKENS", amount: 1 } },
        "409 DUPLICATE_RESOURCE",
      ],
      [
        "/v1/admin/budgets",
        {
          tenant_id: "nobody",
          scope: "tenant:nobody",
          unit: "TOKENS",
          allocated: { unit: "TOKENS", amount: 1 },
        },
        "400 TENANT_NOT_FOUND",
      ],
      ["/v1/admin/budgets/fund?scope=tenant:acme&unit=TOKENS", {}, "400 INVALID_REQUEST tenant_id must"],
      [
        "/v1/admin/budgets/fund?tenant_id=acme&scope=tenant:acme&unit=TOKENS",
        { operation: "CREDIT", amount: { unit: "TOKENS", amount: 1 } },
        "idempotency_key is required",
      ],
      [
        "/v1/admin/budgets/fund?tenant_id=acme&scope=tenant:acme/agent:none&unit=TOKENS",
        { operation: "CREDIT", amount: { unit: "TOKENS", amount: 1 }, idempotency_key: "f" },
        "404 BUDGET_NOT_FOUND",
      ],
      [
        "/v1/admin/api-keys",
        { tenant_id: "acme", name: "x", permissions: ["everything"] },
        "400 INVALID_REQUEST permissions.0 must be a known permission",
      ],
    ])("%s %j", async (path, body, fault) => {
      expect(faultOf(await post(path, ADMIN, body))).toContain(fault);
    });

    test("a key is shown once, with what it may do", async () => {
      const answer = await post("/v1/admin/api-keys", ADMIN, {
        tenant_id: "acme",
        name: "shown",
        permissions: ["balances:read"],
      });
      expect(answer.json).toEqual({
        key_id: expect.stringMatching(/^acme_[0-9a-f]{12}$/),
        key_secret: expect.stringMatching(/^cyc_live_acme_[0-9a-f]{12}_[0-9a-f]{64}$/),
        key_prefix: `cyc_live_${answer.json.key_id}`,
        tenant_id: "acme",
        permissions: ["balances:read"],
        created_at: expect.any(String),
        expires_at: expect.any(String),
      });
      expect(Date.parse(answer.json.expires_at) - Date.parse(answer.json.created_at)).toBe(90 * 86_400_000);
    });
  });
}
