// The bodies of replies about leases. Invariant: closed shapes, no null, no key without a value; plain figures are in the
// unit that `granted` names. Who may call: the operations on leases. Not part of the protocol.

import type { Refusal } from "./codes.ts";
import type { LedgerCore } from "./core.ts";
import { type JsonObject, readStoredJson, stringifyJson } from "./json.ts";
import { type LeaseExpiry, type LeaseRecord, type LeaseStatus, outstandingOf } from "./lease-record.ts";
import type { Amount, Unit } from "./schema.ts";
import { scopePathOf, scopesOf } from "./scope.ts";
import type { AccountRecord } from "./store.ts";
import { type BalanceBody, balancesMember } from "./wire.ts";

/** Why less was granted than was wanted: what the refusal of it all would have said. */
export interface ShortageBody {
  readonly error: string;
  readonly message: string;
  readonly details?: JsonObject;
}

/** A lease after a call. */
export interface LeaseBody {
  readonly lease_id: string;
  readonly epoch: number;
  readonly sequence: number;
  readonly state: "active" | "ended";
  readonly granted: Amount;
  readonly outstanding: bigint;
  readonly recall: bigint;
  readonly remaining_ttl_ms: number;
  readonly grace_ms: number;
  readonly expires_at_ms: number;
  readonly on_expiry: LeaseExpiry;
  readonly shortage?: ShortageBody;
  readonly affected_scopes: readonly string[];
  readonly balances?: readonly BalanceBody[];
}

/** A lease in a list. */
export interface LeaseStateBody {
  readonly lease_id: string;
  readonly epoch: number;
  readonly status: LeaseStatus;
  readonly holder?: string;
  readonly scope_path: string;
  readonly unit: Unit;
  readonly granted: bigint;
  readonly spent: bigint;
  readonly returned: bigint;
  readonly held: bigint;
  readonly outstanding: bigint;
  readonly charged: bigint;
  readonly sequence: number;
  readonly created_at_ms: number;
  readonly renewed_at_ms: number;
  readonly expires_at_ms: number;
}

export interface LeaseListBody {
  readonly leases: readonly LeaseStateBody[];
  readonly next_cursor?: string;
  readonly has_more: boolean;
}

export interface ExposureBody {
  readonly exposure: readonly {
    readonly unit: Unit;
    readonly leases: number;
    readonly outstanding: bigint;
    readonly beyond: bigint;
  }[];
}

export interface LeaseSettingsBody {
  readonly tenant_id: string;
  readonly epoch: number;
  readonly on_expiry: LeaseExpiry;
  readonly ttl_ms_max: number;
  readonly grace_ms: number;
}

/** @param accounts - its budgets as they stand; left out where they show what has expired and is not settled */
export function leaseBody(
  core: LedgerCore,
  lease: LeaseRecord,
  {
    recall,
    accounts,
    nowMs,
  }: { recall: bigint; accounts?: readonly AccountRecord[] | undefined; nowMs: number },
): LeaseBody {
  const isActive = lease.status === "ACTIVE";
  return {
    lease_id: lease.id,
    epoch: lease.epoch,
    sequence: lease.sequence,
    state: isActive ? "active" : "ended",
    granted: { unit: lease.unit, amount: lease.granted },
    outstanding: outstandingOf(lease),
    recall,
    remaining_ttl_ms: isActive ? Math.max(0, lease.expiresAtMs - nowMs) : 0,
    grace_ms: lease.graceMs,
    expires_at_ms: lease.expiresAtMs,
    on_expiry: lease.onExpiry,
    ...(lease.shortage !== undefined && {
      shortage: readStoredJson(lease.shortage) as unknown as ShortageBody,
    }),
    affected_scopes: scopesOf(lease.subject),
    ...(accounts !== undefined && balancesMember(accounts, core.arithmetic)),
  };
}

export function leaseStateBody(lease: LeaseRecord): LeaseStateBody {
  const { unit, granted, spent, returned, held, charged, sequence } = lease;
  return {
    lease_id: lease.id,
    epoch: lease.epoch,
    status: lease.status,
    ...(lease.holder !== undefined && { holder: lease.holder }),
    scope_path: scopePathOf(lease.subject),
    unit,
    granted,
    spent,
    returned,
    held,
    outstanding: outstandingOf(lease),
    charged,
    sequence,
    created_at_ms: lease.createdAtMs,
    renewed_at_ms: lease.renewedAtMs,
    expires_at_ms: lease.expiresAtMs,
  };
}

/** A refusal as it is kept with the lease. */
export function shortageText({ error, message, details }: Refusal): string {
  return stringifyJson({ error, message, details });
}
