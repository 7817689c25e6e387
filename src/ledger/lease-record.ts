// A lease as the ledger keeps it, how much of it is where, and what a store must do for it. Invariant, for every lease and
// each account on its path: `outstandingOf` is reserved because of it and `spent + charged` was charged, so granting,
// reporting and expiring only move amounts between the two. Who may call: the ledger and its stores.

import type { Unit } from "./schema.ts";
import type { Subject } from "./scope.ts";

/** What becomes of what nobody reported when a lease expires: it counts as spent, or goes back. */
export type LeaseExpiry = "charge" | "refund";

export type LeaseStatus = "ACTIVE" | "RETURNED" | "EXPIRED";

export interface LeaseRecord {
  readonly id: string;
  readonly epoch: number;
  /** What the request that opened it shares with its repetitions; empty where that request is not known any more. */
  readonly fingerprint: string;
  readonly subject: Subject;
  readonly unit: Unit;
  /** The budgeted scopes of the subject that hold it, and the beginning of each one's window. */
  readonly scopes: readonly string[];
  readonly windows?: readonly number[] | undefined;
  /** These four are cumulative, as the holder reports them; `held` is what calls under way have taken. */
  readonly granted: bigint;
  readonly spent: bigint;
  readonly returned: bigint;
  readonly held: bigint;
  /** What was charged beyond `spent` when it ended; a late report corrects it. */
  readonly charged: bigint;
  /** Of the last report that was heard; 0 for none. */
  readonly sequence: number;
  /** Why the last call granted less than was wanted, as JSON text. */
  readonly shortage?: string | undefined;
  readonly ttlMs: number;
  readonly graceMs: number;
  readonly onExpiry: LeaseExpiry;
  readonly holder?: string | undefined;
  readonly status: LeaseStatus;
  readonly createdAtMs: number;
  readonly renewedAtMs: number;
  readonly expiresAtMs: number;
  /** When it stopped to hold anything: an end that only late reports change. */
  readonly endedAtMs?: number | undefined;
  /** The API key that opened it, where there was one. */
  readonly keyId?: string | undefined;
}

/** How a tenant lends, as its operator set it. */
export interface LeaseSettings {
  /** Raised after a restore from a backup: leases of earlier epochs have ended. */
  readonly epoch: number;
  readonly onExpiry: LeaseExpiry;
  readonly ttlMsMax: number;
  readonly graceMs: number;
}

/** A place in the order of leases: by creation, then id. */
export interface LeasePlace {
  readonly createdAtMs: number;
  readonly id: string;
}

/** What a refunded lease's holder may have spent and not reported, of one unit. */
export interface Unreported {
  readonly unit: Unit;
  readonly amount: bigint;
}

export interface LeaseStore {
  readLease(id: string): LeaseRecord | undefined;
  /** A lease whose id begins with one of `stems`, each `STEM_LENGTH` long. */
  findLease(stems: readonly string[]): LeaseRecord | undefined;
  /** Adds a lease. One row, and one more if it has ended. */
  insertLease(lease: LeaseRecord): void;
  /** Writes whatever a call may change; not the subject, the holder, the policy nor the key. One row; two when it ends. */
  updateLease(lease: LeaseRecord): void;
  /** Leases below a place, newest first, at most `rowsMax`. */
  scanLeases(query: { readonly below: LeasePlace; readonly rowsMax: number }): Iterable<LeaseRecord>;
  /** Those that have not ended. */
  scanOpenLeases(): Iterable<LeaseRecord>;
  /** Of expired leases whose rest went back: the rest, of which nobody knows whether it was spent. */
  readUnreported(): Unreported[];
  /** Deletes ended leases with ids below `idBelow` that ended before the given time; at most `rowsMax`. */
  pruneLeases(query: {
    readonly idBelow: string;
    readonly endedBeforeMs: number;
    readonly rowsMax: number;
  }): number;

  readLeaseSettings(): LeaseSettings | undefined;
  /** One row. */
  writeLeaseSettings(settings: LeaseSettings): void;
}

/** How much of every account on its path is reserved because of a lease. */
export function outstandingOf(lease: LeaseRecord): bigint {
  return lease.endedAtMs === undefined ? unspentOf(lease) : 0n;
}

/** What its holder was given and has, as far as is known, neither spent nor given back. */
export function unspentOf({ granted, returned, spent }: LeaseRecord): bigint {
  const rest = granted - returned - spent;
  return rest > 0n ? rest : 0n;
}

/** Of an expired lease: what may have been spent beyond all that was charged. */
export function unreportedOf(lease: LeaseRecord): bigint {
  const isOpen = lease.status === "EXPIRED" && lease.onExpiry === "refund";
  const rest = isOpen ? unspentOf(lease) - lease.charged : 0n;
  return rest > 0n ? rest : 0n;
}

/** The members that `updateLease` writes. */
export function updatedLeaseMembers(lease: LeaseRecord) {
  const { scopes, windows, granted, spent, returned, held, charged, sequence, shortage } = lease;
  const { ttlMs, status, renewedAtMs, expiresAtMs, endedAtMs } = lease;
  const figures = { granted, spent, returned, held, charged, sequence, shortage };
  return { scopes, windows, ...figures, ttlMs, status, renewedAtMs, expiresAtMs, endedAtMs };
}
