// What is held, and when it ends by itself: the deadlines of reservations and leases, their expiry before a decision, and
// the pruning of what has outlived its retention. Invariant: the deadlines in memory equal what the store says is held, of
// either kind; what has expired is settled in the order of its deadlines, a bounded number at one reading of the clock.
// Who may call: the core, which is one, and the operations.

import { AccountBook, type AccountBookOptions } from "./account-book.ts";
import { busy, type Refusal } from "./codes.ts";
import { type AccountName, type Deadline, Deadlines, type DueReservation } from "./deadlines.ts";
import { dayPrefix } from "./ids.ts";
import { LeaseBook } from "./lease-book.ts";
import { type LeaseExpiry, type LeaseRecord, outstandingOf } from "./lease-record.ts";
import { LIMITS, MS_PER_DAY, RETENTION } from "./limits.ts";
import { oldestRateMinute } from "./rates.ts";
import type { Unit } from "./schema.ts";
import type { AccountKey, ActiveReservation, FinishedReservation, Reservation } from "./store.ts";

/** How much one tenant may keep. @see LIMITS */
export type TenantLimits = Record<
  | "storedBytesMax"
  | "activeReservationsMax"
  | "activeReservationsPerKeyMax"
  | "activeReservationsPerTokenMax"
  | "leasesMax"
  | "leasesPerKeyMax"
  | "leasesPerTokenMax"
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

export interface HoldBookOptions extends AccountBookOptions {
  /** Smaller limits than the usual ones, so that a test reaches them. */
  readonly limits?: Partial<TenantLimits>;
}

/** What became of the due holds on a decision's accounts. */
export interface Settlement {
  readonly settled: number;
  /** Some are left: their budgets show too little, and whoever needs the figures must answer this instead. */
  readonly unfinished?: Refusal;
}

/** What is due: its deadline, and how it is settled. */
interface Due extends DueReservation {
  readonly kind: "reservation" | "lease";
}

const SETTLING = "Expired reservations of these budgets are still being settled, retry later";

export abstract class HoldBook extends AccountBook {
  readonly limits: TenantLimits;
  #deadlines: Deadlines | undefined;
  #leases: LeaseBook | undefined;
  /** What may still be settled at this reading of the host's clock; the calls of one group share it. */
  #allowance = { hostMs: -1, needed: 0, others: 0 };
  #prunedDay = -1;

  constructor(options: HoldBookOptions) {
    super(options);
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

  /** All leases that hold something, and how the tenant lends, read from the store once. */
  get leases(): LeaseBook {
    this.#leases ??= new LeaseBook(this.store.scanOpenLeases(), this.store.readLeaseSettings());
    return this.#leases;
  }

  /** The earliest moment at which something is past its grace; `undefined` while nothing is held. */
  get nextDeadlineMs(): number | undefined {
    return this.#firstDue()?.deadlineMs;
  }

  /** After a turn that was undone. */
  protected forgetHolds(): void {
    this.#deadlines = undefined;
    this.#leases = undefined;
  }

  /** At each new reading of the host's clock the bounds of settling begin anew. */
  protected beginMoment(hostMs: number): void {
    if (hostMs === this.#allowance.hostMs) return;
    const { neededHoldsPerMoment: needed } = this.limits;
    this.#allowance = { hostMs, needed, others: LIMITS.otherHoldsPerMoment };
  }

  override hasHold(account: AccountKey): boolean {
    return this.#firstDue(account) !== undefined;
  }

  /**
   * What a clock that ran ahead has left: reservations and leases that would outlive the longest life from now. They get
   * that life, so that none stands for as long as the clock was wrong. Walks all of them.
   */
  protected shortenLives(nowMs: number): void {
    const tenant = this.store.readTenant();
    if (tenant === undefined) return;
    const expiresAtMs = nowMs + tenant.maxReservationTtlMs;
    for (const { id } of [...this.store.scanDeadlines()]) {
      const reservation = this.store.readReservation(id);
      if (reservation?.status !== "ACTIVE" || reservation.expiresAtMs <= expiresAtMs) continue;
      this.store.updateReservation({ ...reservation, expiresAtMs });
      this.deadlines.set(deadlineOf({ ...reservation, expiresAtMs }));
    }
    const leaseEndMs = nowMs + this.leases.settings.ttlMsMax;
    for (const lease of [...this.store.scanOpenLeases()]) {
      if (lease.expiresAtMs > leaseEndMs) this.writeLease({ ...lease, expiresAtMs: leaseEndMs });
    }
  }

  /**
   * Settles what is past its deadline: what holds an account the coming decision needs, and a few others, both
   * a bounded number per reading of the host's clock, so that no transaction outlasts what the platform grants it. The
   * rest is not looked at: a long backlog never delays a decision that has nothing to do with it.
   */
  settleDue(nowMs: number, needed: readonly AccountName[]): Settlement {
    const allowance = this.#allowance;
    let settled = 0;
    for (const account of needed) {
      const count = this.#expireWhile(nowMs, () => this.#firstDue(account), allowance.needed);
      allowance.needed -= count;
      settled += count;
    }
    const others = this.#expireWhile(nowMs, () => this.#firstDue(), allowance.others);
    allowance.others -= others;
    const isLeft = needed.some((account) => isDue(this.#firstDue(account), nowMs));
    return { settled: settled + others, ...(isLeft && { unfinished: busy(SETTLING) }) };
  }

  /** Settles at most `holdsMax` of what is due, the earliest first. For a transaction that does nothing else. */
  sweepDue(nowMs: number, holdsMax: number): number {
    return this.#expireWhile(nowMs, () => this.#firstDue(), holdsMax);
  }

  /** Whichever ends first, a reservation or a lease; of those on one account, or of all. */
  #firstDue(account?: AccountName): Due | undefined {
    const firstOf = (deadlines: Deadlines) =>
      account === undefined ? deadlines.first : deadlines.firstOn(account);
    const reservation = firstOf(this.deadlines);
    const lease = firstOf(this.leases.deadlines);
    if (lease === undefined || (reservation !== undefined && reservation.deadlineMs <= lease.deadlineMs)) {
      return reservation && { ...reservation, kind: "reservation" };
    }
    return { ...lease, kind: "lease" };
  }

  /** Expires what `first` finds, as long as that is due, at most `holdsMax`. */
  #expireWhile(nowMs: number, first: () => Due | undefined, holdsMax: number): number {
    let settled = 0;
    for (let due = first(); settled < holdsMax && isDue(due, nowMs); due = first()) {
      if (due.kind === "lease") this.expireLease(this.openLease(due.id), nowMs);
      else this.#expire(due, nowMs);
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

  /** A lease that the book says has not ended. */
  openLease(id: string): LeaseRecord {
    const lease = this.store.readLease(id);
    if (lease === undefined || lease.endedAtMs !== undefined) throw new Error(`leases: ${id} has ended`);
    return lease;
  }

  /** Ends a lease by its policy, or by another one: what it still has counts as spent, or goes back. */
  expireLease(lease: LeaseRecord, nowMs: number, policy: LeaseExpiry = lease.onExpiry): LeaseRecord {
    const rest = outstandingOf(lease);
    const accounts = this.accountsOf(lease, nowMs);
    const charged = policy === "charge" ? rest : 0n;
    const settled = this.commitPath(accounts, { estimate: rest, actual: charged, policy: "OWE" });
    if (!settled.ok)
      throw new Error(`ledger: settling ${rest} of a lease was refused with ${settled.reason}`);
    if (rest > 0n) this.writeFigures(accounts, settled.accounts, nowMs);
    const ended: LeaseRecord = { ...lease, status: "EXPIRED", charged, endedAtMs: nowMs };
    this.writeLease(ended);
    return ended;
  }

  /** Writes a lease that is there, and remembers it. */
  writeLease(lease: LeaseRecord): void {
    this.store.updateLease(lease);
    this.leases.set(lease);
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
    const oldest = today - RETENTION.finishedDays;
    const beforeMs = nowMs - RETENTION.finishedMs;
    const rows =
      this.store.pruneFinished({ idBelow: dayPrefix(oldest), finishedBeforeMs: beforeMs, rowsMax }) +
      this.store.pruneLeases({ idBelow: dayPrefix(oldest, "lease"), endedBeforeMs: beforeMs, rowsMax }) +
      this.store.pruneAnswers({ expiresBeforeDay: today, rowsMax }) +
      this.pruneAudit(nowMs, rowsMax) +
      this.store.pruneRates({ minuteBelow: oldestRateMinute(nowMs), rowsMax });
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

function isDue(first: Due | undefined, nowMs: number): first is Due {
  return first !== undefined && first.deadlineMs < nowMs;
}
