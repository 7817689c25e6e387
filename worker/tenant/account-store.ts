// Budgets and their windows in SQLite. Invariant: figures cross SQL as decimal text with CAST, exact over int64; an account
// that a group of calls changes many times is written once, at the end or before anything else reads accounts.
// Who may call: SqliteStore, which is one.

import type { AccountKey, AccountRecord, Unit, WindowRecord } from "purser/ledger";
import { CAP_SCOPES, int64Text, updatedMembers } from "purser/ledger";
import { type AccountRow, accountOf, json, type WindowRow, windowOf } from "./rows.ts";
import { type Known, PAGE_ROWS, pages, type SqlValue, Statements } from "./statements.ts";

const ACCOUNT_COLUMNS = `scope, unit, CAST(allocated AS TEXT) AS allocated, CAST(spent AS TEXT) AS spent,
  CAST(reserved AS TEXT) AS reserved, CAST(debt AS TEXT) AS debt, CAST(overdraft_limit AS TEXT) AS overdraft_limit,
  over_limit_mark, status, commit_overage_policy, settings, created_at_ms, updated_at_ms, period,
  CAST(period_allocated AS TEXT) AS period_allocated, window_start_ms, window_end_ms,
  CAST(carried_debt AS TEXT) AS carried_debt`;

const WINDOW_COLUMNS = `start_ms, end_ms, CAST(allocated AS TEXT) AS allocated, CAST(spent AS TEXT) AS spent,
  CAST(reserved AS TEXT) AS reserved, CAST(debt AS TEXT) AS debt, CAST(carried_debt AS TEXT) AS carried_debt,
  over_limit_mark`;

export abstract class AccountStore extends Statements {
  latestTimeMs(): number {
    this.flush();
    const [row] = this.rows<{ latest: number }>(
      `SELECT max(coalesce((SELECT max(updated_at_ms) FROM accounts), 0),
                  coalesce((SELECT max(updated_at_ms) FROM tenant), 0)) AS latest`,
    );
    return row?.latest ?? 0;
  }

  readAccounts(scopes: readonly string[], unit?: Unit): AccountRecord[] {
    if (unit === undefined) return this.#selectAccounts(scopes);
    const { accounts } = this.remembered();
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
    this.flush();
    const rows = this.rows<AccountRow>(
      `SELECT ${ACCOUNT_COLUMNS} FROM accounts
       WHERE scope IN (SELECT value FROM json_each(?)) AND (? IS NULL OR unit = ?)`,
      json(scopes),
      unit,
      unit,
    );
    return rows.map(accountOf).sort((a, b) => scopes.indexOf(a.scope) - scopes.indexOf(b.scope));
  }

  insertAccount(account: AccountRecord): void {
    this.change(
      `INSERT INTO accounts VALUES (?, ?, CAST(? AS INTEGER), CAST(? AS INTEGER), CAST(? AS INTEGER),
         CAST(? AS INTEGER), CAST(? AS INTEGER), ?, ?, ?, ?, ?, ?, ?, CAST(? AS INTEGER), ?, ?, CAST(? AS INTEGER))`,
      account.scope,
      account.unit,
      ...steeredValues(account),
      account.createdAtMs,
      account.updatedAtMs,
      ...periodValues(account),
      ...windowValues(account),
    );
  }

  updateAccount(account: AccountRecord): void {
    const key = accountKey(account.scope, account.unit);
    const { accounts, unwritten } = this.remembered();
    const known = accounts.get(key);
    if (!known) {
      this.#writeAccount(account);
      return;
    }
    // Only what will be written, so that nobody sees for the time of a group what the database never gets.
    accounts.set(key, { ...known, ...updatedMembers(account) });
    unwritten.add(key);
  }

  protected override writeBack({ accounts, unwritten }: Known): void {
    for (const key of unwritten) {
      const account = accounts.get(key);
      if (!account) throw new Error(`sqlite store: ${JSON.stringify(key)} is to be written and not known`);
      this.#writeAccount(account);
    }
    unwritten.clear();
  }

  #writeAccount(account: AccountRecord): void {
    this.exec(
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
    this.change(
      `UPDATE accounts SET allocated = CAST(? AS INTEGER), spent = CAST(? AS INTEGER), reserved = CAST(? AS INTEGER),
         debt = CAST(? AS INTEGER), overdraft_limit = CAST(? AS INTEGER), over_limit_mark = ?, status = ?,
         commit_overage_policy = ?, settings = ?, updated_at_ms = ?, period = ?, period_allocated = CAST(? AS INTEGER),
         window_start_ms = ?, window_end_ms = ?, carried_debt = CAST(? AS INTEGER) WHERE scope = ? AND unit = ?`,
      ...steeredValues(account),
      account.updatedAtMs,
      ...periodValues(account),
      ...windowValues(account),
      account.scope,
      account.unit,
    );
  }

  *scanAccounts(after?: { readonly scope: string; readonly unit: string }): Iterable<AccountRecord> {
    this.flush();
    yield* pages(after ?? { scope: "", unit: "" }, (position) =>
      this.rows<AccountRow>(
        `SELECT ${ACCOUNT_COLUMNS} FROM accounts WHERE (scope, unit) > (?, ?) AND scope < ?
         ORDER BY scope, unit LIMIT ${PAGE_ROWS}`,
        position.scope,
        position.unit,
        CAP_SCOPES,
      ).map((row) => [accountOf(row), row]),
    );
  }

  countAccounts(): number {
    return this.count("accounts WHERE scope < ?", CAP_SCOPES);
  }

  deleteAccount({ scope, unit }: AccountKey): void {
    this.change("DELETE FROM accounts WHERE scope = ? AND unit = ?", scope, unit);
  }

  findWindow({ scope, unit }: AccountKey, atMs: number): WindowRecord | undefined {
    const [row] = this.rows<WindowRow>(
      `SELECT ${WINDOW_COLUMNS} FROM windows WHERE scope = ? AND unit = ? AND start_ms <= ?
       ORDER BY start_ms DESC LIMIT 1`,
      scope,
      unit,
      atMs,
    );
    return row === undefined ? undefined : windowOf(row);
  }

  readWindows({ scope, unit }: AccountKey, rowsMax: number): WindowRecord[] {
    return this.rows<WindowRow>(
      `SELECT ${WINDOW_COLUMNS} FROM windows WHERE scope = ? AND unit = ? ORDER BY start_ms DESC LIMIT ?`,
      scope,
      unit,
      rowsMax,
    ).map(windowOf);
  }

  writeWindow({ scope, unit }: AccountKey, window: WindowRecord): void {
    this.exec(
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
    this.exec("DELETE FROM windows WHERE scope = ? AND unit = ? AND start_ms = ?", scope, unit, startMs);
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
    return this.exec(
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
  }
}

function accountKey(scope: string, unit: Unit): string {
  return `${unit}\n${scope}`;
}

/** The columns from `allocated` to `settings`. */
function steeredValues(account: AccountRecord): SqlValue[] {
  const { allocated, spent, reserved, debt, overdraftLimit, overLimitMark, status, settings } = account;
  const figures = [allocated, spent, reserved, debt, overdraftLimit].map(int64Text);
  return [...figures, overLimitMark ? 1 : 0, status, account.commitOveragePolicy ?? null, json(settings)];
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
