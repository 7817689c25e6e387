// What a seed of the leases' simulation stands for: holders and what they do wrong, budgets, the faults of network, host and
// clock, operators and restores. Each is on in some seeds and off in others, so that none hides another.
// Invariant: a plan is a function of its chance. Who may call: simulate.ts; actors read the plan.

import type { BudgetInput } from "purser/ledger";
import type { Chance } from "../engine/chance.ts";
import { drawNetwork, type NetworkFaults } from "../engine/network.ts";
import type { HostFaults } from "../host.ts";
import { type ClockFaults, SCOPES, UNITS } from "../plan.ts";

export type ExpiryPolicy = "charge" | "refund";

export interface LeasePlan {
  readonly holders: number;
  /** Leases that each holder has, one after another. */
  readonly lives: number;
  /** Reports of each lease before it is returned, and what is spent meanwhile. */
  readonly reports: number;
  readonly callsPerLife: number;
  readonly workMsMax: number;
  readonly reportMsMax: number;
  readonly wantMax: number;
  readonly ttlsMs: readonly number[];
  /** Probabilities per report. */
  readonly crash: number;
  readonly sleep: number;
  /** How often a holder claims to have spent what it never had. */
  readonly lie: number;
  /** By how much the holders' own clocks are wrong at most, and how often they change their mind. */
  readonly holderClockMsMax: number;
  /** What each holder may lend itself while the authority does not answer. */
  readonly offlineAllowance: bigint;
  /** How often it cannot reach anybody, per report. */
  readonly cutOff: number;
  readonly bystanders: number;
  /** How many of what they ask are events. */
  readonly events: number;
  readonly operations: number;
  readonly expiry: ExpiryPolicy;
  /** The operator changes what becomes of expired leases while it runs. */
  readonly expiryChanges: boolean;
  readonly graceMs: number;
  readonly budgets: readonly BudgetInput[];
  readonly network: NetworkFaults;
  readonly host: HostFaults;
  readonly evictions: number;
  readonly clock: ClockFaults;
  /** When the store is lost and restored, and how old the backup is then. */
  readonly restores: readonly { readonly atMs: number; readonly lostMs: number }[];
}

export function drawLeasePlan(chance: Chance): LeasePlan {
  const mayLendItself = chance.happens(0.25);
  const maxWant = chance.pick([20, 60, 200]);
  const kinds = chance.pick<LeasePlan["clock"]["kinds"]>([
    ["hiccup"],
    ["hiccup", "behind"],
    ["hiccup", "ahead"],
    ["behind", "ahead", "days"],
  ]);
  return {
    holders: chance.between(1, 5),
    lives: chance.between(1, 3),
    reports: chance.between(0, 6),
    // Beyond its lease's end a holder comes only if it still spends then.
    callsPerLife: chance.between(1, mayLendItself ? 48 : 12),
    workMsMax: chance.pick([50, 500, 3_000]),
    reportMsMax: chance.pick([200, 1_000, 4_000]),
    wantMax: maxWant,
    ttlsMs: chance.pick([[1_000], [1_000, 2_000, 5_000], [2_000, 60_000, 600_000]]),
    crash: chance.sometimes(0.2),
    sleep: chance.sometimes(0.3),
    lie: chance.happens(0.25) ? 0.4 * chance.next() : 0,
    holderClockMsMax: chance.happens(0.4) ? chance.pick([500, 10_000, 600_000]) : 0,
    offlineAllowance: mayLendItself ? BigInt(chance.pick([1, maxWant, 5 * maxWant])) : 0n,
    cutOff: mayLendItself ? 0.7 * chance.next() : 0,
    events: kinds.includes("ahead") ? 0 : 0.2,
    // After weeks what bystanders were answered is gone, and their tries would be new calls.
    bystanders: kinds.includes("days") ? 0 : chance.between(0, 2),
    operations: chance.happens(0.6) ? chance.between(1, 8) : 0,
    expiry: chance.happens(0.65) ? "charge" : "refund",
    expiryChanges: chance.happens(0.1),
    graceMs: chance.pick([0, 500, 5_000]),
    budgets: drawBudgets(chance),
    network: drawNetwork(chance),
    host: {
      diesBeforeReply: chance.sometimes(0.2),
      failsInTurn: chance.sometimes(0.4),
      failsAsGroup: chance.happens(0.2) ? 0.2 * chance.next() : 0,
      gathers: chance.sometimes(1),
      alarmLate: chance.sometimes(1),
      // Together below 1: every ring sets an alarm anew, and a lease's deadline may stay ahead for long.
      alarmEarly: chance.sometimes(0.4),
      alarmTwice: chance.sometimes(0.4),
    },
    evictions: chance.happens(0.3) ? chance.between(1, 3) : 0,
    clock: {
      bends: chance.happens(0.4) ? chance.between(1, 6) : 0,
      kinds,
    },
    // After weeks a lease that the backup does not know is no longer believed either.
    restores:
      chance.happens(0.2) && !kinds.includes("days")
        ? [{ atMs: chance.between(2_000, 20_000), lostMs: chance.pick([100, 2_000, 10_000]) }]
        : [],
  };
}

/** The tenant's own budget nearly always, others of the tree often: leases lie on paths of one to three budgets. */
function drawBudgets(chance: Chance): BudgetInput[] {
  return SCOPES.flatMap((scope, index) =>
    UNITS.flatMap((unit) => {
      const likely = unit === "TOKENS" ? (index === 0 ? 0.95 : 0.5) : 0.3;
      if (!chance.happens(likely)) return [];
      const overdraft = chance.happens(0.2) ? BigInt(chance.between(1, 50)) : undefined;
      return [
        {
          scope,
          unit,
          allocated: { unit, amount: BigInt(chance.between(0, chance.pick([40, 200, 1_000]))) },
          ...(overdraft !== undefined && { overdraft_limit: { unit, amount: overdraft } }),
        },
      ];
    }),
  );
}
