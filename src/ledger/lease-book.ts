// The leases that hold something, in memory: their deadlines, and on each account how many holders there are and how much
// they have. Invariant: one entry per lease that has not ended, with the store's own figures; read anew whenever the object
// wakes or a turn was rolled back. It bounds and divides grants, and never covers one: what is there, the accounts say.
// Who may call: the ledger's core and the operations on leases.

import { type AccountName, Deadlines } from "./deadlines.ts";
import type { Lendable } from "./fit.ts";
import { type LeaseRecord, type LeaseSettings, outstandingOf } from "./lease-record.ts";
import { LEASE_DEFAULTS, LIMITS } from "./limits.ts";
import type { Unit } from "./schema.ts";

type Entry = Pick<LeaseRecord, "unit" | "scopes" | "epoch" | "onExpiry"> & {
  readonly outstanding: bigint;
  /** A holder works with it; of a returned one only calls under way are left. */
  readonly isActive: boolean;
};

/** What all holders of one unit have. */
export interface LentOfUnit {
  readonly leases: number;
  readonly outstanding: bigint;
  /** The part of it that would go back at expiry, whether it was spent or not. */
  readonly refundable: bigint;
}

/** Whoever is refused and asks for no lease: all of them together count as one. */
export const NO_HOLDER = "";

interface Lent {
  holders: number;
  outstanding: bigint;
}

export class LeaseBook {
  /** As the store has them. */
  settings: LeaseSettings;
  readonly deadlines = new Deadlines();
  readonly #entries = new Map<string, Entry>();
  /** By account; one without a holder has no entry. */
  readonly #lent = new Map<string, Lent>();
  /** By account, when each was last refused where all was lent; accounts and askers with the latest last. */
  readonly #refused = new Map<string, Map<string, number>>();

  constructor(leases: Iterable<LeaseRecord>, settings: LeaseSettings | undefined) {
    const { epoch, onExpiry, ttlMsMax, graceMs } = LEASE_DEFAULTS;
    this.settings = settings ?? { epoch, onExpiry, ttlMsMax, graceMs };
    for (const lease of leases) this.set(lease);
  }

  /** Adds a lease, or moves it to its new figures; forgets it once it has ended. */
  set(lease: LeaseRecord): void {
    this.#forget(lease.id);
    if (lease.endedAtMs !== undefined) return;
    const { id, unit, scopes, keyId, epoch, onExpiry, expiresAtMs, graceMs } = lease;
    const entry = {
      unit,
      scopes,
      epoch,
      onExpiry,
      outstanding: outstandingOf(lease),
      isActive: lease.status === "ACTIVE",
    };
    this.#entries.set(id, entry);
    this.deadlines.set({ id, unit, scopes, keyId, deadlineMs: expiresAtMs + graceMs });
    this.#count(entry, 1);
  }

  /** The ids of those that are not of the present epoch. */
  outdated(): string[] {
    return [...this.#entries].filter(([, { epoch }]) => epoch !== this.settings.epoch).map(([id]) => id);
  }

  has(id: string): boolean {
    return this.#entries.has(id);
  }

  ids(): string[] {
    return [...this.#entries.keys()];
  }

  /** Of those units alone of which anybody has something. */
  sums(): Map<Unit, LentOfUnit> {
    const sums = new Map<Unit, LentOfUnit>();
    for (const { unit, outstanding, onExpiry } of this.#entries.values()) {
      const sum = sums.get(unit) ?? { leases: 0, outstanding: 0n, refundable: 0n };
      sums.set(unit, {
        leases: sum.leases + 1,
        outstanding: sum.outstanding + outstanding,
        refundable: sum.refundable + (onExpiry === "refund" ? outstanding : 0n),
      });
    }
    return sums;
  }

  /**
   * What an account could lend and to how many: those who hold a lease, whoever asks besides, and whoever was refused.
   * @param asker - who asks for a lease of his own, and counts once, refused before or not
   */
  lendable(account: AccountName, remaining: bigint, nowMs: number, asker?: string): Lendable {
    const { holders = 0, outstanding = 0n } = this.#lent.get(keyOf(account)) ?? {};
    let others = 0;
    for (const [name, atMs] of this.#refused.get(keyOf(account)) ?? []) {
      if (name !== asker && nowMs - atMs < LIMITS.leaseShortMs) others++;
    }
    const newcomers = asker === undefined ? others : others + 1;
    return { remaining, lent: outstanding, holders: Math.max(1, holders + newcomers) };
  }

  /** Somebody was refused here: as long as he may come again, the holders are asked to leave him a share. */
  noteRefused(account: AccountName, asker: string, nowMs: number): void {
    const key = keyOf(account);
    if (!this.#lent.has(key)) return;
    const refused = this.#refused.get(key) ?? new Map<string, number>();
    refused.delete(asker);
    for (const name of refused.keys()) {
      if (refused.size < LIMITS.leaseRefusedMax) break;
      refused.delete(name);
    }
    refused.set(asker, nowMs);
    this.#refused.delete(key);
    this.#refused.set(key, refused);
    // Accounts stand in the order of their last refusals: those that nobody comes to any more are forgotten.
    for (const [other, names] of this.#refused) {
      if ([...names.values()].some((atMs) => nowMs - atMs < LIMITS.leaseShortMs)) break;
      this.#refused.delete(other);
    }
  }

  /** He has come; and somebody has what was left for calls that hold no lease. */
  noteGranted(accounts: readonly AccountName[], asker: string): void {
    for (const account of accounts) {
      const refused = this.#refused.get(keyOf(account));
      refused?.delete(asker);
      refused?.delete(NO_HOLDER);
      if (refused?.size === 0) this.#refused.delete(keyOf(account));
    }
  }

  #forget(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    this.deadlines.delete(id);
    this.#count(entry, -1);
  }

  #count({ unit, scopes, outstanding, isActive }: Entry, sign: 1 | -1): void {
    if (!isActive) return;
    for (const scope of scopes) {
      const key = keyOf({ unit, scope });
      const lent = this.#lent.get(key) ?? { holders: 0, outstanding: 0n };
      lent.holders += sign;
      lent.outstanding += BigInt(sign) * outstanding;
      if (lent.holders === 0) this.#lent.delete(key);
      else this.#lent.set(key, lent);
    }
  }
}

function keyOf({ scope, unit }: AccountName): string {
  return `${unit}\n${scope}`;
}
