// The scoped form: reserve, run, settle. The primary way to spend under an authority, because no ending can be forgotten.
// Invariant: whatever the callback does, the reservation is committed with what is known to be spent, or released.

import type { Authority, CallOptions, Figure, ReserveRequest } from "./authority.ts";
import { AuthorityDeniedError } from "./errors.ts";
import type { GuardCommit, ReservationGuard } from "./reservation-guard.ts";

/** What the callback hands back: its result, and what it really used. */
export interface Used<T> extends GuardCommit {
  readonly result: T;
}

/**
 * Runs `call` under a reservation and commits what it says it used. If it throws or is aborted, what `guard.spent` was
 * told is committed and the rest goes back; without any, all of it.
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
  { signal }: CallOptions = {},
): Promise<T> {
  const guard = await authority.guard(request, signal === undefined ? {} : { signal });
  if (!guard.ok) throw new AuthorityDeniedError(guard.denial);
  try {
    const { result, ...used } = await untilAborted(signal, async () => call(guard));
    const settled = await guard.commit(used);
    if (!settled.ok) throw new AuthorityDeniedError(settled.denial);
    return result;
  } finally {
    await guard.dispose(); // does nothing once it is settled
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
