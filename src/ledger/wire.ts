// The bodies of replies, and how records become them. Invariant: closed shapes, no null, no key without a value;
// amounts are BigInt; every emitted balance satisfies remaining = allocated − spent − reserved − debt.
// Who may call: the operations. Field names are the protocol's own.

import type { AccountArithmetic } from "../kernel/accounts.ts";
import { isSafeAmount } from "./int64.ts";
import { type JsonObject, type JsonValue, readStoredJson } from "./json.ts";
import type { Capabilities } from "./permissions.ts";
import type { Caps } from "./policies.ts";
import type { Action, Amount } from "./schema.ts";
import { leafOf, type Subject, scopePathOf, scopesOf } from "./scope.ts";
import type { AccountRecord, Reservation } from "./store.ts";
import { isCapScope } from "./tokens.ts";

/** @see Cycles protocol, Balance */
export interface BalanceBody {
  readonly scope: string;
  readonly scope_path: string;
  readonly remaining: Amount;
  readonly reserved: Amount;
  readonly spent: Amount;
  readonly allocated: Amount;
  readonly debt?: Amount;
  readonly overdraft_limit?: Amount;
  readonly is_over_limit?: true;
}

/** @see Cycles protocol, ReservationCreateResponse */
export interface ReserveBody {
  readonly decision: "ALLOW" | "ALLOW_WITH_CAPS" | "DENY";
  /** If and only if the decision is ALLOW_WITH_CAPS. */
  readonly caps?: Caps;
  readonly reservation_id?: string;
  readonly affected_scopes: readonly string[];
  readonly expires_at_ms?: number;
  readonly remaining_ttl_ms?: number;
  readonly scope_path?: string;
  readonly reserved?: Amount;
  readonly balances?: readonly BalanceBody[];
  readonly reason_code?: string;
  /** On a DENY that the budgets' own periods will have lifted by then. */
  readonly retry_after_ms?: number;
}

/** @see Cycles protocol, DecisionResponse */
export interface DecideBody {
  readonly decision: "ALLOW" | "ALLOW_WITH_CAPS" | "DENY";
  /** If and only if the decision is ALLOW_WITH_CAPS. */
  readonly caps?: Caps;
  readonly reason_code?: string;
  /** On a DENY that the budgets' own periods will have lifted by then. */
  readonly retry_after_ms?: number;
  readonly affected_scopes: readonly string[];
}

/** `charged` only where it is less than the actual amount. @see Cycles protocol, EventCreateResponse */
export interface EventBody {
  readonly status: "APPLIED";
  readonly event_id: string;
  readonly charged?: Amount;
  readonly balances?: readonly BalanceBody[];
}

/** @see Cycles protocol, CommitResponse */
export interface CommitBody {
  readonly status: "COMMITTED";
  readonly charged: Amount;
  readonly released?: Amount;
  readonly balances?: readonly BalanceBody[];
}

/** @see Cycles protocol, ReleaseResponse */
export interface ReleaseBody {
  readonly status: "RELEASED";
  readonly released: Amount;
  readonly balances?: readonly BalanceBody[];
}

/** @see Cycles protocol, ReservationExtendResponse */
export interface ExtendBody {
  readonly status: "ACTIVE";
  readonly expires_at_ms: number;
  /** Absent where the API key does not want it. */
  readonly remaining_ttl_ms?: number;
  readonly balances?: readonly BalanceBody[];
}

/** @see Cycles protocol, ReservationDetail and ReservationSummary; a listing has the metadata only where asked for */
export interface ReservationBody {
  readonly reservation_id: string;
  readonly status: Reservation["status"];
  readonly idempotency_key: string;
  readonly subject: Subject;
  readonly action: Action;
  readonly reserved: Amount;
  readonly committed?: Amount;
  readonly created_at_ms: number;
  readonly expires_at_ms: number;
  readonly finalized_at_ms?: number;
  readonly scope_path: string;
  readonly affected_scopes: readonly string[];
  readonly metadata?: JsonObject;
  readonly committed_metadata?: JsonObject;
}

/** @see Cycles protocol, BalanceResponse */
export interface BalancesBody {
  readonly balances: readonly BalanceBody[];
  readonly next_cursor?: string;
  readonly has_more: boolean;
}

/** @see Cycles protocol, ReservationListResponse */
export interface ReservationListBody {
  readonly reservations: readonly ReservationBody[];
  readonly next_cursor?: string;
  readonly has_more: boolean;
}

/** What Purser adds to an API key. */
export interface ApiKeySettingsBody {
  readonly key_id: string;
  readonly tenant_id: string;
  /** Whether replies to reserve and extend say `remaining_ttl_ms`. */
  readonly remaining_ttl_ms: boolean;
  /** Whether it may give away a part of what it may do, as tokens. */
  readonly may_issue_tokens: boolean;
  /** Absent where the key may be used from anywhere. */
  readonly allowed_origins?: readonly string[];
}

/** What a tenant's object counted since it started. @see LedgerCounters */
export interface CountersBody {
  readonly figure_faults: number;
  readonly commits_refused: number;
  readonly events_refused: number;
}

/** @see Cycles governance, AuthIntrospectResponse */
export interface IntrospectBody {
  readonly authenticated: true;
  readonly auth_type: "admin" | "tenant";
  readonly permissions: readonly string[];
  readonly capabilities: Capabilities;
  readonly tenant_id?: string;
  readonly scope_filter?: readonly string[];
}

export function balanceOf(account: AccountRecord, arithmetic: AccountArithmetic): BalanceBody {
  const amount = (value: bigint): Amount => ({ unit: account.unit, amount: value });
  return {
    scope: leafOf(account.scope),
    scope_path: account.scope,
    remaining: amount(arithmetic.remaining(account)),
    reserved: amount(account.reserved),
    spent: amount(account.spent),
    allocated: amount(account.allocated),
    ...(account.debt > 0n && { debt: amount(account.debt) }),
    ...(account.overdraftLimit > 0n && { overdraft_limit: amount(account.overdraftLimit) }),
    ...(arithmetic.isOverLimit(account) && { is_over_limit: true as const }),
  };
}

/**
 * The `balances` member of a decision's reply. Left out when a number exceeds 2^53−1: strict clients then refuse the
 * whole reply and strand the hold, and the member is optional. The caps of tokens are no budgets and not among them.
 */
export function balancesMember(
  accounts: readonly AccountRecord[],
  arithmetic: AccountArithmetic,
): { balances?: BalanceBody[] } {
  const budgets = accounts.filter(({ scope }) => !isCapScope(scope));
  const balances = budgets.map((account) => balanceOf(account, arithmetic));
  const safe = balances.every(({ remaining, reserved, spent, allocated, debt, overdraft_limit }) =>
    [remaining, reserved, spent, allocated, debt, overdraft_limit].every(
      (figure) => figure === undefined || isSafeAmount(figure.amount),
    ),
  );
  return safe ? { balances } : {};
}

export function reservationBody(reservation: Reservation): ReservationBody {
  const { details } = reservation;
  const finished =
    reservation.status === "COMMITTED" || reservation.status === "RELEASED" ? reservation : undefined;
  const committedMetadata = finished?.report?.metadata;
  return {
    reservation_id: reservation.id,
    status: reservation.status,
    idempotency_key: reservation.created.key,
    subject: details.subject,
    action: details.action as Action,
    reserved: { unit: reservation.unit, amount: reservation.amount },
    ...(finished?.charged !== undefined && {
      committed: { unit: reservation.unit, amount: finished.charged },
    }),
    created_at_ms: reservation.createdAtMs,
    expires_at_ms: reservation.expiresAtMs,
    ...(finished !== undefined && { finalized_at_ms: finished.finishedAtMs }),
    scope_path: scopePathOf(details.subject),
    affected_scopes: scopesOf(details.subject),
    ...(details.metadata !== undefined && { metadata: details.metadata }),
    ...(committedMetadata !== undefined && { committed_metadata: committedMetadata }),
  };
}

export function isoTime(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

/** Reads a stored reply back. Its amounts become BigInt again whatever their size, as they were when it was stored. */
export function reviveReply<Body>(text: string): Body {
  return withBigAmounts(readStoredJson(text)) as Body;
}

function withBigAmounts(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(withBigAmounts);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      key === "amount" && typeof item === "number" ? BigInt(item) : withBigAmounts(item),
    ]),
  );
}
