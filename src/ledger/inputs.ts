// The requests as callers write them, for those who call in TypeScript: safe integers or BigInt for amounts, defaults
// left out. The schemas are the judge; these types only help the caller's editor. Who may call: anyone.

import type { FundOperation, OveragePolicy } from "../kernel/accounts.ts";
import type { JsonObject } from "./json.ts";
import type { Caps } from "./policies.ts";
import type { AmountInput, Unit } from "./schema.ts";
import type { Subject } from "./scope.ts";

/** @see Cycles protocol, ReservationCreateRequest */
export interface ReserveInput {
  readonly idempotency_key: string;
  readonly subject: Subject;
  readonly action: { readonly kind: string; readonly name: string; readonly tags?: readonly string[] };
  readonly estimate: AmountInput;
  readonly ttl_ms?: number;
  readonly grace_period_ms?: number;
  readonly overage_policy?: OveragePolicy;
  readonly dry_run?: boolean;
  readonly metadata?: JsonObject;
}

/** Purser's own: as much of the estimate as there is. */
export interface ReserveFitInput extends ReserveInput {
  /** Less than this is of no use; in the estimate's unit. */
  readonly estimate_min: number | bigint;
}

/** @see Cycles protocol, DecisionRequest */
export type DecideInput = Pick<
  ReserveInput,
  "idempotency_key" | "subject" | "action" | "estimate" | "metadata"
>;

/** @see Cycles protocol, StandardMetrics */
export interface MetricsInput {
  readonly tokens_input?: number;
  readonly tokens_output?: number;
  readonly latency_ms?: number;
  readonly model_version?: string;
  readonly custom?: JsonObject;
}

/** @see Cycles protocol, CommitRequest */
export interface CommitInput {
  readonly idempotency_key: string;
  readonly actual: AmountInput;
  readonly metrics?: MetricsInput;
  readonly metadata?: JsonObject;
}

/** @see Cycles protocol, EventCreateRequest */
export interface EventInput extends Pick<ReserveInput, "subject" | "action" | "overage_policy">, CommitInput {
  readonly client_time_ms?: number;
}

/** @see Cycles protocol, ReleaseRequest */
export interface ReleaseInput {
  readonly idempotency_key: string;
  readonly reason?: string;
}

/** @see Cycles protocol, ReservationExtendRequest */
export interface ExtendInput {
  readonly idempotency_key: string;
  readonly extend_by_ms: number;
  readonly metadata?: JsonObject;
}

/** Times are ISO 8601 texts, both ends included. @see Cycles protocol, listReservations */
export interface ReservationsQuery extends Omit<Subject, "dimensions"> {
  readonly idempotency_key?: string;
  readonly status?: "ACTIVE" | "COMMITTED" | "RELEASED" | "EXPIRED";
  readonly from?: string;
  readonly to?: string;
  readonly expires_from?: string;
  readonly expires_to?: string;
  readonly finalized_from?: string;
  readonly finalized_to?: string;
  readonly sort_by?:
    | "reservation_id"
    | "tenant"
    | "scope_path"
    | "status"
    | "reserved"
    | "created_at_ms"
    | "expires_at_ms";
  readonly sort_dir?: "asc" | "desc";
  /** `metadata`, `committed_metadata`, or both with a comma. */
  readonly include?: string;
  readonly limit?: number | string;
  readonly cursor?: string;
}

/** At least one level; children are always included. @see Cycles protocol, getBalances */
export interface BalancesQuery extends Omit<Subject, "dimensions"> {
  readonly limit?: number | string;
  readonly cursor?: string;
}

/** @see Cycles governance, TenantCreateRequest */
export interface TenantInput {
  readonly tenant_id: string;
  readonly name: string;
  readonly parent_tenant_id?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly default_commit_overage_policy?: OveragePolicy;
  readonly default_reservation_ttl_ms?: number;
  readonly max_reservation_ttl_ms?: number;
  readonly max_reservation_extensions?: number;
  readonly reservation_expiry_policy?: "AUTO_RELEASE" | "GRACE_ONLY";
}

/** `CLOSED` is for ever. @see Cycles governance, TenantUpdateRequest */
export interface TenantPatchInput
  extends Omit<Partial<TenantInput>, "tenant_id" | "parent_tenant_id" | "reservation_expiry_policy"> {
  readonly status?: "ACTIVE" | "SUSPENDED" | "CLOSED";
}

/** @see Cycles governance, BudgetCreateRequest */
export interface BudgetInput {
  readonly tenant_id?: string;
  readonly scope: string;
  readonly unit: Unit;
  readonly allocated: AmountInput;
  readonly overdraft_limit?: AmountInput;
  readonly commit_overage_policy?: OveragePolicy;
  readonly rollover_policy?: "NONE" | "CARRY_FORWARD" | "CAP_AT_ALLOCATED";
  readonly period_start?: string;
  readonly period_end?: string;
  readonly metadata?: JsonObject;
}

/** Names one budget. */
export interface BudgetName {
  readonly scope: string;
  readonly unit: Unit;
}

/** @see Cycles governance, updateBudget */
export interface BudgetPatch {
  readonly overdraft_limit?: AmountInput;
  readonly commit_overage_policy?: OveragePolicy;
  readonly metadata?: JsonObject;
}

/** Why a budget is frozen or unfrozen. */
export interface TransitionInput {
  readonly reason?: string;
  readonly metadata?: JsonObject;
}

/** Every filter is text, as in a query. @see Cycles governance, listBudgets */
export interface BudgetsQuery {
  readonly scope_prefix?: string;
  readonly unit?: Unit;
  readonly status?: "ACTIVE" | "FROZEN" | "CLOSED";
  readonly over_limit?: "true" | "false";
  readonly has_debt?: "true" | "false";
  readonly utilization_min?: string;
  readonly utilization_max?: string;
  readonly search?: string;
  readonly limit?: number | string;
  readonly cursor?: string;
}

/** @see Cycles governance, listAuditLogs; the other filters of the protocol are taken too */
export interface AuditQuery {
  readonly operation?: string;
  readonly resource_type?: string;
  readonly resource_id?: string;
  readonly key_id?: string;
  readonly from?: string;
  readonly to?: string;
  readonly search?: string;
  readonly limit?: number | string;
  readonly cursor?: string;
}

/** @see Cycles governance, BudgetFundingRequest */
export interface FundInput {
  readonly operation: FundOperation;
  readonly amount: AmountInput;
  readonly spent?: AmountInput;
  readonly reason?: string;
  readonly idempotency_key: string;
  readonly metadata?: JsonObject;
}

/** What Purser adds to an API key; what is left out stays as it is, an empty list of origins lifts the binding. */
export interface ApiKeySettingsInput {
  readonly remaining_ttl_ms?: boolean;
  readonly allowed_origins?: readonly string[];
  readonly may_issue_tokens?: boolean;
}

/** Empty members (`{}`) say nothing, and take back what a policy said before. @see Cycles governance, PolicyCreateRequest */
export interface PolicyInput {
  readonly tenant_id?: string;
  readonly name: string;
  readonly description?: string;
  /** A scope, a scope and `/*` for all below it, or a scope whose last id is `*`. */
  readonly scope_pattern: string;
  readonly priority?: number;
  readonly caps?: Caps;
  readonly commit_overage_policy?: OveragePolicy;
  readonly reservation_ttl_override?: {
    readonly default_ttl_ms?: number;
    readonly max_ttl_ms?: number;
    readonly max_extensions?: number;
  };
  readonly rate_limits?: {
    readonly max_reservations_per_minute?: number;
    readonly max_commits_per_minute?: number;
  };
  readonly effective_from?: string;
  readonly effective_until?: string;
}

/** @see Cycles governance, updatePolicy */
export interface PolicyPatchInput extends Omit<Partial<PolicyInput>, "tenant_id" | "scope_pattern"> {
  readonly status?: "ACTIVE" | "DISABLED";
}

/** @see Cycles governance, listPolicies */
export interface PolicyQuery {
  readonly scope_pattern?: string;
  readonly status?: string;
  readonly limit?: number | string;
  readonly cursor?: string;
}

/** A calendar period in an IANA time zone (UTC by default), or one of fixed length. Not part of the protocol. */
export type PeriodInput = (
  | { readonly kind: "daily" | "weekly" | "monthly"; readonly time_zone?: string }
  | { readonly kind: "every"; readonly every_ms: number; readonly starts_at?: string }
) & {
  /** What each new window is allocated; what the budget is allocated now by default. */
  readonly allocated?: AmountInput;
};
