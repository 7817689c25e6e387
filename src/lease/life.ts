// How long a lease may be used. Invariant: counted from when the request was sent, which is before the authority granted,
// and ended by a monotonic or a wall clock, whichever says so first: the one stands still while some machines sleep, the
// other is set. Pure. Who may call: the holder.

import { HOLDER_LIMITS } from "./limits.ts";

/** Both clocks at one moment, in milliseconds of their own. */
export interface Moment {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

export interface Life {
  /** Until when it may be used, on both clocks. */
  readonly until: Moment;
  /** When to renew it, on the monotonic clock. */
  readonly renewAtMs: number;
}

/** @param sent - when the request was sent */
export function lifeOf(sent: Moment, remainingTtlMs: number): Life {
  const { marginShare, marginMsMin, renewShare, renewMsMin } = HOLDER_LIMITS;
  const usableMs = remainingTtlMs - Math.max(marginMsMin, remainingTtlMs * marginShare);
  return {
    until: { monotonicMs: sent.monotonicMs + usableMs, wallMs: sent.wallMs + usableMs },
    renewAtMs: sent.monotonicMs + Math.max(renewMsMin, remainingTtlMs * renewShare),
  };
}

/** What is left of it; 0 or less once it is over. */
export function leftMs({ until }: Life, now: Moment): number {
  return Math.min(until.monotonicMs - now.monotonicMs, until.wallMs - now.wallMs);
}
