// The scoped form: reserve, run, settle. The primary way to spend under an authority, because no ending can be forgotten.
// Invariant: whatever the callback does, the reservation is committed with what is known to be spent, or released.

import type { Authority, Figure, GuardOptions, ReserveRequest } from "./authority.ts";
import { AuthorityDeniedError, type AuthorityError } from "./errors.ts";
import type { GuardCommit, ReservationGuard } from "./reservation-guard.ts";
import { untilAborted } from "./retry.ts";

/** What the callback hands back: its result, and what it really used. */
export interface Used<T> extends GuardCommit {
  readonly result: T;
}

/**
 * Runs `call` under a reservation and commits what it says it used. If it throws or is aborted, what `guard.spent` was
 * told is committed and the rest goes back; without any, all of it. A commit whose answer was lost does not cost the
 * result: it goes on by itself, and `authority.flush()` waits for it. With `guard.meter()` the meter settles, and is waited for.
 * A guard that the callback has committed or released itself is left as it is, whatever the callback says it used.
 *
 * @param options - aborting the signal rejects with its reason at once, also while the callback still runs; what that says
 *   it used within 30 s is committed. What an abort leaves to be granted is released when it is
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
  const { signal, ...rest } = options;
  signal?.throwIfAborted();
  // Without the signal: the authority may have granted what nobody would hear of.
  const asked = authority.guard(request, rest);
  const guard = await untilAborted(signal, asked).catch((error: unknown) => {
    if (signal?.aborted === true) asked.then((it) => (it.ok ? it.endSoon() : undefined)).catch(noop);
    throw error;
  });
  if (!guard.ok) throw new AuthorityDeniedError(guard.denial);
  let isRunning = true;
  const work = (async () => call(guard))().finally(() => {
    isRunning = false;
  });
  try {
    const { result, ...used } = await untilAborted(signal, work);
    await commit(guard, used);
    return result;
  } finally {
    // Also who was aborted as it ended has said what it used, and nobody has heard of it.
    if (isRunning || signal?.aborted === true) void guard.endAfter(work);
    else await guard.dispose(); // does nothing once it is settled
  }
}

function noop(): void {}

/** `RESERVATION_SETTLED` and `SETTLEMENT_PENDING`: the callback has settled it, or is about to. */
const IS_SETTLED = /SETTLE/;

/** Only what cannot be undone any more stands in the way of a result that is paid for: what is merely late goes on by itself. */
async function commit<F extends Figure>(guard: ReservationGuard<F>, used: GuardCommit): Promise<void> {
  try {
    // A meter settles its guard itself; what it charged is what counts.
    if (guard.metered !== undefined) return void (await guard.metered.conclude(used));
    const settled = await guard.commit(used);
    if (!settled.ok && settled.denial.code !== "LIMIT_EXCEEDED")
      throw new AuthorityDeniedError(settled.denial);
  } catch (error) {
    const { code = "", outcome, denial } = error as Partial<AuthorityError & AuthorityDeniedError>;
    if (outcome !== "unknown" && denial?.code !== "LIMIT_EXCEEDED" && !IS_SETTLED.test(code)) throw error;
  }
}
