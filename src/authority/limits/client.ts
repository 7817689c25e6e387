// Limits of the calls of a client, each with its reason. Constants of a module each, so that bundles hold the figures and not
// their names: import them as a whole, `import * as CLIENT_LIMITS`. Who may call: the clients.

/**
 * How long one attempt may take. The authority answers within milliseconds; the longer an attempt may take, the earlier
 * a reservation must be extended, so a short one is the safer one.
 */
export const timeoutMs = 5_000;
/** `setTimeout` fires at once beyond 2^31−1. */
export const timeoutMsMax = 2 ** 31 - 1;
/** Tries of one call, the first among them. */
export const attempts = 3;
export const attemptsMax = 20;
/** The longest wait before the second try; it doubles with each further one, up to the cap. */
export const firstDelayMs = 250;
export const delayMsMax = 5_000;
/** A `Retry-After` up to this is waited for within the call; a longer one is the caller's to decide. */
export const retryAfterMsMax = 10_000;
/**
 * A longer `Retry-After` is taken for this. No rate of an authority is counted over more than a day, so one of years is a
 * mistake, perhaps of something in between; believed, it would keep a spend in the journal for as long.
 */
export const retryAfterMsBelieved = 86_400_000;
/**
 * How long an aborted callback may take to say what it used. Providers notice an abort within seconds; what is held for
 * one that does not is better given to others.
 */
export const abortedMs = 30_000;
/** Protocol. */
export const idempotencyKeyLengthMax = 256;
/** Protocol: rows of one page. Balances are fetched whole, so in as few pages as can be. */
export const pageRowsMax = 200;
/** Protocol: ids stand in a path and need no escaping there. */
export const reservationIdLengthMax = 128;
/** What a holder calls itself in lists. */
export const leaseHolderLengthMax = 128;
/** Characters of a foreign text that an error message quotes. */
export const quoteLengthMax = 80;
