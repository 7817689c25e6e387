// The scoped form: reserve, run, settle. The primary way to spend under an authority, because no ending can be forgotten.
// Invariant: whatever the callback does, the reservation is committed with what is known to be spent, or released.

import type { Authority, Figure, GuardOptions, ReserveRequest } from "./authority.ts";
import { AuthorityDeniedError, type AuthorityError } from "./errors.ts";
import type { GuardCommit, ReservationGuard } from "./reservation-guard.ts";

/** What the callback hands back: its result, and what it really used. */
export interface Used<T> extends GuardCommit {
  readonly result: T;
}

/**
 * Runs `call` under a reservation and commits what it says it used. If it throws or is aborted, what `guard.spent` was
 * told is committed and the rest goes back; without any, all of it. A commit whose answer was lost does not cost the
 * result: it goes on by itself, and `authority.flush()` waits for it.
 *
 * @param options - aborting the signal rejects with its reason at once, also while the callback still runs
 * @returns the callback's result
 * @throws AuthorityDeniedError when the authority says no; its `denial` says why
 * @example
 * const text = await withReservation(authority, { action, estimate }, async (guard) => {
 *   const reply = await model.call(prompt, { maxTokens: guard.caps?.maxTokens });
 *   return { result: reply.text, actual: reply.usage.total };
 * });
 */
export async function withReservation<T, F extends Figure>(
  authority: Authority<F>,
  request: ReserveRequest,
  call: (guard: ReservationGuard<F>) => PromiseLike<Used<T>> | Used<T>,
  options: GuardOptions = {},
): Promise<T> {
  const guard = await authority.guard(request, options);
  if (!guard.ok) throw new AuthorityDeniedError(guard.denial);
  try {
    const { result, ...used } = await untilAborted(options.signal, async () => call(guard));
    await commit(guard, used);
    return result;
  } finally {
    await guard.dispose(); // does nothing once it is settled
  }
}

/** Only what cannot be undone any more stands in the way of a result that is paid for: what is merely late goes on by itself. */
async function commit<F extends Figure>(guard: ReservationGuard<F>, used: GuardCommit): Promise<void> {
  try {
    const settled = await guard.commit(used);
    if (!settled.ok && settled.denial.code !== "LIMIT_EXCEEDED")
      throw new AuthorityDeniedError(settled.denial);
  } catch (error) {
    if ((error as Partial<AuthorityError>).outcome !== "unknown") throw error;
  }
}

/** Settles as `run` does, or rejects with the signal's reason if that comes first. */
async function untilAborted<T>(signal: AbortSignal | undefined, run: () => Promise<T>): Promise<T> {
  if (signal === undefined) return run();
  signal.throwIfAborted();
  let onAbort = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([run(), aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
