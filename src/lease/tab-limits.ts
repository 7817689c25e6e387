// Limits of tabs that share a lease, as data with reasons.

export const TAB_LIMITS = {
  /** How long a tab waits for the leading one: some times what a hand-over takes, the authority's answer included. */
  answerMs: 10_000,
  /** How long a new leader waits for other tabs' books. A tab answers between two of its tasks; one that is busy for longer is late. */
  rollCallMs: 200,
  /** Of the time that the trunk has left, what slices do not get: a message's way, and clocks that are read one after another. */
  marginMs: 250,
  /** The trunk is renewed with the first call after this part of its time. */
  renewShare: 1 / 2,
  /** The authority's own bounds of a lease's life. */
  ttlMsMin: 1_000,
  ttlMsMax: 600_000,
  /** Names of locks and channels have no limit of their own; this one keeps them readable. */
  nameLengthMax: 128,
} as const;
