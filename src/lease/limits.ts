// Every limit of who holds a lease, as data with its reason. The authority's own limits are in src/ledger/limits.ts.

export const HOLDER_LIMITS = {
  /** How long a lease is asked for: what a holder that dies keeps from others, at the most. The authority may give less. */
  ttlMs: 60_000,
  ttlMsMin: 1_000,
  ttlMsMax: 600_000,
  /**
   * The holder stops before its lease ends by this part of what it had left, and by at least this long: clocks that run
   * apart by a twentieth are broken ones, and 50 ms is the slack of a timer.
   */
  marginShare: 1 / 20,
  marginMsMin: 50,
  /** It renews when this part of its time is over: as much again is left for retries. */
  renewShare: 1 / 2,
  /** Never sooner than this after the last call, where the authority no longer prolongs. */
  renewMsMin: 500,
  /** How long a slice should last at the rate at which it is spent. */
  horizonMs: 10_000,
  /** Or so many decisions, if they are made within the lease's time: three of four pass before the next call. */
  decisionsPerSlice: 2_000,
  /** A top-up is asked for when this part of a slice is left: the rest lasts while the call is under way. */
  lowWaterShare: 1 / 4,
  /** A slice grows and shrinks by at most this from one call to the next: a burst of a millisecond tells little. */
  growthMax: 4,
  shrinkMax: 2,
  /** What is asked for first, by unit: some tens of model calls, ten cents, some hundreds of credits or points. */
  firstSlice: { TOKENS: 100_000, USD_MICROCENTS: 10_000_000, CREDITS: 500, RISK_POINTS: 500 },
  /** An idle holder keeps this part of its first slice, so that its next decision needs no call. */
  leastShare: 1 / 10,
  /** Which part of what is available, or how many decisions, pass before clock and mark are looked at again. */
  looksPerSlice: 8,
  decisionsPerLook: 64,
  /** The wait before the authority is asked again after it gave nothing, or gave no answer; it doubles up to the other. */
  retryMs: 500,
  retryMsMax: 15_000,
  /** An authority that says when to ask again is not waited for beyond this: what it said may be wrong by then. */
  adviceMsMax: 600_000,
  /** A holder that has no lease goes on asking for so long after somebody last wanted something of it. */
  seekMs: 60_000,
  /** How long `reserve` waits unless it is told. */
  maxWaitMs: 30_000,
  /** `setTimeout` fires at once beyond 2^31−1. */
  timerMsMax: 2 ** 31 - 1,
  /** A call that has no answer after this is taken for lost: a Worker's request may end with its calls unanswered. */
  callMsMax: 30_000,
  /** How long after `close` it is looked whether calls under way have ended; doubles up to `retryMsMax`. */
  drainMs: 500,
  /** How often it is looked whether another thread was refused, where shared memory cannot be watched, or gave something back. */
  lookMs: 250,
  /** Protocol. */
  holderLengthMax: 128,
} as const;
