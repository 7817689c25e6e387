// Reservations and the answers of operations that make none, in SQLite. Invariant: nothing of them is remembered between two
// statements; amounts cross SQL as decimal text. Who may call: SqliteStore, which is one.

import type {
  ActiveReservation,
  Answer,
  AnswerQuery,
  Deadline,
  FinishedReservation,
  Reservation,
  ReservationScan,
  Unit,
} from "purser/ledger";
import { int64Text } from "purser/ledger";
import { AccountStore } from "./account-store.ts";
import {
  AFTER_ID,
  type AnswerRow,
  json,
  jsonOrNull,
  listOf,
  type ReservationRow,
  reservationOf,
} from "./rows.ts";

const HOLD_COLUMNS = `id, unit, CAST(amount AS TEXT) AS amount, scopes, overage_policy, created_at_ms, expires_at_ms,
  grace_period_ms, extensions_max, extensions, details, key_id, created_key, created_fingerprint, created_reply, windows`;

const RESERVATION_COLUMNS = `${HOLD_COLUMNS}, status, finished_at_ms, CAST(charged AS TEXT) AS charged,
  settled_key, settled_fingerprint, settled_reply, report`;

interface DeadlineRow {
  readonly id: string;
  readonly deadline_ms: number;
  readonly unit: string;
  readonly scopes: string;
  readonly key_id: string | null;
}

export abstract class ReservationStore extends AccountStore {
  readReservation(id: string): Reservation | undefined {
    const [row] = this.rows<ReservationRow>(
      `SELECT ${RESERVATION_COLUMNS} FROM reservations WHERE finished IN (0, 1) AND id = ?`,
      id,
    );
    return row === undefined ? undefined : reservationOf(row);
  }

  findReservation(stems: readonly string[]): Reservation | undefined {
    // Nearly always nothing is found, so both halves are asked at once and for ids alone.
    const [found] = this.rows<{ id: string }>(
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
    this.exec(
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
    this.exec(
      "UPDATE reservations SET expires_at_ms = ?, extensions = ? WHERE finished = 0 AND id = ?",
      reservation.expiresAtMs,
      listOf(reservation.extensions),
      reservation.id,
    );
  }

  finishReservation(reservation: FinishedReservation): void {
    this.exec(
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
      const rows = this.rows<ReservationRow>(
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
    const rows = this.rows<{ finished: number; id: string }>(
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
    const rows = this.rows<DeadlineRow>(
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
    return this.exec(
      `DELETE FROM reservations WHERE finished = 1 AND id IN
         (SELECT id FROM reservations WHERE finished = 1 AND id < ? AND finished_at_ms < ? ORDER BY id LIMIT ?)`,
      query.idBelow,
      query.finishedBeforeMs,
      query.rowsMax,
    );
  }

  readAnswer(query: AnswerQuery): Answer | undefined {
    const days = Array.from(
      { length: query.toDay - query.fromDay + 1 },
      (_, offset) => query.fromDay + offset,
    );
    const [row] = this.rows<AnswerRow>(
      `SELECT key, fingerprint, reply FROM answers
       WHERE expires_day IN (SELECT value FROM json_each(?)) AND namespace = ? AND key = ?`,
      json(days),
      query.namespace,
      query.key,
    );
    return row;
  }

  insertAnswer(namespace: string, expiresDay: number, answer: Answer): void {
    this.exec(
      "INSERT INTO answers VALUES (?, ?, ?, ?, ?)",
      expiresDay,
      namespace,
      answer.key,
      answer.fingerprint,
      answer.reply,
    );
  }

  pruneAnswers(query: { expiresBeforeDay: number; rowsMax: number }): number {
    return this.exec(
      `DELETE FROM answers WHERE (expires_day, namespace, key) IN
         (SELECT expires_day, namespace, key FROM answers WHERE expires_day < ? LIMIT ?)`,
      query.expiresBeforeDay,
      query.rowsMax,
    );
  }
}
