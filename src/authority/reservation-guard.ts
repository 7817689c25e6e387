// The guard that an application holds while a call runs: one reservation, settled once. Invariant: it is over only when
// the authority has said so. A settlement whose answer was lost can be made again, as the same one with the same key;
// what is known to be spent is never released. Made by an authority's `guard`; who may call: its holder.

import { checkInteger } from "../arguments.ts";
import { AsyncScoped } from "../dispose-async.ts";
import { PurserError, ReservationSettledError } from "../errors.ts";
import type { JsonObject } from "../ledger/json.ts";
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
import { requestText } from "./json-answer.ts";
import * as CLIENT_LIMITS from "./limits/client.ts";
import { Meter, type MeterOptions } from "./meter.ts";
import type { Ending, Recovery } from "./recovery.ts";
import { withDeadline } from "./retry.ts";
import { type Moment, momentOn, type Surroundings } from "./surroundings.ts";
import { checkAmount } from "./to-wire.ts";
import type { CallControl } from "./wire-call.ts";

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

/** A settlement whose answer was lost, and was learnt in the background. */
interface Learnt {
  readonly print: string;
  readonly answer: { readonly ok: boolean };
}

/** A settlement that was sent, and not answered so far. */
interface Pending {
  readonly print: string;
  /** Made again for somebody else, it is not the first caller's to abort. */
  readonly send: (options?: CallOptions) => Promise<{ readonly ok: boolean }>;
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
  #learnt: Learnt | undefined;
  #disposing: Promise<void> | undefined;
  #isDisposed = false;
  #spent = 0n;
  /** The last commit that was tried: what it names is spent, whatever became of it. */
  #tried: GuardCommit | undefined;
  /** The journal knows what its meter has counted. */
  #isCounted = false;
  #extensions = 0;
  /** The keys of extensions whose answer was lost, each with its length. */
  #lostExtensions: { readonly extendByMs: number; readonly idempotencyKey: string }[] = [];

  /** @internal */
  constructor(
    host: GuardHost<F>,
    grant: Granted<F>,
    request: ReserveRequest & Required<Pick<ReserveRequest, "subject">>,
    options: GuardOptions & { readonly askedAt: Moment; readonly sentAt: Moment },
  ) {
    super();
    const { authority, surroundings, timeoutMs } = host;
    const { askedAt, sentAt, signal: _, ...rest } = options;
    this.#host = host;
    this.#options = rest;
    this.#grant = grant;
    this.#request = request;
    const { ttlMs } = request;
    const beats = { ttlMs, askedAt, sentAt, timeoutMs, onFailure: rest.onHeartbeatError };
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

  /** @internal The meter that settles it, if it has one. */
  get metered(): Meter<F> | undefined {
    return this.#meter;
  }

  /** @internal Whether a commit beyond the hold is known not to be refused for that: the server's default may be to refuse. */
  get takesBeyond(): boolean {
    const { overagePolicy = "REJECT" } = this.#request;
    return overagePolicy !== "REJECT";
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
   * @throws ReservationSettledError once it is settled or its settlement was sent: nobody would charge it
   */
  spent(amount: Figure): void {
    if (!this.#isFree) throw new ReservationSettledError();
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
      // What the first would do with less says nothing about the next.
      const { min: _, ...request } = this.#request;
      return authority.guard({ ...request, estimate: { unit, amount }, idempotencyKey }, this.#options);
    };
    const spent = () => this.#spent;
    this.#meter = new Meter(this, { reserveMore, setTimer: surroundings.setTimer, spent }, options);
    return this.#meter;
  }

  /**
   * Settles with what was really used. If the answer is lost, the same commit can be made again; if it is denied, the
   * reservation stands.
   *
   * @throws ReservationSettledError once it is settled, and nothing is sent
   * @throws PurserError `SETTLEMENT_PENDING` for another settlement than one whose answer was lost; `METER_OPEN` while its
   *   meter counts: that settles it
   */
  async commit(used: GuardCommit, options?: CallOptions): Promise<Committed<F> | Denied<F>> {
    this.#checkMeter();
    const { actual } = used;
    const request = this.#requestOf(used);
    checkAmount("actual", request.actual);
    // What it names is spent, also if what is said beside it cannot be sent.
    if (this.#isFree) this.#tried = { actual };
    const print = `commit ${requestText(request)}`;
    const spend = this.#spendOf(request);
    const send = (how?: CallOptions) => {
      this.#tried = { ...used };
      return this.#host.recovery.commit(spend, how, (ending) => this.#learn(print, ending));
    };
    return this.#settle(print, send, options);
  }

  /** What a meter has counted, and what it holds beside this, is its own to settle. */
  #checkMeter(): void {
    if (this.#meter?.isCounting === true) {
      throw new PurserError("METER_OPEN", "its meter settles this: call settle() or fail() there");
    }
  }

  /** @internal Notes in the journal what its meter would commit by now, under the same key. */
  count(actual: bigint, metadata: JsonObject): void {
    if (!this.#isFree || (actual === 0n && !this.#isCounted)) return;
    this.#isCounted = true;
    this.#host.recovery.count(this.#spendOf(this.#requestOf({ actual: actual as F, metadata })));
  }

  #requestOf({ actual, metrics, metadata }: GuardCommit) {
    return {
      idempotencyKey: `commit-${this.reservationId}`,
      actual: { unit: this.reserved.unit, amount: actual },
      ...(metrics !== undefined && { metrics }),
      ...(metadata !== undefined && { metadata }),
    };
  }

  #spendOf<R>(request: R) {
    const { subject, action, overagePolicy } = this.#request;
    const { reservationId } = this;
    return { reservationId, subject, action, ...(overagePolicy && { overagePolicy }), ...request };
  }

  /**
   * Gives the reservation back: whole, or without what `spent` was told, which is committed.
   *
   * @throws as `commit` does
   * @throws PurserError `SPEND_KNOWN` after a commit was tried: what it named is spent, and is never given back
   */
  async release(reason?: string, options?: CallOptions): Promise<Released<F> | Denied<F>> {
    this.#checkMeter();
    if (this.#isFree && this.#tried !== undefined) {
      throw new PurserError("SPEND_KNOWN", "something was spent: commit it");
    }
    // What stands in the journal is struck out by its commit.
    if (this.#isFree && (this.#spent > 0n || this.#isCounted)) {
      return this.commit({ actual: this.#spent }, options);
    }
    const id = this.reservationId;
    const request = { idempotencyKey: `release-${id}`, ...(reason !== undefined && { reason }) };
    const send = (how?: CallOptions) => this.#host.authority.release(id, request, how);
    return this.#settle(`release ${requestText(request)}`, send, options);
  }

  /**
   * Makes it last longer. Asked again after a lost answer, it is the same extension, unless another one was answered in
   * between; asked again before the answer, it is one more.
   */
  async extend(extendByMs: number, options?: CallOptions): Promise<Extended | Denied<F>> {
    checkInteger("extendByMs", extendByMs, 1, Number.MAX_SAFE_INTEGER);
    if (this.#isOver) throw new ReservationSettledError();
    const extension = this.#extensionOf(extendByMs);
    const { authority, surroundings } = this.#host;
    let sentAt = momentOn(surroundings);
    const onSend = (at: Moment): void => {
      sentAt = at;
    };
    const control: CallControl = { ...options, onSend };
    try {
      const answer = await authority.extend(this.reservationId, extension, control);
      if (!answer.ok) return answer;
      this.#lostExtensions = [];
      this.#heartbeat.heard(answer, sentAt, extendByMs);
      return answer;
    } catch (error) {
      // An abort leaves the outcome open as well.
      if ((error as Partial<AuthorityError>).outcome !== "refused") this.#lostExtensions.push(extension);
      throw error;
    }
  }

  /** The one of that length whose answer was lost, or a new one; none that is under way. */
  #extensionOf(extendByMs: number): { readonly extendByMs: number; readonly idempotencyKey: string } {
    const lost = this.#lostExtensions.findIndex((it) => it.extendByMs === extendByMs);
    const [extension] = lost < 0 ? [] : this.#lostExtensions.splice(lost, 1);
    if (extension !== undefined) return extension;
    this.#extensions += 1;
    return { extendByMs, idempotencyKey: `extend-${this.reservationId}-${this.#extensions}` };
  }

  /**
   * Ends it with its scope: what `spent` or a denied commit was told is committed, as far as the hold goes where the budget
   * takes no more, and what is lost is told to `onRecovery`; otherwise it is released as `guard_dropped`. A settlement whose
   * answer was lost is made once more. Again while it ends: waits for that. Never throws for what the authority says: its
   * TTL frees what is left.
   */
  dispose(): Promise<void> {
    this.#disposing ??= this.#dispose().finally(() => {
      this.#disposing = undefined;
    });
    return this.#disposing;
  }

  async #dispose(): Promise<void> {
    this.#isDisposed = true;
    await this.#meter?.dispose();
    while (this.#settling !== undefined) await this.#settling.catch(() => undefined);
    try {
      await this.#end();
    } catch (error) {
      if (!(error instanceof AuthorityError)) throw error;
      const isLost = error.outcome === "refused" && this.#knownSpend() > 0n;
      if (isLost && !this.#host.recovery.isOutstanding(this.reservationId)) this.#tell("dropped", error);
    } finally {
      this.#letGo();
    }
  }

  async #end(): Promise<void> {
    const { recovery } = this.#host;
    if (this.#isOver || recovery.isPostponed(this.reservationId)) return;
    if (this.#pending !== undefined) {
      const { ok } = await this.#settle(this.#pending.print, this.#pending.send);
      if (ok || recovery.isOutstanding(this.reservationId)) return;
    }
    const actual = this.#knownSpend();
    if (actual === 0n && this.#tried === undefined) {
      await this.release(DROPPED);
      return;
    }
    const answer = await this.#commitKnown(actual);
    if (answer.ok) return;
    if (recovery.isOutstanding(this.reservationId)) return this.#tell("kept", answer.denial);
    this.#tell("dropped", answer.denial);
    const held = BigInt(this.reserved.amount);
    if (actual > held) await this.commit({ ...this.#tried, actual: held });
  }

  /** With what was said beside the amount, and without it where the authority does not take that: the spend is what counts. */
  async #commitKnown(actual: bigint): Promise<{ readonly ok: true } | Denied<F>> {
    const { actual: _, ...beside } = this.#tried ?? {};
    try {
      return await this.commit({ ...beside, actual: actual as F });
    } catch (error) {
      const isRefused = (error as Partial<AuthorityError>).outcome === "refused";
      if (!isRefused || this.#isOver || Object.keys(beside).length === 0) throw error;
      return this.commit({ actual: actual as F });
    }
  }

  /** No settlement was sent, or the authority has refused it. */
  get #isFree(): boolean {
    return !this.#isOver && this.#pending === undefined;
  }

  /** What is spent as far as anybody said. */
  #knownSpend(): bigint {
    const tried = BigInt(this.#tried?.actual ?? 0);
    return tried > this.#spent ? tried : this.#spent;
  }

  #tell(disposition: "kept" | "dropped", cause: unknown): void {
    this.#host.recovery.tell({ disposition, reservationId: this.reservationId, cause });
  }

  /** Tries that nobody waited for have come to an end. */
  #learn(print: string, ending: Ending<F>): void {
    if (this.#settling !== undefined || this.#isOver) return; // whoever settles it hears it anyway
    this.#pending = undefined;
    if (ending instanceof AuthorityError) {
      this.#isOver = ending.outcome === "done" || FINAL_CODES.has(ending.code);
    } else {
      this.#isOver = ending.ok;
      if (ending.ok) this.#learnt = { print, answer: ending };
    }
    if (!this.#isOver && this.#isDisposed) void this.endSoon();
  }

  /**
   * @internal For a scoped form that cannot wait: ends it with what `work` says it used, once it has said so or has been
   * given its time. Never rejects.
   */
  async endAfter(work: Promise<GuardCommit>): Promise<void> {
    try {
      const used = await withDeadline(
        () => work,
        CLIENT_LIMITS.abortedMs,
        this.#host.surroundings,
        undefined,
      );
      await (this.#meter?.conclude(used) ?? this.commit(used));
    } catch {
      // What the callback threw, or that it is late, its caller does not wait for; what became of the commit, dispose and the
      // recovery tell.
    } finally {
      await this.endSoon();
    }
  }

  /** @internal `dispose` for who does not wait: what it throws is told. Never rejects. */
  async endSoon(): Promise<void> {
    await this.dispose().catch((cause: unknown) => this.#tell("dropped", cause));
  }

  async #settle<T extends { readonly ok: boolean }>(
    print: string,
    send: (options?: CallOptions) => Promise<T>,
    options?: CallOptions,
  ): Promise<T> {
    if (this.#isOver && this.#learnt?.print === print) return this.#learnt.answer as T;
    if (this.#isOver || this.#settling !== undefined) throw new ReservationSettledError();
    if (this.#pending !== undefined && this.#pending.print !== print) {
      throw new PurserError(
        "SETTLEMENT_PENDING",
        "an earlier settlement is not answered; only the same can be made again",
      );
    }
    this.#pending = { print, send };
    // Nothing need prolong it from here on: should it expire, its spend becomes an event.
    this.#letGo();
    const settling = send(options);
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
