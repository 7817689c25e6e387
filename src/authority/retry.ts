// Trying again, and giving up in time. Invariant: a call is repeated only where its outcome is unknown or it was
// throttled, with the same idempotency key, so that it counts once however often it is sent. Who may call: WireAuthority.

import { checkInteger } from "../arguments.ts";
import { AuthorityError } from "./errors.ts";
import * as CLIENT_LIMITS from "./limits/client.ts";
import type { Random, Surroundings } from "./surroundings.ts";
import type { CallControl } from "./wire-call.ts";

export interface RetryOptions {
  /** Tries of one call, the first among them; 1 for none but that. */
  readonly attempts?: number;
  /** The longest wait before the second try; it doubles with each further one. */
  readonly firstDelayMs?: number;
  readonly delayMsMax?: number;
}

export type RetryPolicy = Required<RetryOptions>;

/** @throws RangeError or TypeError for an option that is no integer in its range */
export function retryPolicy({
  attempts = CLIENT_LIMITS.attempts,
  firstDelayMs = CLIENT_LIMITS.firstDelayMs,
  delayMsMax = CLIENT_LIMITS.delayMsMax,
}: RetryOptions = {}): RetryPolicy {
  checkInteger("retry.attempts", attempts, 1, CLIENT_LIMITS.attemptsMax);
  checkInteger("retry.firstDelayMs", firstDelayMs, 0, CLIENT_LIMITS.timeoutMsMax);
  checkInteger("retry.delayMsMax", delayMsMax, 0, CLIENT_LIMITS.timeoutMsMax);
  return { attempts, firstDelayMs, delayMsMax };
}

/** Whether the same call may be answered otherwise if it is made again. */
export function isRepeatable({ code, outcome, status }: AuthorityError): boolean {
  if (code === "LIMIT_EXCEEDED") return true;
  // Somebody's own 3xx or 4xx page will be there the next time as well; 0 is how a page sees a redirect that is not followed.
  const isPage = status === 0 || (status !== undefined && status >= 300 && status < 500);
  return outcome === "unknown" && !isPage;
}

/**
 * How long to wait before the next try; undefined to give up. The wait is any length up to a bound that doubles, so that
 * those who failed together do not come back together; never less than the authority asked for.
 */
export function delayBefore(
  failures: number,
  error: AuthorityError,
  { attempts, firstDelayMs, delayMsMax }: RetryPolicy,
  random: Random,
): number | undefined {
  const { retryAfterMs = 0 } = error;
  if (failures >= attempts || !isRepeatable(error)) return undefined;
  if (retryAfterMs > CLIENT_LIMITS.retryAfterMsMax) return undefined;
  return retryAfterMs + Math.floor(random() * Math.min(firstDelayMs * 2 ** (failures - 1), delayMsMax));
}

export async function withRetries<T>(
  attempt: () => Promise<T>,
  policy: RetryPolicy,
  { random, sleep }: Required<Pick<Surroundings, "random" | "sleep">>,
  signal: AbortSignal | undefined,
  onRetry?: CallControl["onRetry"],
): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof AuthorityError)) throw error;
      const delayMs = delayBefore(failures, error, policy, random);
      if (delayMs === undefined) throw error;
      await onRetry?.(error);
      await sleep(delayMs, signal);
    }
  }
}

/** Time without an end. */
const UNLIMITED = { setTimer: () => () => undefined };

/** Settles as `work` does, or rejects with the signal's reason if that comes first. */
export async function untilAborted<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
  return signal === undefined ? work : withDeadline(() => work, 0, UNLIMITED, signal);
}

/**
 * Runs one attempt; its signal aborts with the caller's own, or when the time is over. No timer outlives the attempt, and
 * none keeps Node running: what the attempt waits for does, the connection.
 */
export async function withDeadline<T>(
  attempt: (signal: AbortSignal) => PromiseLike<T> | T,
  timeoutMs: number,
  { setTimer }: Required<Pick<Surroundings, "setTimer">>,
  outer: AbortSignal | undefined,
): Promise<T> {
  const controller = new AbortController();
  const { signal } = controller;
  const forward = (): void => controller.abort(outer?.reason);
  const expire = (): void =>
    controller.abort(
      new AuthorityError("AUTHORITY_TIMEOUT", `no answer from the authority within ${timeoutMs} ms`, {
        outcome: "unknown",
      }),
    );
  // Raced, since what carries the attempt may not know signals.
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  if (outer?.aborted === true) forward();
  outer?.addEventListener("abort", forward, { once: true });
  const cancelTimer = setTimer(expire, timeoutMs);
  try {
    return await Promise.race([attempt(signal), aborted]);
  } finally {
    cancelTimer();
    outer?.removeEventListener("abort", forward);
  }
}
