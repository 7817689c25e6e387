// An operator who makes policies and changes them while agents work under them. Its chance is its own, so that a seed without
// policies plays as if there were none. Invariant: what it asks depends on its chance alone; no limit per minute is above
// sixteen, so that the store knows every call that was counted. Who may call: simulate.ts plays it.

import type { PolicyInput, PolicyPatchInput } from "purser/ledger";
import type { AnyReply, Call } from "./calls.ts";
import type { Chance } from "./engine/chance.ts";
import { ask, type Script, sleep } from "./engine/script.ts";
import { POLICIES } from "./plan.ts";

const TRIES = 4;
/** Those that fit the simulation's subjects, and one that fits none. */
const PATTERNS: readonly string[] = [
  "tenant:acme",
  "tenant:acme/*",
  "tenant:acme/workspace:w",
  "tenant:acme/workspace:W/*",
  "tenant:acme/workspace:*",
  "tenant:acme/workspace:w/agent:*",
  "tenant:acme/workspace:w/agent:b",
  "tenant:acme/agent:*",
  "tenant:acme/app:x",
];
/** In one order, since what several lists have in common is compared as it stands. */
const TOOLS: readonly string[] = ["fetch", "read", "shell"];

export interface PolicyPlan {
  readonly made: number;
  readonly changes: number;
  readonly startMs: number;
}

/** In a third of all seeds there are some. */
export function drawPolicies(chance: Chance, startMs: number): PolicyPlan {
  const isThere = chance.happens(0.35);
  return { made: isThere ? chance.between(1, 4) : 0, changes: isThere ? chance.between(0, 6) : 0, startMs };
}

export function* policyMaker(plan: PolicyPlan, chance: Chance): Script<Call, AnyReply> {
  const ids: string[] = [];
  for (let number = 0; number < plan.made; number += 1) {
    const body: PolicyInput = {
      name: `policy ${number}`,
      scope_pattern: chance.pick(PATTERNS),
      priority: chance.pick([0, 0, 1]),
      ...drawRules(chance, plan.startMs),
    };
    const reply = yield* ask<Call, AnyReply>({ op: "createPolicy", body }, TRIES);
    const made = reply?.ok ? (reply.body as { policy_id: string }) : undefined;
    if (made !== undefined) ids.push(made.policy_id);
    yield* sleep(chance.between(0, 1_000));
  }
  for (let number = 0; number < plan.changes; number += 1) {
    yield* sleep(chance.between(0, 6_000));
    const policyId = ids.length === 0 || chance.happens(0.05) ? "pol_acme_99" : chance.pick(ids);
    const body: PolicyPatchInput = {
      ...drawRules(chance, plan.startMs),
      ...(chance.happens(0.3) && { priority: chance.between(0, 2) }),
      ...(chance.happens(0.3) && { status: chance.pick(["ACTIVE", "DISABLED"] as const) }),
      ...(chance.happens(0.05) && { name: "policy 0" }),
    };
    yield* ask<Call, AnyReply>({ op: "updatePolicy", policyId, body }, TRIES);
  }
}

function drawRules(chance: Chance, startMs: number): Omit<PolicyInput, "name" | "scope_pattern"> {
  const soon = (): string => new Date(startMs + chance.between(0, 30_000)).toISOString();
  /** A member, at times an empty one: that takes back what was said. */
  const said = (name: string, probability: number, make: () => object) =>
    chance.happens(probability) ? { [name]: chance.happens(0.1) ? {} : make() } : {};
  return {
    ...said("caps", 0.4, () => ({
      ...(chance.happens(0.5) && { max_tokens: chance.between(0, 100) }),
      ...(chance.happens(0.3) && { max_steps_remaining: chance.between(1, 9) }),
      ...(chance.happens(0.3) && { cooldown_ms: chance.pick([0, 1_000]) }),
      ...(chance.happens(0.4) && { tool_allowlist: TOOLS.filter(() => chance.happens(0.6)) }),
      ...(chance.happens(0.3) && { tool_denylist: ["shell"] }),
    })),
    ...(chance.happens(0.4) && { commit_overage_policy: chance.pick(POLICIES) }),
    ...said("reservation_ttl_override", 0.4, () => ({
      ...(chance.happens(0.5) && { default_ttl_ms: chance.pick([1_000, 5_000]) }),
      ...(chance.happens(0.6) && { max_ttl_ms: chance.pick([1_000, 5_000, 60_000]) }),
      ...(chance.happens(0.4) && { max_extensions: chance.between(0, 3) }),
    })),
    ...said("rate_limits", 0.5, () => ({
      ...(chance.happens(0.7) && { max_reservations_per_minute: chance.between(1, 6) }),
      ...(chance.happens(0.5) && { max_commits_per_minute: chance.between(1, 4) }),
    })),
    ...(chance.happens(0.15) && { effective_from: soon() }),
    ...(chance.happens(0.15) && { effective_until: soon() }),
  };
}
