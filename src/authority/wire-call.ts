// What the three ways to an authority have in common: one call in the wire's shapes, and its answer. Each way is a
// function that carries such a call (Send); everything else is in wire-authority.ts, once. Who may call: the ways.

import type { CallOptions } from "./authority.ts";
import type { AuthorityError } from "./errors.ts";
import type { Moment } from "./surroundings.ts";

export type SettleOperation = "commit" | "release" | "extend";
export type AskOperation = "reserve" | "reserveFit" | "decide" | "event" | "openLease";
export type ReportOperation = "renewLease" | "returnLease";
export type ListOperation = "listReservations" | "balances" | "listLeases";

export type WireFields = Readonly<Record<string, unknown>>;

export type WireCall =
  | { readonly operation: AskOperation; readonly body: WireFields }
  | { readonly operation: SettleOperation | ReportOperation; readonly id: string; readonly body: WireFields }
  | { readonly operation: "getReservation"; readonly id: string }
  | { readonly operation: "exposure" }
  | { readonly operation: ListOperation; readonly query: WireFields };

/** An answer whose body nobody has looked at yet. */
export interface WireAnswer {
  readonly status: number;
  /** JSON with exact integers; undefined where there was something else. A refusal's that is empty is as one without members. */
  readonly body: unknown;
  readonly retryAfterMs?: number | undefined;
}

/** How one try of a call is carried. */
export interface Carried {
  readonly signal: AbortSignal | undefined;
  /** Whether the request must outlive the page that sends it. */
  readonly keepalive: boolean;
}

/**
 * Carries a call once. Rejects with an AuthorityError where there was no answer, and with the signal's reason where that
 * was aborted; every answer, refusals too, is a value.
 */
export type Send = (call: WireCall, carried: Carried) => PromiseLike<WireAnswer> | WireAnswer;

/** @internal What those that make calls again by themselves may say about one call's own tries. */
export interface CallControl extends CallOptions {
  /** Tries of this call, where they are to be fewer. */
  readonly attempts?: number;
  /** How long one try may take, where it is to be shorter. */
  readonly timeoutMs?: number;
  /** Hears when each try is sent; the last one is the one that was answered. */
  readonly onSend?: (at: Moment) => void;
  /** Hears of each try that failed and will be made again; awaited before the wait. */
  readonly onRetry?: (error: AuthorityError) => PromiseLike<void>;
}
