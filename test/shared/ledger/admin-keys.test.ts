// API keys on the governance plane: listed without their secrets, changed, revoked; and what each means to the key's
// next call.

import { describe, expect, test } from "vitest";
import { bodyOf, openLedger, reserveRequest, TENANT, verdictOf } from "../../support/ledger-fixtures.ts";

function setUp() {
  const { clock, store, ledger, turn } = openLedger(100);
  const make = (n: number, rest: object = {}) => {
    const keyId = n.toString(16).padStart(12, "0");
    const minted = { keyId, digest: `digest of ${keyId}`, prefix: `cyc_live_acme_${keyId}` };
    bodyOf(ledger.createApiKey({ tenant_id: TENANT, name: `key ${n}`, ...rest }, minted, turn()));
    return keyId;
  };
  const as = (keyId: string) => ({ ...turn(), caller: { keyId, digest: `digest of ${keyId}` } });
  return { clock, store, ledger, turn, make, as };
}

test("a list shows everything but secret and digest, with the status of the moment", () => {
  const { clock, ledger, turn, make } = setUp();
  const soon = new Date(clock.now() + 1000).toISOString();
  const [active, expired, revoked] = [
    make(1, { description: "d", scope_filter: ["agent:a"], metadata: { team: "x" } }),
    make(2, { expires_at: soon }),
    make(3),
  ];
  bodyOf(ledger.revokeApiKey(revoked, { reason: "lost" }, turn()));
  clock.advance(1000);
  const { keys } = bodyOf(ledger.listApiKeys({}, turn()));
  expect(keys.map(({ key_id, status }) => [key_id, status])).toEqual([
    [`acme_${active}`, "ACTIVE"],
    [`acme_${expired}`, "EXPIRED"],
    [`acme_${revoked}`, "REVOKED"],
  ]);
  expect(keys[0]).toEqual({
    key_id: `acme_${active}`,
    key_prefix: `cyc_live_acme_${active}`,
    tenant_id: TENANT,
    name: "key 1",
    description: "d",
    permissions: expect.any(Array),
    scope_filter: ["agent:a"],
    status: "ACTIVE",
    metadata: { team: "x" },
    created_at: expect.any(String),
    expires_at: expect.any(String),
  });
  expect(keys[2]).toMatchObject({ revoked_reason: "lost", revoked_at: expect.any(String) });
  expect(JSON.stringify(keys)).not.toContain("digest");

  const listed = (query: object) => bodyOf(ledger.listApiKeys(query, turn())).keys.map(({ name }) => name);
  expect(listed({ status: "EXPIRED" })).toEqual(["key 2"]);
  expect(listed({ search: "KEY 3" })).toEqual(["key 3"]);
  expect(listed({ search: `acme_${active}` })).toEqual(["key 1"]);
  expect(verdictOf(ledger.listApiKeys({ status: "LOST" }, turn()))).toBe("400 INVALID_REQUEST");
  const first = bodyOf(ledger.listApiKeys({ limit: 2 }, turn()));
  const rest = bodyOf(ledger.listApiKeys({ limit: 2, cursor: first.next_cursor }, turn()));
  expect([...first.keys, ...rest.keys]).toEqual(keys);
  expect([first.has_more, rest.has_more, rest.next_cursor]).toEqual([true, false, undefined]);
});

describe("a change counts from the key's next call", () => {
  test("permissions and scope filter", () => {
    const { ledger, turn, make, as } = setUp();
    const key = make(1);
    const reserve = (idempotency: string) =>
      verdictOf(ledger.reserve(reserveRequest(idempotency, 1), as(key)));
    expect(reserve("a")).toBe("200");
    bodyOf(ledger.updateApiKey(key, { permissions: ["balances:read"] }, turn()));
    expect(reserve("b")).toBe("403 FORBIDDEN");
    bodyOf(
      ledger.updateApiKey(key, { permissions: ["reservations:create"], scope_filter: ["agent:a"] }, turn()),
    );
    expect(reserve("b")).toBe("403 FORBIDDEN");
    const open = ledger.updateApiKey(
      key,
      { scope_filter: ["tenant:acme"], name: "new", metadata: { a: 1 } },
      turn(),
    );
    expect(bodyOf(open)).toMatchObject({
      name: "new",
      metadata: { a: 1 },
      permissions: ["reservations:create"],
    });
    expect(reserve("b")).toBe("200");
  });

  test("revoking ends it for good; another key, or an operator, settles what it left", () => {
    const { ledger, turn, make, as } = setUp();
    const [key, other] = [make(1), make(2)];
    const hold = (idempotency: string) =>
      bodyOf(ledger.reserve(reserveRequest(idempotency, 1), as(key))).reservation_id ?? "";
    const [a, b] = [hold("a"), hold("b")];
    expect(bodyOf(ledger.revokeApiKey(key, {}, turn()))).toMatchObject({ status: "REVOKED" });
    expect(ledger.release(a, { idempotency_key: "r" }, as(key))).toMatchObject({
      status: 401,
      message: "KEY_REVOKED",
    });
    expect(verdictOf(ledger.release(a, { idempotency_key: "r" }, as(other)))).toBe("200");
    expect(verdictOf(ledger.release(b, { idempotency_key: "r" }, turn()))).toBe("200");
    expect(verdictOf(ledger.revokeApiKey(key, {}, turn()))).toBe("409 KEY_REVOKED");
    expect(verdictOf(ledger.updateApiKey(key, { name: "x" }, turn()))).toBe("409 KEY_REVOKED");
  });

  test("an expired key is neither used nor changed, but can be revoked", () => {
    const { clock, ledger, turn, make, as } = setUp();
    const key = make(1, { expires_at: new Date(clock.now() + 1000).toISOString() });
    clock.advance(999);
    expect(verdictOf(ledger.balances({ tenant: TENANT }, as(key)))).toBe("200");
    clock.advance(1);
    expect(ledger.balances({ tenant: TENANT }, as(key))).toMatchObject({
      status: 401,
      message: "KEY_EXPIRED",
    });
    expect(verdictOf(ledger.updateApiKey(key, { name: "x" }, turn()))).toBe("409 KEY_EXPIRED");
    expect(bodyOf(ledger.revokeApiKey(key, {}, turn()))).toMatchObject({ status: "REVOKED" });
  });

  test.each([
    [{ expires_at: "2100-01-01T00:00:00Z" }, "expires_at is not a known field"],
    [{ permissions: ["all"] }, "permissions.0 must be a known permission"],
    [{ scope_filter: ["everything"] }, "scope_filter.0 must be level:id"],
    [{ name: "" }, "name must be 1 to 256"],
  ])("%j is refused", (request, message) => {
    const { ledger, turn, make, store } = setUp();
    const key = make(1);
    const before = store.readApiKey(key);
    const reply = ledger.updateApiKey(key, request, turn());
    expect(reply).toMatchObject({ status: 400, message: expect.stringContaining(message) });
    expect(store.readApiKey(key)).toEqual(before);
  });

  test("a key that isn't there is 404", () => {
    const { ledger, turn } = setUp();
    expect(verdictOf(ledger.updateApiKey("0000000000ff", { name: "x" }, turn()))).toBe("404 NOT_FOUND");
    expect(verdictOf(ledger.revokeApiKey("0000000000ff", {}, turn()))).toBe("404 NOT_FOUND");
    expect(verdictOf(ledger.revokeApiKey("0000000000ff", { reason: "x".repeat(513) }, turn()))).toBe(
      "400 INVALID_REQUEST",
    );
  });
});
