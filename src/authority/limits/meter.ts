// Limits of meters, each with its reason. Constants of a module each, so that bundles hold the figures and not
// their names: import them as a whole, `import * as METER_LIMITS`. Who may call: the clients.

/**
 * How long a stream may lie unread. People pause, tabs sleep for a minute at a time; beyond that what is held for it is
 * better given to others, and what the provider sends meanwhile is paid for and read by nobody.
 */
export const idleTimeoutMs = 120_000;
/** `setTimeout` fires at once beyond 2^31−1. */
export const idleTimeoutMsMax = 2 ** 31 - 1;
