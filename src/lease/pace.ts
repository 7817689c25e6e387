// How large a slice should be: what is spent in some seconds, or in some thousand decisions, at the rate since the last
// call. Invariant: the size stays between `least` and `most` and moves by a bounded factor a call. Reads no clock.
// Who may call: the holder.

import { HOLDER_LIMITS } from "./limits.ts";

export interface PaceBounds {
  readonly first: number;
  readonly least: number;
  readonly most: number;
}

/** Where a holder stands: amounts and decisions since it was opened. */
export interface Progress {
  readonly nowMs: number;
  readonly out: number;
  readonly decisions: number;
}

export class Pace {
  readonly #bounds: PaceBounds;
  #slice: number;
  #last: Progress;

  constructor(bounds: PaceBounds, now: Progress) {
    this.#bounds = bounds;
    this.#slice = bounds.first;
    this.#last = now;
  }

  /** How much should be idle after the next call. */
  get slice(): number {
    return this.#slice;
  }

  /** Takes in what happened since the last call, and sizes the next slice. */
  note(now: Progress, ttlMs: number): void {
    const last = this.#last;
    this.#last = now;
    // A clock that stands still (a Worker's between its calls out) says at least that it was quick.
    const elapsedMs = Math.max(1, now.nowMs - last.nowMs);
    this.#slice = nextSlice(this.#slice, this.#bounds, {
      spent: Math.max(0, now.out - last.out),
      decisions: now.decisions - last.decisions,
      elapsedMs,
      ttlMs,
    });
  }
}

export interface Burn {
  readonly spent: number;
  readonly decisions: number;
  readonly elapsedMs: number;
  readonly ttlMs: number;
}

export function nextSlice(
  slice: number,
  { least, most }: PaceBounds,
  { spent, decisions, elapsedMs, ttlMs }: Burn,
): number {
  const { horizonMs, decisionsPerSlice, growthMax, shrinkMax } = HOLDER_LIMITS;
  const perMs = spent / elapsedMs;
  const forDecisions = decisions > 0 ? (spent / decisions) * decisionsPerSlice : 0;
  const wanted = Math.max(perMs * horizonMs, Math.min(forDecisions, perMs * ttlMs));
  const steady = Math.min(Math.max(wanted, slice / shrinkMax), slice * growthMax);
  return Math.ceil(Math.min(Math.max(steady, least), most));
}
