// What streams have used so far, for journals that outlive their process: written while they run, so that one whose page or
// process is gone is charged what was seen of it. Invariant: a count is written at once and then at most once a second, and
// renewed while its writer lives, so nobody else takes up a stream that still runs; after `end` nothing more is written.
// Who may call: the journals of this folder.

import type { JournalContents, JournalRecord } from "../authority/journal.ts";
import type { Surroundings } from "../authority/surroundings.ts";

/** As often as that a stream's count is written. What came within the last one is lost with the process. */
const WRITE_MS = 1_000;
/** A stream that is silent writes that it lives. */
const RENEW_MS = 30_000;
/** A count that was not renewed for so long has no writer: timers of hidden pages may be a minute late. */
const GONE_MS = 120_000;

/** A record as it is kept: with `countedUntilMs`, a stream's count that its writer renews before that. */
export type KeptRecord = JournalRecord & { readonly countedUntilMs?: number };

export type CountClocks = Required<Pick<Surroundings, "now" | "monotonicNow" | "setTimer">>;

interface Count {
  record: JournalRecord;
  isChanged: boolean;
  writtenAtMs: number;
  writing: Promise<void> | undefined;
  /** Its caller was told that it cannot be written. */
  hasFailed: boolean;
  cancelTimer: () => void;
}

export class StreamCounts {
  readonly #write: (record: KeptRecord) => Promise<void>;
  readonly #clocks: CountClocks;
  readonly #counts = new Map<string, Count>();

  constructor(write: (record: KeptRecord) => Promise<void>, clocks: CountClocks) {
    this.#write = write;
    this.#clocks = clocks;
  }

  /** @returns the write that this call began, if it is time for one; rejects if that fails, and it is not tried again */
  count(record: JournalRecord): Promise<void> | undefined {
    const key = keyOf(record);
    const known = this.#counts.get(key);
    if (known !== undefined) {
      known.record = record;
      known.isChanged = true;
      return this.#isDue(known, WRITE_MS) ? this.#storeFor(known) : undefined;
    }
    const count = {
      record,
      isChanged: true,
      writtenAtMs: 0,
      writing: undefined,
      hasFailed: false,
      cancelTimer: () => undefined,
    };
    this.#counts.set(key, count);
    this.#arm(count);
    return this.#storeFor(count);
  }

  /** Writes at once what has changed: the page may not live to hear a timer. */
  flush(): void {
    for (const count of this.#counts.values()) {
      if (count.isChanged) this.#store(count).catch(() => undefined);
    }
  }

  /** Nothing more is written. @returns what is under way; never rejects */
  async end(record: Pick<JournalRecord, "partition" | "reservationId">): Promise<void> {
    const key = keyOf(record);
    const count = this.#counts.get(key);
    this.#counts.delete(key);
    count?.cancelTimer();
    await count?.writing?.catch(() => undefined);
  }

  /** Of what was read: the records that are to be settled, and in how long there may be more. */
  settleable(kept: readonly KeptRecord[]): Pick<JournalContents, "records" | "againAfterMs"> {
    const nowMs = this.#clocks.now();
    const records: JournalRecord[] = [];
    let againAfterMs = Number.POSITIVE_INFINITY;
    for (const { countedUntilMs = 0, ...record } of kept) {
      const waitMs = countedUntilMs - nowMs;
      // Whose stream runs here is known better than by any clock.
      if (this.#counts.has(keyOf(record))) againAfterMs = Math.min(againAfterMs, GONE_MS);
      // A clock may be behind the writer's; one that is this far behind has been put back, and says nothing of it.
      else if (waitMs <= 0 || waitMs > 2 * GONE_MS) records.push(record);
      else againAfterMs = Math.min(againAfterMs, waitMs, GONE_MS);
    }
    return againAfterMs === Number.POSITIVE_INFINITY ? { records } : { records, againAfterMs };
  }

  /** What a timer cannot write the next call tries, and tells. */
  async #storeFor(count: Count): Promise<void> {
    try {
      await this.#store(count);
    } catch (error) {
      count.hasFailed = true;
      count.cancelTimer();
      throw error;
    }
  }

  #isDue({ isChanged, writtenAtMs, writing, hasFailed }: Count, everyMs: number): boolean {
    const sinceMs = this.#clocks.monotonicNow() - writtenAtMs;
    return !hasFailed && writing === undefined && sinceMs >= (isChanged ? everyMs : RENEW_MS);
  }

  #arm(count: Count): void {
    count.cancelTimer = this.#clocks.setTimer(() => {
      this.#arm(count);
      if (this.#isDue(count, 0)) this.#store(count).catch(() => undefined);
    }, WRITE_MS);
  }

  async #store(count: Count): Promise<void> {
    count.isChanged = false;
    count.writtenAtMs = this.#clocks.monotonicNow();
    const writing = this.#write({ ...count.record, countedUntilMs: this.#clocks.now() + GONE_MS });
    count.writing = writing;
    try {
      await writing;
    } catch (error) {
      count.isChanged = true;
      throw error;
    } finally {
      count.writing = undefined;
    }
  }
}

function keyOf({ partition, reservationId }: Pick<JournalRecord, "partition" | "reservationId">): string {
  return `${partition}\n${reservationId}`;
}
