// Rate limits per minute: how often a policy's scope has reserved or committed in the current minute of the clock.
// Invariant: no minute ever admits more than its limit, evictions, crashes and a clock that was put back included: the
// store keeps the newest minute alone, so an older one has no room left. The store learns of calls in
// lots of a sixteenth of the limit, written before they are used: a minute costs at most 16 rows per limit, and what a
// lost memory forgets was already counted, so a crash can only cost calls (less than one lot), never grant any.
// Who may call: the core's operations, inside their transaction; a refused call counts for nothing.

import { type Refusal, refuse } from "./codes.ts";
import { LIMITS } from "./limits.ts";
import type { RateLimit } from "./policies.ts";
import type { LedgerStore } from "./store.ts";

const MS_PER_MINUTE = 60_000;

interface Counter {
  /** The minute that it counts. Later than the clock's own where the clock was put back. */
  readonly minute: number;
  used: number;
  /** What the store was told: this many may be used without another row. */
  granted: number;
}

export class RateCounters {
  readonly #store: Pick<LedgerStore, "readRate" | "writeRate">;
  #minute = -1;
  #counters = new Map<string, Counter>();

  constructor(store: Pick<LedgerStore, "readRate" | "writeRate">) {
    this.#store = store;
  }

  /** The first limit that has no room for one more call in this minute, as a refusal that says when to come back. */
  refusal(limits: readonly RateLimit[], nowMs: number): Refusal | undefined {
    const minute = minuteOf(nowMs);
    const full = limits.find((limit) => {
      const counter = this.#counterOf(limit, minute);
      return counter.minute > minute || counter.used >= limit.perMinute;
    });
    if (full === undefined) return undefined;
    const freshMinute = Math.max(minute + 1, this.#counterOf(full, minute).minute);
    const retryAfterMs = freshMinute * MS_PER_MINUTE - nowMs;
    const message = `At most ${full.perMinute} ${full.kind} per minute for ${full.scope}`;
    const details = {
      policy_id: full.policyId,
      scope: full.scope,
      limit_per_minute: full.perMinute,
      retry_after_ms: retryAfterMs,
    };
    return { ...refuse("LIMIT_EXCEEDED", message, details), retryAfterMs };
  }

  /** Counts one call that was let through. One row for each lot that it begins, nearly always none. */
  count(limits: readonly RateLimit[], nowMs: number): void {
    for (const limit of limits) {
      const counter = this.#counterOf(limit, minuteOf(nowMs));
      if (counter.used >= counter.granted) {
        const lot = Math.max(1, Math.ceil(limit.perMinute / LIMITS.rateLotsPerMinute));
        counter.granted = counter.used + lot;
        this.#store.writeRate({ name: nameOf(limit), minute: counter.minute, granted: counter.granted });
      }
      counter.used += 1;
    }
  }

  /** What the store may keep no longer, nobody keeps: a clock that is put back finds the same, whether the object has slept or not. */
  forgetBefore(minute: number): void {
    if (this.#minute >= minute) return;
    this.#minute = -1;
    this.#counters = new Map();
  }

  /** This minute's counter, or that of the later one that the store knows. What the store was told counts as used. */
  #counterOf(limit: RateLimit, minute: number): Counter {
    if (minute !== this.#minute) {
      this.#minute = minute;
      this.#counters = new Map();
    }
    const name = nameOf(limit);
    let counter = this.#counters.get(name);
    if (counter === undefined) {
      const row = this.#store.readRate(name);
      const granted = row !== undefined && row.minute >= minute ? row.granted : 0;
      counter = { minute: Math.max(minute, row?.minute ?? minute), used: granted, granted };
      this.#counters.set(name, counter);
    }
    return counter;
  }
}

/** Counts of earlier minutes are kept no longer. */
export function oldestRateMinute(nowMs: number): number {
  return minuteOf(nowMs) - 1;
}

function minuteOf(timeMs: number): number {
  return Math.floor(timeMs / MS_PER_MINUTE);
}

function nameOf({ policyId, kind, scope }: RateLimit): string {
  return `${policyId} ${kind} ${scope}`;
}
