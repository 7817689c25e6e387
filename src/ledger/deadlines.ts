// The deadlines of all active reservations, earliest first: an indexed binary heap in memory, so that expiry needs no
// index in the store (two written rows fewer per reservation). Invariant: one entry per active reservation; rebuilt
// from the store whenever the object wakes or a turn was rolled back. Who may call: the ledger's core.

import type { Unit } from "./schema.ts";

/** An active reservation's deadline (expiry + grace) and the budgeted accounts it holds. Expired strictly after it. */
export interface Deadline {
  readonly id: string;
  readonly deadlineMs: number;
  readonly unit: Unit;
  readonly scopes: readonly string[];
}

export class Deadlines {
  readonly #heap: Deadline[] = [];
  readonly #indexes = new Map<string, number>();

  get size(): number {
    return this.#heap.length;
  }

  get first(): Deadline | undefined {
    return this.#heap[0];
  }

  /** Adds a reservation, or moves it to its new deadline. */
  set(deadline: Deadline): void {
    const index = this.#indexes.get(deadline.id) ?? this.#heap.length;
    this.#put(deadline, index);
    this.#settle(index);
  }

  delete(id: string): void {
    const index = this.#indexes.get(id);
    if (index === undefined) return;
    this.#indexes.delete(id);
    const last = this.#heap.pop();
    if (last === undefined || last.id === id) return;
    this.#put(last, index);
    this.#settle(index);
  }

  /** Restores the order around one entry that may be too early or too late for its place. */
  #settle(index: number): void {
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
    return this.#heap[index]?.deadlineMs ?? Number.POSITIVE_INFINITY;
  }

  #swap(a: number, b: number): void {
    const [one, other] = [this.#heap[a], this.#heap[b]];
    if (one === undefined || other === undefined) return;
    this.#put(one, b);
    this.#put(other, a);
  }

  #put(deadline: Deadline, index: number): void {
    this.#heap[index] = deadline;
    this.#indexes.set(deadline.id, index);
  }
}
