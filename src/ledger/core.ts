// What every operation shares: one turn at a time in one transaction, the clock that never goes back, who is calling,
// expiry settled before a decision. Invariant: the deadlines in memory equal the active
// reservations in the store; a turn that throws forgets them and the next turn reads them anew.
// Who may call: the operations of this folder.

import type { GenericSchema } from "valibot";
import type { PathResult } from "../kernel/accounts.ts";
import { type Authenticated, authenticate, type Principal } from "./access.ts";
import { AccountBook, type AccountBookOptions } from "./account-book.ts";
import type { Caller } from "./api-keys.ts";
import { busy, PATH_REFUSALS, type Refusal, refuse } from "./codes.ts";
import { type AccountName, type Deadline, Deadlines, type DueReservation } from "./deadlines.ts";
import { dayPrefix, ReservationIds } from "./ids.ts";
import { CLOCK_BACK_MS_MAX, LIMITS, MS_PER_DAY, RETENTION } from "./limits.ts";
import { type Permission, permits } from "./permissions.ts";
import { type Governance, type PolicyRecord, PolicySet } from "./policies.ts";
import { minuteOf, RateCounters } from "./rates.ts";
import { type Unit, validate } from "./schema.ts";
import type {
  AccountKey,
  AccountRecord,
  ActiveReservation,
  FinishedReservation,
  Reservation,
  TenantRecord,
} from "./store.ts";
import { isCapScope } from "./tokens.ts";

export interface LedgerOptions extends AccountBookOptions {
  /** The tenant whose ledger this is; one ledger never holds two. */
  readonly tenant: string;
  /** Secrets that reservation ids are derived from; the first one issues, all are accepted. */
  readonly secrets: readonly string[];
  /** Smaller limits than the usual ones, so that a test reaches them. */
  readonly limits?: Partial<TenantLimits>;
}

/** How much one tenant may keep. @see LIMITS */
export type TenantLimits = Record<
  | "activeReservationsMax"
  | "activeReservationsPerKeyMax"
  | "activeReservationsPerTokenMax"
  | "neededHoldsPerMoment"
  | "budgetsMax"
  | "apiKeysMax"
  | "policiesMax"
  | "tokensMax"
  | "tokensPerFamilyMax"
  | "auditRowsMax"
  | "auditRowsPerCall",
  number
>;

/** One call: its time, and its caller. Without a caller it is trusted: an operator, or a Worker with the binding. */
export interface Turn {
  readonly nowMs: number;
  readonly caller?: Caller | undefined;
  readonly source?: CallSource | undefined;
}

/** The HTTP request that a call came in by. No decision looks at it; the audit log keeps it. */
export interface CallSource {
  readonly requestId: string;
  /** 32 lower-case hex characters. */
  readonly traceId: string;
  /** The front has checked the operator's key. */
  readonly operator: boolean;
  readonly userAgent?: string | undefined;
  readonly sourceIp?: string | undefined;
}

/** What became of the due holds on a decision's accounts. */
export interface Settlement {
  readonly settled: number;
  /** Some are left: their budgets show too little, and whoever needs the figures must answer this instead. */
  readonly unfinished?: Refusal;
}

const SETTLING = "Expired reservations of these budgets are still being settled, retry later";

export interface Admitted<Request> {
  readonly ok: true;
  readonly request: Request;
  readonly principal: Principal;
  readonly tenant: TenantRecord;
  /** Absent where no key was needed. */
  readonly permissions?: readonly Permission[] | undefined;
}

export class LedgerCore extends AccountBook {
  readonly tenant: string;
  readonly ids: ReservationIds;
  readonly limits: TenantLimits;
  #deadlines: Deadlines | undefined;
  #policies: PolicySet | undefined;
  #rates: RateCounters | undefined;
  #seenMs: number | undefined;
  /** What may still be settled at this reading of the host's clock; the calls of one group share it. */
  #allowance = { hostMs: -1, needed: 0, others: 0 };
  #prunedDay = -1;
  /** Up to where tokens were looked at for some to forget. @see forgetTokens */
  tokensSeenTo = "";

  constructor(options: LedgerOptions) {
    super(options);
    this.tenant = options.tenant;
    this.ids = new ReservationIds(options.secrets);
    this.limits = { ...LIMITS, ...RETENTION, ...options.limits };
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

  protected override hasHold(account: AccountKey): boolean {
    return this.deadlines.firstOn(account) !== undefined;
  }

  /** All policies, read from the store once and again after one was written. */
  get policies(): PolicySet {
    this.#policies ??= new PolicySet(this.store.readPolicies());
    return this.#policies;
  }

  writePolicy(policy: PolicyRecord): void {
    this.store.writePolicy(policy);
    this.#policies = undefined;
  }

  /** What the policies say about a request on these scopes. */
  governing(scopes: readonly string[], nowMs: number): Governance {
    return this.policies.governing(scopes, nowMs);
  }

  get rates(): RateCounters {
    this.#rates ??= new RateCounters(this.store);
    return this.#rates;
  }

  /**
   * Runs one operation whole or not at all. `decide` gets the operation's only time: the host's, or the latest that an
   * earlier turn saw or wrote while the host's clock is behind that by no more than {@link CLOCK_BACK_MS_MAX}.
   * Refusals are values and keep what expiry settled.
   */
  run<T>(turn: Turn, decide: (nowMs: number) => T): T {
    if (!Number.isSafeInteger(turn.nowMs) || turn.nowMs < 0) {
      throw new RangeError(`nowMs: must be milliseconds since the epoch, a safe integer, got ${turn.nowMs}`);
    }
    const seenMs = this.#seenMs ?? this.store.latestTimeMs();
    const wasWrong = seenMs - turn.nowMs > CLOCK_BACK_MS_MAX;
    const nowMs = wasWrong ? turn.nowMs : Math.max(seenMs, turn.nowMs);
    if (turn.nowMs !== this.#allowance.hostMs) {
      const { neededHoldsPerMoment: needed } = this.limits;
      this.#allowance = { hostMs: turn.nowMs, needed, others: LIMITS.otherHoldsPerMoment };
    }
    try {
      const result = this.store.transact(() => {
        if (wasWrong) this.#shortenLives(nowMs);
        return decide(nowMs);
      });
      this.#seenMs = nowMs;
      return result;
    } catch (error) {
      this.#deadlines = undefined;
      this.#policies = undefined;
      this.#rates = undefined;
      throw error;
    }
  }

  /**
   * What a clock that ran ahead has left: reservations that would outlive the tenant's longest life from now. They get
   * that life, so that none stands for as long as the clock was wrong. Walks all active reservations.
   */
  #shortenLives(nowMs: number): void {
    const tenant = this.store.readTenant();
    if (tenant === undefined) return;
    const expiresAtMs = nowMs + tenant.maxReservationTtlMs;
    for (const { id } of [...this.store.scanDeadlines()]) {
      const reservation = this.store.readReservation(id);
      if (reservation?.status !== "ACTIVE" || reservation.expiresAtMs <= expiresAtMs) continue;
      this.store.updateReservation({ ...reservation, expiresAtMs });
      this.deadlines.set(deadlineOf({ ...reservation, expiresAtMs }));
    }
  }

  /** 401, then 400, then 403: the key, the request, the page it comes from, the permission (where one is needed). */
  admit<Request>(
    turn: Turn,
    nowMs: number,
    wanted: { schema: GenericSchema<unknown, Request>; input: unknown; permission?: Permission },
  ): Admitted<Request> | Refusal {
    const known = this.authenticate(turn, nowMs);
    if (!known.ok) return known;
    const request = validate(wanted.schema, wanted.input);
    if (!request.ok) return request;
    if (known.originRefusal !== undefined) return known.originRefusal;
    const { permission } = wanted;
    if (
      known.permissions !== undefined &&
      permission !== undefined &&
      !permits(known.permissions, permission)
    ) {
      const code = /^(?:budgets|policies):/.test(permission) ? "INSUFFICIENT_PERMISSIONS" : "FORBIDDEN";
      const who = known.principal.token === undefined ? "API key" : "token";
      return refuse(code, `The ${who} lacks the permission ${permission}`);
    }
    const { principal, tenant, permissions } = known;
    return { ok: true, request: request.value, principal, tenant, permissions };
  }

  /** The tenant, and what the caller may do. */
  authenticate(turn: Turn, nowMs: number): Authenticated | Refusal {
    return authenticate(this, turn.caller, nowMs);
  }

  /**
   * Settles reservations past their deadline: those that hold an account the coming decision needs, and a few others, both
   * a bounded number per reading of the host's clock, so that no transaction outlasts what the platform grants it. The
   * rest is not looked at: a long backlog never delays a decision that has nothing to do with it.
   */
  settleDue(nowMs: number, needed: readonly AccountName[]): Settlement {
    const allowance = this.#allowance;
    let settled = 0;
    for (const account of needed) {
      const count = this.#expireWhile(nowMs, () => this.deadlines.firstOn(account), allowance.needed);
      allowance.needed -= count;
      settled += count;
    }
    const others = this.#expireWhile(nowMs, () => this.deadlines.first, allowance.others);
    allowance.others -= others;
    const isLeft = needed.some((account) => isDue(this.deadlines.firstOn(account), nowMs));
    return { settled: settled + others, ...(isLeft && { unfinished: busy(SETTLING) }) };
  }

  /** Settles at most `holdsMax` of what is due, the earliest first. For a transaction that does nothing else. */
  sweepDue(nowMs: number, holdsMax: number): number {
    return this.#expireWhile(nowMs, () => this.deadlines.first, holdsMax);
  }

  /** Expires what `first` finds, as long as that is due, at most `holdsMax`. */
  #expireWhile(nowMs: number, first: () => DueReservation | undefined, holdsMax: number): number {
    let settled = 0;
    for (let due = first(); settled < holdsMax && isDue(due, nowMs); due = first()) {
      this.#expire(due, nowMs);
      settled += 1;
    }
    return settled;
  }

  #expire({ id }: DueReservation, nowMs: number): void {
    const reservation = this.store.readReservation(id);
    if (reservation?.status !== "ACTIVE") throw new Error(`deadlines: ${id} is not an active reservation`);
    this.#writeExpiry(reservation, nowMs);
  }

  /**
   * Writes down that a reservation has expired, if it has. For whoever tells a caller so: what was once told must stay
   * true even if the clock is put back, since the caller now charges what it spent by an event.
   */
  keepExpiry(reservation: Reservation, nowMs: number): void {
    if (reservation.status === "ACTIVE" && statusAt(reservation, nowMs) === "EXPIRED") {
      this.#writeExpiry(reservation, nowMs);
    }
  }

  #writeExpiry(reservation: ActiveReservation, nowMs: number): void {
    this.deadlines.delete(reservation.id);
    const accounts = this.accountsOf(reservation, nowMs);
    this.writeFigures(accounts, this.releasePath(accounts, reservation.amount), nowMs);
    this.store.finishReservation({ ...reservation, status: "EXPIRED", finishedAtMs: nowMs });
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
      }) +
      this.store.pruneAnswers({ expiresBeforeDay: today, rowsMax }) +
      this.pruneAudit(nowMs, rowsMax) +
      this.store.pruneRates({ minuteBelow: minuteOf(nowMs) - 1, rowsMax });
    if (rows === 0) this.#prunedDay = today;
  }

  /** The audit log's own part of it, which also runs whenever a row is added. */
  pruneAudit(nowMs: number, rowsMax: number): number {
    const beforeMs = nowMs - RETENTION.auditDays * MS_PER_DAY;
    return this.store.pruneAudit({ beforeMs, rowsKept: this.limits.auditRowsMax, rowsMax });
  }
}

/** Whole days since the epoch. */
export function dayOf(timeMs: number): number {
  return Math.floor(timeMs / MS_PER_DAY);
}

/** The accounts that these scopes would have in one unit. */
export function accountsOn(unit: Unit, scopes: readonly string[]): AccountName[] {
  return scopes.map((scope) => ({ unit, scope }));
}

/** What a reservation is at this moment: one past its grace has expired, whether or not a sweep has come by. */
export function statusAt(reservation: Reservation, nowMs: number): Reservation["status"] {
  const isPast = nowMs > reservation.expiresAtMs + reservation.gracePeriodMs;
  return reservation.status === "ACTIVE" && isPast ? "EXPIRED" : reservation.status;
}

/** When a reservation expires for good: strictly after its grace. */
export function deadlineOf(reservation: ActiveReservation): Deadline {
  const { id, unit, scopes, keyId, expiresAtMs, gracePeriodMs } = reservation;
  return { id, unit, scopes, keyId, deadlineMs: expiresAtMs + gracePeriodMs };
}

function isDue(first: DueReservation | undefined, nowMs: number): first is DueReservation {
  return first !== undefined && first.deadlineMs < nowMs;
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
  const what = isCapScope(account.scope) ? `${words} the token's cap` : words;
  return refuse(error, `${what}: ${account.scope}`, {
    scope: account.scope,
    unit: account.unit,
    requested,
    remaining: core.arithmetic.remaining(account),
    allocated: account.allocated,
    reserved: account.reserved,
    spent: account.spent,
    debt: account.debt,
    overdraft_limit: account.overdraftLimit,
    ...(account.window?.endMs !== undefined &&
      account.current === undefined && { resets_at_ms: account.window.endMs }),
  });
}
