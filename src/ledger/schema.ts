// The wire shapes of requests: what a caller may send, what the ledger then works with, and the validator between.
// Invariant: a validated request holds only known fields, amounts as BigInt within int64, times as safe integers, and
// no blank subject level. Closed objects: an unknown field is an error that names its path. Who may call: operations.

import * as v from "valibot";
import { type Refusal, refuse } from "./codes.ts";
import { INT64_MAX } from "./int64.ts";
import { isBoxedNumber, type JsonObject, stringifyJson, toJsonValue } from "./json.ts";
import { LIMITS } from "./limits.ts";
import { isWebOrigin } from "./origins.ts";
import { LEVELS, SCOPE_VALUE } from "./scope.ts";
import { hasAtMostBytes, hasAtMostCharacters, shorten } from "./text.ts";
import { OVERAGE_POLICIES, UNITS, type Unit } from "./units.ts";

export { OVERAGE_POLICIES, UNITS, type Unit } from "./units.ts";

const RESERVATION_STATUSES = ["ACTIVE", "COMMITTED", "RELEASED", "EXPIRED"] as const;

const RESERVATION_SORTS = [
  "reservation_id",
  "tenant",
  "scope_path",
  "status",
  "reserved",
  "created_at_ms",
  "expires_at_ms",
] as const;

/** An amount in its unit, int64 ≥ 0 (`remaining` alone may be negative). */
export interface Amount {
  readonly unit: Unit;
  readonly amount: bigint;
}

/** An amount as callers may give it: a safe integer or a BigInt. */
export interface AmountInput {
  readonly unit: Unit;
  readonly amount: bigint | number;
}

// ---- fields ----------------------------------------------------------------------------------------------------

function atMost(lengthMax: number, rule = `must be at most ${lengthMax} characters long`) {
  return v.check((value: string) => hasAtMostCharacters(value, lengthMax), rule);
}

/** A text that may be empty. */
export function note(lengthMax: number) {
  return v.pipe(v.string("must be a string"), atMost(lengthMax));
}

function text(lengthMax: number) {
  const rule = `must be 1 to ${lengthMax} characters long`;
  return v.pipe(
    v.string("must be a string"),
    v.minLength(1, rule),
    atMost(lengthMax, rule),
    v.check((value) => value.isWellFormed(), "must be well-formed Unicode"),
  );
}

export function nonBlank(lengthMax: number) {
  return v.pipe(
    text(lengthMax),
    v.check((value) => value.trim() !== "", "must not be blank"),
  );
}

/** A JSON integer within [min, max], as a number. */
export function integer(min: number, max: number) {
  const rule = `must be an integer from ${min} to ${max}`;
  return v.pipe(
    v.unknown(),
    v.rawTransform<unknown, number>(({ dataset, addIssue, NEVER }) => {
      const value = dataset.value;
      if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max)
        return value as number;
      addIssue({ message: rule });
      return NEVER;
    }),
  );
}

export const int64 = v.pipe(
  v.unknown(),
  v.rawTransform<unknown, bigint>(({ dataset, addIssue, NEVER }) => {
    const value = dataset.value;
    const exact = Number.isSafeInteger(value) ? BigInt(value as number) : value;
    if (typeof exact === "bigint" && exact >= 0n && exact <= INT64_MAX) return exact;
    addIssue({ message: `must be an integer from 0 to ${INT64_MAX}` });
    return NEVER;
  }),
);

/** A point in time as ISO 8601 text with an offset; milliseconds since the epoch inside. */
export const instant = v.pipe(
  v.string("must be an ISO 8601 time"),
  v.isoTimestamp("must be an ISO 8601 time with an offset"),
  v.check(isOnCalendar, "must be an ISO 8601 time on a day that exists"),
  v.transform((value) => Date.parse(value)),
);

/** Whether a text of the right form names a moment: `Date.parse` takes 31 February for a day in March. */
function isOnCalendar(text: string): boolean {
  const [year = 0, month = 0, day = 0] = text.slice(0, 10).split("-").map(Number);
  // Day 0 of the next month is the last of this one.
  return day <= new Date(Date.UTC(year, month, 0)).getUTCDate() && Number.isSafeInteger(Date.parse(text));
}

const jsonObject = v.pipe(
  v.unknown(),
  v.rawTransform<unknown, JsonObject>(({ dataset, addIssue, NEVER }) => {
    const value = toJsonValue(dataset.value);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
    addIssue({ message: "must be a JSON object" });
    return NEVER;
  }),
);

const SIZE_RULE = `must take at most ${LIMITS.metadataBytesMax} bytes as JSON`;

/** That what is kept for a caller is small enough to be. */
export function keepable<T extends JsonObject>() {
  return v.check((value: T) => hasAtMostBytes(stringifyJson(value), LIMITS.metadataBytesMax), SIZE_RULE);
}

/** What a caller wants kept and no decision looks at. */
export const metadata = v.pipe(jsonObject, keepable());

const NAME_RULE = `must have names of at most ${LIMITS.dimensionNameLengthMax} characters`;

/**
 * A record of texts, whatever its keys are called. Not `v.record`, which silently drops `constructor`, `prototype` and
 * `__proto__`: what is dropped is not judged, and two requests that differ there would count as the same.
 */
export function texts(entriesMax: number, text: v.GenericSchema<unknown, string>) {
  return v.pipe(
    jsonObject,
    v.rawTransform<JsonObject, Readonly<Record<string, string>>>(({ dataset, addIssue, NEVER }) => {
      const input = dataset.value;
      const entries = Object.entries(input);
      if (entries.length > entriesMax) {
        addIssue({ message: `must have at most ${entriesMax} entries` });
        return NEVER;
      }
      for (const [key, value] of entries) {
        if (!hasAtMostCharacters(key, LIMITS.dimensionNameLengthMax)) {
          addIssue({ message: NAME_RULE });
          return NEVER;
        }
        const [issue] = v.safeParse(text, value, { abortEarly: true }).issues ?? [];
        if (issue === undefined) continue;
        const path = [{ type: "object", origin: "value", input, key, value }] as const;
        addIssue({ message: issue.message, input: value, path: [...path] });
        return NEVER;
      }
      return input as Record<string, string>;
    }),
  );
}

/** A closed object: an unknown field is a fault, and an array, which would pass for an empty one, is none. */
export function closed<const Entries extends v.ObjectEntries>(entries: Entries) {
  return v.pipe(
    v.unknown(),
    v.check((value) => !Array.isArray(value), "must be a JSON object"),
    v.strictObject(entries, objectMessage),
  );
}

/** Rows of one page: an integer, or its text as a query has it. */
export function pageLimit(rowsMax: number) {
  const rule = `must be an integer from 1 to ${rowsMax}`;
  const fromText = v.pipe(v.string(), v.regex(/^[0-9]{1,9}$/), v.transform(Number));
  return v.optional(
    v.pipe(
      v.union([v.number(), fromText], rule),
      v.integer(rule),
      v.minValue(1, rule),
      v.maxValue(rowsMax, rule),
    ),
    LIMITS.pageRowsDefault,
  );
}

export const unit = v.picklist(UNITS, `must be one of ${UNITS.join(", ")}`);
export const overagePolicy = v.picklist(OVERAGE_POLICIES, `must be one of ${OVERAGE_POLICIES.join(", ")}`);
export const amount = closed({ unit, amount: int64 });
export const idempotencyKey = text(LIMITS.idempotencyKeyLengthMax);

// A blank level counts as absent, so it is dropped before the pattern would refuse it.
const level = v.optional(
  v.pipe(
    v.string("must be a string"),
    v.transform((value) => (value.trim() === "" ? undefined : value)),
    v.optional(
      v.pipe(
        v.string(),
        atMost(LIMITS.scopeValueLengthMax),
        v.regex(SCOPE_VALUE, "must consist of letters, digits, '_', '.' or '-'"),
      ),
    ),
  ),
);

export const subject = v.pipe(
  closed({
    tenant: level,
    workspace: level,
    app: level,
    workflow: level,
    agent: level,
    toolset: level,
    dimensions: v.optional(texts(LIMITS.dimensionsMax, note(LIMITS.dimensionLengthMax))),
  }),
  v.check(
    (value) => LEVELS.some((name) => value[name] !== undefined),
    `must give at least one of ${LEVELS.join(", ")}`,
  ),
);

const action = closed({
  kind: nonBlank(LIMITS.actionKindLengthMax),
  name: nonBlank(LIMITS.actionNameLengthMax),
  tags: v.optional(
    v.pipe(
      v.array(note(LIMITS.actionTagLengthMax), "must be an array"),
      v.maxLength(LIMITS.actionTagsMax, `must have at most ${LIMITS.actionTagsMax} entries`),
    ),
  ),
});

const count = integer(0, Number.MAX_SAFE_INTEGER);
const metrics = closed({
  tokens_input: v.optional(count),
  tokens_output: v.optional(count),
  latency_ms: v.optional(count),
  model_version: v.optional(note(LIMITS.modelVersionLengthMax)),
  custom: v.optional(metadata),
});

// ---- the runtime plane -----------------------------------------------------------------------------------------

export const reserveEntries = {
  idempotency_key: idempotencyKey,
  subject,
  action,
  estimate: amount,
  ttl_ms: v.optional(integer(LIMITS.ttlMsMin, LIMITS.ttlMsMax)),
  grace_period_ms: v.optional(integer(0, LIMITS.gracePeriodMsMax), LIMITS.gracePeriodMsDefault),
  overage_policy: v.optional(overagePolicy),
  dry_run: v.optional(v.boolean("must be true or false"), false),
  metadata: v.optional(metadata),
};
export const reserveSchema = closed(reserveEntries);

export const commitSchema = closed({
  idempotency_key: idempotencyKey,
  actual: amount,
  metrics: v.optional(metrics),
  metadata: v.optional(metadata),
});

export const releaseSchema = closed({
  idempotency_key: idempotencyKey,
  reason: v.optional(note(LIMITS.releaseReasonLengthMax)),
});

export const extendSchema = closed({
  idempotency_key: idempotencyKey,
  extend_by_ms: integer(1, LIMITS.extendByMsMax),
  metadata: v.optional(metadata),
});

export const decideSchema = closed({
  idempotency_key: idempotencyKey,
  subject,
  action,
  estimate: amount,
  metadata: v.optional(metadata),
});

export const eventSchema = closed({
  idempotency_key: idempotencyKey,
  subject,
  action,
  actual: amount,
  overage_policy: v.optional(overagePolicy),
  metrics: v.optional(metrics),
  // Advisory: no decision looks at a client's clock.
  client_time_ms: v.optional(count),
  metadata: v.optional(metadata),
});

const cursor = v.optional(v.string("must be a string"));

/** A bound of a time window; a blank one is none, since clients send what a variable without a value renders as. */
const bound = v.optional(
  v.pipe(
    v.string("must be an ISO 8601 time"),
    v.transform((value) => (value.trim() === "" ? undefined : value)),
    v.optional(instant),
  ),
);

/** Query parameters are text and unknown ones are ignored, unlike in bodies. */
export const listSchema = v.object(
  {
    idempotency_key: v.optional(idempotencyKey),
    status: v.optional(v.picklist(RESERVATION_STATUSES, `must be one of ${RESERVATION_STATUSES.join(", ")}`)),
    tenant: level,
    workspace: level,
    app: level,
    workflow: level,
    agent: level,
    toolset: level,
    from: bound,
    to: bound,
    expires_from: bound,
    expires_to: bound,
    finalized_from: bound,
    finalized_to: bound,
    sort_by: v.optional(
      v.picklist(RESERVATION_SORTS, `must be one of ${RESERVATION_SORTS.join(", ")}`),
      "created_at_ms",
    ),
    sort_dir: v.optional(v.picklist(["asc", "desc"], "must be asc or desc"), "desc"),
    include: v.optional(v.string("must be a string"), ""),
    limit: pageLimit(LIMITS.pageRowsMax),
    cursor,
  },
  objectMessage,
);

/** Query parameters are text and unknown ones are ignored, unlike in bodies. */
export const balancesSchema = v.pipe(
  v.object(
    {
      tenant: level,
      workspace: level,
      app: level,
      workflow: level,
      agent: level,
      toolset: level,
      include_children: v.optional(v.unknown()),
      limit: pageLimit(LIMITS.pageRowsMax),
      cursor,
    },
    objectMessage,
  ),
  v.check(
    (value) => LEVELS.some((name) => value[name] !== undefined),
    `must give at least one of ${LEVELS.join(", ")}`,
  ),
);

// ---- Purser's own ----------------------------------------------------------------------------------------------

/** An origin as browsers send it: scheme, host and a port that is not the scheme's own. */
export const origin = v.pipe(
  v.string("must be a string"),
  v.maxLength(LIMITS.originLengthMax, `must be at most ${LIMITS.originLengthMax} characters long`),
  v.check(isWebOrigin, "must be an origin like https://app.example, without a path"),
);

export const apiKeySettingsSchema = closed({
  remaining_ttl_ms: v.optional(v.boolean("must be true or false")),
  may_issue_tokens: v.optional(v.boolean("must be true or false")),
  // An empty list lifts the binding: a key for no origin at all would be a revoked one.
  allowed_origins: v.optional(
    v.pipe(
      v.array(origin, "must be an array"),
      v.maxLength(LIMITS.allowedOriginsMax, `must have at most ${LIMITS.allowedOriginsMax} entries`),
    ),
  ),
});

export type ReserveRequest = v.InferOutput<typeof reserveSchema>;
export type CommitRequest = v.InferOutput<typeof commitSchema>;
export type ListRequest = v.InferOutput<typeof listSchema>;
export type Action = v.InferOutput<typeof action>;
export type Metrics = v.InferOutput<typeof metrics>;

// ---- the validator ---------------------------------------------------------------------------------------------

export type Validated<T> = { readonly ok: true; readonly value: T } | Refusal;

/** Checks `input` against a schema; the refusal names the field's path, the rule and the value. */
export function validate<T>(schema: v.GenericSchema<unknown, T>, input: unknown): Validated<T> {
  const result = v.safeParse(schema, input, { abortEarly: true });
  if (result.success) return { ok: true, value: result.output };
  const [issue] = result.issues;
  const field = v.getDotPath(issue) ?? "request";
  return refuse("INVALID_REQUEST", `${field} ${issue.message}${gotOf(issue)}`, { field });
}

/** The message of a closed object's own faults: not an object, a field missing, a field too many. */
export function objectMessage(issue: v.BaseIssue<unknown>): string {
  if (issue.expected === "never") return "is not a known field";
  if (issue.expected === "Object") return "must be a JSON object";
  return "is required";
}

/** The value at fault, cut short; nothing where the message already says that it is missing or unknown. */
function gotOf(issue: v.BaseIssue<unknown>): string {
  const value = issue.input;
  const isMember = (issue.type === "strict_object" || issue.type === "object") && issue.expected !== "Object";
  if (isMember || value === undefined) return "";
  if (isBoxedNumber(value)) return `, got ${value.valueOf()} written with a fraction or exponent`;
  if (typeof value === "object" && value !== null)
    return Array.isArray(value) ? ", got an array" : ", got an object";
  const shown = typeof value === "string" ? JSON.stringify(value) : String(value);
  return `, got ${shorten(shown, 64)}`;
}
