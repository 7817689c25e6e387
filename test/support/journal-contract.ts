// What every journal does, wherever it keeps its records. `open` opens the same journal again, as another process would.

import type { Journal, JournalRecord } from "purser/client";
import { describe, expect, test } from "vitest";

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
