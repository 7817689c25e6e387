// What the model knows of policies: who is governed by which, what several come to, and how often a scope has reserved or
// committed in a minute. From the protocol's table of policies. Invariant: every policy is looked at each time; a
// minute's count is one number per policy, kind and scope, and only the newest minute has one. Who may call: the model; the
// judge compares the counts.

import type { PolicyInput, PolicyPatchInput } from "purser/ledger";
import {
  type Expected,
  granted,
  type ModelCaps,
  type ModelPolicy,
  type ModelState,
  type Policy,
  refused,
} from "./state.ts";
import { isoTime, type Members } from "./wire.ts";

const MINUTE_MS = 60_000;

export function foretellCreatePolicy(state: ModelState, body: PolicyInput, nowMs: number): Expected {
  if (state.tenant.status === "CLOSED") return refused("409 TENANT_CLOSED");
  const policy: ModelPolicy = {
    id: `pol_${state.tenant.tenantId}_${state.policies.length + 1}`,
    name: body.name,
    pattern: body.scope_pattern.toLowerCase(),
    priority: 0,
    status: "ACTIVE",
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
  };
  const refusal = change(state, policy, body);
  if (refusal !== undefined) return refusal;
  state.policies.push(policy);
  state.audited += 1;
  return granted(policyBody(policy), 201);
}

export function foretellUpdatePolicy(
  state: ModelState,
  policyId: string,
  patch: PolicyPatchInput,
  nowMs: number,
): Expected {
  const policy = state.policies.find(({ id }) => id === policyId);
  if (policy === undefined) return refused("404 NOT_FOUND");
  if (state.tenant.status === "CLOSED") return refused("409 TENANT_CLOSED");
  const changed = { ...policy };
  const refusal = change(state, changed, patch);
  if (refusal !== undefined) return refusal;
  Object.assign(policy, changed, { updatedAtMs: nowMs });
  state.audited += 1;
  return granted(policyBody(policy));
}

/** Takes over what is said; a member that is given empty says nothing any more. */
function change(
  state: ModelState,
  policy: ModelPolicy,
  said: PolicyPatchInput,
): (Expected & { ok: false }) | undefined {
  const given = <T extends object>(value: T | undefined): T | undefined =>
    value === undefined || Object.keys(value).length === 0 ? undefined : value;
  policy.name = said.name ?? policy.name;
  policy.priority = said.priority ?? policy.priority;
  policy.status = said.status ?? policy.status;
  policy.overage = said.commit_overage_policy ?? policy.overage;
  if (said.caps !== undefined) policy.caps = given(said.caps);
  if (said.reservation_ttl_override !== undefined) policy.ttl = given(said.reservation_ttl_override);
  if (said.rate_limits !== undefined) policy.rates = given(said.rate_limits);
  if (said.effective_from !== undefined) policy.fromMs = Date.parse(said.effective_from);
  if (said.effective_until !== undefined) policy.untilMs = Date.parse(said.effective_until);

  const { default_ttl_ms: usual, max_ttl_ms: most } = policy.ttl ?? {};
  if (usual !== undefined && most !== undefined && usual > most) return refused("400 INVALID_REQUEST");
  const { fromMs, untilMs } = policy;
  if (fromMs !== undefined && untilMs !== undefined && fromMs >= untilMs) {
    return refused("400 INVALID_REQUEST");
  }
  const isTaken = state.policies.some(({ id, name }) => name === policy.name && id !== policy.id);
  return isTaken ? refused("409 DUPLICATE_RESOURCE") : undefined;
}

/** A policy that governs a request, with the shallowest of the request's scopes that it fits. */
interface Governor {
  readonly policy: ModelPolicy;
  readonly scope: string;
}

/** Of all that fit and are in force, those of the highest priority. */
export function governorsOf(state: ModelState, scopes: readonly string[], nowMs: number): Governor[] {
  const inForce = state.policies.filter(
    ({ status, fromMs = 0, untilMs = Number.POSITIVE_INFINITY }) =>
      status === "ACTIVE" && fromMs <= nowMs && nowMs < untilMs,
  );
  const fitting = inForce.flatMap((policy) => {
    const scope = scopes.find((each) => fits(policy.pattern, each));
    return scope === undefined ? [] : [{ policy, scope }];
  });
  const highest = Math.max(...fitting.map(({ policy }) => policy.priority));
  return fitting.filter(({ policy }) => policy.priority === highest);
}

function fits(pattern: string, scope: string): boolean {
  if (pattern.endsWith("/*")) return scope.startsWith(pattern.slice(0, -1));
  if (!pattern.endsWith(":*")) return scope === pattern;
  const above = pattern.slice(0, -1);
  return scope.startsWith(above) && !scope.slice(above.length).includes("/");
}

function most(values: readonly (number | undefined)[], pick: (...values: number[]) => number) {
  const said = values.filter((value) => value !== undefined);
  return said.length === 0 ? undefined : pick(...said);
}

/** The lives and extensions that these policies leave. */
export function livesUnder(governors: readonly Governor[]) {
  const leastOf = (member: "default_ttl_ms" | "max_ttl_ms" | "max_extensions") =>
    most(
      governors.map(({ policy }) => policy.ttl?.[member]),
      Math.min,
    );
  return {
    defaultTtlMs: leastOf("default_ttl_ms"),
    maxTtlMs: leastOf("max_ttl_ms"),
    maxExtensions: leastOf("max_extensions"),
  };
}

/** The strictest of what they say. */
export function overageUnder(governors: readonly Governor[]): Policy | undefined {
  const strictest: readonly Policy[] = ["REJECT", "ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT"];
  return strictest.find((each) => governors.some(({ policy }) => policy.overage === each));
}

/** The decision with its caps: the least of all that bounds, the longest pause, the tools that every policy lets pass. */
export function decisionUnder(governors: readonly Governor[]): Members {
  const all = governors.flatMap(({ policy }) => policy.caps ?? []);
  const hasAllowlist = ({ tool_allowlist: list }: ModelCaps): boolean => (list ?? []).length > 0;
  const allowlists = all.filter(hasAllowlist).map(({ tool_allowlist: list }) => list ?? []);
  const denied = all.filter((each) => !hasAllowlist(each)).flatMap(({ tool_denylist: list }) => list ?? []);
  const tools = [...new Set(allowlists.flat())].filter(
    (tool) => allowlists.every((list) => list.includes(tool)) && !denied.includes(tool),
  );
  const caps: Members = {
    max_tokens: most(
      all.map((each) => each.max_tokens),
      Math.min,
    ),
    max_steps_remaining: most(
      all.map((each) => each.max_steps_remaining),
      Math.min,
    ),
    // No tool's name is blank: so it is said that none is allowed.
    tool_allowlist: allowlists.length === 0 ? undefined : tools.length === 0 ? [""] : tools,
    tool_denylist: allowlists.length > 0 || denied.length === 0 ? undefined : [...new Set(denied)],
    cooldown_ms: most(
      all.map((each) => each.cooldown_ms),
      Math.max,
    ),
  };
  const isCapped = Object.values(caps).some((cap) => cap !== undefined);
  return isCapped ? { decision: "ALLOW_WITH_CAPS", caps } : { decision: "ALLOW" };
}

export type RateKind = "reservations" | "commits";

/** A limit that binds a call, by the name under which it is counted. */
function limitsOn(governors: readonly Governor[], kind: RateKind): { name: string; perMinute: number }[] {
  return governors.flatMap(({ policy, scope }) => {
    const perMinute = policy.rates?.[`max_${kind}_per_minute`];
    return perMinute === undefined ? [] : [{ name: `${policy.id} ${kind} ${scope}`, perMinute }];
  });
}

/** No minute gets more than its limit; one before the newest that was counted gets nothing more. */
export function refuseByRate(
  state: ModelState,
  governors: readonly Governor[],
  kind: RateKind,
  nowMs: number,
): (Expected & { ok: false }) | undefined {
  const minute = Math.floor(nowMs / MINUTE_MS);
  const full = limitsOn(governors, kind).some(({ name, perMinute }) => {
    const counted = state.rates.get(name);
    if (counted === undefined || counted.minute < minute) return perMinute <= 0;
    return counted.minute > minute || counted.calls >= perMinute;
  });
  return full ? refused("429 LIMIT_EXCEEDED") : undefined;
}

export function countCall(
  state: ModelState,
  governors: readonly Governor[],
  kind: RateKind,
  nowMs: number,
): void {
  const minute = Math.floor(nowMs / MINUTE_MS);
  for (const { name } of limitsOn(governors, kind)) {
    const counted = state.rates.get(name);
    state.rates.set(name, { minute, calls: counted?.minute === minute ? counted.calls + 1 : 1 });
  }
}

/** A count is no longer kept: allowed once its minute and the one after it are over. */
export function forgetCount(state: ModelState, name: string, nowMs: number): void {
  const counted = state.rates.get(name);
  if (counted !== undefined && counted.minute >= Math.floor(nowMs / MINUTE_MS) - 1) {
    throw new Error(`rates: ${name} is forgotten, which counts minute ${counted.minute}`);
  }
  state.rates.delete(name);
}

function policyBody(policy: ModelPolicy): Members {
  const { fromMs, untilMs } = policy;
  return {
    policy_id: policy.id,
    name: policy.name,
    scope_pattern: policy.pattern,
    priority: policy.priority,
    caps: policy.caps,
    commit_overage_policy: policy.overage,
    reservation_ttl_override: policy.ttl,
    rate_limits: policy.rates,
    status: policy.status,
    effective_from: fromMs === undefined ? undefined : isoTime(fromMs),
    effective_until: untilMs === undefined ? undefined : isoTime(untilMs),
    created_at: isoTime(policy.createdAtMs),
    updated_at: isoTime(policy.updatedAtMs),
  };
}
