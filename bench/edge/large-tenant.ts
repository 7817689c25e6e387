// A tenant with a past: many finished and active reservations, written straight into its database while the authority
// is stopped. Each row is a copy of a real one under an id and times of its own, so whatever columns there are, they hold
// what the authority writes. Called by edge.ts.

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { dayPrefix } from "../../src/ledger/ids.ts";
import { COMMIT_TOKENS, RESERVE_TOKENS } from "./flows.ts";
import { PAST_RETENTION_EVERY } from "./settings.ts";

const MS_PER_DAY = 86_400_000;
/** Days over which finished reservations are spread: within the retention, and the days since those past it. */
const SPREAD_DAYS = 28;
const PAST_RETENTION_DAYS = 40;

export interface Past {
  readonly finished: number;
  readonly active: number;
}

/** The balance that this past leaves, beside what the two templates did. */
export function balanceOf({ finished, active }: Past) {
  return { spent: finished * COMMIT_TOKENS, reserved: active * RESERVE_TOKENS };
}

/** Needs one active and one committed reservation to copy. */
export function writePast(dataDir: string, tenant: string, past: Past, nowMs: number): void {
  const database = new DatabaseSync(databaseOf(dataDir, tenant));
  try {
    database.exec("PRAGMA synchronous = OFF; BEGIN");
    const today = Math.floor(nowMs / MS_PER_DAY);
    // Day after day, so that rows come in the order of their keys: anything else writes every page many times over.
    for (const { daysAgo, count } of daysOf(past.finished)) {
      copyRows(database, "finished = 1", count, {
        id: `'${dayPrefix(today - daysAgo)}' || printf('%016d', n) || substr(id, 21)`,
        created_key: `'past-${daysAgo}-' || n`,
        created_at_ms: `created_at_ms - ${daysAgo * MS_PER_DAY} + n`,
        expires_at_ms: `expires_at_ms - ${daysAgo * MS_PER_DAY} + n`,
        finished_at_ms: `finished_at_ms - ${daysAgo * MS_PER_DAY} + n`,
      });
    }
    copyRows(database, "finished = 0", past.active, {
      id: "substr(id, 1, 4) || printf('%016d', n) || substr(id, 21)",
      created_key: "'open-' || n",
      // As if Workers with the binding had made them: one API key may not hold that many.
      key_id: "NULL",
      // All end after the bench.
      expires_at_ms: `expires_at_ms + ${MS_PER_DAY / 2} + n`,
    });
    const { spent, reserved } = balanceOf(past);
    database.prepare("UPDATE accounts SET spent = spent + ?, reserved = reserved + ?").run(spent, reserved);
    database.exec("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)");
  } finally {
    database.close();
  }
}

/** How many finished reservations lie how far back, oldest first: a share past the retention, the rest spread evenly. */
function daysOf(finished: number): { daysAgo: number; count: number }[] {
  const old = Math.floor(finished / PAST_RETENTION_EVERY);
  const days = [{ daysAgo: PAST_RETENTION_DAYS, count: old }];
  let left = finished - old;
  for (let daysAgo = SPREAD_DAYS; daysAgo > 0; daysAgo -= 1) {
    const count = Math.ceil(left / daysAgo);
    days.push({ daysAgo, count });
    left -= count;
  }
  return days.filter(({ count }) => count > 0);
}

/** Copies one reservation `count` times, with these columns computed from it and the copy's number `n`. */
function copyRows(
  database: DatabaseSync,
  template: string,
  count: number,
  changed: Record<string, string>,
): void {
  const columns = database.prepare("SELECT name FROM pragma_table_info('reservations')").all();
  const values = columns.map(({ name }) => changed[String(name)] ?? String(name));
  database.exec(
    `INSERT INTO reservations
     WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ${count})
     SELECT ${values.join(", ")} FROM numbers CROSS JOIN (SELECT * FROM reservations WHERE ${template} LIMIT 1)`,
  );
}

/** The file whose tenant this is; the names of the files are ids of the platform's own. */
function databaseOf(dataDir: string, tenant: string): string {
  const folder = join(dataDir, "databases", "purser-TenantBudget");
  for (const name of readdirSync(folder)) {
    if (!name.endsWith(".sqlite") || name === "metadata.sqlite") continue;
    const database = new DatabaseSync(join(folder, name));
    const row = database.prepare("SELECT tenant_id FROM tenant").get();
    database.close();
    if (row?.tenant_id === tenant) return join(folder, name);
  }
  throw new Error(`no database of ${tenant} in ${folder}`);
}
