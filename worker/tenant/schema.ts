// The tables of one tenant's database, as a frozen, ordered list of steps. Invariant: a step that has shipped never
// changes, and new ones are added at the end (see migrations.ts). Who may call: TenantBudget, when it wakes and when a
// tenant is made.

import { applyMigrations, type Migration } from "../migrations.ts";

// WITHOUT ROWID, and no secondary index where it can be done without: an insert then writes one row. Figures are int64, written through CAST from
// decimal text; STRICT refuses the REAL that an overflow would give, CHECK whatever should never be negative.
export const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    name: "ledger",
    statements: [
      `CREATE TABLE tenant (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        tenant_id TEXT NOT NULL,
        name TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('ACTIVE', 'SUSPENDED', 'CLOSED')),
        parent_tenant_id TEXT,
        metadata TEXT,
        default_commit_overage_policy TEXT,
        default_reservation_ttl_ms INTEGER NOT NULL,
        max_reservation_ttl_ms INTEGER NOT NULL,
        max_reservation_extensions INTEGER NOT NULL,
        reservation_expiry_policy TEXT NOT NULL,
        created_at_ms INTEGER NOT NULL,
        updated_at_ms INTEGER NOT NULL
      ) STRICT`,
      `CREATE TABLE accounts (
        scope TEXT NOT NULL,
        unit TEXT NOT NULL,
        allocated INTEGER NOT NULL CHECK (allocated >= 0),
        spent INTEGER NOT NULL CHECK (spent >= 0),
        reserved INTEGER NOT NULL CHECK (reserved >= 0),
        debt INTEGER NOT NULL CHECK (debt >= 0),
        overdraft_limit INTEGER NOT NULL CHECK (overdraft_limit >= 0),
        over_limit_mark INTEGER NOT NULL CHECK (over_limit_mark IN (0, 1)),
        status TEXT NOT NULL CHECK (status IN ('ACTIVE', 'FROZEN', 'CLOSED')),
        commit_overage_policy TEXT,
        settings TEXT NOT NULL,
        created_at_ms INTEGER NOT NULL,
        updated_at_ms INTEGER NOT NULL,
        PRIMARY KEY (scope, unit)
      ) STRICT, WITHOUT ROWID`,
      `CREATE TABLE holds (
        id TEXT NOT NULL PRIMARY KEY,
        unit TEXT NOT NULL,
        amount INTEGER NOT NULL CHECK (amount >= 0),
        scopes TEXT NOT NULL,
        overage_policy TEXT NOT NULL,
        created_at_ms INTEGER NOT NULL,
        expires_at_ms INTEGER NOT NULL,
        grace_period_ms INTEGER NOT NULL,
        extensions_max INTEGER NOT NULL,
        extensions TEXT,
        details TEXT NOT NULL,
        key_id TEXT,
        created_key TEXT NOT NULL,
        created_fingerprint TEXT NOT NULL,
        created_reply TEXT NOT NULL
      ) STRICT, WITHOUT ROWID`,
      `CREATE TABLE finished (
        id TEXT NOT NULL PRIMARY KEY,
        unit TEXT NOT NULL,
        amount INTEGER NOT NULL CHECK (amount >= 0),
        scopes TEXT NOT NULL,
        overage_policy TEXT NOT NULL,
        created_at_ms INTEGER NOT NULL,
        expires_at_ms INTEGER NOT NULL,
        grace_period_ms INTEGER NOT NULL,
        extensions_max INTEGER NOT NULL,
        extensions TEXT,
        details TEXT NOT NULL,
        key_id TEXT,
        created_key TEXT NOT NULL,
        created_fingerprint TEXT NOT NULL,
        created_reply TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('COMMITTED', 'RELEASED', 'EXPIRED')),
        finished_at_ms INTEGER NOT NULL,
        charged INTEGER CHECK (charged >= 0),
        settled_key TEXT,
        settled_fingerprint TEXT,
        settled_reply TEXT,
        report TEXT
      ) STRICT, WITHOUT ROWID`,
      // The day stands first, so that what has expired is one range; a lookup asks for a handful of days.
      `CREATE TABLE answers (
        expires_day INTEGER NOT NULL,
        namespace TEXT NOT NULL,
        key TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        reply TEXT NOT NULL,
        PRIMARY KEY (expires_day, namespace, key)
      ) STRICT, WITHOUT ROWID`,
      `CREATE TABLE api_keys (
        key_id TEXT NOT NULL PRIMARY KEY,
        digest TEXT NOT NULL,
        prefix TEXT NOT NULL,
        name TEXT NOT NULL,
        description TEXT,
        permissions TEXT NOT NULL,
        scope_filter TEXT,
        metadata TEXT,
        created_at_ms INTEGER NOT NULL,
        expires_at_ms INTEGER NOT NULL,
        revoked_at_ms INTEGER
      ) STRICT, WITHOUT ROWID`,
    ],
  },
  {
    // Held and finished reservations in one table. Settling moves a row to its other half, which counts as one written
    // row, where deleting here and inserting there were two; the row saved pays for the index that listings need.
    version: 2,
    name: "reservations",
    statements: [
      `CREATE TABLE reservations (
        finished INTEGER NOT NULL CHECK (finished IN (0, 1)),
        id TEXT NOT NULL,
        unit TEXT NOT NULL,
        amount INTEGER NOT NULL CHECK (amount >= 0),
        scopes TEXT NOT NULL,
        overage_policy TEXT NOT NULL,
        created_at_ms INTEGER NOT NULL,
        expires_at_ms INTEGER NOT NULL,
        grace_period_ms INTEGER NOT NULL,
        extensions_max INTEGER NOT NULL,
        extensions TEXT,
        details TEXT NOT NULL,
        key_id TEXT,
        created_key TEXT NOT NULL,
        created_fingerprint TEXT NOT NULL,
        created_reply TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('ACTIVE', 'COMMITTED', 'RELEASED', 'EXPIRED')),
        finished_at_ms INTEGER,
        charged INTEGER CHECK (charged >= 0),
        settled_key TEXT,
        settled_fingerprint TEXT,
        settled_reply TEXT,
        report TEXT,
        CHECK ((finished = 0) = (status = 'ACTIVE')),
        CHECK ((finished = 0) = (finished_at_ms IS NULL)),
        PRIMARY KEY (finished, id)
      ) STRICT, WITHOUT ROWID`,
      `INSERT INTO reservations SELECT 0, id, unit, amount, scopes, overage_policy, created_at_ms, expires_at_ms,
        grace_period_ms, extensions_max, extensions, details, key_id, created_key, created_fingerprint, created_reply,
        'ACTIVE', NULL, NULL, NULL, NULL, NULL, NULL FROM holds`,
      "INSERT INTO reservations SELECT 1, * FROM finished",
      "DROP TABLE holds",
      "DROP TABLE finished",
      // Only what is finished: active reservations are bounded in number, and an entry for each would be a row more.
      "CREATE INDEX finished_by_creation ON reservations (created_at_ms, id) WHERE finished = 1",
    ],
  },
  {
    version: 3,
    name: "api key settings",
    statements: [
      "ALTER TABLE api_keys ADD COLUMN remaining_ttl_ms INTEGER NOT NULL DEFAULT 1 CHECK (remaining_ttl_ms IN (0, 1))",
      "ALTER TABLE api_keys ADD COLUMN allowed_origins TEXT",
    ],
  },
  {
    version: 4,
    name: "governance",
    statements: [
      "ALTER TABLE tenant ADD COLUMN revision INTEGER NOT NULL DEFAULT 1",
      "ALTER TABLE tenant ADD COLUMN suspended_at_ms INTEGER",
      "ALTER TABLE tenant ADD COLUMN closed_at_ms INTEGER",
      // Whether the registry of tenants has been told of this row; each new writing of the row begins at 0 again.
      "ALTER TABLE tenant ADD COLUMN announced INTEGER NOT NULL DEFAULT 0 CHECK (announced IN (0, 1))",
      "ALTER TABLE api_keys ADD COLUMN revoked_reason TEXT",
      // With a rowid, so that the number of a row is its place and adding one writes one row.
      `CREATE TABLE audit (
        seq INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        entry TEXT NOT NULL
      ) STRICT`,
    ],
  },
  {
    version: 5,
    name: "policies and periods",
    statements: [
      `CREATE TABLE policies (
        policy_id TEXT NOT NULL PRIMARY KEY,
        made INTEGER NOT NULL,
        name TEXT NOT NULL,
        description TEXT,
        scope_pattern TEXT NOT NULL,
        priority INTEGER NOT NULL,
        rules TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('ACTIVE', 'DISABLED')),
        effective_from_ms INTEGER,
        effective_until_ms INTEGER,
        created_at_ms INTEGER NOT NULL,
        updated_at_ms INTEGER NOT NULL
      ) STRICT, WITHOUT ROWID`,
      `CREATE TABLE rates (
        name TEXT NOT NULL PRIMARY KEY,
        minute INTEGER NOT NULL,
        granted INTEGER NOT NULL
      ) STRICT, WITHOUT ROWID`,
      "ALTER TABLE accounts ADD COLUMN period TEXT",
      "ALTER TABLE accounts ADD COLUMN period_allocated INTEGER CHECK (period_allocated >= 0)",
      "ALTER TABLE accounts ADD COLUMN window_start_ms INTEGER",
      "ALTER TABLE accounts ADD COLUMN window_end_ms INTEGER",
      "ALTER TABLE accounts ADD COLUMN carried_debt INTEGER CHECK (carried_debt >= 0)",
      `CREATE TABLE windows (
        scope TEXT NOT NULL,
        unit TEXT NOT NULL,
        start_ms INTEGER NOT NULL,
        end_ms INTEGER NOT NULL,
        allocated INTEGER NOT NULL CHECK (allocated >= 0),
        spent INTEGER NOT NULL CHECK (spent >= 0),
        reserved INTEGER NOT NULL CHECK (reserved >= 0),
        debt INTEGER NOT NULL CHECK (debt >= 0),
        carried_debt INTEGER NOT NULL CHECK (carried_debt >= 0),
        over_limit_mark INTEGER NOT NULL CHECK (over_limit_mark IN (0, 1)),
        PRIMARY KEY (scope, unit, start_ms)
      ) STRICT, WITHOUT ROWID`,
      "ALTER TABLE reservations ADD COLUMN windows TEXT",
    ],
  },
  {
    version: 6,
    name: "tokens",
    statements: [
      "ALTER TABLE api_keys ADD COLUMN may_issue_tokens INTEGER NOT NULL DEFAULT 0 CHECK (may_issue_tokens IN (0, 1))",
      // Their caps are accounts like any other. No index by their end: a walk in turns finds the old ones.
      `CREATE TABLE tokens (
        token_id TEXT NOT NULL PRIMARY KEY,
        terms TEXT NOT NULL,
        created_at_ms INTEGER NOT NULL,
        expires_at_ms INTEGER NOT NULL,
        revoked_at_ms INTEGER
      ) STRICT, WITHOUT ROWID`,
    ],
  },
  {
    // As with reservations: one half holds something, and ending moves a row to the other.
    version: 7,
    name: "leases",
    statements: [
      `CREATE TABLE leases (
        ended INTEGER NOT NULL CHECK (ended IN (0, 1)),
        id TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        fingerprint TEXT NOT NULL,
        subject TEXT NOT NULL,
        unit TEXT NOT NULL,
        scopes TEXT NOT NULL,
        windows TEXT,
        granted INTEGER NOT NULL CHECK (granted >= 0),
        spent INTEGER NOT NULL CHECK (spent >= 0),
        returned INTEGER NOT NULL CHECK (returned >= 0 AND returned <= granted),
        held INTEGER NOT NULL CHECK (held >= 0),
        charged INTEGER NOT NULL CHECK (charged >= 0),
        sequence INTEGER NOT NULL CHECK (sequence >= 0),
        shortage TEXT,
        ttl_ms INTEGER NOT NULL,
        grace_ms INTEGER NOT NULL,
        on_expiry TEXT NOT NULL CHECK (on_expiry IN ('charge', 'refund')),
        holder TEXT,
        key_id TEXT,
        status TEXT NOT NULL CHECK (status IN ('ACTIVE', 'RETURNED', 'EXPIRED')),
        created_at_ms INTEGER NOT NULL,
        renewed_at_ms INTEGER NOT NULL,
        expires_at_ms INTEGER NOT NULL,
        ended_at_ms INTEGER,
        CHECK ((ended = 0) = (ended_at_ms IS NULL)),
        CHECK (ended = 1 OR status <> 'EXPIRED'),
        PRIMARY KEY (ended, id)
      ) STRICT, WITHOUT ROWID`,
      "CREATE INDEX ended_leases_by_creation ON leases (created_at_ms, id) WHERE ended = 1",
      // What may have been spent beyond all budgets is a sum over these alone.
      "CREATE INDEX refunded_leases ON leases (unit) WHERE status = 'EXPIRED' AND on_expiry = 'refund'",
      `CREATE TABLE lease_settings (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        epoch INTEGER NOT NULL,
        on_expiry TEXT NOT NULL CHECK (on_expiry IN ('charge', 'refund')),
        ttl_ms_max INTEGER NOT NULL,
        grace_ms INTEGER NOT NULL
      ) STRICT`,
    ],
  },
];

/** The newest version that this code knows. */
export const SCHEMA_VERSION = MIGRATIONS.length;

/** Brings the database to {@link SCHEMA_VERSION}. @throws Error with `code: "schema_newer"` */
export function migrate(storage: DurableObjectStorage, nowMs: number): void {
  applyMigrations(storage, MIGRATIONS, nowMs);
}
