// The guard that an application holds while a call runs: one reservation, settled once. Invariant: it is over only when
// the authority has said so. A settlement whose answer was lost can be made again, as the same one with the same key;
// what is known to be spent is never released. Made by an authority's `guard`; who may call: its holder.

import { checkInteger } from "../arguments.ts";
import { AsyncScoped } from "../dispose.ts";
import { PurserError, ReservationSettledError } from "../errors.ts";
import { stringifyJson } from "../ledger/json.ts";
import type {
  Authority,
  CallOptions,
  Caps,
  CommitRequest,
  Committed,
  Denied,
  Extended,
  Figure,
  Granted,
  GuardOptions,
  Released,
  ReserveRequest,
} from "./authority.ts";
import { AuthorityError } from "./errors.ts";
import { Heartbeat } from "./heartbeat.ts";
import { Meter, type MeterOptions } from "./meter.ts";
import type { Recovery } from "./recovery.ts";
import type { Surroundings } from "./surroundings.ts";
import { checkAmount } from "./to-wire.ts";

/** What a call really used, in the unit of its reservation. */
export interface GuardCommit extends Pick<CommitRequest, "metrics" | "metadata"> {
  readonly actual: Figure;
}

/** @internal What a guard gets from the authority that made it. */
export interface GuardHost<F extends Figure> {
  readonly authority: Authority<F>;
  readonly recovery: Recovery<F>;
  readonly surroundings: Required<Surroundings>;
  readonly timeoutMs: number | undefined;
  readonly onLeaked: (reservationId: string) => void;
}

/** A settlement that was sent, and not answered so far. */
interface Pending {
  readonly print: string;
  readonly send: () => Promise<{ readonly ok: boolean }>;
}

/** The reason of a release that nobody asked for. */
const DROPPED = "guard_dropped";

/** Refusals after which no settlement of this reservation can succeed any more. */
const FINAL_CODES: ReadonlySet<string> = new Set([
  "RESERVATION_EXPIRED",
  "RESERVATION_FINALIZED",
  "IDEMPOTENCY_MISMATCH",
  "NOT_FOUND",
]);

export class ReservationGuard<F extends Figure = number> extends AsyncScoped {
  /** Tells a guard from a denial. */
  readonly ok = true;
  readonly #host: GuardHost<F>;
  readonly #grant: Granted<F>;
  readonly #request: ReserveRequest & Required<Pick<ReserveRequest, "subject">>;
  readonly #heartbeat: Heartbeat;
  readonly #options: GuardOptions;
  #unwatch: () => void;
  #meter: Meter<F> | undefined;
  #isOver = false;
  #settling: Promise<unknown> | undefined;
  #pending: Pending | undefined;
  #spent = 0n;
  /** A commit was tried: what it names is spent, whatever became of it. */
  #isSpendKnown = false;
  #extensions = 0;

  /** @internal */
  constructor(
    host: GuardHost<F>,
    grant: Granted<F>,
    request: ReserveRequest & Required<Pick<ReserveRequest, "subject">>,
    options: GuardOptions & { readonly sentAtMs: number },
  ) {
    super();
    const { authority, surroundings, timeoutMs } = host;
    const { sentAtMs, signal: _, ...rest } = options;
    this.#host = host;
    this.#options = rest;
    this.#grant = grant;
    this.#request = request;
    const beats = { ttlMs: request.ttlMs, sentAtMs, timeoutMs, onFailure: rest.onHeartbeatError };
    const heartbeat = new Heartbeat(authority, grant, beats, surroundings);
    this.#heartbeat = heartbeat;
    if (rest.heartbeat !== false) heartbeat.start();
    this.#unwatch = watchFor(this, host, heartbeat);
  }

  get reservationId(): string {
    return this.#grant.reservationId;
  }

  get decision(): Granted<F>["decision"] {
    return this.#grant.decision;
  }

  /** The limits that came with the decision, where it has some. */
  get caps(): Caps | undefined {
    return this.#grant.caps;
  }

  get isCapped(): boolean {
    return this.#grant.caps !== undefined;
  }

  get reserved(): Granted<F>["reserved"] {
    return this.#grant.reserved;
  }

  get affectedScopes(): readonly string[] {
    return this.#grant.affectedScopes;
  }

  /** By the authority's clock, extensions included. */
  get expiresAtMs(): number {
    return this.#heartbeat.expiresAtMs;
  }

  /** Whether the authority has settled it, or will never do. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /**
   * Notes spending while the call runs, in the reservation's unit. If the guard is dropped, this is what it commits.
   *
   * @throws RangeError or TypeError unless `amount` is an integer from 0, and the sum an int64
   */
  spent(amount: Figure): void {
    const { unit } = this.reserved;
    checkAmount("spent", { unit, amount });
    const total = this.#spent + BigInt(amount);
    checkAmount("spent", { unit, amount: total });
    this.#spent = total;
  }

  /**
   * Counts a stream as it arrives, makes further reservations for it as the budget allows, stops it where it does not, and
   * settles this guard and those, whichever way the stream ends. A guard has one meter.
   *
   * @throws PurserError `METER_USED` for a second one
   * @throws ReservationSettledError once the guard is settled
   */
  meter(options: MeterOptions = {}): Meter<F> {
    if (this.#isOver) throw new ReservationSettledError();
    if (this.#meter !== undefined) throw new PurserError("METER_USED", "a guard has one meter");
    const { authority, surroundings } = this.#host;
    const { unit } = this.reserved;
    const reserveMore = (amount: bigint, nth: number) => {
      const idempotencyKey = `more-${this.reservationId}-${nth}`;
      return authority.guard({ ...this.#request, estimate: { unit, amount }, idempotencyKey }, this.#options);
    };
    this.#meter = new Meter(this, { reserveMore, setTimer: surroundings.setTimer }, options);
    return this.#meter;
  }

  /**
   * Settles with what was really used. If the answer is lost, the same commit can be made again; if it is denied, the
   * reservation stands.
   *
   * @throws ReservationSettledError once it is settled, and nothing is sent
   * @throws PurserError `SETTLEMENT_PENDING` for another settlement than one whose answer was lost
   */
  async commit(
    { actual, metrics, metadata }: GuardCommit,
    options?: CallOptions,
  ): Promise<Committed<F> | Denied<F>> {
    const id = this.reservationId;
    const request = {
      idempotencyKey: `commit-${id}`,
      actual: { unit: this.reserved.unit, amount: actual },
      ...(metrics !== undefined && { metrics }),
      ...(metadata !== undefined && { metadata }),
    };
    checkAmount("actual", request.actual);
    const print = `commit ${stringifyJson(request)}`;
    this.#isSpendKnown = true;
    const { subject, action } = this.#request;
    const spend = { reservationId: id, subject, action, ...request };
    return this.#settle(print, () => this.#host.recovery.commit(spend, options));
  }

  /** Gives the reservation back whole: nothing was used. @throws as `commit` does */
  async release(reason?: string, options?: CallOptions): Promise<Released<F> | Denied<F>> {
    const id = this.reservationId;
    const request = { idempotencyKey: `release-${id}`, ...(reason !== undefined && { reason }) };
    return this.#settle(`release ${stringifyJson(request)}`, () =>
      this.#host.authority.release(id, request, options),
    );
  }

  /** Makes it last longer. Asked again after a lost answer, it is the same extension. */
  async extend(extendByMs: number, options?: CallOptions): Promise<Extended | Denied<F>> {
    checkInteger("extendByMs", extendByMs, 1, Number.MAX_SAFE_INTEGER);
    if (this.#isOver) throw new ReservationSettledError();
    const id = this.reservationId;
    const idempotencyKey = `extend-${id}-${this.#extensions}-${extendByMs}`;
    const { authority, surroundings } = this.#host;
    const sentAtMs = surroundings.monotonicNow();
    const answer = await authority.extend(id, { idempotencyKey, extendByMs }, options);
    if (!answer.ok) return answer;
    this.#extensions += 1;
    this.#heartbeat.heard(answer, sentAtMs, extendByMs);
    return answer;
  }

  /**
   * Ends it with its scope: what `spent` was told is committed, otherwise it is released as `guard_dropped`. A settlement
   * whose answer was lost is made once more. Never throws for what the authority says: its TTL frees what is left.
   */
  async dispose(): Promise<void> {
    await this.#meter?.dispose();
    await this.#settling?.catch(() => undefined);
    try {
      await this.#end();
    } catch (error) {
      if (!(error instanceof AuthorityError)) throw error;
    } finally {
      this.#letGo();
    }
  }

  async #end(): Promise<void> {
    if (this.#isOver || this.#host.recovery.isPostponed(this.reservationId)) return;
    if (this.#pending !== undefined) await this.#settle(this.#pending.print, this.#pending.send);
    else if (this.#isSpendKnown) return;
    else if (this.#spent > 0n) await this.commit({ actual: this.#spent });
    else await this.release(DROPPED);
  }

  async #settle<T extends { readonly ok: boolean }>(print: string, send: () => Promise<T>): Promise<T> {
    if (this.#isOver || this.#settling !== undefined) throw new ReservationSettledError();
    if (this.#pending !== undefined && this.#pending.print !== print) {
      throw new PurserError(
        "SETTLEMENT_PENDING",
        "the outcome of an earlier settlement is unknown; only the same one can be made again",
      );
    }
    this.#pending = { print, send };
    // Nothing need prolong it from here on: should it expire, its spend becomes an event.
    this.#letGo();
    const settling = send();
    this.#settling = settling;
    try {
      const answer = await settling;
      this.#isOver = answer.ok;
      this.#settled();
      return answer;
    } catch (error) {
      const { code, outcome } = error as Partial<AuthorityError>;
      // Anything else that was thrown (an abort) leaves the outcome open.
      if (outcome === "done" || FINAL_CODES.has(String(code))) this.#isOver = true;
      if (outcome === "refused" || outcome === "done") this.#settled();
      throw error;
    } finally {
      this.#settling = undefined;
    }
  }

  /** The authority has answered: it is over, or as it was before, unless the recovery makes the same commit again. */
  #settled(): void {
    if (this.#host.recovery.isOutstanding(this.reservationId)) return;
    this.#pending = undefined;
    if (this.#isOver) return;
    this.#unwatch = watchFor(this, this.#host, this.#heartbeat);
    if (this.#options.heartbeat !== false) this.#heartbeat.start();
  }

  /** Nothing is left that runs for it. */
  #letGo(): void {
    this.#heartbeat.stop();
    this.#unwatch();
  }
}

/** Counts a guard that was forgotten. Neither this nor the heartbeat may know it, or it would never be collected. */
function watchFor<F extends Figure>(
  guard: ReservationGuard<F>,
  { surroundings, onLeaked }: GuardHost<F>,
  heartbeat: Heartbeat,
): () => void {
  const { reservationId } = guard;
  return surroundings.watch(guard, () => {
    heartbeat.abandon();
    onLeaked(reservationId);
  });
}

/** Whether a decision's caps allow a tool. Names are compared letter by letter; an allowlist that names any outweighs the denylist. */
export function isToolAllowed(caps: Caps | undefined, name: string): boolean {
  const { toolAllowlist = [], toolDenylist = [] } = caps ?? {};
  return toolAllowlist.length > 0 ? toolAllowlist.includes(name) : !toolDenylist.includes(name);
}
