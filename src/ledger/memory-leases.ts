// Leases in plain maps. Invariant: the same contract as the SQLite store's. Who may call: MemoryStore, which is one.

import { STEM_LENGTH } from "./ids.ts";
import {
  type LeasePlace,
  type LeaseRecord,
  type LeaseSettings,
  type LeaseStore,
  type Unreported,
  unreportedOf,
  updatedLeaseMembers,
} from "./lease-record.ts";
import { MemoryRows } from "./memory-rows.ts";
import type { Unit } from "./schema.ts";

export abstract class MemoryLeases extends MemoryRows implements LeaseStore {
  readonly #leases = new Map<string, LeaseRecord>();
  #settings: LeaseSettings | undefined;

  readLease(id: string): LeaseRecord | undefined {
    const found = this.findLease([id.slice(0, STEM_LENGTH)]);
    return found?.id === id ? found : undefined;
  }

  findLease(stems: readonly string[]): LeaseRecord | undefined {
    return this.#leases.get(stems.find((stem) => this.#leases.has(stem)) ?? "");
  }

  insertLease(lease: LeaseRecord): void {
    this.insert(this.#leases, lease.id.slice(0, STEM_LENGTH), lease);
  }

  updateLease(lease: LeaseRecord): void {
    const stem = lease.id.slice(0, STEM_LENGTH);
    const before = this.#leases.get(stem);
    this.replace(this.#leases, stem, { ...(before ?? lease), ...updatedLeaseMembers(lease) });
  }

  scanLeases({ below, rowsMax }: { below: LeasePlace; rowsMax: number }): Iterable<LeaseRecord> {
    return [...this.#leases.values()]
      .filter((lease) => comparePlaces(lease, below) < 0)
      .sort((a, b) => comparePlaces(b, a))
      .slice(0, rowsMax);
  }

  *scanOpenLeases(): Iterable<LeaseRecord> {
    for (const lease of this.#leases.values()) if (lease.endedAtMs === undefined) yield lease;
  }

  readUnreported(): Unreported[] {
    const sums = new Map<Unit, bigint>();
    for (const lease of this.#leases.values()) {
      const amount = unreportedOf(lease);
      if (amount > 0n) sums.set(lease.unit, (sums.get(lease.unit) ?? 0n) + amount);
    }
    return [...sums].map(([unit, amount]) => ({ unit, amount }));
  }

  pruneLeases(query: { idBelow: string; endedBeforeMs: number; rowsMax: number }): number {
    const old = [...this.#leases.values()]
      .filter(
        ({ id, endedAtMs }) => id < query.idBelow && (endedAtMs ?? query.endedBeforeMs) < query.endedBeforeMs,
      )
      .slice(0, query.rowsMax);
    for (const { id } of old) this.remove(this.#leases, id.slice(0, STEM_LENGTH));
    return old.length;
  }

  readLeaseSettings(): LeaseSettings | undefined {
    return this.#settings;
  }

  writeLeaseSettings(settings: LeaseSettings): void {
    const before = this.#settings;
    this.#settings = settings;
    this.onUndo(() => {
      this.#settings = before;
    });
  }
}

function comparePlaces(a: LeasePlace, b: LeasePlace): number {
  return a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}
