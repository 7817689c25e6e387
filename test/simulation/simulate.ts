// One seed from beginning to end: draws its plan, sets the stage, plays until nothing is left to happen, and looks once
// more. Invariant: the outcome is a function of the seed (and of the store's own behaviour); nothing outside is read.
// Who may call: tests, scripts/simulate.ts.

import { Ledger, type LedgerStore, MemoryStore, ReservationIds } from "purser/ledger";
import { agent } from "./agent.ts";
import { type AnyReply, type Call, perform } from "./calls.ts";
import { Chance } from "./engine/chance.ts";
import { HostClock } from "./engine/host-clock.ts";
import { Network } from "./engine/network.ts";
import { Scheduler } from "./engine/scheduler.ts";
import { play, type Stage } from "./engine/script.ts";
import { Tally } from "./engine/tally.ts";
import { Host } from "./host.ts";
import { Judge } from "./judge.ts";
import { Model } from "./model/model.ts";
import { operator } from "./operator.ts";
import { type ClockFaults, drawPlan, type Plan, TENANT } from "./plan.ts";
import { drawPolicies, policyMaker } from "./policy-maker.ts";

export interface Outcome {
  readonly seed: number;
  readonly steps: number;
  readonly tally: Tally;
  /** The first thing that was wrong; absent in a good run. */
  readonly failure?: string;
}

export interface SimulateOptions {
  /** An empty store; a MemoryStore by default. */
  readonly store?: LedgerStore;
  /** Gets one line per step, where someone wants to read along. */
  readonly trace?: (line: string) => void;
}

const START_MS = 1_800_000_000_000;
/** Makes another stream of chance out of a seed. */
const POLICY_STREAM = 0x5eed_0001;
const SECRETS = ["secret of the simulation"];
const MS_PER_HOUR = 3_600_000;
const MS_PER_DAY = 86_400_000;
/** Far more than any plan makes; a run that comes here never ends. */
const STEPS_MAX = 20_000;

export function simulate(seed: number, { store = new MemoryStore(), trace }: SimulateOptions = {}): Outcome {
  const chance = new Chance(seed);
  const plan = drawPlan(chance);
  const policyChance = new Chance(seed ^ POLICY_STREAM);
  const policies = drawPolicies(policyChance, START_MS);
  const tally = new Tally();
  const scheduler = new Scheduler(START_MS, chance);
  const clock = new HostClock(scheduler);
  const foreignIds = foreignReservations();
  const model = new Model(
    {
      tenantId: TENANT,
      name: "Acme",
      status: "ACTIVE",
      ...plan.tenant,
      createdAtMs: START_MS,
      updatedAtMs: START_MS,
    },
    plan.activeMax,
    new Set(foreignIds),
  );
  const options = { tenant: TENANT, secrets: SECRETS, limits: { activeReservationsMax: plan.activeMax } };
  openTenant(new Ledger({ ...options, store }), plan);
  const judge = new Judge(model, store);
  const host = new Host({
    ledger: options,
    perform,
    store,
    clock,
    scheduler,
    chance,
    faults: plan.host,
    judge,
    tally,
    trace: trace === undefined ? () => {} : (line) => trace(line()),
  });
  let failure: string | undefined;
  try {
    const stage: Stage<Call, AnyReply> = {
      scheduler,
      chance,
      tally,
      network: new Network(scheduler, chance, plan.network, tally),
      answer: (call, reply) => host.receive(call, reply),
      timeoutMs: chance.pick([500, 2_000]),
    };
    for (const body of plan.budgets) host.receive({ op: "createBudget", body }, () => {});
    const world = { plan, chance, seenIds: [], foreignIds, usedReserves: [] };
    for (let each = 0; each < plan.agents; each += 1) play(stage, agent(world, `agent-${each}`));
    play(stage, operator(plan, chance));
    if (policies.made > 0) play(stage, policyMaker(policies, policyChance));
    for (let each = 0; each < plan.evictions; each += 1) {
      scheduler.after(chance.between(0, 20_000), () => host.evict());
    }
    bendClock({ clock, scheduler, chance, tally, faults: plan.clock });
    while (scheduler.step()) {
      if (host.steps > STEPS_MAX) throw new Error(`no end after ${STEPS_MAX} steps`);
    }
    // Nothing is left to happen, so every alarm has rung, and nothing may be held any more.
    if (judge.activeReservations > 0) throw new Error(`${judge.activeReservations} holds were never expired`);
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error);
    trace?.(`FAILED: ${failure}`);
  }
  return { seed, steps: host.steps, tally, ...(failure !== undefined && { failure }) };
}

function openTenant(ledger: Ledger, plan: Plan): void {
  const { defaultTtlMs, maxTtlMs, maxExtensions, policy } = plan.tenant;
  const request = {
    tenant_id: TENANT,
    name: "Acme",
    default_reservation_ttl_ms: defaultTtlMs,
    max_reservation_ttl_ms: maxTtlMs,
    max_reservation_extensions: maxExtensions,
    ...(policy !== undefined && { default_commit_overage_policy: policy }),
  };
  const reply = ledger.createTenant(request, { nowMs: START_MS });
  if (!reply.ok) throw new Error(`the tenant was refused: ${reply.message}`);
}

/** Ids that the same deployment gave to somebody else. */
function foreignReservations(): string[] {
  const ids = new ReservationIds(SECRETS);
  return ["one", "two"].map((key) => ids.issue("other", key, Math.floor(START_MS / MS_PER_DAY)));
}

/** Lets the host's clock go wrong and be put right, as often as the plan says. */
export function bendClock(parts: {
  clock: HostClock;
  scheduler: Scheduler;
  chance: Chance;
  tally: Tally;
  faults: ClockFaults;
}): void {
  const { clock, scheduler, chance, tally, faults } = parts;
  for (let each = 0; each < faults.bends; each += 1) {
    const kind = chance.pick(faults.kinds);
    const atMs = chance.between(0, 15_000);
    const byMs = {
      hiccup: -chance.between(1, 300_000),
      behind: -chance.between(1, 3 * MS_PER_HOUR),
      ahead: chance.between(1, 30 * MS_PER_HOUR),
      days: chance.between(1, 70) * MS_PER_DAY,
    }[kind];
    scheduler.after(atMs, () => {
      tally.add(`fault: clock ${byMs < 0 ? "back" : "ahead"} (${kind})`);
      clock.bend(byMs);
    });
    if (!chance.happens(0.6)) continue;
    scheduler.after(atMs + chance.between(1, 10_000), () => {
      tally.add("fault: clock put right");
      clock.putRight();
    });
  }
}
