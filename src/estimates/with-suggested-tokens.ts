// The scoped form: hold what is suggested, run, settle, learn. The primary way to spend on suggestions, because no call is
// forgotten, neither by the budget nor by the advisor. Invariant: exactly one of settle and release reaches the
// reservation, whatever the callback does. Who may call: anybody.

import { checkAmount } from "../arguments.ts";
import { type TokensUsed, untilAborted, type WithTokensOptions } from "../budgets/with-tokens.ts";
import { BudgetDeniedError } from "../errors.ts";
import type { ElasticBudget, ElasticReservation } from "./elastic-budget.ts";
import type { EstimateAdvisor, Route } from "./estimate-advisor.ts";

export interface SuggestedCall extends Route {
  readonly advisor: EstimateAdvisor;
  readonly budget: ElasticBudget;
  /** Tokens that the call uses for certain: its prompt's. Safe integer, 0 … 2^53−1; default 0. */
  readonly certain?: number;
  /** The most that the rest of it can come to: `max_tokens`. Safe integer, 0 … 2^53−1. */
  readonly estimate: number;
}

/**
 * Runs `run` under a reservation of what the advisor suggests, settles with the usage that it returns and learns from it.
 * While the answer comes in, `run` asks `reservation.growTo(used so far)` and stops where that is less. If it throws or is
 * aborted, everything goes back and nothing is learnt.
 *
 * @returns the callback's result
 * @throws BudgetDeniedError when the budget says no; its `denial` says why. The callback was not called then
 */
export async function withSuggestedTokens<T>(
  { advisor, budget, model, route, certain = 0, estimate }: SuggestedCall,
  run: (reservation: ElasticReservation) => PromiseLike<TokensUsed<T>> | TokensUsed<T>,
  { signal }: WithTokensOptions = {},
): Promise<T> {
  signal?.throwIfAborted();
  checkAmount("certain", certain);
  const hold = certain + advisor.suggest({ model, route }, estimate);
  checkAmount("certain + what is suggested", hold);
  const reservation = budget.tryReserve(hold);
  if (reservation === null) throw new BudgetDeniedError(budget.explainDenial(hold));
  try {
    const { result, promptTokens, completionTokens } = await untilAborted(signal, async () =>
      run(reservation),
    );
    reservation.settle(promptTokens, completionTokens);
    const uncertain = Math.max(0, promptTokens + completionTokens - certain);
    advisor.observe(
      { model, route },
      estimate,
      reservation.isStopped ? Math.max(estimate, uncertain) : uncertain,
    );
    return result;
  } finally {
    reservation.release(); // does nothing once it is settled
  }
}
