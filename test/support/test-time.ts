// Time that a test moves: both clocks and the timers of a client. Invariant: nothing happens but in `advance`, in the order
// of its time, each timer with all that follows from it before the next; so a test is the same on every machine.

import type { Surroundings } from "purser/client";

interface Timer {
  readonly dueMs: number;
  readonly run: () => void;
}

/** Lets everything that waits for nothing but promises run to its end. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** Waits, turn by turn, for something that does not hang on the clock: a file that is written, an answer on a socket. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await settled();
}

export class TestTime {
  /** The wall clock. */
  nowMs = 1_800_000_000_000;
  /** The monotonic clock; timers follow it. */
  steadyMs = 5_000;
  readonly #timers = new Set<Timer>();

  /** What a client is opened with to live in this time. */
  readonly surroundings: Required<Pick<Surroundings, "now" | "monotonicNow" | "setTimer" | "sleep">> = {
    now: () => this.nowMs,
    monotonicNow: () => this.steadyMs,
    setTimer: (run, delayMs) => this.#set(run, delayMs),
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        const cancel = this.#set(resolve, ms);
        signal?.addEventListener("abort", () => {
          cancel();
          reject(signal.reason);
        });
      }),
  };

  get timers(): number {
    return this.#timers.size;
  }

  /** How long until the next timer. */
  get nextTimerMs(): number | undefined {
    const due = [...this.#timers].map(({ dueMs }) => dueMs);
    return due.length === 0 ? undefined : Math.min(...due) - this.steadyMs;
  }

  /** How many timers ring no sooner than in `ms`. */
  timersBeyond(ms: number): number {
    return [...this.#timers].filter(({ dueMs }) => dueMs >= this.steadyMs + ms).length;
  }

  async advance(ms: number): Promise<void> {
    const endMs = this.steadyMs + ms;
    await settled();
    for (;;) {
      const [next] = [...this.#timers].sort((a, b) => a.dueMs - b.dueMs);
      if (next === undefined || next.dueMs > endMs) break;
      this.pass(Math.max(0, next.dueMs - this.steadyMs));
      this.#timers.delete(next);
      next.run();
      await settled();
    }
    this.pass(Math.max(0, endMs - this.steadyMs));
  }

  /** Time goes by within something, without any timer being heard. */
  pass(ms: number): void {
    this.nowMs += ms;
    this.steadyMs += ms;
  }

  /** The machine sleeps: the monotonic clock and the timers stand still. */
  sleep(ms: number): void {
    this.nowMs += ms;
  }

  #set(run: () => void, delayMs: number): () => void {
    const timer = { dueMs: this.steadyMs + delayMs, run };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }
}
