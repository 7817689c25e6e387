// What a call will probably use of its estimate, learnt from the calls before it on the same route to the same model.
// Invariant: a bounded number of routes in bounded memory, no clock and no chance, so the same calls in the same order get
// the same advice. It is advice: whoever holds less than the estimate needs a reserve for the rest (ElasticBudget).
// Who may call: anybody, with any argument; one thread each.

import { checkAmount, checkInteger, checkName, invalidArgument, invalidType } from "../arguments.ts";
import { ESTIMATE_LIMITS } from "./limits.ts";
import { RatioHistogram } from "./ratio-histogram.ts";

/** Which calls are alike: those to one model from one place in the program. */
export interface Route {
  /** 1 … 256 characters. */
  readonly model: string;
  /** What asks: a prompt's name, an agent, an endpoint. 1 … 256 characters. */
  readonly route: string;
}

export interface EstimateAdvisorOptions {
  /** Which share of the calls shall get by with what is proposed; above 0, below 1. Default 0.95. */
  readonly quantile?: number;
  /** After so many calls of a route its older ones begin to count half; 1 … 1,000,000. Default 1,024. */
  readonly callsRemembered?: number;
  /** Calls of a route before less than its estimate is proposed; 1 … 1,000,000. Default 32. */
  readonly callsMin?: number;
  /** Routes that are remembered; the one that was used longest ago is forgotten first. 1 … 65,536; default 256. */
  readonly routesMax?: number;
}

/**
 * Proposes how much to hold for a call.
 *
 * @example
 * const advisor = new EstimateAdvisor();
 * const hold = promptTokens + advisor.suggest({ model: "gpt", route: "summary" }, maxTokens);
 * // … the call, and then what its answer really took:
 * advisor.observe({ model: "gpt", route: "summary" }, maxTokens, completionTokens);
 */
export class EstimateAdvisor {
  readonly #quantile: number;
  readonly #callsRemembered: number;
  readonly #callsMin: number;
  readonly #routesMax: number;
  /** In the order of their last use. */
  readonly #routes = new Map<string, RatioHistogram>();

  /** @throws RangeError or TypeError for a bad option */
  constructor({
    quantile = ESTIMATE_LIMITS.quantile,
    callsRemembered = ESTIMATE_LIMITS.callsRemembered,
    callsMin = ESTIMATE_LIMITS.callsMin,
    routesMax = ESTIMATE_LIMITS.routesMax,
  }: EstimateAdvisorOptions = {}) {
    if (typeof quantile !== "number") throw invalidType("quantile", "a number", quantile);
    if (!(quantile > 0 && quantile < 1)) throw invalidArgument("quantile", "above 0 and below 1", quantile);
    checkInteger("callsRemembered", callsRemembered, 1, ESTIMATE_LIMITS.callsRememberedMax);
    checkInteger("callsMin", callsMin, 1, ESTIMATE_LIMITS.callsRememberedMax);
    checkInteger("routesMax", routesMax, 1, ESTIMATE_LIMITS.routesMaxMax);
    this.#quantile = quantile;
    this.#callsRemembered = callsRemembered;
    this.#callsMin = callsMin;
    this.#routesMax = routesMax;
  }

  /** How many routes it remembers. */
  get routes(): number {
    return this.#routes.size;
  }

  /**
   * How much of `estimate` to hold. What is certain, a prompt whose tokens are counted, is better left out of it and added
   * afterwards.
   *
   * @param estimate - the most that the uncertain part can come to; safe integer, 0 … 2^53−1
   * @returns more than the estimate where the route's calls use more; the estimate itself while the route is new
   */
  suggest(route: Route, estimate: number): number {
    const key = keyOf(route);
    checkAmount("estimate", estimate);
    const known = this.#routes.get(key);
    if (known === undefined) return estimate;
    this.#touch(key, known);
    return known.calls < this.#callsMin ? estimate : known.enough(estimate, this.#quantile);
  }

  /**
   * Learns what a call used. One that was stopped would have used more: it is to be told as having used its estimate, or
   * what calls are allowed to hold would shrink to what they were allowed to hold.
   *
   * @param estimate - as for `suggest`; a call whose estimate was 0 teaches nothing
   * @param actual - safe integer, 0 … 2^53−1
   */
  observe(route: Route, estimate: number, actual: number): void {
    const key = keyOf(route);
    checkAmount("estimate", estimate);
    checkAmount("actual", actual);
    if (estimate === 0) return;
    const known = this.#routes.get(key) ?? new RatioHistogram(this.#callsRemembered);
    known.add(estimate, actual);
    this.#touch(key, known);
    const [oldest] = this.#routes.keys();
    if (this.#routes.size > this.#routesMax && oldest !== undefined) this.#routes.delete(oldest);
  }

  #touch(key: string, known: RatioHistogram): void {
    this.#routes.delete(key);
    this.#routes.set(key, known);
  }
}

/** No name begins with a NUL character or has half a character, but one may have a NUL inside: its length tells them apart. */
function keyOf({ model, route }: Route): string {
  checkName("model", model, ESTIMATE_LIMITS.nameLengthMax);
  checkName("route", route, ESTIMATE_LIMITS.nameLengthMax);
  return `${model.length} ${model} ${route}`;
}
