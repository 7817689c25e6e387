// Rows and records: the shapes that SQLite returns, and the ledger's records made of them. Pure. Invariant: int64
// columns arrive as text and become BigInt; JSON columns are read by the exact reader. Who may call: SqliteStore.

import type {
  AccountRecord,
  Answer,
  ApiKeyRecord,
  AuditRecord,
  FinishedReservation,
  JsonObject,
  LeaseRecord,
  Permission,
  PolicyRecord,
  Reservation,
  ReservationDetails,
  Subject,
  TenantRecord,
  TokenRecord,
  TokenTerms,
  Unit,
  WindowRecord,
} from "purser/ledger";
import { int64Text, parseInt64, readStoredJson, reviveReply, stringifyJson } from "purser/ledger";

export interface TenantRow {
  tenant_id: string;
  name: string;
  status: string;
  parent_tenant_id: string | null;
  metadata: string | null;
  default_commit_overage_policy: string | null;
  default_reservation_ttl_ms: number;
  max_reservation_ttl_ms: number;
  max_reservation_extensions: number;
  reservation_expiry_policy: string;
  revision: number;
  created_at_ms: number;
  updated_at_ms: number;
  suspended_at_ms: number | null;
  closed_at_ms: number | null;
}

export interface AccountRow {
  scope: string;
  unit: string;
  allocated: string;
  spent: string;
  reserved: string;
  debt: string;
  overdraft_limit: string;
  over_limit_mark: number;
  status: string;
  commit_overage_policy: string | null;
  settings: string;
  created_at_ms: number;
  updated_at_ms: number;
  period: string | null;
  period_allocated: string | null;
  window_start_ms: number | null;
  window_end_ms: number | null;
  carried_debt: string | null;
}

export interface WindowRow {
  start_ms: number;
  end_ms: number;
  allocated: string;
  spent: string;
  reserved: string;
  debt: string;
  carried_debt: string;
  over_limit_mark: number;
}

export interface PolicyRow {
  policy_id: string;
  name: string;
  description: string | null;
  scope_pattern: string;
  priority: number;
  rules: string;
  status: string;
  effective_from_ms: number | null;
  effective_until_ms: number | null;
  created_at_ms: number;
  updated_at_ms: number;
}

/** A row of `reservations`; the last group is NULL while it is active. */
export interface ReservationRow {
  id: string;
  unit: string;
  amount: string;
  scopes: string;
  overage_policy: string;
  created_at_ms: number;
  expires_at_ms: number;
  grace_period_ms: number;
  extensions_max: number;
  extensions: string | null;
  details: string;
  key_id: string | null;
  created_key: string;
  created_fingerprint: string;
  created_reply: string;
  windows: string | null;

  status: Reservation["status"];
  finished_at_ms: number | null;
  charged: string | null;
  settled_key: string | null;
  settled_fingerprint: string | null;
  settled_reply: string | null;
  report: string | null;
}

export interface LeaseRow {
  id: string;
  epoch: number;
  fingerprint: string;
  subject: string;
  unit: string;
  scopes: string;
  windows: string | null;
  granted: string;
  spent: string;
  returned: string;
  held: string;
  charged: string;
  sequence: number;
  shortage: string | null;
  ttl_ms: number;
  grace_ms: number;
  on_expiry: LeaseRecord["onExpiry"];
  holder: string | null;
  key_id: string | null;
  status: LeaseRecord["status"];
  created_at_ms: number;
  renewed_at_ms: number;
  expires_at_ms: number;
  ended_at_ms: number | null;
}

export interface AnswerRow {
  key: string;
  fingerprint: string;
  reply: string;
}

export interface ApiKeyRow {
  key_id: string;
  digest: string;
  prefix: string;
  name: string;
  description: string | null;
  permissions: string;
  scope_filter: string | null;
  metadata: string | null;
  created_at_ms: number;
  expires_at_ms: number;
  revoked_at_ms: number | null;
  remaining_ttl_ms: number;
  allowed_origins: string | null;
  revoked_reason: string | null;
  may_issue_tokens: number;
}

export interface TokenRow {
  token_id: string;
  terms: string;
  created_at_ms: number;
  expires_at_ms: number;
  revoked_at_ms: number | null;
}

export interface AuditRow {
  seq: number;
  at_ms: number;
  entry: string;
}

export function tenantOf(row: TenantRow): TenantRecord {
  return {
    tenantId: row.tenant_id,
    name: row.name,
    status: row.status as TenantRecord["status"],
    parentTenantId: row.parent_tenant_id ?? undefined,
    metadata: read<Record<string, string>>(row.metadata),
    defaultCommitOveragePolicy: (row.default_commit_overage_policy ??
      undefined) as TenantRecord["defaultCommitOveragePolicy"],
    defaultReservationTtlMs: row.default_reservation_ttl_ms,
    maxReservationTtlMs: row.max_reservation_ttl_ms,
    maxReservationExtensions: row.max_reservation_extensions,
    reservationExpiryPolicy: row.reservation_expiry_policy as TenantRecord["reservationExpiryPolicy"],
    revision: row.revision,
    createdAtMs: row.created_at_ms,
    updatedAtMs: row.updated_at_ms,
    suspendedAtMs: row.suspended_at_ms ?? undefined,
    closedAtMs: row.closed_at_ms ?? undefined,
  };
}

export function accountOf(row: AccountRow): AccountRecord {
  return {
    scope: row.scope,
    unit: row.unit as Unit,
    allocated: int64(row.allocated),
    spent: int64(row.spent),
    reserved: int64(row.reserved),
    debt: int64(row.debt),
    overdraftLimit: int64(row.overdraft_limit),
    overLimitMark: row.over_limit_mark === 1,
    status: row.status as AccountRecord["status"],
    commitOveragePolicy: (row.commit_overage_policy ?? undefined) as AccountRecord["commitOveragePolicy"],
    settings: read<AccountRecord["settings"]>(row.settings) ?? {},
    createdAtMs: row.created_at_ms,
    updatedAtMs: row.updated_at_ms,
    ...timeOf(row),
  };
}

/** A budget's period and window; most budgets have neither. */
function timeOf(row: AccountRow): Pick<AccountRecord, "period" | "window"> {
  if (row.window_start_ms === null) return {};
  const rule = read<NonNullable<AccountRecord["period"]>["rule"]>(row.period);
  return {
    ...(rule !== undefined && { period: { rule, allocated: int64(row.period_allocated ?? "0") } }),
    window: {
      startMs: row.window_start_ms,
      endMs: row.window_end_ms ?? undefined,
      carriedDebt: int64(row.carried_debt ?? "0"),
    },
  };
}

export function windowOf(row: WindowRow): WindowRecord {
  return {
    startMs: row.start_ms,
    endMs: row.end_ms,
    allocated: int64(row.allocated),
    spent: int64(row.spent),
    reserved: int64(row.reserved),
    debt: int64(row.debt),
    carriedDebt: int64(row.carried_debt),
    overLimitMark: row.over_limit_mark === 1,
  };
}

export function policyOf(row: PolicyRow): PolicyRecord {
  return {
    policyId: row.policy_id,
    name: row.name,
    description: row.description ?? undefined,
    scopePattern: row.scope_pattern,
    priority: row.priority,
    rules: JSON.parse(row.rules) as PolicyRecord["rules"],
    status: row.status as PolicyRecord["status"],
    effectiveFromMs: row.effective_from_ms ?? undefined,
    effectiveUntilMs: row.effective_until_ms ?? undefined,
    createdAtMs: row.created_at_ms,
    updatedAtMs: row.updated_at_ms,
  };
}

export function reservationOf(row: ReservationRow): Reservation {
  const base = {
    id: row.id,
    created: { key: row.created_key, fingerprint: row.created_fingerprint, reply: row.created_reply },
    unit: row.unit as Unit,
    amount: int64(row.amount),
    scopes: JSON.parse(row.scopes) as string[],
    windows: read<number[]>(row.windows),
    overagePolicy: row.overage_policy as Reservation["overagePolicy"],
    createdAtMs: row.created_at_ms,
    expiresAtMs: row.expires_at_ms,
    gracePeriodMs: row.grace_period_ms,
    extensionsMax: row.extensions_max,
    extensions: row.extensions === null ? [] : (JSON.parse(row.extensions) as Answer[]),
    details: read<ReservationDetails>(row.details) as ReservationDetails,
    keyId: row.key_id ?? undefined,
  };
  if (row.status === "ACTIVE" || row.finished_at_ms === null) return { ...base, status: "ACTIVE" };
  return {
    ...base,
    status: row.status,
    finishedAtMs: row.finished_at_ms,
    charged: row.charged === null ? undefined : int64(row.charged),
    settled: settledOf(row),
    report: read<NonNullable<FinishedReservation["report"]>>(row.report),
  };
}

export function leaseOf(row: LeaseRow): LeaseRecord {
  return {
    id: row.id,
    epoch: row.epoch,
    fingerprint: row.fingerprint,
    subject: JSON.parse(row.subject) as Subject,
    unit: row.unit as Unit,
    scopes: JSON.parse(row.scopes) as string[],
    windows: read<number[]>(row.windows),
    granted: int64(row.granted),
    spent: int64(row.spent),
    returned: int64(row.returned),
    held: int64(row.held),
    charged: int64(row.charged),
    sequence: row.sequence,
    shortage: row.shortage ?? undefined,
    ttlMs: row.ttl_ms,
    graceMs: row.grace_ms,
    onExpiry: row.on_expiry,
    holder: row.holder ?? undefined,
    keyId: row.key_id ?? undefined,
    status: row.status,
    createdAtMs: row.created_at_ms,
    renewedAtMs: row.renewed_at_ms,
    expiresAtMs: row.expires_at_ms,
    endedAtMs: row.ended_at_ms ?? undefined,
  };
}

export function apiKeyOf(row: ApiKeyRow): ApiKeyRecord {
  return {
    keyId: row.key_id,
    digest: row.digest,
    prefix: row.prefix,
    name: row.name,
    description: row.description ?? undefined,
    permissions: JSON.parse(row.permissions) as Permission[],
    scopeFilter: read<string[]>(row.scope_filter),
    metadata: read<JsonObject>(row.metadata),
    createdAtMs: row.created_at_ms,
    expiresAtMs: row.expires_at_ms,
    revokedAtMs: row.revoked_at_ms ?? undefined,
    remainingTtl: row.remaining_ttl_ms === 1,
    allowedOrigins: read<string[]>(row.allowed_origins),
    revokedReason: row.revoked_reason ?? undefined,
    mayIssueTokens: row.may_issue_tokens === 1,
  };
}

/** A token's terms as one text: no statement looks into them. Amounts are decimal text. */
export function termsText({
  ancestors,
  keyId,
  name,
  scope,
  unit,
  permissions,
  cap,
  maxPerOperation,
  allowedOrigins,
}: TokenTerms): string {
  const most = maxPerOperation === undefined ? undefined : int64Text(maxPerOperation);
  const kept = { ancestors, keyId, name, scope, unit, permissions, allowedOrigins };
  return JSON.stringify({ ...kept, cap: int64Text(cap), most });
}

export function tokenOf(row: TokenRow): TokenRecord {
  const { cap, most, ...terms } = JSON.parse(row.terms) as Omit<TokenTerms, "cap" | "maxPerOperation"> & {
    readonly cap: string;
    readonly most?: string;
  };
  return {
    ...terms,
    cap: int64(cap),
    maxPerOperation: most === undefined ? undefined : int64(most),
    tokenId: row.token_id,
    createdAtMs: row.created_at_ms,
    expiresAtMs: row.expires_at_ms,
    revokedAtMs: row.revoked_at_ms ?? undefined,
  };
}

export function auditOf(row: AuditRow): AuditRecord {
  const entry = reviveReply<Omit<AuditRecord, "seq" | "atMs">>(row.entry);
  return { ...entry, seq: row.seq, atMs: row.at_ms };
}

/** Sorts after every character of an id, so that `stem … stem~` is the range of ids that begin with the stem. */
export const AFTER_ID = "~";

/** The text of a JSON column; integers of any size stay exact. */
export function json(value: unknown): string {
  return stringifyJson(value);
}

export function jsonOrNull(value: unknown): string | null {
  return value === undefined ? null : stringifyJson(value);
}

/** An empty list is NULL: most reservations are never extended. */
export function listOf(values: readonly unknown[]): string | null {
  return values.length === 0 ? null : stringifyJson(values);
}

function settledOf({
  settled_key: key,
  settled_fingerprint: print,
  settled_reply: reply,
}: ReservationRow): Answer | undefined {
  return key === null || print === null || reply === null ? undefined : { key, fingerprint: print, reply };
}

function read<T>(text: string | null): T | undefined {
  return text === null ? undefined : (readStoredJson(text) as T);
}

function int64(text: string): bigint {
  const value = parseInt64(text);
  if (value === undefined) throw new Error(`an int64 column holds ${JSON.stringify(text)}`);
  return value;
}
