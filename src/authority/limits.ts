// Every limit of the clients, as data with its reason.

export const CLIENT_LIMITS = {
  /**
   * How long one attempt may take. The authority answers within milliseconds; the longer an attempt may take, the earlier
   * a reservation must be extended, so a short one is the safer one.
   */
  timeoutMs: 5_000,
  /** `setTimeout` fires at once beyond 2^31−1. */
  timeoutMsMax: 2 ** 31 - 1,
  /** Tries of one call, the first among them. */
  attempts: 3,
  attemptsMax: 20,
  /** The longest wait before the second try; it doubles with each further one, up to the cap. */
  firstDelayMs: 250,
  delayMsMax: 5_000,
  /** A `Retry-After` up to this is waited for within the call; a longer one is the caller's to decide. */
  retryAfterMsMax: 10_000,
  /**
   * How long an aborted callback may take to say what it used. Providers notice an abort within seconds; what is held for
   * one that does not is better given to others.
   */
  abortedMs: 30_000,
  /** Protocol. */
  idempotencyKeyLengthMax: 256,
  /** Protocol: rows of one page. Balances are fetched whole, so in as few pages as can be. */
  pageRowsMax: 200,
  /** Protocol: ids stand in a path and need no escaping there. */
  reservationIdLengthMax: 128,
  /** What a holder calls itself in lists. */
  leaseHolderLengthMax: 128,
  /** Characters of a foreign text that an error message quotes. */
  quoteLengthMax: 80,
} as const;

/** When a guard's reservation is made to last longer. */
export const HEARTBEAT_LIMITS = {
  /** Taken for the life of a reservation where neither the request nor the answer tells it. Protocol's default. */
  ttlMs: 60_000,
  /** Half a life, but not more often than this, where the answer does not tell how much is left. */
  periodMsMin: 1_000,
  /** What a beat and its distance from the end are given at least. */
  marginMsMin: 1_000,
  /**
   * Of what is left, a beat is given at most a part in this many, and so is the distance from the end: two beats and the
   * distance then leave two of five parts, so that a short reservation is not prolonged the moment it is made.
   */
  parts: 5,
  /** The longest wait before a beat that failed is made again. */
  retryMsMax: 30_000,
  /** How often it looks whether the machine slept; timers and the monotonic clock may stand still while it does. */
  lookMs: 5_000,
  /** A wall clock that is ahead by this much more shows sleep. Below it may be a clock that is being set. */
  sleptMsMin: 2_000,
} as const;

/** How a known spend is brought to the authority when the call itself could not. */
export const RECOVERY_LIMITS = {
  /** The longest wait before the first further round; it doubles with each, up to the cap. The protocol's recovery profile. */
  firstDelayMs: 500,
  delayMsMax: 30_000,
  /** Rounds until it is left to `flush` or to the next process. The profile's too. */
  rounds: 5,
  /** A `Retry-After` up to this is waited for; a longer one is left to the next process. The profile's too. */
  retryAfterMsMax: 3_600_000,
  /**
   * How long an event may be sent again. Authorities remember an event's key for seven days, the protocol's least; a day is
   * left for clocks that differ and for a try that is long on its way. After that it might count twice.
   */
  eventReplayMsMax: 6 * 86_400_000,
  /**
   * How long a spend waits for the journal. A disk or a database answers within milliseconds, so one that takes this long
   * hangs; the spend is better sent without, and its reservation must not expire meanwhile.
   */
  journalMs: 5_000,
  /** After a call that was answered, what is kept is tried again, but not more often than this. */
  againMs: 60_000,
} as const;

export const METER_LIMITS = {
  /**
   * How long a stream may lie unread. People pause, tabs sleep for a minute at a time; beyond that what is held for it is
   * better given to others, and what the provider sends meanwhile is paid for and read by nobody.
   */
  idleTimeoutMs: 120_000,
  /** `setTimeout` fires at once beyond 2^31−1. */
  idleTimeoutMsMax: 2 ** 31 - 1,
} as const;
