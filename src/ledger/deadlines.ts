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

/** What is kept of a deadline. `places[n]` is its index in `path.heaps[n]`. */
interface Entry {
  readonly id: string;
  readonly deadlineMs: number;
  readonly keyId: string | undefined;
  readonly path: Path;
  readonly places: number[];
}

/** The heap of all and those of the accounts that reservations on one path hold; shared by them. */
interface Path {
  readonly key: string;
  readonly accounts: readonly string[];
  readonly heaps: readonly Heap[];
  /** How many reservations there are on it. A path without any is forgotten, so that no heap outlives its entries. */
  held: number;
}

export type DueReservation = Pick<Entry, "id" | "deadlineMs">;

export class Deadlines {
  readonly #entries = new Map<string, Entry>();
  readonly #all = new Heap();
  /** By account. One that holds nothing has no heap, since the caps of tokens come and go. */
  readonly #accounts = new Map<string, Heap>();
  /** By the names of their accounts. */
  readonly #paths = new Map<string, Path>();
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

  /** How many of them hold this account. */
  countOn(account: AccountName): number {
    return this.#sizeOf(keyOf(account));
  }

  /** The earliest of those that hold this account. */
  firstOn(account: AccountName): DueReservation | undefined {
    return this.#accounts.get(keyOf(account))?.first;
  }

  /** Adds a reservation, or moves it to its new deadline. */
  set({ id, deadlineMs, unit, scopes, keyId }: Deadline): void {
    this.delete(id);
    const entry: Entry = { id, deadlineMs, keyId, path: this.#pathOf(unit, scopes), places: [] };
    this.#entries.set(id, entry);
    this.#count(keyId, 1);
    entry.path.held += 1;
    for (const heap of entry.path.heaps) heap.add(entry);
  }

  delete(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    this.#count(entry.keyId, -1);
    const { path } = entry;
    for (const heap of path.heaps) heap.remove(entry);
    path.held -= 1;
    if (path.held > 0) return;
    this.#paths.delete(path.key);
    for (const account of path.accounts) if (this.#sizeOf(account) === 0) this.#accounts.delete(account);
  }

  #sizeOf(account: string): number {
    return this.#accounts.get(account)?.size ?? 0;
  }

  #count(keyId: string | undefined, change: number): void {
    if (keyId === undefined) return;
    const held = this.countOf(keyId) + change;
    if (held === 0) this.#heldByKey.delete(keyId);
    else this.#heldByKey.set(keyId, held);
  }

  #pathOf(unit: Unit, scopes: readonly string[]): Path {
    const key = keyOf({ unit, scope: scopes.join("\n") });
    let path = this.#paths.get(key);
    if (path === undefined) {
      const accounts = scopes.map((scope) => keyOf({ unit, scope }));
      const heaps = [this.#all, ...accounts.map((account) => this.#heapOf(account))];
      path = { key, accounts, heaps, held: 0 };
      this.#paths.set(key, path);
    }
    return path;
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

  get size(): number {
    return this.#entries.length;
  }

  add(entry: Entry): void {
    const index = this.#entries.length;
    this.#put(entry, index);
    this.#rise(index);
  }

  remove(entry: Entry): void {
    const index = entry.places[entry.path.heaps.indexOf(this)];
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
    // At most eleven heaps: all, one per level of a scope, and one per cap of a chain of tokens.
    entry.places[entry.path.heaps.indexOf(this)] = index;
  }
}

function keyOf({ scope, unit }: AccountName): string {
  return `${unit}\n${scope}`;
}
