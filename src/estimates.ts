// The package's entry `purser/estimates`: holding what calls probably use instead of the most that they can. An entry of its
// own, because who holds worst cases carries none of it; it has no kernel in it, and works on any token budget.

export {
  ElasticBudget,
  type ElasticBudgetOptions,
  ElasticReservation,
  type TokenSource,
} from "./estimates/elastic-budget.ts";
export { EstimateAdvisor, type EstimateAdvisorOptions, type Route } from "./estimates/estimate-advisor.ts";
export { type SuggestedCall, withSuggestedTokens } from "./estimates/with-suggested-tokens.ts";
