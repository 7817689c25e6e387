// The interface of an authority, whichever way leads to it: requests, answers and denials in plain TypeScript shapes.
// Invariant: amounts are integers and never rounded: safe numbers, or BigInt where the authority was opened with
// `exact: true`. A denial is a value that says what to do; what is thrown is an AuthorityError (errors.ts) or a
// RangeError or TypeError for a bad argument. Types only; who may use them: anyone.

import type { RetryAdvice } from "../denial.ts";
import type { OveragePolicy } from "../kernel/accounts.ts";
import type { JsonObject } from "../ledger/json.ts";
import type { AmountInput, Unit } from "../ledger/schema.ts";
import type { Subject } from "../ledger/scope.ts";
import type { HeartbeatFailure } from "./heartbeat.ts";
import type { LeaseAuthority } from "./leases.ts";
import type { ReservationGuard } from "./reservation-guard.ts";

/** What amounts are made of: plain numbers, or BigInt where they were asked for. */
export type Figure = number | bigint;
export type FigureOf<Exact extends boolean> = Exact extends true ? bigint : number;

export interface AmountOf<F extends Figure = number> {
  readonly unit: Unit;
  readonly amount: F;
}

/** What is to be done, for the books: `{ kind: "llm.completion", name: "gpt" }`. */
export interface Action {
  readonly kind: string;
  readonly name: string;
  readonly tags?: readonly string[];
}

/** Advice that comes with a decision: the budget allows the action within these limits. */
export interface Caps {
  readonly maxTokens?: number;
  readonly maxStepsRemaining?: number;
  readonly cooldownMs?: number;
  /** If it names any tool, only these; it then outweighs the denylist. */
  readonly toolAllowlist?: readonly string[];
  readonly toolDenylist?: readonly string[];
}

/** What is measured beside the amount, kept with it. */
export interface Metrics {
  readonly tokensInput?: number;
  readonly tokensOutput?: number;
  readonly latencyMs?: number;
  readonly modelVersion?: string;
  readonly custom?: JsonObject;
}

// ---- requests ----------------------------------------------------------------------------------------------------

/** What every request that changes something may carry. */
export interface Keyed {
  /**
   * One key is one change, however often it is sent. Left out, a new one is made, and kept through this call's own
   * retries; an AuthorityError names it, so that the same call can be made again later.
   */
  readonly idempotencyKey?: string;
  readonly metadata?: JsonObject;
}

export interface CallOptions {
  /** Aborting rejects with the signal's reason. The request may have been decided all the same. */
  readonly signal?: AbortSignal;
  /**
   * For what is sent while a page goes: over HTTP the browser then sends it to its end, also if nobody is left to hear the
   * answer or to try again. It carries no more than 64 KiB of those at once. Means nothing on the other ways.
   */
  readonly keepalive?: boolean;
}

export interface GuardOptions extends CallOptions {
  /** Whether the reservation is made to last as long as the guard is open; true by default. */
  readonly heartbeat?: boolean;
  /** Hears of each beat that failed. The call that the guard is for goes on. */
  readonly onHeartbeatError?: (failure: HeartbeatFailure) => void;
}

/** Who acts, and what; the subject's levels are added to those that the authority was opened with. */
export interface Ask extends Keyed {
  readonly subject?: Subject;
  readonly action: Action;
}

export interface DecideRequest extends Ask {
  readonly estimate: AmountInput;
}

export interface ReserveRequest extends DecideRequest {
  /**
   * The least that is of use, in the estimate's unit: then as much of the estimate is reserved as there is, and `reserved`
   * says how much that was. A server of the protocol that is not Purser's answers `NOT_FOUND`.
   */
  readonly min?: Figure;
  /** How long the reservation lasts unless it is extended: 1,000 … 86,400,000; the tenant may have a lower limit. */
  readonly ttlMs?: number;
  /** How long after that it can still be settled. */
  readonly gracePeriodMs?: number;
  /** What becomes of spending beyond the estimate. */
  readonly overagePolicy?: OveragePolicy;
}

export interface CommitRequest extends Keyed {
  /** What was really spent, also where it is more than the estimate. */
  readonly actual: AmountInput;
  readonly metrics?: Metrics;
}

export interface ReleaseRequest extends Omit<Keyed, "metadata"> {
  readonly reason?: string;
}

export interface ExtendRequest extends Keyed {
  readonly extendByMs: number;
}

/** Spending without a reservation. */
export interface EventRequest extends Ask, CommitRequest {
  readonly overagePolicy?: OveragePolicy;
  /** When it happened by the caller's clock; only noted. */
  readonly clientTimeMs?: number;
}

export type Levels = Omit<Subject, "dimensions">;

export type ReservationStatus = "ACTIVE" | "COMMITTED" | "RELEASED" | "EXPIRED";

/** Both ends of a time window belong to it; milliseconds since the epoch. */
export interface ReservationQuery {
  /** Only reservations whose subject has these levels. */
  readonly levels?: Levels;
  readonly idempotencyKey?: string;
  readonly status?: ReservationStatus;
  readonly createdFromMs?: number;
  readonly createdToMs?: number;
  readonly expiresFromMs?: number;
  readonly expiresToMs?: number;
  readonly finalizedFromMs?: number;
  readonly finalizedToMs?: number;
  readonly sortBy?:
    | "reservationId"
    | "tenant"
    | "scopePath"
    | "status"
    | "reserved"
    | "createdAtMs"
    | "expiresAtMs";
  readonly sortDirection?: "asc" | "desc";
  readonly include?: readonly ("metadata" | "committedMetadata")[];
  /** Rows that are fetched at once: 1 … 200. */
  readonly pageRows?: number;
}

// ---- answers -----------------------------------------------------------------------------------------------------

/** One budget on one scope in one unit: remaining = allocated − spent − reserved − debt. */
export interface Balance<F extends Figure = number> {
  readonly scopePath: string;
  readonly unit: Unit;
  /** Below zero where more was spent than there was. */
  readonly remaining: F;
  /** The authority may leave out what follows; Purser's own never does. */
  readonly allocated?: F;
  readonly spent?: F;
  readonly reserved?: F;
  readonly debt: F;
  readonly overdraftLimit: F;
  readonly isOverLimit: boolean;
}

/** The balances that a decision left behind; absent where the authority does not tell, or a figure would not be safe. */
interface WithBalances<F extends Figure> {
  readonly balances?: readonly Balance<F>[];
}

/** A reservation was made. */
export interface Granted<F extends Figure = number> extends WithBalances<F> {
  readonly ok: true;
  readonly decision: "ALLOW" | "ALLOW_WITH_CAPS";
  readonly reservationId: string;
  readonly reserved: AmountOf<F>;
  /** By the authority's clock; to know how long it lasts, use `remainingTtlMs`. */
  readonly expiresAtMs: number;
  readonly remainingTtlMs?: number;
  /** Every scope of the subject, budgeted or not, shallowest first. */
  readonly affectedScopes: readonly string[];
  readonly caps?: Caps;
}

/** A reservation of this size would have been made now. Nothing was taken. */
export interface Permitted {
  readonly ok: true;
  readonly decision: "ALLOW" | "ALLOW_WITH_CAPS";
  readonly affectedScopes: readonly string[];
  readonly caps?: Caps;
}

export interface Committed<F extends Figure = number> extends WithBalances<F> {
  readonly ok: true;
  /** The reservation had expired, so a guard booked the spend as this event. */
  readonly eventId?: string;
  /** What the budgets were charged. */
  readonly charged: AmountOf<F>;
  /** What went back to them. */
  readonly released: AmountOf<F>;
}

export interface Released<F extends Figure = number> extends WithBalances<F> {
  readonly ok: true;
  readonly released: AmountOf<F>;
}

export interface Extended {
  readonly ok: true;
  readonly expiresAtMs: number;
  readonly remainingTtlMs?: number;
}

export interface Recorded<F extends Figure = number> extends WithBalances<F> {
  readonly ok: true;
  readonly eventId: string;
  /** Less than the actual amount where the budget had less and may not owe. */
  readonly charged: AmountOf<F>;
}

export interface FlushResult {
  /** Spends that are still not confirmed. */
  readonly outstanding: number;
}

/** A reservation as it is now. */
export interface ReservationState<F extends Figure = number> {
  readonly reservationId: string;
  readonly status: ReservationStatus;
  readonly idempotencyKey?: string;
  readonly subject: Subject;
  readonly action: Action;
  readonly reserved: AmountOf<F>;
  readonly committed?: AmountOf<F>;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  readonly finalizedAtMs?: number;
  readonly scopePath: string;
  readonly affectedScopes: readonly string[];
  readonly metadata?: JsonObject;
  readonly committedMetadata?: JsonObject;
}

// ---- denials -----------------------------------------------------------------------------------------------------

/** Why the authority said no. The protocol's own codes; stable. */
export const DENIAL_CODES = [
  /** Some budget of the path has not that much left. */
  "BUDGET_EXCEEDED",
  /** More was spent than some budget may owe, or would be. */
  "OVERDRAFT_LIMIT_EXCEEDED",
  /** Some budget owes and may not. */
  "DEBT_OUTSTANDING",
  "BUDGET_FROZEN",
  "BUDGET_CLOSED",
  /** No scope of the subject has a budget. */
  "BUDGET_NOT_FOUND",
  "TENANT_CLOSED",
  /** The reservation was extended as often as it may be. */
  "MAX_EXTENSIONS_EXCEEDED",
  /** Too much at once; says nothing about any budget. */
  "LIMIT_EXCEEDED",
] as const;
export type AuthorityDenialCode = (typeof DENIAL_CODES)[number];

/** The refusing budget at that moment, in its unit. */
export interface DenialFigures<F extends Figure = number> {
  readonly unit: Unit;
  readonly requested: F;
  readonly limit: F;
  /** Below zero where more was spent than there was. */
  readonly available: F;
  readonly spent: F;
  readonly held: F;
  readonly debt: F;
}

export interface AuthorityDenial<F extends Figure = number> {
  readonly code: AuthorityDenialCode;
  readonly message: string;
  /** The scope that refused, where the authority names it. */
  readonly scope?: string;
  readonly figures?: DenialFigures<F>;
  /** When the refusing budget's period ends, by the authority's clock; absent where it has none. */
  readonly resetsAtMs?: number;
  /** `never`: not as the budgets stand. `when-released`: when a reservation is settled. Or after a time. */
  readonly retry: RetryAdvice;
}

/** The authority said no, and nothing changed. */
export interface Denied<F extends Figure = number> {
  readonly ok: false;
  readonly denial: AuthorityDenial<F>;
}

// ---- the interface -----------------------------------------------------------------------------------------------

/** One tenant's budgets, wherever they are kept. */
export interface Authority<F extends Figure = number> extends LeaseAuthority<F> {
  /** Takes an estimate out of every budget on the subject's path, or out of none. */
  reserve(request: ReserveRequest, options?: CallOptions): Promise<Granted<F> | Denied<F>>;
  /** The same, as a guard that ends with its scope; `ok` tells it from a denial. */
  guard(request: ReserveRequest, options?: GuardOptions): Promise<ReservationGuard<F> | Denied<F>>;
  /** Settles a reservation with what was really spent. */
  commit(
    reservationId: string,
    request: CommitRequest,
    options?: CallOptions,
  ): Promise<Committed<F> | Denied<F>>;
  /** Gives a reservation back whole. */
  release(
    reservationId: string,
    request?: ReleaseRequest,
    options?: CallOptions,
  ): Promise<Released<F> | Denied<F>>;
  /** Makes a reservation last longer, counted from its present end. */
  extend(reservationId: string, request: ExtendRequest, options?: CallOptions): Promise<Extended | Denied<F>>;
  /** Books spending that no reservation was made for. */
  recordEvent(request: EventRequest, options?: CallOptions): Promise<Recorded<F> | Denied<F>>;
  /** What a reserve would be answered now. Takes nothing, so a later reserve may be answered otherwise. */
  decide(request: DecideRequest, options?: CallOptions): Promise<Permitted | Denied<F>>;
  /** The budgets whose path has all of these levels; without any, those of the subject the authority was opened with. */
  balances(levels?: Levels, options?: CallOptions): Promise<readonly Balance<F>[]>;
  /** Reservations, fetched page by page as they are asked for. */
  reservations(query?: ReservationQuery, options?: CallOptions): AsyncIterable<ReservationState<F>>;
  /** One reservation. @throws AuthorityError `RESERVATION_EXPIRED` once it has expired, `NOT_FOUND` if there is none */
  reservation(reservationId: string, options?: CallOptions): Promise<ReservationState<F>>;
  /**
   * Tries the spends of guards that the authority has not confirmed, those of earlier processes in the journal included,
   * and waits until each is settled or has to be kept, at most until the signal aborts; then, too, it resolves and says how
   * many of those it knows are left. Before a process ends, or under `ctx.waitUntil` in a Worker.
   */
  flush(options?: CallOptions): Promise<FlushResult>;
  /** Guards that were collected without having been ended. Their time frees what they held. */
  readonly leakedGuards: number;
}
