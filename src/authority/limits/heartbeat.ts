// When a guard's reservation is made to last longer. Constants of a module each, so that bundles hold the figures and not
// their names: import them as a whole, `import * as HEARTBEAT_LIMITS`. Who may call: the clients.

/** Taken for the life of a reservation where neither the request nor the answer tells it. Protocol's default. */
export const ttlMs = 60_000;
/** Half a life, but not more often than this, where the answer does not tell how much is left. */
export const periodMsMin = 1_000;
/** What a beat and its distance from the end are given at least. */
export const marginMsMin = 1_000;
/**
 * Of what is left, a beat is given at most a part in this many, and so is the distance from the end: two beats and the
 * distance then leave two of five parts, so that a short reservation is not prolonged the moment it is made.
 */
export const parts = 5;
/** The longest wait before a beat that failed is made again. */
export const retryMsMax = 30_000;
/** How often it looks whether the machine slept; timers and the monotonic clock may stand still while it does. */
export const lookMs = 5_000;
/** A wall clock that is ahead by this much more shows sleep. Below it may be a clock that is being set. */
export const sleptMsMin = 2_000;
