// Limits of tabs that share a lease, as data with reasons.

export const TAB_LIMITS = {
  /** How long a tab waits for the leading one: some times what a hand-over takes, the authority's answer included. */
  answerMs: 10_000,
  /** How long a new leader waits for other tabs' books. A tab answers between two of its tasks; one that is busy for longer is late. */
  rollCallMs: 200,
  /** Names of locks and channels have no limit of their own; this one keeps them readable. */
  nameLengthMax: 128,
} as const;
