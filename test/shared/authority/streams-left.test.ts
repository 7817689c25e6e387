// Streams whose process is gone in the middle: what was counted is charged once by who finds the journal, and a stream
// that still runs is settled by nobody else. The real rules, in time that the test moves.

import { describe, expect, test } from "vitest";
import { countingJournals } from "../../support/counting-journal.ts";
import { REQUEST, tokens, world } from "../../support/recovery-world.ts";
import { TestTime } from "../../support/test-time.ts";

function streams() {
  const it: { time: TestTime } = { time: new TestTime() };
  const all = world(countingJournals(() => it.time.surroundings));
  it.time = all.time;
  return all;
}

/** A guard that does not beat: in this world a dead process's heartbeat would still be heard. */
async function silentGuard({ authority }: ReturnType<ReturnType<typeof streams>["start"]>, rest: object) {
  const guard = await authority.guard({ ...REQUEST, ...rest }, { heartbeat: false });
  if (!guard.ok) throw new Error(guard.denial.message);
  return guard;
}

describe("a process that dies in the middle of a stream", () => {
  test.each([
    ["before its hold has expired: a commit", 600_000, "COMMITTED"],
    ["and whose hold expires: an event", 60_000, "EXPIRED"],
  ])("%s of what it had counted, once", async (_, ttlMs, status) => {
    const { time, ledger, log, start, figures, records } = streams();
    const first = start();
    const guard = await silentGuard(first, { ttlMs });
    const meter = guard.meter({ metadata: { run: 7 } });
    await meter.add(30);
    void meter.add(12);
    await time.advance(1_000);
    first.die();
    const [next, another] = [start(), start()];
    await time.advance(118_000);
    expect(log.filter((it) => it.startsWith("commit"))).toEqual([]);
    await time.advance(3_000);
    expect(figures()).toBe("42 spent, 0 reserved");
    expect(await records()).toEqual([]);
    expect([...next.notices, ...another.notices]).toContainEqual({
      disposition: "settled",
      reservationId: guard.reservationId,
    });
    const rows = ledger.listReservations({ include: "committed_metadata" });
    const committed_metadata = { run: 7, source: "local", ending: "gone" };
    expect(rows).toMatchObject({
      body: { reservations: [{ status, ...(status === "COMMITTED" && { committed_metadata }) }] },
    });
  });

  test("at its first chunk, whatever came next: that is charged", async () => {
    const { time, start, figures } = streams();
    const first = start();
    const meter = (await first.open()).meter();
    void meter.add(30);
    void meter.add(12); // within the second that may be lost
    await time.advance(0);
    first.die();
    start();
    await time.advance(121_000);
    expect(figures()).toBe("30 spent, 0 reserved");
  });

  test("with several reservations: all of it, each up to its hold", async () => {
    const { time, start, figures } = streams();
    const first = start();
    const meter = (await first.open({ ttlMs: 600_000 })).meter();
    for (let n = 0; n < 25; n++) await meter.add(10);
    await time.advance(1_000);
    first.die();
    start();
    await time.advance(121_000);
    expect(figures()).toBe("250 spent, 0 reserved");
  });

  test("beyond its hold, where nothing may be beyond it: the hold", async () => {
    const { time, start, figures } = streams();
    const first = start();
    const guard = await first.open({ ttlMs: 600_000, overagePolicy: "REJECT" });
    guard.meter().usage(130);
    await time.advance(1_000);
    first.die();
    start();
    await time.advance(121_000);
    expect(figures()).toBe("100 spent, 0 reserved");
  });

  test("a stream that nobody counted: all that is held, as at any other ending", async () => {
    const { time, start, figures } = streams();
    const first = start();
    const meter = (await first.open({ ttlMs: 600_000 })).meter();
    const source = (async function* () {
      yield "chunk";
      await new Promise(() => undefined);
    })();
    await meter.wrap(source, () => 0).next();
    await time.advance(1_000);
    first.die();
    start();
    await time.advance(121_000);
    expect(figures()).toBe("100 spent, 0 reserved");
  });

  test("before anything was seen: nothing, and its time frees the hold", async () => {
    const { time, start, figures, records } = streams();
    const first = start();
    (await silentGuard(first, {})).meter();
    await time.advance(1_000);
    first.die();
    start();
    expect(await records()).toEqual([]);
    await time.advance(121_000);
    expect(figures()).toBe("0 spent, 0 reserved");
  });

  test("after its own commit has arrived, and before the journal knew: that commit is what counts", async () => {
    const { time, ledger, start, figures, records } = streams();
    const first = start();
    const guard = await first.open({ ttlMs: 600_000 });
    void guard.meter().add(30);
    await time.advance(0);
    first.die();
    const id = guard.reservationId;
    ledger.commit(id, { idempotency_key: `commit-${id}`, actual: tokens(70) });
    start();
    await time.advance(121_000);
    expect(figures()).toBe("70 spent, 0 reserved");
    expect(await records()).toEqual([]);
  });
});

describe("a stream that goes on", () => {
  test.each([
    ["speaks", 10],
    ["is silent", 0],
  ])(
    "and %s for ten minutes is settled by nobody else, nor by a flush of its own process",
    async (_, amount) => {
      const { time, start, log, figures, records } = streams();
      const first = start();
      const meter = (await first.open({ estimate: tokens(900) })).meter({ lowWater: 0 });
      await meter.add(30);
      start();
      const { authority } = start();
      for (let minute = 0; minute < 10; minute++) {
        await meter.add(amount);
        await time.advance(60_000);
        expect(await first.authority.flush()).toEqual({ outstanding: 0 });
        expect(await authority.flush()).toEqual({ outstanding: 0 });
      }
      expect(log.filter((it) => it.startsWith("commit") || it.startsWith("record"))).toEqual([]);
      await meter.settle();
      expect(figures()).toBe(`${30 + 10 * amount} spent, 0 reserved`);
      expect(await records()).toEqual([]);
      await time.advance(300_000);
      expect(log.filter((it) => it === "commit commit")).toHaveLength(1);
      expect(await records()).toEqual([]);
    },
  );

  test("settles a further reservation that was counted and is not needed after all, and nothing stays in the journal", async () => {
    const { time, start, figures, records } = streams();
    const meter = (await start().open()).meter();
    for (let n = 0; n < 15; n++) await meter.add(10);
    await time.advance(1_000);
    meter.usage(90);
    await meter.settle();
    expect(figures()).toBe("90 spent, 0 reserved");
    expect(await records()).toEqual([]);
    await time.advance(300_000);
    expect(time.timers).toBe(0);
  });

  test("whose journal fails is told of once, and charged at its end", async () => {
    const { time, start, figures } = streams();
    const full = (): never => {
      throw new Error("disk full");
    };
    const journal = { put: full, remove: full, list: () => ({ records: [], quarantined: [] }), count: full };
    const { open, notices } = start({ journal });
    const guard = await open();
    const meter = guard.meter();
    await meter.add(30);
    await time.advance(0);
    expect(notices).toMatchObject([{ disposition: "journal_failed", reservationId: guard.reservationId }]);
    await meter.settle();
    expect(figures()).toBe("30 spent, 0 reserved");
  });
});
