// Who waits for a top-up in one thread. Invariant: first come, first served, also when one in front gives up; each is
// answered once, and leaves no timer and no listener behind. Who may call: the keeper.

import type { TokenReservation } from "../budgets/token-reservation.ts";
import type { LeaseDenial } from "./denial.ts";

/** What a waiting take comes to. */
export type Reserved =
  | { readonly ok: true; readonly reservation: TokenReservation }
  | { readonly ok: false; readonly denial: LeaseDenial };

export interface Wait {
  readonly estimate: number;
  readonly signal: AbortSignal | undefined;
  /** Waits as long as it may, or until the signal aborts. */
  readonly wait: (until: AbortSignal) => Promise<void>;
  /** Takes it if it fits now. */
  readonly take: () => TokenReservation | null;
  readonly denial: () => LeaseDenial;
}

interface Waiter {
  readonly wait: Wait;
  readonly settle: (result: Reserved) => void;
}

export class Waiters {
  readonly #line = new Set<Waiter>();
  readonly #changed: () => void;

  /** @param changed - called when the line has become longer or shorter */
  constructor(changed: () => void) {
    this.#changed = changed;
  }

  get size(): number {
    return this.#line.size;
  }

  /** What the first who waits wants. */
  get first(): number | undefined {
    const [waiter] = this.#line;
    return waiter?.wait.estimate;
  }

  /** What those who wait want together, from the first on, as far as it comes to no more than `most`. */
  wantedWithin(most: number): number {
    let sum = 0;
    for (const { wait } of this.#line) {
      if (sum + wait.estimate > Math.min(most, Number.MAX_SAFE_INTEGER)) break;
      sum += wait.estimate;
    }
    return sum;
  }

  join(wait: Wait): Promise<Reserved> {
    const { signal, denial } = wait;
    const left = new AbortController();
    return new Promise<Reserved>((resolve, reject) => {
      const leave = (): void => {
        this.#line.delete(waiter);
        this.#changed();
        left.abort();
        signal?.removeEventListener("abort", onAbort);
      };
      const waiter: Waiter = {
        wait,
        settle: (result) => {
          leave();
          resolve(result);
        },
      };
      const onAbort = (): void => {
        leave();
        reject(signal?.reason);
        this.serve();
      };
      wait.wait(left.signal).then(
        () => {
          // What came back without a word is looked for once more.
          this.serve();
          if (!this.#line.has(waiter)) return;
          waiter.settle({ ok: false, denial: denial() });
          this.serve();
        },
        () => undefined, // it was answered before
      );
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#line.add(waiter);
      this.#changed();
    });
  }

  /** Serves the line in its order, as far as it goes. */
  serve(): void {
    for (const waiter of this.#line) {
      const reservation = waiter.wait.take();
      if (reservation === null) return;
      waiter.settle({ ok: true, reservation });
    }
  }

  denyFirst(): void {
    const [waiter] = this.#line;
    waiter?.settle({ ok: false, denial: waiter.wait.denial() });
  }

  denyAll(): void {
    for (const waiter of [...this.#line]) waiter.settle({ ok: false, denial: waiter.wait.denial() });
  }
}
