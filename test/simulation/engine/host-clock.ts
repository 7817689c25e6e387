// The clock that a host shows: true time plus an error that faults change. Invariant: a reading is a safe integer ≥ 0;
// the clock may stand anywhere at any reading, and runs at the right pace in between. Who may call: hosts read it,
// the simulation bends it.

import type { Scheduler } from "./scheduler.ts";

export class HostClock {
  readonly #scheduler: Scheduler;
  #errorMs = 0;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  read(): number {
    return Math.max(0, this.#scheduler.nowMs + this.#errorMs);
  }

  get errorMs(): number {
    return this.#errorMs;
  }

  bend(byMs: number): void {
    this.#errorMs += byMs;
  }

  putRight(): void {
    this.#errorMs = 0;
  }
}
