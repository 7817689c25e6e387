// The SQLite store against the same contract as the memory store, and its schema's own rules.

import { evictDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { tenantStub } from "../../worker/http/tenant-stub.ts";
import { migrate, SCHEMA_VERSION } from "../../worker/tenant/schema.ts";
import { describeStoreContract } from "../support/ledger-store-contract.ts";
import { freshTenantName, START_MS, stubOf, tenantWith, within } from "./support.ts";

describeStoreContract("SqliteStore", (check) =>
  within(stubOf(freshTenantName()), START_MS, (budget, state) => {
    migrate(state.storage, START_MS);
    check(budget.store);
  }),
);

test.each([500, 1000, 1001])(
  "%i accounts are scanned page after page, each once and in order",
  async (accounts) => {
    const { tenant, stub } = await tenantWith(1);
    const scopes = await within(stub, START_MS, ({ store }, state) => {
      // Beside the tenant's own budget; unit and scope both decide the order.
      state.storage.sql.exec(
        `WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
       INSERT INTO accounts SELECT printf('tenant:%s/agent:a%05d', ?, n / 2), iif(n % 2, 'TOKENS', 'CREDITS'),
         1, 0, 0, 0, 0, 0, 'ACTIVE', NULL, '{}', 1, 1 FROM numbers`,
        accounts - 1,
        tenant,
      );
      expect(store.countAccounts()).toBe(accounts);
      return [...store.scanAccounts()].map(({ scope, unit }) => `${scope} ${unit}`);
    });
    expect(scopes.length).toBe(accounts);
    expect(scopes).toEqual([...new Set(scopes)].sort());
  },
);

test("the schema is the one that was shipped", async () => {
  const { stub } = await tenantWith(1);
  const ddl = await within(stub, START_MS, (_, state) =>
    state.storage.sql
      .exec<{ type: string; name: string; sql: string | null }>(
        "SELECT type, name, sql FROM sqlite_master ORDER BY name",
      )
      .toArray()
      .filter(({ name }) => !name.startsWith("_cf") && !name.startsWith("sqlite_")),
  );
  expect(ddl.map(({ type, name }) => `${type} ${name}`)).toEqual([
    "table accounts",
    "table answers",
    "table api_keys",
    "table finished",
    "table holds",
    "table migrations",
    "table tenant",
  ]);
  for (const { sql } of ddl) expect(sql).toMatch(/STRICT(, WITHOUT ROWID)?$/);
  // When this line fails, a migration was edited. Put it back as it was and append a new one: databases written by the
  // old text exist, and only the list's end may grow.
  const text = ddl.map(({ sql }) => sql?.replaceAll(/\s+/g, " ")).join(";");
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  expect(Array.from(new Uint8Array(digest).subarray(0, 8))).toEqual([21, 187, 22, 135, 251, 139, 141, 107]);
  expect(SCHEMA_VERSION).toBe(1);
});

test("a database of a newer version is refused, not misread", async () => {
  const { tenant, stub } = await tenantWith(1);
  await within(stub, START_MS, (_, state) => {
    state.storage.sql.exec("INSERT INTO migrations (version, name, applied_at_ms) VALUES (999, 'future', 0)");
    expect(() => migrate(state.storage, START_MS)).toThrow(expect.objectContaining({ code: "schema_newer" }));
  });
  await evictDurableObject(stub);
  const refused = tenantStub(env, tenant)
    .balances({ tenant: "any" })
    .then(
      () => "answered",
      (error: Error) => error.message,
    );
  expect(await refused).toContain("schema version 999");
});
