// The budgets' figures: read as they stand now, computed by the kernel, written back. Invariant: what is read is in the
// window that the present lies in; what a hold settles is in the window it was made in; every figure written is the
// kernel's, and is checked once more for contradicting itself. Who may call: the core, which is one, and the operations.

import {
  AccountArithmetic,
  type AccountFigures,
  type PathResult,
  type SettlementPolicy,
} from "../kernel/accounts.ts";
import { figuresAgree, type LedgerCounters, newCounters } from "./counters.ts";
import { LIMITS, RETENTION } from "./limits.ts";
import type { Unit } from "./schema.ts";
import type { AccountKey, AccountRecord, LedgerStore, Reservation } from "./store.ts";
import {
  accountInWindow,
  isCurrentAt,
  isUsed,
  passedWindow,
  takeLateDebt,
  turnWindow,
  windowStartOf,
} from "./windows.ts";

export interface AccountBookOptions {
  readonly store: LedgerStore;
  /** Where this ledger counts; its own counters by default. */
  readonly counters?: LedgerCounters;
  /** Hears of the first fault in written figures, so that it stands in the host's log. */
  readonly onFigureFault?: (message: string) => void;
}

/** What names the accounts that something holds, and their windows. */
export type Hold = Pick<Reservation, "id" | "unit" | "scopes" | "windows">;

export abstract class AccountBook {
  readonly store: LedgerStore;
  readonly counters: LedgerCounters;
  readonly arithmetic = new AccountArithmetic();
  readonly #onFigureFault: ((message: string) => void) | undefined;

  constructor({ store, counters = newCounters(), onFigureFault }: AccountBookOptions) {
    this.store = store;
    this.counters = counters;
    this.#onFigureFault = onFigureFault;
  }

  /** Whether a reservation or a lease holds this budget, in whatever window. */
  abstract hasHold(account: AccountKey): boolean;

  /** Gives a held amount back on every account. Cannot be refused: what is held was reserved on the same accounts. */
  releasePath(accounts: readonly AccountRecord[], amount: bigint): readonly AccountFigures[] {
    const result = this.arithmetic.release(accounts, amount);
    if (!result.ok) throw new Error(`ledger: releasing ${amount} was refused with ${result.reason}`);
    return result.accounts;
  }

  /** Gives back on every account what was charged too much. Cannot be refused. */
  refundPath(accounts: readonly AccountRecord[], amount: bigint): readonly AccountFigures[] {
    const result = this.arithmetic.refund(accounts, amount);
    if (!result.ok) throw new Error(`ledger: refunding ${amount} was refused with ${result.reason}`);
    return result.accounts;
  }

  /**
   * Settles a held estimate with what was used. Debt in a window that has passed falls to the window that stands now,
   * whose overdraft limit must bear it too, unless the policy is to owe.
   */
  commitPath(
    accounts: readonly AccountRecord[],
    settlement: { estimate: bigint; actual: bigint; policy: SettlementPolicy },
  ): PathResult {
    const result = this.arithmetic.commit(accounts, settlement);
    if (!result.ok) return result;
    for (const [index, { current, debt }] of accounts.entries()) {
      const owed = (result.accounts[index]?.debt ?? debt) - debt;
      if (current === undefined || owed === 0n) continue;
      const taken = takeLateDebt(current, owed, settlement.policy !== "OWE");
      if (!taken.ok) return { ok: false, reason: taken.reason, index };
    }
    return result;
  }

  /**
   * The budgets on these scopes as they stand at `nowMs`. One whose window has ended begins the window that `nowMs` lies
   * in: two rows, once a window, whoever asks first.
   */
  readAccounts(scopes: readonly string[], unit: Unit, nowMs: number): AccountRecord[] {
    return this.store.readAccounts(scopes, unit).map((account) => this.atTime(account, nowMs));
  }

  /** What {@link atTime} would answer; writes nothing, so that a list can judge more budgets than it shows. */
  viewAt(account: AccountRecord, nowMs: number): AccountRecord {
    return isCurrentAt(account, nowMs) ? account : this.#turn(account, nowMs).account;
  }

  #turn(account: AccountRecord, nowMs: number) {
    const latest = this.store.findWindow(account, nowMs);
    const { account: turned, reopened } = turnWindow(account, nowMs, latest);
    return { account: turned, reopened: reopened ? latest : undefined };
  }

  /** A budget that was read from the store, as it stands at `nowMs`. */
  atTime(account: AccountRecord, nowMs: number): AccountRecord {
    if (isCurrentAt(account, nowMs)) return account;
    const turned = this.#turn(account, nowMs);
    if (turned.reopened !== undefined) this.store.deleteWindow(account, turned.reopened.startMs);
    // A hold of nothing needs its window too, and nothing in the figures tells of it.
    if (isUsed(account) || this.hasHold(account)) {
      this.store.writeWindow(account, passedWindow(account));
      this.store.pruneWindows({
        key: account,
        rowsKept: RETENTION.windowsPerBudget,
        rowsMax: LIMITS.pruneRowsPerTurn,
      });
    }
    this.store.updateAccount(turned.account);
    return turned.account;
  }

  /**
   * The accounts that a reservation or a lease holds, in scope order: exactly the set that was budgeted when it was made,
   * each in the window of that time.
   */
  accountsOf(hold: Hold, nowMs: number): AccountRecord[] {
    const accounts = this.readAccounts(hold.scopes, hold.unit, nowMs);
    if (accounts.length !== hold.scopes.length) {
      throw new Error(`ledger: ${hold.id} holds an account that does not exist`);
    }
    return accounts.map((account, index) => this.#inWindow(account, hold.windows?.[index]));
  }

  #inWindow(account: AccountRecord, startMs = account.createdAtMs): AccountRecord {
    if (windowStartOf(account) === startMs) return account;
    const passed = this.store.findWindow(account, startMs);
    // Only windows that hold nothing are forgotten, so this is a hold of nothing, more than a hundred windows old.
    return passed?.startMs === startMs ? accountInWindow(account, passed) : account;
  }

  /**
   * Writes what the kernel computed, one row per account, and counts what contradicts itself.
   *
   * @returns each budget as it stands then
   */
  writeFigures(
    accounts: readonly AccountRecord[],
    figures: readonly AccountFigures[],
    nowMs: number,
  ): AccountRecord[] {
    return accounts.map((account, index) => {
      const written = { ...account, ...figures[index], updatedAtMs: nowMs };
      if (account.current !== undefined) return this.#writePassed(account.current, account, written);
      this.store.updateAccount(written);
      this.#checkFigures(written);
      return written;
    });
  }

  /** Writes a window that has passed. New debt goes to the window that stands now: one row more, for that alone. */
  #writePassed(current: AccountRecord, before: AccountRecord, written: AccountRecord): AccountRecord {
    this.store.writeWindow(written, passedWindow(written));
    this.#checkFigures(written);
    const owed = written.debt - before.debt;
    if (owed === 0n) return current;
    // Whether the limit bears it was decided before.
    const taken = takeLateDebt(current, owed, false);
    if (!taken.ok) throw new Error(`ledger: taking over ${owed} of debt was refused with ${taken.reason}`);
    const account = { ...taken.account, updatedAtMs: written.updatedAtMs };
    this.store.updateAccount(account);
    this.#checkFigures(account);
    return account;
  }

  /** The reply stands either way: it was decided, and a ledger that stops answering would not be any truer. */
  #checkFigures(account: AccountRecord): void {
    if (figuresAgree(account, this.arithmetic.remaining(account))) return;
    this.counters.figureFaults += 1;
    if (this.counters.figureFaults > 1) return;
    const { scope, unit, allocated, spent, reserved, debt } = account;
    const figures = `allocated ${allocated}, spent ${spent}, reserved ${reserved}, debt ${debt}`;
    this.#onFigureFault?.(`the figures of ${scope} in ${unit} contradict each other: ${figures}`);
  }
}
