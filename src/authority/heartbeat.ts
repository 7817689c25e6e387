// Keeps a reservation alive while the call that it covers runs: extends it well before its end. Invariant: what is left is
// reckoned on the monotonic clock, from when the try was sent that the authority answered with `remainingTtlMs` (an answer
// that is given again says what is left by then), less what the machine slept since, which that clock does not show; it
// never throws, and after `stop` no timer and no call of it is left. Knows nothing of the guard, so that a guard that was
// forgotten can be collected. Who may call: ReservationGuard.

import type { Authority, Denied, Extended, Figure, Granted } from "./authority.ts";
import { AuthorityError } from "./errors.ts";
import * as HEARTBEAT_LIMITS from "./limits/heartbeat.ts";
import { isRepeatable } from "./retry.ts";
import { callOut, type Moment, momentOn, type Surroundings } from "./surroundings.ts";
import type { CallControl } from "./wire-call.ts";

/** A beat that failed. The call that it is for goes on, and so does its commit, even if the reservation should expire. */
export interface HeartbeatFailure {
  readonly reservationId: string;
  /** `retrying`: the same beat is made again. `stopped`: none is made any more, and the reservation ends with its time. */
  readonly disposition: "retrying" | "stopped";
  /** What the authority said, or why nothing was heard of it. */
  readonly error: AuthorityError | Denied<Figure>["denial"];
}

export interface HeartbeatOptions {
  /** The life that was asked for, if any. */
  readonly ttlMs: number | undefined;
  /** When the reservation was asked for first: it may have been made then. */
  readonly askedAt: Moment;
  /** When the try was sent that was answered. */
  readonly sentAt: Moment;
  /** How long the authority may take to answer one try, where that is bounded. */
  readonly timeoutMs: number | undefined;
  readonly onFailure: ((failure: HeartbeatFailure) => void) | undefined;
}

type Clocks = Required<Pick<Surroundings, "monotonicNow" | "now" | "setTimer">>;

export class Heartbeat {
  readonly #authority: Pick<Authority<Figure>, "extend">;
  readonly #reservationId: string;
  readonly #options: HeartbeatOptions;
  readonly #clocks: Clocks;
  readonly #extendByMs: number;
  #expiresAtMs: number;
  /** When the reservation ends at the earliest, on the monotonic clock. */
  #endsAtMs: number;
  /** Whether the authority tells what is left; otherwise half a life is waited each time. */
  #isTold = false;
  /** What a beat may take, and how far from the end it must be over. */
  #tryMs = 0;
  #marginMs = 0;
  #roundTripMsMax = 0;
  #beats = 0;
  #zeroDelays = 0;
  #isFinal = false;
  #cancelTimer: (() => void) | undefined;
  #beating: AbortController | undefined;

  constructor(
    authority: Pick<Authority<Figure>, "extend">,
    grant: Granted<Figure>,
    options: HeartbeatOptions,
    clocks: Clocks,
  ) {
    this.#authority = authority;
    this.#reservationId = grant.reservationId;
    this.#options = options;
    this.#clocks = clocks;
    const ttlMs = grant.remainingTtlMs ?? options.ttlMs ?? HEARTBEAT_LIMITS.ttlMs;
    this.#extendByMs = Math.max(ttlMs, HEARTBEAT_LIMITS.periodMsMin);
    this.#expiresAtMs = grant.expiresAtMs;
    const { askedAt, sentAt } = options;
    this.#endsAtMs = askedAt[0] + ttlMs;
    this.heard(grant, grant.remainingTtlMs === undefined ? askedAt : sentAt, 0);
  }

  /** By the authority's clock; only to be shown. */
  get expiresAtMs(): number {
    return this.#expiresAtMs;
  }

  /** The authority has answered a try that was sent at that time, and made the reservation last that much longer. */
  heard(
    { expiresAtMs, remainingTtlMs }: Pick<Extended, "expiresAtMs" | "remainingTtlMs">,
    sentAt: Moment,
    extendedByMs: number,
  ): void {
    // Two answers may have passed each other, and one that is given again is as it was.
    this.#expiresAtMs = Math.max(this.#expiresAtMs, expiresAtMs);
    this.#isTold = remainingTtlMs !== undefined;
    // Counted from the sending, the time of the round trip is taken off.
    this.#endsAtMs =
      remainingTtlMs === undefined ? this.#endsAtMs + extendedByMs : sentAt[0] + remainingTtlMs;
    this.#takeOffSleep(sentAt);
    this.#roundTripMsMax = Math.max(this.#roundTripMsMax, this.#clocks.monotonicNow() - sentAt[0]);
    const partMs = this.#leadMs() / HEARTBEAT_LIMITS.parts;
    const marginMs = Math.max(HEARTBEAT_LIMITS.marginMsMin, 2 * this.#roundTripMsMax);
    this.#tryMs = Math.min(Math.max(this.#options.timeoutMs ?? 0, marginMs), partMs);
    this.#marginMs = Math.min(marginMs, partMs);
    if (this.#cancelTimer !== undefined) this.start();
  }

  /** Beats from now on, unless the authority has said that it is of no use. */
  start(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    if (this.#isFinal || this.#beating !== undefined) return;
    const delayMs = this.#delayMs();
    this.#zeroDelays = delayMs > 0 ? 0 : this.#zeroDelays + 1;
    if (this.#zeroDelays < 2) this.#beatIn(delayMs);
    else this.#fail(tooLate());
  }

  /** Nothing of it is left running. It can be started again. */
  stop(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#beating?.abort();
    this.#beating = undefined;
  }

  /** Its guard was forgotten. In a Worker this is heard outside of any request, where no timer may be touched. */
  abandon(): void {
    this.#isFinal = true;
    try {
      this.stop();
    } catch {
      // The timer belongs to a request that is over; should it be heard after all, it finds nothing to do.
    }
  }

  #leadMs(): number {
    return Math.max(0, this.#endsAtMs - this.#clocks.monotonicNow());
  }

  /** How long until the next beat: time for a second try and a distance from the end remain. */
  #delayMs(): number {
    if (!this.#isTold) {
      const halfMs = this.#extendByMs / 2;
      return Math.max(Math.min(halfMs, this.#leadMs() - halfMs), HEARTBEAT_LIMITS.periodMsMin);
    }
    return Math.max(0, this.#leadMs() - 2 * this.#tryMs - this.#marginMs);
  }

  /** Whether the machine slept since; smaller steps of a wall clock that is being set are no sleep. */
  #takeOffSleep([steadyMs, wallMs]: Moment): boolean {
    const { monotonicNow, now } = this.#clocks;
    const sleptMs = now() - wallMs - (monotonicNow() - steadyMs);
    const hasSlept = sleptMs >= HEARTBEAT_LIMITS.sleptMsMin;
    if (hasSlept) this.#endsAtMs -= sleptMs;
    return hasSlept;
  }

  /** Waits in pieces, so that a machine that slept is noticed soon after it woke. */
  #beatIn(delayMs: number): void {
    const { monotonicNow, setTimer } = this.#clocks;
    const pieceMs = Math.min(delayMs, HEARTBEAT_LIMITS.lookMs);
    const since = momentOn(this.#clocks);
    this.#cancelTimer = setTimer(() => {
      this.#cancelTimer = undefined;
      if (this.#isFinal) return;
      const passedMs = monotonicNow() - since[0];
      if (!this.#takeOffSleep(since) && delayMs > passedMs) this.#beatIn(delayMs - passedMs);
      else void this.#beat();
    }, pieceMs);
  }

  async #beat(): Promise<void> {
    const beating = new AbortController();
    this.#beating = beating;
    const sentAt = momentOn(this.#clocks);
    const control: CallControl = {
      signal: beating.signal,
      attempts: 1,
      timeoutMs: Math.max(1, Math.ceil(this.#tryMs)),
    };
    const extendByMs = this.#extendByMs;
    // The number grows only with a beat that was heard, so one that is made again is the same.
    const idempotencyKey = `beat-${this.#reservationId}-${this.#beats}`;
    const answer = await this.#authority
      .extend(this.#reservationId, { idempotencyKey, extendByMs }, control)
      .catch((error: unknown) => error);
    if (this.#beating !== beating) return; // stopped meanwhile
    this.#beating = undefined;
    if (isExtended(answer)) {
      this.#beats += 1;
      this.heard(answer, sentAt, extendByMs);
      this.start();
    } else {
      this.#takeOffSleep(sentAt);
      this.#fail(...failureOf(answer));
    }
  }

  /** Makes the same beat again if that may help in time; `waitMs` is what the authority wants to be left alone. */
  #fail(error: HeartbeatFailure["error"], waitMs?: number): void {
    const leadMs = this.#leadMs();
    const windowMs = leadMs - this.#tryMs - this.#marginMs;
    // Who is asked to slow down without being told for how long waits as long as can be.
    const soonMs = isThrottled(error) && waitMs === 0 ? windowMs : Math.min(leadMs / 4, windowMs);
    const delayMs = Math.max(waitMs ?? 0, Math.min(HEARTBEAT_LIMITS.retryMsMax, soonMs));
    const isOver = waitMs === undefined || windowMs <= 0 || delayMs > windowMs;
    this.#isFinal ||= isOver;
    if (!this.#isFinal) this.#beatIn(delayMs);
    const disposition = isOver ? "stopped" : "retrying";
    callOut(() => this.#options.onFailure?.({ reservationId: this.#reservationId, disposition, error }));
  }
}

function isThrottled({ code }: HeartbeatFailure["error"]): boolean {
  return code === "LIMIT_EXCEEDED";
}

function tooLate(): AuthorityError {
  const message = "the reservation ends too soon to be extended";
  return new AuthorityError("AUTHORITY_TIMEOUT", message, { outcome: "unknown" });
}

/** What went wrong, and how long to wait before the beat is made again; without that, it is of no use. */
function failureOf(answer: unknown): [error: HeartbeatFailure["error"], waitMs?: number] {
  if (answer instanceof AuthorityError) {
    return isRepeatable(answer) ? [answer, answer.retryAfterMs ?? 0] : [answer];
  }
  if (answer instanceof Error) {
    return [
      new AuthorityError("AUTHORITY_UNAVAILABLE", String(answer), { outcome: "unknown", cause: answer }),
    ];
  }
  const { denial } = answer as Denied<Figure>;
  if (denial.code !== "LIMIT_EXCEEDED") return [denial];
  return [denial, typeof denial.retry === "object" ? denial.retry.afterMs : 0];
}

function isExtended(answer: unknown): answer is Extended {
  return (answer as Partial<Extended>).ok === true;
}
