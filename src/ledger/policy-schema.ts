// The wire shapes of policies: what may be sent, and how the records are shown. Invariant: as in schema.ts, bodies are
// closed objects; a rule that is an object and given empty (`{}`) says nothing, and takes back what was said.
// Who may call: the operations on policies.

import * as v from "valibot";
import type { PageBody } from "./admin-wire.ts";
import { LIMITS } from "./limits.ts";
import type { PolicyRecord, PolicyRules } from "./policies.ts";
import {
  closed,
  instant,
  integer,
  nonBlank,
  note,
  objectMessage,
  overagePolicy,
  pageLimit,
} from "./schema.ts";
import { isoTime } from "./wire.ts";

const anyCount = integer(0, Number.MAX_SAFE_INTEGER);
const ttlMs = integer(LIMITS.ttlMsMin, LIMITS.ttlMsMax);
const perMinute = integer(1, LIMITS.ratePerMinuteMax);
const tools = v.pipe(
  v.array(note(LIMITS.capsToolLengthMax), "must be an array"),
  v.maxLength(LIMITS.capsToolsMax, `must have at most ${LIMITS.capsToolsMax} entries`),
);

const caps = closed({
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
    closed({
      default_ttl_ms: v.optional(ttlMs),
      max_ttl_ms: v.optional(ttlMs),
      max_extensions: v.optional(integer(0, LIMITS.extensionsMax)),
    }),
  ),
  rate_limits: v.optional(
    closed({
      max_reservations_per_minute: v.optional(perMinute),
      max_commits_per_minute: v.optional(perMinute),
    }),
  ),
  effective_from: v.optional(instant),
  effective_until: v.optional(instant),
};

export const policySchema = closed({
  tenant_id: v.optional(v.string("must be a string")),
  name: nonBlank(LIMITS.nameLengthMax),
  scope_pattern: v.string("must be a string"),
  ...settings,
});

const status = v.picklist(["ACTIVE", "DISABLED"], "must be ACTIVE or DISABLED");

export const policyPatchSchema = closed({
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
