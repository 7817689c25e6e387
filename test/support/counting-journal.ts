// A journal in memory that counts streams as those do that last: what every opening of it shares, and a process of each
// that can die. Who may call: tests of what becomes of a stream whose process is gone.

import { type Journal, type JournalRecord, MemoryJournal } from "purser/client";
import { type CountClocks, type KeptRecord, StreamCounts } from "../../src/journal/counts.ts";

export interface CountingJournal extends Journal {
  /** Its process writes no more. */
  die(): void;
}

/** Opens the one journal, once for each process. */
export function countingJournals(clocks: () => CountClocks): () => CountingJournal {
  const records = new MemoryJournal();
  return () => {
    let isDead = false;
    const store = async (record: KeptRecord): Promise<void> => {
      if (!isDead) records.put(record);
    };
    const counts = new StreamCounts(store, {
      now: () => clocks().now(),
      monotonicNow: () => clocks().monotonicNow(),
      setTimer: (run, delayMs) => clocks().setTimer(() => isDead || run(), delayMs),
    });
    return {
      put: async (record) => {
        await counts.end(record);
        records.put(record);
      },
      remove: async (partition, reservationId) => {
        await counts.end({ partition, reservationId });
        records.remove(partition, reservationId);
      },
      list: () => ({ ...counts.settleable(records.list().records), quarantined: [] }),
      count: (record: JournalRecord) => counts.count(record),
      die: () => {
        isDead = true;
      },
    };
  };
}
