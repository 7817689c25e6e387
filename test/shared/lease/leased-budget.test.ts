// A leased budget by its promises: decisions without a call, whose doing a denial is, both clocks, the page's end, other
// holders and other threads of the kernel. Over the real ledger, in virtual time.

import { AtomicBudget, AtomicTokenBudget, allOf, attachKernel, createKernel, LeasedBudget } from "purser";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HOLDER_LIMITS } from "../../../src/lease/limits.ts";
import { LeaseWorld, settled } from "../../support/lease-world.ts";

let world: LeaseWorld;
beforeEach(() => {
  world = new LeaseWorld(100_000);
});

const opened: LeasedBudget[] = [];
async function open(options: Parameters<LeaseWorld["open"]>[0] = {}): Promise<LeasedBudget> {
  const budget = await world.open(options);
  opened.push(budget);
  return budget;
}
afterEach(async () => {
  world.isCutOff = false;
  world.faults = [];
  for (const budget of opened.splice(0)) await budget.close();
});

/** Spends `amount` through a reservation, or fails. */
function spend(budget: LeasedBudget, amount: number): boolean {
  const reservation = budget.tryReserveTokens(amount);
  if (reservation === null) return false;
  budget.recordUsage(reservation, amount, 0);
  return true;
}

describe("spending", () => {
  test("a slice is set aside, spent without a call, and what is left goes back", async () => {
    const budget = await open({ slice: { first: 1_000 } });
    expect(world.figures()).toMatchObject({ reserved: 1_000, spent: 0 });
    expect(budget.authorityCalls).toBe(1);
    for (let n = 0; n < 7; n++) expect(spend(budget, 100)).toBe(true);
    expect(budget.authorityCalls).toBe(1);
    expect(budget.exposure()).toEqual({ unit: "TOKENS", outstanding: 1_000, beyond: 0, reasons: [] });
    await budget.close();
    expect(world.figures()).toMatchObject({ spent: 700, reserved: 0, debt: 0 });
    expect(budget.tokensConsumed()).toBe(700);
    expect(world.timers).toBe(0);
    expect(world.pages.size).toBe(0);
  });

  test("at a steady rate a thousand decisions and more cost one call", async () => {
    world = new LeaseWorld(10_000_000);
    const budget = await open({ slice: { first: 1_000 } });
    let denied = 0;
    const burn = async (decisions: number): Promise<void> => {
      for (let n = 1; n <= decisions; n++) {
        if (!spend(budget, 3)) denied++;
        if (n % 20 === 0) await world.advance(10);
      }
    };
    await burn(20_000);
    const before = { calls: budget.authorityCalls, decisions: budget.decisions };
    await burn(60_000);
    const calls = budget.authorityCalls - before.calls;
    expect((budget.decisions - before.decisions) / calls).toBeGreaterThanOrEqual(1_000);
    expect(denied).toBe(0);
  });

  test("an idle holder keeps little, and asks seldom", async () => {
    const budget = await open({ slice: { first: 1_000 } });
    await world.advance(600_000);
    expect(budget.available).toBeLessThanOrEqual(200);
    expect(budget.available).toBeGreaterThanOrEqual(100);
    expect(budget.authorityCalls).toBeLessThanOrEqual(25);
    expect(world.figures().reserved).toBe(budget.available);
  });

  test("of a range it grants what there is, and asks for more", async () => {
    const budget = await open({ slice: { first: 100 } });
    expect(budget.tryReserveTokens({ want: 5_000, min: 50 })?.estimate).toBe(100);
    expect(budget.tryReserve({ want: 500, min: 1 })).toBe(null);
    await world.advance(10);
    expect(budget.tryReserve({ want: 500, min: 1 })).toBeGreaterThanOrEqual(400);
  });

  test("what tryReserve took is spent unless it is released", async () => {
    const budget = await open();
    expect(budget.tryReserve(60)).toBe(true);
    expect(budget.tryReserve(60)).toBe(false);
    budget.release(20);
    budget.release(50);
    expect(budget.overReleased).toBe(10);
    expect(budget.tryReserve(30)).toBe(true);
    await budget.close();
    expect(world.figures()).toMatchObject({ spent: 30, reserved: 0 });
    budget.release(30);
    expect(budget.available).toBe(0);
    expect(budget.overReleased).toBe(40);
    await world.advance(100_000);
    expect(world.figures()).toMatchObject({ spent: 30, reserved: 0 });
  });

  test("a call that outlives close is reported when it ends", async () => {
    const budget = await open();
    const reservation = budget.tryReserveTokens(80);
    await budget.close();
    expect(world.figures()).toMatchObject({ spent: 0, reserved: 80 });
    if (reservation !== null) budget.recordUsage(reservation, 30, 0);
    await world.advance(0);
    expect(world.figures()).toMatchObject({ spent: 30, reserved: 0 });
    expect(world.timers).toBe(0);
  });

  test("usage beyond estimate and slice is charged, and shown as exposure until then", async () => {
    const budget = await open();
    const reservation = budget.tryReserveTokens(100);
    if (reservation !== null) budget.recordUsage(reservation, 150, 0);
    expect(budget.exposure()).toMatchObject({
      beyond: 50,
      reasons: [{ code: "USAGE_BEYOND_ESTIMATE", amount: 50 }],
    });
    expect(budget.tryReserveTokens(1)).toBeNull();
    await world.advance(10);
    expect(budget.exposure().beyond).toBe(0);
    expect(budget.tryReserveTokens(1)).not.toBeNull();
  });

  test("usage beyond estimate after close is exposure until the authority has heard of it", async () => {
    const budget = await open();
    const reservation = budget.tryReserveTokens(3);
    await budget.close();
    world.faults = [{ kind: "none", delayMs: 3_000 }];
    if (reservation !== null) budget.recordUsage(reservation, 4, 0);
    await settled();
    expect(world.figures()).toMatchObject({ spent: 0, reserved: 3 });
    expect(budget.exposure()).toMatchObject({
      beyond: 1,
      reasons: [{ code: "USAGE_BEYOND_ESTIMATE", amount: 1 }],
    });
    await world.advance(10_000);
    expect(budget.exposure().beyond).toBe(0);
    expect(world.figures()).toMatchObject({ spent: 4, reserved: 0 });
  });

  test("a copy of an opening that was denied and is granted late strands nothing", async () => {
    world.authority.ledger.freezeBudget({ scope: "tenant:acme", unit: "TOKENS" });
    world.faults = [{ kind: "twice", delayMs: 0 }];
    const budget = await open();
    world.authority.ledger.unfreezeBudget({ scope: "tenant:acme", unit: "TOKENS" });
    await world.advance(0);
    expect(world.figures()).toMatchObject({ reserved: 100 });
    expect(budget.tryReserveTokens(1)).toBeNull();
    await world.advance(1_000);
    expect(world.figures()).toMatchObject({ reserved: budget.available });
    expect(budget.available).toBeGreaterThan(0);
    await budget.close();
    await world.advance(200_000);
    expect(world.figures()).toMatchObject({ spent: 0, reserved: 0 });
  });

  test("takes part in allOf", async () => {
    const kernel = createKernel({ shared: false });
    const budget = await open({ kernel, name: "leased" });
    const calls = new AtomicBudget(1, { kernel });
    const both = allOf(budget, calls);
    const first = both.tryReserve([40, 1]);
    expect(first).not.toBeNull();
    expect(both.tryReserve([40, 1])).toBeNull();
    expect(budget.available).toBe(60);
    first?.release();
    expect(budget.available).toBe(100);
  });

  test("takes within allOf wake the keeper before the slice is empty, and size the slice", async () => {
    world = new LeaseWorld(10_000_000);
    const kernel = createKernel({ shared: false });
    const budget = await open({ kernel, name: "leased", slice: { first: 1_000 } });
    const calls = new AtomicBudget(1_000, { kernel });
    const both = allOf(budget, calls);
    let denied = 0;
    const burn = async (decisions: number): Promise<void> => {
      for (let n = 1; n <= decisions; n++) {
        const taken = both.tryReserve([3, 1]);
        if (taken === null) denied++;
        else budget.recordUsage(taken.parts[0], 3, 0);
        taken?.release();
        if (n % 20 === 0) await world.advance(10);
      }
    };
    await burn(20_000);
    const before = { calls: budget.authorityCalls, decisions: budget.decisions };
    expect(before.decisions).toBe(20_000);
    await burn(20_000);
    expect(denied).toBe(0);
    const asked = budget.authorityCalls - before.calls;
    expect((budget.decisions - before.decisions) / asked).toBeGreaterThanOrEqual(1_000);
  });

  test("reservations end when they are said to, if somebody looks: here and within allOf", async () => {
    const kernel = createKernel({ shared: false });
    for (const options of [{}, { kernel, name: "leased" }]) {
      const budget = await open(options);
      expect(budget.tryReserveTokens(30, { expiresAtMs: 2_000 })).not.toBeNull();
      expect((await budget.reserve(10, { expiresAtMs: 1_000 })).ok).toBe(true);
      if (options.kernel) expect(allOf(budget).tryReserve([5], { expiresAtMs: 1_000 })).not.toBeNull();
      expect(budget.tryReserveTokens(20)).not.toBeNull();
      expect(budget.expire(999)).toBe(0);
      const waiting = budget.reserve(45, { maxWaitMs: 60_000 });
      world.isCutOff = true;
      await settled();
      expect(budget.expire(1_000)).toBe(options.kernel ? 2 : 1);
      expect(budget.expire(2_000)).toBe(1);
      // Who waits is served by it at once.
      expect((await waiting).ok).toBe(true);
      world.isCutOff = false;
      expect(() => budget.expire(-1)).toThrow(/^nowMs must be/);
    }
  });

  test("what expires after close is reported", async () => {
    const budget = await open();
    expect(budget.tryReserveTokens(80, { expiresAtMs: 5_000 })).not.toBeNull();
    await budget.close();
    expect(world.figures()).toMatchObject({ spent: 0, reserved: 80 });
    expect(budget.expire(5_000)).toBe(1);
    await world.advance(0);
    expect(world.figures()).toMatchObject({ spent: 0, reserved: 0 });
    expect(world.timers).toBe(0);
  });
});

describe("waiting", () => {
  test("who waits gets a top-up; first come, first served", async () => {
    const budget = await open();
    const order: number[] = [];
    const waits = [400, 10, 300].map(async (estimate) => {
      const reserved = await budget.reserve(estimate);
      if (reserved.ok) order.push(reserved.reservation.estimate);
    });
    await world.advance(10_000);
    await Promise.all(waits);
    expect(order).toEqual([400, 10, 300]);
    expect(world.timers).toBe(1); // its upkeep
  });

  test("what comes back here serves who waits", async () => {
    world = new LeaseWorld(100);
    const budget = await open();
    const first = budget.tryReserveTokens(100);
    const waiting = budget.reserve(60);
    await world.advance(1_000);
    if (first !== null) budget.recordUsage(first, 20, 0);
    expect(await waiting).toMatchObject({ ok: true });
  });

  test("an abort rejects with its reason, and the time's end denies", async () => {
    world = new LeaseWorld(100);
    const budget = await open();
    const held = budget.tryReserveTokens(50);
    const controller = new AbortController();
    const aborted = budget.reserve(80, { signal: controller.signal });
    const late = budget.reserve(80, { maxWaitMs: 2_000 });
    controller.abort("enough");
    await expect(aborted).rejects.toBe("enough");
    await world.advance(2_000);
    expect(await late).toMatchObject({ ok: false, denial: { reason: "authority-exhausted" } });
    expect(await budget.reserve(80, { maxWaitMs: 0 })).toMatchObject({ ok: false });
    held?.cancel();
    expect(budget.available).toBe(100);
  });

  test.each([
    ["before its time is up", 60_000, 1_000],
    ["at the latest when its time is up", 200, 200],
  ])(
    "what a cancelled call gives back, of which nobody tells, serves who waits: %s",
    async (_, maxWaitMs, ms) => {
      world = new LeaseWorld(100);
      const budget = await open();
      const held = budget.tryReserveTokens(100);
      const waiting = budget.reserve(50, { maxWaitMs });
      await world.advance(100);
      held?.cancel();
      await world.advance(ms);
      const reserved = await waiting;
      expect(reserved).toMatchObject({ ok: true, reservation: { estimate: 50 } });
      if (reserved.ok) reserved.reservation.cancel();
    },
  );

  test("a small one behind a large one waits for it, though it would fit", async () => {
    world = new LeaseWorld(100);
    const budget = await open();
    const parts = [budget.tryReserveTokens(60), budget.tryReserveTokens(40)];
    const served: number[] = [];
    const waits = [80, 10].map(async (estimate) => {
      const reserved = await budget.reserve(estimate, { maxWaitMs: 20_000 });
      if (!reserved.ok) throw new Error(reserved.denial.reason);
      served.push(estimate);
      return reserved.reservation;
    });
    await settled();
    const [large, small] = parts;
    if (small !== null && small !== undefined) budget.recordUsage(small, 0, 0);
    await world.advance(1_000);
    expect(served).toEqual([]);
    if (large !== null && large !== undefined) budget.recordUsage(large, 0, 0);
    await world.advance(1_000);
    expect(served).toEqual([80, 10]);
    for (const wait of waits) (await wait).cancel();
  });

  test("a decision over several that the slice is too short for brings a top-up", async () => {
    const kernel = createKernel({ shared: false });
    const budget = await open({ kernel, name: "short" });
    const both = allOf(budget, new AtomicBudget(1, { kernel }));
    // More than what another thread's refusal would be taken for, of which no amount is known.
    expect(both.tryReserve([350, 1])).toBeNull();
    await world.advance(1_000);
    const taken = both.tryReserve([350, 1]);
    expect(taken).not.toBeNull();
    taken?.release();
  });

  test("one in front that gives up makes room for those behind, also where nobody sets timers", async () => {
    for (const upkeep of ["timer", "caller"] as const) {
      world = new LeaseWorld(100);
      const budget = await open({ upkeep });
      const held = budget.tryReserveTokens(60);
      const controller = new AbortController();
      const aborted = budget.reserve(80, { signal: controller.signal, maxWaitMs: 20_000 });
      const behind = budget.reserve(10, { maxWaitMs: 20_000 });
      const late = budget.reserve(90, { maxWaitMs: 1_000 });
      const last = budget.reserve(20, { maxWaitMs: 20_000 });
      const done: string[] = [];
      void behind.then(() => done.push("behind"));
      void last.then(() => done.push("last"));
      await settled();
      expect(done).toEqual([]);
      controller.abort("enough");
      await expect(aborted).rejects.toBe("enough");
      await settled();
      expect(done).toEqual(["behind"]);
      await world.advance(999);
      expect(done).toEqual(["behind"]);
      await world.advance(1);
      expect(await late).toMatchObject({ ok: false });
      await settled();
      expect(done).toEqual(["behind", "last"]);
      for (const reserved of [await behind, await last]) if (reserved.ok) reserved.reservation.cancel();
      held?.cancel();
    }
  });

  test("where the caller does the upkeep, what a cancelled call gives back serves who waits, first come first", async () => {
    world = new LeaseWorld(100);
    const budget = await open({ upkeep: "caller" });
    const held = budget.tryReserveTokens(100);
    const order: number[] = [];
    const waits = [40, 30].map(async (estimate) => {
      const reserved = await budget.reserve(estimate, { maxWaitMs: 20_000 });
      if (!reserved.ok) throw new Error(reserved.denial.reason);
      order.push(estimate);
      return reserved.reservation;
    });
    await world.advance(2_000);
    held?.cancel();
    // No call of upkeep: whoever waits looks for himself.
    await world.advance(HOLDER_LIMITS.lookMs);
    expect(order).toEqual([40, 30]);
    for (const wait of waits) (await wait).cancel();
    // And a call of upkeep serves as well.
    const again = budget.tryReserveTokens(100);
    const waiting = budget.reserve(10, { maxWaitMs: 20_000 });
    await settled();
    again?.cancel();
    await budget.upkeep();
    expect(await waiting).toMatchObject({ ok: true });
    await world.advance(20_000);
    expect(world.timers).toBe(0);
  });

  test("where the caller does the upkeep, who waits finds what the authority has again", async () => {
    world = new LeaseWorld(100);
    const budget = await open({ upkeep: "caller" });
    const other = await open({ slice: { first: 1, least: 1 } });
    expect(budget.tryReserve(100)).toBe(true);
    const waiting = budget.reserve(50, { maxWaitMs: 30_000 });
    await world.advance(1_000);
    world.authority.ledger.fund(
      { scope: "tenant:acme", unit: "TOKENS" },
      { operation: "CREDIT", amount: { unit: "TOKENS", amount: 1_000 }, idempotency_key: "more" },
    );
    await world.advance(20_000);
    expect(await waiting).toMatchObject({ ok: true });
    await other.close();
  });

  test("who waits gets at once what a take gives back", async () => {
    world = new LeaseWorld(100);
    const budget = await open();
    expect(budget.tryReserve(100)).toBe(true);
    const waiting = budget.reserve(50);
    await world.advance(10);
    budget.release(60);
    expect(budget.available).toBe(10);
    expect(await waiting).toMatchObject({ ok: true });
  });

  test("where nothing can come back, who waits is denied at once", async () => {
    world = new LeaseWorld(100);
    const budget = await open();
    const waiting = budget.reserve(101);
    await world.advance(20_000);
    expect(await waiting).toMatchObject({
      ok: false,
      denial: { reason: "authority-exhausted", shortage: { code: "BUDGET_EXCEEDED" } },
    });
  });
});

describe("whose doing a denial is", () => {
  test("the slice's, the authority's, the line's, or nobody's any more", async () => {
    world = new LeaseWorld(150);
    const budget = await open();
    expect(spend(budget, 90)).toBe(true);
    expect(spend(budget, 50)).toBe(false);
    expect(budget.explainDenial(50)).toMatchObject({ reason: "slice-short", requested: 50, available: 10 });
    await world.advance(10);
    expect(spend(budget, 50)).toBe(true);
    expect(spend(budget, 50)).toBe(false);
    await world.advance(10);
    expect(budget.explainDenial(50)).toMatchObject({
      reason: "authority-exhausted",
      shortage: { code: "BUDGET_EXCEEDED", scope: "tenant:acme" },
    });
    world.isCutOff = true;
    await world.advance(40_000);
    expect(budget.explainDenial(50)).toMatchObject({ reason: "authority-unreachable" });
    expect(budget.lastError).toMatchObject({ code: "AUTHORITY_UNAVAILABLE" });
    world.isCutOff = false;
    await budget.close();
    expect(spend(budget, 1)).toBe(false);
    expect(budget.explainDenial(1)).toMatchObject({ reason: "closed", retry: "never" });
    expect(await budget.reserve(1)).toMatchObject({ ok: false, denial: { reason: "closed" } });
  });

  test("refused takes ask the authority no more often than its answers are worth", async () => {
    world = new LeaseWorld(100);
    const budget = await open();
    expect(spend(budget, 100)).toBe(true);
    for (let n = 0; n < 200; n++) {
      expect(spend(budget, 1)).toBe(false);
      await world.advance(50);
    }
    expect(budget.authorityCalls).toBeLessThanOrEqual(8);
    // More is there again: it is found without anybody's help.
    world.authority.ledger.fund(
      { scope: "tenant:acme", unit: "TOKENS" },
      { operation: "CREDIT", amount: { unit: "TOKENS", amount: 1_000 }, idempotency_key: "more" },
    );
    await world.advance(16_000);
    expect(spend(budget, 1)).toBe(true);
  });
});

describe("a holder without a lease", () => {
  const name = { scope: "tenant:acme", unit: "TOKENS" } as const;

  test("that was denied at open asks again by itself, less and less often, and has one once there is some", async () => {
    world.authority.ledger.freezeBudget(name);
    const budget = await open();
    expect(budget.authorityCalls).toBe(1);
    await world.advance(1_000);
    expect(budget.authorityCalls).toBeGreaterThanOrEqual(2);
    await world.advance(29_000);
    expect(budget.authorityCalls).toBeLessThanOrEqual(8);
    world.authority.ledger.unfreezeBudget(name);
    await world.advance(HOLDER_LIMITS.retryMsMax);
    expect(spend(budget, 10)).toBe(true);
  });

  test("stops asking when nobody wants anything of it for a time, and begins again with the next take", async () => {
    world.authority.ledger.freezeBudget(name);
    const budget = await open();
    await world.advance(HOLDER_LIMITS.seekMs + HOLDER_LIMITS.retryMsMax);
    const calls = budget.authorityCalls;
    await world.advance(1_000_000);
    expect(budget.authorityCalls).toBe(calls);
    expect(world.timers).toBe(0);
    expect(spend(budget, 10)).toBe(false);
    await world.advance(0);
    expect(budget.authorityCalls).toBe(calls + 1);
    await world.advance(40_000);
    expect(budget.authorityCalls).toBeGreaterThan(calls + 2);
  });

  test("does not ask before the time that the authority has named", async () => {
    const denial = { code: "LIMIT_EXCEEDED", message: "too often", retry: { afterMs: 20_000 } } as const;
    const { authority } = world;
    const lease = authority.lease.bind(authority);
    let denials = 1;
    authority.lease = async (request, options) =>
      denials-- > 0 ? { ok: false, denial } : lease(request, options);
    const budget = await open();
    expect(spend(budget, 1)).toBe(false);
    expect(budget.explainDenial(1)).toMatchObject({ reason: "authority-exhausted", retry: denial.retry });
    await world.advance(19_999);
    expect(spend(budget, 1)).toBe(false);
    expect(budget.authorityCalls).toBe(1);
    await world.advance(501);
    expect(budget.authorityCalls).toBe(2);
    expect(spend(budget, 1)).toBe(true);
  });

  test("a hidden one and a closed one do not ask", async () => {
    world.authority.ledger.freezeBudget(name);
    const budget = await open();
    for (const page of world.pages) page.hide();
    const calls = budget.authorityCalls;
    await world.advance(60_000);
    expect(budget.authorityCalls).toBe(calls);
    for (const page of world.pages) page.show();
    await world.advance(1_000);
    expect(budget.authorityCalls).toBeGreaterThan(calls);
    await budget.close();
    const atEnd = budget.authorityCalls;
    await world.advance(60_000);
    expect(budget.authorityCalls).toBe(atEnd);
  });
});

describe("a take of more than there is", () => {
  const IMPOSSIBLE = 1_000_000;

  test("is denied as the authority's doing, with its figures, and the slice stays as it was", async () => {
    world = new LeaseWorld(10_000);
    const budget = await open({ slice: { first: 100, most: 500 } });
    for (const pass of [0, 10, 20_000]) {
      await world.advance(pass);
      expect(spend(budget, IMPOSSIBLE)).toBe(false);
      expect(budget.explainDenial(IMPOSSIBLE)).toMatchObject({
        reason: "authority-exhausted",
        retry: "never",
        shortage: {
          code: "BUDGET_EXCEEDED",
          scope: "tenant:acme",
          figures: { requested: IMPOSSIBLE - budget.available, limit: 10_000, available: 9_900, held: 100 },
        },
      });
      await world.advance(10);
      expect(world.figures()).toMatchObject({ reserved: 100, remaining: 9_900 });
      // What fits there is only the slice's doing.
      expect(budget.explainDenial(5_000).reason).toBe("slice-short");
    }
    expect(budget.authorityCalls).toBeLessThanOrEqual(2);
    // What is there is had, beyond `most` too.
    expect(spend(budget, 5_000)).toBe(false);
    await world.advance(10);
    expect(spend(budget, 5_000)).toBe(true);
  });

  test("asked for over and over costs few calls, and keeps nobody's top-up waiting", async () => {
    world = new LeaseWorld(10_000);
    const budget = await open({ slice: { first: 100, least: 100 } });
    for (let n = 0; n < 600; n++) {
      expect(spend(budget, IMPOSSIBLE)).toBe(false);
      await world.advance(100);
    }
    expect(budget.authorityCalls).toBeLessThanOrEqual(7);
    expect(world.figures()).toMatchObject({ reserved: 100 });
    for (let n = 0; n < 20; n++) {
      expect(spend(budget, IMPOSSIBLE)).toBe(false);
      expect(spend(budget, 50)).toBe(true);
      await world.advance(10);
    }
  });

  test("is found to be there, if it is later", async () => {
    world = new LeaseWorld(1_000);
    const budget = await open({ slice: { first: 100 } });
    expect(spend(budget, 2_000)).toBe(false);
    world.authority.ledger.fund(
      { scope: "tenant:acme", unit: "TOKENS" },
      { operation: "CREDIT", amount: { unit: "TOKENS", amount: 5_000 }, idempotency_key: "more" },
    );
    await world.advance(HOLDER_LIMITS.retryMsMax + 10);
    expect(spend(budget, 2_000)).toBe(true);
  });

  test("who waits for it is denied, and those behind get what there is", async () => {
    world = new LeaseWorld(10_000);
    const budget = await open({ slice: { first: 100 } });
    const impossible = budget.reserve(IMPOSSIBLE, { maxWaitMs: 60_000 });
    const possible = budget.reserve(400, { maxWaitMs: 60_000 });
    await world.advance(1_000);
    expect(await impossible).toMatchObject({ ok: false, denial: { reason: "authority-exhausted" } });
    const reserved = await possible;
    expect(reserved).toMatchObject({ ok: true });
    expect(world.figures().reserved).toBeLessThanOrEqual(600);
    if (reserved.ok) reserved.reservation.cancel();
  });

  test.each([
    ["somebody has taken meanwhile", true],
    ["an authority that shows no balances has not got", false],
  ])("what %s goes back at once", async (_, hasBalances) => {
    world = new LeaseWorld(10_000);
    const { authority } = world;
    const renewLease = authority.renewLease.bind(authority);
    const lease = authority.lease.bind(authority);
    if (!hasBalances) {
      authority.renewLease = async (...values) => ({ ...(await renewLease(...values)), balances: [] });
      authority.lease = async (...values) => {
        const answer = await lease(...values);
        return answer.ok ? { ...answer, balances: [] } : answer;
      };
    }
    const budget = await open({ slice: { first: 100, least: 100 } });
    const other = await open({ slice: { first: 4_000, least: 4_000 } });
    expect(spend(budget, 9_000)).toBe(false);
    await world.advance(1_000);
    expect(spend(budget, 9_000)).toBe(false);
    expect(budget.explainDenial(9_000)).toMatchObject({
      reason: "authority-exhausted",
      shortage: { code: "BUDGET_EXCEEDED" },
    });
    await world.advance(1_000);
    expect(budget.available).toBe(100);
    expect(world.figures()).toMatchObject({ reserved: 4_100, remaining: 5_900 });
    expect(budget.authorityCalls).toBeLessThanOrEqual(4);
    await other.close();
  });
});

describe("the lease's end", () => {
  test.each([
    ["the monotonic clock", (ms: number) => world.advance(ms)],
    [
      "the clock on the wall, while the other stood still",
      async (ms: number) => {
        world.skewMs += ms;
        await world.advance(1_000);
      },
    ],
  ])("without the authority it goes on to the end, by %s, and then denies", async (_, pass) => {
    const budget = await open({ slice: { first: 1_000 } });
    world.isCutOff = true;
    await pass(50_000);
    expect(spend(budget, 10)).toBe(true);
    await pass(8_000);
    // It may be one decision late: whoever looks at every decision pays for two clocks.
    for (let n = 0; n < 70; n++) spend(budget, 1);
    await world.advance(0);
    expect(spend(budget, 10)).toBe(false);
    expect(budget.explainDenial(10).reason).toBe("authority-unreachable");
    expect(budget.available).toBe(0);
    const spent = budget.tokensConsumed();
    world.isCutOff = false;
    world.skewMs = 0;
    await world.advance(20_000);
    expect(spend(budget, 10)).toBe(true);
    await budget.close();
    expect(world.figures()).toMatchObject({ spent: spent + 10, reserved: 0, debt: 0 });
  });

  test.each(["open", "renewal"] as const)(
    "is counted from when the request was sent, not from the answer: %s",
    async (call) => {
      const travels = { kind: "none", delayMs: 10_000 } as const;
      if (call === "open") world.faults = [travels];
      const opening = open({ slice: { first: 1_000, least: 1_000 } });
      await world.advance(call === "open" ? 20_000 : 0);
      const budget = await opening;
      if (call === "renewal") {
        world.faults = [travels];
        await world.advance(30_000 + 20_000);
      }
      expect(world.calls).toBe(call === "open" ? 1 : 2);
      world.isCutOff = true;
      // Sent 20 s ago, granted 10 s ago, for 60 s less a twentieth.
      await world.advance(57_000 - 20_000 - 1);
      expect(budget.available).toBe(1_000);
      await world.advance(1);
      expect(budget.available).toBe(0);
      expect(spend(budget, 1)).toBe(false);
    },
  );

  test("under refund the clocks are looked at before the take: the first one that is late is denied", async () => {
    world.authority.ledger.changeLeaseSettings({ on_expiry: "refund" });
    const kernel = createKernel();
    const budget = await open({ kernel, name: "late", slice: { first: 100 } });
    const tokens = new AtomicTokenBudget(1_000, { kernel, name: "beside" });
    const both = allOf(budget, tokens);
    const takes = [
      () => budget.tryReserveTokens(100),
      () => budget.tryReserve({ want: 100, min: 1 }),
      () => both.tryReserve([100, 100]),
    ];
    for (const take of takes) {
      expect(budget.available).toBeGreaterThanOrEqual(100);
      // The thread was busy: no timer has run.
      world.sleep(66_000);
      expect(take()).toBeNull();
      await world.advance(10_000);
    }
  });

  test("it is counted from when the request was sent, however late the answer comes", async () => {
    // Sent at 30 s, the half of its time; answered 40 s later for 60 s, of which 57 may be used: until 87 s.
    const budget = await open({ slice: { first: 1_000, least: 1_000 } });
    world.faults = [{ kind: "none", delayMs: 20_000 }];
    await world.advance(55_000);
    world.isCutOff = true;
    await world.advance(31_000);
    expect(budget.available).toBe(1_000);
    await world.advance(2_000);
    expect(budget.available).toBe(0);
  });

  test("the monotonic clock alone ends it as well", async () => {
    const budget = await open({ slice: { first: 1_000, least: 1_000 } });
    world.isCutOff = true;
    await world.advance(50_000);
    world.skewMs -= 50_000;
    expect(budget.available).toBe(1_000);
    await world.advance(8_000);
    expect(budget.available).toBe(0);
  });

  test("one that the authority no longer knows, or hears no more of from this credential, makes room for another", async () => {
    for (const code of ["NOT_FOUND", "FORBIDDEN"]) {
      const refused = Object.assign(new Error(code), { code, outcome: "refused" });
      const lossy = world.lossy();
      let isRefusing = false;
      const authority = {
        ...lossy,
        renewLease: (...values: Parameters<typeof lossy.renewLease>) =>
          isRefusing ? Promise.reject(refused) : lossy.renewLease(...values),
        returnLease: (...values: Parameters<typeof lossy.returnLease>) =>
          isRefusing ? Promise.reject(refused) : lossy.returnLease(...values),
      };
      const slice = { first: 100, least: 100 };
      const budget = await LeasedBudget.open(authority, { ...world.options(), slice });
      expect(spend(budget, 30)).toBe(true);
      isRefusing = true;
      await world.advance(31_000);
      isRefusing = false;
      expect(budget.lastError).toBeUndefined();
      // The new one covers what the old one had spent, which the authority may have charged already.
      expect(budget.available).toBe(70);
      expect(budget.exposure().beyond).toBe(0);
      expect(spend(budget, 10)).toBe(true);
      await budget.close();
    }
  });

  test("an authority that refuses is told from one that does not answer, and nothing is lent instead", async () => {
    const refused = Object.assign(new Error("revoked"), { code: "UNAUTHORIZED", outcome: "refused" });
    const lossy = world.lossy();
    const authority = { ...lossy, renewLease: () => Promise.reject(refused) };
    const options = { ...world.options(), offlineAllowance: 40, slice: { first: 100, least: 100 } };
    const budget = await LeasedBudget.open(authority, options);
    await world.advance(31_000);
    expect(budget.available).toBe(100);
    expect(budget.explainDenial(200).reason).toBe("authority-refused");
    expect(budget.lastError).toBe(refused);
    await world.advance(60_000);
    expect(budget.available).toBe(0);
    await budget.close();
  });

  test("an allowance that was not used is given up as soon as the authority answers again", async () => {
    world = new LeaseWorld(1_000);
    const budget = await open({ offlineAllowance: 400, slice: { first: 1_000, least: 1_000 } });
    world.isCutOff = true;
    await world.advance(31_000);
    expect(budget.available).toBe(1_400);
    world.isCutOff = false;
    await world.advance(80_000);
    expect(budget.available).toBe(1_000);
    expect(spend(budget, 1_000)).toBe(true);
    expect(spend(budget, 1)).toBe(false);
    await budget.close();
    expect(world.figures()).toMatchObject({ spent: 1_000, reserved: 0, debt: 0 });
  });

  test("an allowance goes on beyond it, is declared, and is reported", async () => {
    const budget = await open({ offlineAllowance: 40 });
    expect(budget.exposure()).toMatchObject({
      beyond: 40,
      reasons: [{ code: "OFFLINE_ALLOWANCE", amount: 40 }],
    });
    world.isCutOff = true;
    await world.advance(100_000);
    expect(spend(budget, 41)).toBe(false);
    expect(spend(budget, 40)).toBe(true);
    await world.advance(100_000);
    expect(spend(budget, 1)).toBe(false);
    world.isCutOff = false;
    await world.advance(20_000);
    expect(spend(budget, 10)).toBe(true);
    await budget.close();
    expect(world.figures()).toMatchObject({ spent: 50, reserved: 0 });
    // Closed, it lends itself nothing any more.
    expect(budget.exposure()).toMatchObject({ beyond: 0, reasons: [] });
  });

  test("an allowance that was charged as debt is not lent again before the authority lends", async () => {
    world = new LeaseWorld(100);
    const budget = await open({ offlineAllowance: 40, slice: { first: 100, least: 100 } });
    world.isCutOff = true;
    await world.advance(31_000);
    expect(spend(budget, 140)).toBe(true);
    world.isCutOff = false;
    await world.advance(40_000);
    expect(world.figures()).toMatchObject({ spent: 100, debt: 40 });
    for (let cut = 0; cut < 3; cut++) {
      world.isCutOff = true;
      await world.advance(100_000);
      expect(spend(budget, 1)).toBe(false);
      world.isCutOff = false;
      await world.advance(40_000);
    }
    world.authority.ledger.fund(
      { scope: "tenant:acme", unit: "TOKENS" },
      { operation: "CREDIT", amount: { unit: "TOKENS", amount: 1_000 }, idempotency_key: "more" },
    );
    world.authority.ledger.fund(
      { scope: "tenant:acme", unit: "TOKENS" },
      { operation: "REPAY_DEBT", amount: { unit: "TOKENS", amount: 40 }, idempotency_key: "debt" },
    );
    const waiting = budget.reserve(50);
    await world.advance(20_000);
    const held = await waiting;
    if (held.ok) budget.recordUsage(held.reservation, 50, 0);
    world.isCutOff = true;
    await world.advance(300_000);
    expect(budget.available).toBe(40);
    world.isCutOff = false;
    await budget.close();
    expect(world.figures()).toMatchObject({ spent: 100 + 50, reserved: 0, debt: 0 }); // 40 were repaid
  });

  test("what it lent itself and spent is exposure until the authority has heard of it, closed or not", async () => {
    const budget = await open({ offlineAllowance: 40 });
    world.isCutOff = true;
    await world.advance(100_000);
    expect(spend(budget, 25)).toBe(true);
    await expect(budget.close()).rejects.toMatchObject({ code: "AUTHORITY_UNAVAILABLE" });
    expect(budget.exposure()).toMatchObject({
      beyond: 25,
      reasons: [{ code: "OFFLINE_ALLOWANCE", amount: 25 }],
    });
    world.isCutOff = false;
    await budget.close();
    expect(budget.exposure().beyond).toBe(0);
    expect(world.figures()).toMatchObject({ spent: 25, reserved: 0, debt: 0 });
  });

  test("renewed in time, it lasts", async () => {
    const budget = await open({ ttlMs: 1_000 });
    await world.advance(60_000);
    expect(spend(budget, 10)).toBe(true);
    expect(budget.available).toBeGreaterThan(0);
  });

  test("reports at intervals where it is told to, if anything was spent", async () => {
    const budget = await open({ reportEveryMs: 2_000, slice: { first: 1_000 } });
    spend(budget, 70);
    await world.advance(2_000);
    expect(world.figures().spent).toBe(70);
    const calls = budget.authorityCalls;
    await world.advance(20_000);
    expect(budget.authorityCalls).toBe(calls);
  });

  test("a new epoch ends the lease: what was spent is charged, and it goes on with another", async () => {
    const budget = await open();
    spend(budget, 30);
    const reservation = budget.tryReserveTokens(20);
    world.raiseEpoch();
    expect(world.figures()).toMatchObject({ spent: 100, reserved: 0 });
    await world.advance(31_000);
    expect(world.figures()).toMatchObject({ spent: 50, reserved: budget.available });
    if (reservation !== null) budget.recordUsage(reservation, 5, 0);
    spend(budget, 10);
    await budget.close();
    expect(world.figures()).toMatchObject({ spent: 45, reserved: 0, debt: 0 });
  });

  test("a frozen budget takes back what is idle, and lends again when it is thawed", async () => {
    const name = { scope: "tenant:acme", unit: "TOKENS" } as const;
    const budget = await open({ slice: { first: 1_000 } });
    world.authority.ledger.freezeBudget(name);
    await world.advance(40_000);
    expect(world.figures().reserved).toBe(0);
    expect(spend(budget, 1)).toBe(false);
    expect(budget.explainDenial(1)).toMatchObject({ shortage: { code: "BUDGET_FROZEN" } });
    world.authority.ledger.unfreezeBudget(name);
    await world.advance(40_000);
    expect(spend(budget, 1)).toBe(true);
  });
});

describe("a lease that is on its way", () => {
  /** A budget whose lease is over, and that asks for another with the next call. */
  async function withoutLease(): Promise<LeasedBudget> {
    world = new LeaseWorld(100);
    const name = { scope: "tenant:acme", unit: "TOKENS" } as const;
    world.authority.ledger.freezeBudget(name);
    const budget = await open({ slice: { first: 100 } });
    expect(budget.available).toBe(0);
    // Nobody wants anything of it for so long that it has stopped asking.
    await world.advance(2 * HOLDER_LIMITS.seekMs);
    world.authority.ledger.unfreezeBudget(name);
    return budget;
  }

  test("comes while the budget is being closed, and goes back", async () => {
    const budget = await withoutLease();
    world.faults = [{ kind: "none", delayMs: 3_000 }];
    expect(budget.tryReserveTokens(10)).toBeNull();
    await world.advance(3_500);
    expect(world.figures().reserved).toBe(100);
    const closing = budget.close();
    await world.advance(10_000);
    await closing;
    expect(budget.available).toBe(0);
    expect(world.figures()).toMatchObject({ spent: 0, reserved: 0, remaining: 100 });
    expect(world.timers).toBe(0);
  });

  test("was opened, and nobody here heard of it: close asks again and gives it back, or rejects", async () => {
    const budget = await withoutLease();
    world.faults = [{ kind: "lost-answer", delayMs: 0 }];
    expect(budget.tryReserveTokens(10)).toBeNull();
    await world.advance(10);
    expect(world.figures().reserved).toBe(100);
    world.isCutOff = true;
    await expect(budget.close()).rejects.toMatchObject({ code: "AUTHORITY_UNAVAILABLE" });
    world.isCutOff = false;
    await budget.close();
    expect(world.figures()).toMatchObject({ spent: 0, reserved: 0, remaining: 100 });
    expect(world.timers).toBe(0);
  });

  test.each(["none", "lost-request"] as const)("comes to a hidden page, and goes back: %s", async (kind) => {
    const budget = await withoutLease();
    world.faults = [
      { kind: "none", delayMs: 3_000 },
      { kind, delayMs: 0 },
    ];
    expect(budget.tryReserveTokens(10)).toBeNull();
    await world.advance(3_500);
    for (const page of world.pages) page.hide();
    await world.advance(20_000);
    expect(budget.tryReserveTokens(10)).toBeNull();
    expect(world.figures()).toMatchObject({ spent: 0, reserved: 0, remaining: 100 });
    for (const page of world.pages) page.show();
    await world.advance(10_000);
    expect(spend(budget, 10)).toBe(true);
  });
});

describe("others", () => {
  test("the page goes away: all that is idle goes back at once, and it goes on when the page comes back", async () => {
    const budget = await open({ slice: { first: 1_000 } });
    spend(budget, 70);
    const reservation = budget.tryReserveTokens(30);
    const keepalive: unknown[] = [];
    const { authority } = world;
    const returnLease = authority.returnLease.bind(authority);
    authority.returnLease = (lease, report, options) => {
      keepalive.push(options?.keepalive);
      return returnLease(lease, report, options);
    };
    for (const page of world.pages) page.hide();
    expect(spend(budget, 1)).toBe(false);
    await settled();
    expect(keepalive).toEqual([true]);
    expect(world.figures()).toMatchObject({ spent: 70, reserved: 30 });
    if (reservation !== null) budget.recordUsage(reservation, 20, 0);
    for (const page of world.pages) page.show();
    await world.advance(10);
    expect(spend(budget, 1)).toBe(true);
    await budget.close();
    expect(world.figures()).toMatchObject({ spent: 91, reserved: 0 });
  });

  test("a holder that comes late gets its share of what the first has idle", async () => {
    world = new LeaseWorld(1_000);
    const first = await open({ slice: { first: 1_000, least: 1_000 } });
    const second = await open({ slice: { first: 1_000 } });
    expect(second.available).toBe(0);
    expect(second.explainDenial(1).reason).toBe("authority-exhausted");
    const waiting = second.reserve(200, { maxWaitMs: 200_000 });
    await world.advance(200_000);
    expect(await waiting).toMatchObject({ ok: true });
    expect(first.available + second.available + 200).toBeLessThanOrEqual(1_000);
    expect(spend(first, 200)).toBe(true);
  });

  test("eight that want all there is have an even share each, within one renewal and one retry", async () => {
    const share = 1_000;
    world = new LeaseWorld(8 * share);
    const holders: LeasedBudget[] = [];
    for (let n = 0; n < 8; n++) holders.push(await open({ slice: { first: 8 * share, least: 8 * share } }));
    expect(holders.map(({ available }) => available)).toEqual([8 * share, 0, 0, 0, 0, 0, 0, 0]);
    // Who has nothing is refused again and again; who has all is idle, and hears of it when he renews.
    const renewalMs = HOLDER_LIMITS.ttlMs * HOLDER_LIMITS.renewShare;
    for (let ms = 0; ms < renewalMs + HOLDER_LIMITS.retryMsMax; ms += 100) {
      for (const holder of holders) if (holder.available === 0) expect(spend(holder, 10)).toBe(false);
      await world.advance(100);
    }
    expect(holders.map(({ available }) => available)).toEqual(holders.map(() => share));
    // And it stays so.
    await world.advance(2 * HOLDER_LIMITS.ttlMs);
    for (const { available } of holders) expect(available).toBe(share);
  });

  test("where the caller does the upkeep there is no timer, and upkeep does what is due", async () => {
    const budget = await open({ upkeep: "caller" });
    expect(world.timers).toBe(0);
    expect(spend(budget, 90)).toBe(true);
    expect(spend(budget, 90)).toBe(false);
    expect(budget.authorityCalls).toBe(1);
    await budget.upkeep();
    expect(budget.authorityCalls).toBe(2);
    expect(spend(budget, 90)).toBe(true);
    world.sleep(31_000);
    await budget.upkeep();
    const calls = budget.authorityCalls;
    await budget.upkeep();
    expect(budget.authorityCalls).toBe(calls);
    world.sleep(70_000);
    world.isCutOff = true;
    await budget.upkeep();
    expect(spend(budget, 1)).toBe(false);
    expect(world.timers).toBe(0);
  });

  test("a call whose request died with a Worker's is made again", async () => {
    const budget = await open({ upkeep: "caller" });
    spend(budget, 100);
    world.faults = [{ kind: "none", delayMs: 10_000_000 }];
    void budget.upkeep();
    await settled();
    world.sleep(31_000);
    await budget.upkeep();
    expect(spend(budget, 50)).toBe(true);
  });
});

describe.each([{ shared: false }, { shared: true }])(
  "in a kernel, shared: $shared where possible",
  ({ shared }) => {
    const kernelOf = () => (shared ? createKernel() : createKernel({ shared: false }));

    test("others who have the name spend from it, and the holder hears that they are short", async () => {
      const kernel = kernelOf();
      const attached = LeasedBudget.attach(kernel, "agents");
      expect(attached.tryReserveTokens(10)).toBeNull();
      expect(attached.explainDenial(10)).toMatchObject({ reason: "closed" });
      const budget = await open({ kernel, name: "agents" });
      const plain = new AtomicTokenBudget(0, { kernel, name: "agents" });
      expect(plain.available).toBe(100);
      expect(plain.tryReserveTokens(90)).not.toBeNull();
      expect(attached.tryReserveTokens(90)).toBeNull();
      await heard(() => budget.available >= 90);
      expect(attached.tryReserveTokens(90)).not.toBeNull();
      expect(attached.tryReserve(1)).toBe(true);
      expect(attached.explainDenial(1_000_000).reason).toMatch(/slice-short|authority-exhausted/);
    });

    test("the holder hears of a refusal within others' allOf", async () => {
      const kernel = kernelOf();
      const budget = await open({ kernel, name: "agents" });
      const both = allOf(
        new AtomicTokenBudget(0, { kernel, name: "agents" }),
        new AtomicBudget(1_000, { kernel }),
      );
      await world.advance(10); // what its opening left to be looked at
      const calls = budget.authorityCalls;
      expect(both.tryReserve([150, 1])).toBeNull();
      await heard(() => budget.authorityCalls > calls && budget.available >= 150);
      expect(both.tryReserve([150, 1])).not.toBeNull();
    });

    test("the holder tops up what others burn before any of them is refused", async () => {
      const kernel = kernelOf();
      const budget = await open({ kernel, name: "agents" });
      const attached = LeasedBudget.attach(kernel, "agents");
      await world.advance(10); // what its opening left to be looked at
      for (let take = 0; take < 9; take++) expect(attached.tryReserveTokens(10)).not.toBeNull();
      expect(attached.available).toBe(10);
      await heard(() => budget.available > 10);
    });

    test("one supplies a name; after it was closed, another may", async () => {
      const kernel = kernelOf();
      const budget = await open({ kernel, name: "agents" });
      const attached = LeasedBudget.attach(kernel, "agents");
      await expect(open({ kernel, name: "agents" })).rejects.toMatchObject({ code: "BUDGET_MISMATCH" });
      spend(budget, 40);
      await budget.close();
      expect(attached.tryReserveTokens(1)).toBeNull();
      expect(attached.explainDenial(1).reason).toBe("closed");
      const next = await open({ kernel, name: "agents" });
      expect(next.tokensConsumed()).toBe(0);
      expect(attached.tryReserveTokens(100)).not.toBeNull();
      await next.close();
      expect(world.figures()).toMatchObject({ spent: 40, reserved: 100 });
    });

    test.each([
      ["has something back", 30],
      ["owes something", 130],
    ])("a closed name is not opened again while a call is under way, or the last one %s", async (_, used) => {
      const kernel = kernelOf();
      const budget = await open({ kernel, name: "agents" });
      const reservation = budget.tryReserveTokens(80);
      await budget.close();
      const again = () => open({ kernel, name: "agents" });
      await expect(again()).rejects.toMatchObject({ code: "BUDGET_MISMATCH" });
      if (reservation !== null) budget.recordUsage(reservation, used, 0);
      // Which the old one is about to report, and nobody else is to.
      await expect(again()).rejects.toMatchObject({ code: "BUDGET_MISMATCH" });
      await world.advance(1_000);
      await (await again()).close();
      expect(world.figures()).toMatchObject({ spent: used, reserved: 0, debt: 0 });
    });

    test("one that died is followed by another once it was reclaimed, which spends nothing of what it left", async () => {
      const kernel = kernelOf();
      const owner = kernel.issueOwner();
      // Another thread's view of the kernel, which stops all of a sudden.
      const dead = await LeasedBudget.open(world.lossy(), {
        ...world.options(),
        kernel: attachKernel(kernel.memory, { owner }),
        name: "agents",
      });
      const attached = LeasedBudget.attach(kernel, "agents");
      spend(dead, 40);
      const underWay = dead.tryReserveTokens(10);
      expect(underWay).not.toBeNull();
      await expect(open({ kernel, name: "agents" })).rejects.toMatchObject({ code: "BUDGET_MISMATCH" });
      kernel.reclaim(owner);
      expect(attached.explainDenial(100).reason).toBe("closed");
      const next = await open({ kernel, name: "agents", holder: "next" });
      expect(next.available).toBe(100);
      expect(attached.tryReserveTokens(100)).not.toBeNull();
      expect(next.tokensConsumed()).toBe(0);
    });

    test.each([75, 560])(
      "what calls used beyond a dead one's lease (%i of 60) is paid for and reported by the one that follows",
      async (used) => {
        const kernel = kernelOf();
        const owner = kernel.issueOwner();
        const dead = await LeasedBudget.open(world.lossy(), {
          ...world.options(),
          kernel: attachKernel(kernel.memory, { owner }),
          name: "agents",
          upkeep: "caller",
        });
        spend(dead, 40);
        const reservation = dead.tryReserveTokens(60);
        if (reservation !== null) dead.recordUsage(reservation, used, 0);
        expect(dead.debt).toBe(used - 60);
        kernel.reclaim(owner);
        const next = await open({ kernel, name: "agents" });
        const waiting = next.reserve(20);
        await world.advance(1_000);
        const held = await waiting;
        if (held.ok) next.recordUsage(held.reservation, 20, 0);
        expect(next.debt).toBe(0);
        expect(next.tokensConsumed()).toBe(20);
        await next.close();
        expect(world.figures()).toMatchObject({ spent: used - 60 + 20, reserved: 100, debt: 0 });
        await world.advance(100_000);
        expect(world.figures()).toMatchObject({ spent: used - 60 + 20 + 100, reserved: 0, debt: 0 });
      },
    );

    /** What the kernel's threads are told takes turns of the event loop that nobody can count. */
    async function heard(isTrue: () => boolean): Promise<void> {
      for (let turn = 0; turn < 10_000 && !isTrue(); turn++) {
        await world.advance(1);
        await new Promise((resolve) => setTimeout(resolve, 0));
      }
      expect(isTrue()).toBe(true);
    }
  },
);

describe("opening", () => {
  test("who cannot be reached is an error, and the same key opens the same lease later", async () => {
    world.faults = [{ kind: "lost-answer", delayMs: 0 }];
    const options = { idempotencyKey: "first" };
    await expect(open(options)).rejects.toMatchObject({ code: "AUTHORITY_UNAVAILABLE" });
    expect(world.figures().reserved).toBe(100);
    const budget = await open(options);
    expect(budget.available).toBe(100);
    expect(world.figures().reserved).toBe(100);
  });

  test.each([
    [{ unit: "POTATOES" }, /^unit must be one of TOKENS/],
    [{ slice: { first: 0 } }, /^slice\.first must be an integer from 1/],
    [{ slice: { first: 10, most: 9 } }, /^slice\.most must be an integer from 10/],
    [{ slice: { first: 10, least: 11 } }, /^slice\.least must be an integer from 1 to 10/],
    [{ ttlMs: 999 }, /^ttlMs must be an integer from 1000 to 600000, got 999/],
    [{ reportEveryMs: 0 }, /^reportEveryMs must be/],
    [{ offlineAllowance: -1 }, /^offlineAllowance must be/],
    [{ holder: "" }, /^holder must have 1 to 128/],
    [{ upkeep: "never" }, /^upkeep must be "timer" or "caller"/],
  ] as const)("refuses %o", async (options, message) => {
    await expect(open(options as Parameters<typeof open>[0])).rejects.toMatchObject({
      code: "ARGUMENT_INVALID",
      message: expect.stringMatching(message),
    });
    expect(world.calls).toBe(0);
  });
});
