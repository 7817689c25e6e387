// The ledger's arithmetic: exact int64 over a path of accounts (assembly/account.ts).
// Invariant: every account that leaves here satisfies remaining = allocated − spent − reserved − debt within int64;
// a refusal leaves the given accounts as they were. Who may call: src/ledger. One instance, one thread, no sharing.

import * as Account from "./generated/Account.ts";
import * as AccountState from "./generated/AccountState.ts";
import { FRAME_ACCOUNTS } from "./generated/abi.ts";
import * as Fund from "./generated/Fund.ts";
import * as Overage from "./generated/Overage.ts";
import * as Status from "./generated/Status.ts";
import { type AccountExports, instantiateAccounts } from "./instance.ts";

/** What happens to usage beyond the estimate. @see Cycles protocol, CommitOveragePolicy */
export type OveragePolicy = "REJECT" | "ALLOW_IF_AVAILABLE" | "ALLOW_WITH_OVERDRAFT";

/** `OWE` is the authority's own: what was spent under a lease is charged, as debt beyond every limit if need be. */
export type SettlementPolicy = OveragePolicy | "OWE";

/** Whether an account takes new reservations and events. Settling held work is possible in every status. */
export type AccountStatus = "ACTIVE" | "FROZEN" | "CLOSED";

/** One account's figures, int64 ≥ 0 each, in the account's unit. */
export interface AccountFigures {
  allocated: bigint;
  spent: bigint;
  reserved: bigint;
  debt: bigint;
  overdraftLimit: bigint;
  /** The mark that a capped charge left; {@link AccountArithmetic.isOverLimit} adds `debt > overdraftLimit > 0`. */
  overLimitMark: boolean;
  status: AccountStatus;
}

/** Why a path refused, in order of precedence. */
export type PathRefusal =
  | "over_limit"
  | "frozen"
  | "closed"
  | "debt_outstanding"
  | "exceeds_available"
  | "overdraft_limit_exceeded"
  | "overflow";

/** `index` is the position, in the given path, of the first account that refused. */
export type PathResult =
  | { readonly ok: true; readonly accounts: AccountFigures[]; readonly charged: bigint }
  | { readonly ok: false; readonly reason: PathRefusal; readonly index: number };

/** @see Cycles governance, FundingOperation */
export type FundOperation = "CREDIT" | "DEBIT" | "RESET" | "RESET_SPENT" | "REPAY_DEBT";

const OVERAGE: Record<SettlementPolicy, number> = {
  REJECT: Overage.Reject,
  ALLOW_IF_AVAILABLE: Overage.AllowIfAvailable,
  ALLOW_WITH_OVERDRAFT: Overage.AllowWithOverdraft,
  OWE: Overage.Owe,
};

const STATE: Record<AccountStatus, number> = {
  ACTIVE: AccountState.Active,
  FROZEN: AccountState.Frozen,
  CLOSED: AccountState.Closed,
};

const FUND: Record<FundOperation, number> = {
  CREDIT: Fund.Credit,
  DEBIT: Fund.Debit,
  RESET: Fund.Reset,
  RESET_SPENT: Fund.ResetSpent,
  REPAY_DEBT: Fund.RepayDebt,
};

const REFUSALS = new Map<number, PathRefusal>([
  [Status.OverLimit, "over_limit"],
  [Status.Frozen, "frozen"],
  [Status.Closed, "closed"],
  [Status.DebtOutstanding, "debt_outstanding"],
  [Status.ExceedsAvailable, "exceeds_available"],
  [Status.OverdraftLimitExceeded, "overdraft_limit_exceeded"],
  [Status.Overflow, "overflow"],
]);

const INT64_MAX = 2n ** 63n - 1n;

/**
 * The authority's arithmetic. Paths hold 1 … 12 accounts; amounts are int64 ≥ 0. Every method decides over the whole
 * path and either returns new figures for all of it or a refusal that changes nothing.
 *
 * @throws RangeError for an amount outside int64 or a path of another length; Error if the figures are corrupt (more to
 *   be settled than is reserved, or figures whose remaining leaves int64)
 */
export class AccountArithmetic {
  readonly #exports: AccountExports;

  constructor() {
    this.#exports = instantiateAccounts();
  }

  /** Takes `amount` out of every account, or out of none. */
  reserve(path: readonly AccountFigures[], amount: bigint): PathResult {
    checkInt64("amount", amount);
    this.#load(path);
    return this.#result(path, this.#exports.pathReserve(path.length, amount), 0n);
  }

  /** Settles a reservation of `estimate` with `actual`; `charged` is what every account was charged. */
  commit(
    path: readonly AccountFigures[],
    { estimate, actual, policy }: { estimate: bigint; actual: bigint; policy: SettlementPolicy },
  ): PathResult {
    checkInt64("estimate", estimate);
    checkInt64("actual", actual);
    this.#load(path);
    return this.#result(path, this.#exports.pathCommit(path.length, estimate, actual, OVERAGE[policy]));
  }

  /** Gives a reservation of `amount` back: a release, or an expiry. */
  release(path: readonly AccountFigures[], amount: bigint): PathResult {
    checkInt64("amount", amount);
    this.#load(path);
    return this.#result(path, this.#exports.pathRelease(path.length, amount), 0n);
  }

  /** Gives back what was charged too much: debt first, then spent, down to 0. Never refused. */
  refund(path: readonly AccountFigures[], amount: bigint): PathResult {
    checkInt64("amount", amount);
    this.#load(path);
    return this.#result(path, this.#exports.pathRefund(path.length, amount), 0n);
  }

  /** Charges `actual`, for which nothing was reserved. */
  event(
    path: readonly AccountFigures[],
    { actual, policy }: { actual: bigint; policy: OveragePolicy },
  ): PathResult {
    checkInt64("actual", actual);
    this.#load(path);
    return this.#result(path, this.#exports.pathEvent(path.length, actual, OVERAGE[policy]));
  }

  /** One funding operation on one account; `spent` counts for RESET_SPENT alone. Lifts the over-limit mark. */
  fund(account: AccountFigures, operation: FundOperation, amount: bigint, spent = 0n): PathResult {
    checkInt64("amount", amount);
    checkInt64("spent", spent);
    this.#load([account]);
    return this.#result([account], this.#exports.accountFund(FUND[operation], amount, spent), 0n);
  }

  /** allocated − spent − reserved − debt; may be negative. */
  remaining(account: AccountFigures): bigint {
    this.#load([account]);
    return this.#exports.accountFigure(0, Account.Remaining);
  }

  /** Whether new reservations are refused: the mark stands, or debt is beyond a positive overdraft limit. */
  isOverLimit(account: AccountFigures): boolean {
    this.#load([account]);
    return this.#exports.accountFigure(0, Account.OverLimit) !== 0n;
  }

  #load(path: readonly AccountFigures[]): void {
    if (path.length < 1 || path.length > FRAME_ACCOUNTS) {
      throw new RangeError(`path must have 1 to ${FRAME_ACCOUNTS} accounts, got ${path.length}`);
    }
    for (const [index, account] of path.entries()) {
      const { allocated, spent, reserved, debt, overdraftLimit, overLimitMark, status } = account;
      for (const figure of [allocated, spent, reserved, debt, overdraftLimit]) checkInt64("account", figure);
      const mark = overLimitMark ? 1 : 0;
      const put = this.#exports.accountPut(
        index,
        allocated,
        spent,
        reserved,
        debt,
        overdraftLimit,
        mark,
        STATE[status],
      );
      if (put !== Status.Ok) throw new Error(`account ${index} is corrupt: its remaining leaves int64`);
    }
  }

  #result(path: readonly AccountFigures[], status: number, charged?: bigint): PathResult {
    if (status === Status.Ok) {
      const accounts = path.map((account, index) => ({ ...account, ...this.#read(index) }));
      return { ok: true, accounts, charged: charged ?? this.#exports.pathCharged() };
    }
    const reason = REFUSALS.get(status);
    if (reason === undefined) {
      throw new Error(
        `the ledger is corrupt: the kernel answered status ${status} for account ${this.#exports.pathIndex()}`,
      );
    }
    return { ok: false, reason, index: this.#exports.pathIndex() };
  }

  #read(index: number): Pick<AccountFigures, "allocated" | "spent" | "reserved" | "debt" | "overLimitMark"> {
    const figure = (which: number): bigint => this.#exports.accountFigure(index, which);
    return {
      allocated: figure(Account.Allocated),
      spent: figure(Account.Spent),
      reserved: figure(Account.Reserved),
      debt: figure(Account.Debt),
      overLimitMark: figure(Account.Mark) !== 0n,
    };
  }
}

/** Wasm would take a larger BigInt modulo 2^64. */
function checkInt64(argument: string, value: bigint): void {
  if (typeof value !== "bigint" || value < 0n || value > INT64_MAX) {
    throw new RangeError(`${argument} must be an int64 from 0 to ${INT64_MAX}, got ${value}`);
  }
}
