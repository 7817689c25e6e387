// What closing a tenant does to all it owns: holds released, budgets closed with nothing reserved, keys revoked, tokens gone. Runs
// inside the transaction that closes the tenant, so nobody ever sees a closed tenant with something open. Invariant: what
// is released from a budget is exactly what its holds had reserved, or nothing is closed at all. Who may call: admin-tenants.

import { ledgerIdOf, statusOfKey } from "./admin-wire.ts";
import { apiKeyIdOf } from "./api-keys.ts";
import { type AuditEntry, appendAudit } from "./audit.ts";
import type { LedgerCore, Turn } from "./core.ts";
import type { JsonObject } from "./json.ts";
import type { AccountRecord, ActiveReservation } from "./store.ts";
import { forgetAllTokens } from "./token-operations.ts";

/** Sorts after every reservation's id. */
const AFTER_IDS = "~";

/** @returns the id that the audit rows of one closing share; a tenant is closed once, so its name is enough */
export function closeOwned(core: LedgerCore, turn: Turn, nowMs: number): string {
  const correlation = `tenant.closed:${core.tenant}`;
  const record = (
    kind: string,
    entry: Pick<AuditEntry, "resourceType" | "resourceId"> & { metadata: JsonObject },
  ) =>
    appendAudit(core, turn, nowMs, {
      ...entry,
      operation: `${kind}_via_tenant_cascade`,
      metadata: {
        event_kind: `${kind}_via_tenant_cascade`,
        cascade_reason: "tenant_closed",
        correlation_id: correlation,
        ...entry.metadata,
      },
    });

  // What has expired ends as expired; the rest is released.
  core.sweepDue(nowMs, Number.POSITIVE_INFINITY);
  for (const id of core.leases.ids()) settleLease(core, id, nowMs, record);
  const released = new Map<string, bigint>();
  for (const reservation of activeReservations(core)) {
    core.store.finishReservation({ ...reservation, status: "RELEASED", finishedAtMs: nowMs });
    core.deadlines.delete(reservation.id);
    for (const account of core.accountsOf(reservation, nowMs)) {
      // What a window that has passed still holds is released there; of the others the sum is, below.
      if (account.current !== undefined) {
        core.writeFigures([account], core.releasePath([account], reservation.amount), nowMs);
        continue;
      }
      const name = nameOf(account);
      released.set(name, (released.get(name) ?? 0n) + reservation.amount);
    }
    record("reservation.released", {
      resourceType: "reservation",
      resourceId: reservation.id,
      metadata: {
        unit: reservation.unit,
        released_amount: reservation.amount,
        prior_status: "ACTIVE",
        new_status: "RELEASED",
      },
    });
  }

  for (const stored of [...core.store.scanAccounts()]) {
    const account = core.atTime(stored, nowMs);
    const amount = released.get(nameOf(account)) ?? 0n;
    if (amount !== account.reserved) {
      throw new Error(`ledger: ${account.scope} has ${account.reserved} reserved, its holds have ${amount}`);
    }
    const [figures] = core.releasePath([account], amount);
    core.store.rewriteAccount({ ...account, ...figures, status: "CLOSED", updatedAtMs: nowMs });
    if (account.status === "CLOSED") continue;
    record("budget.closed", {
      resourceType: "budget",
      resourceId: ledgerIdOf(core.tenant, account),
      metadata: {
        scope: account.scope,
        unit: account.unit,
        prior_status: account.status,
        new_status: "CLOSED",
        released_amount: amount,
      },
    });
  }

  for (const key of [...core.store.scanApiKeys()]) {
    if (statusOfKey(key, nowMs) !== "ACTIVE") continue;
    core.store.updateApiKey({ ...key, revokedAtMs: nowMs, revokedReason: "tenant_closed" });
    record("api_key.revoked", {
      resourceType: "api_key",
      resourceId: apiKeyIdOf(core.tenant, key.keyId),
      metadata: { name: key.name, prior_status: "ACTIVE", new_status: "REVOKED" },
    });
  }
  forgetAllTokens(core);
  return correlation;
}

/** What a holder has counts as spent, whatever the policy: a closed budget hears no report any more. */
function settleLease(
  core: LedgerCore,
  id: string,
  nowMs: number,
  record: (
    kind: string,
    entry: Pick<AuditEntry, "resourceType" | "resourceId"> & { metadata: JsonObject },
  ) => void,
): void {
  const lease = core.expireLease(core.openLease(id), nowMs, "charge");
  record("lease.expired", {
    resourceType: "reservation",
    resourceId: id,
    metadata: {
      unit: lease.unit,
      charged_amount: lease.charged,
      prior_status: "ACTIVE",
      new_status: "EXPIRED",
    },
  });
}

/** One after the other, so that not all of them are in memory at once. */
function* activeReservations(core: LedgerCore): Iterable<ActiveReservation> {
  const all = { above: { createdAtMs: 0, id: "" }, below: { createdAtMs: 0, id: AFTER_IDS } };
  const rowsMax = core.deadlines.size;
  const scan = { ...all, order: "id", descending: false, halves: ["active"], rowsMax } as const;
  for (const reservation of core.store.scanReservations(scan)) {
    if (reservation.status === "ACTIVE") yield reservation;
  }
}

function nameOf({ scope, unit }: Pick<AccountRecord, "scope" | "unit">): string {
  return `${unit}\n${scope}`;
}
