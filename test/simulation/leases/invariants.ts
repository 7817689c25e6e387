// What must hold of leases after every step, judged from the store and from what holders really did. A violation is a text;
// none is `undefined`. The bound of overspending follows from them: what a lease's holder can spend is set aside for it,
// declared as what it may lend itself, or allowed for by name; what is set aside is in the budgets' figures; and these never exceed what is allocated.
// Who may call: the judge.

import type { AccountRecord } from "purser/ledger";
import { shown } from "../engine/difference.ts";
import { type Books, chargedOf, isOn, outstandingOf, setAsideOf } from "./books.ts";
import type { Slice } from "./slice.ts";

/** What is known of one lease beside its row. */
export interface Claims {
  /** The most that any report that was heard said was spent, and that with what was held. */
  spent: bigint;
  spentAndHeld: bigint;
  /** What was set aside for it when it ended. */
  atEnd: bigint;
  /** What its expiry gave back although its holder could still spend it: only where the policy is `refund`. */
  refunded: bigint;
  /** The store forgot it under a clock that was weeks ahead, and has a lease of its name again. */
  isRevived: boolean;
  /** What a restored store no longer knows that it had set aside. */
  forgotten: bigint;
}

export interface LeaseStep {
  readonly before: Books;
  readonly after: Books;
  readonly slices: ReadonlyMap<string, Slice>;
  readonly claims: ReadonlyMap<string, Claims>;
  /** What events charged in this step, by account. */
  readonly events: ReadonlyMap<string, bigint>;
  /** More than one call was decided in it: what an operator changed in between is not to be seen. */
  readonly isGroup: boolean;
  /** The store was restored in this step or before it. */
  readonly restored: boolean;
}

type Check = (step: LeaseStep) => string | undefined;

const INVARIANTS: readonly (readonly [string, Check])[] = [
  ["nothing is negative", noneNegative],
  ["reserved is what reservations and leases have out", reservedIsOut],
  ["what leases, commits and events were charged is spent or owed", chargedIsBooked],
  ["spent and reserved never exceed what is allocated", withinAllocated],
  ["only what was allowed for becomes debt", debtIsAllowedFor],
  ["an operator who stops a budget or raises the epoch stops lending", haltsAreKept],
  ["what a holder can spend is set aside for it", reachIsSetAside],
  ["what was reported is charged", nothingDropped],
  ["nothing is charged beyond what was granted or reported", nothingTwice],
  ["a lease that was returned is charged what was spent, to the token", closedIsExact],
];

export function findLeaseViolation(step: LeaseStep): string | undefined {
  for (const [name, check] of INVARIANTS) {
    const found = check(step);
    if (found !== undefined) return `${name}: ${found}`;
  }
  return undefined;
}

function noneNegative({ after }: LeaseStep): string | undefined {
  for (const lease of after.leases.values()) {
    const { granted, spent, returned, held, charged } = lease;
    if ([granted, spent, returned, held, charged].some((each) => each < 0n)) return shown(lease);
  }
  for (const account of after.accounts.values()) {
    const { allocated, spent, reserved, debt } = account;
    if ([allocated, spent, reserved, debt].some((each) => each < 0n)) return shown(account);
  }
  return undefined;
}

function eachAccount(
  { after }: LeaseStep,
  check: (account: AccountRecord, name: string) => string | undefined,
) {
  for (const [name, account] of after.accounts) {
    const found = check(account, name);
    if (found !== undefined) return `${name}: ${found}`;
  }
  return undefined;
}

/** The sum over all leases on this account. */
function overLeases(account: AccountRecord, { leases }: Books, figure: (id: string) => bigint): bigint {
  let sum = 0n;
  for (const lease of leases.values()) if (isOn(account, lease)) sum += figure(lease.id);
  return sum;
}

function reservedIsOut(step: LeaseStep): string | undefined {
  return eachAccount(step, (account) => {
    let out = overLeases(account, step.after, (id) => outstandingOf(step.after.leases.get(id)));
    for (const each of step.after.reservations.values()) {
      if (each.status === "ACTIVE" && isOn(account, each)) out += each.amount;
    }
    return out === account.reserved ? undefined : `reserved ${account.reserved}, out ${out}`;
  });
}

function chargedIsBooked(step: LeaseStep): string | undefined {
  const { before, after } = step;
  return eachAccount(step, (account, name) => {
    const earlier = before.accounts.get(name);
    let expected = step.events.get(name) ?? 0n;
    expected += overLeases(
      account,
      after,
      (id) => chargedOf(after.leases.get(id)) - chargedOf(before.leases.get(id)),
    );
    for (const each of after.reservations.values()) {
      const isNew = each.status === "COMMITTED" && before.reservations.get(each.id)?.status !== "COMMITTED";
      if (isNew && isOn(account, each)) expected += each.charged ?? 0n;
    }
    const actual = account.spent + account.debt - (earlier?.spent ?? 0n) - (earlier?.debt ?? 0n);
    return actual === expected ? undefined : `spent + debt changed by ${actual}, charged were ${expected}`;
  });
}

function withinAllocated(step: LeaseStep): string | undefined {
  return eachAccount(step, ({ allocated, spent, reserved }) =>
    spent + reserved <= allocated
      ? undefined
      : `spent ${spent}, reserved ${reserved}, allocated ${allocated}`,
  );
}

function debtIsAllowedFor(step: LeaseStep): string | undefined {
  return eachAccount(step, (account) => {
    if (account.debt === 0n) return undefined;
    const allowed = overLeases(account, step.after, (id) => allowanceOf(step, id));
    return account.debt <= allowed ? undefined : `owes ${account.debt}, allowed for are ${allowed}`;
  });
}

/** What may be spent under a lease beyond what is set aside for it, and why is known. */
function allowanceOf({ slices, claims }: LeaseStep, id: string): bigint {
  const { refunded = 0n, forgotten = 0n, spentAndHeld = 0n } = claims.get(id) ?? {};
  const { invented = 0n, allowance = 0n } = slices.get(id) ?? {};
  // What a liar claims is charged, whatever it is; and of a lease that was forgotten, what an old report says that comes late.
  const isLiar = invented > 0n;
  return allowance + refunded + forgotten + (isLiar || forgotten > 0n ? spentAndHeld : 0n);
}

function haltsAreKept({ before, after, isGroup }: LeaseStep): string | undefined {
  for (const lease of after.leases.values()) {
    if (lease.endedAtMs !== undefined) continue;
    if (lease.epoch !== after.epoch) return `of an earlier epoch: ${shown(lease)}`;
    const isHalted = [...after.accounts.values()].some((it) => isOn(it, lease) && it.status !== "ACTIVE");
    if (isGroup || (after.isTenantActive && !isHalted)) continue;
    const earlier = before.leases.get(lease.id);
    // What was spent beyond a grant counts as granted, and is charged wherever it was spent.
    const isMore = lease.granted > (earlier?.granted ?? 0n) && lease.granted > lease.spent + lease.returned;
    const isLonger = lease.expiresAtMs > (earlier?.expiresAtMs ?? 0);
    if (isMore || isLonger) return `was lent ${isMore ? "more" : "for longer"}: ${shown(lease)}`;
  }
  return undefined;
}

function reachIsSetAside({ after, slices, claims }: LeaseStep): string | undefined {
  for (const { id, reach, idle, allowance } of slices.values()) {
    const { refunded = 0n, forgotten = 0n } = claims.get(id) ?? {};
    const setAside = setAsideOf(after.leases.get(id));
    if (reach > setAside + allowance + refunded + forgotten)
      return `${id} can reach ${reach} (${idle} idle), set aside ${setAside}, may lend itself ${allowance}, refunded ${refunded}, forgotten ${forgotten}`;
  }
  return undefined;
}

function nothingDropped({ after, claims }: LeaseStep): string | undefined {
  for (const [id, { spent }] of claims) {
    const charged = chargedOf(after.leases.get(id));
    if (charged < spent) return `${id} was charged ${charged}, its holder reported ${spent}`;
  }
  return undefined;
}

function nothingTwice({ after, claims }: LeaseStep): string | undefined {
  for (const lease of after.leases.values()) {
    const charged = chargedOf(lease);
    const { spentAndHeld = 0n, atEnd = 0n } = claims.get(lease.id) ?? {};
    if (charged > lease.granted - lease.returned && charged > spentAndHeld && charged > atEnd)
      return `${lease.id} was charged ${charged}: ${shown(lease)}, reported were ${spentAndHeld}`;
  }
  return undefined;
}

function closedIsExact({ after, slices, claims, restored }: LeaseStep): string | undefined {
  for (const { id, closed, claimed } of slices.values()) {
    const lease = after.leases.get(id);
    if (!closed || restored || claims.get(id)?.isRevived || lease === undefined) continue;
    const isExact = chargedOf(lease) === claimed && outstandingOf(lease) === 0n;
    if (!isExact) return `${id} was returned with ${claimed} spent: ${shown(lease)}`;
  }
  return undefined;
}
