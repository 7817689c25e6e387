// The recovery of known spends over the real rules, in time that the test moves. A process ends by never hearing of its
// calls again; the next one opens the same journal. Invariant of every test: a spend counts once, however it got there.

import * as fc from "fast-check";
import {
  AuthorityError,
  HttpAuthority,
  type Journal,
  type JournalContents,
  type JournalRecord,
  MemoryJournal,
} from "purser/client";
import { LocalAuthority } from "purser/ledger";
import { describe, expect, test } from "vitest";
import { type Fault, REQUEST, refused, throttled, tokens, world } from "../../support/recovery-world.ts";
import { settled } from "../../support/test-time.ts";

const code = (expected: string) => expect.objectContaining({ code: expected });

describe("a commit", () => {
  test("is written down before it is sent, and struck out when it was answered", async () => {
    const { start, log, records, figures } = world();
    const { open } = start();
    const guard = await open();
    await guard.commit({ actual: 70 });
    expect(log).toEqual(["put commit", "commit commit", "remove"]);
    expect(await records()).toEqual([]);
    expect(figures()).toBe("70 spent, 0 reserved");
  });

  test("of a page that goes is sent without waiting for the journal, which is told all the same", async () => {
    const { start, log, figures } = world();
    const isNever = new Promise<void>(() => undefined);
    const slow = {
      put: (record: JournalRecord) => {
        log.push(`put ${record.mode}`);
        return isNever;
      },
      remove: () => undefined,
      list: () => ({ records: [], quarantined: [] }),
    };
    const { open } = start({ journal: slow });
    const guard = await open();
    expect(await guard.commit({ actual: 70 }, { keepalive: true })).toMatchObject({ ok: true });
    expect(log.slice(-2)).toEqual(["put commit", "commit commit"]);
    expect(figures()).toBe("70 spent, 0 reserved");
  });

  test("of a page that stays after all is struck out of a journal that is slower than the authority", async () => {
    const journal = new MemoryJournal();
    let write: () => void = () => expect.fail("not asked to write");
    const slow: Journal = {
      put: (record) =>
        new Promise((resolve) => {
          write = () => resolve(journal.put(record));
        }),
      remove: (partition, id) => journal.remove(partition, id),
      list: () => journal.list(),
    };
    const { start, figures } = world(() => slow);
    const { open } = start();
    const guard = await open();
    expect(await guard.commit({ actual: 70 }, { keepalive: true })).toMatchObject({ ok: true });
    write();
    await settled();
    expect(journal.list().records).toEqual([]);
    expect(await figures()).toBe("70 spent, 0 reserved");
  });

  test("what is written down is all that another process needs, and no credential", async () => {
    const { start, faults, records } = world();
    const { open } = start({ subject: { workspace: "prod" } });
    const guard = await open({ subject: { agent: "writer" } });
    faults.push("lost request");
    const metrics = { tokensOutput: 20 };
    await guard.commit({ actual: 70, metrics, metadata: { run: 7 } }).catch(() => undefined);
    expect(await records()).toEqual([
      {
        version: 1,
        partition: "local acme",
        reservationId: guard.reservationId,
        idempotencyKey: `commit-${guard.reservationId}`,
        mode: "commit",
        subject: { tenant: "acme", workspace: "prod", agent: "writer" },
        action: REQUEST.action,
        actual: tokens(70),
        metrics,
        metadata: { run: 7 },
      },
    ]);
  });

  test.each(["lost request", "lost reply"] as const)(
    "with a %s goes on by itself, with the same key and growing waits, and is settled without anybody asking",
    async (fault) => {
      const { time, start, log, faults, records, figures } = world();
      const { open, notices } = start();
      const guard = await open();
      faults.push(fault, fault, fault, fault);
      await expect(guard.commit({ actual: 70 })).rejects.toEqual(code("AUTHORITY_UNAVAILABLE"));
      expect(guard.isOver).toBe(false);
      // Half of 500, 1,000, 2,000 and 4,000 ms, since chance says one half.
      for (const [tries, waitMs] of [250, 500, 1_000, 2_000].entries()) {
        await time.advance(waitMs - 1);
        expect(log.filter((it) => it === "commit commit")).toHaveLength(tries + 1);
        await time.advance(1);
        expect(log.filter((it) => it === "commit commit")).toHaveLength(tries + 2);
      }
      expect(notices).toEqual([{ disposition: "settled", reservationId: guard.reservationId }]);
      expect(await records()).toEqual([]);
      expect(time.timers).toBe(0);
      expect(figures()).toBe("70 spent, 0 reserved");
      expect(await guard.commit({ actual: 70 })).toMatchObject({ ok: true });
      expect(figures()).toBe("70 spent, 0 reserved");
    },
  );

  test("that nobody answers for long is kept after five rounds, and `flush` goes on with it", async () => {
    const { time, start, log, faults, records, figures } = world();
    const { authority, open, notices } = start();
    const guard = await open();
    faults.push(...Array<Fault>(6).fill("lost request"));
    await guard.commit({ actual: 70 }).catch(() => undefined);
    await time.advance(3_600_000);
    expect(log.filter((it) => it === "commit commit")).toHaveLength(6);
    expect(notices).toMatchObject([{ disposition: "kept", cause: { code: "AUTHORITY_UNAVAILABLE" } }]);
    expect(await records()).toHaveLength(1);
    expect(time.timers).toBe(0);
    expect(await authority.flush()).toEqual({ outstanding: 0 });
    // By now it has expired, so the commit was answered 410.
    expect(log.slice(-4)).toEqual(["commit commit", "put event", "recordEvent commit", "remove"]);
    expect(figures()).toBe("70 spent, 0 reserved");
    expect(notices.at(-1)).toMatchObject({ disposition: "settled" });
  });

  test("that is throttled waits as long as it is asked to, also in the next process", async () => {
    const { time, start, log, faults, records, figures } = world();
    const first = start();
    const guard = await first.open();
    faults.push(throttled(20_000));
    expect(await guard.commit({ actual: 70 })).toMatchObject({ denial: { code: "LIMIT_EXCEEDED" } });
    await expect(guard.commit({ actual: 71 })).rejects.toEqual(code("SETTLEMENT_PENDING"));
    await guard.dispose(); // asks nobody while the authority wants to be left alone
    expect(await records()).toMatchObject([{ notBeforeMs: time.nowMs + 20_000 }]);
    await time.advance(5_000);
    first.die();
    start();
    await time.advance(14_999);
    expect(log.filter((it) => it === "commit commit")).toHaveLength(1);
    await time.advance(1_000);
    expect(log.filter((it) => it === "commit commit")).toHaveLength(2);
    expect(await records()).toEqual([]);
    expect(figures()).toBe("70 spent, 0 reserved");
  });

  test("that is throttled for years is left for a day, and no longer", async () => {
    const { time, start, faults, records, figures } = world();
    const first = start();
    const guard = await first.open();
    faults.push(throttled(30 * 365 * 86_400_000));
    await guard.commit({ actual: 70 });
    expect(await records()).toMatchObject([{ notBeforeMs: time.nowMs + 86_400_000 }]);
    first.die();
    time.pass(86_400_000);
    expect(await start().authority.flush()).toEqual({ outstanding: 0 });
    expect(figures()).toBe("70 spent, 0 reserved");
  });

  test("that is throttled for more than an hour is left to another day", async () => {
    const { time, start, log, faults, records } = world();
    const { authority, open, notices } = start();
    const guard = await open();
    faults.push(throttled(3_600_001));
    await guard.commit({ actual: 70 });
    expect(notices).toMatchObject([{ disposition: "kept" }]);
    expect(time.timers).toBe(0);
    expect(await authority.flush()).toEqual({ outstanding: 1 });
    expect(log.filter((it) => it === "commit commit")).toHaveLength(1);
    expect(await records()).toHaveLength(1);
  });

  test("that came too late becomes an event of the same key, and that is written down first", async () => {
    const { time, start, log, records, figures } = world();
    const { open } = start();
    const guard = await open();
    time.sleep(65_001);
    time.steadyMs += 65_001;
    expect(await guard.commit({ actual: 70 })).toMatchObject({ ok: true, eventId: expect.any(String) });
    expect(log).toEqual(["put commit", "commit commit", "put event", "recordEvent commit", "remove"]);
    expect(await records()).toEqual([]);
    expect(figures()).toBe("70 spent, 0 reserved");
  });

  test("whose event is lost is an event in the next process too", async () => {
    const { time, start, log, faults, records, figures } = world();
    const first = start();
    const guard = await first.open();
    time.pass(65_001);
    faults.push(refused("RESERVATION_EXPIRED", 410), "lost request");
    await guard.commit({ actual: 70 }).catch(() => undefined);
    expect(guard.isOver).toBe(false);
    first.die();
    expect(await records()).toMatchObject([{ mode: "event" }]);
    log.length = 0;
    start();
    await time.advance(250);
    expect(log).toEqual(["recordEvent commit", "remove"]);
    expect(figures()).toBe("70 spent, 0 reserved");
  });

  test("whose event was never answered is not sent after the authority may have forgotten its key, but told and kept", async () => {
    const { time, start, log, faults, records, figures } = world();
    const first = start();
    const guard = await first.open();
    time.pass(65_001);
    faults.push(refused("RESERVATION_EXPIRED", 410), "lost reply");
    await guard.commit({ actual: 70 }).catch(() => undefined);
    first.die();
    time.pass(6 * 86_400_000 + 1);
    log.length = 0;
    const { authority, notices } = start();
    await time.advance(60_000);
    expect(log).toEqual([]);
    expect(notices).toMatchObject([
      {
        disposition: "undecidable",
        reservationId: guard.reservationId,
        cause: { code: "SPEND_UNDECIDABLE" },
      },
    ]);
    expect(await authority.flush()).toEqual({ outstanding: 1 });
    expect(await records()).toHaveLength(1);
    expect(figures()).toBe("70 spent, 0 reserved");
  });

  test("whose event meets a frozen budget stays written down until it thaws", async () => {
    const { time, ledger, start, records, figures } = world();
    const { authority, open } = start();
    const guard = await open();
    time.pass(65_001);
    ledger.freezeBudget({ scope: "tenant:acme", unit: "TOKENS" }, {});
    expect(await guard.commit({ actual: 70 })).toMatchObject({ denial: { code: "BUDGET_FROZEN" } });
    await guard.dispose();
    expect(await records()).toHaveLength(1);
    ledger.unfreezeBudget({ scope: "tenant:acme", unit: "TOKENS" }, {});
    expect(await authority.flush()).toEqual({ outstanding: 0 });
    expect(guard.isOver).toBe(true);
    expect(figures()).toBe("70 spent, 0 reserved");
  });

  test("whose event is booked has the reservation's overage policy", async () => {
    const { time, start, requests } = world();
    const { open } = start();
    const guard = await open({ overagePolicy: "ALLOW_WITH_OVERDRAFT" });
    time.pass(65_001);
    await guard.commit({ actual: 70 });
    expect(requests.at(-1)).toMatchObject({
      operation: "recordEvent",
      overagePolicy: "ALLOW_WITH_OVERDRAFT",
    });
  });

  test("that was kept goes on with the next call that is answered, once a minute at most", async () => {
    const { time, start, log, faults, figures } = world();
    const { authority, open, notices } = start();
    const guard = await open();
    faults.push(...Array<Fault>(7).fill("lost request"));
    await guard.commit({ actual: 70 }).catch(() => undefined);
    await time.advance(60_000);
    const tries = () => log.filter((it) => it === "commit commit").length;
    expect(tries()).toBe(6);
    await authority.balances();
    await time.advance(250);
    await authority.balances();
    expect(tries()).toBe(7);
    await time.advance(500);
    expect(guard.isOver).toBe(true);
    expect(figures()).toBe("70 spent, 0 reserved");
    expect(notices.map(({ disposition }) => disposition)).toEqual(["kept", "settled"]);
  });

  test("that was kept again within a minute is not tried until that is over", async () => {
    const { time, start, log, faults, figures } = world();
    const { authority, open } = start();
    const guard = await open();
    faults.push(...Array<Fault>(11).fill("lost request"));
    await guard.commit({ actual: 70 }).catch(() => undefined);
    await time.advance(20_000);
    const tries = () => log.filter((it) => it === "commit commit").length;
    expect(tries()).toBe(6);
    await authority.balances();
    await time.advance(20_000);
    expect(tries()).toBe(11);
    await authority.balances();
    await time.advance(39_999);
    await authority.balances();
    await time.advance(0);
    expect(tries()).toBe(11);
    await time.advance(1);
    await authority.balances();
    await time.advance(250);
    expect(tries()).toBe(12);
    expect(figures()).toBe("70 spent, 0 reserved");
  });

  test("that is denied in the background after its guard was left is charged as far as the hold goes", async () => {
    const { time, start, faults, figures } = world();
    const { open, notices } = start();
    const guard = await open({ overagePolicy: "REJECT" });
    faults.push("lost request", "lost request");
    await guard.commit({ actual: 130 }).catch(() => undefined);
    await guard.dispose();
    expect(figures()).toBe("0 spent, 100 reserved");
    await time.advance(250);
    expect(figures()).toBe("100 spent, 0 reserved");
    expect(guard.isOver).toBe(true);
    expect(notices.map(({ disposition }) => disposition)).toContain("dropped");
    expect(time.timers).toBe(0);
  });

  test("that is denied in the background leaves the guard open for another one", async () => {
    const { time, start, faults, figures } = world();
    const { open, notices } = start();
    const guard = await open({ overagePolicy: "REJECT" });
    faults.push("lost request");
    await guard.commit({ actual: 101 }).catch(() => undefined);
    await time.advance(250);
    expect(notices).toMatchObject([{ disposition: "dropped", cause: { code: "BUDGET_EXCEEDED" } }]);
    expect(await guard.commit({ actual: 100 })).toMatchObject({ ok: true });
    expect(figures()).toBe("100 spent, 0 reserved");
  });

  test("that the budget refuses on the way out is told, charged as far as the hold goes, and leaves no timer", async () => {
    const { time, start, figures } = world();
    const { open, notices } = start();
    const guard = await open({ overagePolicy: "REJECT" });
    guard.spent(130);
    await guard.dispose();
    expect(notices).toMatchObject([{ disposition: "dropped", cause: { code: "BUDGET_EXCEEDED" } }]);
    expect(figures()).toBe("100 spent, 0 reserved");
    expect(time.timers).toBe(0);
  });

  test("that is refused on the way out is told, and the heartbeat ends all the same", async () => {
    const { time, start, faults } = world();
    const { open, notices } = start();
    const guard = await open();
    guard.spent(70);
    faults.push(refused("INVALID_REQUEST", 400));
    await guard.dispose();
    expect(notices).toMatchObject([{ disposition: "dropped", cause: { code: "INVALID_REQUEST" } }]);
    expect(guard.isOver).toBe(false);
    expect(time.timers).toBe(0);
  });

  test.each([
    ["RESERVATION_FINALIZED", 409],
    ["NOT_FOUND", 404],
    ["IDEMPOTENCY_MISMATCH", 409],
  ] as const)("that is answered %s is over, and nothing is released", async (final, status) => {
    const { time, start, log, faults, records } = world();
    const { open } = start();
    const guard = await open();
    faults.push(refused(final, status));
    await expect(guard.commit({ actual: 70 })).rejects.toEqual(code(final));
    expect(guard.isOver).toBe(true);
    expect(log).toEqual(["put commit", "commit commit", "remove"]);
    expect(await records()).toEqual([]);
    await guard.dispose();
    expect(time.timers).toBe(0);
  });

  test.each([
    ["UNAUTHORIZED", 401],
    ["FORBIDDEN", 403],
  ] as const)("that is answered %s stays written down for a better key", async (none, status) => {
    const { time, start, log, faults, records, figures } = world();
    const { authority, open } = start();
    const guard = await open();
    faults.push(refused(none, status));
    await expect(guard.commit({ actual: 70 })).rejects.toEqual(code(none));
    await expect(guard.release()).rejects.toEqual(code("SETTLEMENT_PENDING"));
    await time.advance(50_000);
    expect(log.filter((it) => it === "commit commit")).toHaveLength(1);
    expect(await records()).toHaveLength(1);
    // A key that is no better is tried once, not for five rounds.
    faults.push(refused(none, status));
    expect(await authority.flush()).toEqual({ outstanding: 1 });
    expect(log.filter((it) => it === "commit commit")).toHaveLength(2);
    expect(await authority.flush()).toEqual({ outstanding: 0 });
    expect(figures()).toBe("70 spent, 0 reserved");
  });

  test("that the budget refuses is struck out, and another one can be made", async () => {
    const { start, log, records, figures } = world();
    const { open } = start();
    const guard = await open({ overagePolicy: "REJECT" });
    expect(await guard.commit({ actual: 101 })).toMatchObject({ denial: { code: "BUDGET_EXCEEDED" } });
    expect(await records()).toEqual([]);
    expect(await guard.commit({ actual: 100 })).toMatchObject({ ok: true });
    expect(log).toEqual(["put commit", "commit commit", "remove", "put commit", "commit commit", "remove"]);
    expect(figures()).toBe("100 spent, 0 reserved");
  });

  test("that is aborted goes on", async () => {
    const { time, start, faults, figures } = world();
    const { open } = start();
    const guard = await open();
    faults.push(new Error("page closed"));
    await expect(guard.commit({ actual: 70 })).rejects.toThrow("page closed");
    await time.advance(250);
    expect(figures()).toBe("70 spent, 0 reserved");
  });

  test("is not held for ever by a journal that hangs: after five seconds that is told, and it is sent", async () => {
    const { time, start, figures } = world();
    const hang = () => new Promise<never>(() => undefined);
    const { open, notices } = start({ journal: { put: hang, remove: hang, list: hang } });
    const guard = await open({ ttlMs: 600_000 });
    const commit = guard.commit({ actual: 70 });
    await time.advance(4_999);
    expect(figures()).toBe("0 spent, 100 reserved");
    expect(notices).toEqual([]);
    await time.advance(1);
    expect(await commit).toMatchObject({ ok: true }); // nor is its answer, by what is to be struck out
    expect(figures()).toBe("70 spent, 0 reserved");
    expect(notices).toEqual([
      {
        disposition: "journal_failed",
        reservationId: guard.reservationId,
        cause: expect.objectContaining({
          code: "JOURNAL_TIMEOUT",
          message: expect.stringContaining("5000 ms"),
        }),
      },
    ]);
    expect(time.timers).toBe(0);
  });

  test("is answered although the journal hangs as it is struck out", async () => {
    const { time, start, figures } = world();
    const journal = { put: () => undefined, list: () => ({ records: [], quarantined: [] }) };
    const { open, notices } = start({ journal: { ...journal, remove: () => new Promise(() => undefined) } });
    const guard = await open();
    const commit = guard.commit({ actual: 70 });
    await time.advance(5_000);
    expect(await commit).toMatchObject({ ok: true });
    expect(notices).toMatchObject([{ disposition: "journal_failed", cause: { code: "JOURNAL_TIMEOUT" } }]);
    expect(figures()).toBe("70 spent, 0 reserved");
  });

  test("that was late to be written down is struck out of the journal, in its order", async () => {
    const journal = new MemoryJournal();
    let write: () => void = () => expect.fail("not asked to write");
    const slow: Journal = {
      put: (record) =>
        new Promise((resolve) => {
          write = () => resolve(journal.put(record));
        }),
      remove: (partition, id) => journal.remove(partition, id),
      list: () => journal.list(),
    };
    const { time, start } = world(() => slow);
    const guard = await start().open();
    const commit = guard.commit({ actual: 70 });
    await time.advance(5_000);
    expect(await commit).toMatchObject({ ok: true });
    write();
    await settled();
    expect(journal.list().records).toEqual([]);
  });

  test("is sent even where the journal cannot be written, and that is told", async () => {
    const { start, figures } = world();
    const full = () => {
      throw new Error("disk full");
    };
    const { open, notices } = start({ journal: { put: full, remove: full, list: full } });
    const guard = await open();
    expect(await guard.commit({ actual: 70 })).toMatchObject({ ok: true });
    expect(figures()).toBe("70 spent, 0 reserved");
    expect(notices).toEqual(
      [undefined, guard.reservationId, guard.reservationId].map((reservationId) => ({
        disposition: "journal_failed",
        ...(reservationId !== undefined && { reservationId }),
        cause: new Error("disk full"),
      })),
    );
  });
});

test.each([
  ["in seconds", "2"],
  ["as a date", new Date(1_002_000).toUTCString()],
])(
  "a try that is throttled %s within the call: any wait beyond the one asked for, which is written down first",
  async (_, retryAfter) => {
    const journal = new MemoryJournal();
    const waits: unknown[] = [];
    const refusal = { error: "LIMIT_EXCEEDED", message: "slow down", request_id: "r" };
    const reserved = {
      decision: "ALLOW",
      reservation_id: "r",
      reserved: tokens(100),
      expires_at_ms: 1_060_000,
      remaining_ttl_ms: 60_000,
      affected_scopes: ["tenant:acme"],
    };
    const answers = [
      () => Response.json(reserved),
      () => Response.json(refusal, { status: 429, headers: { "retry-after": retryAfter } }),
      () => Response.json({ status: "COMMITTED", charged: tokens(70), released: tokens(30) }),
    ];
    const authority = new HttpAuthority({
      baseUrl: "https://b.test",
      apiKey: "k",
      journal,
      now: () => 1_000_000,
      random: () => 0.75,
      sleep: async (ms) => void waits.push([ms, journal.list().records[0]?.notBeforeMs]),
      fetch: async () => answers.shift()?.() ?? Response.error(),
    });
    const request = { ...REQUEST, subject: { tenant: "acme" } };
    const guard = await authority.guard(request, { heartbeat: false });
    if (!guard.ok) throw new Error(guard.denial.message);
    expect(await guard.commit({ actual: 70 })).toMatchObject({ ok: true });
    expect(waits).toEqual([[2_187, 1_002_000]]);
    expect(journal.list().records).toEqual([]);
  },
);

const tries = (log: readonly string[]) => log.filter((it) => it === "commit commit").length;
const unsafe = () => new AuthorityError("AMOUNT_UNSAFE", "too large", { outcome: "done" });

describe("a guard", () => {
  test("whose commit is refused for its key is tried with the next call that is answered", async () => {
    const { time, start, faults, figures } = world();
    const { authority, open } = start();
    const guard = await open();
    faults.push(refused("UNAUTHORIZED", 401));
    await guard.commit({ actual: 70 }).catch(() => undefined);
    await authority.balances();
    await time.advance(250);
    expect(figures()).toBe("70 spent, 0 reserved");
  });

  test("whose commit is under way is not tried besides by a call that is answered", async () => {
    const { time, start, log, faults } = world();
    const { authority, open } = start();
    const guard = await open();
    faults.push("no answer");
    void guard.commit({ actual: 70 });
    await time.advance(0);
    await authority.balances();
    await time.advance(60_000);
    expect(tries(log)).toBe(1);
  });

  test("that is left while it is throttled sends nothing more, and what it knows is told to be kept once", async () => {
    const { time, start, log, faults, figures } = world();
    const { authority, open, notices } = start();
    const [asked, told] = [await open(), await open()];
    faults.push("lost request", throttled(20_000), throttled(20_000));
    await asked.commit({ actual: 70 }).catch(() => undefined);
    await asked.dispose();
    expect(tries(log)).toBe(2);
    told.spent(30);
    await told.dispose();
    expect(notices).toEqual([
      { disposition: "kept", reservationId: told.reservationId, cause: throttled(20_000).denial },
    ]);
    await time.advance(21_000);
    expect(await authority.flush()).toEqual({ outstanding: 0 });
    expect(figures()).toBe("100 spent, 0 reserved");
  });

  test("is over once its commit is made, also where the answer cannot be shown, now or in the background", async () => {
    const { time, start, faults } = world();
    const { open } = start();
    const [now, later] = [await open(), await open()];
    faults.push(unsafe());
    await expect(now.commit({ actual: 70 })).rejects.toEqual(code("AMOUNT_UNSAFE"));
    expect(now.isOver).toBe(true);
    faults.push("lost request", unsafe());
    await later.commit({ actual: 70 }).catch(() => undefined);
    expect(later.isOver).toBe(false);
    await time.advance(250);
    expect(later.isOver).toBe(true);
  });

  test("charges the most that anybody said: what a denied commit named, where `spent` was told less", async () => {
    const { start, figures } = world();
    const guard = await start().open({ overagePolicy: "REJECT" });
    guard.spent(30);
    await guard.commit({ actual: 130 });
    await guard.dispose();
    expect(figures()).toBe("100 spent, 0 reserved");
  });

  test("without a heartbeat gets none after a denied commit", async () => {
    const { time, start } = world();
    const { authority } = start();
    const request = { ...REQUEST, overagePolicy: "REJECT" } as const;
    const guard = await authority.guard(request, { heartbeat: false });
    if (!guard.ok) throw new Error(guard.denial.message);
    await guard.commit({ actual: 101 });
    expect(time.timers).toBe(0);
    await guard.release().catch(() => undefined);
  });

  test("extended again after an abort is extended once", async () => {
    const { start } = world();
    const { authority, open } = start();
    const guard = await open();
    const endMs = guard.expiresAtMs;
    const extend = authority.extend.bind(authority);
    authority.extend = async (...args) => {
      await extend(...args);
      authority.extend = extend;
      throw new Error("user left");
    };
    await expect(guard.extend(10_000)).rejects.toThrow("user left");
    await guard.extend(10_000);
    expect(guard.expiresAtMs).toBe(endMs + 10_000);
    await guard.release();
  });
});

describe("to the millisecond", () => {
  test("an hour of Retry-After is waited for", async () => {
    const { time, start, faults, figures } = world();
    const guard = await start().open();
    faults.push(throttled(3_600_000));
    await guard.commit({ actual: 70 });
    expect(time.timers).toBe(1);
    await time.advance(3_600_250);
    expect(figures()).toBe("70 spent, 0 reserved");
  });

  test("an event is sent up to six days after it became one", async () => {
    const { time, start, log, faults } = world();
    const first = start();
    const guard = await first.open();
    time.pass(65_001);
    faults.push(refused("RESERVATION_EXPIRED", 410), "lost request");
    await guard.commit({ actual: 70 }).catch(() => undefined);
    first.die();
    log.length = 0;
    time.pass(6 * 86_400_000);
    expect(await start().authority.flush()).toEqual({ outstanding: 0 });
    expect(log).toContain("recordEvent commit");
  });
});

describe("a process that opens a journal", () => {
  test("goes on with what it finds there, of its own server and tenant alone", async () => {
    const { time, start, log, faults, records, figures } = world();
    const first = start();
    const guard = await first.open();
    faults.push("no answer");
    void guard.commit({ actual: 70 });
    await time.advance(0);
    first.die();
    const [own] = await records();
    if (own === undefined) throw new Error("a record was written");
    const { journal } = worldOf(await records());
    journal.put({ ...own, partition: "https://elsewhere.test acme" });
    journal.put({ ...own, partition: "local other" });
    log.length = 0;
    const { notices } = start({ journal });
    await time.advance(250);
    expect(log).toEqual(["commit commit"]);
    expect(journal.list().records.map(({ partition }) => partition)).toEqual([
      "https://elsewhere.test acme",
      "local other",
    ]);
    expect(notices).toEqual([{ disposition: "settled", reservationId: guard.reservationId }]);
    expect(figures()).toBe("70 spent, 0 reserved");
  });

  test("without a tenant strikes nothing out that another tenant's key may find, nor meets another's partition", async () => {
    const { time, start, faults, records } = world();
    const journal = new MemoryJournal();
    const first = start({ journal });
    const guard = await first.open();
    faults.push("lost request");
    await guard.commit({ actual: 70 }).catch(() => undefined);
    first.die();
    expect(journal.list().records).toMatchObject([{ partition: "local acme" }]);
    expect(await records()).toEqual([]);
    const asked: string[] = [];
    const open = (tenant: string | undefined) =>
      new HttpAuthority({
        baseUrl: "https://b.test",
        apiKey: "k",
        ...(tenant !== undefined && { subject: { tenant } }),
        journal,
        ...time.surroundings,
        warn: () => undefined,
        fetch: async (url) => {
          asked.push(url);
          return Response.json({ error: "NOT_FOUND", message: "no", request_id: "r" }, { status: 404 });
        },
      });
    const [record] = journal.list().records;
    if (record === undefined) throw new Error("a record was written");
    journal.put({ ...record, partition: "https://b.test acme" });
    expect(await open("other").flush()).toEqual({ outstanding: 0 });
    expect(asked).toEqual([]);
    expect(await open(undefined).flush()).toEqual({ outstanding: 1 });
    expect(new Set(asked).size).toBe(1);
    expect(journal.list().records).toHaveLength(2);
    expect(await open("acme").flush()).toEqual({ outstanding: 0 });
    expect(journal.list().records).toHaveLength(1);
  });

  const worldOf = (records: readonly JournalRecord[]) => {
    const journal = new MemoryJournal();
    for (const record of records) journal.put(record);
    return { journal };
  };

  test("is told what could not be read, and goes on with the rest", async () => {
    const { time, start, faults, records, figures } = world();
    const first = start();
    const guard = await first.open();
    faults.push("lost request");
    await guard.commit({ actual: 70 }).catch(() => undefined);
    first.die();
    const left = await records();
    const journal = { put: () => undefined, remove: () => undefined };
    const { notices } = start({
      journal: { ...journal, list: () => ({ records: left, quarantined: ["a torn one"] }) },
    });
    await time.advance(250);
    expect(notices).toEqual([
      { disposition: "quarantined", cause: "a torn one" },
      { disposition: "settled", reservationId: guard.reservationId },
    ]);
    expect(figures()).toBe("70 spent, 0 reserved");
  });

  test("warns where nobody listens, but not of what went well", async () => {
    const warnings: string[] = [];
    const { time, ledger, start, faults } = world();
    const { open, die } = start();
    const guard = await open();
    faults.push("lost request");
    await guard.commit({ actual: 70 }).catch(() => undefined);
    die();
    const journal = { put: () => undefined, remove: () => undefined };
    const options = { ledger, ...time.surroundings, warn: (text: string) => void warnings.push(text) };
    new LocalAuthority({
      ...options,
      journal: { ...journal, list: () => ({ records: [], quarantined: ["a torn one"] }) },
    });
    await time.advance(1_000);
    expect(warnings).toEqual([expect.stringMatching(/quarantined.*a torn one/)]);
  });
});

describe("flush", () => {
  test("has nothing to do where nothing is outstanding", async () => {
    const { start } = world();
    expect(await start().authority.flush()).toEqual({ outstanding: 0 });
  });

  test("tries at once instead of waiting for the next round, and leaves no timer", async () => {
    const { time, start, faults, figures } = world();
    const { authority, open } = start();
    const guard = await open();
    faults.push("lost request");
    await guard.commit({ actual: 70 }).catch(() => undefined);
    expect(await authority.flush()).toEqual({ outstanding: 0 });
    expect(figures()).toBe("70 spent, 0 reserved");
    expect(time.timers).toBe(0);
  });

  test("is not held for ever by a journal that hangs; what is read too late goes on by itself", async () => {
    const { time, start, faults, records, figures } = world();
    const first = start();
    const guard = await first.open();
    faults.push("lost request");
    await guard.commit({ actual: 70 }).catch(() => undefined);
    first.die();
    const left = await records();
    let look: () => void = () => expect.fail("not asked to look");
    const list = () =>
      new Promise<JournalContents>((resolve) => {
        look = () => resolve({ records: left, quarantined: [] });
      });
    const journal = { put: () => undefined, remove: () => undefined, list };
    const { authority, notices } = start({ journal });
    const flushed = authority.flush();
    await time.advance(5_000);
    expect(await flushed).toEqual({ outstanding: 0 });
    expect(notices).toMatchObject([{ disposition: "journal_failed", cause: { code: "JOURNAL_TIMEOUT" } }]);
    look();
    await time.advance(250);
    expect(figures()).toBe("70 spent, 0 reserved");
    expect(time.timers).toBe(0);
  });

  test("gives up after its rounds and says how many are left", async () => {
    const { time, start, faults } = world();
    const { authority, open, notices } = start();
    const guard = await open();
    faults.push(...Array<Fault>(20).fill("lost request"));
    await guard.commit({ actual: 70 }).catch(() => undefined);
    const flushed = authority.flush();
    await time.advance(60_000);
    expect(await flushed).toEqual({ outstanding: 1 });
    const again = authority.flush();
    await time.advance(60_000);
    expect(await again).toEqual({ outstanding: 1 });
    expect(notices.map(({ disposition }) => disposition)).toEqual(["kept"]); // and is not told twice
  });

  test("does not bring back what was settled while it looked into the journal", async () => {
    const { time, start, log, faults, figures } = world();
    const journal = new MemoryJournal();
    const looks: (() => void)[] = [];
    const slow = {
      put: (record: JournalRecord) => journal.put(record),
      remove: (partition: string, id: string) => journal.remove(partition, id),
      list: () => {
        const seen = journal.list();
        return new Promise<typeof seen>((resolve) => looks.push(() => resolve(seen)));
      },
    };
    const { authority, open } = start({ journal: slow });
    const guard = await open();
    faults.push("lost request");
    await guard.commit({ actual: 70 }).catch(() => undefined);
    const flushed = authority.flush();
    await guard.commit({ actual: 70 });
    for (const look of looks) look();
    expect(await flushed).toEqual({ outstanding: 0 });
    await time.advance(60_000);
    expect(log.filter((it) => it === "commit commit")).toHaveLength(2);
    expect(figures()).toBe("70 spent, 0 reserved");
  });

  test("ends with its signal, and says what is left, which goes on by itself", async () => {
    const { time, start, faults, figures } = world();
    const { authority, open } = start();
    const guard = await open();
    faults.push(throttled(20_000));
    await guard.commit({ actual: 70 });
    const stop = new AbortController();
    const flushed = authority.flush({ signal: stop.signal });
    await time.advance(1_000);
    stop.abort(new Error("no more time"));
    expect(await flushed).toEqual({ outstanding: 1 });
    expect(await authority.flush({ signal: stop.signal })).toEqual({ outstanding: 1 });
    await time.advance(20_000);
    expect(figures()).toBe("70 spent, 0 reserved");
    expect(time.timers).toBe(0);
  });

  test("ends with its signal also while the journal hangs as it is read, or as a spend is struck out", async () => {
    const { time, start, faults, figures } = world();
    const hang = () => new Promise<never>(() => undefined);
    const none = () => ({ records: [], quarantined: [] });
    const { authority } = start({ journal: { put: hang, remove: hang, list: hang } });
    const stop = new AbortController();
    const reading = authority.flush({ signal: stop.signal });
    await time.advance(1_000);
    stop.abort();
    expect(await reading).toEqual({ outstanding: 0 });
    const stuck = start({ journal: { put: () => undefined, remove: hang, list: none } });
    const guard = await stuck.open();
    faults.push("lost request", "lost request");
    await guard.commit({ actual: 70 }).catch(() => undefined);
    const soon = new AbortController();
    const striking = stuck.authority.flush({ signal: soon.signal });
    await time.advance(1_000);
    soon.abort();
    expect(await striking).toEqual({ outstanding: 0 });
    expect(figures()).toBe("70 spent, 0 reserved");
    await time.advance(5_000);
    expect(time.timers).toBe(0);
  });

  test("that ends with its signal leaves what it alone has found to go on by itself", async () => {
    const { time, start, faults, records, figures } = world();
    const first = start();
    const guard = await first.open();
    faults.push("lost request");
    await guard.commit({ actual: 70 }).catch(() => undefined);
    first.die();
    const left = await records();
    const looks = [[], left];
    const list = () => ({ records: looks.shift() ?? [], quarantined: [] });
    const { authority } = start({ journal: { put: () => undefined, remove: () => undefined, list } });
    faults.push("lost request");
    const stop = new AbortController();
    const flushed = authority.flush({ signal: stop.signal });
    await time.advance(0);
    stop.abort();
    expect(await flushed).toEqual({ outstanding: 1 });
    await time.advance(1_000);
    expect(figures()).toBe("70 spent, 0 reserved");
  });
});

test("whatever is lost and whenever processes end, each spend counts once", async () => {
  const anyFault = fc.constantFrom<Fault | "fine">("fine", "lost request", "lost reply", "no answer");
  const anyCall = fc.record({
    actual: fc.integer({ min: 0, max: 40 }),
    lateMs: fc.constantFrom(0, 0, 65_001),
    faults: fc.array(anyFault, { maxLength: 4 }),
    waitMs: fc.constantFrom(0, 300, 2_000, 70_000),
    ends: fc.constantFrom("nothing", "process", "guard"),
  });
  const property = fc.asyncProperty(fc.array(anyCall, { maxLength: 5 }), async (calls) => {
    const { time, start, faults, records, figures } = world();
    let process = start();
    let spent = 0;
    for (const { actual, lateMs, faults: some, waitMs, ends } of calls) {
      const guard = await process.open({ estimate: tokens(40) });
      time.pass(lateMs);
      faults.push(...some.filter((it): it is Fault => it !== "fine"));
      void guard.commit({ actual }).catch(() => undefined);
      spent += actual;
      await time.advance(waitMs);
      if (ends === "guard") void guard.dispose();
      if (ends === "process") {
        process.die();
        process = start();
      }
      await time.advance(waitMs);
    }
    faults.length = 0;
    process.die();
    const { authority } = start();
    const flushed = authority.flush();
    await time.advance(120_000);
    expect(await flushed).toEqual({ outstanding: 0 });
    expect(await records()).toEqual([]);
    expect(figures()).toBe(`${spent} spent, 0 reserved`);
  });
  await fc.assert(property, { numRuns: 60 });
});
