// What a holder reports: renewing and returning a lease, in time and late. Invariant: a report is booked once, by its
// number; what is spent is charged whatever the budgets say, as debt if need be, never twice and never dropped; a lease
// that has ended grows no more, and gives back only what its holder has said it will not spend. Who may call: the Ledger.

import { mayTouch, outsideScope, owns, type Principal } from "./access.ts";
import { mismatch } from "./answers.ts";
import { type Refusal, type Reply, refuse, succeed } from "./codes.ts";
import { type Admitted, dayOf, type LedgerCore, refusePath, type Turn } from "./core.ts";
import { closedTenant } from "./evaluation.ts";
import { least, most } from "./fit.ts";
import { dayPrefix } from "./ids.ts";
import { INT64_MAX } from "./int64.ts";
import { bookLate, bookLost, heldBy } from "./lease-late.ts";
import { type LeaseRecord, outstandingOf, unspentOf } from "./lease-record.ts";
import {
  type LeaseRenewalRequest,
  type LeaseReportRequest,
  leaseRenewalSchema,
  leaseReturnSchema,
} from "./lease-schema.ts";
import { growthOf, haltOf, isPlaceOf, recallFrom, tightestOf } from "./lease-shares.ts";
import { type LeaseBody, leaseBody, shortageText } from "./lease-wire.ts";
import { leaseAt, lifeOf, pathOf, presentBody } from "./leases.ts";
import { LIMITS, RETENTION } from "./limits.ts";
import { scopePathOf, scopesOf } from "./scope.ts";
import { checkHoldId } from "./settle.ts";
import type { AccountRecord, TenantRecord } from "./store.ts";
import { windowStartOf, windowsOf } from "./windows.ts";

/** Books a report, gives the lease a new life and, as far as there is any, what is missing to `want`. */
export function renewLease(core: LedgerCore, id: string, input: unknown, turn: Turn): Reply<LeaseBody> {
  return core.run(turn, (nowMs) => {
    const wanted = { schema: leaseRenewalSchema, input, permission: "reservations:commit" } as const;
    const admitted = core.admit(turn, nowMs, wanted);
    if (!admitted.ok) return admitted;
    return hear(core, id, admitted, nowMs, { isLast: false, ...admitted.request });
  });
}

/** Books the last report: all that no call under way has goes back, and the rest as soon as it is reported or due. */
export function returnLease(core: LedgerCore, id: string, input: unknown, turn: Turn): Reply<LeaseBody> {
  return core.run(turn, (nowMs) => {
    const wanted = { schema: leaseReturnSchema, input, permission: "reservations:release" } as const;
    const admitted = core.admit(turn, nowMs, wanted);
    if (!admitted.ok) return admitted;
    return hear(core, id, admitted, nowMs, { isLast: true, ...admitted.request });
  });
}

type Report =
  | (LeaseReportRequest & { readonly isLast: true })
  | (LeaseRenewalRequest & { readonly isLast: false });

function hear(
  core: LedgerCore,
  id: string,
  { principal, tenant }: Pick<Admitted<unknown>, "principal" | "tenant">,
  nowMs: number,
  told: Report,
): Reply<LeaseBody> {
  const located = locate(core, id, { report: told, principal, nowMs });
  if (!located.ok) return located;
  if (tenant.status === "CLOSED") return closedTenant(core);
  if (located.lease === undefined) return bookLost(core, id, { report: told, principal, nowMs });
  const { lease, unfinished } = leaseAt(core, located.lease, nowMs);
  return hearOf(core, lease, {
    report: believed(core, principal, lease, told, nowMs),
    tenant,
    unfinished,
    nowMs,
  });
}

function hearOf(core: LedgerCore, lease: LeaseRecord, booking: Booking): Reply<LeaseBody> {
  const { report, tenant, nowMs } = booking;
  if (report.sequence <= lease.sequence) {
    return report.sequence === lease.sequence && !isSame(lease, report)
      ? mismatch()
      : succeed(presentBody(core, tenant, lease, nowMs));
  }
  if (report.spent < lease.spent) return refuseFall("spent", lease.spent, report.spent);
  if (lease.endedAtMs !== undefined) return bookLate(core, lease, report, nowMs);
  if (lease.status === "ACTIVE" && report.returned < lease.returned) {
    return refuseFall("returned", lease.returned, report.returned);
  }
  return book(core, lease, booking);
}

/**
 * With a token, what a holder says it spent counts as far as its lease, its caps and the budgets have it: it is not trusted,
 * and must not put others into debt. It has no more out at once than its most per operation.
 */
function believed(
  core: LedgerCore,
  { token }: Principal,
  lease: LeaseRecord,
  report: Report,
  nowMs: number,
): Report {
  if (token === undefined) return report;
  const { remaining } = tightestOf(core, core.readAccounts(heldBy(core, lease), lease.unit, nowMs));
  // What was heard before was cut to the room there was then.
  const more = lease.charged + outstandingOf(lease) + most(remaining, 0n);
  const room = report.sequence === lease.sequence ? lease.spent : lease.spent + more;
  const spent = least(report.spent, room);
  const told = { spent, held: least(report.held, room - spent) };
  if (report.isLast) return { ...report, ...told };
  const { maxPerOperation: atOnce = report.want } = token;
  return { ...report, ...told, want: least(report.want, atOnce), min: least(report.min, atOnce) };
}

/** Whether a number that was heard before comes with the report it came with. A return is another report than a renewal. */
function isSame(lease: LeaseRecord, { spent, isLast }: Report): boolean {
  return spent === lease.spent && !(isLast && lease.status === "ACTIVE");
}

/** What is told counts everything from the lease's beginning, so less than before cannot be. */
function refuseFall(member: "spent" | "returned", known: bigint, told: bigint): Refusal {
  const message = `${member} must be at least ${known}, as it was reported before, got ${told}`;
  return refuse("INVALID_REQUEST", message, { field: member });
}

interface Booking {
  readonly report: Report;
  readonly tenant: TenantRecord;
  /** The budgets' figures still hold what has expired: nothing is granted on them, and nobody is shown them. */
  readonly unfinished: Refusal | undefined;
  readonly nowMs: number;
}

/** A report on a lease that holds something. */
function book(core: LedgerCore, lease: LeaseRecord, booking: Booking): Reply<LeaseBody> {
  const { report, tenant, unfinished, nowMs } = booking;
  const told = afterReport(lease, report, nowMs);
  const accounts = core.accountsOf(lease, nowMs);
  const settled = core.commitPath(accounts, {
    estimate: outstandingOf(lease) - unspentOf(told),
    actual: told.spent - lease.spent,
    policy: "OWE",
  });
  if (!settled.ok) return refusePath(core, accounts, settled, told.spent);
  const path = accounts.map((account, index) => ({ ...account, ...settled.accounts[index] }));

  const after =
    told.status === "ACTIVE" && !report.isLast
      ? renew(core, told, { ...booking, report, accounts, path })
      : finishReturn(core, told, { tenant, accounts, path, nowMs });
  core.writeLease(after);
  if (after.endedAtMs !== undefined) core.prune(nowMs, LIMITS.pruneRowsPerTurn);
  const present = core.readAccounts(pathOf(after), after.unit, nowMs);
  const recall = recallFrom(core, tenant, after, present, nowMs);
  const shown = unfinished === undefined ? present : undefined;
  return succeed(leaseBody(core, after, { recall, accounts: shown, nowMs }));
}

/**
 * The lease's figures with a report's. What is said to be returned or held beyond what there is does not count: spending
 * alone can go beyond a grant. Of a lease that is given back, all that is not held is returned.
 */
function afterReport(lease: LeaseRecord, report: Report, nowMs: number): LeaseRecord {
  const { spent, sequence } = report;
  const isReturn = report.isLast || lease.status === "RETURNED";
  const returned = isReturn ? lease.returned : least(report.returned, lease.granted);
  // What was spent beyond the grant is charged at once, so it counts as granted: later grants are not eaten by it.
  const granted = most(lease.granted, least(spent + returned, INT64_MAX));
  const unspent = most(granted - returned - spent, 0n);
  const held = least(report.held, unspent);
  return {
    ...lease,
    granted,
    spent,
    held,
    returned: isReturn ? returned + unspent - held : returned,
    sequence,
    shortage: undefined,
    renewedAtMs: nowMs,
  };
}

interface Place {
  readonly tenant: TenantRecord;
  /** The accounts that hold the lease, and the same with the report's figures, not yet written. */
  readonly accounts: readonly AccountRecord[];
  readonly path: readonly AccountRecord[];
  readonly nowMs: number;
}

/** What calls under way have stays reserved, for another life; without any the lease has ended. */
function finishReturn(core: LedgerCore, told: LeaseRecord, place: Place): LeaseRecord {
  const { tenant, accounts, path, nowMs } = place;
  core.writeFigures(accounts, path, nowMs);
  const returned: LeaseRecord = { ...told, status: "RETURNED" };
  if (unspentOf(told) === 0n) return { ...returned, endedAtMs: nowMs };
  return haltOf(core, tenant, path) === undefined
    ? { ...returned, expiresAtMs: Math.max(told.expiresAtMs, nowMs + told.ttlMs) }
    : returned;
}

/** A new life, and what is missing, on the budgets that the subject has now. */
function renew(
  core: LedgerCore,
  told: LeaseRecord,
  place: Place & Booking & { readonly report: LeaseRenewalRequest },
): LeaseRecord {
  const { report, tenant, unfinished, accounts, path, nowMs } = place;
  const scopes = pathOf(told);
  core.leases.set(told);
  if (isPlaceOf(told, core.readAccounts(scopes, told.unit, nowMs))) {
    const halt = haltOf(core, tenant, path);
    const growth =
      halt === undefined && unfinished === undefined
        ? growthOf(core, told, path, { want: report.want, min: report.min, nowMs })
        : { granted: 0n, figures: path, shortage: halt };
    if (isChanged(accounts, growth.figures)) core.writeFigures(accounts, growth.figures, nowMs);
    return grown(core, told, place, growth, halt !== undefined);
  }

  core.writeFigures(accounts, path, nowMs);
  const present = core.readAccounts(scopes, told.unit, nowMs);
  const halt = haltOf(core, tenant, present) ?? unfinished;
  if (halt !== undefined) return grown(core, told, place, { granted: 0n, shortage: halt }, true);
  const moved = move(core, told, present, nowMs);
  if (!moved.ok) return grown(core, told, place, { granted: 0n, shortage: moved }, true);
  core.leases.set(moved.lease);
  const now = core.readAccounts(scopes, told.unit, nowMs);
  const growth = growthOf(core, moved.lease, now, { want: report.want, min: report.min, nowMs });
  core.writeFigures(now, growth.figures, nowMs);
  return grown(core, moved.lease, place, growth, false);
}

/** The lease with its growth. One that nothing is lent to any more keeps the life it has. */
function grown(
  core: LedgerCore,
  lease: LeaseRecord,
  { report, tenant, nowMs }: { report: LeaseRenewalRequest; tenant: TenantRecord; nowMs: number },
  { granted, shortage }: { readonly granted: bigint; readonly shortage?: Refusal | undefined },
  isHalted: boolean,
): LeaseRecord {
  const governance = core.governing(scopesOf(lease.subject), nowMs);
  const ttlMs = lifeOf(core, tenant, governance, report.ttl_ms ?? lease.ttlMs);
  return {
    ...lease,
    granted: lease.granted + granted,
    shortage: shortage === undefined ? undefined : shortageText(shortage),
    // Never shorter than what a holder may have been told already.
    ...(!isHalted && { ttlMs, expiresAtMs: Math.max(lease.expiresAtMs, nowMs + ttlMs) }),
  };
}

/**
 * Takes what a lease has out of the budgets and windows that the subject has now, and gives it back where it was held
 * before. Refused where it does not fit: then it stays where it is, to its end.
 */
function move(
  core: LedgerCore,
  lease: LeaseRecord,
  present: readonly AccountRecord[],
  nowMs: number,
): { readonly ok: true; readonly lease: LeaseRecord } | Refusal {
  const amount = outstandingOf(lease);
  const held = core.accountsOf(lease, nowMs);
  const isAmong = (those: readonly AccountRecord[]) => (account: AccountRecord) =>
    those.some((it) => it.scope === account.scope && windowStartOf(it) === windowStartOf(account));
  const isHeld = isAmong(held);
  const isPresent = isAmong(present);
  const added = present.filter((account) => !isHeld(account));
  const dropped = held.filter((account) => !isPresent(account));
  if (added.length > 0) {
    const taken = core.arithmetic.reserve(added, amount);
    if (!taken.ok) return refusePath(core, added, taken, amount);
    core.writeFigures(added, taken.accounts, nowMs);
  }
  if (dropped.length > 0) core.writeFigures(dropped, core.releasePath(dropped, amount), nowMs);
  const scopes = present.map(({ scope }) => scope);
  return { ok: true, lease: { ...lease, scopes, windows: windowsOf(present) } };
}

function isChanged(
  before: readonly AccountRecord[],
  after: readonly Pick<AccountRecord, "spent" | "reserved" | "debt">[],
): boolean {
  return before.some(({ spent, reserved, debt }, index) => {
    const now = after[index];
    return spent !== now?.spent || reserved !== now.reserved || debt !== now.debt;
  });
}

type Located = { readonly ok: true; readonly lease: LeaseRecord | undefined } | Refusal;

/**
 * Finds a lease that the caller may report on: 404 if it was never granted or too long ago, 403 if it is another
 * tenant's or out of scope. No lease at all is one that this deployment granted and this store does not know: it was
 * granted after the backup that the store was restored from.
 */
function locate(
  core: LedgerCore,
  id: string,
  { report, principal, nowMs }: { report: Report; principal: Principal; nowMs: number },
): Located {
  const fault = checkHoldId("lease_id", id);
  if (fault !== undefined) return fault;
  const lease = core.store.readLease(id);
  if (lease === undefined) {
    const verdict = core.leaseIds.judge(id);
    if (verdict.issued && verdict.tenant !== core.tenant) {
      return refuse("FORBIDDEN", "The lease belongs to another tenant");
    }
    const isKept = id >= dayPrefix(dayOf(nowMs) - RETENTION.finishedDays, "lease");
    return verdict.issued && isKept
      ? { ok: true, lease: undefined }
      : refuse("NOT_FOUND", `Resource not found: ${id}`);
  }
  if (!owns(principal, lease)) {
    return refuse("FORBIDDEN", "The lease was not opened with this token, nor with one narrowed from it");
  }
  const scopePath = scopePathOf(lease.subject);
  if (!mayTouch(principal, scopePath)) return outsideScope(principal, scopePath);
  if (report.unit !== lease.unit) {
    const message = `unit must be ${lease.unit}, the lease's unit, got ${report.unit}`;
    return refuse("UNIT_MISMATCH", message, { requested_unit: report.unit, expected_units: [lease.unit] });
  }
  if (report.epoch !== lease.epoch) {
    const message = `epoch must be ${lease.epoch}, the lease's own, got ${report.epoch}`;
    return refuse("INVALID_REQUEST", message, { field: "epoch" });
  }
  return { ok: true, lease };
}
