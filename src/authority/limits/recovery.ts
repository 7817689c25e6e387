// How a known spend is brought to the authority when the call itself could not. Constants of a module each, so that bundles
// hold the figures and not their names: import them as a whole, `import * as RECOVERY_LIMITS`. Who may call: the clients.

/** The longest wait before the first further round; it doubles with each, up to the cap. The protocol's recovery profile. */
export const firstDelayMs = 500;
export const delayMsMax = 30_000;
/** Rounds until it is left to `flush` or to the next process. The profile's too. */
export const rounds = 5;
/** A `Retry-After` up to this is waited for; a longer one is left to the next process. The profile's too. */
export const retryAfterMsMax = 3_600_000;
/**
 * How long an event may be sent again. Authorities remember an event's key for seven days, the protocol's least; a day is
 * left for clocks that differ and for a try that is long on its way. After that it might count twice.
 */
export const eventReplayMsMax = 6 * 86_400_000;
/**
 * How long a spend waits for the journal. A disk or a database answers within milliseconds, so one that takes this long
 * hangs; the spend is better sent without, and its reservation must not expire meanwhile.
 */
export const journalMs = 5_000;
/** After a call that was answered, what is kept is tried again, but not more often than this. */
export const againMs = 60_000;
