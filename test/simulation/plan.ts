// What a seed stands for: how many agents, which budgets, which sizes of money, which faults and how often. Each fault is
// on in some seeds and off in others, so that one never hides another. Invariant: a plan is a function of its chance.
// Who may call: simulate.ts; actors read the plan.

import type { BudgetInput, Subject, Unit } from "purser/ledger";
import type { Chance } from "./engine/chance.ts";
import { drawNetwork, type NetworkFaults } from "./engine/network.ts";
import type { HostFaults } from "./host.ts";
import type { Policy } from "./model/state.ts";

export const TENANT = "acme";
export const POLICIES: readonly Policy[] = ["REJECT", "ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT"];
export const UNITS: readonly Unit[] = ["TOKENS", "USD_MICROCENTS"];

/** A tree of three levels with two branches, and one subject beside it. */
export const SUBJECTS: readonly Subject[] = [
  { tenant: "acme" },
  { tenant: "acme", workspace: "w" },
  { tenant: "acme", workspace: "w", agent: "a" },
  { tenant: "acme", workspace: "W", app: "", agent: "B" },
  { tenant: "acme", agent: "a" },
];
export const SCOPES: readonly string[] = [
  "tenant:acme",
  "tenant:acme/workspace:w",
  "tenant:acme/workspace:w/agent:a",
  "tenant:acme/workspace:w/agent:b",
  "tenant:acme/agent:a",
];

/** Sizes of money: a few units, around what a double holds, and at the end of int64. */
export type Sizes = "small" | "double" | "int64";

export interface ClockFaults {
  /** Probability per bend, of which there are some in a run. */
  readonly bends: number;
  readonly kinds: readonly ("hiccup" | "behind" | "ahead" | "days")[];
}

export interface Plan {
  readonly agents: number;
  readonly rounds: number;
  readonly operations: number;
  readonly sizes: Sizes;
  readonly budgets: readonly BudgetInput[];
  readonly network: NetworkFaults;
  readonly host: HostFaults;
  readonly evictions: number;
  readonly clock: ClockFaults;
  readonly activeMax: number;
  readonly tenant: {
    readonly defaultTtlMs: number;
    readonly maxTtlMs: number;
    readonly maxExtensions: number;
    readonly policy?: Policy | undefined;
  };
  /** How often an actor asks for something odd: foreign ids, other bodies under a used key, another's reservation. */
  readonly mischief: number;
  /** How often the operator steers instead of funding. */
  readonly governing: number;
}

export function drawPlan(chance: Chance): Plan {
  const sizes = chance.weighted({ small: 7, double: 1, int64: 2 });
  const maxTtlMs = chance.pick([2_000, 60_000, 3_600_000]);
  return {
    agents: chance.between(1, 4),
    rounds: chance.between(2, 5),
    operations: chance.between(0, 10),
    sizes,
    budgets: drawBudgets(chance, sizes),
    network: drawNetwork(chance),
    host: {
      diesBeforeReply: chance.sometimes(0.2),
      failsInTurn: chance.sometimes(0.4),
      failsAsGroup: chance.happens(0.2) ? 0.2 * chance.next() : 0,
      gathers: chance.sometimes(1),
      alarmLate: chance.sometimes(1),
      alarmEarly: chance.sometimes(0.8),
      alarmTwice: chance.sometimes(0.8),
    },
    evictions: chance.happens(0.3) ? chance.between(1, 3) : 0,
    clock: {
      bends: chance.happens(0.4) ? chance.between(1, 6) : 0,
      kinds: chance.pick([
        ["hiccup"],
        ["hiccup", "behind"],
        ["hiccup", "ahead"],
        ["behind", "ahead", "days"],
      ]),
    },
    activeMax: chance.happens(0.15) ? chance.between(1, 4) : 1_000,
    tenant: {
      defaultTtlMs: Math.min(maxTtlMs, chance.pick([1_000, 60_000])),
      maxTtlMs,
      maxExtensions: chance.pick([0, 1, 2, 10]),
      policy: chance.happens(0.5) ? chance.pick(POLICIES) : undefined,
    },
    mischief: chance.sometimes(0.5),
    governing: chance.sometimes(1),
  };
}

function drawBudgets(chance: Chance, sizes: Sizes): BudgetInput[] {
  return SCOPES.flatMap((scope) =>
    UNITS.flatMap((unit) => {
      const isThere = chance.happens(unit === "TOKENS" ? 0.75 : 0.15);
      return isThere ? [drawBudget(chance, sizes, scope, unit)] : [];
    }),
  );
}

export function drawBudget(chance: Chance, sizes: Sizes, scope: string, unit: Unit): BudgetInput {
  const limit = chance.happens(0.4) ? drawAmount(chance, sizes) / chance.pick([1n, 4n]) : undefined;
  const spread = BigInt(chance.between(1, 5));
  const allocated =
    sizes === "small" || chance.happens(0.3)
      ? spread * drawAmount(chance, "small")
      : drawAmount(chance, sizes);
  return {
    scope,
    unit,
    allocated: { unit, amount: allocated },
    ...(limit !== undefined && { overdraft_limit: { unit, amount: limit } }),
    ...(chance.happens(0.3) && { commit_overage_policy: chance.pick(POLICIES) }),
  };
}

const EDGES: Readonly<Record<Sizes, bigint>> = { small: 0n, double: 2n ** 53n, int64: 2n ** 63n - 1n };

/** Small amounts are the rule in every plan; near the edges they lie within a few units of it, or of its half. */
export function drawAmount(chance: Chance, sizes: Sizes): bigint {
  const small = BigInt(chance.happens(0.1) ? 0 : chance.between(1, 60));
  if (sizes === "small" || chance.happens(0.4)) return small;
  const edge = EDGES[sizes] / (chance.happens(0.3) ? 2n : 1n);
  return edge - (sizes === "double" && chance.happens(0.5) ? -small : small);
}
