// The thread tests themselves, over any way to start threads. Run with worker_threads and with Web Workers.

import {
  AtomicBudget,
  AtomicTokenBudget,
  allOf,
  attachKernel,
  ConcurrencyGovernor,
  createKernel,
  type Kernel,
  RateBudget,
  TenantTokenTracker,
} from "purser";
import { describe, expect, test } from "vitest";
import {
  AMPLE,
  CREDIT,
  CREDIT_COST_MAX,
  type HammerJob,
  type HammerResult,
  PERMITS,
  RATE,
  RATE_STRETCH_MS,
  ROWS,
  TENANT_CAP,
  TOKENS,
  TWINS,
} from "./hammer.ts";

export interface RunningThread {
  readonly result: Promise<HammerResult>;
  /** Ends the thread wherever it is. Resolves when it is gone. */
  terminate(): Promise<void>;
}

export type StartThread = (job: HammerJob) => RunningThread;

const SEED = Math.floor(Math.random() * 2 ** 31);

function prepare(kernel: Kernel | undefined, memory: WebAssembly.Memory, threads: number) {
  const barrier = new Int32Array(new SharedArrayBuffer(16));
  return (
    index: number,
    job: Pick<HammerJob, "scenario" | "iterations"> & Partial<HammerJob>,
  ): HammerJob => ({
    memory,
    owner: kernel?.issueOwner() ?? 0,
    seed: SEED + index,
    barrier,
    threads,
    ...job,
  });
}

function sum(results: readonly HammerResult[], figure: string): number {
  return results.reduce((total, result) => total + (result[figure] ?? Number.NaN), 0);
}

function together(kernel: Kernel) {
  const [left, right] = TWINS.names.map((name) => new AtomicBudget(TWINS.capacity, { kernel, name }));
  return {
    twins: [left, right] as [AtomicBudget, AtomicBudget],
    tokens: new AtomicTokenBudget(TOKENS.capacity, { kernel, name: TOKENS.name }),
    ample: new AtomicBudget(AMPLE.capacity, { kernel, name: AMPLE.name }),
    governor: new ConcurrencyGovernor(PERMITS, { kernel, name: "hammered permits" }),
  };
}

const openCredit = (kernel: Kernel): AtomicBudget => {
  const { capacity, ...options } = CREDIT;
  return new AtomicBudget(capacity, { kernel, ...options });
};

/** So much is out, and the rest is to be had to the unit; everything that is out can be given back, and no more. */
function expectExact(budget: AtomicBudget, out: number): void {
  expect(budget.overReleased).toBe(0);
  expect(budget.available).toBe(CREDIT.capacity - out);
  expect(budget.tryReserve(CREDIT.capacity - out)).toBe(true);
  expect(budget.tryReserve(1)).toBe(false);
  budget.release(CREDIT.capacity);
  expect(budget.overReleased).toBe(0);
  expect(budget.available).toBe(CREDIT.capacity);
}

/** @param threads how many to start; @param scale how much each does, 1 for the full load */
export function threadTests(
  start: StartThread,
  { threads, scale }: { threads: number; scale: number },
): void {
  const iterations = (full: number): number => Math.ceil(full * scale);

  async function run(kernel: Kernel, job: Pick<HammerJob, "scenario" | "iterations"> & Partial<HammerJob>) {
    const prepared = prepare(kernel, kernel.memory, threads);
    const jobs = Array.from({ length: threads }, (_, index) => prepared(index, job));
    const results = await Promise.all(jobs.map((one) => start(one).result));
    return { results, owners: jobs.map((one) => one.owner) };
  }

  describe(`${threads} threads on one kernel (seed ${SEED})`, () => {
    test("tokens are conserved to the unit, and nothing is granted twice", async () => {
      const kernel = createKernel({ shared: true });
      const budget = new AtomicTokenBudget(TOKENS.capacity, { kernel, name: TOKENS.name });
      const { results, owners } = await run(kernel, { scenario: "spend", iterations: iterations(60_000) });
      expect(budget.tokensConsumed()).toBe(sum(results, "consumed"));
      expect(budget.held).toBe(sum(results, "openEstimates"));
      expect(budget.available - budget.debt).toBe(
        TOKENS.capacity - sum(results, "consumed") - sum(results, "openEstimates"),
      );
      for (const owner of owners) kernel.reclaim(owner);
      expect(budget.openReservations).toBe(0);
      expect(budget.available - budget.debt).toBe(TOKENS.capacity - sum(results, "consumed"));
    });

    test("refills in between hand out no epoch twice", async () => {
      const kernel = createKernel({ shared: true });
      const budget = new AtomicTokenBudget(TOKENS.capacity, { kernel, name: TOKENS.name });
      const { results, owners } = await run(kernel, {
        scenario: "spendWithRefills",
        iterations: iterations(30_000),
      });
      expect(budget.tokensConsumed()).toBe(sum(results, "consumed"));
      expect(budget.available - budget.debt + budget.held).toBeLessThanOrEqual(TOKENS.capacity);
      for (const owner of owners) kernel.reclaim(owner);
      expect(budget.held).toBe(0);
      const spentInEpoch = TOKENS.capacity - (budget.available - budget.debt);
      expect(spentInEpoch).toBeGreaterThanOrEqual(0);
      expect(spentInEpoch).toBeLessThanOrEqual(sum(results, "consumed"));
    });

    test("a reservation is settled by exactly one thread", async () => {
      const kernel = createKernel({ shared: true });
      const budget = new AtomicTokenBudget(TOKENS.capacity, { kernel, name: TOKENS.name });
      const count = 2_000;
      const tickets = Array.from({ length: count }, () => {
        const reservation = budget.tryReserveTokens(2);
        if (reservation === null) throw new Error("expected a reservation");
        return budget.toTicket(reservation);
      });
      const { results } = await run(kernel, { scenario: "settleAll", iterations: 1, tickets });
      expect(sum(results, "settled")).toBe(count);
      expect(sum(results, "tooLate")).toBe(count * (threads - 1));
      expect(budget.openReservations).toBe(0);
      expect(budget.tokensConsumed()).toBe(sum(results, "consumed"));
      expect(budget.available).toBe(TOKENS.capacity - sum(results, "consumed"));
    });

    test("a reservation that all settle at the same moment is settled once", async () => {
      const kernel = createKernel({ shared: true });
      const budget = new AtomicTokenBudget(TOKENS.capacity, { kernel, name: TOKENS.name });
      const count = iterations(4_000);
      const tickets = Array.from({ length: count }, () => {
        const reservation = budget.tryReserveTokens(1);
        if (reservation === null) throw new Error("expected a reservation");
        return budget.toTicket(reservation);
      });
      // Two, because they spin: more than there are processors would wait for each other's turns.
      const prepared = prepare(kernel, kernel.memory, 2);
      const jobs = [0, 1].map((index) =>
        prepared(index, { scenario: "settleTogether", iterations: 1, tickets }),
      );
      const results = await Promise.all(jobs.map((job) => start(job).result));
      expect(sum(results, "settled")).toBe(count);
      expect(budget.tokensConsumed()).toBe(count);
      expect(budget.available).toBe(TOKENS.capacity - count);
    });

    test("grants, refills and releases at once never make more available than there is", async () => {
      const kernel = createKernel({ shared: true });
      const budget = new AtomicBudget(ROWS.capacity, { kernel, name: ROWS.name });
      const { results } = await run(kernel, { scenario: "grantAndGive", iterations: iterations(60_000) });
      expect(sum(results, "strange")).toBe(0);
      expect(budget.capacity).toBe(ROWS.capacity + sum(results, "granted"));
      expect(budget.highWater).toBeLessThanOrEqual(budget.capacity);
      budget.refill();
      expect(budget.available).toBe(budget.capacity);
    });

    test("late takes on a removed budget never touch the one that got its slot", async () => {
      const kernel = createKernel({ shared: true, budgets: 1, holds: 1 });
      const prepared = prepare(kernel, kernel.memory, threads);
      const jobs = Array.from({ length: threads }, (_, index) =>
        prepared(index, { scenario: "useRemoved", iterations: 0 }),
      );
      const running = jobs.map((job) => start(job));
      const barrier = jobs[0]?.barrier as Int32Array;
      while (Atomics.load(barrier, 0) < threads) await new Promise((resolve) => setTimeout(resolve));
      let touched = 0;
      for (let round = 0; round < iterations(8_000); round++) {
        try {
          new AtomicBudget(1_000, { kernel, name: "removed again and again" }).remove();
          const successor = new AtomicBudget(777, { kernel, name: "nobody else opens this one" });
          for (let look = 0; look < 20; look++)
            if (successor.available !== 777 || successor.capacity !== 777) touched++;
          successor.remove();
        } catch (error) {
          const code = (error as { code?: string }).code ?? "";
          if (!["BUDGET_REMOVED", "KERNEL_FULL"].includes(code)) throw error;
        }
      }
      Atomics.store(barrier, 1, 1);
      const results = await Promise.all(running.map((thread) => thread.result));
      expect(sum(results, "taken")).toBeGreaterThan(0);
      expect(touched).toBe(0);
    });

    test("a take that fits is never refused because a larger one fails at the same moment", async () => {
      const kernel = createKernel({ shared: true });
      const budget = new AtomicBudget(ROWS.capacity, { kernel, name: ROWS.name });
      const prepared = prepare(kernel, kernel.memory, threads);
      const costs = Array.from({ length: threads }, (_, index) => [60, 1_000, 40][index] ?? 1_000);
      const jobs = costs.map((seed, index) =>
        prepared(index, { scenario: "fitOrFail", iterations: iterations(200_000), seed }),
      );
      const results = await Promise.all(jobs.map((job) => start(job).result));
      for (const [index, cost] of costs.entries()) {
        expect(results[index]?.refused).toBe(cost < ROWS.capacity ? 0 : iterations(200_000));
      }
      expect(budget.available).toBe(ROWS.capacity);
      expect(budget.overReleased).toBe(0);
    });

    test.each(["takeWhatFits", "fitItsShare"] as const)(
      "what fits (%s): never more than there is, never less",
      async (scenario) => {
        const kernel = createKernel({ shared: true });
        const rows = new AtomicBudget(ROWS.capacity, { kernel, name: ROWS.name });
        const tokens = new AtomicTokenBudget(TOKENS.capacity, { kernel, name: TOKENS.name });
        const credit = openCredit(kernel);
        const { results } = await run(kernel, { scenario, iterations: iterations(20_000) });
        if (scenario === "fitItsShare") expect(sum(results, "refused")).toBe(0);
        else {
          expect(sum(results, "strange")).toBe(0);
          expect(sum(results, "granted")).toBeGreaterThan(iterations(20_000));
        }
        expect([rows.available, rows.overReleased]).toEqual([ROWS.capacity, 0]);
        expect([tokens.available, tokens.openReservations]).toEqual([TOKENS.capacity, 0]);
        expect(tokens.highWater).toBeLessThanOrEqual(TOKENS.capacity);
        expect(rows.highWater).toBeLessThanOrEqual(ROWS.capacity);
        expectExact(credit, 0);
      },
    );

    test("with credit: units are conserved, also those that one thread takes and another gives back", async () => {
      const kernel = createKernel({ shared: true });
      const budget = openCredit(kernel);
      const shared = prepare(kernel, kernel.memory, threads);
      const jobs = Array.from({ length: threads }, (_, index) =>
        shared(index, { scenario: "spendCredit", iterations: iterations(60_000) }),
      );
      const results = await Promise.all(jobs.map((job) => start(job).result));
      expect(sum(results, "strange")).toBe(0);
      const passedOn = Atomics.load(jobs[0]?.barrier as Int32Array, 1);
      expectExact(budget, sum(results, "mine") + passedOn);
    });

    test("with credit: takes that fit together are never refused, whatever is lent and whoever asks for more", async () => {
      const kernel = createKernel({ shared: true });
      const budget = openCredit(kernel);
      const shared = prepare(kernel, kernel.memory, threads + 1);
      const mosts = Array.from({ length: threads }, (_, index) =>
        Math.floor((CREDIT.capacity * (index + 1)) / threads),
      );
      const jobs = mosts.map((most, index) =>
        shared(index, {
          scenario: "fitWithCredit",
          iterations: iterations(1_500),
          seed: most - (mosts[index - 1] ?? 0),
        }),
      );
      const running = Promise.all(jobs.map((job) => start(job).result));
      Atomics.add(jobs[0]?.barrier as Int32Array, 0, 1);
      Atomics.notify(jobs[0]?.barrier as Int32Array, 0);
      let done = false;
      running.finally(() => {
        done = true;
      });
      // This thread has no cell; it asks for everything, which is only there if nobody has anything.
      while (!done) {
        if (budget.tryReserve(CREDIT.capacity + 1)) throw new Error("granted more than there is");
        await new Promise((resolve) => setTimeout(resolve));
      }
      expect(sum(await running, "refused")).toBe(0);
      expectExact(budget, 0);
    });

    test("everybody who opens a name gets the same budget, created once", async () => {
      const names = iterations(600);
      const kernel = createKernel({ shared: true, budgets: names, holds: 1 });
      const { results } = await run(kernel, { scenario: "openSameNames", iterations: names });
      expect(sum(results, "taken")).toBe(names * threads);
      for (let index = 0; index < names; index++) {
        const budget = new AtomicBudget(threads, { kernel, name: `budget ${index}` });
        expect(budget.available).toBe(0);
      }
    });

    test("a removed budget's handle never shows another budget's figures", async () => {
      const kernel = createKernel({ shared: true, budgets: 8, holds: 64 });
      const { results } = await run(kernel, { scenario: "openAndRemove", iterations: iterations(8_000) });
      expect(sum(results, "removed")).toBeGreaterThan(0);
      expect(sum(results, "strange")).toBe(0);
      for (let number = 0; number < 6; number++) {
        const budget = new AtomicTokenBudget(1_000 + number, { kernel, name: `short-lived ${number}` });
        expect(budget.openReservations).toBe(0);
        expect(budget.available - budget.debt).toBe(budget.capacity - budget.tokensConsumed());
      }
    });

    test("tenants: never beyond the cap, and nothing in flight once everybody has released", async () => {
      const kernel = createKernel({ shared: true, budgets: 8, holds: 128 });
      const tracker = new TenantTokenTracker(TENANT_CAP, { kernel, name: "hammered tenants" });
      for (const number of [0, 1, 2]) tracker.reserve({ tenantId: `tenant ${number}` }, 1).release();
      const { results } = await run(kernel, { scenario: "trackTenants", iterations: iterations(20_000) });
      expect(sum(results, "overCap")).toBe(0);
      for (const state of tracker.snapshot().values()) expect(state.inFlight).toBe(0);
      tracker.forgetIdle();
      expect(tracker.snapshot().size).toBe(0);
    });

    test("permits: never more operations at once than the limits, nobody is forgotten in the line", async () => {
      const kernel = createKernel({ shared: true });
      const governor = new ConcurrencyGovernor(PERMITS, { kernel, name: "hammered permits" });
      const { results } = await run(kernel, { scenario: "govern", iterations: iterations(400) });
      expect(sum(results, "beyond")).toBe(0);
      expect(sum(results, "served")).toBeGreaterThan(0);
      expect(governor.stats()).toMatchObject({ streamsAvailable: 2, toolsAvailable: 3, globalAvailable: 4 });
      expect(governor.stats()).toMatchObject({ streamsWaiting: 0, toolsWaiting: 0 });
    });

    test("what is taken together comes out of all budgets or none, and refuses nobody who takes alone", async () => {
      const kernel = createKernel({ shared: true });
      const world = together(kernel);
      const { results } = await run(kernel, { scenario: "takeTogether", iterations: iterations(20_000) });
      expect(sum(results, "refused")).toBe(0);
      expect(sum(results, "taken")).toBeGreaterThan(0);
      const outs = world.twins.map((twin) => TWINS.capacity - twin.available);
      expect(outs).toEqual([sum(results, "taken"), sum(results, "taken")]);
      expect(world.ample.available).toBe(AMPLE.capacity);
      expect(world.tokens.available).toBe(TOKENS.capacity - sum(results, "consumed"));
      expect(world.tokens.openReservations).toBe(0);
      expect(world.governor.stats()).toMatchObject({ globalAvailable: PERMITS.total, toolsAvailable: 3 });
    });

    test("a rate grants to all threads together what it would grant to one", async () => {
      const kernel = createKernel({ shared: true });
      const { results } = await run(kernel, { scenario: "useRate", iterations: iterations(60_000) });
      const granted = sum(results, "granted");
      const most = RATE.burst + (RATE.limit * RATE_STRETCH_MS) / RATE.windowMs;
      expect(granted).toBeLessThanOrEqual(most);
      // Whoever comes last finds the rate used up to the end of the stretch; only what nobody asked for in time is lost.
      expect(granted).toBeGreaterThan(most / 2);
      const rate = new RateBudget(RATE, { now: () => RATE_STRETCH_MS, kernel, name: "hammered rate" });
      expect(rate.tryReserve(1)).toBe(false);
    });

    test("a memory is initialised exactly once", async () => {
      for (let round = 0; round < Math.max(2, Math.ceil(5 * scale)); round++) {
        const memory = new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true });
        const prepared = prepare(undefined, memory, threads);
        const jobs = Array.from({ length: threads }, (_, index) =>
          prepared(index, {
            scenario: "initialise",
            iterations: 1,
            capacities: { budgets: 10 + (index % 2), holds: 20 },
          }),
        );
        const results = await Promise.all(jobs.map((job) => start(job).result));
        const kernel = attachKernel(memory);
        const agreed = results.filter((result) => result.refused === 0);
        expect(agreed.length).toBe(
          Math.ceil(threads / 2) * Number(kernel.budgets === 10) +
            Math.floor(threads / 2) * Number(kernel.budgets === 11),
        );
        expect(new Set(agreed.map((result) => result.owner)).size).toBe(agreed.length);
        for (const result of agreed) expect(result.budgets).toBe(kernel.budgets);
      }
    });

    // At the same time, each on a kernel of its own: a page's engine lets a thread run for two more seconds before it ends it
    // by force, and the tests spend theirs together.
    describe("that are terminated", { concurrent: true }, () => {
      test("a thread that is terminated mid-run is reclaimed to the unit", async () => {
        const kernel = createKernel({ shared: true });
        const budget = new AtomicTokenBudget(TOKENS.capacity, { kernel, name: TOKENS.name });
        for (let round = 0; round < Math.max(2, Math.ceil(6 * scale)); round++) {
          const prepared = prepare(kernel, kernel.memory, threads + 1);
          const jobs = Array.from({ length: threads }, (_, index) =>
            prepared(round * threads + index, { scenario: "spendUntilTerminated", iterations: 0 }),
          );
          const running = jobs.map((job) => start(job));
          // The main thread is the last at the barrier; the others are in the middle of their work when they end.
          const barrier = jobs[0]?.barrier as Int32Array;
          while (Atomics.load(barrier, 0) < threads) await new Promise((resolve) => setTimeout(resolve));
          Atomics.add(barrier, 0, 1);
          Atomics.notify(barrier, 0);
          const consumedBefore = budget.tokensConsumed();
          while (budget.tokensConsumed() < consumedBefore + 1_000 && budget.debt === 0) {
            await new Promise((resolve) => setTimeout(resolve));
          }
          await Promise.all(running.map((thread) => thread.terminate()));
          for (const job of jobs) kernel.reclaim(job.owner);
          expect(budget.openReservations).toBe(0);
          expect(budget.held).toBe(0);
          expect(budget.available - budget.debt).toBe(budget.capacity - budget.tokensConsumed());
          budget.grant(budget.tokensConsumed() - consumedBefore);
        }
      });

      test("with credit: terminated threads leave nothing lent, and what they had taken stays out", async () => {
        const kernel = createKernel({ shared: true });
        const budget = openCredit(kernel);
        let out = 0;
        for (let round = 0; round < Math.max(2, Math.ceil(5 * scale)); round++) {
          const shared = prepare(kernel, kernel.memory, threads + 1);
          const jobs = Array.from({ length: threads }, (_, index) =>
            shared(round * threads + index, { scenario: "spendCreditUntilTerminated", iterations: 0 }),
          );
          const running = jobs.map((job) => start(job));
          const barrier = jobs[0]?.barrier as Int32Array;
          while (Atomics.load(barrier, 0) < threads) await new Promise((resolve) => setTimeout(resolve));
          Atomics.add(barrier, 0, 1);
          Atomics.notify(barrier, 0);
          while (budget.denied < (round + 1) * 300) await new Promise((resolve) => setTimeout(resolve));
          await Promise.all(running.map((thread) => thread.terminate()));
          for (const job of jobs) kernel.reclaim(job.owner);
          // Each thread ended in at most one operation that its count does not show.
          const counted = Atomics.load(barrier, 1);
          out = CREDIT.capacity - budget.available;
          expect(out).toBeGreaterThanOrEqual(counted);
          expect(out).toBeLessThanOrEqual(counted + threads * CREDIT_COST_MAX);
          expectExact(budget, out);
          budget.refill();
        }
      });

      test("a terminated thread's permits come back, and its place in the line is free", async () => {
        const kernel = createKernel({ shared: true });
        const governor = new ConcurrencyGovernor(PERMITS, { kernel, name: "hammered permits" });
        const prepared = prepare(kernel, kernel.memory, 1);
        const job = prepared(0, { scenario: "holdPermits", iterations: 0 });
        const thread = start(job);
        while (Atomics.load(job.barrier, 0) === 0) await new Promise((resolve) => setTimeout(resolve));
        expect(governor.tryAcquireTool()).toBeNull();
        const waiting = governor.acquireTool(); // behind the thread's own wait
        await thread.terminate();
        expect(kernel.reclaim(job.owner)).toBe(PERMITS.tools);
        (await waiting).release();
        expect(governor.stats()).toMatchObject({ toolsAvailable: 3, toolsWaiting: 0, globalAvailable: 4 });
      });

      test("a thread that is terminated while it takes from several holds nobody up and keeps nothing half taken", async () => {
        const kernel = createKernel({ shared: true });
        const { twins, tokens, ample, governor } = together(kernel);
        for (let round = 0; round < Math.max(2, Math.ceil(6 * scale)); round++) {
          const prepared = prepare(kernel, kernel.memory, threads);
          const jobs = Array.from({ length: threads }, (_, index) =>
            prepared(round * threads + index, { scenario: "takeTogetherUntilTerminated", iterations: 0 }),
          );
          const running = jobs.map((job) => start(job));
          const [left, right] = twins;
          const before = left.available;
          const consumedBefore = tokens.tokensConsumed();
          while (left.available > before - 1_000) await new Promise((resolve) => setTimeout(resolve));
          await Promise.all(running.map((thread) => thread.terminate()));
          // Nobody has reclaimed yet, and nothing stands in the way.
          expect(left.available).toBe(right.available);
          expect(allOf(left, right, ample).tryReserve([1, 1, 1])).not.toBeNull();
          for (const job of jobs) kernel.reclaim(job.owner);
          expect(tokens.openReservations).toBe(0);
          expect(tokens.available - tokens.debt).toBe(tokens.capacity - tokens.tokensConsumed());
          expect(governor.stats()).toMatchObject({ globalAvailable: PERMITS.total, toolsAvailable: 3 });
          tokens.grant(tokens.tokensConsumed() - consumedBefore); // so that the next ones do not find it used up
        }
      });
    });
  });
}
