// What the ledger asks of a store. Synchronous throughout, so that a decision is one transaction with no await in it.
// Invariant: whatever happens inside `transact` is kept whole or not at all; a record read is a value, changing it
// changes nothing. Who may call: the ledger. Implementations: MemoryStore here, SqliteStore in the Durable Object.

import type { AccountFigures, OveragePolicy } from "../kernel/accounts.ts";
import type { AuditRecord } from "./audit.ts";
import type { Deadline } from "./deadlines.ts";
import type { JsonObject } from "./json.ts";
import type { LeaseStore } from "./lease-record.ts";
import type { Period } from "./periods.ts";
import type { Permission } from "./permissions.ts";
import type { PolicyRecord } from "./policies.ts";
import type { Metrics, Unit } from "./schema.ts";
import type { Subject } from "./scope.ts";

export type TenantStatus = "ACTIVE" | "SUSPENDED" | "CLOSED";

export interface TenantRecord {
  readonly tenantId: string;
  readonly name: string;
  readonly status: TenantStatus;
  readonly parentTenantId?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly defaultCommitOveragePolicy?: OveragePolicy | undefined;
  readonly defaultReservationTtlMs: number;
  readonly maxReservationTtlMs: number;
  readonly maxReservationExtensions: number;
  readonly reservationExpiryPolicy: "AUTO_RELEASE" | "GRACE_ONLY";
  /** Counts the writes of this record, from 1: whoever keeps a copy can tell which of two is the later one. */
  readonly revision: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly suspendedAtMs?: number | undefined;
  readonly closedAtMs?: number | undefined;
}

/** What an operator set on a budget and no decision reads. Kept as one JSON text. */
export interface BudgetSettings {
  readonly rolloverPolicy?: string | undefined;
  readonly periodStartMs?: number | undefined;
  readonly periodEndMs?: number | undefined;
  readonly metadata?: JsonObject | undefined;
}

/** How a budget begins anew: its period, and what every new window is allocated. */
export interface BudgetPeriod {
  readonly rule: Period;
  readonly allocated: bigint;
}

/** The stretch of time that a budget's figures are for. Its beginning is the window's name. */
export interface AccountWindow {
  readonly startMs: number;
  /** Absent where nothing ends it any more. */
  readonly endMs?: number | undefined;
  /** Debt of other windows that this one took over: part of its own spent and debt. */
  readonly carriedDebt: bigint;
}

/** A budget: its figures, keyed by (scope, unit), for one window of time if it has a period. */
export interface AccountRecord extends AccountFigures {
  readonly scope: string;
  readonly unit: Unit;
  readonly commitOveragePolicy?: OveragePolicy | undefined;
  readonly settings: BudgetSettings;
  readonly period?: BudgetPeriod | undefined;
  /** Absent where the budget never had a period. */
  readonly window?: AccountWindow | undefined;
  /** Only where the figures are those of a window that has passed: the same budget as it stands now. */
  readonly current?: AccountRecord | undefined;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** What is kept of a window that has passed. It owes nothing: its debt went to the window that followed. */
export interface WindowRecord {
  readonly startMs: number;
  readonly endMs: number;
  readonly allocated: bigint;
  readonly spent: bigint;
  readonly reserved: bigint;
  readonly debt: bigint;
  readonly carriedDebt: bigint;
  readonly overLimitMark: boolean;
}

/** What names a budget. */
export type AccountKey = Pick<AccountRecord, "scope" | "unit">;

/** How many calls of one kind a rate limit's scope may have had in one minute. */
export interface RateRecord {
  readonly name: string;
  readonly minute: number;
  readonly granted: number;
}

/** An answered operation: same key and same fingerprint return `reply`, the stored body as JSON text. */
export interface Answer {
  readonly key: string;
  readonly fingerprint: string;
  readonly reply: string;
}

/** What a reservation was made for; kept for reads, no decision looks at it. */
export interface ReservationDetails {
  readonly subject: Subject;
  readonly action: {
    readonly kind: string;
    readonly name: string;
    readonly tags?: readonly string[] | undefined;
  };
  readonly metadata?: JsonObject | undefined;
}

/** What every reservation carries, whatever its state. `scopes` are the budgeted ones, fixed at reserve time. */
interface ReservationBase {
  readonly id: string;
  readonly created: Answer;
  readonly unit: Unit;
  readonly amount: bigint;
  readonly scopes: readonly string[];
  /** The beginning of each scope's window when it was made; absent where none of the budgets ever had a period. */
  readonly windows?: readonly number[] | undefined;
  readonly overagePolicy: OveragePolicy;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  readonly gracePeriodMs: number;
  readonly extensionsMax: number;
  readonly extensions: readonly Answer[];
  readonly details: ReservationDetails;
  /** The API key that made it, where there was one. */
  readonly keyId?: string | undefined;
}

export interface ActiveReservation extends ReservationBase {
  readonly status: "ACTIVE";
}

export interface FinishedReservation extends ReservationBase {
  readonly status: "COMMITTED" | "RELEASED" | "EXPIRED";
  readonly finishedAtMs: number;
  /** What was charged; only where committed. */
  readonly charged?: bigint | undefined;
  /** The commit or release that finished it; an expiry has none. */
  readonly settled?: Answer | undefined;
  /** The commit's metrics and metadata. */
  readonly report?:
    | { readonly metrics?: Metrics | undefined; readonly metadata?: JsonObject | undefined }
    | undefined;
}

export type Reservation = ActiveReservation | FinishedReservation;

export interface ApiKeyRecord {
  readonly keyId: string;
  readonly digest: string;
  readonly prefix: string;
  readonly name: string;
  readonly description?: string | undefined;
  readonly permissions: readonly Permission[];
  readonly scopeFilter?: readonly string[] | undefined;
  readonly metadata?: JsonObject | undefined;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  readonly revokedAtMs?: number | undefined;
  /** Whether replies to this key say `remaining_ttl_ms`. */
  readonly remainingTtl: boolean;
  /** The only origins whose pages may use this key; absent: no page is asked where it comes from. */
  readonly allowedOrigins?: readonly string[] | undefined;
  readonly revokedReason?: string | undefined;
  /** Whether it may give away a part of what it may do, as tokens. */
  readonly mayIssueTokens: boolean;
}

/** What a token was issued for. Never changes. */
export interface TokenTerms {
  /** The tokens it was narrowed from: the first one of all first, its parent last. Empty where a key issued it. */
  readonly ancestors: readonly string[];
  /** The API key that issued the first of them; absent where a trusted Worker did. */
  readonly keyId?: string | undefined;
  readonly name?: string | undefined;
  /** It acts on this scope and those below. */
  readonly scope: string;
  readonly unit: Unit;
  readonly permissions: readonly Permission[];
  /** The most that it may ever spend, the tokens narrowed from it included. Counted by an account of its own. */
  readonly cap: bigint;
  readonly maxPerOperation?: bigint | undefined;
  readonly allowedOrigins?: readonly string[] | undefined;
}

export interface TokenRecord extends TokenTerms {
  readonly tokenId: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  readonly revokedAtMs?: number | undefined;
}

/** An answer outside reservations. Found by any `expiresDay` from `fromDay` on, pruned once its day has passed. */
export interface AnswerQuery {
  readonly namespace: string;
  readonly key: string;
  readonly fromDay: number;
  readonly toDay: number;
}

/** A place in an order of reservations: by creation, then id; where the order is by id, the id alone counts. */
export interface ReservationPlace {
  readonly createdAtMs: number;
  readonly id: string;
}

/** A walk over reservations between two places, neither included; at most `rowsMax` rows, whole ones made lazily. */
export interface ReservationScan {
  readonly order: "created" | "id";
  readonly descending: boolean;
  readonly halves: readonly ("active" | "finished")[];
  readonly above: ReservationPlace;
  readonly below: ReservationPlace;
  readonly rowsMax: number;
}

/** The members that `updateAccount` writes. */
export function updatedMembers(account: AccountRecord) {
  const { allocated, spent, reserved, debt, overLimitMark, window, updatedAtMs } = account;
  return { allocated, spent, reserved, debt, overLimitMark, window, updatedAtMs };
}

export interface LedgerStore extends LeaseStore {
  /**
   * Runs `decide` as one transaction; a throw undoes everything it wrote. An inner one is part of the outermost: its throw,
   * even if somebody catches it, undoes the whole, and the outermost throws it.
   */
  transact<T>(decide: () => T): T;
  /** The latest time that any decision wrote, 0 for none: the ledger's clock never goes back behind it. */
  latestTimeMs(): number;

  /** Bytes that the whole store takes; 0 where nobody counts them. May be as old as the outermost transaction. */
  storedBytes(): number;

  readTenant(): TenantRecord | undefined;
  writeTenant(tenant: TenantRecord): void;

  /** The budgets on these scopes, shallowest first; in one unit, or in every one. */
  readAccounts(scopes: readonly string[], unit?: Unit): AccountRecord[];
  insertAccount(account: AccountRecord): void;
  /** Writes the figures, the window and `updatedAtMs`; whatever else differs is not kept. One row. */
  updateAccount(account: AccountRecord): void;
  /** Writes everything that is not the key: also the overdraft limit, the status, the policy and the settings. One row. */
  rewriteAccount(account: AccountRecord): void;
  /** All budgets after a position, ordered by scope, then unit; not the caps of tokens. */
  scanAccounts(after?: { readonly scope: string; readonly unit: string }): Iterable<AccountRecord>;
  /** How many {@link scanAccounts} would give. */
  countAccounts(): number;
  deleteAccount(key: AccountKey): void;

  /** Of a budget's passed windows, the latest that began at `atMs` or before. */
  findWindow(key: AccountKey, atMs: number): WindowRecord | undefined;
  /** A budget's passed windows, the latest first, at most `rowsMax`. */
  readWindows(key: AccountKey, rowsMax: number): WindowRecord[];
  /** Adds a passed window, or replaces it. One row. */
  writeWindow(key: AccountKey, window: WindowRecord): void;
  deleteWindow(key: AccountKey, startMs: number): void;
  /** Deletes a budget's passed windows beyond the latest `rowsKept` that hold nothing; at most `rowsMax`. */
  pruneWindows(query: {
    readonly key: AccountKey;
    readonly rowsKept: number;
    readonly rowsMax: number;
  }): number;

  readReservation(id: string): Reservation | undefined;
  /** A reservation whose id begins with one of `stems`, each `STEM_LENGTH` long. */
  findReservation(stems: readonly string[]): Reservation | undefined;
  insertReservation(reservation: ActiveReservation): void;
  /** Writes the expiry and the extensions. One row. */
  updateReservation(reservation: ActiveReservation): void;
  /** Moves an active reservation to the finished ones. Two rows, the index by creation included. */
  finishReservation(reservation: FinishedReservation): void;
  /** Finished ones in either order cost what is read; active ones, by creation, are all looked at. */
  scanReservations(scan: ReservationScan): Iterable<Reservation>;
  scanDeadlines(): Iterable<Deadline>;
  /** Deletes finished reservations with ids below `idBelow` that finished before the given time; at most `rowsMax`. */
  pruneFinished(query: {
    readonly idBelow: string;
    readonly finishedBeforeMs: number;
    readonly rowsMax: number;
  }): number;

  readAnswer(query: AnswerQuery): Answer | undefined;
  insertAnswer(namespace: string, expiresDay: number, answer: Answer): void;
  pruneAnswers(query: { readonly expiresBeforeDay: number; readonly rowsMax: number }): number;

  readApiKey(keyId: string): ApiKeyRecord | undefined;
  insertApiKey(key: ApiKeyRecord): void;
  /** Writes what an operator may change: all but the id, the digest, the prefix and the key's life. One row. */
  updateApiKey(key: ApiKeyRecord): void;
  /** All keys after an id, ordered by id. */
  scanApiKeys(afterKeyId?: string): Iterable<ApiKeyRecord>;
  countApiKeys(): number;

  readToken(tokenId: string): TokenRecord | undefined;
  insertToken(token: TokenRecord): void;
  /** Writes when it ends and when it was revoked. One row. */
  updateToken(token: TokenRecord): void;
  deleteToken(tokenId: string): void;
  /** The tokens after an id, ordered by id, at most `rowsMax`. */
  readTokensAfter(tokenId: string, rowsMax: number): TokenRecord[];
  /** The tokens whose ids begin with `stem`. */
  countTokens(stem?: string): number;

  /** Adds a row under the next number. One row. */
  insertAudit(row: Omit<AuditRecord, "seq">): void;
  /** All rows below a number, newest first. */
  scanAudit(beforeSeq?: number): Iterable<AuditRecord>;
  /**
   * Deletes the oldest rows up to the first that is neither older than `beforeMs` nor beyond the newest `rowsKept`, at
   * most `rowsMax`; never the newest one, so that no number is given twice.
   */
  pruneAudit(query: {
    readonly beforeMs: number;
    readonly rowsKept: number;
    readonly rowsMax: number;
  }): number;

  /** All policies, by their ids' order of making. */
  readPolicies(): PolicyRecord[];
  /** Adds a policy, or replaces it. */
  writePolicy(policy: PolicyRecord): void;

  readRate(name: string): RateRecord | undefined;
  /** Adds a counter, or replaces it. One row. */
  writeRate(rate: RateRecord): void;
  /** Deletes counters of minutes before `minuteBelow`, at most `rowsMax`. */
  pruneRates(query: { readonly minuteBelow: number; readonly rowsMax: number }): number;
}
