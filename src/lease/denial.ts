// Why a leased budget says no: the slice here, or the authority behind it. A reason is a small number in the kernel, where
// the holder writes it for the other threads. Who may call: this folder.

import type { AuthorityDenial } from "../authority/authority.ts";
import { type Denial, type DeniedFigures, explainDenial, type RetryAdvice } from "../denial.ts";
import { HOLDER_LIMITS } from "./limits.ts";

export const LEASE_REASONS = [
  /** Nobody supplies this budget: it was closed, or not opened so far. */
  "closed",
  /** Only the slice is short: a top-up is under way, or on the next call. */
  "slice-short",
  /** The authority has no more to give, or gives no more; `shortage` says why where this thread knows. */
  "authority-exhausted",
  /** The authority does not answer. What the lease has left goes on until it ends. */
  "authority-unreachable",
  /** The authority answers, and refuses: the credential has ended, or may not. `lastError` says what it said. */
  "authority-refused",
] as const;
export type LeaseReason = (typeof LEASE_REASONS)[number];

/** The word that a holder keeps for its threads; 0 means that there is no holder. */
export const SUPPLY = { none: 0, good: 1, exhausted: 2, unreachable: 3, refused: 4 } as const;
export type Supply = (typeof SUPPLY)[keyof typeof SUPPLY];

/** A denial of a leased budget; its figures are those of the slice. */
export interface LeaseDenial extends Denial {
  readonly reason: LeaseReason;
  /** What the authority said, where it is the reason. */
  readonly shortage?: AuthorityDenial;
}

export function leaseDenial(
  figures: DeniedFigures,
  supply: number,
  known: { readonly shortage?: AuthorityDenial | undefined; readonly retryAfterMs?: number } = {},
): LeaseDenial {
  const reason = LEASE_REASONS[supply] ?? "closed";
  // Of a slice, nothing is too large for ever: it grows.
  const { code } = explainDenial({ ...figures, limit: Math.max(figures.limit, figures.requested) });
  const { shortage, retryAfterMs = HOLDER_LIMITS.retryMs } = known;
  const retry = retryOf(reason, shortage, retryAfterMs);
  const denial = { code, ...figures, retry, reason };
  return reason === "authority-exhausted" && shortage !== undefined ? { ...denial, shortage } : denial;
}

function retryOf(reason: LeaseReason, shortage: AuthorityDenial | undefined, afterMs: number): RetryAdvice {
  if (reason === "closed") return "never";
  if (reason === "authority-exhausted" && shortage !== undefined) return shortage.retry;
  return { afterMs };
}
