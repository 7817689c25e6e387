// The requests about leases, as callers write them and as the ledger then works with them. Not part of the protocol; the
// fields, closed objects and faults are the protocol's own. Who may call: the operations on leases.

import * as v from "valibot";
import { INT64_MAX } from "./int64.ts";
import type { LeaseExpiry, LeaseStatus } from "./lease-record.ts";
import { LEASE_DEFAULTS, LIMITS } from "./limits.ts";
import {
  closed,
  idempotencyKey,
  int64,
  integer,
  nonBlank,
  objectMessage,
  pageLimit,
  subject,
  unit,
} from "./schema.ts";
import type { Subject } from "./scope.ts";

const ttl = v.optional(integer(LIMITS.leaseTtlMsMin, LIMITS.leaseTtlMsMax));
const epoch = integer(1, Number.MAX_SAFE_INTEGER);
const LEASE_STATUSES = ["ACTIVE", "RETURNED", "EXPIRED"] as const satisfies readonly LeaseStatus[];
const LEASE_EXPIRIES = ["charge", "refund"] as const satisfies readonly LeaseExpiry[];

export const leaseSchema = v.pipe(
  closed({
    idempotency_key: idempotencyKey,
    subject,
    unit,
    want: v.pipe(int64, v.minValue(1n, "must be at least 1")),
    min: v.optional(v.pipe(int64, v.minValue(1n, "must be at least 1")), 1n),
    ttl_ms: ttl,
    holder: v.optional(nonBlank(LIMITS.leaseHolderLengthMax)),
  }),
  v.check(({ want, min }) => min <= want, "must have a min that is at most want"),
);

export type LeaseRequest = v.InferOutput<typeof leaseSchema>;

const report = {
  epoch,
  subject: v.optional(subject),
  unit,
  sequence: integer(1, Number.MAX_SAFE_INTEGER),
  spent: int64,
  held: int64,
  returned: int64,
};

/** Together the figures are compared with what was granted, which is one int64. */
const SUM_RULE = `must have spent, held and returned of together at most ${INT64_MAX}`;

export const leaseRenewalSchema = v.pipe(
  closed({ ...report, want: int64, min: v.optional(int64, 0n), ttl_ms: ttl }),
  v.check(({ want, min }) => min <= want, "must have a min that is at most want"),
  v.check(({ spent, held, returned }) => spent + held + returned <= INT64_MAX, SUM_RULE),
);
export const leaseReturnSchema = v.pipe(
  closed(report),
  v.check(({ spent, held, returned }) => spent + held + returned <= INT64_MAX, SUM_RULE),
);
export type LeaseReportRequest = v.InferOutput<typeof leaseReturnSchema>;
export type LeaseRenewalRequest = v.InferOutput<typeof leaseRenewalSchema>;

/** Query parameters are text and unknown ones are ignored, unlike in bodies. */
export const leaseListSchema = v.object(
  {
    status: v.optional(v.picklist(LEASE_STATUSES, `must be one of ${LEASE_STATUSES.join(", ")}`)),
    limit: pageLimit(LIMITS.pageRowsMax),
    cursor: v.optional(v.string("must be a string")),
  },
  objectMessage,
);

/** All of the settings: what is left out is what it was in the beginning. */
export const leaseSettingsSchema = closed({
  on_expiry: v.optional(
    v.picklist(LEASE_EXPIRIES, `must be one of ${LEASE_EXPIRIES.join(", ")}`),
    LEASE_DEFAULTS.onExpiry,
  ),
  ttl_ms_max: v.optional(integer(LIMITS.leaseTtlMsMin, LIMITS.leaseTtlMsMax), LEASE_DEFAULTS.ttlMsMax),
  grace_ms: v.optional(integer(0, LIMITS.leaseGraceMsMax), LEASE_DEFAULTS.graceMs),
});

/** What callers in TypeScript write; the schemas above are the judge. */
export interface LeaseInput {
  readonly idempotency_key: string;
  readonly subject: Subject;
  readonly unit: v.InferOutput<typeof unit>;
  readonly want: bigint | number;
  readonly min?: bigint | number;
  readonly ttl_ms?: number;
  readonly holder?: string;
}

export interface LeaseReturnInput {
  readonly epoch: number;
  /** Only looked at where the store does not know the lease: then it names the path that is charged. */
  readonly subject?: Subject;
  readonly unit: v.InferOutput<typeof unit>;
  readonly sequence: number;
  readonly spent: bigint | number;
  readonly held: bigint | number;
  readonly returned: bigint | number;
}

export interface LeaseRenewalInput extends LeaseReturnInput {
  readonly want: bigint | number;
  readonly min?: bigint | number;
  readonly ttl_ms?: number;
}

export interface LeasesQuery {
  readonly status?: LeaseStatus;
  readonly limit?: number | string;
  readonly cursor?: string;
}

export interface LeaseSettingsInput {
  readonly on_expiry?: LeaseExpiry;
  readonly ttl_ms_max?: number;
  readonly grace_ms?: number;
}
