// What tells a client to come back later: 429 at a tenant's limits, 503 when its object cannot take more, and the headers
// that go with them.

import { runInDurableObject } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { expect, test } from "vitest";
import { createApp } from "../../worker/http/app.ts";
import { tenantWith } from "./support.ts";

const ORIGIN = "https://purser.test";

function request(path: string, headers: Record<string, string>, body: unknown): Request {
  return new Request(ORIGIN + path, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
}

test("429 says after how many seconds and at which second to come back", async () => {
  const { tenant } = await tenantWith(1);
  // As many keys as one tenant may have, made by the one who can: a limit is real only where it is reached.
  await runInDurableObject(env.TENANT_BUDGET.getByName(tenant), (_budget, state) => {
    state.storage.sql.exec(
      `WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 9999)
       INSERT INTO api_keys (key_id, digest, prefix, name, permissions, created_at_ms, expires_at_ms)
       SELECT printf('%012d', n), 'd', 'p', 'n', '[]', 1, 2 FROM numbers`,
    );
  });
  const admin = { "x-admin-api-key": env.PURSER_ADMIN_KEY };
  const make = () =>
    exports.default.fetch(request("/v1/admin/api-keys", admin, { tenant_id: tenant, name: "k" }));
  expect((await make()).status).toBe(201);
  const beforeMs = Date.now();
  const refused = await make();
  expect([refused.status, await refused.json()]).toEqual([
    429,
    expect.objectContaining({ error: "LIMIT_EXCEEDED", message: "At most 10000 API keys per tenant" }),
  ]);
  expect(refused.headers.get("retry-after")).toBe("1");
  const reset = refused.headers.get("x-ratelimit-reset") ?? "";
  expect(reset).toMatch(/^\d+$/);
  expect(Number(reset)).toBeGreaterThanOrEqual(Math.ceil(beforeMs / 1000) + 1);
  expect(Number(reset)).toBeLessThanOrEqual(Math.ceil(Date.now() / 1000) + 1);
});

test.each([
  ["an overloaded object", { overloaded: true }, 503, "The tenant's object is overloaded, retry later", "1"],
  ["an object that broke", {}, 500, "Internal error", null],
  ["an object that was reset", { retryable: true }, 500, "Internal error", null],
])(
  "%s: its own status, the closed body, and no tenant named",
  async (_, marks, status, message, retryAfter) => {
    const { tenant } = await tenantWith(1);
    const admin = { "x-admin-api-key": env.PURSER_ADMIN_KEY };
    const made = await exports.default.fetch(
      request("/v1/admin/api-keys", admin, { tenant_id: tenant, name: "k" }),
    );
    const { key_secret: key } = (await made.json()) as { key_secret: string };
    // The platform alone can overload an object, so here the way to it fails as the platform makes it fail.
    const unreachable = {
      getByName: () => ({ reserve: () => Promise.reject(Object.assign(new Error("broken"), marks)) }),
    };
    const answer = await createApp().fetch(request("/v1/reservations", { "x-cycles-api-key": key }, {}), {
      ...env,
      TENANT_BUDGET: unreachable,
    });
    expect(answer.status).toBe(status);
    expect(await answer.json()).toEqual({
      error: "INTERNAL_ERROR",
      message,
      request_id: answer.headers.get("x-request-id"),
      trace_id: answer.headers.get("x-cycles-trace-id"),
    });
    expect(answer.headers.get("retry-after")).toBe(retryAfter);
    expect(answer.headers.has("x-ratelimit-reset")).toBe(false);
    expect(answer.headers.has("x-cycles-tenant")).toBe(false);
  },
);
