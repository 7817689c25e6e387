// What one thread does to a shared kernel in the thread tests; the same in worker_threads and in Web Workers.
// Each scenario returns plain figures that the main thread adds up and compares with the kernel's own.

import {
  AtomicBudget,
  AtomicTokenBudget,
  allOf,
  attachKernel,
  ConcurrencyGovernor,
  createKernel,
  RateBudget,
  type ReservationTicket,
  type TenantReservation,
  TenantTokenTracker,
  type TokenReservation,
} from "purser";
import { seededRandom } from "../../scripts/lib/seeded-random.ts";

export interface HammerJob {
  readonly scenario: keyof typeof scenarios;
  readonly memory: WebAssembly.Memory;
  readonly owner: number;
  readonly seed: number;
  /** Threads count themselves in here and start together. */
  readonly barrier: Int32Array;
  readonly threads: number;
  readonly iterations: number;
  readonly tickets?: readonly ReservationTicket[];
  readonly capacities?: { readonly budgets: number; readonly holds: number };
}

export type HammerResult = Readonly<Record<string, number>>;

export const TOKENS = { name: "hammered tokens", capacity: 50_000 };
export const PERMITS = { streams: 2, tools: 3, total: 4 };
export const RATE = { limit: 700, windowMs: 1_000, burst: 50 };
export const RATE_STRETCH_MS = 10_000;
export const TENANT_CAP = 1_000;
/** Two budgets that are only ever taken together, and one that has room for everybody. */
export const TWINS = { names: ["left twin", "right twin"], capacity: 2 ** 40 } as const;
export const AMPLE = { name: "ample", capacity: 2 ** 40 };
export const CREDIT = { name: "hammered credit", capacity: 3_000, credit: 64 };
/** A cost in the usual case; every fiftieth take of `spendCredit` asks for anything up to the capacity. */
export const CREDIT_COST_MAX = 20;
export const ROWS = { name: "hammered rows", capacity: 100 };

/** Waits until every thread of the job is here. Threads may block; the main thread may not, and does not. */
function meet(job: HammerJob): void {
  if (Atomics.add(job.barrier, 0, 1) + 1 === job.threads) Atomics.notify(job.barrier, 0);
  for (let here = Atomics.load(job.barrier, 0); here < job.threads; here = Atomics.load(job.barrier, 0)) {
    Atomics.wait(job.barrier, 0, here);
  }
}

/** Reserves, settles below and above the estimate, cancels; leaves what is open at the end open. */
function spendTokens(
  job: HammerJob,
  { refills, forever }: { refills: boolean; forever: boolean },
): HammerResult {
  const kernel = attachKernel(job.memory, { owner: job.owner });
  const budget = new AtomicTokenBudget(TOKENS.capacity, { kernel, name: TOKENS.name });
  const random = seededRandom(job.seed);
  const open: TokenReservation[] = [];
  let consumed = 0;
  let granted = 0;
  meet(job);
  for (let i = 0; forever || i < job.iterations; i++) {
    const dice = random();
    if (dice < 0.5 && open.length < 40) {
      const reservation = budget.tryReserveTokens(Math.floor(random() * 900));
      if (reservation !== null) {
        granted++;
        open.push(reservation);
      }
    } else if (open.length > 0) {
      const [reservation] = open.splice(Math.floor(random() * open.length), 1);
      if (reservation === undefined) continue;
      if (dice < 0.6) {
        reservation.cancel();
      } else {
        const used = Math.floor(reservation.estimate * (dice < 0.95 ? 0.2 * random() : 1.1));
        budget.recordUsage(reservation, used, 1);
        consumed += used + 1;
      }
    }
    if (refills && dice > 0.99) budget.refill();
  }
  return {
    consumed,
    granted,
    openEstimates: open.reduce((sum, reservation) => sum + reservation.estimate, 0),
  };
}

/** Takes from several budgets at once, in sets that cross, and meanwhile from one alone that has room for everybody. */
function takeTogether(job: HammerJob, { forever }: { forever: boolean }): HammerResult {
  const kernel = attachKernel(job.memory, { owner: job.owner });
  const [left, right] = TWINS.names.map((name) => new AtomicBudget(TWINS.capacity, { kernel, name })) as [
    AtomicBudget,
    AtomicBudget,
  ];
  const tokens = new AtomicTokenBudget(TOKENS.capacity, { kernel, name: TOKENS.name });
  const ample = new AtomicBudget(AMPLE.capacity, { kernel, name: AMPLE.name });
  const governor = new ConcurrencyGovernor(PERMITS, { kernel, name: "hammered permits" });
  const calls = [allOf(right, governor.category("tools"), left, tokens), allOf(tokens, left, right)] as const;
  const never = allOf(ample, left, tokens);
  const random = seededRandom(job.seed);
  let refused = 0;
  let taken = 0;
  let consumed = 0;
  meet(job);
  for (let i = 0; forever || i < job.iterations; i++) {
    const cost = 1 + Math.floor(random() * 20);
    const first = random() < 0.5 ? calls[0].tryReserve([cost, 1, cost, 900]) : null;
    const second = calls[1].tryReserve([700, cost, cost]);
    if (never.tryReserve([1, 1, TOKENS.capacity + 1]) !== null) refused++;
    if (ample.tryReserve(1)) ample.release(1);
    else refused++;
    for (const reservation of [first?.parts[3], second?.parts[0]]) {
      if (reservation === undefined) continue;
      taken += cost;
      if (random() < 0.5) continue; // cancelled below
      tokens.recordUsage(reservation, 1, 0);
      consumed++;
    }
    first?.parts[1].release();
    first?.parts[3].cancel();
    second?.parts[0].cancel();
  }
  return { refused, taken, consumed };
}

function openCredit(job: HammerJob, kernel = attachKernel(job.memory, { owner: job.owner })): AtomicBudget {
  const { capacity, ...options } = CREDIT;
  return new AtomicBudget(capacity, { kernel, ...options });
}

export const scenarios = {
  takeTogether: (job: HammerJob) => takeTogether(job, { forever: false }),
  takeTogetherUntilTerminated: (job: HammerJob) => takeTogether(job, { forever: true }),

  spend: (job: HammerJob) => spendTokens(job, { refills: false, forever: false }),
  spendWithRefills: (job: HammerJob) => spendTokens(job, { refills: true, forever: false }),
  spendUntilTerminated: (job: HammerJob) => spendTokens(job, { refills: false, forever: true }),

  /** Settles each reservation at the same moment as everybody else, as near as threads can get. */
  settleTogether(job: HammerJob): HammerResult {
    const kernel = attachKernel(job.memory, { owner: job.owner });
    const budget = new AtomicTokenBudget(TOKENS.capacity, { kernel, name: TOKENS.name });
    const reservations = (job.tickets ?? []).map((ticket) => budget.adopt(ticket));
    let settled = 0;
    meet(job);
    for (const [round, reservation] of reservations.entries()) {
      // Everybody waits for everybody by spinning: a sleep would put milliseconds between them.
      Atomics.add(job.barrier, 1, 1);
      while (Atomics.load(job.barrier, 1) < (round + 1) * job.threads);
      try {
        budget.recordUsage(reservation, 1, 0);
        settled++;
      } catch (error) {
        if ((error as { code?: string }).code !== "RESERVATION_SETTLED") throw error;
      }
    }
    return { settled };
  },

  /** Takes, gives, refills and grants on a budget that the main thread keeps removing. */
  useRemoved(job: HammerJob): HammerResult {
    const kernel = attachKernel(job.memory, { owner: job.owner });
    let taken = 0;
    meet(job);
    while (Atomics.load(job.barrier, 1) === 0) {
      try {
        const rows = new AtomicBudget(1_000, { kernel, name: "removed again and again" });
        for (let i = 0; i < 50; i++) {
          if (rows.tryReserve(1)) taken++;
          rows.release(1);
          if (i % 10 === 0) rows.refill();
          if (i % 10 === 5) rows.grant(1);
        }
      } catch (error) {
        const code = (error as { code?: string }).code ?? "";
        if (!["BUDGET_REMOVED", "BUDGET_MISMATCH", "KERNEL_FULL"].includes(code)) throw error;
      }
    }
    return { taken };
  },

  /** Takes, gives, refills and grants at once; nobody may ever see more available than there is, or take more. */
  grantAndGive(job: HammerJob): HammerResult {
    const kernel = attachKernel(job.memory, { owner: job.owner });
    const budget = new AtomicBudget(ROWS.capacity, { kernel, name: ROWS.name });
    const random = seededRandom(job.seed);
    let granted = 0;
    let strange = 0;
    meet(job);
    for (let i = 0; i < job.iterations; i++) {
      const dice = random();
      if (dice < 0.1) {
        budget.grant(3);
        granted += 3;
      } else if (dice < 0.15) budget.refill();
      else if (dice < 0.5) budget.release(Math.floor(random() * 200));
      else budget.tryReserve(Math.floor(random() * 50));
      // Available first: the capacity only rises, so what is read later is no less.
      const { available } = budget;
      if (available > budget.capacity) strange++;
      const { utilization } = budget;
      if (utilization < 0 || utilization > 1) strange++;
    }
    return { granted, strange };
  },

  /** Takes and gives that always fit, while others fail: none of the fitting ones may be refused. */
  fitOrFail(job: HammerJob): HammerResult {
    const kernel = attachKernel(job.memory, { owner: job.owner });
    const budget = new AtomicBudget(ROWS.capacity, { kernel, name: ROWS.name });
    const cost = job.seed; // 60 and 40 fit together; 1,000 never does
    let refused = 0;
    meet(job);
    for (let i = 0; i < job.iterations; i++) {
      if (budget.tryReserve(cost)) budget.release(cost);
      else refused++;
    }
    return { refused };
  },

  /** Takes what fits of any range and gives it back, with others that do the same; counts grants outside the range. */
  takeWhatFits(job: HammerJob): HammerResult {
    const kernel = attachKernel(job.memory, { owner: job.owner });
    const budgets = [openCredit(job, kernel), new AtomicBudget(ROWS.capacity, { kernel, name: ROWS.name })];
    const tokens = new AtomicTokenBudget(TOKENS.capacity, { kernel, name: TOKENS.name });
    const random = seededRandom(job.seed);
    let strange = 0;
    let granted = 0;
    meet(job);
    for (let i = 0; i < job.iterations; i++) {
      for (const budget of budgets) {
        const want = Math.floor(random() * budget.capacity * 1.2);
        const min = Math.floor(random() * want);
        const taken = budget.tryReserve({ want, min });
        if (taken === null) continue;
        if (taken < min || taken > want || taken > budget.capacity) strange++;
        granted++;
        budget.release(taken);
      }
      const want = Math.floor(random() * TOKENS.capacity * 1.2);
      const reservation = tokens.tryReserveTokens({ want, min: want >> 1 });
      if (reservation === null) continue;
      if (reservation.estimate < want >> 1 || reservation.estimate > want) strange++;
      granted++;
      reservation.cancel();
    }
    return { strange, granted };
  },

  /** As takeWhatFits, of no more than its share of each budget, which is always there: so it must get all of it. */
  fitItsShare(job: HammerJob): HammerResult {
    const kernel = attachKernel(job.memory, { owner: job.owner });
    const credit = openCredit(job, kernel);
    const rows = new AtomicBudget(ROWS.capacity, { kernel, name: ROWS.name });
    const tokens = new AtomicTokenBudget(TOKENS.capacity, { kernel, name: TOKENS.name });
    let refused = 0;
    meet(job);
    for (let i = 0; i < job.iterations; i++) {
      for (const budget of [credit, rows]) {
        const want = Math.floor(budget.capacity / job.threads);
        const taken = budget.tryReserve({ want, min: 1 });
        if (taken !== want) refused++;
        budget.release(taken ?? 0);
      }
      const want = Math.floor(TOKENS.capacity / job.threads);
      const reservation = tokens.tryReserveTokens({ want, min: 1 });
      if (reservation?.estimate !== want) refused++;
      reservation?.cancel();
    }
    return { refused };
  },

  /** Takes and gives on one budget with credit; units pass to other threads through a shared word and come back there. */
  spendCredit(job: HammerJob): HammerResult {
    const budget = openCredit(job);
    const random = seededRandom(job.seed);
    let mine = 0;
    let strange = 0;
    meet(job);
    for (let i = 0; i < job.iterations; i++) {
      const dice = random();
      const amount = Math.floor(random() * (dice < 0.02 ? CREDIT.capacity : CREDIT_COST_MAX));
      if (dice < 0.5) {
        if (budget.tryReserve(amount)) mine += amount;
      } else if (dice < 0.55) {
        Atomics.add(job.barrier, 1, mine);
        mine = 0;
      } else if (dice < 0.6) {
        mine += Atomics.exchange(job.barrier, 1, 0);
      } else {
        const given = Math.min(amount * 2, mine);
        budget.release(given);
        mine -= given;
      }
      const { available } = budget;
      if (mine > CREDIT.capacity || available < 0 || available > CREDIT.capacity) strange++;
    }
    return { mine, strange };
  },

  /** Takes and gives its own, for ever; counts what it took after it did, and what it gives before it does. */
  spendCreditUntilTerminated(job: HammerJob): HammerResult {
    const budget = openCredit(job);
    const random = seededRandom(job.seed);
    let mine = 0;
    meet(job);
    while (true) {
      const amount = Math.floor(random() * CREDIT_COST_MAX);
      if (random() < 0.55) {
        if (!budget.tryReserve(amount)) continue;
        Atomics.add(job.barrier, 1, amount);
        mine += amount;
      } else {
        const given = Math.min(amount, mine);
        Atomics.sub(job.barrier, 1, given);
        budget.release(given);
        mine -= given;
      }
    }
  },

  /** Takes what always fits beside others that do the same and one that asks for too much: none may be refused. */
  fitWithCredit(job: HammerJob): HammerResult {
    const budget = openCredit(job);
    const most = job.seed; // together they come to the capacity exactly
    const random = seededRandom(most);
    meet(job);
    for (let i = 0; i < job.iterations; i++) {
      let out = 0;
      while (out < most) {
        const cost = Math.min(most - out, random() < 0.9 ? 1 + Math.floor(random() * 40) : most);
        if (!budget.tryReserve(cost)) return { refused: 1 };
        out += cost;
      }
      for (; out > 0; out -= Math.min(out, 50)) budget.release(Math.min(out, 50));
    }
    return { refused: 0 };
  },

  /** Every thread tries to settle every reservation; each must succeed for exactly one of them. */
  settleAll(job: HammerJob): HammerResult {
    const kernel = attachKernel(job.memory, { owner: job.owner });
    const budget = new AtomicTokenBudget(TOKENS.capacity, { kernel, name: TOKENS.name });
    const reservations = (job.tickets ?? []).map((ticket) => budget.adopt(ticket));
    const random = seededRandom(job.seed);
    let settled = 0;
    let consumed = 0;
    let tooLate = 0;
    meet(job);
    for (const reservation of reservations) {
      const used = Math.floor(random() * 3);
      try {
        budget.recordUsage(reservation, used, 0);
        settled++;
        consumed += used;
      } catch (error) {
        if ((error as { code?: string }).code !== "RESERVATION_SETTLED") throw error;
        tooLate++;
      }
    }
    return { settled, consumed, tooLate };
  },

  /** Opens or creates the same names as everybody else, in an order of its own, and takes one unit of each. */
  openSameNames(job: HammerJob): HammerResult {
    const kernel = attachKernel(job.memory, { owner: job.owner });
    const random = seededRandom(job.seed);
    const names = Array.from({ length: job.iterations }, (_, index) => ({
      name: `budget ${index}`,
      at: random(),
    }));
    names.sort((a, b) => a.at - b.at);
    let taken = 0;
    meet(job);
    for (const { name } of names) {
      if (new AtomicBudget(job.threads, { kernel, name }).tryReserve(1)) taken++;
    }
    return { taken };
  },

  /** Reserves, adjusts and releases for three tenants; says what it saw beyond the cap. */
  trackTenants(job: HammerJob): HammerResult {
    const kernel = attachKernel(job.memory, { owner: job.owner });
    const tracker = new TenantTokenTracker(TENANT_CAP, { kernel, name: "hammered tenants" });
    const random = seededRandom(job.seed);
    const open: TenantReservation[] = [];
    let overCap = 0;
    meet(job);
    for (let i = 0; i < job.iterations; i++) {
      const scope = { tenantId: `tenant ${Math.floor(random() * 3)}` };
      const dice = random();
      if (dice < 0.4 && open.length < 12) {
        const reservation = tracker.tryReserve(scope, Math.floor(random() * 400));
        if (reservation !== null) open.push(reservation);
      } else if (dice < 0.5) {
        tracker.adjust(scope, Math.floor((random() - 0.5) * 300));
      } else if (dice < 0.52) {
        tracker.forgetIdle();
      } else if (open.length > 0) {
        const at = Math.floor(random() * open.length);
        if (dice < 0.7) open[at]?.adjust(Math.floor((random() - 0.5) * 300));
        else open.splice(at, 1)[0]?.release();
      }
      const state = tracker.snapshot().get(scope.tenantId);
      if (state !== undefined && (state.inFlight < 0 || state.inFlight > TENANT_CAP)) overCap++;
      if (state !== undefined && state.highWater > TENANT_CAP) overCap++;
    }
    for (const reservation of open) reservation.release();
    return { overCap };
  },

  /** Runs operations under permits, waiting for some and trying for others; counts itself in a shared word. */
  async govern(job: HammerJob): Promise<HammerResult> {
    const kernel = attachKernel(job.memory, { owner: job.owner });
    const governor = new ConcurrencyGovernor(PERMITS, { kernel, name: "hammered permits" });
    const random = seededRandom(job.seed);
    let beyond = 0;
    let served = 0;
    meet(job);
    const operate = async (): Promise<void> => {
      const category = random() < 0.5 ? "streams" : "tools";
      const word = category === "streams" ? 1 : 2;
      const permit = random() < 0.3 ? governor.tryAcquire(category) : await governor.acquire(category);
      if (permit === null) return;
      if (Atomics.add(job.barrier, word, 1) + 1 > PERMITS[category]) beyond++;
      if (Atomics.add(job.barrier, 3, 1) + 1 > PERMITS.total) beyond++;
      if (random() < 0.5) await Promise.resolve();
      Atomics.sub(job.barrier, word, 1);
      Atomics.sub(job.barrier, 3, 1);
      permit.release();
      served++;
    };
    const agents = Array.from({ length: 6 }, async () => {
      for (let i = 0; i < job.iterations; i++) await operate();
    });
    await Promise.all(agents);
    return { beyond, served };
  },

  /** Holds one permit, waits for another, and never comes back. */
  async holdPermits(job: HammerJob): Promise<HammerResult> {
    const kernel = attachKernel(job.memory, { owner: job.owner });
    const governor = new ConcurrencyGovernor(PERMITS, { kernel, name: "hammered permits" });
    for (let held = 0; held < PERMITS.tools; held++) governor.tryAcquireTool();
    void governor.acquireTool();
    Atomics.add(job.barrier, 0, 1);
    return new Promise(() => {});
  },

  /** Takes from a rate while a clock of its own runs through the same stretch of time as everybody's. */
  useRate(job: HammerJob): HammerResult {
    const kernel = attachKernel(job.memory, { owner: job.owner });
    let nowMs = 0;
    const rate = new RateBudget(RATE, { now: () => nowMs, kernel, name: "hammered rate" });
    let granted = 0;
    meet(job);
    for (let i = 0; i < job.iterations; i++) {
      nowMs = Math.floor((i * RATE_STRETCH_MS) / job.iterations);
      if (rate.tryReserve(1)) granted++;
    }
    nowMs = RATE_STRETCH_MS;
    while (rate.tryReserve(1)) granted++;
    return { granted };
  },

  /** Initialises the same fresh memory as everybody else. */
  initialise(job: HammerJob): HammerResult {
    meet(job);
    try {
      const kernel = createKernel({ memory: job.memory, ...job.capacities });
      return { owner: kernel.owner, budgets: kernel.budgets, holds: kernel.holds, refused: 0 };
    } catch (error) {
      if ((error as { code?: string }).code !== "KERNEL_MEMORY") throw error;
      return { owner: 0, budgets: 0, holds: 0, refused: 1 };
    }
  },

  /** Creates and removes budgets under a few names while others do the same, and uses what it opened. */
  openAndRemove(job: HammerJob): HammerResult {
    const kernel = attachKernel(job.memory, { owner: job.owner });
    const random = seededRandom(job.seed);
    let removed = 0;
    let strange = 0;
    meet(job);
    for (let i = 0; i < job.iterations; i++) {
      // The capacity tells which budget this is: a stale handle that reads another budget's figure would be noticed.
      const number = Math.floor(random() * 6);
      const capacity = 1_000 + number;
      let reservation: TokenReservation | null = null;
      try {
        const budget = new AtomicTokenBudget(capacity, { kernel, name: `short-lived ${number}` });
        reservation = budget.tryReserveTokens(1);
        if (budget.capacity !== capacity) strange++;
        if (random() < 0.5 && reservation !== null) budget.recordUsage(reservation, 1, 0);
        else reservation?.cancel();
        if (random() < 0.3) {
          budget.remove();
          removed++;
        }
      } catch (error) {
        if ((error as { code?: string }).code !== "BUDGET_REMOVED") throw error;
        reservation?.cancel();
      }
    }
    return { removed, strange };
  },
} satisfies Record<string, (job: HammerJob) => HammerResult | Promise<HammerResult>>;

export async function hammer(job: HammerJob): Promise<HammerResult> {
  return scenarios[job.scenario](job);
}
