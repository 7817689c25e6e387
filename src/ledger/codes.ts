// What the ledger may answer. A refusal is a value: one code from this list, the HTTP status it has, a message that
// names what failed. Codes are the Cycles protocol's (a closed list on the runtime plane) and the governance plane's.
// Who may call: every operation of the ledger, and the HTTP front for refusals of its own.

import type { PathRefusal } from "../kernel/accounts.ts";
import type { JsonObject } from "./json.ts";

/** @see Cycles protocol, ErrorCode; the last group is legal on the governance plane only */
export const ERROR_CODES = [
  "INVALID_REQUEST",
  "UNIT_MISMATCH",
  "UNAUTHORIZED",
  "FORBIDDEN",
  "NOT_FOUND",
  "BUDGET_EXCEEDED",
  "BUDGET_FROZEN",
  "BUDGET_CLOSED",
  "OVERDRAFT_LIMIT_EXCEEDED",
  "DEBT_OUTSTANDING",
  "RESERVATION_FINALIZED",
  "IDEMPOTENCY_MISMATCH",
  "MAX_EXTENSIONS_EXCEEDED",
  "TENANT_CLOSED",
  "RESERVATION_EXPIRED",
  "LIMIT_EXCEEDED",
  "INTERNAL_ERROR",

  "TENANT_NOT_FOUND",
  "BUDGET_NOT_FOUND",
  "INSUFFICIENT_PERMISSIONS",
  "DUPLICATE_RESOURCE",
  "KEY_REVOKED",
  "KEY_EXPIRED",
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** Apart from the names, since clients need those alone. */
export const STATUS_OF_ERROR = {
  INVALID_REQUEST: 400,
  UNIT_MISMATCH: 400,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  BUDGET_EXCEEDED: 409,
  BUDGET_FROZEN: 409,
  BUDGET_CLOSED: 409,
  OVERDRAFT_LIMIT_EXCEEDED: 409,
  DEBT_OUTSTANDING: 409,
  RESERVATION_FINALIZED: 409,
  IDEMPOTENCY_MISMATCH: 409,
  MAX_EXTENSIONS_EXCEEDED: 409,
  TENANT_CLOSED: 409,
  RESERVATION_EXPIRED: 410,
  LIMIT_EXCEEDED: 429,
  INTERNAL_ERROR: 500,

  TENANT_NOT_FOUND: 400,
  BUDGET_NOT_FOUND: 404,
  INSUFFICIENT_PERMISSIONS: 403,
  DUPLICATE_RESOURCE: 409,
  KEY_REVOKED: 409,
  KEY_EXPIRED: 409,
} as const satisfies Readonly<Record<ErrorCode, number>>;

/** A request that changed nothing. `status` is the HTTP status that goes with `error`. */
export interface Refusal {
  readonly ok: false;
  readonly status: number;
  readonly error: ErrorCode;
  readonly message: string;
  readonly details?: JsonObject;
  /** When to come back, where that is known. The HTTP front makes `Retry-After` of it. */
  readonly retryAfterMs?: number;
}

export interface Success<Body> {
  readonly ok: true;
  readonly status: 200 | 201;
  readonly body: Body;
}

export type Reply<Body> = Success<Body> | Refusal;

export function refuse(error: ErrorCode, message: string, details?: JsonObject): Refusal {
  const status = STATUS_OF_ERROR[error];
  return details === undefined
    ? { ok: false, status, error, message }
    : { ok: false, status, error, message, details };
}

/** The tenant's object cannot decide now and will soon. The protocol has no code for that; status and time say it. */
export function busy(message: string): Refusal {
  return { ...refuse("INTERNAL_ERROR", message), status: 503, retryAfterMs: 1_000 };
}

export function succeed<Body>(body: Body, status: 200 | 201 = 200): Success<Body> {
  return { ok: true, status, body };
}

/** The reason words of 401 that clients and people read in the message. */
export type KeyRefusal =
  | "Missing API key"
  | "KEY_NOT_FOUND"
  | "INVALID_KEY"
  | "KEY_REVOKED"
  | "KEY_EXPIRED"
  | "KEY_NOT_OWNED_BY_TENANT"
  | "TENANT_SUSPENDED"
  | "TENANT_CLOSED";

export function unauthorized(reason: KeyRefusal): Refusal {
  return refuse("UNAUTHORIZED", reason);
}

/** The code and the words for each way the kernel refuses a path of accounts. */
export const PATH_REFUSALS: Readonly<Record<PathRefusal, { error: ErrorCode; words: string }>> = {
  over_limit: { error: "OVERDRAFT_LIMIT_EXCEEDED", words: "Overdraft limit exceeded for" },
  frozen: { error: "BUDGET_FROZEN", words: "Budget frozen for" },
  closed: { error: "BUDGET_CLOSED", words: "Budget closed for" },
  debt_outstanding: { error: "DEBT_OUTSTANDING", words: "Debt outstanding for" },
  exceeds_available: { error: "BUDGET_EXCEEDED", words: "Budget exceeded for" },
  overdraft_limit_exceeded: { error: "OVERDRAFT_LIMIT_EXCEEDED", words: "Overdraft limit exceeded for" },
  overflow: { error: "INVALID_REQUEST", words: "The amount would exceed a signed 64-bit balance of" },
};
