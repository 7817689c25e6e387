// What stands in a store at one moment about leases and what they touch, read past the ledger. Invariant: reading changes
// nothing. Who may call: the judge.

import type { AccountRecord, LeaseRecord, LedgerStore, Reservation } from "purser/ledger";
import { nameOf } from "../snapshot.ts";

const LAST = { createdAtMs: Number.MAX_SAFE_INTEGER, id: "~" };
/** Far more than any plan makes. */
const LEASES_MAX = 10_000;

export interface Books {
  readonly accounts: ReadonlyMap<string, AccountRecord>;
  /** Reservations of the bystanders, by id. */
  readonly reservations: ReadonlyMap<string, Reservation>;
  readonly leases: ReadonlyMap<string, LeaseRecord>;
  readonly epoch: number;
  /** Nothing is lent while it is not. */
  readonly isTenantActive: boolean;
}

/** The same while the judge still adds what a store has forgotten. */
export type WritableBooks = Books & { readonly leases: Map<string, LeaseRecord> };

/** @param reservationIds - ids that were given so far */
export function booksOf(store: LedgerStore, reservationIds: Iterable<string>): WritableBooks {
  const accounts = new Map<string, AccountRecord>();
  for (const account of store.scanAccounts()) accounts.set(nameOf(account), account);
  const reservations = new Map<string, Reservation>();
  for (const id of reservationIds) {
    const reservation = store.readReservation(id);
    if (reservation !== undefined) reservations.set(id, reservation);
  }
  const leases = new Map<string, LeaseRecord>();
  for (const lease of store.scanLeases({ below: LAST, rowsMax: LEASES_MAX })) leases.set(lease.id, lease);
  const epoch = store.readLeaseSettings()?.epoch ?? 0;
  return { accounts, reservations, leases, epoch, isTenantActive: store.readTenant()?.status === "ACTIVE" };
}

/** What every account of its path has reserved for it. */
export function outstandingOf(lease: LeaseRecord | undefined): bigint {
  if (lease === undefined || lease.endedAtMs !== undefined) return 0n;
  const outstanding = lease.granted - lease.returned - lease.spent;
  return outstanding > 0n ? outstanding : 0n;
}

/** What was charged because of it: what was reported, and what an expiry charged beyond that. */
export function chargedOf(lease: LeaseRecord | undefined): bigint {
  return lease === undefined ? 0n : lease.spent + lease.charged;
}

/** What its holder may spend without anyone else's money being touched. */
export function setAsideOf(lease: LeaseRecord | undefined): bigint {
  return outstandingOf(lease) + chargedOf(lease);
}

export function isOn(
  { scope, unit }: AccountRecord,
  held: { readonly unit: string; readonly scopes: readonly string[] },
) {
  return held.unit === unit && held.scopes.includes(scope);
}
