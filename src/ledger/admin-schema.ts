// The wire shapes of the governance plane's requests: tenants, budgets, API keys, the audit log. Invariant: as schema.ts,
// bodies are closed objects; queries are text, ignore what they don't know, and take a blank filter for no filter.
// Who may call: the operations of the governance plane, and the tenants' registry for its list.

import * as v from "valibot";
import type { FundOperation } from "../kernel/accounts.ts";
import { LIMITS } from "./limits.ts";
import { PERMISSIONS } from "./permissions.ts";
import {
  amount,
  closed,
  idempotencyKey,
  instant,
  integer,
  keepable,
  metadata,
  nonBlank,
  note,
  objectMessage,
  overagePolicy,
  pageLimit,
  texts,
  UNITS,
  unit,
} from "./schema.ts";
import { isScopeFilterEntry, isTenantId } from "./scope.ts";
import { hasAtMostCharacters } from "./text.ts";

const FUND_OPERATIONS = [
  "CREDIT",
  "DEBIT",
  "RESET",
  "RESET_SPENT",
  "REPAY_DEBT",
] as const satisfies readonly FundOperation[];

// ---- tenants ---------------------------------------------------------------------------------------------------

const tenantId = v.pipe(
  v.string("must be a string"),
  v.check((value) => isTenantId(value), "must be 3 to 64 lower-case letters, digits or '-'"),
);

const tenantMetadata = v.pipe(
  texts(LIMITS.tenantMetadataEntriesMax, v.string("must be a string")),
  keepable(),
);

/** What an operator may set when a tenant is made, and change afterwards. */
const tenantSettings = {
  metadata: v.optional(tenantMetadata),
  default_commit_overage_policy: v.optional(overagePolicy),
  default_reservation_ttl_ms: v.optional(integer(LIMITS.ttlMsMin, LIMITS.ttlMsMax)),
  max_reservation_ttl_ms: v.optional(integer(LIMITS.ttlMsMin, LIMITS.ttlMsMax)),
  max_reservation_extensions: v.optional(integer(0, LIMITS.extensionsMax)),
};

export const tenantSchema = closed({
  tenant_id: tenantId,
  name: nonBlank(LIMITS.nameLengthMax),
  parent_tenant_id: v.optional(tenantId),
  ...tenantSettings,
  // MANUAL_CLEANUP contradicts the rule that an expired reservation answers 410, so it is refused, not ignored.
  reservation_expiry_policy: v.optional(
    v.picklist(
      ["AUTO_RELEASE", "GRACE_ONLY"],
      "must be AUTO_RELEASE or GRACE_ONLY; MANUAL_CLEANUP is not offered",
    ),
  ),
});

const tenantStatus = v.picklist(["ACTIVE", "SUSPENDED", "CLOSED"], "must be ACTIVE, SUSPENDED or CLOSED");

export const tenantPatchSchema = closed({
  name: v.optional(nonBlank(LIMITS.nameLengthMax)),
  status: v.optional(tenantStatus),
  ...tenantSettings,
});

// ---- budgets ---------------------------------------------------------------------------------------------------

export const budgetSchema = closed({
  tenant_id: v.optional(tenantId),
  scope: v.string("must be a string"),
  unit,
  allocated: amount,
  overdraft_limit: v.optional(amount),
  commit_overage_policy: v.optional(overagePolicy),
  rollover_policy: v.optional(
    v.picklist(
      ["NONE", "CARRY_FORWARD", "CAP_AT_ALLOCATED"],
      "must be NONE, CARRY_FORWARD or CAP_AT_ALLOCATED",
    ),
  ),
  period_start: v.optional(instant),
  period_end: v.optional(instant),
  metadata: v.optional(metadata),
});

/** The query that names one budget. */
export const budgetNameSchema = v.object({ scope: v.string("must be a string"), unit }, objectMessage);

export const budgetPatchSchema = closed({
  overdraft_limit: v.optional(amount),
  commit_overage_policy: v.optional(overagePolicy),
  metadata: v.optional(metadata),
});

/** The body of freeze and unfreeze: why. */
export const transitionSchema = closed({
  reason: v.optional(note(LIMITS.reasonLengthMax)),
  metadata: v.optional(metadata),
});

export const fundSchema = closed({
  operation: v.picklist(FUND_OPERATIONS, `must be one of ${FUND_OPERATIONS.join(", ")}`),
  amount,
  spent: v.optional(amount),
  reason: v.optional(note(LIMITS.reasonLengthMax)),
  // Optional in the schema, required by the prose of the same page: without it a retry funds twice.
  idempotency_key: idempotencyKey,
  metadata: v.optional(metadata),
});

// ---- API keys --------------------------------------------------------------------------------------------------

/** What an operator may set when a key is made, and change afterwards. */
const keySettings = {
  description: v.optional(note(LIMITS.descriptionLengthMax)),
  permissions: v.optional(
    v.pipe(
      v.array(v.picklist(PERMISSIONS, "must be a known permission"), "must be an array"),
      v.maxLength(LIMITS.permissionsMax, `must have at most ${LIMITS.permissionsMax} entries`),
    ),
  ),
  scope_filter: v.optional(
    v.pipe(
      v.array(
        v.pipe(v.string("must be a string"), v.check(isScopeFilterEntry, "must be level:id or level:*")),
        "must be an array",
      ),
      v.maxLength(LIMITS.scopeFilterMax, `must have at most ${LIMITS.scopeFilterMax} entries`),
    ),
  ),
  metadata: v.optional(metadata),
};

export const apiKeySchema = closed({
  tenant_id: tenantId,
  name: nonBlank(LIMITS.nameLengthMax),
  expires_at: v.optional(instant),
  ...keySettings,
});

export const apiKeyPatchSchema = closed({
  name: v.optional(nonBlank(LIMITS.nameLengthMax)),
  ...keySettings,
});

export const revokeSchema = v.object({ reason: v.optional(note(LIMITS.reasonLengthMax)) }, objectMessage);

// ---- lists -----------------------------------------------------------------------------------------------------

/** A filter of a query: text by itself, no filter where it is blank. */
export function filter<Output>(schema: v.GenericSchema<string, Output>) {
  return v.optional(
    v.pipe(
      v.string("must be a string"),
      v.transform((value) => (value === "" ? undefined : value)),
      v.optional(schema),
    ),
  );
}

const search = filter(
  v.pipe(
    v.string(),
    v.check(
      (value) => hasAtMostCharacters(value, LIMITS.searchLengthMax),
      `must be at most ${LIMITS.searchLengthMax} characters long`,
    ),
    v.transform((value) => value.toLowerCase()),
  ),
);
const plain = filter(v.string());
const flag = filter(
  v.pipe(
    v.picklist(["true", "false"], "must be true or false"),
    v.transform((value) => value === "true"),
  ),
);
const fraction = filter(
  v.pipe(
    v.string(),
    v.regex(/^(?:0(?:\.[0-9]+)?|1(?:\.0+)?|\.[0-9]+)$/, "must be a number from 0 to 1"),
    v.transform(Number),
  ),
);
const httpStatus = filter(
  v.pipe(v.string(), v.regex(/^[1-5][0-9]{2}$/, "must be an integer from 100 to 599"), v.transform(Number)),
);
/** One of several: values separated by commas. */
const oneOf = filter(
  v.pipe(
    v.string(),
    v.transform((value) => value.split(",")),
    v.maxLength(LIMITS.filterValuesMax, `must have at most ${LIMITS.filterValuesMax} values`),
  ),
);
/** Of every list: how many rows, and from where. */
const page = {
  limit: pageLimit(LIMITS.adminPageRowsMax),
  cursor: plain,
};

export const tenantListSchema = v.object(
  { status: filter(tenantStatus), parent_tenant_id: plain, search, ...page },
  objectMessage,
);

export const budgetListSchema = v.pipe(
  v.object(
    {
      scope_prefix: filter(
        v.pipe(
          v.string(),
          v.transform((value) => value.toLowerCase()),
        ),
      ),
      unit: filter(v.picklist(UNITS, `must be one of ${UNITS.join(", ")}`)),
      status: filter(v.picklist(["ACTIVE", "FROZEN", "CLOSED"], "must be ACTIVE, FROZEN or CLOSED")),
      over_limit: flag,
      has_debt: flag,
      utilization_min: fraction,
      utilization_max: fraction,
      search,
      ...page,
    },
    objectMessage,
  ),
  v.check(
    ({ utilization_min: min = 0, utilization_max: max = 1 }) => min <= max,
    "must have utilization_min at most utilization_max",
  ),
);

export const apiKeyListSchema = v.object(
  {
    status: filter(v.picklist(["ACTIVE", "REVOKED", "EXPIRED"], "must be ACTIVE, REVOKED or EXPIRED")),
    search,
    ...page,
  },
  objectMessage,
);

export const auditListSchema = v.pipe(
  v.object(
    {
      key_id: plain,
      operation: oneOf,
      resource_type: oneOf,
      resource_id: plain,
      status: httpStatus,
      status_min: httpStatus,
      status_max: httpStatus,
      error_code: oneOf,
      error_code_exclude: oneOf,
      from: filter(instant),
      to: filter(instant),
      trace_id: plain,
      request_id: plain,
      search,
      ...page,
    },
    objectMessage,
  ),
  v.check(
    ({ status, status_min, status_max }) =>
      status === undefined || (status_min === undefined && status_max === undefined),
    "must not combine status with status_min or status_max",
  ),
  v.check(
    ({ status_min = 100, status_max = 599 }) => status_min <= status_max,
    "must have status_min at most status_max",
  ),
  v.check(({ from = 0, to = from }) => from <= to, "must have from at most to"),
);

export type TenantRequest = v.InferOutput<typeof tenantSchema>;
export type TenantPatch = v.InferOutput<typeof tenantPatchSchema>;
export type FundRequest = v.InferOutput<typeof fundSchema>;
export type TenantListQuery = v.InferOutput<typeof tenantListSchema>;
export type BudgetListQuery = v.InferOutput<typeof budgetListSchema>;
export type ApiKeyListQuery = v.InferOutput<typeof apiKeyListSchema>;
export type AuditListQuery = v.InferOutput<typeof auditListSchema>;
