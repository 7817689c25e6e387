// What every operation shares: one turn at a time in one transaction, the clock that never goes back, who is calling,
// expiry settled before a decision, figures written after one. Invariant: the deadlines in memory equal the active
// reservations in the store; a turn that throws forgets them and the next turn reads them anew.
// Who may call: the operations of this folder.

import type { GenericSchema } from "valibot";
import { AccountArithmetic, type AccountFigures, type PathResult } from "../kernel/accounts.ts";
import type { Caller } from "./api-keys.ts";
import { PATH_REFUSALS, type Refusal, refuse, unauthorized } from "./codes.ts";
import { type Deadline, Deadlines } from "./deadlines.ts";
import { equalInConstantTime } from "./digest.ts";
import { dayPrefix, ReservationIds } from "./ids.ts";
import { LIMITS, MS_PER_DAY, RETENTION } from "./limits.ts";
import { type Permission, permits } from "./permissions.ts";
import { type Unit, validate } from "./schema.ts";
import type { AccountRecord, FinishedReservation, LedgerStore, Reservation, TenantRecord } from "./store.ts";

export interface LedgerOptions {
  /** The tenant whose ledger this is; one ledger never holds two. */
  readonly tenant: string;
  readonly store: LedgerStore;
  /** Secrets that reservation ids are derived from; the first one issues, all are accepted. */
  readonly secrets: readonly string[];
}

/** One call: its time, and its caller. Without a caller it is trusted: an operator, or a Worker with the binding. */
export interface Turn {
  readonly nowMs: number;
  readonly caller?: Caller | undefined;
}

/** Who a call acts for, once its key is checked. */
export interface Principal {
  readonly keyId?: string | undefined;
  readonly scopeFilter?: readonly string[] | undefined;
}

export interface Admitted<Request> {
  readonly ok: true;
  readonly request: Request;
  readonly principal: Principal;
  readonly tenant: TenantRecord;
}

export class LedgerCore {
  readonly tenant: string;
  readonly store: LedgerStore;
  readonly ids: ReservationIds;
  readonly arithmetic = new AccountArithmetic();
  #deadlines: Deadlines | undefined;
  #lastNowMs = 0;
  #prunedDay = -1;

  constructor(options: LedgerOptions) {
    this.tenant = options.tenant;
    this.store = options.store;
    this.ids = new ReservationIds(options.secrets);
  }

  /** The deadlines of all active reservations, read from the store once. */
  get deadlines(): Deadlines {
    if (this.#deadlines === undefined) {
      const deadlines = new Deadlines();
      for (const deadline of this.store.scanDeadlines()) deadlines.set(deadline);
      this.#deadlines = deadlines;
    }
    return this.#deadlines;
  }

  /**
   * Runs one operation whole or not at all. `decide` gets the operation's only time: never before a time that an
   * earlier turn saw or wrote, even if the host's clock went back. Refusals are values and keep what expiry settled.
   */
  run<T>(turn: Turn, decide: (nowMs: number) => T): T {
    if (!Number.isSafeInteger(turn.nowMs) || turn.nowMs < 0) {
      throw new RangeError(`nowMs: must be milliseconds since the epoch, a safe integer, got ${turn.nowMs}`);
    }
    if (this.#lastNowMs === 0) this.#lastNowMs = this.store.latestTimeMs();
    this.#lastNowMs = Math.max(this.#lastNowMs, turn.nowMs);
    try {
      return this.store.transact(() => decide(this.#lastNowMs));
    } catch (error) {
      this.#deadlines = undefined;
      throw error;
    }
  }

  /** 401, then 400, then 403: the key, the request, the permission. */
  admit<Request>(
    turn: Turn,
    nowMs: number,
    wanted: { schema: GenericSchema<unknown, Request>; input: unknown; permission: Permission },
  ): Admitted<Request> | Refusal {
    const tenant = this.store.readTenant();
    if (tenant === undefined) {
      return turn.caller === undefined
        ? refuse("NOT_FOUND", `Tenant not found: ${this.tenant}`)
        : unauthorized("KEY_NOT_FOUND");
    }
    const key = turn.caller === undefined ? undefined : this.#authenticate(turn.caller, nowMs);
    if (key !== undefined && !key.ok) return key;
    const request = validate(wanted.schema, wanted.input);
    if (!request.ok) return request;
    if (key !== undefined && !permits(key.permissions, wanted.permission)) {
      const code = wanted.permission.startsWith("budgets:") ? "INSUFFICIENT_PERMISSIONS" : "FORBIDDEN";
      return refuse(code, `The API key lacks the permission ${wanted.permission}`);
    }
    return { ok: true, request: request.value, principal: key?.principal ?? {}, tenant };
  }

  #authenticate(
    caller: Caller,
    nowMs: number,
  ): { ok: true; permissions: readonly Permission[]; principal: Principal } | Refusal {
    const key = this.store.readApiKey(caller.keyId);
    if (key === undefined) return unauthorized("KEY_NOT_FOUND");
    if (!equalInConstantTime(key.digest, caller.digest)) return unauthorized("INVALID_KEY");
    if (key.revokedAtMs !== undefined) return unauthorized("KEY_REVOKED");
    if (nowMs >= key.expiresAtMs) return unauthorized("KEY_EXPIRED");
    return {
      ok: true,
      permissions: key.permissions,
      principal: { keyId: key.keyId, scopeFilter: key.scopeFilter },
    };
  }

  /**
   * Settles reservations past their deadline: all that hold an account the coming decision needs, and a bounded number
   * of others, so that a long backlog never delays a decision that has nothing to do with it.
   *
   * @returns how many were settled
   */
  settleDue(
    nowMs: number,
    needs: (deadline: Deadline) => boolean,
    othersMax: number = LIMITS.sweepHoldsPerTurn,
  ): number {
    const waiting: Deadline[] = [];
    let others = 0;
    let settled = 0;
    for (
      let due = this.deadlines.first;
      due !== undefined && due.deadlineMs < nowMs;
      due = this.deadlines.first
    ) {
      this.deadlines.delete(due.id);
      if (!needs(due) && others >= othersMax) {
        waiting.push(due);
        continue;
      }
      if (!needs(due)) others += 1;
      this.#expire(due, nowMs);
      settled += 1;
    }
    for (const deadline of waiting) this.deadlines.set(deadline);
    return settled;
  }

  #expire(deadline: Deadline, nowMs: number): void {
    const reservation = this.store.readReservation(deadline.id);
    if (reservation?.status !== "ACTIVE")
      throw new Error(`deadlines: ${deadline.id} is not an active reservation`);
    const accounts = this.accountsOf(reservation);
    this.writeFigures(accounts, this.releasePath(accounts, reservation.amount), nowMs);
    this.store.finishReservation({ ...reservation, status: "EXPIRED", finishedAtMs: nowMs });
  }

  /** Gives a held amount back on every account. Cannot be refused: what is held was reserved on the same accounts. */
  releasePath(accounts: readonly AccountRecord[], amount: bigint): readonly AccountFigures[] {
    const result = this.arithmetic.release(accounts, amount);
    if (!result.ok) throw new Error(`ledger: releasing ${amount} was refused with ${result.reason}`);
    return result.accounts;
  }

  /** The accounts that a reservation holds, in scope order: exactly the set that was budgeted when it was made. */
  accountsOf(reservation: Reservation): AccountRecord[] {
    const accounts = this.store.readAccounts(reservation.scopes, reservation.unit);
    if (accounts.length !== reservation.scopes.length) {
      throw new Error(`ledger: reservation ${reservation.id} holds an account that does not exist`);
    }
    return accounts;
  }

  /** Writes what the kernel computed. One row per account. */
  writeFigures(
    accounts: readonly AccountRecord[],
    figures: readonly AccountFigures[],
    nowMs: number,
  ): AccountRecord[] {
    return accounts.map((account, index) => {
      const written = { ...account, ...figures[index], updatedAtMs: nowMs };
      this.store.updateAccount(written);
      return written;
    });
  }

  /** Moves an active reservation to its end, and prunes a few rows that have outlived their retention. */
  finish(reservation: FinishedReservation, nowMs: number): void {
    this.store.finishReservation(reservation);
    this.deadlines.delete(reservation.id);
    this.prune(nowMs, LIMITS.pruneRowsPerTurn);
  }

  /** Deletes old rows, at most `rowsMax` of each kind. Looks again only on the next day once nothing is left. */
  prune(nowMs: number, rowsMax: number): void {
    const today = dayOf(nowMs);
    if (this.#prunedDay === today) return;
    const rows =
      this.store.pruneFinished({
        idBelow: dayPrefix(today - RETENTION.finishedDays),
        finishedBeforeMs: nowMs - RETENTION.finishedMs,
        rowsMax,
      }) + this.store.pruneAnswers({ expiresBeforeDay: today, rowsMax });
    if (rows === 0) this.#prunedDay = today;
  }
}

/** Whole days since the epoch. */
export function dayOf(timeMs: number): number {
  return Math.floor(timeMs / MS_PER_DAY);
}

/** Whether a deadline holds one of these accounts. */
export function holdsAny(unit: Unit, scopes: readonly string[]): (deadline: Deadline) => boolean {
  return (deadline) => deadline.unit === unit && deadline.scopes.some((scope) => scopes.includes(scope));
}

/** The refusal of a path of accounts, naming the first account that refused and its figures. */
export function refusePath(
  core: LedgerCore,
  accounts: readonly AccountRecord[],
  result: PathResult & { ok: false },
  requested: bigint,
): Refusal {
  const { error, words } = PATH_REFUSALS[result.reason];
  const account = accounts[result.index];
  if (account === undefined) throw new Error(`kernel: refused account ${result.index} of ${accounts.length}`);
  return refuse(error, `${words}: ${account.scope}`, {
    scope: account.scope,
    unit: account.unit,
    requested,
    remaining: core.arithmetic.remaining(account),
    allocated: account.allocated,
    reserved: account.reserved,
    spent: account.spent,
    debt: account.debt,
    overdraft_limit: account.overdraftLimit,
  });
}
