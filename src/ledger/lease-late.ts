// Reports on leases that have ended, or that the store does not know. Invariant: what a report says was spent is charged,
// as debt if need be, once however often it is told. A late renewal only adds to what is charged: whoever sent it went on
// spending until it heard the answer. A return, after which nothing more is spent, corrects it to what it says.
// Who may call: the reports.

import type { Principal } from "./access.ts";
import { type Reply, refuse, succeed } from "./codes.ts";
import { type LedgerCore, refusePath } from "./core.ts";
import { budgetedAccounts, scopesFor } from "./evaluation.ts";
import { least, most } from "./fit.ts";
import { INT64_MAX } from "./int64.ts";
import type { LeaseRecord } from "./lease-record.ts";
import type { LeaseReportRequest } from "./lease-schema.ts";
import { tightestOf } from "./lease-shares.ts";
import { type LeaseBody, leaseBody } from "./lease-wire.ts";
import { LEASE_DEFAULTS } from "./limits.ts";
import { scopesOf } from "./scope.ts";
import { isCapScope } from "./tokens.ts";
import { windowsOf } from "./windows.ts";

/** A report, and whether it says that nothing more will be spent but what is held. */
export type LateReport = LeaseReportRequest & { readonly isLast: boolean };

/** The scopes of a lease that are still there: caps are forgotten with their tokens, once they hold nothing. */
export function heldBy(core: LedgerCore, { scopes, unit }: LeaseRecord): string[] {
  return scopes.filter((scope) => !isCapScope(scope) || core.store.readAccounts([scope], unit).length > 0);
}

/** A newer report on a lease that holds nothing any more. */
export function bookLate(
  core: LedgerCore,
  lease: LeaseRecord,
  report: LateReport,
  nowMs: number,
): Reply<LeaseBody> {
  const { spent, held, sequence, isLast } = report;
  const before = lease.spent + lease.charged;
  // Who renews did not know that it had ended, and went on until it heard so. Only who returns it has stopped.
  const total = isLast ? spent + held : most(before, spent + held);
  const change = total - before;
  const accounts = core.accountsOf({ ...lease, scopes: heldBy(core, lease) }, nowMs);
  if (change > 0n) {
    const settled = core.commitPath(accounts, { estimate: 0n, actual: change, policy: "OWE" });
    if (!settled.ok) return refusePath(core, accounts, settled, change);
    core.writeFigures(accounts, settled.accounts, nowMs);
  } else if (change < 0n) {
    core.writeFigures(accounts, core.refundPath(accounts, -change), nowMs);
  }
  const status = isLast ? "RETURNED" : lease.status;
  const returned = most(lease.returned, least(report.returned, lease.granted));
  const told = { spent, held, returned, sequence, charged: total - spent, shortage: undefined };
  const after: LeaseRecord = { ...lease, ...told, status, renewedAtMs: nowMs };
  core.writeLease(after);
  return ended(core, after, nowMs);
}

/** A lease of this deployment that the store does not know: its report says what is charged, and to whom. */
export function bookLost(
  core: LedgerCore,
  id: string,
  { report, principal, nowMs }: { report: LateReport; principal: Principal; nowMs: number },
): Reply<LeaseBody> {
  const { epoch, subject, unit, sequence, returned, isLast } = report;
  if (subject === undefined) {
    const message = "subject is required: the lease is not known, so the report must say whose it was";
    return refuse("INVALID_REQUEST", message, { field: "subject" });
  }
  const place = scopesFor(core, subject, principal);
  if (!place.ok) return place;
  const budgeted = budgetedAccounts(core, {
    member: "want",
    amount: { unit, amount: 0n },
    scopes: place.scopes,
    principal,
    nowMs,
  });
  if (!budgeted.ok) return budgeted.refusal;
  const { accounts } = budgeted;
  const { remaining } = tightestOf(core, accounts);
  const room = principal.token === undefined ? INT64_MAX : most(remaining, 0n);
  const spent = least(report.spent, room);
  const held = least(report.held, room - spent);
  const settled = core.commitPath(accounts, { estimate: 0n, actual: spent + held, policy: "OWE" });
  if (!settled.ok) return refusePath(core, accounts, settled, spent + held);
  core.writeFigures(accounts, settled.accounts, nowMs);
  const { onExpiry, graceMs } = core.leases.settings;
  const lease: LeaseRecord = {
    id,
    epoch,
    fingerprint: "",
    subject,
    unit,
    scopes: accounts.map(({ scope }) => scope),
    windows: windowsOf(accounts),
    granted: spent + held + returned,
    spent,
    returned,
    held,
    charged: held,
    sequence,
    ttlMs: LEASE_DEFAULTS.ttlMs,
    graceMs,
    onExpiry,
    status: isLast ? "RETURNED" : "EXPIRED",
    createdAtMs: nowMs,
    renewedAtMs: nowMs,
    expiresAtMs: nowMs,
    endedAtMs: nowMs,
    keyId: principal.keyId,
  };
  core.store.insertLease(lease);
  return ended(core, lease, nowMs);
}

function ended(core: LedgerCore, lease: LeaseRecord, nowMs: number): Reply<LeaseBody> {
  const accounts = core.readAccounts(scopesOf(lease.subject), lease.unit, nowMs);
  return succeed(leaseBody(core, lease, { recall: 0n, accounts, nowMs }));
}
