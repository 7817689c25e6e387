// The deadlines of all active reservations, earliest first: of all of them, and of those that hold one account. Indexed
// binary heaps in memory, so that expiry needs no index in the store (two written rows fewer per reservation).
// Invariant: one entry per active reservation, in the heap of all and in the heap of each account that it holds; rebuilt
// from the store whenever the object wakes or a turn was rolled back. Finding the first costs O(1), a change
// O(accounts · log n), however many others are due. Who may call: the ledger's core.

import type { Unit } from "./schema.ts";

/** An active reservation's deadline (expiry + grace), what it holds and who made it. Expired strictly after it. */
export interface Deadline {
  readonly id: string;
  readonly deadlineMs: number;
  readonly unit: Unit;
  readonly scopes: readonly string[];
  readonly keyId?: string | undefined;
}

/** What names a budget. */
export interface AccountName {
  readonly scope: string;
  readonly unit: Unit;
}

/** What is kept of a deadline. `places[n]` is its index in `heaps[n]`; the list of heaps is shared by all on one path. */
interface Entry {
  readonly id: string;
  readonly deadlineMs: number;
  readonly keyId: string | undefined;
  readonly heaps: readonly Heap[];
  readonly places: number[];
}

export type DueReservation = Pick<Entry, "id" | "deadlineMs">;

export class Deadlines {
  readonly #entries = new Map<string, Entry>();
  readonly #all = new Heap();
  /** By account. A heap that ran empty stays, since there are no more of them than budgets. */
  readonly #accounts = new Map<string, Heap>();
  readonly #paths = new Map<string, readonly Heap[]>();
  /** By API key; one that holds nothing has no entry. */
  readonly #heldByKey = new Map<string, number>();

  get size(): number {
    return this.#entries.size;
  }

  get first(): DueReservation | undefined {
    return this.#all.first;
  }

  /** How many of them this API key made. */
  countOf(keyId: string): number {
    return this.#heldByKey.get(keyId) ?? 0;
  }

  /** The earliest of those that hold this account. */
  firstOn(account: AccountName): DueReservation | undefined {
    return this.#accounts.get(keyOf(account))?.first;
  }

  /** Adds a reservation, or moves it to its new deadline. */
  set({ id, deadlineMs, unit, scopes, keyId }: Deadline): void {
    this.delete(id);
    const entry: Entry = { id, deadlineMs, keyId, heaps: this.#heapsOf(unit, scopes), places: [] };
    this.#entries.set(id, entry);
    this.#count(keyId, 1);
    for (const heap of entry.heaps) heap.add(entry);
  }

  delete(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    this.#count(entry.keyId, -1);
    for (const heap of entry.heaps) heap.remove(entry);
  }

  #count(keyId: string | undefined, change: number): void {
    if (keyId === undefined) return;
    const held = this.countOf(keyId) + change;
    if (held === 0) this.#heldByKey.delete(keyId);
    else this.#heldByKey.set(keyId, held);
  }

  #heapsOf(unit: Unit, scopes: readonly string[]): readonly Heap[] {
    const path = keyOf({ unit, scope: scopes.join("\n") });
    let heaps = this.#paths.get(path);
    if (heaps === undefined) {
      heaps = [this.#all, ...scopes.map((scope) => this.#heapOf(keyOf({ unit, scope })))];
      this.#paths.set(path, heaps);
    }
    return heaps;
  }

  #heapOf(account: string): Heap {
    const heap = this.#accounts.get(account) ?? new Heap();
    this.#accounts.set(account, heap);
    return heap;
  }
}

class Heap {
  readonly #entries: Entry[] = [];

  get first(): Entry | undefined {
    return this.#entries[0];
  }

  add(entry: Entry): void {
    const index = this.#entries.length;
    this.#put(entry, index);
    this.#rise(index);
  }

  remove(entry: Entry): void {
    const index = entry.places[entry.heaps.indexOf(this)];
    const last = this.#entries.pop();
    if (index === undefined || last === undefined || last === entry) return;
    this.#put(last, index);
    // What came from the end may be too early or too late for the place that became free.
    this.#sink(this.#rise(index));
  }

  #rise(from: number): number {
    let index = from;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (this.#at(parent) <= this.#at(index)) break;
      this.#swap(index, parent);
      index = parent;
    }
    return index;
  }

  #sink(from: number): void {
    for (let index = from; ; ) {
      const left = 2 * index + 1;
      const child = this.#at(left + 1) < this.#at(left) ? left + 1 : left;
      if (this.#at(index) <= this.#at(child)) return;
      this.#swap(index, child);
      index = child;
    }
  }

  /** The deadline at a place; beyond the end nothing is ever due. */
  #at(index: number): number {
    return this.#entries[index]?.deadlineMs ?? Number.POSITIVE_INFINITY;
  }

  #swap(a: number, b: number): void {
    const [one, other] = [this.#entries[a], this.#entries[b]];
    if (one === undefined || other === undefined) return;
    this.#put(one, b);
    this.#put(other, a);
  }

  #put(entry: Entry, index: number): void {
    this.#entries[index] = entry;
    // At most seven heaps: all, and one per level of a scope.
    entry.places[entry.heaps.indexOf(this)] = index;
  }
}

function keyOf({ scope, unit }: AccountName): string {
  return `${unit}\n${scope}`;
}
