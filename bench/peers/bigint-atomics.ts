// What the kernel replaces: the same 64-bit budgets by JavaScript's own atomics, amounts as numbers outside.
// The loops are the seed's: load, compare, compare-and-swap, again with what was seen. No checks of arguments.

/** Two words each. The loops know one. */
export const TENANTS_MAX = 1_024;

export class BigIntAtomicsBudget {
  readonly buffer: SharedArrayBuffer;
  readonly #available: BigInt64Array;
  readonly #capacity: bigint;

  /** `buffer` is another thread's, to work on the same budget. */
  constructor(capacity: number, buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer(8);
    this.#available = new BigInt64Array(this.buffer);
    this.#capacity = BigInt(capacity);
    if (buffer === undefined) Atomics.store(this.#available, 0, this.#capacity);
  }

  tryReserve(cost: number): boolean {
    const amount = BigInt(cost);
    let current = Atomics.load(this.#available, 0);
    while (true) {
      if (current < amount) return false;
      const seen = Atomics.compareExchange(this.#available, 0, current, current - amount);
      if (seen === current) return true;
      current = seen;
    }
  }

  release(cost: number): void {
    const amount = BigInt(cost);
    let current = Atomics.load(this.#available, 0);
    while (true) {
      const sum = current + amount;
      const seen = Atomics.compareExchange(
        this.#available,
        0,
        current,
        sum < this.#capacity ? sum : this.#capacity,
      );
      if (seen === current) return;
      current = seen;
    }
  }
}

/** Tokens: reserve an estimate, settle with the usage; what went beyond is taken as far as there is something. */
export class BigIntAtomicsTokens {
  readonly #words = new BigInt64Array(new SharedArrayBuffer(16));
  readonly #capacity: bigint;

  constructor(capacity: number) {
    this.#capacity = BigInt(capacity);
    Atomics.store(this.#words, 0, this.#capacity);
  }

  tryReserveTokens(estimate: number): BigIntReservation | null {
    const amount = BigInt(estimate);
    let current = Atomics.load(this.#words, 0);
    while (true) {
      if (current < amount) return null;
      const seen = Atomics.compareExchange(this.#words, 0, current, current - amount);
      if (seen === current) return new BigIntReservation(estimate);
      current = seen;
    }
  }

  recordUsage(reservation: BigIntReservation, promptTokens: number, completionTokens: number): void {
    if (!reservation.open) return;
    reservation.open = false;
    const actual = BigInt(promptTokens + completionTokens);
    Atomics.add(this.#words, 1, actual);
    const delta = BigInt(reservation.estimate) - actual;
    let current = Atomics.load(this.#words, 0);
    while (true) {
      const sum = current + delta;
      const next = sum < 0n ? 0n : sum < this.#capacity ? sum : this.#capacity;
      const seen = Atomics.compareExchange(this.#words, 0, current, next);
      if (seen === current) return;
      current = seen;
    }
  }
}

class BigIntReservation {
  readonly estimate: number;
  open = true;

  constructor(estimate: number) {
    this.estimate = estimate;
  }
}

/**
 * Tenants: what each has in flight in a word of its own, the most it ever had in the next. Where a tenant's words are, a
 * Map of this thread says: another thread would have to agree with it on every place.
 */
export class BigIntAtomicsTracker {
  readonly #words = new BigInt64Array(new SharedArrayBuffer(16 * TENANTS_MAX));
  readonly #places = new Map<string, number>();
  readonly #cap: bigint;

  constructor(cap: number) {
    this.#cap = BigInt(cap);
  }

  tryReserve({ tenantId }: { readonly tenantId: string }, tokens: number): BigIntTenantReservation | null {
    const place = this.#placeOf(tenantId);
    const amount = BigInt(tokens);
    let current = Atomics.load(this.#words, place);
    while (true) {
      const next = current + amount;
      if (next > this.#cap) return null;
      const seen = Atomics.compareExchange(this.#words, place, current, next);
      if (seen === current) {
        this.#noteHighWater(place + 1, next);
        return new BigIntTenantReservation(this.#words, place, tokens);
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

  #noteHighWater(place: number, inFlight: bigint): void {
    let mark = Atomics.load(this.#words, place);
    while (mark < inFlight) {
      const seen = Atomics.compareExchange(this.#words, place, mark, inFlight);
      if (seen === mark) return;
      mark = seen;
    }
  }
}

class BigIntTenantReservation {
  readonly #words: BigInt64Array;
  readonly #place: number;
  readonly #tokens: number;
  #open = true;

  constructor(words: BigInt64Array, place: number, tokens: number) {
    this.#words = words;
    this.#place = place;
    this.#tokens = tokens;
  }

  release(): void {
    if (!this.#open) return;
    this.#open = false;
    Atomics.sub(this.#words, this.#place, BigInt(this.#tokens));
  }
}

/** Permits, as the seed has them: of the whole first, of the category second, and the first back if there is no second. */
export class BigIntAtomicsGovernor {
  readonly #out = new BigInt64Array(new SharedArrayBuffer(16));
  readonly #limits: readonly [bigint, bigint];

  constructor({ total, tools }: { readonly total: number; readonly tools: number }) {
    this.#limits = [BigInt(total), BigInt(tools)];
  }

  tryAcquireTool(): BigIntPermit | null {
    if (!this.#take(0)) return null;
    if (this.#take(1)) return new BigIntPermit(this.#out);
    Atomics.sub(this.#out, 0, 1n);
    return null;
  }

  #take(layer: 0 | 1): boolean {
    let current = Atomics.load(this.#out, layer);
    while (true) {
      if (current >= this.#limits[layer]) return false;
      const seen = Atomics.compareExchange(this.#out, layer, current, current + 1n);
      if (seen === current) return true;
      current = seen;
    }
  }
}

class BigIntPermit {
  readonly #out: BigInt64Array;
  #open = true;

  constructor(out: BigInt64Array) {
    this.#out = out;
  }

  release(): void {
    if (!this.#open) return;
    this.#open = false;
    Atomics.sub(this.#out, 1, 1n);
    Atomics.sub(this.#out, 0, 1n);
  }
}
