// A LedgerStore over a Durable Object's SQLite. Invariant: figures cross SQL as decimal text with CAST, exact over int64;
// every cursor is read to its end before the method returns; the database is the truth, and what is remembered of it
// lasts for one transaction at most, so that a group of calls reads its tenant, key and accounts once, and writes an
// account once however many of them change it.
// Who may call: TenantBudget. Rows written are counted by a test: 2 per reserve, 3 per commit, 1 per pruned row.

import type {
  AccountKey,
  AccountRecord,
  ActiveReservation,
  Answer,
  AnswerQuery,
  ApiKeyRecord,
  AuditRecord,
  Deadline,
  FinishedReservation,
  LedgerStore,
  PolicyRecord,
  RateRecord,
  Reservation,
  ReservationScan,
  TenantRecord,
  Unit,
  WindowRecord,
} from "purser/ledger";
import { int64Text } from "purser/ledger";
import {
  type AccountRow,
  type AnswerRow,
  type ApiKeyRow,
  type AuditRow,
  accountOf,
  apiKeyOf,
  auditOf,
  json,
  jsonOrNull,
  listOf,
  type PolicyRow,
  policyOf,
  type ReservationRow,
  reservationOf,
  type TenantRow,
  tenantOf,
  type WindowRow,
  windowOf,
} from "./rows.ts";

const ACCOUNT_COLUMNS = `scope, unit, CAST(allocated AS TEXT) AS allocated, CAST(spent AS TEXT) AS spent,
  CAST(reserved AS TEXT) AS reserved, CAST(debt AS TEXT) AS debt, CAST(overdraft_limit AS TEXT) AS overdraft_limit,
  over_limit_mark, status, commit_overage_policy, settings, created_at_ms, updated_at_ms, period,
  CAST(period_allocated AS TEXT) AS period_allocated, window_start_ms, window_end_ms,
  CAST(carried_debt AS TEXT) AS carried_debt`;

const WINDOW_COLUMNS = `start_ms, end_ms, CAST(allocated AS TEXT) AS allocated, CAST(spent AS TEXT) AS spent,
  CAST(reserved AS TEXT) AS reserved, CAST(debt AS TEXT) AS debt, CAST(carried_debt AS TEXT) AS carried_debt,
  over_limit_mark`;

const HOLD_COLUMNS = `id, unit, CAST(amount AS TEXT) AS amount, scopes, overage_policy, created_at_ms, expires_at_ms,
  grace_period_ms, extensions_max, extensions, details, key_id, created_key, created_fingerprint, created_reply, windows`;

const RESERVATION_COLUMNS = `${HOLD_COLUMNS}, status, finished_at_ms, CAST(charged AS TEXT) AS charged,
  settled_key, settled_fingerprint, settled_reply, report`;

/** Sorts after every character of an id, so that `stem … stem~` is the range of ids that begin with the stem. */
const AFTER_ID = "~";

/** What the outermost transaction has read or written; null is a row that is known not to be there. */
interface Known {
  tenant?: TenantRecord | undefined;
  readonly apiKeys: Map<string, ApiKeyRecord>;
  readonly accounts: Map<string, AccountRecord | null>;
  /** Of these the database does not know the newest figures yet. */
  readonly unwritten: Set<string>;
}

const nothingKnown = (): Known => ({ apiKeys: new Map(), accounts: new Map(), unwritten: new Set() });

interface DeadlineRow {
  readonly id: string;
  readonly deadline_ms: number;
  readonly unit: string;
  readonly scopes: string;
  readonly key_id: string | null;
}

/** Rows that a scan reads at once. */
const PAGE_ROWS = 500;

/** A scan page by page, since a cursor must not stay open while the caller does something else. */
function* pages<Record, Position>(
  start: Position,
  read: (after: Position) => readonly (readonly [Record, Position])[],
): Iterable<Record> {
  let position = start;
  for (;;) {
    const page = read(position);
    for (const [record] of page) yield record;
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE_ROWS) return;
    position = last[1];
  }
}

export class SqliteStore implements LedgerStore {
  readonly storage: DurableObjectStorage;
  #sql: Pick<SqlStorage, "exec">;
  #depth = 0;
  #known: Known | undefined;
  /** What an inner transaction threw, boxed: a throw may be anything. The outermost must not be kept then. */
  #failure: { readonly error: unknown } | undefined;

  constructor(storage: DurableObjectStorage) {
    this.storage = storage;
    this.#sql = storage.sql;
  }

  /** For statements that may read or change anything: whoever takes this makes the store write and forget what it knows. */
  get sql(): Pick<SqlStorage, "exec"> {
    this.#writeAccounts();
    this.#known = undefined;
    return this.#sql;
  }

  set sql(sql: Pick<SqlStorage, "exec">) {
    this.#writeAccounts();
    this.#known = undefined;
    this.#sql = sql;
  }

  /** An inner transaction costs nothing: it has no savepoint of its own, so its throw undoes the outermost. */
  transact<T>(decide: () => T): T {
    return this.#depth === 0 ? this.#outermost(decide) : this.#inner(decide);
  }

  #outermost<T>(decide: () => T): T {
    this.#depth = 1;
    try {
      return this.storage.transactionSync(() => {
        const result = decide();
        if (this.#failure !== undefined) throw this.#failure.error;
        this.#writeAccounts();
        return result;
      });
    } finally {
      this.#depth = 0;
      this.#known = undefined;
      this.#failure = undefined;
    }
  }

  #inner<T>(decide: () => T): T {
    this.#depth += 1;
    try {
      return decide();
    } catch (error) {
      this.#failure ??= { error };
      throw error;
    } finally {
      this.#depth -= 1;
    }
  }

  /** Outside a transaction nothing is remembered, not even until the next line. */
  #remembered(): Known {
    if (this.#depth === 0) return nothingKnown();
    this.#known ??= nothingKnown();
    return this.#known;
  }

  latestTimeMs(): number {
    this.#writeAccounts();
    const [row] = this.#rows<{ latest: number }>(
      `SELECT max(coalesce((SELECT max(updated_at_ms) FROM accounts), 0),
                  coalesce((SELECT max(updated_at_ms) FROM tenant), 0)) AS latest`,
    );
    return row?.latest ?? 0;
  }

  readTenant(): TenantRecord | undefined {
    const known = this.#remembered();
    if (known.tenant === undefined) {
      const [row] = this.#rows<TenantRow>("SELECT * FROM tenant WHERE id = 1");
      known.tenant = row === undefined ? undefined : tenantOf(row);
    }
    return known.tenant;
  }

  writeTenant(tenant: TenantRecord): void {
    this.sql.exec(
      // A new row each time, so that `announced` is 0 again.
      `INSERT OR REPLACE INTO tenant (id, tenant_id, name, status, parent_tenant_id, metadata,
         default_commit_overage_policy, default_reservation_ttl_ms, max_reservation_ttl_ms, max_reservation_extensions,
         reservation_expiry_policy, revision, created_at_ms, updated_at_ms, suspended_at_ms, closed_at_ms)
       VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      tenant.tenantId,
      tenant.name,
      tenant.status,
      tenant.parentTenantId ?? null,
      jsonOrNull(tenant.metadata),
      tenant.defaultCommitOveragePolicy ?? null,
      tenant.defaultReservationTtlMs,
      tenant.maxReservationTtlMs,
      tenant.maxReservationExtensions,
      tenant.reservationExpiryPolicy,
      tenant.revision,
      tenant.createdAtMs,
      tenant.updatedAtMs,
      tenant.suspendedAtMs ?? null,
      tenant.closedAtMs ?? null,
    );
  }

  /** The tenant as long as the registry has not been told of its present revision. Not the ledger's business. */
  readUnannouncedTenant(): TenantRecord | undefined {
    const [row] = this.#rows<TenantRow>("SELECT * FROM tenant WHERE id = 1 AND announced = 0");
    return row === undefined ? undefined : tenantOf(row);
  }

  /** Notes that the registry knows this revision; a later one is still to be told. */
  markAnnounced(revision: number): void {
    this.#sql.exec("UPDATE tenant SET announced = 1 WHERE revision = ?", revision);
  }

  readAccounts(scopes: readonly string[], unit?: Unit): AccountRecord[] {
    if (unit === undefined) return this.#selectAccounts(scopes);
    const { accounts } = this.#remembered();
    const unknown = scopes.filter((scope) => !accounts.has(accountKey(scope, unit)));
    if (unknown.length > 0) {
      for (const scope of unknown) accounts.set(accountKey(scope, unit), null);
      for (const account of this.#selectAccounts(unknown, unit)) {
        accounts.set(accountKey(account.scope, unit), account);
      }
    }
    return scopes.flatMap((scope) => accounts.get(accountKey(scope, unit)) ?? []);
  }

  #selectAccounts(scopes: readonly string[], unit: Unit | null = null): AccountRecord[] {
    this.#writeAccounts();
    const rows = this.#rows<AccountRow>(
      `SELECT ${ACCOUNT_COLUMNS} FROM accounts
       WHERE scope IN (SELECT value FROM json_each(?)) AND (? IS NULL OR unit = ?)`,
      json(scopes),
      unit,
      unit,
    );
    return rows.map(accountOf).sort((a, b) => scopes.indexOf(a.scope) - scopes.indexOf(b.scope));
  }

  insertAccount(account: AccountRecord): void {
    this.sql.exec(
      `INSERT INTO accounts VALUES (?, ?, CAST(? AS INTEGER), CAST(? AS INTEGER), CAST(? AS INTEGER),
         CAST(? AS INTEGER), CAST(? AS INTEGER), ?, ?, ?, ?, ?, ?, ?, CAST(? AS INTEGER), ?, ?, CAST(? AS INTEGER))`,
      account.scope,
      account.unit,
      int64Text(account.allocated),
      int64Text(account.spent),
      int64Text(account.reserved),
      int64Text(account.debt),
      int64Text(account.overdraftLimit),
      account.overLimitMark ? 1 : 0,
      account.status,
      account.commitOveragePolicy ?? null,
      json(account.settings),
      account.createdAtMs,
      account.updatedAtMs,
      ...periodValues(account),
      ...windowValues(account),
    );
  }

  updateAccount(account: AccountRecord): void {
    if (this.#depth === 0) {
      this.#writeAccount(account);
      return;
    }
    const key = accountKey(account.scope, account.unit);
    const { accounts, unwritten } = this.#remembered();
    accounts.set(key, account);
    unwritten.add(key);
  }

  /** Brings what `updateAccount` put off into the database; before anything reads accounts there, and at the end. */
  #writeAccounts(): void {
    if (this.#known === undefined) return;
    const { accounts, unwritten } = this.#known;
    for (const key of unwritten) {
      const account = accounts.get(key);
      if (!account) throw new Error(`sqlite store: ${JSON.stringify(key)} is to be written and not known`);
      this.#writeAccount(account);
    }
    unwritten.clear();
  }

  #writeAccount(account: AccountRecord): void {
    this.#sql.exec(
      `UPDATE accounts SET allocated = CAST(? AS INTEGER), spent = CAST(? AS INTEGER), reserved = CAST(? AS INTEGER),
         debt = CAST(? AS INTEGER), over_limit_mark = ?, updated_at_ms = ?, window_start_ms = ?, window_end_ms = ?,
         carried_debt = CAST(? AS INTEGER) WHERE scope = ? AND unit = ?`,
      int64Text(account.allocated),
      int64Text(account.spent),
      int64Text(account.reserved),
      int64Text(account.debt),
      account.overLimitMark ? 1 : 0,
      account.updatedAtMs,
      ...windowValues(account),
      account.scope,
      account.unit,
    );
  }

  rewriteAccount(account: AccountRecord): void {
    this.sql.exec(
      `UPDATE accounts SET allocated = CAST(? AS INTEGER), spent = CAST(? AS INTEGER), reserved = CAST(? AS INTEGER),
         debt = CAST(? AS INTEGER), overdraft_limit = CAST(? AS INTEGER), over_limit_mark = ?, status = ?,
         commit_overage_policy = ?, settings = ?, updated_at_ms = ?, period = ?, period_allocated = CAST(? AS INTEGER),
         window_start_ms = ?, window_end_ms = ?, carried_debt = CAST(? AS INTEGER) WHERE scope = ? AND unit = ?`,
      int64Text(account.allocated),
      int64Text(account.spent),
      int64Text(account.reserved),
      int64Text(account.debt),
      int64Text(account.overdraftLimit),
      account.overLimitMark ? 1 : 0,
      account.status,
      account.commitOveragePolicy ?? null,
      json(account.settings),
      account.updatedAtMs,
      ...periodValues(account),
      ...windowValues(account),
      account.scope,
      account.unit,
    );
  }

  *scanAccounts(after?: { readonly scope: string; readonly unit: string }): Iterable<AccountRecord> {
    this.#writeAccounts();
    yield* pages(after ?? { scope: "", unit: "" }, (position) =>
      this.#rows<AccountRow>(
        `SELECT ${ACCOUNT_COLUMNS} FROM accounts WHERE (scope, unit) > (?, ?) ORDER BY scope, unit LIMIT ${PAGE_ROWS}`,
        position.scope,
        position.unit,
      ).map((row) => [accountOf(row), row]),
    );
  }

  countAccounts(): number {
    return this.#count("accounts");
  }

  findWindow({ scope, unit }: AccountKey, atMs: number): WindowRecord | undefined {
    const [row] = this.#rows<WindowRow>(
      `SELECT ${WINDOW_COLUMNS} FROM windows WHERE scope = ? AND unit = ? AND start_ms <= ?
       ORDER BY start_ms DESC LIMIT 1`,
      scope,
      unit,
      atMs,
    );
    return row === undefined ? undefined : windowOf(row);
  }

  readWindows({ scope, unit }: AccountKey, rowsMax: number): WindowRecord[] {
    return this.#rows<WindowRow>(
      `SELECT ${WINDOW_COLUMNS} FROM windows WHERE scope = ? AND unit = ? ORDER BY start_ms DESC LIMIT ?`,
      scope,
      unit,
      rowsMax,
    ).map(windowOf);
  }

  writeWindow({ scope, unit }: AccountKey, window: WindowRecord): void {
    this.#sql.exec(
      `INSERT INTO windows VALUES (?, ?, ?, ?, CAST(? AS INTEGER), CAST(? AS INTEGER), CAST(? AS INTEGER),
         CAST(? AS INTEGER), CAST(? AS INTEGER), ?)
       ON CONFLICT (scope, unit, start_ms) DO UPDATE SET end_ms = excluded.end_ms, allocated = excluded.allocated,
         spent = excluded.spent, reserved = excluded.reserved, debt = excluded.debt,
         carried_debt = excluded.carried_debt, over_limit_mark = excluded.over_limit_mark`,
      scope,
      unit,
      window.startMs,
      window.endMs,
      int64Text(window.allocated),
      int64Text(window.spent),
      int64Text(window.reserved),
      int64Text(window.debt),
      int64Text(window.carriedDebt),
      window.overLimitMark ? 1 : 0,
    );
  }

  deleteWindow({ scope, unit }: AccountKey, startMs: number): void {
    this.#sql.exec("DELETE FROM windows WHERE scope = ? AND unit = ? AND start_ms = ?", scope, unit, startMs);
  }

  pruneWindows({
    key: { scope, unit },
    rowsKept,
    rowsMax,
  }: {
    key: AccountKey;
    rowsKept: number;
    rowsMax: number;
  }): number {
    const { rowsWritten } = this.#sql.exec(
      `DELETE FROM windows WHERE scope = ? AND unit = ? AND start_ms IN
         (SELECT start_ms FROM windows WHERE scope = ? AND unit = ? AND reserved = 0 AND start_ms <
            (SELECT start_ms FROM windows WHERE scope = ? AND unit = ? ORDER BY start_ms DESC LIMIT 1 OFFSET ?)
          ORDER BY start_ms LIMIT ?)`,
      scope,
      unit,
      scope,
      unit,
      scope,
      unit,
      rowsKept - 1,
      rowsMax,
    );
    return rowsWritten;
  }

  readReservation(id: string): Reservation | undefined {
    const [row] = this.#rows<ReservationRow>(
      `SELECT ${RESERVATION_COLUMNS} FROM reservations WHERE finished IN (0, 1) AND id = ?`,
      id,
    );
    return row === undefined ? undefined : reservationOf(row);
  }

  findReservation(stems: readonly string[]): Reservation | undefined {
    // Nearly always nothing is found, so both halves are asked at once and for ids alone.
    const [found] = this.#rows<{ id: string }>(
      `WITH stems AS (SELECT value AS stem FROM json_each(?))
       SELECT id FROM stems CROSS JOIN reservations WHERE finished = 0 AND id > stem AND id < stem || '${AFTER_ID}'
       UNION ALL
       SELECT id FROM stems CROSS JOIN reservations WHERE finished = 1 AND id > stem AND id < stem || '${AFTER_ID}'
       LIMIT 1`,
      json(stems),
    );
    return found === undefined ? undefined : this.readReservation(found.id);
  }

  insertReservation(reservation: ActiveReservation): void {
    this.#sql.exec(
      `INSERT INTO reservations VALUES (0, ?, ?, CAST(? AS INTEGER), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
         'ACTIVE', NULL, NULL, NULL, NULL, NULL, NULL, ?)`,
      reservation.id,
      reservation.unit,
      int64Text(reservation.amount),
      json(reservation.scopes),
      reservation.overagePolicy,
      reservation.createdAtMs,
      reservation.expiresAtMs,
      reservation.gracePeriodMs,
      reservation.extensionsMax,
      listOf(reservation.extensions),
      json(reservation.details),
      reservation.keyId ?? null,
      reservation.created.key,
      reservation.created.fingerprint,
      reservation.created.reply,
      jsonOrNull(reservation.windows),
    );
  }

  updateReservation(reservation: ActiveReservation): void {
    this.#sql.exec(
      "UPDATE reservations SET expires_at_ms = ?, extensions = ? WHERE finished = 0 AND id = ?",
      reservation.expiresAtMs,
      listOf(reservation.extensions),
      reservation.id,
    );
  }

  finishReservation(reservation: FinishedReservation): void {
    this.#sql.exec(
      `UPDATE reservations SET finished = 1, status = ?, finished_at_ms = ?, charged = CAST(? AS INTEGER),
         settled_key = ?, settled_fingerprint = ?, settled_reply = ?, report = ? WHERE finished = 0 AND id = ?`,
      reservation.status,
      reservation.finishedAtMs,
      reservation.charged === undefined ? null : int64Text(reservation.charged),
      reservation.settled?.key ?? null,
      reservation.settled?.fingerprint ?? null,
      reservation.settled?.reply ?? null,
      jsonOrNull(reservation.report),
      reservation.id,
    );
  }

  *scanReservations(scan: ReservationScan): Iterable<Reservation> {
    // Places first, whole rows only as they are asked for, so that no cursor stays open while the caller works.
    const rowsAtOnce = 100;
    const places = this.#placesOf(scan);
    for (let from = 0; from < places.length; from += rowsAtOnce) {
      const rows = this.#rows<ReservationRow>(
        `WITH places AS (SELECT key AS number, value ->> 0 AS half, value ->> 1 AS place FROM json_each(?))
         SELECT ${RESERVATION_COLUMNS} FROM places CROSS JOIN reservations ON finished = half AND id = place
         ORDER BY number`,
        json(places.slice(from, from + rowsAtOnce)),
      );
      for (const row of rows) yield reservationOf(row);
    }
  }

  /** Where the rows of a scan stand: [finished, id], in the scan's order. */
  #placesOf({ order, descending, halves, above, below, rowsMax }: ReservationScan): [number, string][] {
    if (halves.length === 0) return [];
    const direction = descending ? "DESC" : "ASC";
    const by = order === "created" ? `created_at_ms ${direction}, id ${direction}` : `id ${direction}`;
    const range =
      order === "created"
        ? "created_at_ms BETWEEN ?1 AND ?2 AND (created_at_ms, id) > (?1, ?3) AND (created_at_ms, id) < (?2, ?4)"
        : "id > ?3 AND id < ?4";
    // One branch a half, each in order by its own index, then merged; the number stands in the text for the index's sake.
    const branches = halves.map((half) => {
      const finished = half === "finished" ? 1 : 0;
      // By itself SQLite takes the primary key, and sorts.
      const hint = finished === 1 && order === "created" ? "INDEXED BY finished_by_creation" : "";
      return `SELECT * FROM (SELECT finished, id, created_at_ms FROM reservations ${hint}
                WHERE finished = ${finished} AND ${range} ORDER BY ${by} LIMIT ?5)`;
    });
    const rows = this.#rows<{ finished: number; id: string }>(
      `SELECT finished, id FROM (${branches.join(" UNION ALL ")}) ORDER BY ${by} LIMIT ?5`,
      above.createdAtMs,
      below.createdAtMs,
      above.id,
      below.id,
      rowsMax,
    );
    return rows.map(({ finished, id }) => [finished, id]);
  }

  scanDeadlines(): Iterable<Deadline> {
    const rows = this.#rows<DeadlineRow>(
      `SELECT id, expires_at_ms + grace_period_ms AS deadline_ms, unit, scopes, key_id FROM reservations
       WHERE finished = 0`,
    );
    return rows.map((row) => ({
      id: row.id,
      deadlineMs: row.deadline_ms,
      unit: row.unit as Unit,
      scopes: JSON.parse(row.scopes) as string[],
      keyId: row.key_id ?? undefined,
    }));
  }

  pruneFinished(query: { idBelow: string; finishedBeforeMs: number; rowsMax: number }): number {
    const { rowsWritten } = this.#sql.exec(
      `DELETE FROM reservations WHERE finished = 1 AND id IN
         (SELECT id FROM reservations WHERE finished = 1 AND id < ? AND finished_at_ms < ? ORDER BY id LIMIT ?)`,
      query.idBelow,
      query.finishedBeforeMs,
      query.rowsMax,
    );
    return rowsWritten;
  }

  readAnswer(query: AnswerQuery): Answer | undefined {
    const days = Array.from(
      { length: query.toDay - query.fromDay + 1 },
      (_, offset) => query.fromDay + offset,
    );
    const [row] = this.#rows<AnswerRow>(
      `SELECT key, fingerprint, reply FROM answers
       WHERE expires_day IN (SELECT value FROM json_each(?)) AND namespace = ? AND key = ?`,
      json(days),
      query.namespace,
      query.key,
    );
    return row;
  }

  insertAnswer(namespace: string, expiresDay: number, answer: Answer): void {
    this.#sql.exec(
      "INSERT INTO answers VALUES (?, ?, ?, ?, ?)",
      expiresDay,
      namespace,
      answer.key,
      answer.fingerprint,
      answer.reply,
    );
  }

  pruneAnswers(query: { expiresBeforeDay: number; rowsMax: number }): number {
    const { rowsWritten } = this.#sql.exec(
      `DELETE FROM answers WHERE (expires_day, namespace, key) IN
         (SELECT expires_day, namespace, key FROM answers WHERE expires_day < ? LIMIT ?)`,
      query.expiresBeforeDay,
      query.rowsMax,
    );
    return rowsWritten;
  }

  readApiKey(keyId: string): ApiKeyRecord | undefined {
    const { apiKeys } = this.#remembered();
    const known = apiKeys.get(keyId);
    if (known !== undefined) return known;
    const [row] = this.#rows<ApiKeyRow>("SELECT * FROM api_keys WHERE key_id = ?", keyId);
    if (row === undefined) return undefined;
    const key = apiKeyOf(row);
    apiKeys.set(keyId, key);
    return key;
  }

  insertApiKey(key: ApiKeyRecord): void {
    this.sql.exec(
      `INSERT INTO api_keys (key_id, digest, prefix, name, description, permissions, scope_filter, metadata,
         created_at_ms, expires_at_ms, revoked_at_ms, revoked_reason, remaining_ttl_ms,
         allowed_origins)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      key.keyId,
      key.digest,
      key.prefix,
      key.name,
      key.description ?? null,
      json(key.permissions),
      jsonOrNull(key.scopeFilter),
      jsonOrNull(key.metadata),
      key.createdAtMs,
      key.expiresAtMs,
      key.revokedAtMs ?? null,
      key.revokedReason ?? null,
      key.remainingTtl ? 1 : 0,
      jsonOrNull(key.allowedOrigins),
    );
  }

  updateApiKey(key: ApiKeyRecord): void {
    this.sql.exec(
      `UPDATE api_keys SET name = ?, description = ?, permissions = ?, scope_filter = ?, metadata = ?, revoked_at_ms = ?,
         revoked_reason = ?, remaining_ttl_ms = ?, allowed_origins = ? WHERE key_id = ?`,
      key.name,
      key.description ?? null,
      json(key.permissions),
      jsonOrNull(key.scopeFilter),
      jsonOrNull(key.metadata),
      key.revokedAtMs ?? null,
      key.revokedReason ?? null,
      key.remainingTtl ? 1 : 0,
      jsonOrNull(key.allowedOrigins),
      key.keyId,
    );
  }

  *scanApiKeys(afterKeyId = ""): Iterable<ApiKeyRecord> {
    yield* pages(afterKeyId, (after) =>
      this.#rows<ApiKeyRow>(
        `SELECT * FROM api_keys WHERE key_id > ? ORDER BY key_id LIMIT ${PAGE_ROWS}`,
        after,
      ).map((row) => [apiKeyOf(row), row.key_id]),
    );
  }

  countApiKeys(): number {
    return this.#count("api_keys");
  }

  insertAudit({ atMs, ...entry }: Omit<AuditRecord, "seq">): void {
    this.#sql.exec("INSERT INTO audit (at_ms, entry) VALUES (?, ?)", atMs, json(entry));
  }

  *scanAudit(beforeSeq: number = Number.MAX_SAFE_INTEGER): Iterable<AuditRecord> {
    yield* pages(beforeSeq, (before) =>
      this.#rows<AuditRow>(
        `SELECT seq, at_ms, entry FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT ${PAGE_ROWS}`,
        before,
      ).map((row) => [auditOf(row), row.seq]),
    );
  }

  pruneAudit(query: { beforeMs: number; rowsKept: number; rowsMax: number }): number {
    const oldest = this.#rows<{ seq: number; at_ms: number; newest: number }>(
      "SELECT seq, at_ms, (SELECT max(seq) FROM audit) AS newest FROM audit ORDER BY seq LIMIT ?",
      query.rowsMax,
    );
    const stays = oldest.findIndex(
      ({ seq, at_ms, newest }) =>
        seq === newest || (seq > newest - query.rowsKept && at_ms >= query.beforeMs),
    );
    const last = oldest.at(stays < 0 ? -1 : stays - 1);
    if (stays === 0 || last === undefined) return 0;
    return this.#sql.exec("DELETE FROM audit WHERE seq <= ?", last.seq).rowsWritten;
  }

  readPolicies(): PolicyRecord[] {
    return this.#rows<PolicyRow>("SELECT * FROM policies ORDER BY made").map(policyOf);
  }

  writePolicy(policy: PolicyRecord): void {
    this.#sql.exec(
      `INSERT INTO policies VALUES (?, (SELECT count(*) FROM policies), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (policy_id) DO UPDATE SET name = excluded.name, description = excluded.description,
         scope_pattern = excluded.scope_pattern, priority = excluded.priority, rules = excluded.rules,
         status = excluded.status, effective_from_ms = excluded.effective_from_ms,
         effective_until_ms = excluded.effective_until_ms, updated_at_ms = excluded.updated_at_ms`,
      policy.policyId,
      policy.name,
      policy.description ?? null,
      policy.scopePattern,
      policy.priority,
      json(policy.rules),
      policy.status,
      policy.effectiveFromMs ?? null,
      policy.effectiveUntilMs ?? null,
      policy.createdAtMs,
      policy.updatedAtMs,
    );
  }

  readRate(name: string): RateRecord | undefined {
    const [row] = this.#rows<{ name: string; minute: number; granted: number }>(
      "SELECT name, minute, granted FROM rates WHERE name = ?",
      name,
    );
    return row;
  }

  writeRate({ name, minute, granted }: RateRecord): void {
    this.#sql.exec(
      `INSERT INTO rates VALUES (?, ?, ?)
       ON CONFLICT (name) DO UPDATE SET minute = excluded.minute, granted = excluded.granted`,
      name,
      minute,
      granted,
    );
  }

  pruneRates(query: { minuteBelow: number; rowsMax: number }): number {
    const { rowsWritten } = this.#sql.exec(
      "DELETE FROM rates WHERE name IN (SELECT name FROM rates WHERE minute < ? LIMIT ?)",
      query.minuteBelow,
      query.rowsMax,
    );
    return rowsWritten;
  }

  #count(table: "accounts" | "api_keys"): number {
    const [row] = this.#rows<{ rows: number }>(`SELECT count(*) AS rows FROM ${table}`);
    return row?.rows ?? 0;
  }

  #rows<Row extends object>(statement: string, ...values: (string | number | null)[]): Row[] {
    return this.#sql.exec(statement, ...values).toArray() as Row[];
  }
}

function accountKey(scope: string, unit: Unit): string {
  return `${unit}\n${scope}`;
}

/** The columns of a budget's period, in their order. */
function periodValues({ period }: AccountRecord): (string | null)[] {
  return period === undefined ? [null, null] : [json(period.rule), int64Text(period.allocated)];
}

/** The columns of a budget's window, in their order. */
function windowValues({ window }: AccountRecord): (string | number | null)[] {
  return window === undefined
    ? [null, null, null]
    : [window.startMs, window.endMs ?? null, int64Text(window.carriedDebt)];
}
