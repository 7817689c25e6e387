// What the estimates' memory may grow to, and how they learn; numbers with their reasons. Who may call: this folder.

export const ESTIMATE_LIMITS = {
  /** Routes that are remembered at once; at 1.5 KiB each, a fleet's whole list of models and prompts in 400 KiB. */
  routesMax: 256,
  /** The most that a caller can ask for instead: 100 MiB. */
  routesMaxMax: 65_536,
  /** A route's or a model's name; longer ones are texts, and texts must not be remembered. */
  nameLengthMax: 256,
  /** Calls of a route before anything but its estimate is proposed: fewer say nothing about one call in twenty. */
  callsMin: 32,
  /** Calls after which old ones begin to count half: about an hour of a busy route, so that a new prompt is noticed. */
  callsRemembered: 1_024,
  callsRememberedMax: 1_000_000,
  /** One call in twenty may outgrow what it holds: rare enough for a small reserve, and learnt within some dozens of calls. */
  quantile: 0.95,
  /** How much a call takes from the reserve at once, so that not every token of a stream asks. */
  stepTokens: 64,
} as const;
