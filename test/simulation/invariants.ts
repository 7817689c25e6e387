// What must hold between any two moments of a ledger, whatever was asked of it, judged from the store alone: no model is
// needed for it. A violation is a text; none is `undefined`. Who may call: the judge.

import type { AccountRecord, Reservation } from "purser/ledger";
import type { AnyReply, Call } from "./calls.ts";
import { shown } from "./engine/difference.ts";
import { isHeldBy, nameOf, remainingOf, type Snapshot } from "./snapshot.ts";

const INT64_MAX = 2n ** 63n - 1n;

export interface Asked {
  readonly call: Call;
  readonly reply: AnyReply;
  /** An event that was applied by this very call. */
  readonly applied?: AppliedEvent | undefined;
}

export interface AppliedEvent {
  readonly unit: string;
  readonly scopes: readonly string[];
  readonly charged: bigint;
}

/** One transaction: the store before and after it, and what was asked in it, in its order. */
export interface Step {
  readonly before: Snapshot;
  readonly after: Snapshot;
  readonly asked: readonly Asked[];
}

/** The first invariant that this step broke. */
export function findViolation(step: Step): string | undefined {
  for (const [name, check] of INVARIANTS) {
    const found = check(step);
    if (found !== undefined) return `${name}: ${found}`;
  }
  return undefined;
}

const INVARIANTS: readonly (readonly [string, (step: Step) => string | undefined])[] = [
  ["figures stay within int64", figuresFit],
  ["reserved is the sum of the active holds", reservedIsHeld],
  ["a reservation is settled at most once, for good", settledOnce],
  ["what was charged is spent or owed, on every budget of the path", chargedIsBooked],
  ["nothing falls below zero without overdraft", neverBelowZero],
  ["nobody owes more than the overdraft limit", debtIsAllowed],
];

function eachAccount(
  { before, after }: Step,
  check: (account: AccountRecord, earlier: AccountRecord | undefined) => string | undefined,
): string | undefined {
  for (const [name, account] of after.accounts) {
    const found = check(account, before.accounts.get(name));
    if (found !== undefined) return `${name}: ${found}`;
  }
  return undefined;
}

function figuresFit(step: Step): string | undefined {
  return eachAccount(step, (account) => {
    const { allocated, spent, reserved, debt, overdraftLimit } = account;
    const isBad = [allocated, spent, reserved, debt, overdraftLimit].some(
      (each) => each < 0n || each > INT64_MAX,
    );
    return isBad || remainingOf(account) < -INT64_MAX ? shown(account) : undefined;
  });
}

function reservedIsHeld(step: Step): string | undefined {
  return eachAccount(step, (account) => {
    const held = step.after.active
      .filter((each) => isHeldBy(account, each))
      .reduce((sum, each) => sum + each.amount, 0n);
    return held === account.reserved ? undefined : `reserved ${account.reserved}, held ${held}`;
  });
}

function settledOnce({ before, after }: Step): string | undefined {
  for (const [id, reservation] of after.reservations) {
    const earlier = before.reservations.get(id);
    if (earlier === undefined || earlier === reservation || earlier.status === "ACTIVE") continue;
    if (earlier.status !== reservation.status)
      return `${id} went from ${earlier.status} to ${reservation.status}`;
    if (earlier.charged !== (reservation as typeof earlier).charged) return `${id} was charged anew`;
  }
  return undefined;
}

function chargedIsBooked(step: Step): string | undefined {
  const committed = newlyCommitted(step);
  return eachAccount(step, (account, earlier) => {
    if (isSteeredInGroup(step, account)) return undefined;
    const booked = committed
      .filter((each) => isHeldBy(account, each))
      .reduce((sum, each) => sum + (each.charged ?? 0n), 0n);
    const expected = booked + bookedByEvent(step, account) + bookedByOperator(step, account, earlier);
    const actual = account.spent + account.debt - (earlier?.spent ?? 0n) - (earlier?.debt ?? 0n);
    return actual === expected ? undefined : `spent + debt changed by ${actual}, charged were ${expected}`;
  });
}

function newlyCommitted({ before, after }: Step): (Reservation & { readonly status: "COMMITTED" })[] {
  return [...after.reservations.values()].filter(
    (each): each is Reservation & { readonly status: "COMMITTED" } =>
      each.status === "COMMITTED" && before.reservations.get(each.id)?.status !== "COMMITTED",
  );
}

function bookedByEvent({ asked }: Step, { scope, unit }: AccountRecord): bigint {
  let booked = 0n;
  for (const { applied } of asked) {
    if (applied?.unit === unit && applied.scopes.includes(scope)) booked += applied.charged;
  }
  return booked;
}

/** Only RESET_SPENT and REPAY_DEBT change what is booked without a settlement, and only as far as they were asked to. */
function bookedByOperator(step: Step, account: AccountRecord, earlier: AccountRecord | undefined): bigint {
  const [{ call, reply } = {}] = step.asked;
  if (call?.op !== "fund" || !reply?.ok || earlier === undefined) return 0n;
  if (nameOf(call.query) !== nameOf(account) || sameFigures(account, earlier)) return 0n;
  const { operation, amount, spent } = call.body;
  if (operation === "RESET_SPENT") return BigInt(spent?.amount ?? 0n) - earlier.spent;
  if (operation !== "REPAY_DEBT") return 0n;
  return -(BigInt(amount.amount) < earlier.debt ? BigInt(amount.amount) : earlier.debt);
}

function neverBelowZero(step: Step): string | undefined {
  const [{ call } = {}] = step.asked;
  return eachAccount(step, (account, earlier) => {
    if (isSteeredInGroup(step, account)) return undefined;
    const [now, then] = [remainingOf(account), earlier === undefined ? 0n : remainingOf(earlier)];
    if (now >= 0n || now >= then) return undefined;
    const wasReset = call?.op === "fund" && call.body.operation.startsWith("RESET");
    const wentIntoDebt = account.overdraftLimit > 0n && account.debt > (earlier?.debt ?? 0n);
    return wasReset || wentIntoDebt ? undefined : `remaining fell from ${then} to ${now}`;
  });
}

function debtIsAllowed(step: Step): string | undefined {
  return eachAccount(step, (account, earlier) => {
    if (isSteeredInGroup(step, account)) return undefined;
    const grew = account.debt > (earlier?.debt ?? 0n);
    return grew && account.debt > account.overdraftLimit
      ? `debt ${account.debt} beyond the limit ${account.overdraftLimit}`
      : undefined;
  });
}

/**
 * An operator made or changed this budget between other calls of the group: what stood in between is not in the store, so
 * the invariants that compare before and after leave it to the model, which follows call by call.
 */
function isSteeredInGroup({ asked, before }: Step, account: AccountRecord): boolean {
  if (asked.length < 2) return false;
  if (!before.accounts.has(nameOf(account))) return true;
  return asked.some(
    ({ call }) => "query" in call && call.op !== "balances" && nameOf(call.query) === nameOf(account),
  );
}

function sameFigures(a: AccountRecord, b: AccountRecord): boolean {
  return a.allocated === b.allocated && a.spent === b.spent && a.debt === b.debt;
}
