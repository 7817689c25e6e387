// What the kernel replaces: the same 64-bit budgets by JavaScript's own atomics, amounts as numbers outside.
// The loops are the seed's: load, compare, compare-and-swap, again with what was seen. No checks of arguments.

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
