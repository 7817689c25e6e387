// The bodies of the governance plane's replies, and how records become them. Invariant: as wire.ts; a key's text and its
// digest are in none of them. Who may call: the operations of the governance plane.

import type { AccountArithmetic, OveragePolicy } from "../kernel/accounts.ts";
import { apiKeyIdOf } from "./api-keys.ts";
import type { AuditRecord } from "./audit.ts";
import { fingerprint } from "./digest.ts";
import type { JsonObject } from "./json.ts";
import type { Permission } from "./permissions.ts";
import type { Action, Amount, Unit } from "./schema.ts";
import type { Subject } from "./scope.ts";
import type { AccountRecord, ApiKeyRecord, TenantRecord } from "./store.ts";
import { isoTime } from "./wire.ts";

/** @see Cycles governance, Tenant */
export interface TenantBody {
  readonly tenant_id: string;
  readonly name: string;
  readonly status: TenantRecord["status"];
  readonly parent_tenant_id?: string;
  readonly default_commit_overage_policy?: OveragePolicy;
  readonly default_reservation_ttl_ms: number;
  readonly max_reservation_ttl_ms: number;
  readonly max_reservation_extensions: number;
  readonly reservation_expiry_policy: TenantRecord["reservationExpiryPolicy"];
  readonly metadata?: Readonly<Record<string, string>>;
  readonly created_at: string;
  readonly updated_at: string;
  readonly suspended_at?: string;
  readonly closed_at?: string;
}

/** @see Cycles governance, BudgetLedger */
export interface BudgetBody {
  readonly ledger_id: string;
  readonly tenant_id: string;
  readonly scope: string;
  readonly scope_path: string;
  readonly unit: Unit;
  readonly allocated: Amount;
  readonly remaining: Amount;
  readonly reserved: Amount;
  readonly spent: Amount;
  readonly debt: Amount;
  readonly overdraft_limit: Amount;
  readonly is_over_limit: boolean;
  readonly commit_overage_policy?: OveragePolicy;
  readonly status: AccountRecord["status"];
  readonly rollover_policy?: string;
  readonly period_start?: string;
  readonly period_end?: string;
  readonly created_at: string;
  readonly updated_at: string;
}

/** @see Cycles governance, BudgetFundingResponse */
export interface FundBody {
  readonly operation: string;
  readonly previous_allocated: Amount;
  readonly new_allocated: Amount;
  readonly previous_remaining: Amount;
  readonly new_remaining: Amount;
  readonly previous_debt: Amount;
  readonly new_debt: Amount;
  readonly previous_spent: Amount;
  readonly new_spent: Amount;
  readonly timestamp: string;
}

/** @see Cycles governance, ApiKeyCreateResponse; the front adds `key_secret`, which the ledger never sees */
export interface ApiKeyBody {
  readonly key_id: string;
  readonly key_prefix: string;
  readonly tenant_id: string;
  readonly permissions: readonly Permission[];
  readonly created_at: string;
  readonly expires_at: string;
}

/** @see Cycles governance, ApiKey */
export interface ApiKeyDetailBody extends ApiKeyBody {
  readonly name: string;
  readonly description?: string;
  readonly scope_filter?: readonly string[];
  readonly status: "ACTIVE" | "REVOKED" | "EXPIRED";
  readonly revoked_at?: string;
  readonly revoked_reason?: string;
  readonly metadata?: JsonObject;
}

/** @see Cycles governance, AuditLogEntry */
export interface AuditBody {
  readonly log_id: string;
  readonly timestamp: string;
  readonly tenant_id: string;
  readonly actor_type: AuditRecord["actorType"];
  readonly key_id?: string;
  readonly user_agent?: string;
  readonly source_ip?: string;
  readonly operation: string;
  readonly resource_type: string;
  readonly resource_id: string;
  readonly request_id?: string;
  readonly trace_id?: string;
  readonly status: number;
  readonly subject?: Subject;
  readonly action?: Action;
  readonly amount?: Amount;
  readonly metadata?: JsonObject;
}

/** One page of a list, under the name that the list has on the wire. */
export type PageBody<Name extends string, Row> = { readonly [Key in Name]: readonly Row[] } & {
  readonly next_cursor?: string;
  readonly has_more: boolean;
};

export type TenantListBody = PageBody<"tenants", TenantBody>;
export type BudgetListBody = PageBody<"ledgers", BudgetBody>;
export type ApiKeyListBody = PageBody<"keys", ApiKeyDetailBody>;
export type AuditListBody = PageBody<"logs", AuditBody>;

export function tenantBody(tenant: TenantRecord): TenantBody {
  return {
    tenant_id: tenant.tenantId,
    name: tenant.name,
    status: tenant.status,
    ...(tenant.parentTenantId !== undefined && { parent_tenant_id: tenant.parentTenantId }),
    ...(tenant.defaultCommitOveragePolicy !== undefined && {
      default_commit_overage_policy: tenant.defaultCommitOveragePolicy,
    }),
    default_reservation_ttl_ms: tenant.defaultReservationTtlMs,
    max_reservation_ttl_ms: tenant.maxReservationTtlMs,
    max_reservation_extensions: tenant.maxReservationExtensions,
    reservation_expiry_policy: tenant.reservationExpiryPolicy,
    ...(tenant.metadata !== undefined && { metadata: tenant.metadata }),
    created_at: isoTime(tenant.createdAtMs),
    updated_at: isoTime(tenant.updatedAtMs),
    ...(tenant.suspendedAtMs !== undefined && { suspended_at: isoTime(tenant.suspendedAtMs) }),
    ...(tenant.closedAtMs !== undefined && { closed_at: isoTime(tenant.closedAtMs) }),
  };
}

/** What names a budget in one word: the same for ever, made of what it is keyed by. */
export function ledgerIdOf(tenant: string, { scope, unit }: Pick<AccountRecord, "scope" | "unit">): string {
  return `ldg_${fingerprint(`${tenant}\n${scope}\n${unit}`).slice(0, 22)}`;
}

export function budgetBody(
  tenant: string,
  account: AccountRecord,
  arithmetic: AccountArithmetic,
): BudgetBody {
  const amount = (value: bigint): Amount => ({ unit: account.unit, amount: value });
  const { rolloverPolicy } = account.settings;
  const { startMs: periodStartMs, endMs: periodEndMs } = currentPeriodOf(account);
  return {
    ledger_id: ledgerIdOf(tenant, account),
    tenant_id: tenant,
    scope: account.scope,
    scope_path: account.scope,
    unit: account.unit,
    allocated: amount(account.allocated),
    remaining: amount(arithmetic.remaining(account)),
    reserved: amount(account.reserved),
    spent: amount(account.spent),
    debt: amount(account.debt),
    overdraft_limit: amount(account.overdraftLimit),
    is_over_limit: arithmetic.isOverLimit(account),
    ...(account.commitOveragePolicy !== undefined && { commit_overage_policy: account.commitOveragePolicy }),
    status: account.status,
    ...(rolloverPolicy !== undefined && { rollover_policy: rolloverPolicy }),
    ...(periodStartMs !== undefined && { period_start: isoTime(periodStartMs) }),
    ...(periodEndMs !== undefined && { period_end: isoTime(periodEndMs) }),
    created_at: isoTime(account.createdAtMs),
    updated_at: isoTime(account.updatedAtMs),
  };
}

export function apiKeyBody(tenant: string, key: ApiKeyRecord): ApiKeyBody {
  return {
    key_id: apiKeyIdOf(tenant, key.keyId),
    key_prefix: key.prefix,
    tenant_id: tenant,
    permissions: key.permissions,
    created_at: isoTime(key.createdAtMs),
    expires_at: isoTime(key.expiresAtMs),
  };
}

export function apiKeyDetailBody(tenant: string, key: ApiKeyRecord, nowMs: number): ApiKeyDetailBody {
  return {
    ...apiKeyBody(tenant, key),
    name: key.name,
    ...(key.description !== undefined && { description: key.description }),
    ...(key.scopeFilter !== undefined && { scope_filter: key.scopeFilter }),
    status: statusOfKey(key, nowMs),
    ...(key.revokedAtMs !== undefined && { revoked_at: isoTime(key.revokedAtMs) }),
    ...(key.revokedReason !== undefined && { revoked_reason: key.revokedReason }),
    ...(key.metadata !== undefined && { metadata: key.metadata }),
  };
}

export function statusOfKey(key: ApiKeyRecord, nowMs: number): ApiKeyDetailBody["status"] {
  if (key.revokedAtMs !== undefined) return "REVOKED";
  return nowMs >= key.expiresAtMs ? "EXPIRED" : "ACTIVE";
}

export function auditBody(tenant: string, row: AuditRecord): AuditBody {
  const { source } = row;
  return {
    log_id: logIdOf(tenant, row),
    timestamp: isoTime(row.atMs),
    tenant_id: tenant,
    actor_type: row.actorType,
    ...(row.keyId !== undefined && { key_id: apiKeyIdOf(tenant, row.keyId) }),
    ...(source?.userAgent !== undefined && { user_agent: source.userAgent }),
    ...(source?.sourceIp !== undefined && { source_ip: source.sourceIp }),
    operation: row.operation,
    resource_type: row.resourceType,
    resource_id: row.resourceId,
    ...(source !== undefined && { request_id: source.requestId, trace_id: source.traceId }),
    status: row.status,
    ...(row.subject !== undefined && { subject: row.subject }),
    ...(row.action !== undefined && { action: row.action }),
    ...(row.amount !== undefined && { amount: row.amount }),
    ...(row.metadata !== undefined && { metadata: row.metadata }),
  };
}

export function logIdOf(tenant: string, { seq }: Pick<AuditRecord, "seq">): string {
  return `log_${tenant}_${seq}`;
}

/** A page, with the way to the next one where there is more. */
export function pageBody<Name extends string, Row>(
  name: Name,
  rows: readonly Row[],
  nextCursor: string | undefined,
): PageBody<Name, Row> {
  const page = {
    [name]: rows,
    ...(nextCursor !== undefined && { next_cursor: nextCursor }),
    has_more: nextCursor !== undefined,
  };
  return page as PageBody<Name, Row>;
}

/** A budget's own window where it has a period, else what its maker called the period, which has no effect. */
function currentPeriodOf({ period, window, settings }: AccountRecord): {
  readonly startMs?: number | undefined;
  readonly endMs?: number | undefined;
} {
  if (period !== undefined && window !== undefined) return window;
  return { startMs: settings.periodStartMs, endMs: settings.periodEndMs };
}
