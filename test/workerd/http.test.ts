// The HTTP front over real Durable Objects: the wire shapes, the error body on every fault, keys and tenants kept apart,
// exact integers in the text itself, and no object woken by a stranger.

import { listDurableObjectIds, runInDurableObject } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";

const ORIGIN = "https://purser.test";
const ADMIN = { "x-admin-api-key": env.PURSER_ADMIN_KEY };
const JSON_TYPE = { "content-type": "application/json" };

interface Answer {
  status: number;
  headers: Headers;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads what the wire says
  json: any;
}

async function send(
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body?: string,
): Promise<Answer> {
  const init =
    body === undefined ? { method, headers } : { method, headers: { ...JSON_TYPE, ...headers }, body };
  const response = await exports.default.fetch(new Request(ORIGIN + path, init));
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: text === "" ? undefined : JSON.parse(text),
  };
}

const post = (path: string, headers: Record<string, string>, body: unknown) =>
  send("POST", path, headers, typeof body === "string" ? body : JSON.stringify(body));
const get = (path: string, headers: Record<string, string>) => send("GET", path, headers);

async function makeTenant(
  tenant: string,
  allocated = "1000",
  key: Record<string, unknown> = {},
): Promise<Record<string, string>> {
  expect((await post("/v1/admin/tenants", ADMIN, { tenant_id: tenant, name: tenant })).status).toBe(201);
  const budget = `{"tenant_id":"${tenant}","scope":"tenant:${tenant}","unit":"TOKENS","allocated":{"unit":"TOKENS","amount":${allocated}}}`;
  expect((await post("/v1/admin/budgets", ADMIN, budget)).status).toBe(201);
  return makeKey(tenant, key);
}

async function makeKey(tenant: string, rest: Record<string, unknown> = {}): Promise<Record<string, string>> {
  const answer = await post("/v1/admin/api-keys", ADMIN, { tenant_id: tenant, name: "agent", ...rest });
  expect(answer.status).toBe(201);
  return { "x-cycles-api-key": answer.json.key_secret };
}

function reserveBody(tenant: string, key: string, amount: number | string = 10, rest = ""): string {
  return `{"idempotency_key":"${key}","subject":{"tenant":"${tenant}"},"action":{"kind":"k","name":"n"},"estimate":{"unit":"TOKENS","amount":${amount}}${rest}}`;
}

/** Status, code and message of an error, after checking the closed body that every error has. */
function faultOf(answer: Answer): string {
  expect(answer.headers.get("content-type")).toBe("application/json");
  const { error, message, request_id, trace_id, details, ...others } = answer.json;
  expect(others).toEqual({});
  expect(request_id).toBe(answer.headers.get("x-request-id"));
  expect(trace_id).toBe(answer.headers.get("x-cycles-trace-id"));
  expect(details === undefined || typeof details === "object").toBe(true);
  return `${answer.status} ${error} ${message}`;
}

let acme: Record<string, string>;
let other: Record<string, string>;

beforeAll(async () => {
  acme = await makeTenant("acme");
  other = await makeTenant("other");
});

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
    const reserved = await post("/v1/reservations", acme, reserveBody("acme", "to release"));
    const path = `/v1/reservations/${reserved.json.reservation_id}/release`;
    expect((await post(path, acme, { idempotency_key: "r", reason: "x" })).json).toMatchObject({
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
    expect(released.json.reservations.map((row: { reservation_id: string }) => row.reservation_id)).toEqual([
      ids[1],
    ]);
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
    const reserved = await post("/v1/reservations", acme, reserveBody("acme", "listed"));
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
    await post("/v1/reservations", acme, reserveBody("acme", "not for the lister"));
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

describe("what Purser adds to a key", () => {
  const settingsOf = (key: Record<string, string>) =>
    `/v1/x-purser/api-keys/${(key["x-cycles-api-key"] ?? "").split("_").slice(2, 4).join("_")}`;
  const patch = (path: string, headers: Record<string, string>, body: unknown) =>
    send("PATCH", path, headers, JSON.stringify(body));

  test("is read and changed by the operator alone, and holds from the next request on", async () => {
    const key = await makeKey("acme");
    const path = settingsOf(key);
    const keyId = path.split("/")[4];
    expect((await get(path, ADMIN)).json).toEqual({
      key_id: keyId,
      tenant_id: "acme",
      remaining_ttl_ms: true,
    });
    const settings = { remaining_ttl_ms: false, allowed_origins: ["https://app.example"] };
    const changed = await patch(path, ADMIN, settings);
    expect([changed.status, changed.json]).toEqual([200, { key_id: keyId, tenant_id: "acme", ...settings }]);

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
    expect(faultOf(await get("/v1/x-purser/counters?tenant_id=counted", acme))).toMatch(/^401/);
  });
});

describe("int64 in the text itself", () => {
  const MAX = "9223372036854775807";

  test("2^63−1 goes in, through SQL and out unrounded", async () => {
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
    const answer = await post("/v1/reservations", acme, reserveBody("acme", "int64", text));
    expect(faultOf(answer)).toContain(
      "400 INVALID_REQUEST estimate.amount must be an integer from 0 to 9223372036854775807",
    );
    expect(answer.json.details).toEqual({ field: "estimate.amount" });
  });
});

describe("tenants never see each other", () => {
  test("a foreign reservation is forbidden, one never issued unknown, and nothing moved", async () => {
    const mine = await post("/v1/reservations", acme, reserveBody("acme", "mine"));
    const path = `/v1/reservations/${mine.json.reservation_id}`;
    const commit = { idempotency_key: "c", actual: { unit: "TOKENS", amount: 1 } };
    expect(faultOf(await get(path, other))).toMatch(/^403 FORBIDDEN/);
    expect(faultOf(await post(`${path}/commit`, other, commit))).toMatch(/^403 FORBIDDEN/);
    expect(faultOf(await post(`${path}/release`, other, { idempotency_key: "r" }))).toMatch(/^403 FORBIDDEN/);
    expect(faultOf(await post(`${path}/extend`, other, { idempotency_key: "e", extend_by_ms: 1 }))).toMatch(
      /^403 FORBIDDEN/,
    );
    expect(faultOf(await get(`${path.slice(0, -1)}~`, other))).toMatch(/^404 NOT_FOUND Resource not found/);
    expect(faultOf(await get(`/v1/reservations/${"a".repeat(129)}`, other))).toMatch(/^400 INVALID_REQUEST/);
    expect((await get(path, acme)).json.status).toBe("ACTIVE");
  });

  test("an operator finds a reservation of any tenant by its id alone, and wakes nothing with another", async () => {
    const path = async (tenant: string, key: Record<string, string>) =>
      `/v1/reservations/${(await post("/v1/reservations", key, reserveBody(tenant, "for the operator"))).json.reservation_id}`;
    for (const [tenant, key] of [
      ["acme", acme],
      ["other", other],
    ] as const) {
      const answer = await get(await path(tenant, key), ADMIN);
      expect([answer.status, answer.json.subject]).toEqual([200, { tenant }]);
      expect(answer.json).toEqual((await get(await path(tenant, key), key)).json);
      expect(answer.headers.get("x-cycles-tenant")).toBe(tenant);
    }
    const mine = await path("acme", acme);
    const before = (await listDurableObjectIds(env.TENANT_BUDGET)).length;
    expect(faultOf(await get(`${mine.slice(0, -1)}~`, ADMIN))).toMatch(/^404 NOT_FOUND Resource not found/);
    expect(faultOf(await get(`/v1/reservations/${"a".repeat(129)}`, ADMIN))).toMatch(/^400 INVALID_REQUEST/);
    for (const headers of [{ "x-admin-api-key": "wrong" }, { ...acme, "x-admin-api-key": "wrong" }]) {
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
    expect((await listDurableObjectIds(env.TENANT_BUDGET)).length).toBe(before);
  });

  test("nor each other's balances, subjects or budgets", async () => {
    expect(faultOf(await get("/v1/balances?tenant=acme", other))).toMatch(/^403 FORBIDDEN/);
    const own = await get("/v1/balances?tenant=other", other);
    expect(own.json.balances.map((row: { scope_path: string }) => row.scope_path)).toEqual(["tenant:other"]);
    expect(own.headers.get("x-cycles-tenant")).toBe("other");
    expect(faultOf(await post("/v1/reservations", other, reserveBody("acme", "k")))).toMatch(
      /^403 FORBIDDEN/,
    );
    const foreign = {
      scope: "tenant:acme/agent:x",
      unit: "TOKENS",
      allocated: { unit: "TOKENS", amount: 1 },
    };
    expect(faultOf(await post("/v1/admin/budgets", other, foreign))).toMatch(/^403 FORBIDDEN/);
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
    ["the operator's", { "x-cycles-api-key": env.PURSER_ADMIN_KEY }, "401 UNAUTHORIZED INVALID_KEY"],
  ])("%s: 401, no tenant header, and no object is woken", async (_, headers, fault) => {
    const before = (await listDurableObjectIds(env.TENANT_BUDGET)).length;
    for (const answer of [
      await get("/v1/balances?tenant=ghost", headers),
      await post("/v1/reservations", headers, reserveBody("ghost", "k")),
      await post("/v1/reservations", headers, "not even JSON"),
      await get("/v1/reservations/x", headers),
    ]) {
      expect(faultOf(answer)).toBe(fault);
      expect(answer.headers.has("x-cycles-tenant")).toBe(false);
    }
    expect((await listDurableObjectIds(env.TENANT_BUDGET)).length).toBe(before);
  });

  test("the operator's plane is closed to strangers and wakes nothing for them", async () => {
    const before = (await listDurableObjectIds(env.TENANT_BUDGET)).length;
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
    expect((await listDurableObjectIds(env.TENANT_BUDGET)).length).toBe(before);
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
    expect(faultOf(await post("/v1/admin/budgets", reader, budget))).toMatch(/^403 INSUFFICIENT_PERMISSIONS/);
    expect(faultOf(await post("/v1/reservations", writer, reserveBody("acme", "p")))).toMatch(
      /^403 FORBIDDEN/,
    );
  });

  test("a scope filter keeps a key to its scopes", async () => {
    const narrow = await makeKey("acme", { scope_filter: ["agent:mine"] });
    const subject = (agent: string) =>
      reserveBody("acme", `filter ${agent}`).replace('"tenant":"acme"', `"tenant":"acme","agent":"${agent}"`);
    expect(faultOf(await post("/v1/reservations", narrow, subject("yours")))).toMatch(/^403 FORBIDDEN/);
    const reserved = await post("/v1/reservations", narrow, subject("Mine"));
    expect(reserved.status).toBe(200);
    expect((await get("/v1/balances?tenant=acme", narrow)).json.balances).toEqual([]);
    const wide = await post("/v1/reservations", acme, reserveBody("acme", "wide"));
    expect(faultOf(await get(`/v1/reservations/${wide.json.reservation_id}`, narrow))).toMatch(
      /^403 FORBIDDEN/,
    );
  });

  test.each([
    ["revoked", "revoked_at_ms = 1", "KEY_REVOKED"],
    ["expired", "expires_at_ms = 1", "KEY_EXPIRED"],
    ["another digest", "digest = replace(digest, substr(digest, 1, 1), 'x')", "INVALID_KEY"],
    ["gone", "key_id = 'ffffffffffff'", "KEY_NOT_FOUND"],
  ])(
    "a key that is %s: 401 with the reason, before the request is even judged",
    async (_, change, reason) => {
      const key = await makeKey("acme");
      const keyId = (key["x-cycles-api-key"] ?? "").split("_")[3];
      await runInDurableObject(env.TENANT_BUDGET.getByName("acme"), (_budget, state) => {
        state.storage.sql.exec(`UPDATE api_keys SET ${change} WHERE key_id = ?`, keyId);
      });
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

describe("faults of HTTP itself have the same body", () => {
  test.each([
    ["GET", "/nowhere", "404 NOT_FOUND"],
    ["GET", "/", "404 NOT_FOUND"],
    ["DELETE", "/v1/reservations", "405 INVALID_REQUEST The method must be POST, GET"],
    ["POST", "/v1/balances", "405 INVALID_REQUEST The method must be GET"],
    ["PUT", "/v1/reservations/x/commit", "405 INVALID_REQUEST"],
    ["POST", "/healthz", "405 INVALID_REQUEST"],
  ])("%s %s", async (method, path, fault) => {
    expect(faultOf(await send(method, path, acme))).toContain(fault);
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
    expect(faultOf(await post("/v1/reservations", { ...acme, ...headers }, body))).toContain(fault);
  });

  test("a body of exactly 64 KiB is read, a longer one cut off while it streams", async () => {
    const body = reserveBody("acme", "padded");
    const padded = body + " ".repeat(64 * 1024 - body.length);
    expect((await post("/v1/reservations", acme, padded)).status).toBe(200);
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(16 * 1024).fill(32)),
    });
    const request = new Request(`${ORIGIN}/v1/reservations`, {
      method: "POST",
      headers: { ...JSON_TYPE, ...acme },
      body: endless,
    });
    expect((await exports.default.fetch(request)).status).toBe(413);
  });

  test("invalid UTF-8 is refused", async () => {
    const request = new Request(`${ORIGIN}/v1/reservations`, {
      method: "POST",
      headers: { ...JSON_TYPE, ...acme },
      body: Uint8Array.of(0x22, 0xff, 0x22),
    });
    const response = await exports.default.fetch(request);
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
    for (const answer of [await get(path, {}), await post("/v1/reservations", acme, field)]) {
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
    ["a traceparent", { traceparent: `00-${TRACE}-00f067aa0ba902b7-01`, "x-cycles-trace-id": OTHER }, TRACE],
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
      const answer = await get(path, { ...acme, ...headers });
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
