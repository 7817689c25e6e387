// The interface over any way that carries wire calls: the one mapping, the one classification of answers and the one
// loop of retries that HTTP, RPC and the authority in this process share. Invariant: a call keeps its idempotency key
// through all of its tries; a denial is returned, everything else that is no success is thrown.
// Who may call: the three ways extend it.

import { checkInteger, checkName } from "../arguments.ts";
import type { Subject } from "../ledger/scope.ts";
import type {
  Authority,
  Balance,
  CallOptions,
  CommitRequest,
  Committed,
  DecideRequest,
  Denied,
  EventRequest,
  Extended,
  ExtendRequest,
  Figure,
  FigureOf,
  FlushResult,
  Granted,
  GuardOptions,
  Levels,
  Permitted,
  Recorded,
  Released,
  ReleaseRequest,
  ReservationQuery,
  ReservationState,
  ReserveRequest,
} from "./authority.ts";
import { AuthorityError, invalidAnswer } from "./errors.ts";
import * as read from "./from-wire.ts";
import { type Journal, MemoryJournal } from "./journal.ts";
import * as leases from "./lease-wire.ts";
import type {
  Leased,
  LeaseName,
  LeaseRenewal,
  LeaseReport,
  LeaseRequest,
  LeaseState,
  UnitExposure,
} from "./leases.ts";
import * as CLIENT_LIMITS from "./limits/client.ts";
import { exactFigure, fieldsOf, type ReadFigure, safeFigure } from "./members.ts";
import { Recovery, type RecoveryNotice } from "./recovery.ts";
import { deniedBy, deniedIn, errorOf } from "./refusals.ts";
import { type GuardHost, ReservationGuard } from "./reservation-guard.ts";
import { type RetryOptions, type RetryPolicy, retryPolicy, withDeadline, withRetries } from "./retry.ts";
import { type Moment, momentOn, platformWith, type Surroundings } from "./surroundings.ts";
import * as write from "./to-wire.ts";
import type {
  CallControl,
  ListOperation,
  ReportOperation,
  Send,
  SettleOperation,
  WireCall,
  WireFields,
} from "./wire-call.ts";

/** What every way may be opened with. */
export interface AuthorityOptions<Exact extends boolean = false> extends Surroundings {
  /** Levels that every request's subject has unless it says otherwise. */
  readonly subject?: Subject;
  /** BigInt for every amount in an answer. Without it they are plain numbers, and one that would be rounded is an error. */
  readonly exact?: Exact;
  /** Where a guard's spend is written down until the authority has it; in memory by default. What is found there goes on. */
  readonly journal?: Journal;
  /** Hears what became of spends that nobody waits for, and of the journal. By default what is lost or stuck is warned of. */
  readonly onRecovery?: (notice: RecoveryNotice) => void;
}

/** What a way over a network may be opened with beside that. */
export interface RemoteOptions<Exact extends boolean = false> extends AuthorityOptions<Exact> {
  /** How long one try may take; 5,000 ms by default. */
  readonly timeoutMs?: number;
  readonly retry?: RetryOptions;
}

/** @internal How a way carries its calls. */
export interface Carriage {
  readonly send: Send;
  /** Names the server for the journal, without credentials. */
  readonly place: string;
  /** Absent where nothing can get lost: then a call is made once and waits for its answer. */
  readonly timeoutMs?: number | undefined;
  readonly retry?: RetryOptions | undefined;
}

/** The member of a page that has its rows. */
const ROWS_OF: Readonly<Record<ListOperation, string>> = {
  balances: "balances",
  listReservations: "reservations",
  listLeases: "leases",
};

/** What an answer's body, or a row of it, says. */
type ReadBody<T, F extends Figure> = (body: WireFields, figure: ReadFigure<F>) => T;

export abstract class WireAuthority<Exact extends boolean = false> implements Authority<FigureOf<Exact>> {
  readonly #send: Send;
  readonly #timeoutMs: number | undefined;
  readonly #retry: RetryPolicy;
  readonly #subject: Subject | undefined;
  readonly #figure: ReadFigure<FigureOf<Exact>>;
  readonly #surroundings: Required<Surroundings>;
  readonly #recovery: Recovery<FigureOf<Exact>>;
  #leakedGuards = 0;

  constructor(options: AuthorityOptions<Exact>, { send, place, timeoutMs, retry }: Carriage) {
    if (timeoutMs !== undefined) checkInteger("timeoutMs", timeoutMs, 1, CLIENT_LIMITS.timeoutMsMax);
    this.#send = send;
    this.#timeoutMs = timeoutMs;
    this.#retry = retryPolicy(timeoutMs === undefined ? { attempts: 1 } : retry);
    this.#subject = options.subject;
    this.#figure = (options.exact === true ? exactFigure : safeFigure) as ReadFigure<FigureOf<Exact>>;
    const surroundings = platformWith(options);
    this.#surroundings = surroundings;
    const { journal = new MemoryJournal(), onRecovery = warnOf(surroundings) } = options;
    const tenant = options.subject?.tenant;
    this.#recovery = new Recovery(this, { place, tenant, journal, onNotice: onRecovery }, surroundings);
    if (options.journal !== undefined) void this.#recovery.resume();
  }

  get leakedGuards(): number {
    return this.#leakedGuards;
  }

  async reserve(
    request: ReserveRequest,
    options?: CallOptions,
  ): Promise<Granted<FigureOf<Exact>> | Denied<FigureOf<Exact>>> {
    const key = this.#keyOf(request);
    const { min } = request;
    const call: WireCall & { readonly body: WireFields } =
      min === undefined
        ? { operation: "reserve", body: write.reserveBody(key, request, this.#subject) }
        : { operation: "reserveFit", body: write.reserveFitBody(key, request, min, this.#subject) };
    return this.#decide(call, options, read.grantedOf);
  }

  async guard(
    request: ReserveRequest,
    options: GuardOptions = {},
  ): Promise<ReservationGuard<FigureOf<Exact>> | Denied<FigureOf<Exact>>> {
    const askedAt = momentOn(this.#surroundings);
    let sentAt = askedAt;
    const onSend = (at: Moment): void => {
      sentAt = at;
    };
    const control: CallControl = { ...options, onSend };
    const answer = await this.reserve(request, control);
    if (!answer.ok) return answer;
    const host: GuardHost<FigureOf<Exact>> = {
      authority: this,
      recovery: this.#recovery,
      surroundings: this.#surroundings,
      timeoutMs: this.#timeoutMs,
      onLeaked: (id) => this.#countLeaked(id),
    };
    const subject = { ...this.#subject, ...request.subject };
    return new ReservationGuard(host, answer, { ...request, subject }, { ...options, askedAt, sentAt });
  }

  async flush({ signal }: CallOptions = {}): Promise<FlushResult> {
    return this.#recovery.flush(signal);
  }

  async commit(
    reservationId: string,
    request: CommitRequest,
    options?: CallOptions,
  ): Promise<Committed<FigureOf<Exact>> | Denied<FigureOf<Exact>>> {
    const body = write.commitBody(this.#keyOf(request), request);
    return this.#settle("commit", reservationId, body, options, read.committedOf);
  }

  async release(
    reservationId: string,
    request: ReleaseRequest = {},
    options?: CallOptions,
  ): Promise<Released<FigureOf<Exact>> | Denied<FigureOf<Exact>>> {
    const body = write.releaseBody(this.#keyOf(request), request);
    return this.#settle("release", reservationId, body, options, read.releasedOf);
  }

  async extend(
    reservationId: string,
    request: ExtendRequest,
    options?: CallOptions,
  ): Promise<Extended | Denied<FigureOf<Exact>>> {
    const body = write.extendBody(this.#keyOf(request), request);
    return this.#settle("extend", reservationId, body, options, read.extendedOf);
  }

  async recordEvent(
    request: EventRequest,
    options?: CallOptions,
  ): Promise<Recorded<FigureOf<Exact>> | Denied<FigureOf<Exact>>> {
    const body = write.eventBody(this.#keyOf(request), request, this.#subject);
    return this.#decide({ operation: "event", body }, options, (answer, figure) =>
      read.recordedOf(answer, figure, request.actual),
    );
  }

  async decide(request: DecideRequest, options?: CallOptions): Promise<Permitted | Denied<FigureOf<Exact>>> {
    const body = write.decideBody(this.#keyOf(request), request, this.#subject);
    return this.#decide(
      { operation: "decide", body },
      options,
      (answer) => deniedIn(answer) ?? read.permittedOf(answer),
    );
  }

  async balances(
    levels: Levels = this.#subject ?? {},
    options?: CallOptions,
  ): Promise<readonly Balance<FigureOf<Exact>>[]> {
    const pages = this.#pages("balances", write.balancesQuery(levels), options, read.balanceOf);
    const all: Balance<FigureOf<Exact>>[] = [];
    for await (const rows of pages) all.push(...rows);
    return all;
  }

  async *reservations(
    query: ReservationQuery = {},
    options?: CallOptions,
  ): AsyncGenerator<ReservationState<FigureOf<Exact>>, void, undefined> {
    const pages = this.#pages(
      "listReservations",
      write.reservationsQuery(query),
      options,
      read.reservationOf,
    );
    for await (const rows of pages) yield* rows;
  }

  async reservation(
    reservationId: string,
    options?: CallOptions,
  ): Promise<ReservationState<FigureOf<Exact>>> {
    write.checkId("reservationId", reservationId);
    return this.#ask({ operation: "getReservation", id: reservationId }, options, read.reservationOf);
  }

  async lease(
    request: LeaseRequest,
    options?: CallOptions,
  ): Promise<Leased<FigureOf<Exact>> | Denied<FigureOf<Exact>>> {
    const body = leases.leaseBody(this.#keyOf(request), request, this.#subject);
    return this.#decide({ operation: "openLease", body }, options, leases.leasedOf);
  }

  async renewLease(
    lease: LeaseName,
    renewal: LeaseRenewal,
    options?: CallOptions,
  ): Promise<Leased<FigureOf<Exact>>> {
    const body = leases.renewalBody(lease, renewal, this.#subject);
    return this.#report("renewLease", lease, body, options);
  }

  async returnLease(
    lease: LeaseName,
    report: LeaseReport,
    options?: CallOptions,
  ): Promise<Leased<FigureOf<Exact>>> {
    const body = leases.reportBody(lease, report, this.#subject);
    return this.#report("returnLease", lease, body, options);
  }

  /** A report is the same however often it is sent, by its number; and nobody denies that something was spent. */
  #report(
    operation: ReportOperation,
    { leaseId: id }: LeaseName,
    body: WireFields,
    options: CallOptions | undefined,
  ): Promise<Leased<FigureOf<Exact>>> {
    write.checkId("leaseId", id);
    return this.#ask({ operation, id, body }, options, leases.leasedOf);
  }

  async *leases(
    query: { readonly status?: LeaseState["status"]; readonly pageRows?: number } = {},
    options?: CallOptions,
  ): AsyncGenerator<LeaseState<FigureOf<Exact>>, void, undefined> {
    const pages = this.#pages("listLeases", leases.leasesQuery(query), options, leases.leaseStateOf);
    for await (const rows of pages) yield* rows;
  }

  async exposure(options?: CallOptions): Promise<readonly UnitExposure<FigureOf<Exact>>[]> {
    return this.#ask({ operation: "exposure" }, options, leases.exposureOf);
  }

  async *#pages<Row>(
    operation: ListOperation,
    query: WireFields,
    options: CallOptions | undefined,
    row: ReadBody<Row, FigureOf<Exact>>,
  ): AsyncGenerator<readonly Row[], void, undefined> {
    const member = ROWS_OF[operation];
    let cursor: string | undefined;
    do {
      const { rows, next } = await this.#ask(
        { operation, query: { ...query, cursor } },
        options,
        (body, figure) => read.pageOf(body, member, (fields) => row(fields, figure)),
      );
      yield rows;
      // Whoever repeats a cursor would be asked for ever.
      if (next !== undefined && next === cursor) {
        throw invalidAnswer("next_cursor must go on, got the same one again", { outcome: "done" });
      }
      cursor = next;
    } while (cursor !== undefined);
  }

  #keyOf({ idempotencyKey }: { readonly idempotencyKey?: string }): string {
    if (idempotencyKey === undefined) return this.#surroundings.newKey();
    checkName("idempotencyKey", idempotencyKey, CLIENT_LIMITS.idempotencyKeyLengthMax);
    return idempotencyKey;
  }

  #settle<T>(
    operation: SettleOperation,
    id: string,
    body: WireFields,
    options: CallOptions | undefined,
    toValue: ReadBody<T, FigureOf<Exact>>,
  ): Promise<T | Denied<FigureOf<Exact>>> {
    write.checkId("reservationId", id);
    return this.#decide({ operation, id, body }, options, toValue);
  }

  /** A call that can be denied. */
  async #decide<T>(
    call: WireCall & { readonly body: WireFields },
    options: CallOptions | undefined,
    toValue: ReadBody<T, FigureOf<Exact>>,
  ): Promise<T | Denied<FigureOf<Exact>>> {
    try {
      return await this.#ask(call, options, toValue);
    } catch (error) {
      if (!(error instanceof AuthorityError)) throw error;
      const denied = deniedBy(error, this.#figure);
      if (denied !== undefined) return denied;
      throw Object.assign(error, { idempotencyKey: call.body.idempotency_key });
    }
  }

  /** A call and its answer, with all its tries. */
  #ask<T>(
    call: WireCall,
    { signal, keepalive = false, attempts, timeoutMs, onSend, onRetry }: CallControl = {},
    toValue: ReadBody<T, FigureOf<Exact>>,
  ): Promise<T> {
    const expected = call.operation === "event" ? 201 : 200;
    const attempt = async (signal: AbortSignal | undefined): Promise<T> => {
      signal?.throwIfAborted();
      onSend?.(momentOn(this.#surroundings));
      const answer = await this.#send(call, { signal, keepalive });
      if (answer.status === expected) {
        this.#recovery.reached();
        const body = fieldsOf(answer.body, "body");
        if ("body" in call) read.checkUnit(body, call.body);
        return toValue(body, this.#figure);
      }
      throw errorOf(call, answer);
    };
    const ownMs = this.#timeoutMs;
    const withinMs = timeoutMs === undefined || ownMs === undefined ? ownMs : Math.min(ownMs, timeoutMs);
    return withRetries(
      () =>
        withinMs === undefined
          ? attempt(signal)
          : withDeadline(attempt, withinMs, this.#surroundings, signal),
      attempts === undefined ? this.#retry : { ...this.#retry, attempts },
      this.#surroundings,
      signal,
      onRetry,
    );
  }

  /** One warning is enough to be told of the mistake. */
  #countLeaked(reservationId: string): void {
    this.#leakedGuards += 1;
    if (this.#leakedGuards > 1) return;
    this.#surroundings.warn(
      `purser: a guard was forgotten (reservation ${reservationId}); its time frees the budget. See leakedGuards.`,
    );
  }
}

function warnOf({ warn }: Required<Surroundings>) {
  return ({ disposition, reservationId = "", cause }: RecoveryNotice): void => {
    const { message = cause } = (cause ?? {}) as { readonly message?: unknown };
    if (disposition !== "settled") warn(`purser: spend ${disposition}: ${reservationId} ${message}`);
  };
}
