// How a tenant lends, which its operator sets: the policy at expiry, the longest life, the grace, and the epoch. Invariant:
// settings count for leases that are opened after them, the longest life also for renewals; raising the epoch ends every
// lease of an earlier one in the same transaction. Who may call: the Ledger, for operators.

import { recordAudit } from "./audit.ts";
import { type Reply, refuse, succeed } from "./codes.ts";
import type { LedgerCore, Turn } from "./core.ts";
import type { JsonObject } from "./json.ts";
import { leaseSettingsSchema } from "./lease-schema.ts";
import type { LeaseSettingsBody } from "./lease-wire.ts";
import { validate } from "./schema.ts";

export function readLeaseSettings(core: LedgerCore, turn: Turn): Reply<LeaseSettingsBody> {
  return core.run(turn, () => known(core) ?? succeed(bodyOf(core)));
}

export function changeLeaseSettings(core: LedgerCore, input: unknown, turn: Turn): Reply<LeaseSettingsBody> {
  return core.run(turn, (nowMs) => {
    const checked = validate(leaseSettingsSchema, input);
    if (!checked.ok) return checked;
    const missing = known(core);
    if (missing !== undefined) return missing;
    const { on_expiry: onExpiry, ttl_ms_max: ttlMsMax, grace_ms: graceMs } = checked.value;
    core.writeLeaseSettings({ ...core.leases.settings, onExpiry, ttlMsMax, graceMs });
    record(core, turn, nowMs, "updateLeaseSettings", { changes: { ...checked.value } });
    return succeed(bodyOf(core));
  });
}

/**
 * After the store was restored from a backup: whatever was granted since is unknown to it, so nothing that was granted
 * before goes on. Each lease ends by its policy; what its holder still reports is late.
 */
export function raiseLeaseEpoch(core: LedgerCore, turn: Turn): Reply<LeaseSettingsBody> {
  return core.run(turn, (nowMs) => {
    const missing = known(core);
    if (missing !== undefined) return missing;
    const { settings } = core.leases;
    // Also above every epoch that the store may have had since the backup.
    const epoch = Math.max(settings.epoch + 1, nowMs);
    core.writeLeaseSettings({ ...settings, epoch });
    const outdated = core.leases.outdated();
    for (const id of outdated) core.expireLease(core.openLease(id), nowMs);
    record(core, turn, nowMs, "raiseLeaseEpoch", {
      prior_epoch: settings.epoch,
      new_epoch: epoch,
      leases_ended: outdated.length,
    });
    return succeed(bodyOf(core));
  });
}

function known(core: LedgerCore) {
  return core.store.readTenant() === undefined
    ? refuse("NOT_FOUND", `Tenant not found: ${core.tenant}`)
    : undefined;
}

function record(core: LedgerCore, turn: Turn, nowMs: number, operation: string, metadata: JsonObject): void {
  recordAudit(core, turn, nowMs, { operation, resourceType: "config", resourceId: core.tenant, metadata });
}

function bodyOf(core: LedgerCore): LeaseSettingsBody {
  const { epoch, onExpiry, ttlMsMax, graceMs } = core.leases.settings;
  return {
    tenant_id: core.tenant,
    epoch,
    on_expiry: onExpiry,
    ttl_ms_max: ttlMsMax,
    grace_ms: graceMs,
  };
}
