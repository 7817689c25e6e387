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
  /** Protocol. */
  idempotencyKeyLengthMax: 256,
  /** Protocol: rows of one page. Balances are fetched whole, so in as few pages as can be. */
  pageRowsMax: 200,
  /** Protocol: ids stand in a path and need no escaping there. */
  reservationIdLengthMax: 128,
  /** Characters of a foreign text that an error message quotes. */
  quoteLengthMax: 80,
} as const;
