// Which pages may read the answers: those of the origins that the deployment names, on every answer, errors included; a
// preflight asks nobody and wakes nobody.

import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import type { Env } from "../../worker/env.ts";
import { createApp } from "../../worker/http/app.ts";
import { corsOrigins } from "../../worker/http/cors.ts";

const APP = "https://app.example";
const OTHER = "https://other.example:8443";

/** No object can be reached: whatever is answered here, was answered without one. */
const unreachable = {
  getByName: (): never => {
    throw new Error("an object was woken");
  },
} as unknown as Env["TENANT_BUDGET"];

const bindings: Env = { ...env, TENANT_BUDGET: unreachable, PURSER_CORS_ORIGINS: `${APP}, ${OTHER}` };

async function ask(method: string, path: string, headers: Record<string, string>) {
  const request = new Request(`https://purser.test${path}`, { method, headers });
  const response = await createApp().fetch(request, bindings);
  return { status: response.status, headers: response.headers, text: await response.text() };
}

const preflight = (origin: string, path = "/v1/reservations") =>
  ask("OPTIONS", path, {
    origin,
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type,x-cycles-api-key",
  });

describe("a preflight", () => {
  test.each([APP, OTHER])("from %s is answered without a key", async (origin) => {
    const { status, headers, text } = await preflight(origin);
    expect([status, text]).toEqual([204, ""]);
    expect(headers.get("access-control-allow-origin")).toBe(origin);
    expect(headers.get("vary")).toBe("Origin");
    expect(headers.get("access-control-allow-methods")).toBe("GET, POST, DELETE");
    const allowed = headers.get("access-control-allow-headers")?.split(", ");
    expect(allowed).toEqual(
      expect.arrayContaining([
        "x-cycles-api-key",
        "x-idempotency-key",
        "content-type",
        "traceparent",
        "x-cycles-trace-id",
      ]),
    );
    // An operator's key has no business in a page of another origin.
    expect(allowed).not.toContain("x-admin-api-key");
    expect(headers.has("access-control-allow-credentials")).toBe(false);
  });

  test.each([
    "https://evil.example",
    "http://app.example",
    "https://app.example:444",
    "null",
    APP.toUpperCase(),
  ])("from %s allows nothing", async (origin) => {
    const { status, headers } = await preflight(origin);
    expect(status).toBe(204);
    expect(headers.get("vary")).toBe("Origin");
    expect([...headers.keys()].filter((name) => name.startsWith("access-control-"))).toEqual([]);
  });

  test("of a path that does not exist says nothing about it", async () => {
    expect((await preflight(APP, "/nowhere")).status).toBe(204);
  });

  test("without an origin or a method is an OPTIONS like any other", async () => {
    expect((await ask("OPTIONS", "/v1/reservations", {})).status).toBe(405);
    expect((await ask("OPTIONS", "/v1/reservations", { origin: APP })).status).toBe(405);
    expect((await ask("OPTIONS", "/nowhere", {})).status).toBe(404);
  });
});

describe("an answer", () => {
  test.each([
    ["GET", "/healthz", 200],
    ["GET", "/nowhere", 404],
    ["DELETE", "/v1/reservations", 405],
    ["POST", "/v1/reservations", 401],
    ["GET", "/v1/balances?tenant=acme", 401],
  ])("to %s %s can be read by an allowed page, whatever its status", async (method, path, status) => {
    const answer = await ask(method, path, { origin: APP });
    expect(answer.status).toBe(status);
    expect(answer.headers.get("access-control-allow-origin")).toBe(APP);
    expect(answer.headers.get("vary")).toBe("Origin");
    expect(answer.headers.get("access-control-expose-headers")?.split(", ")).toEqual(
      expect.arrayContaining(["x-request-id", "x-cycles-trace-id", "x-cycles-tenant", "retry-after"]),
    );
  });

  test("to any other page cannot, and one without an origin has no CORS header", async () => {
    const refused = await ask("GET", "/healthz", { origin: "https://evil.example" });
    expect(refused.headers.get("vary")).toBe("Origin");
    expect(refused.headers.has("access-control-allow-origin")).toBe(false);
    const plain = await ask("GET", "/healthz", {});
    expect([...plain.headers.keys()].filter((name) => /^(vary|access-control-)/.test(name))).toEqual([]);
  });
});

describe("the list of origins", () => {
  test("is empty by default", () => {
    expect(corsOrigins({}).size).toBe(0);
    expect(corsOrigins({ PURSER_CORS_ORIGINS: " " }).size).toBe(0);
  });

  test("may be parted by spaces, commas and lines", () => {
    const text = `${APP},${OTHER}\n http://localhost:5173`;
    expect([...corsOrigins({ PURSER_CORS_ORIGINS: text })]).toEqual([APP, OTHER, "http://localhost:5173"]);
  });

  test.each([
    "*",
    "null",
    "app.example",
    `${APP}/`,
    `${APP}/path`,
    "https://APP.example",
    "ftp://a.example",
    "https://a.example:443",
    "https://*.example",
  ])("refuses %s with a sentence that names the variable", (origin) => {
    const read = () => corsOrigins({ PURSER_CORS_ORIGINS: `${APP} ${origin}` });
    expect(read).toThrow(/^PURSER_CORS_ORIGINS must list exact origins .*, got "/);
    expect(read).toThrow(expect.objectContaining({ code: "config_wrong" }));
  });
});
