// The same budget by JavaScript's atomics on a 32-bit word: as fast as the kernel, and full at 2^31 − 1. One busy agent
// spends that many microcents in a moment (21 dollars), so it is a measure of speed and no answer to the question.

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
