// The same budgets by JavaScript's atomics on 32-bit words: as fast as the kernel, and full at 2^31 − 1. One busy agent
// spends that many microcents in a moment (21 dollars), so they are a measure of speed and no answer to the question.

import { TENANTS_MAX } from "./bigint-atomics.ts";

export class Int32AtomicsBudget {
  readonly buffer: SharedArrayBuffer;
  readonly #available: Int32Array;
  readonly #capacity: number;

  /** `buffer` is another thread's, to work on the same budget. */
  constructor(capacity: number, buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer(4);
    this.#available = new Int32Array(this.buffer);
    this.#capacity = capacity;
    if (buffer === undefined) Atomics.store(this.#available, 0, capacity);
  }

  tryReserve(cost: number): boolean {
    let current = Atomics.load(this.#available, 0);
    while (true) {
      if (current < cost) return false;
      const seen = Atomics.compareExchange(this.#available, 0, current, current - cost);
      if (seen === current) return true;
      current = seen;
    }
  }

  release(cost: number): void {
    let current = Atomics.load(this.#available, 0);
    while (true) {
      const next = Math.min(current + cost, this.#capacity);
      const seen = Atomics.compareExchange(this.#available, 0, current, next);
      if (seen === current) return;
      current = seen;
    }
  }
}

/** Tokens, as in bigint-atomics.ts. 2^31 − 1 of them are used up in seconds, so it can be filled anew. */
export class Int32AtomicsTokens {
  readonly #words = new Int32Array(new SharedArrayBuffer(8));
  readonly #capacity: number;

  constructor(capacity: number) {
    this.#capacity = capacity;
    this.refill();
  }

  refill(): void {
    Atomics.store(this.#words, 0, this.#capacity);
    Atomics.store(this.#words, 1, 0);
  }

  tryReserveTokens(estimate: number): Int32Reservation | null {
    let current = Atomics.load(this.#words, 0);
    while (true) {
      if (current < estimate) return null;
      const seen = Atomics.compareExchange(this.#words, 0, current, current - estimate);
      if (seen === current) return new Int32Reservation(estimate);
      current = seen;
    }
  }

  recordUsage(reservation: Int32Reservation, promptTokens: number, completionTokens: number): void {
    if (!reservation.open) return;
    reservation.open = false;
    const actual = promptTokens + completionTokens;
    Atomics.add(this.#words, 1, actual);
    const delta = reservation.estimate - actual;
    let current = Atomics.load(this.#words, 0);
    while (true) {
      const next = Math.max(0, Math.min(current + delta, this.#capacity));
      const seen = Atomics.compareExchange(this.#words, 0, current, next);
      if (seen === current) return;
      current = seen;
    }
  }
}

class Int32Reservation {
  readonly estimate: number;
  open = true;

  constructor(estimate: number) {
    this.estimate = estimate;
  }
}

/** Tenants, as in bigint-atomics.ts. */
export class Int32AtomicsTracker {
  readonly #words = new Int32Array(new SharedArrayBuffer(8 * TENANTS_MAX));
  readonly #places = new Map<string, number>();
  readonly #cap: number;

  constructor(cap: number) {
    this.#cap = cap;
  }

  tryReserve({ tenantId }: { readonly tenantId: string }, tokens: number): Int32TenantReservation | null {
    const place = this.#placeOf(tenantId);
    let current = Atomics.load(this.#words, place);
    while (true) {
      const next = current + tokens;
      if (next > this.#cap) return null;
      const seen = Atomics.compareExchange(this.#words, place, current, next);
      if (seen === current) {
        this.#noteHighWater(place + 1, next);
        return new Int32TenantReservation(this.#words, place, tokens);
      }
      current = seen;
    }
  }

  #placeOf(tenantId: string): number {
    const known = this.#places.get(tenantId);
    if (known !== undefined) return known;
    const place = 2 * this.#places.size;
    this.#places.set(tenantId, place);
    return place;
  }

  #noteHighWater(place: number, inFlight: number): void {
    let mark = Atomics.load(this.#words, place);
    while (mark < inFlight) {
      const seen = Atomics.compareExchange(this.#words, place, mark, inFlight);
      if (seen === mark) return;
      mark = seen;
    }
  }
}

class Int32TenantReservation {
  readonly #words: Int32Array;
  readonly #place: number;
  readonly #tokens: number;
  #open = true;

  constructor(words: Int32Array, place: number, tokens: number) {
    this.#words = words;
    this.#place = place;
    this.#tokens = tokens;
  }

  release(): void {
    if (!this.#open) return;
    this.#open = false;
    Atomics.sub(this.#words, this.#place, this.#tokens);
  }
}

/** Permits, as in bigint-atomics.ts. */
export class Int32AtomicsGovernor {
  readonly #out = new Int32Array(new SharedArrayBuffer(8));
  readonly #limits: readonly [number, number];

  constructor({ total, tools }: { readonly total: number; readonly tools: number }) {
    this.#limits = [total, tools];
  }

  tryAcquireTool(): Int32Permit | null {
    if (!this.#take(0)) return null;
    if (this.#take(1)) return new Int32Permit(this.#out);
    Atomics.sub(this.#out, 0, 1);
    return null;
  }

  #take(layer: 0 | 1): boolean {
    let current = Atomics.load(this.#out, layer);
    while (true) {
      if (current >= this.#limits[layer]) return false;
      const seen = Atomics.compareExchange(this.#out, layer, current, current + 1);
      if (seen === current) return true;
      current = seen;
    }
  }
}

class Int32Permit {
  readonly #out: Int32Array;
  #open = true;

  constructor(out: Int32Array) {
    this.#out = out;
  }

  release(): void {
    if (!this.#open) return;
    this.#open = false;
    Atomics.sub(this.#out, 1, 1);
    Atomics.sub(this.#out, 0, 1);
  }
}
