// A LedgerStore over a Durable Object's SQLite: here the tenant, its keys, policies and rates, and the audit log; below, in
// this order, leases, reservations, accounts and the statements with what is remembered. Invariant: the database is the truth, and
// what is remembered of it lasts for one transaction at most, so that a group of calls reads its tenant, key and
// accounts once. Who may call: TenantBudget. Rows written are counted by a test: 2 per reserve, 3 per commit, 1 per pruned row.

import type {
  ApiKeyRecord,
  AuditRecord,
  LedgerStore,
  PolicyRecord,
  RateRecord,
  TenantRecord,
  TokenRecord,
} from "purser/ledger";
import { LeaseRows } from "./lease-rows.ts";
import {
  type ApiKeyRow,
  type AuditRow,
  apiKeyOf,
  auditOf,
  json,
  jsonOrNull,
  type PolicyRow,
  policyOf,
  type TenantRow,
  type TokenRow,
  tenantOf,
  termsText,
  tokenOf,
} from "./rows.ts";
import { PAGE_ROWS, pages } from "./statements.ts";

export class SqliteStore extends LeaseRows implements LedgerStore {
  /** Pages in use, so that what was pruned counts no more. Asked once a group: it is a statement of its own. */
  storedBytes(): number {
    const known = this.remembered();
    known.storedBytes ??= this.storage.sql.databaseSize;
    return known.storedBytes;
  }

  readTenant(): TenantRecord | undefined {
    const known = this.remembered();
    if (known.tenant === undefined) {
      const [row] = this.rows<TenantRow>("SELECT * FROM tenant WHERE id = 1");
      known.tenant = row === undefined ? undefined : tenantOf(row);
    }
    return known.tenant;
  }

  writeTenant(tenant: TenantRecord): void {
    this.change(
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
    const [row] = this.rows<TenantRow>("SELECT * FROM tenant WHERE id = 1 AND announced = 0");
    return row === undefined ? undefined : tenantOf(row);
  }

  /** Notes that the registry knows this revision; a later one is still to be told. */
  markAnnounced(revision: number): void {
    this.exec("UPDATE tenant SET announced = 1 WHERE revision = ?", revision);
  }

  readApiKey(keyId: string): ApiKeyRecord | undefined {
    const { apiKeys } = this.remembered();
    const known = apiKeys.get(keyId);
    if (known !== undefined) return known;
    const [row] = this.rows<ApiKeyRow>("SELECT * FROM api_keys WHERE key_id = ?", keyId);
    if (row === undefined) return undefined;
    const key = apiKeyOf(row);
    apiKeys.set(keyId, key);
    return key;
  }

  insertApiKey(key: ApiKeyRecord): void {
    this.change(
      `INSERT INTO api_keys (key_id, digest, prefix, name, description, permissions, scope_filter, metadata,
         created_at_ms, expires_at_ms, revoked_at_ms, revoked_reason, remaining_ttl_ms,
         allowed_origins, may_issue_tokens)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
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
      key.mayIssueTokens ? 1 : 0,
    );
  }

  updateApiKey(key: ApiKeyRecord): void {
    this.change(
      `UPDATE api_keys SET name = ?, description = ?, permissions = ?, scope_filter = ?, metadata = ?, revoked_at_ms = ?,
         revoked_reason = ?, remaining_ttl_ms = ?, allowed_origins = ?, may_issue_tokens = ? WHERE key_id = ?`,
      key.name,
      key.description ?? null,
      json(key.permissions),
      jsonOrNull(key.scopeFilter),
      jsonOrNull(key.metadata),
      key.revokedAtMs ?? null,
      key.revokedReason ?? null,
      key.remainingTtl ? 1 : 0,
      jsonOrNull(key.allowedOrigins),
      key.mayIssueTokens ? 1 : 0,
      key.keyId,
    );
  }

  *scanApiKeys(afterKeyId = ""): Iterable<ApiKeyRecord> {
    yield* pages(afterKeyId, (after) =>
      this.rows<ApiKeyRow>(
        `SELECT * FROM api_keys WHERE key_id > ? ORDER BY key_id LIMIT ${PAGE_ROWS}`,
        after,
      ).map((row) => [apiKeyOf(row), row.key_id]),
    );
  }

  countApiKeys(): number {
    return this.count("api_keys");
  }

  readToken(tokenId: string): TokenRecord | undefined {
    const { tokens } = this.remembered();
    const known = tokens.get(tokenId);
    if (known !== undefined) return known;
    const [row] = this.rows<TokenRow>("SELECT * FROM tokens WHERE token_id = ?", tokenId);
    if (row === undefined) return undefined;
    const token = tokenOf(row);
    tokens.set(tokenId, token);
    return token;
  }

  insertToken(token: TokenRecord): void {
    this.change(
      "INSERT INTO tokens VALUES (?, ?, ?, ?, ?)",
      token.tokenId,
      termsText(token),
      token.createdAtMs,
      token.expiresAtMs,
      token.revokedAtMs ?? null,
    );
  }

  updateToken({ tokenId, expiresAtMs, revokedAtMs }: TokenRecord): void {
    this.change(
      "UPDATE tokens SET expires_at_ms = ?, revoked_at_ms = ? WHERE token_id = ?",
      expiresAtMs,
      revokedAtMs ?? null,
      tokenId,
    );
  }

  deleteToken(tokenId: string): void {
    this.change("DELETE FROM tokens WHERE token_id = ?", tokenId);
  }

  readTokensAfter(tokenId: string, rowsMax: number): TokenRecord[] {
    return this.rows<TokenRow>(
      "SELECT * FROM tokens WHERE token_id > ? ORDER BY token_id LIMIT ?",
      tokenId,
      rowsMax,
    ).map(tokenOf);
  }

  countTokens(stem = ""): number {
    // Ids are hex digits, and "~" sorts after them.
    return this.count("tokens WHERE token_id >= ? AND token_id < ? || '~'", stem, stem);
  }

  insertAudit({ atMs, ...entry }: Omit<AuditRecord, "seq">): void {
    this.exec("INSERT INTO audit (at_ms, entry) VALUES (?, ?)", atMs, json(entry));
  }

  *scanAudit(beforeSeq: number = Number.MAX_SAFE_INTEGER): Iterable<AuditRecord> {
    yield* pages(beforeSeq, (before) =>
      this.rows<AuditRow>(
        `SELECT seq, at_ms, entry FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT ${PAGE_ROWS}`,
        before,
      ).map((row) => [auditOf(row), row.seq]),
    );
  }

  pruneAudit(query: { beforeMs: number; rowsKept: number; rowsMax: number }): number {
    const oldest = this.rows<{ seq: number; at_ms: number; newest: number }>(
      "SELECT seq, at_ms, (SELECT max(seq) FROM audit) AS newest FROM audit ORDER BY seq LIMIT ?",
      query.rowsMax,
    );
    const stays = oldest.findIndex(
      ({ seq, at_ms, newest }) =>
        seq === newest || (seq > newest - query.rowsKept && at_ms >= query.beforeMs),
    );
    const last = oldest.at(stays < 0 ? -1 : stays - 1);
    if (stays === 0 || last === undefined) return 0;
    return this.exec("DELETE FROM audit WHERE seq <= ?", last.seq);
  }

  readPolicies(): PolicyRecord[] {
    return this.rows<PolicyRow>("SELECT * FROM policies ORDER BY made").map(policyOf);
  }

  writePolicy(policy: PolicyRecord): void {
    this.exec(
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
    const [row] = this.rows<{ name: string; minute: number; granted: number }>(
      "SELECT name, minute, granted FROM rates WHERE name = ?",
      name,
    );
    return row;
  }

  writeRate({ name, minute, granted }: RateRecord): void {
    this.exec(
      `INSERT INTO rates VALUES (?, ?, ?)
       ON CONFLICT (name) DO UPDATE SET minute = excluded.minute, granted = excluded.granted`,
      name,
      minute,
      granted,
    );
  }

  pruneRates(query: { minuteBelow: number; rowsMax: number }): number {
    return this.exec(
      "DELETE FROM rates WHERE name IN (SELECT name FROM rates WHERE minute < ? LIMIT ?)",
      query.minuteBelow,
      query.rowsMax,
    );
  }
}
