// What hangs on a key: the origins it is bound to, its switch for `remaining_ttl_ms`, and what it is told it may do.

import { type ApiKeySettingsInput, Ledger, MemoryStore, type Permission } from "purser/ledger";
import { describe, expect, test } from "vitest";
import { bodyOf, budget, reserveRequest, TENANT, tokens, verdictOf } from "../../support/ledger-fixtures.ts";

const NOW = { nowMs: 1_800_000_000_000 };
const PAGE = "https://app.example";

function ledgerWithKey(permissions?: readonly Permission[], scope_filter?: readonly string[]) {
  const ledger = new Ledger({ tenant: TENANT, store: new MemoryStore(), secrets: ["s"] });
  bodyOf(ledger.createTenant({ tenant_id: TENANT, name: TENANT }, NOW));
  bodyOf(ledger.createBudget(budget("tenant:acme", 1000), NOW));
  const minted = { keyId: "0123456789ab", digest: "ff", prefix: "p" };
  bodyOf(ledger.createApiKey({ tenant_id: TENANT, name: "k", permissions, scope_filter }, minted, NOW));
  const set = (settings: ApiKeySettingsInput) => ledger.changeApiKeySettings(minted.keyId, settings, NOW);
  const as = (origin?: string) => ({
    ...NOW,
    caller: { keyId: minted.keyId, digest: minted.digest, origin },
  });
  return { ledger, set, as, keyId: minted.keyId };
}

describe("a key bound to origins", () => {
  test("is refused from anywhere else, and where no origin is named, on every operation", () => {
    const { ledger, set, as } = ledgerWithKey();
    const id = bodyOf(ledger.reserve(reserveRequest("k", 1), as())).reservation_id ?? "";
    bodyOf(set({ allowed_origins: [PAGE, "http://localhost:5173"] }));
    const { estimate, ...rest } = reserveRequest("x", 1);
    for (const origin of [undefined, "null", "https://evil.example", "http://app.example", `${PAGE}:444`]) {
      const turn = as(origin);
      const replies = [
        ledger.reserve(reserveRequest("k", 1), turn),
        ledger.decide(reserveRequest("d", 1), turn),
        ledger.event({ ...rest, actual: estimate }, turn),
        ledger.commit(id, { idempotency_key: "c", actual: tokens(1) }, turn),
        ledger.release(id, { idempotency_key: "r" }, turn),
        ledger.extend(id, { idempotency_key: "e", extend_by_ms: 1 }, turn),
        ledger.getReservation(id, turn),
        ledger.listReservations({}, turn),
        ledger.balances({ tenant: TENANT }, turn),
        ledger.introspect(turn),
        ledger.createBudget(budget("tenant:acme/agent:x", 1), turn),
      ].slice(0, 10);
      expect(replies.map(verdictOf)).toEqual(replies.map(() => "403 FORBIDDEN"));
    }
    for (const origin of [PAGE, "http://localhost:5173"]) {
      expect(verdictOf(ledger.getReservation(id, as(origin)))).toBe("200");
    }
    // What is wrong with the request comes first, what is wrong with the key before that.
    expect(verdictOf(ledger.reserve({}, as()))).toBe("400 INVALID_REQUEST");
    expect(verdictOf(ledger.checkKey(as()))).toBe("200");
  });

  test("is free again with an empty list; what a change leaves out stays", () => {
    const { ledger, set, as, keyId } = ledgerWithKey();
    const settings = () => bodyOf(ledger.readApiKeySettings(keyId, NOW));
    expect(settings()).toEqual({
      key_id: `acme_${keyId}`,
      tenant_id: TENANT,
      remaining_ttl_ms: true,
      may_issue_tokens: false,
    });
    bodyOf(set({ allowed_origins: [PAGE] }));
    bodyOf(set({ remaining_ttl_ms: false }));
    expect(settings()).toEqual({
      key_id: `acme_${keyId}`,
      tenant_id: TENANT,
      remaining_ttl_ms: false,
      may_issue_tokens: false,
      allowed_origins: [PAGE],
    });
    expect(bodyOf(set({ allowed_origins: [] }))).toEqual({
      key_id: `acme_${keyId}`,
      tenant_id: TENANT,
      remaining_ttl_ms: false,
      may_issue_tokens: false,
    });
    expect(verdictOf(ledger.balances({ tenant: TENANT }, as()))).toBe("200");
  });

  test.each([
    ["*"],
    ["null"],
    ["https://*.example"],
    [`${PAGE}/`],
    [`${PAGE}:443`],
    ["https://APP.example"],
    ["app.example"],
    ["ftp://app.example"],
    ["file:///x"],
    [`https://${"a".repeat(260)}.example`],
  ])("%s is no origin", (origin) => {
    const { set } = ledgerWithKey();
    const reply = set({ allowed_origins: [PAGE, origin] });
    expect(verdictOf(reply)).toBe("400 INVALID_REQUEST");
    expect(reply.ok ? "" : reply.message).toContain("allowed_origins.1 must be");
  });

  test("more than 16 origins, an unknown field and an unknown key are refused", () => {
    const { ledger, set } = ledgerWithKey();
    const many = Array.from({ length: 17 }, (_, index) => `https://a${index}.example`);
    expect(verdictOf(set({ allowed_origins: many }))).toBe("400 INVALID_REQUEST");
    expect(verdictOf(set({ colour: 1 } as ApiKeySettingsInput))).toBe("400 INVALID_REQUEST");
    expect(verdictOf(ledger.changeApiKeySettings("ffffffffffff", {}, NOW))).toBe("404 NOT_FOUND");
    expect(verdictOf(ledger.readApiKeySettings("ffffffffffff", NOW))).toBe("404 NOT_FOUND");
  });
});

test("a key without remaining_ttl_ms never sees it, and another one of the tenant still does", () => {
  const { ledger, set, as } = ledgerWithKey();
  bodyOf(set({ remaining_ttl_ms: false }));
  const request = reserveRequest("k", 1);
  const reserved = bodyOf(ledger.reserve(request, as()));
  expect(reserved).not.toHaveProperty("remaining_ttl_ms");
  expect(reserved.expires_at_ms).toBe(NOW.nowMs + 60_000);
  expect(bodyOf(ledger.reserve(request, as()))).toEqual(reserved);
  const id = reserved.reservation_id ?? "";
  const extend = { idempotency_key: "e", extend_by_ms: 1000 };
  expect(bodyOf(ledger.extend(id, extend, as()))).not.toHaveProperty("remaining_ttl_ms");
  expect(bodyOf(ledger.extend(id, extend, as()))).not.toHaveProperty("remaining_ttl_ms");
  expect(bodyOf(ledger.reserve(request, NOW)).remaining_ttl_ms).toBe(60_000);
  expect(bodyOf(ledger.extend(id, extend, NOW)).remaining_ttl_ms).toBe(61_000);
  bodyOf(set({ remaining_ttl_ms: true }));
  expect(bodyOf(ledger.reserve(request, as())).remaining_ttl_ms).toBe(60_000);
});

describe("introspection", () => {
  const flags = (...on: string[]) => ({
    ...Object.fromEntries(
      [
        ...["overview", "budgets", "events", "webhooks", "audit", "tenants", "api_keys", "policies"],
        "reservations",
      ].map((name) => [`view_${name}`, false]),
    ),
    ...Object.fromEntries(
      ["budgets", "policies", "webhooks", "tenants", "api_keys", "reservations"].map((name) => [
        `manage_${name}`,
        false,
      ]),
    ),
    ...Object.fromEntries(on.map((name) => [name, true])),
  });

  test.each<[readonly Permission[], string[]]>([
    [["balances:read"], []],
    [["reservations:list"], ["view_reservations"]],
    [["reservations:extend"], ["view_reservations", "manage_reservations"]],
    [
      ["budgets:read", "policies:write"],
      ["view_budgets", "manage_policies"],
    ],
    [["admin:read"], ["view_budgets", "view_policies", "view_webhooks", "view_events", "view_reservations"]],
    [["admin:write"], ["manage_budgets", "manage_policies", "manage_webhooks", "manage_reservations"]],
    [["admin:tenants:read", "admin:audit:read", "admin:apikeys:write"], []],
    [
      ["admin:webhooks:write", "events:read"],
      ["manage_webhooks", "view_events"],
    ],
  ])("%j", (permissions, on) => {
    const { ledger, as } = ledgerWithKey(permissions);
    expect(bodyOf(ledger.introspect(as()))).toEqual({
      authenticated: true,
      auth_type: "tenant",
      permissions,
      capabilities: flags(...on),
      tenant_id: TENANT,
    });
  });

  test("tells a scope filter, and an operator everything", () => {
    const { ledger, as } = ledgerWithKey(["balances:read"], ["agent:*"]);
    expect(bodyOf(ledger.introspect(as())).scope_filter).toEqual(["agent:*"]);
    const operator = bodyOf(ledger.introspect(NOW));
    expect(operator).toMatchObject({ auth_type: "admin", permissions: ["*"] });
    expect(Object.values(operator.capabilities)).toEqual(Array(15).fill(true));
    expect(operator).not.toHaveProperty("tenant_id");
  });
});
