// What somebody with a token can do to the budgets above by settling: no more than its token lets it. A holder is not
// trusted, and says itself what it used. Invariant: with a token nothing is charged beyond its caps or, at once, beyond its
// most per operation; it leaves a mark on nobody's account but its own; it can choose no debt. Pure.
// Who may call: reserve, commit, events.

import type { AccountFigures, OveragePolicy } from "../kernel/accounts.ts";
import type { Principal } from "./access.ts";
import { type Refusal, refuse } from "./codes.ts";
import type { AccountRecord, ActiveReservation } from "./store.ts";
import { capScopeOf } from "./tokens.ts";

/** Debt is for whoever set an overdraft limit to allow, by a policy or on the budget. */
export function refuseOverdraft(
  { token }: Principal,
  policy: OveragePolicy | undefined,
): Refusal | undefined {
  if (token === undefined || policy !== "ALLOW_WITH_OVERDRAFT") return undefined;
  return refuse("FORBIDDEN", "overage_policy must not be ALLOW_WITH_OVERDRAFT with a token");
}

/** How much of an actual amount may be charged, where the reservation's policy lets more than its estimate be charged. */
export function chargeable(
  { token }: Principal,
  { overagePolicy }: ActiveReservation,
  actual: bigint,
): bigint {
  const most = token?.maxPerOperation;
  return overagePolicy === "REJECT" || most === undefined || actual <= most ? actual : most;
}

/**
 * A charge that could not be paid whole marks the accounts which were short, and each then takes no reservations until an
 * operator looked at it. A holder that says it used an absurd amount marks its own cap: it is stopped, nobody else is.
 */
export function ownMarksOnly(
  { token }: Principal,
  before: readonly AccountRecord[],
  after: readonly AccountFigures[],
): readonly AccountFigures[] {
  if (token === undefined) return after;
  const own = capScopeOf(token.tokenId);
  return after.map((figures, index) => {
    const account = before[index];
    if (account === undefined || account.scope === own) return figures;
    return { ...figures, overLimitMark: account.overLimitMark };
  });
}
