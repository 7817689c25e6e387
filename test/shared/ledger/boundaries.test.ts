// Every limit of what a caller may send: at the limit it is taken, one past it refused with a 400 that names the field, and
// the store is as it was. The numbers stand here once more, so that a limit that moves is noticed.

import { Ledger, MemoryStore, type Reply } from "purser/ledger";
import { describe, expect, test } from "vitest";
import {
  bodyOf,
  budget,
  eventRequest,
  reserveRequest,
  testClock,
  tokens,
} from "../../support/ledger-fixtures.ts";

const DAY = 86_400_000;
const KEY = { keyId: "0123456789ab", digest: "d", prefix: "p" };
const NAME = { scope: "tenant:acme", unit: "TOKENS" } as const;
const PURSE = "\u{1f45b}";

/** A tenant that allows all that can be allowed, with a budget, a key that may issue tokens, a hold and a policy. */
function world() {
  const { now } = testClock();
  const store = new MemoryStore();
  const ledger = new Ledger({ tenant: "acme", store, secrets: ["s"] });
  const turn = { nowMs: now() };
  const lives = { max_reservation_ttl_ms: DAY, max_reservation_extensions: 100 };
  bodyOf(ledger.createTenant({ tenant_id: "acme", name: "Acme", ...lives }, turn));
  bodyOf(ledger.createBudget(budget(NAME.scope, 1_000_000), turn));
  bodyOf(ledger.createApiKey({ tenant_id: "acme", name: "k" }, KEY, turn));
  bodyOf(ledger.changeApiKeySettings(KEY.keyId, { may_issue_tokens: true }, turn));
  const hold =
    bodyOf(ledger.reserve(reserveRequest("hold", 10, { ttl_ms: 60_000 }), turn)).reservation_id ?? "";
  const { policy_id: policy } = bodyOf(ledger.createPolicy({ name: "p", scope_pattern: NAME.scope }, turn));
  const random = new Uint8Array(16).fill(1);
  const { token_id } = bodyOf(ledger.issueToken({ scope: NAME.scope, cap: tokens(10) }, random, turn));
  const token = { tokenId: token_id.split("_")[1] ?? "" };
  /** All that is stored, as text. */
  const rows = () =>
    JSON.stringify(
      [
        store.readTenant(),
        [...store.scanAccounts()],
        [...store.scanApiKeys()],
        store.readPolicies(),
        store.readTokensAfter("", 1_000),
        [...store.scanOpenLeases()],
        store.readLeaseSettings(),
        store.readReservation(hold),
        [...store.scanDeadlines()],
        [...store.scanAudit()],
      ],
      (_, value) => (typeof value === "bigint" ? `${value}n` : value),
    );
  return { ledger, turn, hold, policy, token, random: new Uint8Array(16).fill(2), rows };
}

type World = ReturnType<typeof world>;
type Ask = (world: World, value: never) => Reply<unknown>;

const reserve =
  (change: (value: never) => object): Ask =>
  ({ ledger, turn }, value) =>
    ledger.reserve({ ...reserveRequest("k", 1), ...change(value) }, turn);
const commit =
  (change: (value: never) => object): Ask =>
  ({ ledger, turn, hold }, value) =>
    ledger.commit(hold, { idempotency_key: "c", actual: tokens(1), ...change(value) }, turn);
const tenant =
  (change: (value: never) => object): Ask =>
  ({ ledger, turn }, value) =>
    ledger.updateTenant(change(value), turn);
const key =
  (change: (value: never) => object): Ask =>
  ({ ledger, turn }, value) =>
    ledger.createApiKey({ tenant_id: "acme", name: "k", ...change(value) }, { ...KEY, keyId: "cd" }, turn);
const settings =
  (change: (value: never) => object): Ask =>
  ({ ledger, turn }, value) =>
    ledger.changeApiKeySettings(KEY.keyId, change(value), turn);
const policy =
  (change: (value: never) => object): Ask =>
  ({ ledger, turn }, value) =>
    ledger.createPolicy({ name: "q", scope_pattern: NAME.scope, ...change(value) }, turn);
const token =
  (change: (value: never) => object): Ask =>
  ({ ledger, turn, random }, value) =>
    ledger.issueToken({ scope: NAME.scope, cap: tokens(1), ...change(value) }, random, turn);
const lease =
  (change: (value: never) => object): Ask =>
  ({ ledger, turn }, value) =>
    ledger.openLease(
      { idempotency_key: "l", subject: { tenant: "acme" }, unit: "TOKENS", want: 1, ...change(value) },
      turn,
    );
const lending =
  (change: (value: never) => object): Ask =>
  ({ ledger, turn }, value) =>
    ledger.changeLeaseSettings(change(value), turn);
const listing =
  (
    name:
      | "listReservations"
      | "listLeases"
      | "listPolicies"
      | "listBudgets"
      | "listApiKeys"
      | "listTokens"
      | "listAudit",
    change: (value: never) => object = (limit) => ({ limit }),
  ): Ask =>
  ({ ledger, turn }, value) =>
    ledger[name](change(value), turn);

describe("numbers", () => {
  test.each<[string, number, number, Ask]>([
    ["ttl_ms", 1_000, DAY, reserve((ttl_ms) => ({ ttl_ms }))],
    ["grace_period_ms", 0, 60_000, reserve((grace_period_ms) => ({ grace_period_ms }))],
    [
      "extend_by_ms",
      1,
      DAY,
      ({ ledger, turn, hold }, extend_by_ms) =>
        ledger.extend(hold, { idempotency_key: "x", extend_by_ms }, turn),
    ],
    ["default_reservation_ttl_ms", 1_000, DAY, tenant((value) => ({ default_reservation_ttl_ms: value }))],
    [
      "max_reservation_ttl_ms",
      1_000,
      DAY,
      tenant((value) => ({ max_reservation_ttl_ms: value, default_reservation_ttl_ms: 1_000 })),
    ],
    ["max_reservation_extensions", 0, 100, tenant((value) => ({ max_reservation_extensions: value }))],
    ["priority", 0, 1_000_000_000, policy((priority) => ({ priority }))],
    [
      "rate_limits.max_reservations_per_minute",
      1,
      1_000_000_000,
      policy((value) => ({ rate_limits: { max_reservations_per_minute: value } })),
    ],
    [
      "rate_limits.max_commits_per_minute",
      1,
      1_000_000_000,
      policy((value) => ({ rate_limits: { max_commits_per_minute: value } })),
    ],
    [
      "reservation_ttl_override.max_ttl_ms",
      1_000,
      DAY,
      policy((value) => ({ reservation_ttl_override: { max_ttl_ms: value } })),
    ],
    [
      "reservation_ttl_override.default_ttl_ms",
      1_000,
      DAY,
      policy((value) => ({ reservation_ttl_override: { default_ttl_ms: value } })),
    ],
    [
      "reservation_ttl_override.max_extensions",
      0,
      100,
      policy((value) => ({ reservation_ttl_override: { max_extensions: value } })),
    ],
    [
      "every_ms",
      60_000,
      366 * DAY,
      ({ ledger, turn }, every_ms) => ledger.setPeriod(NAME, { kind: "every", every_ms }, turn),
    ],
    ["ttl_ms", 1_000, 900_000, token((ttl_ms) => ({ ttl_ms }))],
    ["ttl_ms", 1_000, 600_000, lease((ttl_ms) => ({ ttl_ms }))],
    ["ttl_ms_max", 1_000, 600_000, lending((ttl_ms_max) => ({ ttl_ms_max }))],
    ["grace_ms", 0, 60_000, lending((grace_ms) => ({ grace_ms }))],
    ["limit", 1, 200, listing("listReservations")],
    ["limit", 1, 200, ({ ledger, turn }, limit) => ledger.balances({ tenant: "acme", limit }, turn)],
    ["limit", 1, 200, listing("listLeases")],
    ["limit", 1, 200, listing("listPolicies")],
    ["limit", 1, 100, listing("listBudgets")],
    ["limit", 1, 100, listing("listApiKeys")],
    ["limit", 1, 100, listing("listTokens")],
    ["limit", 1, 100, listing("listAudit")],
  ])("%s: %i to %i", (field, min, max, ask) => {
    for (const value of [min, max]) expect(ask(world(), value as never)).toMatchObject({ ok: true });
    for (const value of [min - 1, max + 1]) refuses(ask, value, field);
  });
});

/** A text of so many characters, none of which is a single unit. */
const purses = (length: number) => PURSE.repeat(length);
const letters = (length: number) => "x".repeat(length);
const entries = (length: number) => Array.from({ length }, (_, index) => `e${index}`);

describe("texts and lists, by how long they may be", () => {
  test.each<[string, number, (length: number) => unknown, Ask]>([
    ["subject.agent", 128, letters, reserve((agent) => ({ subject: { tenant: "acme", agent } }))],
    ["action.tags", 10, entries, reserve((tags) => ({ action: { kind: "k", name: "n", tags } }))],
    [
      "subject.dimensions",
      256,
      (length) => ({ [purses(length)]: "x" }),
      reserve((dimensions) => ({ subject: { tenant: "acme", dimensions } })),
    ],
    ["metrics.model_version", 128, purses, commit((model_version) => ({ metrics: { model_version } }))],
    [
      "reason",
      256,
      purses,
      ({ ledger, turn, hold }, reason) => ledger.release(hold, { idempotency_key: "r", reason }, turn),
    ],
    ["name", 256, purses, tenant((name) => ({ name }))],
    [
      "metadata",
      32,
      (length) => Object.fromEntries(entries(length).map((name) => [name, ""])),
      tenant((metadata) => ({ metadata })),
    ],
    ["name", 256, purses, key((name) => ({ name }))],
    ["description", 1_024, purses, key((description) => ({ description }))],
    [
      "permissions",
      64,
      (length) => Array.from({ length }, () => "balances:read"),
      key((permissions) => ({ permissions })),
    ],
    [
      "scope_filter",
      64,
      (length) => entries(length).map((id) => `agent:${id}`),
      key((scope_filter) => ({ scope_filter })),
    ],
    [
      "allowed_origins",
      16,
      (length) => entries(length).map((name) => `https://${name}.example`),
      settings((allowed_origins) => ({ allowed_origins })),
    ],
    [
      "allowed_origins.0",
      256,
      (length) => [`https://${letters(length - 16)}.example`],
      settings((allowed_origins) => ({ allowed_origins })),
    ],
    ["reason", 512, purses, ({ ledger, turn }, reason) => ledger.revokeApiKey(KEY.keyId, { reason }, turn)],
    ["reason", 512, purses, ({ ledger, turn }, reason) => ledger.freezeBudget(NAME, { reason }, turn)],
    [
      "reason",
      512,
      purses,
      ({ ledger, turn, token }, reason) => ledger.revokeToken(token.tokenId, { reason }, turn),
    ],
    [
      "reason",
      512,
      purses,
      ({ ledger, turn }, reason) =>
        ledger.fund(NAME, { operation: "CREDIT", amount: tokens(1), idempotency_key: "f", reason }, turn),
    ],
    ["name", 256, purses, policy((name) => ({ name }))],
    ["description", 1_024, purses, policy((description) => ({ description }))],
    ["caps.tool_allowlist", 64, entries, policy((tool_allowlist) => ({ caps: { tool_allowlist } }))],
    [
      "caps.tool_denylist.0",
      256,
      (length) => [purses(length)],
      policy((tool_denylist) => ({ caps: { tool_denylist } })),
    ],
    ["name", 128, purses, token((name) => ({ name }))],
    [
      "allowed_origins",
      4,
      (length) => entries(length).map((name) => `https://${name}.example`),
      token((allowed_origins) => ({ allowed_origins })),
    ],
    ["holder", 128, purses, lease((holder) => ({ holder }))],
    ["search", 128, purses, listing("listBudgets", (search) => ({ search }))],
    [
      "operation",
      25,
      (length) => entries(length).join(","),
      listing("listAudit", (operation) => ({ operation })),
    ],
  ])("%s: %i", (field, max, make, ask) => {
    expect(ask(world(), make(max) as never)).toMatchObject({ ok: true });
    refuses(ask, make(max + 1), field);
  });

  test("the id of a reservation: 128 characters are one that was never issued, 129 are none", () => {
    const settle = (id: string) => {
      const { ledger, turn } = world();
      return ledger.release(id, { idempotency_key: "r" }, turn);
    };
    expect(settle(letters(128))).toMatchObject({ status: 404 });
    expect(settle(letters(129))).toMatchObject({ status: 400 });
  });

  test.each([
    [2, false],
    [3, true],
    [64, true],
    [65, false],
  ])("the id of a tenant: %i characters, %s", (length, isOne) => {
    const ledger = new Ledger({ tenant: letters(length), store: new MemoryStore(), secrets: ["s"] });
    expect(ledger.createTenant({ tenant_id: letters(length), name: "x" }, { nowMs: 1 }).ok).toBe(isOne);
  });

  test("a page has 50 rows where nobody says how many", () => {
    const { ledger, turn } = world();
    for (let number = 0; number < 60; number += 1) {
      bodyOf(ledger.reserve(reserveRequest(`k${number}`, 1), turn));
    }
    expect(bodyOf(ledger.listReservations({}, turn)).reservations).toHaveLength(50);
  });
});

describe("metadata takes at most 16 KiB as JSON, in bytes", () => {
  /** As JSON so many bytes: `{"a":"…"}` has eight around the text, and a purse has four. */
  const ofBytes = (bytes: number) => ({ a: `${purses(1_000)}${letters(bytes - 4_008)}` });

  test.each<[string, Ask]>([
    ["metadata", reserve((metadata) => ({ metadata }))],
    ["metadata", reserve((metadata) => ({ metadata, dry_run: true }))],
    ["metadata", commit((metadata) => ({ metadata }))],
    ["metrics.custom", commit((custom) => ({ metrics: { custom } }))],
    [
      "metadata",
      ({ ledger, turn, hold }, metadata) =>
        ledger.extend(hold, { idempotency_key: "x", extend_by_ms: 1, metadata }, turn),
    ],
    [
      "metadata",
      ({ ledger, turn }, metadata) => {
        const { subject, action, estimate } = reserveRequest("d", 1);
        return ledger.decide({ idempotency_key: "d", subject, action, estimate, metadata }, turn);
      },
    ],
    ["metadata", ({ ledger, turn }, metadata) => ledger.event({ ...eventRequest("e", 1), metadata }, turn)],
    ["metadata", tenant((metadata) => ({ metadata }))],
    ["metadata", key((metadata) => ({ metadata }))],
    ["metadata", ({ ledger, turn }, metadata) => ledger.updateBudget(NAME, { metadata }, turn)],
    [
      "metadata",
      ({ ledger, turn }, metadata) =>
        ledger.createBudget(budget("tenant:acme/agent:b", 1, { metadata }), turn),
    ],
    ["metadata", ({ ledger, turn }, metadata) => ledger.freezeBudget(NAME, { metadata }, turn)],
    [
      "metadata",
      ({ ledger, turn }, metadata) =>
        ledger.fund(NAME, { operation: "CREDIT", amount: tokens(1), idempotency_key: "f", metadata }, turn),
    ],
  ])("%s", (field, ask) => {
    expect(new TextEncoder().encode(JSON.stringify(ofBytes(16_384)))).toHaveLength(16_384);
    expect(ask(world(), ofBytes(16_384) as never)).toMatchObject({ ok: true });
    refuses(ask, ofBytes(16_385), field);
  });
});

/** Asks, and expects a 400 for this field, and nothing that has changed. */
function refuses(ask: Ask, value: unknown, field: string): void {
  const asked = world();
  const before = asked.rows();
  expect(ask(asked, value as never)).toMatchObject({
    status: 400,
    error: "INVALID_REQUEST",
    details: { field },
  });
  expect(asked.rows()).toBe(before);
}
