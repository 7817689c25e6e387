// Leases and how the tenant lends, in SQLite. Invariant: nothing of them is remembered between two statements, so that
// what is remembered of accounts stays; amounts cross SQL as decimal text. Who may call: SqliteStore, which is one.

import type { LeasePlace, LeaseRecord, LeaseSettings, LeaseStore, Unit, Unreported } from "purser/ledger";
import { int64Text } from "purser/ledger";
import { ReservationStore } from "./reservation-store.ts";
import { AFTER_ID, json, jsonOrNull, type LeaseRow, leaseOf } from "./rows.ts";
import type { SqlValue } from "./statements.ts";

const LEASE_COLUMNS = `id, epoch, fingerprint, subject, unit, scopes, windows, CAST(granted AS TEXT) AS granted,
  CAST(spent AS TEXT) AS spent, CAST(returned AS TEXT) AS returned, CAST(held AS TEXT) AS held,
  CAST(charged AS TEXT) AS charged, sequence, shortage, ttl_ms, grace_ms, on_expiry, holder, key_id, status,
  created_at_ms, renewed_at_ms, expires_at_ms, ended_at_ms`;

export abstract class LeaseRows extends ReservationStore implements LeaseStore {
  readLease(id: string): LeaseRecord | undefined {
    const [row] = this.rows<LeaseRow>(
      `SELECT ${LEASE_COLUMNS} FROM leases WHERE ended IN (0, 1) AND id = ?`,
      id,
    );
    return row === undefined ? undefined : leaseOf(row);
  }

  findLease(stems: readonly string[]): LeaseRecord | undefined {
    const [row] = this.rows<LeaseRow>(
      `WITH stems AS (SELECT value AS stem FROM json_each(?))
       SELECT ${LEASE_COLUMNS} FROM stems CROSS JOIN leases
       WHERE ended IN (0, 1) AND id > stem AND id < stem || '${AFTER_ID}' LIMIT 1`,
      json(stems),
    );
    return row === undefined ? undefined : leaseOf(row);
  }

  insertLease(lease: LeaseRecord): void {
    this.exec(
      `INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, ?, ?, CAST(? AS INTEGER), CAST(? AS INTEGER), CAST(? AS INTEGER),
         CAST(? AS INTEGER), CAST(? AS INTEGER), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      lease.endedAtMs === undefined ? 0 : 1,
      lease.id,
      lease.epoch,
      lease.fingerprint,
      json(lease.subject),
      lease.unit,
      ...movingValues(lease),
      lease.graceMs,
      lease.onExpiry,
      lease.holder ?? null,
      lease.keyId ?? null,
      lease.status,
      lease.createdAtMs,
      lease.renewedAtMs,
      lease.expiresAtMs,
      lease.endedAtMs ?? null,
    );
  }

  updateLease(lease: LeaseRecord): void {
    if (lease.endedAtMs === undefined) this.#update(lease, "", "ended = 0");
    // A report that comes late finds it in the other half, where nothing but its figures changes.
    else if (this.#update(lease, ", ended = 1", "ended = 0") === 0) this.#update(lease, "", "ended = 1");
  }

  #update(lease: LeaseRecord, moving: string, half: string): number {
    return this.exec(
      `UPDATE leases SET scopes = ?, windows = ?, granted = CAST(? AS INTEGER), spent = CAST(? AS INTEGER),
         returned = CAST(? AS INTEGER), held = CAST(? AS INTEGER), charged = CAST(? AS INTEGER), sequence = ?,
         shortage = ?, ttl_ms = ?, status = ?, renewed_at_ms = ?, expires_at_ms = ?, ended_at_ms = ?${moving}
       WHERE ${half} AND id = ?`,
      ...movingValues(lease),
      lease.status,
      lease.renewedAtMs,
      lease.expiresAtMs,
      lease.endedAtMs ?? null,
      lease.id,
    );
  }

  scanLeases({ below, rowsMax }: { below: LeasePlace; rowsMax: number }): Iterable<LeaseRecord> {
    // One branch a half: the ended ones in order by their index, the open ones, which are few, sorted.
    const branches = [0, 1].map(
      (ended) => `SELECT * FROM (SELECT ${LEASE_COLUMNS} FROM leases
         ${ended === 1 ? "INDEXED BY ended_leases_by_creation" : ""}
         WHERE ended = ${ended} AND created_at_ms <= ?1 AND (created_at_ms, id) < (?1, ?2)
         ORDER BY created_at_ms DESC, id DESC LIMIT ?3)`,
    );
    return this.rows<LeaseRow>(
      `${branches.join(" UNION ALL ")} ORDER BY created_at_ms DESC, id DESC LIMIT ?3`,
      below.createdAtMs,
      below.id,
      rowsMax,
    ).map(leaseOf);
  }

  scanOpenLeases(): Iterable<LeaseRecord> {
    return this.rows<LeaseRow>(`SELECT ${LEASE_COLUMNS} FROM leases WHERE ended = 0`).map(leaseOf);
  }

  readUnreported(): Unreported[] {
    // In two halves, since the sum of many int64 may be none.
    const rows = this.rows<{ unit: string; high: number; low: number }>(
      `SELECT unit, sum(rest >> 32) AS high, sum(rest & 4294967295) AS low FROM
         (SELECT unit, max(max(granted - returned - spent, 0) - charged, 0) AS rest FROM leases
            INDEXED BY refunded_leases WHERE status = 'EXPIRED' AND on_expiry = 'refund')
       GROUP BY unit ORDER BY unit`,
    );
    return rows
      .map(({ unit, high, low }) => ({ unit: unit as Unit, amount: (BigInt(high) << 32n) + BigInt(low) }))
      .filter(({ amount }) => amount > 0n);
  }

  pruneLeases(query: { idBelow: string; endedBeforeMs: number; rowsMax: number }): number {
    return this.exec(
      `DELETE FROM leases WHERE ended = 1 AND id IN
         (SELECT id FROM leases WHERE ended = 1 AND id < ? AND ended_at_ms < ? ORDER BY id LIMIT ?)`,
      query.idBelow,
      query.endedBeforeMs,
      query.rowsMax,
    );
  }

  readLeaseSettings(): LeaseSettings | undefined {
    const [row] = this.rows<{ epoch: number; on_expiry: string; ttl_ms_max: number; grace_ms: number }>(
      "SELECT epoch, on_expiry, ttl_ms_max, grace_ms FROM lease_settings WHERE id = 1",
    );
    return (
      row && {
        epoch: row.epoch,
        onExpiry: row.on_expiry as LeaseSettings["onExpiry"],
        ttlMsMax: row.ttl_ms_max,
        graceMs: row.grace_ms,
      }
    );
  }

  writeLeaseSettings({ epoch, onExpiry, ttlMsMax, graceMs }: LeaseSettings): void {
    this.exec(
      `INSERT INTO lease_settings VALUES (1, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch,
         on_expiry = excluded.on_expiry, ttl_ms_max = excluded.ttl_ms_max, grace_ms = excluded.grace_ms`,
      epoch,
      onExpiry,
      ttlMsMax,
      graceMs,
    );
  }
}

/** What a report may change, in the order of the columns from `scopes` to `ttl_ms`. */
function movingValues(lease: LeaseRecord): SqlValue[] {
  const { scopes, windows, granted, spent, returned, held, charged, sequence, shortage, ttlMs } = lease;
  const figures = [granted, spent, returned, held, charged].map(int64Text);
  return [json(scopes), jsonOrNull(windows), ...figures, sequence, shortage ?? null, ttlMs];
}
