// What every journal does, wherever it keeps its records. `open` opens the same journal again, as another process would.

import type { Journal, JournalRecord, Surroundings } from "purser/client";
import { describe, expect, test } from "vitest";
import { settled, TestTime } from "./test-time.ts";

export function journalRecord(reservationId: string, rest: Partial<JournalRecord> = {}): JournalRecord {
  return {
    version: 1,
    partition: "https://budgets.test acme",
    reservationId,
    idempotencyKey: `commit-${reservationId}`,
    mode: "commit",
    subject: { tenant: "acme", agent: "writer" },
    action: { kind: "llm", name: "chat" },
    actual: { unit: "TOKENS", amount: 70 },
    ...rest,
  };
}

const byId = (a: JournalRecord, b: JournalRecord) => (a.reservationId < b.reservationId ? -1 : 1);

export type Clocks = Pick<Surroundings, "now" | "monotonicNow" | "setTimer">;

export function journalContract(name: string, create: () => Promise<() => Journal>): void {
  describe(`a journal, ${name}`, () => {
    test("keeps what was put until it is removed, also for who opens it later", async () => {
      const open = await create();
      const journal = open();
      expect(await journal.list()).toEqual({ records: [], quarantined: [] });
      const [a, b] = [
        journalRecord("a"),
        journalRecord("b", {
          metrics: { tokensOutput: 20, custom: { speed: 1.5 } },
          metadata: { run: 7, big: 2n ** 62n, name: "Zoë \u2028 \u0000" },
          actual: { unit: "USD_MICROCENTS", amount: 2n ** 63n - 1n },
          mode: "event",
          overagePolicy: "ALLOW_WITH_OVERDRAFT",
          eventSinceMs: 1_799_000_000_000,
          notBeforeMs: 1_800_000_000_000,
        }),
      ];
      await journal.put(a);
      await journal.put(b);
      expect([...(await open().list()).records].sort(byId)).toEqual([a, b]);
      await open().remove(a.partition, "a");
      expect(await journal.list()).toEqual({ records: [b], quarantined: [] });
      await journal.remove(b.partition, "b");
      expect((await open().list()).records).toEqual([]);
    });

    test("a later record takes the place of an earlier one", async () => {
      const open = await create();
      const journal = open();
      await journal.put(journalRecord("a"));
      const event = journalRecord("a", { mode: "event", eventSinceMs: 1_800_000_000_000 });
      await journal.put(event);
      expect((await open().list()).records).toEqual([event]);
    });

    test("removing what is not there is nothing", async () => {
      const journal = (await create())();
      await journal.remove("nowhere", "nothing");
      expect(await journal.list()).toEqual({ records: [], quarantined: [] });
    });

    test("ids and partitions are told apart to the last character", async () => {
      const open = await create();
      const journal = open();
      const ids = [
        "a/b",
        "a_b",
        "a:b",
        "A/B",
        "../a",
        "a\u0000b",
        "ä",
        "a\u0308",
        "x".repeat(128),
        " a",
        "a ",
      ];
      const all = ["one", "two"].flatMap((partition) => ids.map((id) => journalRecord(id, { partition })));
      for (const record of all) await journal.put(record);
      expect((await open().list()).records).toHaveLength(all.length);
      await journal.remove("one", "a_b");
      const left = (await open().list()).records.map((it) => `${it.partition} ${it.reservationId}`);
      const expected = all
        .map((it) => `${it.partition} ${it.reservationId}`)
        .filter((it) => it !== "one a_b");
      expect(left.sort()).toEqual(expected.sort());
    });

    test("two that share it write, list and remove at the same time", async () => {
      const open = await create();
      const [one, two] = [open(), open()];
      const ids = Array.from({ length: 20 }, (_, n) => `r${n}`);
      await Promise.all(
        ids.flatMap((id) => [one.put(journalRecord(id)), two.put(journalRecord(id)), one.list()]),
      );
      expect((await two.list()).records).toHaveLength(ids.length);
      await Promise.all(
        ids.flatMap((id) => [one, two].map((it) => it.remove("https://budgets.test acme", id))),
      );
      expect(await one.list()).toEqual({ records: [], quarantined: [] });
    });
  });
}

/** What those do beside that which outlive their process. */
export function countingContract(name: string, create: () => Promise<(clocks?: Clocks) => Journal>): void {
  describe(`a journal, ${name}, counts a stream`, () => {
    const counted = (amount: number, id = "a") => journalRecord(id, { actual: { unit: "TOKENS", amount } });

    async function counting() {
      const [open, time] = [await create(), new TestTime()];
      time.nowMs = Date.now(); // what is written in a folder has the real time
      const journal = open(time.surroundings);
      const count = (record: JournalRecord) => {
        if (journal.count === undefined) return expect.fail("it counts no streams");
        return journal.count(record);
      };
      /** As another process finds it so much later. */
      const found = async (afterMs: number) => {
        const { nowMs } = time;
        return open({ ...time.surroundings, now: () => nowMs + afterMs }).list();
      };
      /** Writes take their own time: waits until the newest is there. */
      const until = async (amount: number) => {
        while ((await found(120_000)).records[0]?.actual.amount !== amount) await settled();
      };
      return { time, journal, count, found, until };
    }

    test("at once, then once a second, and gives it when it was not renewed for two minutes", async () => {
      const { time, count, found, until } = await counting();
      await count(counted(10));
      expect(count(counted(20))).toBeUndefined();
      expect(await found(0)).toEqual({ records: [], quarantined: [], againAfterMs: 120_000 });
      expect(await found(119_999)).toEqual({ records: [], quarantined: [], againAfterMs: 1 });
      expect(await found(120_000)).toEqual({ records: [counted(10)], quarantined: [] });
      await time.advance(1_000);
      await until(20);
      expect(time.timers).toBe(1);
    });

    test("one of a clock that was far ahead is believed by nobody", async () => {
      const { count, found } = await counting();
      await count(counted(10));
      expect((await found(-120_001)).records).toEqual([counted(10)]);
    });

    test("by a clock that is a little ahead of another's, it is nobody else's", async () => {
      const { count, found } = await counting();
      await count(counted(10));
      for (const behindMs of [1, 50, 1_000, 120_000]) {
        expect(await found(-behindMs)).toEqual({ records: [], quarantined: [], againAfterMs: 120_000 });
      }
    });

    test("that runs here is not given here, whatever the clock says", async () => {
      const { time, journal, count } = await counting();
      await count(counted(10));
      for (const ms of [-1_000, 131_000, 3_600_000]) {
        time.nowMs += ms;
        expect(await journal.list()).toEqual({ records: [], quarantined: [], againAfterMs: 120_000 });
      }
    });

    test("until it is put or removed: nothing of it is written after that", async () => {
      const { time, journal, count, found } = await counting();
      void count(counted(10));
      void count(counted(20));
      await journal.put(counted(70));
      void count(counted(10, "b"));
      void count(counted(20, "b"));
      await journal.remove(counted(0, "b").partition, "b");
      expect(time.timers).toBe(0);
      await time.advance(5_000);
      expect(await found(0)).toEqual({ records: [counted(70)], quarantined: [] });
    });
  });
}
