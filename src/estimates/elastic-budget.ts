// Calls that hold what they will probably use, and a reserve that all of them share for those that use more.
// Invariant: what a call may have used is at every moment taken out of the budget or of the reserve, so together they never
// hand out more than both have; a call that can get no more is told where to stop. So with callers that stop there, overspend
// is 0, whatever the estimates were. Who may call: anybody, with any argument.

import { checkAmount, checkInteger, invalidType } from "../arguments.ts";
import type { AmountRange } from "../budgets/amount-range.ts";
import type { TokenReservation } from "../budgets/token-reservation.ts";
import type { ExplainsDenial } from "../budgets/traits.ts";
import { denialOf } from "../budgets/with-tokens.ts";
import type { Denial } from "../denial.ts";
import { Scoped } from "../dispose.ts";
import { ReservationSettledError } from "../errors.ts";
import { ESTIMATE_LIMITS } from "./limits.ts";

/** A token budget that answers at once: an AtomicTokenBudget, or another one of its kind. */
export interface TokenSource extends Partial<ExplainsDenial> {
  tryReserveTokens(estimate: number | AmountRange): TokenReservation | null;
  recordUsage(reservation: TokenReservation, promptTokens: number, completionTokens: number): void;
}

export interface ElasticBudgetOptions {
  /** What calls are admitted on. */
  readonly budget: TokenSource;
  /** What calls that outgrow their hold draw from when the budget has nothing left: another budget, of a tenth of it or so. */
  readonly tail: TokenSource;
  /** How many tokens a call draws at once at least, if there are as many; 1 … 2^53−1. Default 64. */
  readonly stepTokens?: number;
}

/**
 * Two budgets as one whose reservations can grow. The limit is the sum of both, and it is hard.
 *
 * @example
 * const budget = new ElasticBudget({ budget: new AtomicTokenBudget(90_000), tail: new AtomicTokenBudget(10_000) });
 * using call = budget.tryReserve(hold);
 * if (call === null) return;
 * for await (const piece of answer) {
 *   used += piece.tokens;
 *   if (call.growTo(used + PIECE_TOKENS_MAX) < used + PIECE_TOKENS_MAX) break; // no room for another piece: stop here
 * }
 * call.settle(promptTokens, completionTokens);
 */
export class ElasticBudget implements ExplainsDenial {
  readonly #sources: Sources;

  /** @throws RangeError or TypeError for a bad option */
  constructor({ budget, tail, stepTokens = ESTIMATE_LIMITS.stepTokens }: ElasticBudgetOptions) {
    checkSource("budget", budget);
    checkSource("tail", tail);
    checkInteger("stepTokens", stepTokens, 1, Number.MAX_SAFE_INTEGER);
    this.#sources = { budget, tail, stepTokens };
  }

  /**
   * Admits a call with `hold` tokens, or with as much of a range as the budget has. The reserve admits nobody.
   * @returns null when they do not fit; nothing has changed then
   */
  tryReserve(hold: number | AmountRange): ElasticReservation | null {
    const reservation = this.#sources.budget.tryReserveTokens(hold);
    return reservation === null ? null : new ElasticReservation(this.#sources, reservation);
  }

  /** Why no call is admitted with `hold` tokens now: the budget's own answer. */
  explainDenial(hold: number): Denial {
    checkAmount("hold", hold);
    return denialOf(this.#sources.budget, hold);
  }
}

interface Sources {
  readonly budget: TokenSource;
  readonly tail: TokenSource;
  readonly stepTokens: number;
}

/** What one call holds of the budget and of the reserve. Ended without being settled, everything goes back. */
export class ElasticReservation extends Scoped {
  readonly #sources: Sources;
  /** Of the budget, the hold first. */
  readonly #own: TokenReservation[];
  /** Of the reserve. */
  readonly #drawn: TokenReservation[] = [];
  #held: number;
  #isStopped = false;
  #isOver = false;

  /** @internal */
  constructor(sources: Sources, hold: TokenReservation) {
    super();
    this.#sources = sources;
    this.#own = [hold];
    this.#held = hold.estimate;
  }

  /** How many tokens the call may use in all. */
  get held(): number {
    return this.#held;
  }

  /** Whether it once asked for more than it could get. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** What it holds of the shared reserve. */
  get drawn(): number {
    return sumOf(this.#drawn);
  }

  /**
   * Makes it hold `total` tokens if it can: of the budget as long as that has any, then of the reserve.
   *
   * @param total - all that the call will have used, prompt included; safe integer, 0 … 2^53−1
   * @returns how many it may use in all now. Less than `total`: the call must stop there
   */
  growTo(total: number): number {
    checkAmount("total", total);
    if (this.#isOver) throw new ReservationSettledError();
    const { budget, tail, stepTokens } = this.#sources;
    if (total > this.#held) this.#draw(budget, this.#own, Math.max(total - this.#held, stepTokens));
    if (total > this.#held) this.#draw(tail, this.#drawn, Math.max(total - this.#held, stepTokens));
    if (total > this.#held) this.#isStopped = true;
    return this.#held;
  }

  /**
   * Ends it with what the provider reports. What it does not use goes back, that of the reserve first; and what the reserve
   * gave is charged to the budget if the budget has it by now, so that the reserve is whole again for others. A call that
   * did not stop where it was told is charged for all of it: as debt, where the budget has no more.
   *
   * @throws ReservationSettledError if it is over
   */
  settle(promptTokens: number, completionTokens: number): void {
    checkAmount("promptTokens", promptTokens);
    checkAmount("completionTokens", completionTokens);
    checkAmount("promptTokens + completionTokens", promptTokens + completionTokens);
    if (this.#isOver) throw new ReservationSettledError();
    this.#isOver = true;
    const { budget, tail } = this.#sources;
    const excess = Math.max(0, promptTokens + completionTokens - this.#held);
    const rest = { prompt: promptTokens, completion: completionTokens };
    for (const [index, reservation] of this.#own.entries()) {
      charge(budget, reservation, rest, reservation.estimate + (index === 0 ? excess : 0));
    }
    for (const reservation of this.#drawn) {
      const owed = Math.min(rest.prompt + rest.completion, reservation.estimate);
      const own = owed > 0 ? budget.tryReserveTokens(owed) : null;
      if (own !== null) charge(budget, own, rest, owed);
      charge(tail, reservation, rest, own === null ? owed : 0);
    }
  }

  /** Gives everything back, once: nothing was used. Does nothing after `settle`. */
  override release(): void {
    this.#isOver = true;
    for (const reservation of [...this.#own, ...this.#drawn]) reservation.cancel();
  }

  #draw(source: TokenSource, into: TokenReservation[], want: number): void {
    const reservation = source.tryReserveTokens({ want, min: 1 });
    if (reservation === null) return;
    into.push(reservation);
    this.#held += reservation.estimate;
  }
}

/** Settles a reservation with as much of what is left to be charged as it can bear. */
function charge(
  source: TokenSource,
  reservation: TokenReservation,
  rest: { prompt: number; completion: number },
  most: number,
): void {
  const prompt = Math.min(rest.prompt, most);
  const completion = Math.min(rest.completion, most - prompt);
  if (prompt + completion === 0) reservation.cancel();
  else source.recordUsage(reservation, prompt, completion);
  rest.prompt -= prompt;
  rest.completion -= completion;
}

function sumOf(reservations: readonly TokenReservation[]): number {
  return reservations.reduce((sum, { estimate }) => sum + estimate, 0);
}

function checkSource(name: string, source: TokenSource): void {
  if (typeof source?.tryReserveTokens === "function" && typeof source.recordUsage === "function") return;
  throw invalidType(name, "a token budget that answers at once, like AtomicTokenBudget", source);
}
