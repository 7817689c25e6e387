// A LedgerStore in plain maps, for the in-process authority and for tests. Invariant: the same contract as the SQLite
// store, rollback included (memory-rows.ts).
// Who may call: LocalLedger and whoever runs a ledger without a database. Nothing survives the process.

import type { AuditRecord } from "./audit.ts";
import type { Deadline } from "./deadlines.ts";
import { STEM_LENGTH } from "./ids.ts";
import { MemoryLeases } from "./memory-leases.ts";
import type { PolicyRecord } from "./policies.ts";
import { UNITS, type Unit } from "./schema.ts";
import type {
  AccountKey,
  AccountRecord,
  ActiveReservation,
  Answer,
  AnswerQuery,
  ApiKeyRecord,
  FinishedReservation,
  LedgerStore,
  RateRecord,
  Reservation,
  ReservationPlace,
  ReservationScan,
  TenantRecord,
  TokenRecord,
  WindowRecord,
} from "./store.ts";
import { updatedMembers } from "./store.ts";
import { isCapScope } from "./tokens.ts";

export class MemoryStore extends MemoryLeases implements LedgerStore {
  #tenant: TenantRecord | undefined;
  readonly #accounts = new Map<string, AccountRecord>();
  readonly #active = new Map<string, ActiveReservation>();
  readonly #finished = new Map<string, FinishedReservation>();
  readonly #answers = new Map<string, { readonly expiresDay: number; readonly answer: Answer }>();
  readonly #apiKeys = new Map<string, ApiKeyRecord>();
  readonly #tokens = new Map<string, TokenRecord>();
  readonly #audit = new Map<string, AuditRecord>();
  #auditSeq = 0;
  /** By account, then by beginning. */
  readonly #windows = new Map<string, ReadonlyMap<number, WindowRecord>>();
  readonly #policies = new Map<string, PolicyRecord>();
  readonly #rates = new Map<string, RateRecord>();

  latestTimeMs(): number {
    const times = [this.#tenant?.updatedAtMs ?? 0];
    for (const { updatedAtMs } of this.#accounts.values()) times.push(updatedAtMs);
    return times.reduce((latest, each) => Math.max(latest, each));
  }

  /** What a process has in memory is the process's own business. */
  storedBytes(): number {
    return 0;
  }

  readTenant(): TenantRecord | undefined {
    return this.#tenant;
  }

  writeTenant(tenant: TenantRecord): void {
    const before = this.#tenant;
    this.#tenant = tenant;
    this.onUndo(() => {
      this.#tenant = before;
    });
  }

  readAccounts(scopes: readonly string[], unit?: Unit): AccountRecord[] {
    const units = unit === undefined ? UNITS : [unit];
    const keys = scopes.flatMap((scope) => units.map((each) => accountKey({ scope, unit: each })));
    return keys.flatMap((key) => this.#accounts.get(key) ?? []);
  }

  insertAccount(account: AccountRecord): void {
    this.insert(this.#accounts, accountKey(account), account);
  }

  updateAccount(account: AccountRecord): void {
    const before = this.#accounts.get(accountKey(account));
    this.replace(this.#accounts, accountKey(account), {
      ...(before ?? account),
      ...updatedMembers(account),
    });
  }

  rewriteAccount(account: AccountRecord): void {
    this.replace(this.#accounts, accountKey(account), account);
  }

  *scanAccounts(after?: { readonly scope: string; readonly unit: string }): Iterable<AccountRecord> {
    const start = after === undefined ? "" : accountKey(after);
    for (const key of [...this.#accounts.keys()].sort()) {
      const account = this.#accounts.get(key);
      if (key > start && account !== undefined && !isCapScope(account.scope)) yield account;
    }
  }

  countAccounts(): number {
    return [...this.#accounts.values()].filter(({ scope }) => !isCapScope(scope)).length;
  }

  deleteAccount(key: AccountKey): void {
    this.remove(this.#accounts, accountKey(key));
  }

  findWindow(key: AccountKey, atMs: number): WindowRecord | undefined {
    return this.readWindows(key, Number.POSITIVE_INFINITY).find(({ startMs }) => startMs <= atMs);
  }

  readWindows(key: AccountKey, rowsMax: number): WindowRecord[] {
    const rows = [...(this.#windows.get(accountKey(key))?.values() ?? [])];
    return rows.sort((a, b) => b.startMs - a.startMs).slice(0, rowsMax);
  }

  writeWindow(key: AccountKey, window: WindowRecord): void {
    const rows = new Map(this.#windows.get(accountKey(key)));
    this.put(this.#windows, accountKey(key), rows.set(window.startMs, window));
  }

  deleteWindow(key: AccountKey, startMs: number): void {
    const rows = new Map(this.#windows.get(accountKey(key)));
    rows.delete(startMs);
    this.put(this.#windows, accountKey(key), rows);
  }

  pruneWindows(query: { key: AccountKey; rowsKept: number; rowsMax: number }): number {
    const old = this.readWindows(query.key, Number.POSITIVE_INFINITY)
      .slice(query.rowsKept)
      .filter(({ reserved }) => reserved === 0n)
      .slice(-query.rowsMax);
    for (const { startMs } of old) this.deleteWindow(query.key, startMs);
    return old.length;
  }

  readReservation(id: string): Reservation | undefined {
    const found = this.findReservation([id.slice(0, STEM_LENGTH)]);
    return found?.id === id ? found : undefined;
  }

  findReservation(stems: readonly string[]): Reservation | undefined {
    const stem = stems.find((each) => this.#active.has(each) || this.#finished.has(each)) ?? "";
    return this.#active.get(stem) ?? this.#finished.get(stem);
  }

  insertReservation(reservation: ActiveReservation): void {
    this.insert(this.#active, reservation.id.slice(0, STEM_LENGTH), reservation);
  }

  updateReservation(reservation: ActiveReservation): void {
    this.replace(this.#active, reservation.id.slice(0, STEM_LENGTH), reservation);
  }

  finishReservation(reservation: FinishedReservation): void {
    const stem = reservation.id.slice(0, STEM_LENGTH);
    this.remove(this.#active, stem);
    this.insert(this.#finished, stem, reservation);
  }

  scanReservations({
    order,
    descending,
    halves,
    above,
    below,
    rowsMax,
  }: ReservationScan): Iterable<Reservation> {
    const compare = order === "id" ? compareIds : comparePlaces;
    const rows = halves.flatMap<Reservation>((half) => [
      ...(half === "active" ? this.#active : this.#finished).values(),
    ]);
    return rows
      .filter((row) => compare(row, above) > 0 && compare(row, below) < 0)
      .sort((a, b) => (descending ? compare(b, a) : compare(a, b)))
      .slice(0, rowsMax);
  }

  *scanDeadlines(): Iterable<Deadline> {
    for (const { id, expiresAtMs, gracePeriodMs, unit, scopes, keyId } of this.#active.values()) {
      yield { id, deadlineMs: expiresAtMs + gracePeriodMs, unit, scopes, keyId };
    }
  }

  pruneFinished(query: { idBelow: string; finishedBeforeMs: number; rowsMax: number }): number {
    const old = [...this.#finished.entries()]
      .filter(([stem, row]) => stem < query.idBelow && row.finishedAtMs < query.finishedBeforeMs)
      .slice(0, query.rowsMax);
    for (const [stem] of old) this.remove(this.#finished, stem);
    return old.length;
  }

  readAnswer(query: AnswerQuery): Answer | undefined {
    const row = this.#answers.get(answerKey(query.namespace, query.key));
    return row !== undefined && row.expiresDay >= query.fromDay && row.expiresDay <= query.toDay
      ? row.answer
      : undefined;
  }

  insertAnswer(namespace: string, expiresDay: number, answer: Answer): void {
    // A key whose earlier answer has passed its day is new again, whether or not it was pruned meanwhile.
    this.remove(this.#answers, answerKey(namespace, answer.key));
    this.insert(this.#answers, answerKey(namespace, answer.key), { expiresDay, answer });
  }

  pruneAnswers(query: { expiresBeforeDay: number; rowsMax: number }): number {
    const old = [...this.#answers.entries()]
      .filter(([, row]) => row.expiresDay < query.expiresBeforeDay)
      .slice(0, query.rowsMax);
    for (const [key] of old) this.remove(this.#answers, key);
    return old.length;
  }

  readApiKey(keyId: string): ApiKeyRecord | undefined {
    return this.#apiKeys.get(keyId);
  }

  insertApiKey(key: ApiKeyRecord): void {
    this.insert(this.#apiKeys, key.keyId, key);
  }

  updateApiKey(key: ApiKeyRecord): void {
    this.replace(this.#apiKeys, key.keyId, key);
  }

  *scanApiKeys(afterKeyId = ""): Iterable<ApiKeyRecord> {
    for (const keyId of [...this.#apiKeys.keys()].sort()) {
      const key = this.#apiKeys.get(keyId);
      if (keyId > afterKeyId && key !== undefined) yield key;
    }
  }

  countApiKeys(): number {
    return this.#apiKeys.size;
  }

  readToken(tokenId: string): TokenRecord | undefined {
    return this.#tokens.get(tokenId);
  }

  insertToken(token: TokenRecord): void {
    this.insert(this.#tokens, token.tokenId, token);
  }

  updateToken({ tokenId, expiresAtMs, revokedAtMs }: TokenRecord): void {
    const before = this.#tokens.get(tokenId);
    if (before !== undefined) this.replace(this.#tokens, tokenId, { ...before, expiresAtMs, revokedAtMs });
  }

  deleteToken(tokenId: string): void {
    this.remove(this.#tokens, tokenId);
  }

  readTokensAfter(tokenId: string, rowsMax: number): TokenRecord[] {
    const ids = [...this.#tokens.keys()].filter((id) => id > tokenId).sort();
    return ids.slice(0, rowsMax).flatMap((id) => this.#tokens.get(id) ?? []);
  }

  countTokens(stem = ""): number {
    return [...this.#tokens.keys()].filter((id) => id.startsWith(stem)).length;
  }

  insertAudit(row: Omit<AuditRecord, "seq">): void {
    const seq = this.#auditSeq + 1;
    this.#auditSeq = seq;
    this.onUndo(() => {
      this.#auditSeq = seq - 1;
    });
    this.insert(this.#audit, String(seq), { ...row, seq });
  }

  *scanAudit(beforeSeq = this.#auditSeq + 1): Iterable<AuditRecord> {
    for (let seq = Math.min(beforeSeq - 1, this.#auditSeq); seq > 0; seq -= 1) {
      const row = this.#audit.get(String(seq));
      if (row === undefined) return;
      yield row;
    }
  }

  pruneAudit(query: { beforeMs: number; rowsKept: number; rowsMax: number }): number {
    const newest = this.#auditSeq;
    let pruned = 0;
    for (; pruned < query.rowsMax; pruned += 1) {
      const seq = newest - this.#audit.size + 1;
      const row = this.#audit.get(String(seq));
      const mayGo = seq <= newest - query.rowsKept || (row?.atMs ?? 0) < query.beforeMs;
      if (row === undefined || seq === newest || !mayGo) break;
      this.remove(this.#audit, String(seq));
    }
    return pruned;
  }

  readPolicies(): PolicyRecord[] {
    return [...this.#policies.values()];
  }

  writePolicy(policy: PolicyRecord): void {
    this.put(this.#policies, policy.policyId, policy);
  }

  readRate(name: string): RateRecord | undefined {
    return this.#rates.get(name);
  }

  writeRate(rate: RateRecord): void {
    this.put(this.#rates, rate.name, rate);
  }

  pruneRates(query: { minuteBelow: number; rowsMax: number }): number {
    const old = [...this.#rates.values()]
      .filter(({ minute }) => minute < query.minuteBelow)
      .slice(0, query.rowsMax);
    for (const { name } of old) this.remove(this.#rates, name);
    return old.length;
  }
}

function accountKey(account: { readonly scope: string; readonly unit: string }): string {
  return `${account.scope}\n${account.unit}`;
}

function answerKey(namespace: string, key: string): string {
  return `${namespace}\n${key}`;
}

function compareIds(a: ReservationPlace, b: ReservationPlace): number {
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}

function comparePlaces(a: ReservationPlace, b: ReservationPlace): number {
  return a.createdAtMs - b.createdAtMs || compareIds(a, b);
}
