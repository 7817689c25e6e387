// The scoped form: reserve, run, settle. The primary way to spend tokens, because no ending can be forgotten.
// Invariant: exactly one of recordUsage and cancel reaches the reservation, whatever the callback does.

import { type Denial, explainDenial } from "../denial.ts";
import { BudgetDeniedError } from "../errors.ts";
import { type AmountRange, leastOf } from "./amount-range.ts";
import type { TokenReservation } from "./token-reservation.ts";
import type { ExplainsDenial, TokenBudget } from "./traits.ts";

/** What the callback hands back: its result, and the usage that the provider reported for it. */
export interface TokensUsed<T> {
  readonly result: T;
  readonly promptTokens: number;
  readonly completionTokens: number;
}

export interface WithTokensOptions {
  /** Aborting refunds the estimate and rejects with the signal's reason, also while the callback still runs. */
  readonly signal?: AbortSignal;
}

/**
 * Runs `call` under a reservation of `estimate` tokens and settles with the usage that it returns. If it throws, is
 * aborted, or reports usage that is no usage, the whole estimate goes back.
 *
 * @param estimate - tokens; safe integer, 0 … 2^53−1; or a range: `call` gets as much as fits, and its reservation says how
 * much that is
 * @returns the callback's result
 * @throws BudgetDeniedError when the budget says no; its `denial` says why. The callback was not called then
 * @example
 * const text = await withTokens(budget, 1_200, async () => {
 *   const reply = await model.call(prompt);
 *   return { result: reply.text, promptTokens: reply.usage.input, completionTokens: reply.usage.output };
 * });
 */
export async function withTokens<T>(
  budget: TokenBudget & Partial<ExplainsDenial>,
  estimate: number | AmountRange,
  call: (reservation: TokenReservation) => PromiseLike<TokensUsed<T>> | TokensUsed<T>,
  { signal }: WithTokensOptions = {},
): Promise<T> {
  signal?.throwIfAborted();
  const reservation = await budget.tryReserveTokens(estimate);
  if (reservation === null) throw new BudgetDeniedError(denialOf(budget, leastOf(estimate)));
  try {
    const used = await untilAborted(signal, async () => call(reservation));
    await budget.recordUsage(reservation, used.promptTokens, used.completionTokens);
    return used.result;
  } finally {
    reservation.cancel(); // does nothing once the usage is recorded
  }
}

/** @internal Settles as `run` does, or rejects with the signal's reason if that comes first. */
export async function untilAborted<T>(signal: AbortSignal | undefined, run: () => Promise<T>): Promise<T> {
  if (signal === undefined) return run();
  signal.throwIfAborted();
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([run(), aborted]);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener("abort", onAbort);
  }
}

/** @internal Why a budget says no. One that cannot explain itself has only said that it is exhausted. */
export function denialOf(budget: Partial<ExplainsDenial>, requested: number): Denial {
  if (budget.explainDenial !== undefined) return budget.explainDenial(requested);
  return explainDenial({
    scope: "",
    requested,
    limit: requested,
    available: 0,
    spent: requested,
    held: 0,
    debt: 0,
  });
}
