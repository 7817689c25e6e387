// Leases, as holders and operators see them: slices of a tenant's budget that a holder decides on alone.
// Invariant: all that is counted is cumulative from the lease's beginning, so a report that is lost, repeated or late
// can only be heard once, and the next one says everything again. Types only; who may use them: anyone.

import type { Unit } from "../ledger/schema.ts";
import type { Subject } from "../ledger/scope.ts";
import type { AmountOf, AuthorityDenial, Balance, CallOptions, Denied, Figure, Keyed } from "./authority.ts";

export interface LeaseRequest extends Omit<Keyed, "metadata"> {
  readonly subject?: Subject;
  readonly unit: Unit;
  /** How much the holder would like to have; it may get less. */
  readonly want: Figure;
  /** Below this it is denied instead; 1 by default. */
  readonly min?: Figure;
  /** How long it lasts unless it is renewed. */
  readonly ttlMs?: number;
  /** Who holds it, for lists: 1 … 128 characters. */
  readonly holder?: string;
}

/** What names a lease in every later call. */
export interface LeaseName {
  readonly leaseId: string;
  readonly epoch: number;
  readonly subject?: Subject;
  readonly unit: Unit;
}

/** Where the holder stands. Each member but `held` only ever grows; what may turn out less is held, not spent. */
export interface LeaseReport {
  /**
   * 1, 2, 3, …: a new report has the next number; the same report sent again has the same. A return is a report of its own.
   * A lower number than the last that was heard is not heard; the same with another `spent` is an error.
   */
  readonly sequence: number;
  /** All that was spent under this lease. May be more than was granted: then the rest is charged, as debt if need be. */
  readonly spent: Figure;
  /** What calls under way have taken and may still spend. */
  readonly held: Figure;
  /** All that was given back. The holder has taken it out of its own reach before it says so. */
  readonly returned: Figure;
}

export interface LeaseRenewal extends LeaseReport {
  /** How much the holder would like to have unspent after this, what is held included. It may get less. */
  readonly want: Figure;
  /** What it cannot go on without: up to this it gets more than an even share, if it is there. 0 by default. */
  readonly min?: Figure;
  readonly ttlMs?: number;
}

/** What becomes of the unreported rest when a lease expires: it counts as spent until a late report, or goes back. */
export type LeaseExpiryPolicy = "charge" | "refund";

/** A lease after a call. */
export interface Leased<F extends Figure = number> {
  readonly ok: true;
  readonly leaseId: string;
  readonly epoch: number;
  /** The last report that was heard; 0 for none. */
  readonly sequence: number;
  /** `ended`: it was returned, has expired or was reclaimed. The report was booked all the same; nothing more is granted. */
  readonly state: "active" | "ended";
  /** All that was ever granted under it; what was reported to be spent beyond that counts as granted from then on. */
  readonly granted: AmountOf<F>;
  /** The part of it that is neither spent nor returned, as the authority knows: what the budgets show as reserved. */
  readonly outstanding: F;
  /** How much the authority would like to have back at the next renewal, so that others can work. */
  readonly recall: F;
  /** From the authority's own reading when it answered; count it from when the request was sent. */
  readonly remainingTtlMs: number;
  /** How long after that the authority reclaims what is left. */
  readonly graceMs: number;
  readonly expiresAtMs: number;
  readonly onExpiry: LeaseExpiryPolicy;
  /** Why less was granted than wanted. */
  readonly shortage?: AuthorityDenial<F>;
  readonly affectedScopes: readonly string[];
  readonly balances?: readonly Balance<F>[];
}

/** One lease in a list. */
export interface LeaseState<F extends Figure = number> {
  readonly leaseId: string;
  readonly epoch: number;
  readonly status: "ACTIVE" | "RETURNED" | "EXPIRED";
  readonly holder?: string;
  readonly scopePath: string;
  readonly unit: Unit;
  readonly granted: F;
  readonly spent: F;
  readonly returned: F;
  readonly held: F;
  readonly outstanding: F;
  /** What is charged beyond `spent` since it ended: what nobody reported, or calls under way may still spend. */
  readonly charged: F;
  readonly sequence: number;
  readonly createdAtMs: number;
  readonly renewedAtMs: number;
  readonly expiresAtMs: number;
}

/** The most that could be spent of one unit without the authority knowing it yet, and beyond what it has set aside. */
export interface UnitExposure<F extends Figure = number> {
  readonly unit: Unit;
  readonly leases: number;
  /** Granted to holders, and not known to be spent or returned. Set aside in every budget of its path. */
  readonly outstanding: F;
  /**
   * What could be spent beyond all budgets, under the policy `refund` alone: what leases have out, which goes back at their
   * end whether it was spent or not, and what has gone back that way and nobody has reported since.
   */
  readonly beyond: F;
}

/** The lending part of an authority. A server of the protocol that is not Purser's answers `NOT_FOUND`. */
export interface LeaseAuthority<F extends Figure = number> {
  /** Takes a slice out of every budget on the subject's path: as much as is wanted, or less near exhaustion. */
  lease(request: LeaseRequest, options?: CallOptions): Promise<Leased<F> | Denied<F>>;
  /**
   * Reports, prolongs, and asks for more or less. Never denied: what it cannot get, `shortage` explains. If the lease has
   * ended meanwhile, it only adds to what is charged: who sent it did not know that, and went on spending from its idle
   * part until it heard the answer. A holder that hears `ended` stops, and corrects with `returnLease`.
   */
  renewLease(lease: LeaseName, renewal: LeaseRenewal, options?: CallOptions): Promise<Leased<F>>;
  /**
   * Reports for the last time and gives the rest back, but for what is `held`: whoever sends it takes nothing more. So this
   * is what corrects downwards what an expiry has charged, to `spent + held`; again each time with a higher sequence.
   */
  returnLease(lease: LeaseName, report: LeaseReport, options?: CallOptions): Promise<Leased<F>>;
  /** The tenant's leases, the newest first, fetched page by page. */
  leases(
    query?: { readonly status?: LeaseState["status"]; readonly pageRows?: number },
    options?: CallOptions,
  ): AsyncIterable<LeaseState<F>>;
  /** The sum over all holders, one row a unit. */
  exposure(options?: CallOptions): Promise<readonly UnitExposure<F>[]>;
}
