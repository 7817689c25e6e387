// What the model foretells where operators steer: tenants changed, suspended, closed; budgets changed and frozen.
// Invariant: closing ends everything at once and for ever. Who may call: the model.

import { budgetBody } from "./operating.ts";
import {
  activeAt,
  budgetKey,
  type Expected,
  granted,
  type ModelBudget,
  type ModelState,
  type ModelTenant,
  type Policy,
  refused,
} from "./state.ts";
import { exact, isoTime, type Members } from "./wire.ts";

export interface TenantPatch {
  readonly status?: ModelTenant["status"];
  readonly default_reservation_ttl_ms?: number;
  readonly max_reservation_ttl_ms?: number;
  readonly max_reservation_extensions?: number;
  readonly default_commit_overage_policy?: Policy;
}

export interface BudgetPatch {
  readonly overdraft_limit?: { readonly unit: string; readonly amount: bigint | number };
  readonly commit_overage_policy?: Policy;
}

export function foretellUpdateTenant(state: ModelState, patch: TenantPatch, nowMs: number): Expected {
  const { tenant } = state;
  if (tenant.status === "CLOSED") {
    const isRetry = patch.status === "CLOSED" && Object.keys(patch).length === 1;
    return isRetry ? granted(tenantBody(tenant)) : refused("409 TENANT_CLOSED");
  }
  const defaultTtlMs = patch.default_reservation_ttl_ms ?? tenant.defaultTtlMs;
  const maxTtlMs = patch.max_reservation_ttl_ms ?? tenant.maxTtlMs;
  if (defaultTtlMs > maxTtlMs) return refused("400 INVALID_REQUEST");
  const status = patch.status ?? tenant.status;
  if (status === "CLOSED") closeAll(state, nowMs);
  Object.assign(tenant, {
    status,
    defaultTtlMs,
    maxTtlMs,
    maxExtensions: patch.max_reservation_extensions ?? tenant.maxExtensions,
    policy: patch.default_commit_overage_policy ?? tenant.policy,
    suspendedAtMs: status === "SUSPENDED" ? (tenant.suspendedAtMs ?? nowMs) : undefined,
    closedAtMs: status === "CLOSED" ? nowMs : undefined,
    updatedAtMs: nowMs,
  });
  state.audited += 1;
  return granted(tenantBody(tenant));
}

/** Holds are released, budgets closed; each is a row of the audit log. What had expired ends as expired. */
function closeAll(state: ModelState, nowMs: number): void {
  for (const reservation of activeAt(state, nowMs)) {
    Object.assign(reservation, { state: "RELEASED", finishedAtMs: nowMs });
    state.audited += 1;
  }
  for (const budget of state.budgets.values()) {
    Object.assign(budget, { status: "CLOSED", updatedAtMs: nowMs });
    state.audited += 1;
  }
}

export function foretellUpdateBudget(
  state: ModelState,
  name: { scope: string; unit: string },
  patch: BudgetPatch,
  nowMs: number,
): Expected {
  return changeBudget(state, name, nowMs, (budget) => {
    const limit = patch.overdraft_limit;
    if (limit !== undefined && limit.unit !== budget.unit) return refused("400 UNIT_MISMATCH");
    budget.policy = patch.commit_overage_policy ?? budget.policy;
    if (limit !== undefined) Object.assign(budget, { limit: exact(limit.amount), mark: false });
    return undefined;
  });
}

export function foretellFreeze(
  state: ModelState,
  name: { scope: string; unit: string },
  to: "ACTIVE" | "FROZEN",
  nowMs: number,
): Expected {
  return changeBudget(state, name, nowMs, (budget) => {
    if (budget.status === to) return refused(to === "FROZEN" ? "409 BUDGET_FROZEN" : "409 INVALID_REQUEST");
    budget.status = to;
    return undefined;
  });
}

function changeBudget(
  state: ModelState,
  { scope, unit }: { scope: string; unit: string },
  nowMs: number,
  change: (budget: ModelBudget) => (Expected & { ok: false }) | undefined,
): Expected {
  if (state.tenant.status === "CLOSED") return refused("409 TENANT_CLOSED");
  const budget = state.budgets.get(budgetKey(scope, unit));
  if (budget === undefined) return refused("404 BUDGET_NOT_FOUND");
  const refusal = change(budget);
  if (refusal !== undefined) return refusal;
  budget.updatedAtMs = nowMs;
  state.audited += 1;
  return granted(budgetBody(state, budget, nowMs));
}

function tenantBody(tenant: ModelTenant): Members {
  const { suspendedAtMs, closedAtMs } = tenant;
  return {
    tenant_id: tenant.tenantId,
    name: tenant.name,
    status: tenant.status,
    default_commit_overage_policy: tenant.policy,
    default_reservation_ttl_ms: tenant.defaultTtlMs,
    max_reservation_ttl_ms: tenant.maxTtlMs,
    max_reservation_extensions: tenant.maxExtensions,
    reservation_expiry_policy: "AUTO_RELEASE",
    created_at: isoTime(tenant.createdAtMs),
    updated_at: isoTime(tenant.updatedAtMs),
    suspended_at: suspendedAtMs === undefined ? undefined : isoTime(suspendedAtMs),
    closed_at: closedAtMs === undefined ? undefined : isoTime(closedAtMs),
  };
}
