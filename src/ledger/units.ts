// The protocol's own names of units and overage policies, apart from the schemas, so that a client which only knows the
// names carries no validator. Who may call: anyone.

import type { OveragePolicy } from "../kernel/accounts.ts";

export const UNITS = ["USD_MICROCENTS", "TOKENS", "CREDITS", "RISK_POINTS"] as const;
/** One USD is 10^8 `USD_MICROCENTS`; the other units count what their name says. */
export type Unit = (typeof UNITS)[number];

export const OVERAGE_POLICIES = [
  "REJECT",
  "ALLOW_IF_AVAILABLE",
  "ALLOW_WITH_OVERDRAFT",
] as const satisfies readonly OveragePolicy[];
