// What stands in a store at one moment, read past the ledger. Invariant: reading changes nothing. Who may call: the judge.

import type { AccountRecord, LedgerStore, PolicyRecord, Reservation, TenantRecord } from "purser/ledger";

export interface Snapshot {
  readonly accounts: ReadonlyMap<string, AccountRecord>;
  /** Every reservation that is known to exist, by id. */
  readonly reservations: ReadonlyMap<string, Reservation>;
  readonly active: readonly Reservation[];
  readonly tenant: TenantRecord | undefined;
  readonly policies: readonly PolicyRecord[];
  /** The number of the newest row of the audit log; 0 for none. */
  readonly audited: number;
}

/** @param known - ids that were given so far; those of active reservations are found without it */
export function snapshotOf(store: LedgerStore, known: Iterable<string>): Snapshot {
  const accounts = new Map<string, AccountRecord>();
  for (const account of store.scanAccounts()) accounts.set(nameOf(account), account);
  const ids = new Set(known);
  const held = [...store.scanDeadlines()];
  for (const { id } of held) ids.add(id);
  const reservations = new Map<string, Reservation>();
  for (const id of ids) {
    const reservation = store.readReservation(id);
    if (reservation !== undefined) reservations.set(id, reservation);
  }
  const active = [...reservations.values()].filter(({ status }) => status === "ACTIVE");
  if (active.length !== held.length) {
    throw new Error(`the store lists ${held.length} deadlines and has ${active.length} active reservations`);
  }
  const [tenant, policies] = [store.readTenant(), store.readPolicies()];
  return { accounts, reservations, active, tenant, policies, audited: newestAudit(store) };
}

function newestAudit(store: LedgerStore): number {
  for (const { seq } of store.scanAudit()) return seq;
  return 0;
}

export function nameOf({ scope, unit }: { readonly scope: string; readonly unit: string }): string {
  return `${scope} ${unit}`;
}

export function remainingOf({ allocated, spent, reserved, debt }: AccountRecord): bigint {
  return allocated - spent - reserved - debt;
}

export function isHeldBy({ scope, unit }: AccountRecord, reservation: Reservation): boolean {
  return reservation.unit === unit && reservation.scopes.includes(scope);
}
