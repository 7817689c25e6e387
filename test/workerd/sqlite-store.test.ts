// The SQLite store against the same contract as the memory store, and its schema's own rules.

import { evictDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import { tenantStub } from "../../worker/http/tenant-stub.ts";
import { applyMigrations, type Migration } from "../../worker/migrations.ts";
import { registryOf } from "../../worker/registry/registry-stub.ts";
import { REGISTRY_MIGRATIONS } from "../../worker/registry/tenant-registry.ts";
import { MIGRATIONS, migrate, SCHEMA_VERSION } from "../../worker/tenant/schema.ts";
import { bodyOf, tokens } from "../support/ledger-fixtures.ts";
import { describeStoreContract } from "../support/ledger-store-contract.ts";
import version1 from "./fixtures/schema-1.sql?raw";
import version3 from "./fixtures/schema-3.sql?raw";
import version4 from "./fixtures/schema-4.sql?raw";
import version5 from "./fixtures/schema-5.sql?raw";
import version6 from "./fixtures/schema-6.sql?raw";
import { freshTenantName, START_MS, stubOf, tenantWith, withExec, within } from "./support.ts";

/** What operators did to the databases of these versions, the latest first. */
const AUDITED_BY_5 = [
  "updateTenant",
  "createPolicy",
  "freezeBudget",
  "createBudget",
  "revokeApiKey",
  "updateApiKeySettings",
  "fundBudget",
  "setBudgetPeriod",
  "createApiKey",
  "createApiKey",
  "createApiKey",
  "createBudget",
  "createBudget",
  "createTenant",
];
const AUDITED: Readonly<Record<number, readonly string[]>> = {
  3: [],
  4: AUDITED_BY_5.filter((operation) => !["createPolicy", "setBudgetPeriod"].includes(operation)),
  5: AUDITED_BY_5,
  // What version 5 wrote, and a token's life on top of it.
  6: ["updateTenant", "issueToken", "updateApiKeySettings", "updateTenant", ...AUDITED_BY_5],
};

describeStoreContract("SqliteStore", (check) =>
  within(stubOf(freshTenantName()), START_MS, (budget, state) => {
    migrate(state.storage, START_MS);
    check(budget.store);
  }),
);

test("the bytes it takes are asked once a transaction, grow with what is kept and shrink with what is pruned", async () => {
  const { stub } = await tenantWith(1);
  await within(stub, START_MS, ({ store }, state) => {
    const answer = { key: "k", fingerprint: "f", reply: "x".repeat(100_000) };
    const before = store.storedBytes();
    expect(before).toBe(state.storage.sql.databaseSize);
    store.transact(() => {
      expect(store.storedBytes()).toBe(before);
      store.insertAnswer("event", 1, answer);
      expect(state.storage.sql.databaseSize).toBeGreaterThan(before + 90_000);
      expect(store.storedBytes()).toBe(before);
    });
    expect(store.storedBytes()).toBeGreaterThan(before + 90_000);
    expect(store.pruneAnswers({ expiresBeforeDay: 2, rowsMax: 4 })).toBe(1);
    expect(store.storedBytes()).toBeLessThan(before + 10_000);
  });
});

test.each([500, 1000, 1001])(
  "%i accounts are scanned page after page, each once and in order",
  async (accounts) => {
    const { tenant, stub } = await tenantWith(1);
    const scopes = await within(stub, START_MS, ({ store }, state) => {
      // Beside the tenant's own budget; unit and scope both decide the order.
      state.storage.sql.exec(
        `WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
       INSERT INTO accounts (scope, unit, allocated, spent, reserved, debt, overdraft_limit, over_limit_mark, status,
         commit_overage_policy, settings, created_at_ms, updated_at_ms) SELECT printf('tenant:%s/agent:a%05d', ?, n / 2), iif(n % 2, 'TOKENS', 'CREDITS'),
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

test("every table is strict", async () => {
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
    "table audit",
    "index ended_leases_by_creation",
    "index finished_by_creation",
    "table lease_settings",
    "table leases",
    "table migrations",
    "table policies",
    "table rates",
    "index refunded_leases",
    "table reservations",
    "table tenant",
    "table tokens",
    "table windows",
  ]);
  for (const { type, sql } of ddl) if (type === "table") expect(sql).toMatch(/STRICT(, WITHOUT ROWID)?$/);
});

/** A step's number, its name and the beginning of its text's digest. */
async function printOf({ version, name, statements }: Migration): Promise<string> {
  const text = statements.join(";").replaceAll(/\s+/g, " ");
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  const hex = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${version} ${name} ${hex.slice(0, 16)}`;
}

test("the steps are those that were shipped", async () => {
  // When a line of this fails, a step was edited. Put it back as it was and append a new one: databases written by the
  // old text exist, and only the list's end may grow.
  expect(await Promise.all(MIGRATIONS.map(printOf))).toEqual([
    "1 ledger 9c36ed240691dfd6",
    "2 reservations 3122a0cb25f1a98b",
    "3 api key settings 678002f79590dfe9",
    "4 governance 481033fb0dcaaa97",
    "5 policies and periods 61d1bf18551429cf",
    "6 tokens 1ec7b09f35bcffba",
    "7 leases 79881c69342458be",
  ]);
  expect(SCHEMA_VERSION).toBe(MIGRATIONS.length);
  expect(await Promise.all(REGISTRY_MIGRATIONS.map(printOf))).toEqual(["1 registry cb49d25729d850c7"]);
});

test("reservations of the first version are all there in the next one, active and finished", async () => {
  await within(stubOf(freshTenantName()), START_MS, ({ store }, state) => {
    const { sql } = state.storage;
    sql.exec(
      "CREATE TABLE migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at_ms INTEGER NOT NULL) STRICT",
    );
    sql.exec("INSERT INTO migrations VALUES (1, 'ledger', 1)");
    for (const statement of MIGRATIONS[0]?.statements ?? []) sql.exec(statement);
    const hold = `'TOKENS', 9223372036854775807, '["tenant:a"]', 'REJECT', 5, 6, 7, 8, NULL,
      '{"subject":{"tenant":"a"},"action":{"kind":"k","name":"n"}}', 'key', 'k', 'print', '{}'`;
    sql.exec(`INSERT INTO holds VALUES ('rAAA0000000000000001x', ${hold})`);
    sql.exec(
      `INSERT INTO finished VALUES ('rAAA0000000000000002x', ${hold}, 'COMMITTED', 9, 3, 'c', 'p', '{}', NULL)`,
    );
    migrate(state.storage, START_MS);
    const active = store.findReservation(["rAAA0000000000000001"]);
    expect(active).toMatchObject({
      status: "ACTIVE",
      amount: 2n ** 63n - 1n,
      expiresAtMs: 6,
      extensionsMax: 8,
    });
    expect([...store.scanDeadlines()].map(({ id }) => id)).toEqual([active?.id]);
    expect(store.findReservation(["rAAA0000000000000002"])).toMatchObject({
      status: "COMMITTED",
      charged: 3n,
      finishedAtMs: 9,
      keyId: "key",
      settled: { key: "c", fingerprint: "p", reply: "{}" },
    });
  });
});

test("a page by creation or by id is read from an index, wherever it begins", async () => {
  const { stub } = await tenantWith(1);
  const plans = await within(stub, START_MS, (budget, state) => {
    const { store } = budget;
    const found: string[] = [];
    const explaining = ((text: string, ...values: unknown[]) => {
      const cursor = state.storage.sql.exec<{ detail: string }>(`EXPLAIN QUERY PLAN ${text}`, ...values);
      found.push(
        cursor
          .toArray()
          .map(({ detail }) => detail)
          .join("; "),
      );
      return state.storage.sql.exec(text, ...values);
    }) as SqlStorage["exec"];
    const place = { createdAtMs: 5, id: "r" };
    return withExec(budget, explaining, () => {
      for (const order of ["created", "id"] as const) {
        for (const descending of [true, false]) {
          const range = { above: { createdAtMs: 0, id: "" }, below: place, rowsMax: 51 };
          [...store.scanReservations({ order, descending, halves: ["finished"], ...range })];
        }
      }
      return found;
    });
  });
  expect(plans.length).toBe(4);
  for (const [index, plan] of plans.entries()) {
    expect(plan).not.toContain("TEMP B-TREE");
    expect(plan).toMatch(
      index < 2
        ? /SEARCH reservations USING COVERING INDEX finished_by_creation \(created_at_ms/
        : /SEARCH reservations USING (PRIMARY KEY|COVERING INDEX \w+) \(finished=\? AND id>\? AND id<\?\)/,
    );
  }
});

describe("a database of an earlier version", () => {
  const NOW_MS = 1_800_000_001_000;
  const acme = { subject: { tenant: "acme", agent: "A" }, action: { kind: "llm", name: "chat" } };

  // What the first version wrote (kept as SQL), brought as far as each later one would have.
  const EARLIER = MIGRATIONS.slice(0, -1).map(({ version }) => version);

  test.each(EARLIER)("%i opens in the newest with all that is in it, and goes on", async (version) => {
    const stub = stubOf("acme");
    await within(stub, NOW_MS, async (_, state) => {
      await state.storage.deleteAll();
      state.storage.sql.exec(version1).toArray();
      applyMigrations(state.storage, MIGRATIONS.slice(0, version), NOW_MS);
    });
    await evictDurableObject(stub);
    await within(stub, NOW_MS, async (budget, state) => {
      const versions = state.storage.sql.exec("SELECT max(version) AS version FROM migrations").toArray();
      expect(versions).toEqual([{ version: SCHEMA_VERSION }]);
      const caller = {
        keyId: "070707070707",
        digest: "839d8a369e239c41844e5b8836546261ad8f61766a9bfc15511530fa13e10836",
      };

      const before = bodyOf(await budget.balances({ tenant: "acme" }, caller));
      expect(before.balances[0]).toMatchObject({
        allocated: { amount: 9007199254740993n },
        spent: { amount: 150n },
        reserved: { amount: 100n },
        overdraft_limit: { amount: 5n },
      });
      const ask = { ...acme, estimate: tokens(100), ttl_ms: 86_400_000 };
      const again = bodyOf(
        await budget.reserve({ ...ask, idempotency_key: "held", metadata: { trace: 1 } }, caller),
      );
      const id = again.reservation_id ?? "";
      expect(bodyOf(await budget.getReservation(id, caller))).toMatchObject({ status: "ACTIVE" });
      const settle = { idempotency_key: "c2", actual: tokens(40) };
      expect(bodyOf(await budget.commit(id, settle, caller))).toMatchObject({ charged: tokens(40n) });
      const credit = { operation: "CREDIT", amount: tokens(50), idempotency_key: "f" } as const;
      const funded = await budget.fund({ scope: "tenant:acme/agent:a", unit: "TOKENS" }, credit);
      expect(bodyOf(funded)).toMatchObject({ new_allocated: tokens(1050n) });

      expect(bodyOf(await budget.listApiKeys({})).keys).toMatchObject([
        { key_id: "acme_070707070707", status: "ACTIVE" },
      ]);
      expect(bodyOf(await budget.updateTenant({ status: "SUSPENDED" }))).toMatchObject({
        name: "Acme",
        status: "SUSPENDED",
        metadata: { plan: "pro" },
      });
      expect(bodyOf(await budget.listAudit({})).logs).toMatchObject([{ operation: "updateTenant" }]);
    });
    const listed = bodyOf(await registryOf(env).list({ search: "acme" }));
    expect(listed.tenants).toMatchObject([{ tenant_id: "acme", status: "SUSPENDED" }]);
    await within(stub, NOW_MS, (_, state) => state.storage.deleteAlarm());
  });
});

// Each was written by the code of that version. Version 2 never stood alone: it came together with 3.
describe.each([
  [3, version3],
  [4, version4],
  [5, version5],
  [6, version6],
])("a database that version %i wrote", (version, text) => {
  test("is read to the last row, and goes on", async () => {
    const stub = stubOf("acme");
    const nowMs = 1_800_003_601_000;
    await within(stub, nowMs, async (_, state) => {
      await state.storage.deleteAll();
      state.storage.sql.exec(text).toArray();
    });
    await evictDurableObject(stub);
    await within(stub, nowMs, async (budget, state) => {
      const { store } = budget;
      const versions = state.storage.sql.exec("SELECT max(version) AS version FROM migrations").toArray();
      expect(versions).toEqual([{ version: SCHEMA_VERSION }]);
      const tenant = [`tenant:acme`];
      const accounts = store.readAccounts(tenant, "TOKENS");
      expect(accounts).toMatchObject([{ allocated: 9007199254740993n, spent: 157n, overdraftLimit: 5n }]);
      expect([...store.scanApiKeys()]).toMatchObject([
        { keyId: "070707070707", remainingTtl: true, scopeFilter: tenant },
        { keyId: "080808080808", remainingTtl: false, allowedOrigins: ["https://app.example"] },
        version >= 4
          ? { keyId: "090909090909", revokedAtMs: 1_800_000_000_000, revokedReason: "lost" }
          : { keyId: "090909090909", revokedAtMs: undefined },
      ]);
      expect(store.readTenant()).toMatchObject(
        version >= 4
          ? { status: "SUSPENDED", suspendedAtMs: 1_800_003_600_000, revision: version >= 6 ? 4 : 2 }
          : { status: "ACTIVE", suspendedAtMs: undefined, revision: 1 },
      );
      expect([...store.scanAudit()].map(({ operation }) => operation)).toEqual(AUDITED[version]);
      if (version >= 4) {
        const frozen = store.readAccounts(["tenant:acme/agent:a"], "CREDITS");
        expect(frozen).toMatchObject([{ status: "FROZEN", allocated: 3n }]);
      }
      if (version >= 5) {
        expect(store.readPolicies()).toMatchObject([
          { name: "capped", rules: { caps: { max_tokens: 5 }, rates: { reservationsPerMinute: 32 } } },
        ]);
        expect(store.readRate("pol_acme_1 reservations tenant:acme/agent:a")).toMatchObject({ granted: 2 });
        const passed = store.readWindows({ scope: "tenant:acme/agent:a", unit: "TOKENS" }, 9);
        expect(passed).toMatchObject([{ startMs: 1_800_000_000_000, spent: 157n, reserved: 100n }]);
      }
      if (version >= 6) {
        const [token] = store.readTokensAfter("", 9);
        expect(token).toMatchObject({ scope: "tenant:acme", cap: 50n, maxPerOperation: 20n });
        expect(store.readAccounts([`x-token:${token?.tokenId}`], "TOKENS")).toMatchObject([
          { allocated: 50n, reserved: 5n },
        ]);
        expect(store.readApiKey("080808080808")).toMatchObject({ mayIssueTokens: true });
      }

      // What was held there is settled here, in its own window where there are windows.
      const caller = {
        keyId: "070707070707",
        digest: "839d8a369e239c41844e5b8836546261ad8f61766a9bfc15511530fa13e10836",
      };
      const held = [...store.scanDeadlines()].map(({ id }) => store.readReservation(id));
      const id = held.find((each) => each?.created.key === "held")?.id ?? "";
      const settled = await budget.commit(id, { idempotency_key: "s", actual: tokens(40) }, caller);
      expect(bodyOf(settled)).toMatchObject({ charged: tokens(40n), released: tokens(60n) });
      expect(bodyOf(await budget.updateTenant({ status: "CLOSED" }))).toMatchObject({ status: "CLOSED" });
      expect([...store.scanDeadlines()]).toEqual([]);
      expect(store.readAccounts(tenant, "TOKENS")).toMatchObject([
        { spent: 197n, reserved: 0n, status: "CLOSED" },
      ]);
      await state.storage.deleteAlarm();
    });
  });
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

test("what a transaction remembers is never older than its own rows", async () => {
  const { tenant, stub } = await tenantWith(100);
  await within(stub, START_MS, ({ store }) => {
    const scopes = [`tenant:${tenant}`];
    const spent = () => store.readAccounts(scopes, "TOKENS")[0]?.spent;
    const spend = (amount: bigint) => {
      for (const account of store.readAccounts(scopes, "TOKENS"))
        store.updateAccount({ ...account, spent: amount });
    };
    store.transact(() => {
      expect(spent()).toBe(0n);
      spend(7n);
      expect(spent()).toBe(7n);
      // However it is read: what is written at the end only is there for every reader before.
      expect(store.readAccounts(scopes)[0]?.spent).toBe(7n);
      spend(8n);
      expect([...store.scanAccounts()][0]?.spent).toBe(8n);
      // Whoever writes past the store's own ways is seen as well: a budget, a tenant, and a key that was not there.
      store.change("UPDATE accounts SET spent = 9");
      expect(spent()).toBe(9n);
      expect(store.readTenant()?.name).toBe(tenant);
      store.change("UPDATE tenant SET name = 'renamed'");
      expect(store.readTenant()?.name).toBe("renamed");
    });
    store.storage.sql.exec("UPDATE accounts SET spent = 11");
    expect(store.transact(spent)).toBe(11n);
  });
});
