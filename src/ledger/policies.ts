// Policies: which of an operator's rules govern a request, and what they come to. Invariant: a decision reads the
// policies from memory and looks up at most three patterns per scope, however many policies there are; of those that
// match, the highest priority alone counts, and among equals the tightest value of each field.
// Pure but for the time that is passed in. Who may call: the core, which keeps one set until a policy is written.

import type { OveragePolicy } from "../kernel/accounts.ts";
import { parseScope } from "./scope.ts";

/** Soft constraints for the client to keep. @see Cycles protocol, Caps */
export interface Caps {
  readonly max_tokens?: number | undefined;
  readonly max_steps_remaining?: number | undefined;
  readonly tool_allowlist?: readonly string[] | undefined;
  readonly tool_denylist?: readonly string[] | undefined;
  readonly cooldown_ms?: number | undefined;
}

/** What a policy says; absent members say nothing. @see Cycles governance, Policy */
export interface PolicyRules {
  readonly caps?: Caps | undefined;
  readonly commitOveragePolicy?: OveragePolicy | undefined;
  readonly ttl?:
    | {
        readonly defaultMs?: number | undefined;
        readonly maxMs?: number | undefined;
        readonly extensionsMax?: number | undefined;
      }
    | undefined;
  readonly rates?:
    | { readonly reservationsPerMinute?: number | undefined; readonly commitsPerMinute?: number | undefined }
    | undefined;
}

export interface PolicyRecord {
  readonly policyId: string;
  readonly name: string;
  readonly description?: string | undefined;
  /** Canonical: `tenant:acme/agent:a`, `tenant:acme/*` or `tenant:acme/agent:*`. */
  readonly scopePattern: string;
  readonly priority: number;
  readonly rules: PolicyRules;
  readonly status: "ACTIVE" | "DISABLED";
  readonly effectiveFromMs?: number | undefined;
  /** The first moment at which it no longer counts. */
  readonly effectiveUntilMs?: number | undefined;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

export type RateKind = "reservations" | "commits";

/** At most so many calls of one kind a minute, counted together for everything at or below `scope`. */
export interface RateLimit {
  readonly policyId: string;
  readonly kind: RateKind;
  readonly scope: string;
  readonly perMinute: number;
}

/** What the policies come to for one request. */
export interface Governance {
  readonly caps?: Caps | undefined;
  readonly commitOveragePolicy?: OveragePolicy | undefined;
  readonly ttl: NonNullable<PolicyRules["ttl"]>;
  readonly rates: Readonly<Record<RateKind, readonly RateLimit[]>>;
}

const UNGOVERNED: Governance = { ttl: {}, rates: { reservations: [], commits: [] } };

/** All policies of a tenant, by pattern. */
export class PolicySet {
  readonly records: readonly PolicyRecord[];
  readonly #byPattern: ReadonlyMap<string, readonly PolicyRecord[]>;

  constructor(records: readonly PolicyRecord[]) {
    this.records = records;
    const byPattern = new Map<string, PolicyRecord[]>();
    for (const policy of records) {
      const same = byPattern.get(policy.scopePattern);
      if (same === undefined) byPattern.set(policy.scopePattern, [policy]);
      else same.push(policy);
    }
    this.#byPattern = byPattern;
  }

  /** @param scopes - a request's scopes, shallowest first, budgeted or not */
  governing(scopes: readonly string[], nowMs: number): Governance {
    if (this.#byPattern.size === 0) return UNGOVERNED;
    const matches: Match[] = [];
    for (const { pattern, scope } of patternsOf(scopes)) {
      for (const policy of this.#byPattern.get(pattern) ?? []) {
        if (isInForce(policy, nowMs)) matches.push({ policy, scope });
      }
    }
    if (matches.length === 0) return UNGOVERNED;
    const priority = Math.max(...matches.map(({ policy }) => policy.priority));
    return combine(matches.filter(({ policy }) => policy.priority === priority));
  }
}

/** A policy that fits a request, and the shallowest scope of the request that it fits. */
interface Match {
  readonly policy: PolicyRecord;
  readonly scope: string;
}

export function isInForce(
  { status, effectiveFromMs, effectiveUntilMs }: PolicyRecord,
  nowMs: number,
): boolean {
  return (
    status === "ACTIVE" &&
    (effectiveFromMs === undefined || nowMs >= effectiveFromMs) &&
    (effectiveUntilMs === undefined || nowMs < effectiveUntilMs)
  );
}

/** Every pattern that fits one of these scopes, with the shallowest scope that it fits. */
export function patternsOf(
  scopes: readonly string[],
): { readonly pattern: string; readonly scope: string }[] {
  return scopes.flatMap((scope, index) => {
    const child = scopes[index + 1];
    return [
      { pattern: scope, scope },
      { pattern: `${scope.slice(0, scope.lastIndexOf(":"))}:*`, scope },
      ...(child === undefined ? [] : [{ pattern: `${scope}/*`, scope: child }]),
    ];
  });
}

export type PatternResult =
  | { readonly ok: true; readonly pattern: string; readonly tenant: string }
  | { readonly ok: false; readonly rule: string };

/** Reads an operator's pattern: a scope, a scope and `/*` for all below it, or a scope whose last id is `*`. */
export function parsePattern(text: string): PatternResult {
  const below = text.endsWith("/*");
  const anyId = !below && text.endsWith(":*");
  // Any id will do where the pattern takes every id.
  const sample = below ? text.slice(0, -2) : anyId ? `${text.slice(0, -1)}x` : text;
  const parsed = parseScope(sample);
  if (!parsed.ok) return parsed;
  if (anyId && !sample.includes("/")) return { ok: false, rule: "must name its tenant" };
  const { scope, tenant } = parsed;
  return { ok: true, tenant, pattern: below ? `${scope}/*` : anyId ? `${scope.slice(0, -1)}*` : scope };
}

function combine(matches: readonly Match[]): Governance {
  const rules = matches.map(({ policy }) => policy.rules);
  return {
    caps: tightestCaps(rules.flatMap(({ caps }) => caps ?? [])),
    commitOveragePolicy: OVERAGE_BY_TIGHTNESS.find((each) =>
      rules.some(({ commitOveragePolicy }) => commitOveragePolicy === each),
    ),
    ttl: {
      defaultMs: least(rules.map(({ ttl }) => ttl?.defaultMs)),
      maxMs: least(rules.map(({ ttl }) => ttl?.maxMs)),
      extensionsMax: least(rules.map(({ ttl }) => ttl?.extensionsMax)),
    },
    // Each limit counts for its own scope, so they stand side by side instead of the least winning.
    rates: {
      reservations: ratesOf(matches, "reservations", (rates) => rates.reservationsPerMinute),
      commits: ratesOf(matches, "commits", (rates) => rates.commitsPerMinute),
    },
  };
}

/** Those that refuse most first. */
const OVERAGE_BY_TIGHTNESS: readonly OveragePolicy[] = [
  "REJECT",
  "ALLOW_IF_AVAILABLE",
  "ALLOW_WITH_OVERDRAFT",
];

function ratesOf(
  matches: readonly Match[],
  kind: RateKind,
  limitIn: (rates: NonNullable<PolicyRules["rates"]>) => number | undefined,
): RateLimit[] {
  return matches.flatMap(({ policy: { policyId, rules }, scope }) => {
    const perMinute = limitIn(rules.rates ?? {});
    return perMinute === undefined ? [] : [{ policyId, kind, scope, perMinute }];
  });
}

/** `undefined` where nothing is constrained: then the decision is a plain ALLOW. */
function tightestCaps(caps: readonly Caps[]): Caps | undefined {
  const { allow, deny } = tightestTools(caps);
  const maxTokens = least(caps.map(({ max_tokens }) => max_tokens));
  const maxSteps = least(caps.map(({ max_steps_remaining }) => max_steps_remaining));
  const cooldownMs = greatest(caps.map(({ cooldown_ms }) => cooldown_ms));
  const combined: Caps = {
    ...(maxTokens !== undefined && { max_tokens: maxTokens }),
    ...(maxSteps !== undefined && { max_steps_remaining: maxSteps }),
    ...(allow !== undefined && { tool_allowlist: allow }),
    ...(deny !== undefined && { tool_denylist: deny }),
    ...(cooldownMs !== undefined && { cooldown_ms: cooldownMs }),
  };
  return Object.keys(combined).length === 0 ? undefined : combined;
}

/** No action has a blank name, so this list allows none. An empty one would allow every tool. */
const NO_TOOL: readonly string[] = [""];

/** Within one policy an allowlist hides its denylist, as for clients; across policies a tool must pass every one. */
function tightestTools(caps: readonly Caps[]): {
  allow?: readonly string[] | undefined;
  deny?: readonly string[] | undefined;
} {
  const allowlists = caps.flatMap(({ tool_allowlist: list = [] }) => (list.length > 0 ? [list] : []));
  const denied = caps.flatMap(({ tool_allowlist: allow = [], tool_denylist: deny = [] }) =>
    allow.length > 0 ? [] : deny,
  );
  const [first] = allowlists;
  if (first === undefined) return { deny: denied.length > 0 ? [...new Set(denied)] : undefined };
  const allowed = first.filter(
    (tool) => !denied.includes(tool) && allowlists.every((list) => list.includes(tool)),
  );
  return { allow: allowed.length > 0 ? [...new Set(allowed)] : NO_TOOL };
}

function given(values: readonly (number | undefined)[]): number[] {
  return values.filter((value) => value !== undefined);
}

function least(values: readonly (number | undefined)[]): number | undefined {
  const all = given(values);
  return all.length === 0 ? undefined : Math.min(...all);
}

function greatest(values: readonly (number | undefined)[]): number | undefined {
  const all = given(values);
  return all.length === 0 ? undefined : Math.max(...all);
}
