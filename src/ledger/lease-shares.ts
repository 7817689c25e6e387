// How much of a path a lease may have: where the path is tightest, how much a renewal grows, how much is asked back.
// Invariant: a lease grows by no more than every budget of its path has, and never beyond an even share of the
// tightest, or what its holder cannot go on without;
// asking back changes nothing by itself. Writes nothing; who may call: the operations on leases.

import type { AccountFigures } from "../kernel/accounts.ts";
import { type Refusal, refuse } from "./codes.ts";
import { type LedgerCore, refusePath } from "./core.ts";
import { evenShare, least, most, recallOf } from "./fit.ts";
import { INT64_MAX } from "./int64.ts";
import { type LeaseRecord, outstandingOf } from "./lease-record.ts";
import type { AccountRecord, TenantRecord } from "./store.ts";
import { windowStartOf } from "./windows.ts";

/** The account of a path that has the least left; the shallowest of those. */
export interface Tightest {
  readonly account: AccountRecord;
  readonly index: number;
  readonly remaining: bigint;
}

export function tightestOf(core: LedgerCore, accounts: readonly AccountRecord[]): Tightest {
  let tightest: Tightest | undefined;
  for (const [index, account] of accounts.entries()) {
    const remaining = core.arithmetic.remaining(account);
    if (tightest === undefined || remaining < tightest.remaining) tightest = { account, index, remaining };
  }
  if (tightest === undefined) throw new Error("ledger: a path has at least one account");
  return tightest;
}

/** Whether these are the accounts that hold the lease, in the windows in which they hold it. */
export function isPlaceOf({ scopes, windows }: LeaseRecord, accounts: readonly AccountRecord[]): boolean {
  return (
    accounts.length === scopes.length &&
    accounts.every((account, index) => {
      const start = windows?.[index] ?? account.createdAtMs;
      return account.scope === scopes[index] && windowStartOf(account) === start;
    })
  );
}

/** Why nothing is lent here now, and what is lent should come back: only an operator can change it. */
export function haltOf(
  core: LedgerCore,
  tenant: TenantRecord,
  accounts: readonly AccountRecord[],
): Refusal | undefined {
  if (tenant.status !== "ACTIVE") return refuse("BUDGET_FROZEN", "Tenant suspended, nothing is lent");
  const index = accounts.findIndex(({ status }) => status !== "ACTIVE");
  const status = accounts[index]?.status;
  if (status === undefined) return undefined;
  return refusePath(
    core,
    accounts,
    { ok: false, reason: status === "FROZEN" ? "frozen" : "closed", index },
    0n,
  );
}

/** What a lease may grow by, the accounts' figures with that taken out, and why it is not more. */
export interface Growth {
  readonly granted: bigint;
  readonly figures: readonly AccountFigures[];
  readonly shortage?: Refusal | undefined;
}

/**
 * How much of what is missing a lease gets. It must stand in the book with its present figures, and `accounts` with
 * theirs, which may be unwritten.
 */
export function growthOf(
  core: LedgerCore,
  lease: LeaseRecord,
  accounts: readonly AccountRecord[],
  { want, min, nowMs }: { want: bigint; min: bigint; nowMs: number },
): Growth {
  const outstanding = outstandingOf(lease);
  const missing = want - outstanding;
  if (missing <= 0n) return { granted: 0n, figures: accounts };
  const { account, index, remaining } = tightestOf(core, accounts);
  // Who cannot go on with a share alone has more, as long as it is there.
  const share = most(evenShare(core.leases.lendable(account, remaining, nowMs)), min);
  const room = least(missing, remaining, share - outstanding, INT64_MAX - lease.granted);
  const granted = most(room, 0n);
  const taken = core.arithmetic.reserve(accounts, granted);
  if (!taken.ok) {
    return { granted: 0n, figures: accounts, shortage: refusePath(core, accounts, taken, missing) };
  }
  const isShort = granted < missing;
  return {
    granted,
    figures: taken.accounts,
    ...(isShort && { shortage: shortageOf(core, accounts, { index, requested: missing, remaining }) }),
  };
}

/** What a lease got less because of: the tightest budget, or that it is shared. */
export function shortageOf(
  core: LedgerCore,
  accounts: readonly AccountRecord[],
  { index, requested, remaining }: { index: number; requested: bigint; remaining: bigint },
): Refusal {
  const refusal = refusePath(core, accounts, { ok: false, reason: "exceeds_available", index }, requested);
  if (remaining < requested) return refusal;
  return { ...refusal, message: `Budget shared between leases: ${accounts[index]?.scope ?? ""}` };
}

/** What the holder is asked to give back at its next report. */
export function recallFrom(
  core: LedgerCore,
  tenant: TenantRecord,
  lease: LeaseRecord,
  accounts: readonly AccountRecord[],
  nowMs: number,
): bigint {
  if (lease.status !== "ACTIVE") return 0n;
  const idle = outstandingOf(lease) - lease.held;
  if (haltOf(core, tenant, accounts) !== undefined || !isPlaceOf(lease, accounts)) return idle;
  const { account, remaining } = tightestOf(core, accounts);
  return recallOf(idle, core.leases.lendable(account, remaining, nowMs));
}
