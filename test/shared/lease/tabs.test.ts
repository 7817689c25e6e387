// Several tabs on one lease, over channels, locks and deaths that a script orders, against the real ledger: what each is told,
// hand-over, and for any order of events that nobody's money is spent twice and none is lost. Real tabs: test/node/leases.

import fc from "fast-check";
import { LocalAuthority, LocalLedger, MemoryStore } from "purser/ledger";
import { TabAuthority, type TabAuthorityOptions } from "purser/tabs";
import { describe, expect, test } from "vitest";
import type { CallOptions } from "../../../src/authority/authority.ts";
import { AuthorityError } from "../../../src/authority/errors.ts";
import type { LeaseAuthority } from "../../../src/authority/leases.ts";
import * as Book from "../../../src/lease/tab-book.ts";
import { Chance } from "../../simulation/engine/chance.ts";
import { settled, type Tab, TabHub } from "../../support/tab-hub.ts";
import { TabSpender } from "../../support/tab-spender.ts";

const TTL_MS = 60_000;
const GRACE_MS = 5_000;

type Fault = "silence" | "lost request" | "lost reply" | "forbidden" | "not found";

function rig(allocated: number, seed = 1) {
  const hub = new TabHub(new Chance(seed));
  const store = new MemoryStore();
  const ledger = new LocalLedger({ tenant: "acme", now: () => hub.nowMs, store });
  const made = ledger.createBudget({
    scope: "tenant:acme",
    unit: "TOKENS",
    allocated: { unit: "TOKENS", amount: allocated },
  });
  if (!made.ok) throw new Error(made.message);
  const local = new LocalAuthority({ ledger });
  /** What becomes of the next calls to the authority. */
  const faults: Fault[] = [];
  const calls: string[] = [];

  /** The authority as a tab reaches it: request and answer each take their time, and a dead tab hears nothing. */
  const reached = (tab: Tab): LeaseAuthority => {
    const carry = <T>(name: string, options: CallOptions | undefined, call: () => Promise<T>): Promise<T> =>
      new Promise((resolve, reject) => {
        calls.push(options?.keepalive === true ? `${name}, outliving the page` : name);
        const lost = (): void => {
          if (tab.isAlive)
            reject(new AuthorityError("AUTHORITY_UNAVAILABLE", "cut off", { outcome: "unknown" }));
        };
        hub.later(() => {
          const fault = faults.shift();
          if (fault === "silence") return;
          if (fault === "lost request") return lost();
          if (fault === "forbidden" || fault === "not found") {
            const code = fault === "forbidden" ? "FORBIDDEN" : "NOT_FOUND";
            return reject(new AuthorityError(code, fault, { outcome: "refused" }));
          }
          void call().then(
            (answer) => hub.later(() => (fault === undefined ? tab.isAlive && resolve(answer) : lost())),
            (error: unknown) => hub.later(() => tab.isAlive && reject(error)),
          );
        });
      });
    return {
      lease: (request, options) => carry("lease", options, () => local.lease(request)),
      renewLease: (name, renewal, options) => carry("renew", options, () => local.renewLease(name, renewal)),
      returnLease: (name, report, options) => carry("return", options, () => local.returnLease(name, report)),
      leases: (query) => local.leases(query),
      exposure: () => local.exposure(),
    };
  };
  let spenders = 0;
  const spenderOn = (tabs: TabAuthority) => new TabSpender(tabs, `spender-${++spenders}`);
  const open = (options: Partial<TabAuthorityOptions> = {}) => {
    const tab = hub.open();
    const tabs = new TabAuthority({
      authority: reached(tab),
      unit: "TOKENS",
      name: "agents",
      ...tab.surroundings,
      ...options,
    });
    return { tab, tabs, spender: spenderOn(tabs) };
  };
  /** Lets everything happen that can; where that was not enough, within a second: a tab that was asked may have died. */
  const during = async <T>(work: Promise<T>): Promise<T> => {
    const outcome = work.then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    );
    const now = () => Promise.race([outcome, settled().then(() => undefined)]);
    await settled();
    await hub.drain();
    let ended = await now();
    if (ended === undefined) {
      await hub.advance(1_000);
      ended = await now();
    }
    if (ended === undefined) throw new Error("nothing is left to happen, and it has not ended");
    if ("error" in ended) throw ended.error;
    return ended.value;
  };
  const rows = () => [
    ...store.scanLeases({ below: { createdAtMs: Number.MAX_SAFE_INTEGER, id: "~" }, rowsMax: 100 }),
  ];
  /** What the authority has set aside for the tabs, spent or not. */
  const setAside = (): number =>
    rows().reduce((sum, { granted, returned, spent, charged, endedAtMs }) => {
      const out = endedAtMs === undefined ? granted - returned - spent : 0n;
      return sum + Number(spent + charged + (out > 0n ? out : 0n));
    }, 0);
  const figures = () => {
    ledger.balances(); // settles what is due
    const [account] = store.readAccounts(["tenant:acme"], "TOKENS");
    if (account === undefined) throw new Error("no budget");
    const { spent, reserved, debt } = account;
    return { spent: Number(spent), reserved: Number(reserved), debt: Number(debt) };
  };
  return { hub, ledger, local, faults, calls, open, spenderOn, during, rows, setAside, figures };
}

describe("tabs", () => {
  test("share one lease of the authority, and each decides on its own slice of it", async () => {
    const { open, during, rows, figures } = rig(1_000);
    const [first, second, third] = [open(), open(), open()];
    for (const { spender } of [first, second, third]) {
      expect(await during(spender.open(50))).toMatchObject({
        ok: true,
        state: "active",
        granted: { amount: 50 },
      });
      spender.spend(40);
    }
    expect([first, second, third].map(({ tabs }) => tabs.leads)).toEqual([true, false, false]);
    expect(rows()).toHaveLength(1);
    for (const { spender } of [first, second, third]) await during(spender.return());
    for (const { tabs } of [third, second, first]) await during(tabs.dispose());
    expect(figures()).toEqual({ spent: 120, reserved: 0, debt: 0 });
  });

  test("a renewal reports, prolongs and grows; most of them need no call to the authority", async () => {
    const { open, during, calls, hub } = rig(100_000);
    const [first, second] = [open(), open()];
    await during(first.spender.open(1_000));
    await during(second.spender.open(1_000));
    for (let round = 0; round < 20; round += 1) {
      for (const { spender } of [first, second]) {
        spender.spend(100);
        expect(await during(spender.renew(1_000))).toMatchObject({ state: "active", outstanding: 1_000 });
      }
      await hub.advance(100);
    }
    expect(calls.length).toBeLessThan(8);
  });

  test("when the leading tab dies, the next leads at once with the same lease, and what was spent counts", async () => {
    const { open, during, rows, hub, figures } = rig(1_000);
    const [first, second, third] = [open(), open(), open()];
    for (const { spender } of [first, second, third]) {
      await during(spender.open(100));
      spender.spend(60);
    }
    const atMs = hub.nowMs;
    first.tab.kill(0);
    first.spender.isDead = true;
    expect(await during(second.spender.renew(100))).toMatchObject({ state: "active", outstanding: 100 });
    expect(second.tabs.leads).toBe(true);
    expect(hub.nowMs - atMs).toBeLessThanOrEqual(1_000);
    expect(await during(third.spender.renew(50))).toMatchObject({ state: "active" });
    expect(rows()).toHaveLength(1);
    second.spender.spend(30);
    for (const { spender } of [second, third]) await during(spender.return());
    for (const { tabs } of [third, second]) await during(tabs.dispose());
    // The dead tab's 100 may have been spent, so they count as spent once the lease is over; everything else to the token.
    await hub.advance(TTL_MS + GRACE_MS + 1);
    expect(figures()).toEqual({ spent: 60 + 30 + 60 + 100, reserved: 0, debt: 0 });
  });

  test("the leading tab dies at any step of two renewals of its own: what it was told it has stays set aside", async () => {
    const cases = [1, 2, 3].flatMap((seed) =>
      [0, 1, 2, 3].flatMap((between) => [0, 1, 2, 3, 4, 5].map((after) => ({ seed, between, after }))),
    );
    for (const { seed, between, after } of cases) {
      const { open, during, hub, setAside } = rig(1_000, seed);
      const [first, second] = [open(), open()];
      await during(first.spender.open(10));
      // Both are served from what the leader has: 20 were lent to it.
      first.spender.renew(15).catch(() => undefined);
      await settled();
      for (let step = 0; step < between; step += 1) await hub.step();
      first.spender.renew(18).catch(() => undefined);
      await settled();
      for (let step = 0; step < after; step += 1) await hub.step();
      first.spender.isDead = true;
      first.tab.kill(0);
      first.spender.hold(first.spender.idle);
      await during(second.spender.open(10));
      await during(second.spender.return());
      await during(second.tabs.dispose());
      expect(first.spender.reach, JSON.stringify({ seed, between, after })).toBeLessThanOrEqual(setAside());
    }
  });

  test.each([
    ["charge", 100],
    ["refund", 0],
  ] as const)(
    "what dead tabs had is settled by the policy %s while the others go on",
    async (policy, charged) => {
      const { ledger, open, spenderOn, during, hub, figures } = rig(1_000);
      ledger.changeLeaseSettings({ on_expiry: policy, grace_ms: GRACE_MS });
      const { tabs, spender } = open();
      let living = spender;
      await during(living.open(50));
      for (let deaths = 1; deaths <= 6; deaths += 1) {
        const dying = open();
        expect(await during(dying.spender.open(100))).toMatchObject({ granted: { amount: 100 } });
        dying.spender.isDead = true;
        dying.tab.kill(0);
        // A slice is silent for a life before it is missed, which is seen at a renewal, and another life later it is settled.
        for (let passedMs = 0; passedMs < 2.5 * TTL_MS + GRACE_MS; passedMs += TTL_MS / 3) {
          await hub.advance(TTL_MS / 3);
          const answer = await during(living.renew(50));
          if (answer.state === "active") continue;
          await during(living.return());
          living = spenderOn(tabs);
          expect(await during(living.open(50))).toMatchObject({ granted: { amount: 50 } });
        }
        const { spent, reserved } = figures();
        expect(spent).toBe(deaths * charged);
        // What the living one has, and as much again for the next call.
        expect(reserved).toBeLessThanOrEqual(100);
      }
    },
  );

  test.each(["forbidden", "not found"] as const)(
    "a lease of which the authority hears nothing any more (%s) makes room for another",
    async (fault) => {
      const { open, spenderOn, during, faults, hub } = rig(1_000);
      const { tabs, spender } = open();
      await during(spender.open(50));
      await hub.advance(TTL_MS / 2 + 1);
      faults.push(fault);
      expect(await during(spender.renew(50))).toMatchObject({ state: "ended" });
      const next = spenderOn(tabs);
      expect(await during(next.open(50))).toMatchObject({ state: "active", granted: { amount: 50 } });
    },
  );

  test("what was asked of a leader that died is answered by the next one", async () => {
    const { open, hub } = rig(1_000);
    const [first, second] = [open(), open()];
    await hub.drain();
    const opening = second.spender.open(10);
    first.tab.kill(0);
    await hub.drain();
    expect(await opening).toMatchObject({ ok: true, granted: { amount: 10 } });
  });

  test("what a third tab asked of a leader that died is asked again of the next one", async () => {
    const { open, during, faults, hub } = rig(1_000);
    const [first, second, third] = [open(), open(), open()];
    await hub.drain();
    faults.push("silence");
    const opening = third.spender.open(10);
    // All have heard the question: whoever leads next finds it nowhere any more.
    await hub.drain();
    first.tab.kill(0);
    expect(await during(opening)).toMatchObject({ ok: true, granted: { amount: 10 } });
    expect(second.tabs.leads).toBe(true);
  });

  test("a new leader that came after the last book hears it from a tab that has it", async () => {
    const { open, during, hub, rows } = rig(1_000);
    const first = open();
    const aside = hub.open();
    const { locks } = aside.surroundings;
    let queue: () => void = () => undefined;
    const isQueued = new Promise<void>((resolve) => {
      queue = resolve;
    });
    // Of which the lock's keeper hears later than of tabs that were opened after it.
    const second = open({
      ...aside.surroundings,
      locks: {
        request: async (...asked) => {
          await isQueued;
          return locks.request(...asked);
        },
        query: locks.query,
      },
    });
    for (const { spender } of [first, second]) await during(spender.open(50));
    const third = open();
    queue();
    await hub.drain();
    first.tab.kill(0);
    expect(await during(third.spender.open(50))).toMatchObject({ ok: true, state: "active" });
    expect(third.tabs.leads).toBe(true);
    expect(await during(second.spender.renew(50))).toMatchObject({ state: "active" });
    expect(rows()).toHaveLength(1);
  });

  test("a tab that came later knows less, and a new leader does not take its word for all", async () => {
    const { open, during, hub, rows } = rig(1_000);
    const [first, second] = [open(), open()];
    for (const { spender } of [first, second]) await during(spender.open(50));
    const third = open();
    await hub.drain();
    first.tab.kill(0);
    expect(await during(second.spender.renew(50))).toMatchObject({ state: "active" });
    expect(second.tabs.leads).toBe(true);
    expect(await during(third.spender.open(10))).toMatchObject({ ok: true, state: "active" });
    expect(rows()).toHaveLength(1);
  });

  test("a slice lives no longer than the tabs' lease, whoever asks for it and for however long", async () => {
    const { open, during, hub, calls } = rig(1_000);
    const [first, second] = [open(), open()];
    await during(first.spender.open(100));
    await hub.advance(TTL_MS / 3);
    const asked = { unit: "TOKENS", want: 10 } as const;
    const leftMs = TTL_MS - TTL_MS / 3;
    for (const ttlMs of [undefined, TTL_MS]) {
      const answer = await during(second.tabs.lease({ ...asked, ...(ttlMs !== undefined && { ttlMs }) }));
      if (!answer.ok) throw new Error(answer.denial.message);
      expect(answer.remainingTtlMs).toBeGreaterThan(0);
      expect(answer.remainingTtlMs).toBeLessThanOrEqual(leftMs);
    }
    expect(await during(second.tabs.lease({ ...asked, ttlMs: 5_000 }))).toMatchObject({
      remainingTtlMs: 5_000,
    });
    expect(calls).toEqual(["lease"]);
  });

  test("the tabs' lease lives from when it was asked for, however late the answer comes", async () => {
    const { open, hub, rows } = rig(1_000);
    const { spender } = open();
    const opening = spender.open(10);
    await settled();
    while (rows().length === 0) await hub.step();
    await hub.advance(5_000);
    await hub.drain();
    const answer = await opening;
    if (!answer.ok) throw new Error(answer.denial.message);
    expect(answer.remainingTtlMs).toBeLessThanOrEqual(TTL_MS - 5_000);
  });

  test("where there is too little for all a tab gets its share of it, or as much as it needs", async () => {
    const { open, during } = rig(100);
    const [first, second, third] = [open(), open(), open()];
    // As much again was asked for, and not given.
    await during(first.spender.open(60));
    first.spender.hold(60);
    await during(first.spender.renew(60));
    expect(await during(second.spender.open(40))).toMatchObject({ granted: { amount: 20 } });
    expect(await during(third.spender.open(20, 15))).toMatchObject({ granted: { amount: 15 } });
  });

  test("near exhaustion slices shrink, the idle ones are asked back, and who gets nothing hears why", async () => {
    const { open, during } = rig(100);
    const [first, second, third] = [open(), open(), open()];
    await during(first.spender.open(90));
    expect(await during(second.spender.open(50))).toMatchObject({ ok: true, granted: { amount: 10 } });
    const answer = await during(first.spender.renew(90));
    expect(answer.recall).toBeGreaterThan(0);
    await during(first.spender.renew(50, answer.recall));
    expect((await during(second.spender.renew(50))).outstanding).toBeGreaterThan(30);
    for (const { spender } of [first, second]) spender.spend(100);
    await during(first.spender.renew(90));
    await during(second.spender.renew(90));
    for (const { spender } of [first, second]) spender.spend(100);
    expect(await during(third.spender.open(50, 20))).toMatchObject({
      ok: false,
      denial: { code: "BUDGET_EXCEEDED" },
    });
    expect(first.spender.spent + second.spender.spent).toBeLessThanOrEqual(100);
  });

  test("the authority is cut off: slices last to the lease's end, then the tabs hear that it is unreachable", async () => {
    const { open, during, faults, hub } = rig(1_000);
    const [first, second] = [open(), open()];
    await during(first.spender.open(50));
    await during(second.spender.open(50));
    faults.push(...Array.from({ length: 40 }, (): Fault => "lost request"));
    await hub.advance(TTL_MS / 2 + 1);
    expect(await during(second.spender.renew(60))).toMatchObject({ state: "active", outstanding: 50 });
    await hub.advance(TTL_MS / 2);
    for (const { spender } of [first, second]) {
      await expect(during(spender.renew(60))).rejects.toMatchObject({ code: "AUTHORITY_UNAVAILABLE" });
    }
    faults.length = 0;
    // The authority has it reclaimed by then; what was told late is what was charged.
    await hub.advance(GRACE_MS + 1);
    expect(await during(second.spender.renew(60))).toMatchObject({ state: "ended" });
  });

  test("the lease ends at the authority: the tabs hear so, correct what was charged, and share another", async () => {
    const { open, spenderOn, during, ledger, figures, rows } = rig(1_000);
    const [first, second] = [open(), open()];
    for (const { spender } of [first, second]) {
      await during(spender.open(100));
      spender.spend(30);
    }
    ledger.raiseLeaseEpoch();
    expect(figures()).toMatchObject({ spent: 200 });
    const renewals = [];
    for (const { spender } of [first, second]) renewals.push(await during(spender.renew(200)));
    expect(renewals).toMatchObject([{ state: "ended" }, { state: "ended" }]);
    for (const { spender } of [first, second]) await during(spender.return());
    expect(figures()).toMatchObject({ spent: 60, debt: 0 });
    const again = spenderOn(second.tabs);
    expect(await during(again.open(10))).toMatchObject({ ok: true, state: "active" });
    expect(rows()).toHaveLength(2);
  });

  test("a page that goes gives back what nobody has, also where it was the last one", async () => {
    const { open, during, hub, figures } = rig(1_000);
    const { tab, spender } = open();
    await during(spender.open(100));
    spender.spend(70);
    // As a LeasedBudget does, which hears of it after the tabs' authority: it was made later.
    tab.page.addEventListener("pagehide", () => void spender.return({ keepalive: true }));
    tab.page.dispatchEvent(new Event("pagehide"));
    await hub.drain();
    tab.kill(1);
    await hub.advance(TTL_MS + GRACE_MS + 1);
    expect(figures()).toEqual({ spent: 70, reserved: 0, debt: 0 });
  });

  test("a leading page that goes gives back what nobody has at once, also where it has nothing itself", async () => {
    const { open, during, calls, hub, rows } = rig(1_000);
    const [first, second] = [open(), open()];
    await during(second.spender.open(10));
    expect(first.tabs.leads).toBe(true);
    first.tab.page.dispatchEvent(new Event("pagehide"));
    // Nothing else happens any more with that page.
    await settled();
    expect(calls).toEqual(["lease", "renew, outliving the page"]);
    first.tab.kill(0);
    await hub.drain();
    expect(rows()).toMatchObject([{ granted: 20n, returned: 10n }]);
  });

  test("a slice is settled at its end as the tabs' lease is", async () => {
    const { open, during, ledger } = rig(100);
    ledger.changeLeaseSettings({ on_expiry: "refund" });
    const [first, second] = [open(), open()];
    expect(await during(first.spender.open(10))).toMatchObject({ onExpiry: "refund" });
    expect(await during(second.spender.open(10))).toMatchObject({ onExpiry: "refund" });
  });

  test("what is due to be told of a lease is kept, however many have followed", () => {
    const names = ["a", "b", "c", "d", "e", "f", "g"];
    const opened = (leaseId: string) => ({
      name: { leaseId, epoch: 1, unit: "TOKENS" as const },
      affectedScopes: [],
      granted: 10,
      sequence: 0,
    });
    let book = Book.EMPTY_BOOK;
    for (const name of names) {
      book = Book.withTrunk(book, opened(name));
      const trunk = Book.presentTrunk(book);
      if (trunk === undefined) throw new Error("a trunk that was opened is present");
      book = Book.withEnd(Book.withSlice(book, trunk, name, { granted: 10, want: 10 }), trunk);
      book = Book.withReport(book, name, { sequence: 1, spent: 7, held: 0, returned: 0 }, true);
      // Of the second the authority has heard.
      if (name === "b") book = Book.withHeard(book, trunk, { sequence: 1, spent: 7, held: 0, returned: 0 });
    }
    const due = book.trunks.filter(({ isDue }) => isDue);
    expect(due.map(({ name, spentBefore }) => `${name.leaseId} ${spentBefore}`)).toEqual(
      names.filter((name) => name !== "b").map((name) => `${name} 7`),
    );
    // What it has heard before the slice's report is not that report.
    const before = { sequence: 1, spent: 0, held: 10, returned: 0 };
    for (const trunk of due) expect(Book.withHeard(book, trunk, before)).toBe(book);
    for (const trunk of due) book = Book.withHeard(book, trunk, Book.reportOf(book, trunk));
    expect(book.trunks).toEqual([]);
    // An answer on the last of them, which is still under way, is none on the next.
    const next = Book.withTrunk(book, opened("next"));
    const nothing = { sequence: 1, spent: 0, held: 0, returned: 0 };
    for (const trunk of due) expect(Book.withHeard(next, trunk, nothing)).toBe(next);
  });

  test("a slice that nobody waits for any more goes back", async () => {
    const { open, during, hub } = rig(100);
    const [first, second] = [open(), open()];
    await during(first.spender.open(10));
    const stop = new AbortController();
    const asked = second.tabs.lease({ unit: "TOKENS", want: 80 }, { signal: stop.signal });
    stop.abort(new Error("not any more"));
    await expect(asked).rejects.toThrow("not any more");
    await hub.drain();
    expect(await during(first.spender.renew(90))).toMatchObject({ outstanding: 90 });
  });

  test("no tab leads: a call waits, and then says so", async () => {
    const { open, hub } = rig(100);
    const { tabs } = open({
      locks: { request: () => new Promise(() => undefined), query: async () => ({}) },
    });
    const asked = tabs.lease({ unit: "TOKENS", want: 10 });
    const refused = expect(asked).rejects.toMatchObject({
      code: "AUTHORITY_UNAVAILABLE",
      outcome: "unknown",
    });
    await hub.advance(20_000);
    await refused;
  });

  test("a tab that has left says so, and another unit or subject is an error", async () => {
    const { open, during } = rig(100);
    const { tabs } = open();
    expect(() => tabs.lease({ unit: "CREDITS", want: 1 })).toThrow(/unit must be TOKENS/);
    expect(() => tabs.lease({ unit: "TOKENS", want: 1, subject: { agent: "other" } })).toThrow(
      /subject must be/,
    );
    expect(() => open({ name: "" })).toThrow(/name must have/);
    await during(tabs.dispose());
    await tabs.dispose();
    await expect(tabs.lease({ unit: "TOKENS", want: 1 })).rejects.toMatchObject({
      code: "AUTHORITY_UNAVAILABLE",
    });
  });
});

/** Tabs come, spend, report, leave and die in any order, and the way to the authority breaks. */
async function anyCourse(seed: number): Promise<void> {
  const chance = new Chance(seed);
  const allocated = chance.pick([50, 300, 5_000]);
  const { hub, faults, open, setAside, figures, during } = rig(allocated, seed);
  const isFaulty = chance.happens(0.5);
  const mayDie = chance.happens(0.6);
  const all: ReturnType<typeof open>[] = [];
  const check = (): void => {
    const { spent, reserved, debt } = figures();
    expect(spent + reserved).toBeLessThanOrEqual(allocated);
    expect(debt).toBe(0);
    const reach = all.reduce((sum, { spender }) => sum + spender.reach, 0);
    expect(reach, "what tabs can spend is set aside").toBeLessThanOrEqual(setAside());
  };
  const quietly = (work: Promise<unknown>): void => void work.catch(() => undefined);
  for (let step = 0; step < 150; step += 1) {
    const alive = all.filter(({ tab }) => tab.isAlive);
    const what = chance.weighted({
      event: 30,
      open: alive.length < 4 ? 2 : 0,
      act: alive.length > 0 ? 15 : 0,
      kill: mayDie && alive.length > 0 ? 1 : 0,
      time: 2,
      fault: isFaulty ? 1 : 0,
    });
    if (what === "event") await hub.step();
    if (what === "open") all.push(open());
    if (what === "time") await hub.advance(chance.pick([10, 1_000, 31_000, 70_000]));
    if (what === "fault") faults.push(chance.pick<Fault>(["lost request", "lost reply"]));
    if (what === "kill") {
      const { tab, spender } = chance.pick(alive);
      spender.isDead = true;
      tab.kill(chance.next());
    }
    if (what === "act") {
      const { spender } = chance.pick(alive);
      const amount = chance.between(1, 60);
      const act = chance.weighted({ spend: 5, hold: 2, settle: 2, renew: 5, return: 1 });
      if (spender.isOpening) continue;
      if (spender.lease === undefined) quietly(spender.open(amount));
      else if (act === "spend") spender.spend(amount);
      else if (act === "hold") spender.hold(amount);
      else if (act === "settle") spender.settle(amount);
      else if (act === "renew") quietly(spender.renew(amount, chance.pick([0, 0, amount])));
      else quietly(spender.return());
    }
    await settled();
    check();
  }
  faults.length = 0;
  await hub.drain();
  check();
  for (const { tab, tabs, spender } of all) {
    if (!tab.isAlive) continue;
    spender.settle(spender.held);
    // What a copy of its question may have brought is asked for once more; an answer that is too late to be used, again.
    const ask = () => during(spender.open(1));
    if (spender.isUnsure) await ask().catch(ask);
    if (spender.lease !== undefined) await during(spender.return());
    check();
    await during(tabs.dispose());
    check();
  }
  await hub.advance(TTL_MS + GRACE_MS + 1);
  const truth = all.reduce((sum, { spender }) => sum + spender.spent, 0);
  const after = figures();
  expect(after).toMatchObject({ reserved: 0, debt: 0 });
  expect(after.spent).toBeGreaterThanOrEqual(truth);
  if (!mayDie && !isFaulty) expect(after.spent).toBe(truth);
}

test("for any order of events nothing is overspent, and nothing that was spent is lost", async () => {
  await fc.assert(fc.asyncProperty(fc.integer({ min: 1, max: 1_000_000 }), anyCourse), { numRuns: 60 });
});
