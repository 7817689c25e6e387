// The governance plane's tenants: made, read, changed, suspended, closed. Invariant: a closed tenant stays closed, and
// nothing that it owned is open any more; every change counts the record's revision up by one. Who may call: the Ledger,
// for the front, which has checked the operator's key.

import { closeOwned } from "./admin-close.ts";
import { type TenantPatch, type TenantRequest, tenantPatchSchema, tenantSchema } from "./admin-schema.ts";
import { type TenantBody, tenantBody } from "./admin-wire.ts";
import { recordAudit } from "./audit.ts";
import { type Refusal, type Reply, refuse, succeed } from "./codes.ts";
import type { LedgerCore, Turn } from "./core.ts";
import { closedTenant } from "./evaluation.ts";
import type { JsonObject } from "./json.ts";
import { TENANT_DEFAULTS } from "./limits.ts";
import { type Validated, validate } from "./schema.ts";
import type { TenantRecord } from "./store.ts";

/** Judges a request to make a tenant without a ledger, so that a bad one leaves no storage behind. */
export function checkTenantRequest(input: unknown): Validated<TenantRequest> {
  const checked = validate(tenantSchema, input);
  if (!checked.ok) return checked;
  const { default_reservation_ttl_ms: ttlMs } = checked.value;
  const ttlMsMax = checked.value.max_reservation_ttl_ms ?? TENANT_DEFAULTS.reservationTtlMsMax;
  return ttlMs !== undefined && ttlMs > ttlMsMax ? refuseDefaultTtl(ttlMs, ttlMsMax) : checked;
}

/** Makes the tenant, or answers with the one that is there: safe to retry. */
export function createTenant(core: LedgerCore, input: unknown, turn: Turn): Reply<TenantBody> {
  return core.run(turn, (nowMs) => {
    const checked = checkTenantRequest(input);
    if (!checked.ok) return checked;
    const request = checked.value;
    if (request.tenant_id !== core.tenant) {
      return refuse("INVALID_REQUEST", `tenant_id must be ${core.tenant}, got ${request.tenant_id}`);
    }
    const existing = core.store.readTenant();
    if (existing !== undefined) return succeed(tenantBody(existing));
    const maxReservationTtlMs = request.max_reservation_ttl_ms ?? TENANT_DEFAULTS.reservationTtlMsMax;
    const tenant: TenantRecord = {
      tenantId: request.tenant_id,
      name: request.name,
      status: "ACTIVE",
      parentTenantId: request.parent_tenant_id,
      metadata: request.metadata,
      defaultCommitOveragePolicy: request.default_commit_overage_policy,
      defaultReservationTtlMs:
        request.default_reservation_ttl_ms ?? Math.min(TENANT_DEFAULTS.reservationTtlMs, maxReservationTtlMs),
      maxReservationTtlMs,
      maxReservationExtensions:
        request.max_reservation_extensions ?? TENANT_DEFAULTS.reservationExtensionsMax,
      reservationExpiryPolicy: request.reservation_expiry_policy ?? "AUTO_RELEASE",
      revision: 1,
      createdAtMs: nowMs,
      updatedAtMs: nowMs,
    };
    core.store.writeTenant(tenant);
    recordAudit(core, turn, nowMs, {
      operation: "createTenant",
      resourceType: "tenant",
      resourceId: core.tenant,
      status: 201,
      metadata: { name: tenant.name },
    });
    return succeed(tenantBody(tenant), 201);
  });
}

export function getTenant(core: LedgerCore, turn: Turn): Reply<TenantBody> {
  return core.run(turn, () => {
    const tenant = core.store.readTenant();
    return tenant === undefined ? tenantNotFound(core) : succeed(tenantBody(tenant));
  });
}

/** Changes what is given. Closing takes all that the tenant owns with it, in the same transaction, and is for ever. */
export function updateTenant(core: LedgerCore, input: unknown, turn: Turn): Reply<TenantBody> {
  return core.run(turn, (nowMs) => {
    const checked = validate(tenantPatchSchema, input);
    if (!checked.ok) return checked;
    const patch = checked.value;
    const before = core.store.readTenant();
    if (before === undefined) return tenantNotFound(core);
    if (before.status === "CLOSED") {
      // Closing what is closed is a retry; anything else would change it.
      const isRetry = patch.status === "CLOSED" && Object.keys(patch).length === 1;
      return isRetry ? succeed(tenantBody(before)) : closedTenant(core);
    }
    const after = patched(before, patch, nowMs);
    if (after.defaultReservationTtlMs > after.maxReservationTtlMs) {
      return refuseDefaultTtl(after.defaultReservationTtlMs, after.maxReservationTtlMs);
    }
    const closing = after.status === "CLOSED";
    const correlation = closing ? closeOwned(core, turn, nowMs) : undefined;
    core.store.writeTenant(after);
    recordAudit(core, turn, nowMs, {
      operation: "updateTenant",
      resourceType: "tenant",
      resourceId: core.tenant,
      metadata: {
        changes: changesOf(patch),
        ...(after.status !== before.status && { prior_status: before.status, new_status: after.status }),
        ...(correlation !== undefined && { event_kind: "tenant.closed", correlation_id: correlation }),
      },
    });
    return succeed(tenantBody(after));
  });
}

export function tenantNotFound(core: LedgerCore): Refusal {
  return refuse("NOT_FOUND", `Tenant not found: ${core.tenant}`);
}

/** What a patch set, for the audit log: metadata only by its name, since it is the tenant's and of any length. */
export function changesOf(patch: object): JsonObject {
  const entries = Object.entries(patch).filter(([, value]) => value !== undefined);
  return Object.fromEntries(
    entries.map(([name, value]) => [name, name === "metadata" ? "changed" : (value as JsonObject)]),
  );
}

function patched(before: TenantRecord, patch: TenantPatch, nowMs: number): TenantRecord {
  const status = patch.status ?? before.status;
  const { suspendedAtMs: _, ...rest } = before;
  return {
    ...rest,
    name: patch.name ?? before.name,
    status,
    metadata: patch.metadata ?? before.metadata,
    defaultCommitOveragePolicy: patch.default_commit_overage_policy ?? before.defaultCommitOveragePolicy,
    defaultReservationTtlMs: patch.default_reservation_ttl_ms ?? before.defaultReservationTtlMs,
    maxReservationTtlMs: patch.max_reservation_ttl_ms ?? before.maxReservationTtlMs,
    maxReservationExtensions: patch.max_reservation_extensions ?? before.maxReservationExtensions,
    revision: before.revision + 1,
    updatedAtMs: nowMs,
    ...(status === "SUSPENDED" && { suspendedAtMs: before.suspendedAtMs ?? nowMs }),
    ...(status === "CLOSED" && { closedAtMs: nowMs }),
  };
}

function refuseDefaultTtl(ttlMs: number, ttlMsMax: number): Refusal {
  return refuse(
    "INVALID_REQUEST",
    `default_reservation_ttl_ms must be at most ${ttlMsMax}, the tenant's maximum, got ${ttlMs}`,
    { field: "default_reservation_ttl_ms" },
  );
}
