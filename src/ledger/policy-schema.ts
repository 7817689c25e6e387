// The wire shapes of policies and periods: what an operator may send, and how the records are shown. Invariant: as in
// schema.ts, bodies are closed objects; a member that is given empty (`{}`) says nothing and takes back what was said.
// Who may call: the operations on policies and on periods.

import * as v from "valibot";
import type { PageBody } from "./admin-wire.ts";
import { LIMITS } from "./limits.ts";
import { CALENDAR_PERIODS, isTimeZone, type Period } from "./periods.ts";
import type { PolicyRecord, PolicyRules } from "./policies.ts";
import {
  type Amount,
  amount,
  instant,
  integer,
  nonBlank,
  note,
  objectMessage,
  options,
  overagePolicy,
  pageLimit,
  type Unit,
} from "./schema.ts";
import type { AccountRecord, WindowRecord } from "./store.ts";
import { isoTime } from "./wire.ts";

// ---- policies --------------------------------------------------------------------------------------------------

const anyCount = integer(0, Number.MAX_SAFE_INTEGER);
const ttlMs = integer(LIMITS.ttlMsMin, LIMITS.ttlMsMax);
const perMinute = integer(1, LIMITS.ratePerMinuteMax);
const tools = v.pipe(
  v.array(note(LIMITS.capsToolLengthMax), "must be an array"),
  v.maxLength(LIMITS.capsToolsMax, `must have at most ${LIMITS.capsToolsMax} entries`),
);

const caps = options({
  max_tokens: v.optional(anyCount),
  max_steps_remaining: v.optional(anyCount),
  tool_allowlist: v.optional(tools),
  tool_denylist: v.optional(tools),
  cooldown_ms: v.optional(anyCount),
});

/** What may be set when a policy is made, and changed afterwards. */
const settings = {
  description: v.optional(note(LIMITS.descriptionLengthMax)),
  priority: v.optional(integer(0, LIMITS.policyPriorityMax)),
  caps: v.optional(caps),
  commit_overage_policy: v.optional(overagePolicy),
  reservation_ttl_override: v.optional(
    options({
      default_ttl_ms: v.optional(ttlMs),
      max_ttl_ms: v.optional(ttlMs),
      max_extensions: v.optional(integer(0, LIMITS.extensionsMax)),
    }),
  ),
  rate_limits: v.optional(
    options({
      max_reservations_per_minute: v.optional(perMinute),
      max_commits_per_minute: v.optional(perMinute),
    }),
  ),
  effective_from: v.optional(instant),
  effective_until: v.optional(instant),
};

export const policySchema = v.strictObject(
  {
    tenant_id: v.optional(v.string("must be a string")),
    name: nonBlank(LIMITS.nameLengthMax),
    scope_pattern: v.string("must be a string"),
    ...settings,
  },
  objectMessage,
);

const status = v.picklist(["ACTIVE", "DISABLED"], "must be ACTIVE or DISABLED");

export const policyPatchSchema = options({
  name: v.optional(nonBlank(LIMITS.nameLengthMax)),
  status: v.optional(status),
  ...settings,
});

export const policyListSchema = v.object(
  {
    scope_pattern: v.optional(v.string("must be a string")),
    status: v.optional(status),
    limit: pageLimit(LIMITS.pageRowsMax),
    cursor: v.optional(v.string("must be a string")),
  },
  objectMessage,
);

export type PolicyRequest = v.InferOutput<typeof policySchema>;
export type PolicyPatch = v.InferOutput<typeof policyPatchSchema>;

/** The rules that these members say, on top of those that stood before. */
export function rulesOf(
  request: Omit<PolicyPatch, "name" | "status">,
  before: PolicyRules = {},
): PolicyRules {
  const { reservation_ttl_override: ttl, rate_limits: rates } = request;
  return {
    caps: request.caps === undefined ? before.caps : unlessEmpty(request.caps),
    commitOveragePolicy: request.commit_overage_policy ?? before.commitOveragePolicy,
    ttl:
      ttl === undefined
        ? before.ttl
        : unlessEmpty({
            defaultMs: ttl.default_ttl_ms,
            maxMs: ttl.max_ttl_ms,
            extensionsMax: ttl.max_extensions,
          }),
    rates:
      rates === undefined
        ? before.rates
        : unlessEmpty({
            reservationsPerMinute: rates.max_reservations_per_minute,
            commitsPerMinute: rates.max_commits_per_minute,
          }),
  };
}

function unlessEmpty<T extends object>(value: T): T | undefined {
  return Object.values(value).some((member) => member !== undefined) ? value : undefined;
}

/** @see Cycles governance, Policy */
export interface PolicyBody {
  readonly policy_id: string;
  readonly name: string;
  readonly description?: string;
  readonly scope_pattern: string;
  readonly priority: number;
  readonly caps?: NonNullable<PolicyRules["caps"]>;
  readonly commit_overage_policy?: NonNullable<PolicyRules["commitOveragePolicy"]>;
  readonly reservation_ttl_override?: {
    readonly default_ttl_ms?: number;
    readonly max_ttl_ms?: number;
    readonly max_extensions?: number;
  };
  readonly rate_limits?: {
    readonly max_reservations_per_minute?: number;
    readonly max_commits_per_minute?: number;
  };
  readonly status: PolicyRecord["status"];
  readonly effective_from?: string;
  readonly effective_until?: string;
  readonly created_at: string;
  readonly updated_at: string;
}

/** @see Cycles governance, PolicyListResponse */
export type PolicyListBody = PageBody<"policies", PolicyBody>;

export function policyBody(policy: PolicyRecord): PolicyBody {
  const { rules, effectiveFromMs: fromMs, effectiveUntilMs: untilMs } = policy;
  const { ttl, rates } = rules;
  return {
    policy_id: policy.policyId,
    name: policy.name,
    ...(policy.description !== undefined && { description: policy.description }),
    scope_pattern: policy.scopePattern,
    priority: policy.priority,
    ...(rules.caps !== undefined && { caps: rules.caps }),
    ...(rules.commitOveragePolicy !== undefined && { commit_overage_policy: rules.commitOveragePolicy }),
    ...(ttl !== undefined && {
      reservation_ttl_override: {
        ...(ttl.defaultMs !== undefined && { default_ttl_ms: ttl.defaultMs }),
        ...(ttl.maxMs !== undefined && { max_ttl_ms: ttl.maxMs }),
        ...(ttl.extensionsMax !== undefined && { max_extensions: ttl.extensionsMax }),
      },
    }),
    ...(rates !== undefined && {
      rate_limits: {
        ...(rates.reservationsPerMinute !== undefined && {
          max_reservations_per_minute: rates.reservationsPerMinute,
        }),
        ...(rates.commitsPerMinute !== undefined && { max_commits_per_minute: rates.commitsPerMinute }),
      },
    }),
    status: policy.status,
    ...(fromMs !== undefined && { effective_from: isoTime(fromMs) }),
    ...(untilMs !== undefined && { effective_until: isoTime(untilMs) }),
    created_at: isoTime(policy.createdAtMs),
    updated_at: isoTime(policy.updatedAtMs),
  };
}

// ---- periods ---------------------------------------------------------------------------------------------------

const periodMs = integer(LIMITS.periodMsMin, LIMITS.periodMsMax);
const timeZone = v.pipe(
  v.string("must be a string"),
  v.check(
    (value) => value.length <= LIMITS.timeZoneLengthMax && isTimeZone(value),
    "must be an IANA time zone like Europe/Berlin",
  ),
);

export const periodSchema = v.pipe(
  v.strictObject(
    {
      kind: v.picklist([...CALENDAR_PERIODS, "every"], `must be ${CALENDAR_PERIODS.join(", ")} or every`),
      time_zone: v.optional(timeZone),
      every_ms: v.optional(periodMs),
      starts_at: v.optional(instant),
      allocated: v.optional(amount),
    },
    objectMessage,
  ),
  v.check(
    ({ kind, every_ms: everyMs }) => (kind === "every") === (everyMs !== undefined),
    "must give every_ms with kind every, and only then",
  ),
  v.check(
    ({ kind, starts_at: startsAt }) => kind === "every" || startsAt === undefined,
    "must give starts_at only with kind every",
  ),
  v.check(
    ({ kind, time_zone: zone }) => kind !== "every" || zone === undefined,
    "must not give time_zone with kind every",
  ),
);

export type PeriodRequest = v.InferOutput<typeof periodSchema>;

export function periodOf({
  kind,
  time_zone: zone,
  every_ms: everyMs,
  starts_at: startsAt,
}: PeriodRequest): Period {
  return kind === "every"
    ? { kind, everyMs: everyMs ?? LIMITS.periodMsMax, anchorMs: startsAt ?? 0 }
    : { kind, timeZone: zone ?? "UTC" };
}

/** A window of a budget. `carried_debt` is what it took over from others; it is part of its own spent and debt. */
export interface WindowBody {
  readonly starts_at: string;
  readonly ends_at?: string;
  readonly allocated: Amount;
  readonly remaining: Amount;
  readonly reserved: Amount;
  readonly spent: Amount;
  readonly debt: Amount;
  readonly carried_debt: Amount;
}

export interface PeriodBody {
  readonly scope: string;
  readonly unit: Unit;
  /** Absent where the budget has no period. */
  readonly period?: {
    readonly kind: Period["kind"];
    readonly time_zone?: string;
    readonly every_ms?: number;
    readonly starts_at?: string;
    readonly allocated: Amount;
  };
  readonly window: WindowBody;
  /** The latest first. */
  readonly passed_windows: readonly WindowBody[];
}

export function periodBody(account: AccountRecord, passed: readonly WindowRecord[]): PeriodBody {
  const { scope, unit, period, window, createdAtMs } = account;
  const amountOf = (value: bigint): Amount => ({ unit, amount: value });
  const windowBody = (
    figures: Pick<WindowRecord, "allocated" | "spent" | "reserved" | "debt">,
    { startMs, endMs, carriedDebt }: NonNullable<AccountRecord["window"]>,
  ): WindowBody => ({
    starts_at: isoTime(startMs),
    ...(endMs !== undefined && { ends_at: isoTime(endMs) }),
    allocated: amountOf(figures.allocated),
    remaining: amountOf(figures.allocated - figures.spent - figures.reserved - figures.debt),
    reserved: amountOf(figures.reserved),
    spent: amountOf(figures.spent),
    debt: amountOf(figures.debt),
    carried_debt: amountOf(carriedDebt),
  });
  return {
    scope,
    unit,
    ...(period !== undefined && {
      period: { ...ruleBody(period.rule), allocated: amountOf(period.allocated) },
    }),
    window: windowBody(account, window ?? { startMs: createdAtMs, carriedDebt: 0n }),
    passed_windows: passed.map((each) => windowBody(each, each)),
  };
}

function ruleBody(rule: Period) {
  return rule.kind === "every"
    ? { kind: rule.kind, every_ms: rule.everyMs, starts_at: isoTime(rule.anchorMs) }
    : { kind: rule.kind, time_zone: rule.timeZone };
}
