// One seed of the leases' simulation from beginning to end: a ledger that lends, holders that spend from what they were lent,
// others at the same budgets, and everything that goes wrong between them. Invariant: the outcome is a function of the
// seed; nothing outside is read. Who may call: tests, scripts/simulate.ts.

import { Ledger, type LedgerStore, MemoryStore } from "purser/ledger";
import type { AnyReply } from "../calls.ts";
import { Chance } from "../engine/chance.ts";
import { HostClock } from "../engine/host-clock.ts";
import { Network } from "../engine/network.ts";
import { Scheduler } from "../engine/scheduler.ts";
import { play, type Script, type Stage } from "../engine/script.ts";
import { Tally } from "../engine/tally.ts";
import { Host } from "../host.ts";
import { TENANT } from "../plan.ts";
import { bendClock, type Outcome } from "../simulate.ts";
import { Backups } from "./backups.ts";
import { type LeaseCall, perform } from "./calls.ts";
import { type HolderWorld, holder } from "./holder.ts";
import { LeaseJudge } from "./judge.ts";
import { bystander, operator } from "./others.ts";
import { drawLeasePlan, type LeasePlan } from "./plan.ts";
import type { Slice } from "./slice.ts";

export interface SimulateLeasesOptions {
  /** Makes an empty store, in the place of any it made before; a MemoryStore by default. */
  readonly newStore?: () => LedgerStore;
  /** Gets one line per step. */
  readonly trace?: (line: string) => void;
}

const START_MS = 1_800_000_000_000;
const SECRETS = ["secret of the simulation"];
/** Far more than any plan makes; a run that comes here never ends. */
const STEPS_MAX = 20_000;
const LEDGER = { tenant: TENANT, secrets: SECRETS };

export function simulate(
  seed: number,
  { newStore = () => new MemoryStore(), trace }: SimulateLeasesOptions = {},
): Outcome {
  const chance = new Chance(seed);
  const plan = drawLeasePlan(chance);
  const tally = new Tally();
  const scheduler = new Scheduler(START_MS, chance);
  const clock = new HostClock(scheduler);
  const store = newStore();
  openTenant(store, plan);
  const slices = new Map<string, Slice>();
  const judge = new LeaseJudge(store, slices);
  const backups = new Backups(judge);
  const say = (line: () => string): void => trace?.(line());
  const host = new Host<LeaseCall>({
    ledger: LEDGER,
    perform,
    store,
    clock,
    scheduler,
    chance,
    faults: plan.host,
    judge: backups,
    tally,
    trace: say,
  });
  let failure: string | undefined;
  try {
    const stage: Stage<LeaseCall, AnyReply> = {
      scheduler,
      chance,
      tally,
      network: new Network(scheduler, chance, plan.network, tally),
      answer: (call, reply) => host.receive(call, reply),
      timeoutMs: chance.pick([500, 2_000]),
    };
    const start = (script: Script<LeaseCall, AnyReply>): void => play(stage, script);
    for (let each = 0; each < plan.holders; each += 1) {
      const ownClock = new HostClock(scheduler);
      mislead(ownClock, { plan, chance, scheduler, tally });
      const isReclaimed = (id: string): boolean => judge.books.leases.get(id)?.status === "EXPIRED";
      const world: HolderWorld = { plan, chance, tally, isReclaimed, clock: ownClock, slices, play: start };
      start(holder(world, `holder-${each}`));
    }
    for (let each = 0; each < plan.bystanders; each += 1) start(bystander(plan, chance, `bystander-${each}`));
    start(operator(plan, chance));
    for (let each = 0; each < plan.evictions; each += 1) {
      scheduler.after(chance.between(0, 20_000), () => host.evict());
    }
    for (const { atMs, lostMs } of plan.restores) {
      scheduler.after(atMs - lostMs, () => {
        const backup = backups.take(judge.books.accounts.values());
        scheduler.after(lostMs, () => {
          const restored = newStore();
          openTenant(restored, plan);
          judge.restored(restored, backups.restore(backup, restored, LEDGER, clock.read()));
          host.restore(restored);
        });
      });
    }
    bendClock({ clock, scheduler, chance, tally, faults: plan.clock });
    while (scheduler.step()) {
      if (host.steps > STEPS_MAX) throw new Error(`no end after ${STEPS_MAX} steps`);
    }
    if (judge.out > 0n) throw new Error(`${judge.out} is still reserved when nothing is left to happen`);
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error);
    trace?.(`FAILED: ${failure}`);
  }
  return { seed, steps: host.steps, tally, ...(failure !== undefined && { failure }) };
}

function openTenant(store: LedgerStore, plan: LeasePlan): void {
  const ledger = new Ledger({ ...LEDGER, store });
  const turn = { nowMs: START_MS };
  const settings = { on_expiry: plan.expiry, grace_ms: plan.graceMs };
  const replies = [
    ledger.createTenant({ tenant_id: TENANT, name: "Acme" }, turn),
    ledger.changeLeaseSettings(settings, turn),
    ...plan.budgets.map((body) => ledger.createBudget(body, turn)),
  ];
  for (const reply of replies) if (!reply.ok) throw new Error(`the stage was refused: ${reply.message}`);
}

/** A holder's clock goes wrong, and perhaps right again. */
function mislead(
  clock: HostClock,
  parts: {
    readonly plan: LeasePlan;
    readonly chance: Chance;
    readonly scheduler: Scheduler;
    readonly tally: Tally;
  },
): void {
  const { plan, chance, scheduler, tally } = parts;
  if (plan.holderClockMsMax === 0) return;
  for (let each = chance.between(1, 4); each > 0; each -= 1) {
    scheduler.after(chance.between(0, 15_000), () => {
      tally.add("fault: a holder's clock lies");
      clock.bend(chance.between(-plan.holderClockMsMax, plan.holderClockMsMax));
    });
  }
}
