// What the front does when the deployment forgot a secret, and how a rotated one is honoured.

import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import type { Env } from "../../worker/env.ts";
import { createApp } from "../../worker/http/app.ts";

const app = createApp();

async function ask(bindings: Partial<Env>, path: string, headers: Record<string, string>, body?: unknown) {
  const init = {
    method: body === undefined ? "GET" : "POST",
    headers: { ...headers, "content-type": "application/json" },
  };
  const request = new Request(`https://purser.test${path}`, {
    ...init,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const response = await app.fetch(request, { TENANT_BUDGET: env.TENANT_BUDGET, ...bindings });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

const both = { PURSER_ADMIN_KEY: env.PURSER_ADMIN_KEY, PURSER_HASH_SECRET: env.PURSER_HASH_SECRET };
const ADMIN = { "x-admin-api-key": env.PURSER_ADMIN_KEY };

describe("a missing secret is named, and health answers without any", () => {
  test("PURSER_HASH_SECRET", async () => {
    const answer = await ask({}, "/v1/balances?tenant=acme", { "x-cycles-api-key": "any" });
    expect(answer).toMatchObject({
      status: 500,
      body: { error: "INTERNAL_ERROR", message: expect.stringContaining("PURSER_HASH_SECRET") },
    });
  });

  test("PURSER_ADMIN_KEY", async () => {
    const answer = await ask({ ...both, PURSER_ADMIN_KEY: "" }, "/v1/admin/tenants", ADMIN, {
      tenant_id: "abc",
      name: "x",
    });
    expect(answer).toMatchObject({
      status: 500,
      body: { message: expect.stringContaining("PURSER_ADMIN_KEY") },
    });
  });

  test("health", async () => {
    expect((await ask({}, "/healthz", {})).status).toBe(200);
  });
});

test("a key made before the secret was rotated works as long as the previous secret is there", async () => {
  await ask(both, "/v1/admin/tenants", ADMIN, { tenant_id: "rotated", name: "x" });
  const made = await ask(both, "/v1/admin/api-keys", ADMIN, { tenant_id: "rotated", name: "x" });
  const key = { "x-cycles-api-key": String(made.body.key_secret) };
  const statusWith = async (bindings: Partial<Env>) =>
    (await ask(bindings, "/v1/balances?tenant=rotated", key)).status;
  const next = { ...both, PURSER_HASH_SECRET: "the-next-secret" };
  expect(await statusWith(both)).toBe(200);
  expect(await statusWith({ ...next, PURSER_HASH_SECRET_PREVIOUS: env.PURSER_HASH_SECRET })).toBe(200);
  expect(await statusWith(next)).toBe(401);
});
