// Several budgets at once, all or nothing: tokens and requests and a slot, taken at one moment or not at all.
// Invariant: a refusal by one leaves the others byte for byte as they were; nobody else is refused because of it; a thread
// that dies in the middle holds nothing up and keeps nothing. The kernel decides (assembly/all.ts); here stands the order
// in which it is asked: claims in descending order of the budgets' slots, then one take.

import { checkInteger, checkObject, invalidArgument, invalidInteger, invalidType } from "../arguments.ts";
import type { Denial, RetryAdvice } from "../denial.ts";
import { DISPOSE, Scoped } from "../dispose.ts";
import { ALL_INDEX, ALL_MAX, BUDGETS_MAX } from "../kernel/generated/abi.ts";
import * as Status from "../kernel/generated/Status.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { ReserveOptions } from "./atomic-token-budget.ts";
import { type AllOfBudget, type ClaimedHold, type Guard, guardOf, type PartOf } from "./guard.ts";

/** What each budget's share in a reservation is: a TokenReservation, a ConcurrencyPermit or a TakenCost. */
export type PartsOf<Budgets extends readonly AllOfBudget[]> = {
  readonly [Index in keyof Budgets]: PartOf<Budgets[Index]>;
};

/** Why a reservation over several budgets is refused: the denial of the guard that stands in its way longest. */
export interface AllOfDenial extends Denial {
  /** Its position among the guards. */
  readonly guard: number;
}

/**
 * Reserves over several budgets at once.
 *
 * @param guards - 1 to 8 budgets of one kernel, each with a name or made with that `kernel`; no budget twice, and the
 * categories of one governor count as one budget
 * @throws RangeError, TypeError for anything else, naming the guard
 * @example
 * const call = allOf(tokens, requests, governor.category("streams"));
 * using taken = call.tryReserve([1_200, 1]);
 * if (taken === null) return call.explainDenial([1_200, 1])?.retry;
 * const [reservation] = taken.parts;
 * tokens.recordUsage(reservation, usage.input, usage.output);
 */
export function allOf<const Guards extends readonly AllOfBudget[]>(...guards: Guards): AllOf<Guards> {
  return new AllOf(guards);
}

/** Some budgets that are asked together. Make it with {@link allOf}. */
export class AllOf<const Guards extends readonly AllOfBudget[]> {
  readonly #guards: readonly Guard[];
  /** Positions of the guards in descending order of their slots: how the kernel wants them claimed. */
  readonly #order: readonly number[];
  readonly #kernel: Kernel;

  /** @internal */
  constructor(budgets: Guards) {
    if (budgets.length < 1 || budgets.length > ALL_MAX) {
      throw invalidInteger("the number of guards", budgets.length, 1, ALL_MAX);
    }
    const guards = budgets.map(guardAt);
    const [{ kernel }] = guards as [Guard];
    for (const [index, guard] of guards.entries()) {
      if (guard.kernel !== kernel) throw invalidType(`guards[${index}]`, "in the kernel of guards[0]", guard);
      const twin = guards.findIndex((other) => slotOf(other) === slotOf(guard));
      if (twin === index) continue;
      if (guards[twin]?.handle !== guard.handle) throw guard.failure(Status.Stale); // a budget and its successor
      throw invalidArgument(`guards[${index}]`, `another budget than guards[${twin}]`, guard);
    }
    this.#guards = guards;
    this.#kernel = kernel;
    this.#order = [...guards.keys()].sort((a, b) => slotOf(guards[b]) - slotOf(guards[a]));
  }

  /**
   * Takes every guard's cost at one moment, or nothing.
   *
   * @param costs - one for each guard, in its unit; safe integer, 0 … 2^53−1, no range. A category's is 1, and may be left out
   * @param options - for the token reservations in it
   * @returns null when one of them does not fit; then only its count of denials has changed
   * @throws KernelFullError if the kernel has no free hold for each guard
   */
  tryReserve(
    costs: readonly (number | undefined)[],
    options: ReserveOptions = {},
  ): AllOfReservation<Guards> | null {
    const guards = this.#guards;
    const demands = this.#demands(costs);
    checkObject("options", options);
    const { expiresAtMs = 0 } = options;
    if (options.expiresAtMs !== undefined)
      checkInteger("expiresAtMs", expiresAtMs, 1, Number.MAX_SAFE_INTEGER);
    const times = guards.map((guard) => guard.time(expiresAtMs)); // callers' clocks: before anything is claimed
    if (guards.some((guard) => guard.isClosed())) return null;
    const holds = this.#claim(demands, times);
    const answer = this.#take(holds);
    const status = answer % ALL_INDEX;
    for (const [index, guard] of guards.entries()) {
      if (status !== Status.Ok || !guard.keepsHold) this.#kernel.slotFreed(holds[index]?.slot ?? 0);
    }
    if (status === Status.Ok) {
      const parts = guards.map((guard, index) =>
        guard.part(demands[index] ?? 0, holds[index] as ClaimedHold),
      );
      return new AllOfReservation(parts as unknown as PartsOf<Guards>);
    }
    const position = this.#order.length - 1 - Math.floor(answer / ALL_INDEX);
    if (status !== Status.Exceeds && status !== Status.InDebt) throw this.#failure(status, position);
    const refusing = this.#order[position] ?? 0;
    this.#guards[refusing]?.refused?.(demands[refusing] ?? 0);
    return null;
  }

  /**
   * Why these costs do not fit now. Of several guards that refuse, the one that does so longest: if all that refuse are
   * rates, its `retry.afterMs` is exactly when everything fits, if nobody else takes.
   * @returns null if they all fit
   */
  explainDenial(costs: readonly (number | undefined)[]): AllOfDenial | null {
    const demands = this.#demands(costs);
    let longest: AllOfDenial | null = null;
    for (const [index, guard] of this.#guards.entries()) {
      const denial = guard.denial(demands[index] ?? 0);
      if (denial === null) continue;
      if (longest === null || durationOf(denial.retry) > durationOf(longest.retry)) {
        longest = { ...denial, guard: index };
      }
    }
    return longest;
  }

  #demands(costs: readonly (number | undefined)[]): number[] {
    if (!Array.isArray(costs)) throw invalidType("costs", "an array with one cost for each guard", costs);
    const { length } = this.#guards;
    if (costs.length > length) throw invalidInteger("the number of costs", costs.length, 0, length);
    return this.#guards.map((guard, index) => guard.demandOf(costs[index], `costs[${index}]`));
  }

  /** A hold for each guard, in the guards' order. */
  #claim(demands: readonly number[], times: readonly number[]): ClaimedHold[] {
    const { exports, owner } = this.#kernel;
    const holds: ClaimedHold[] = [];
    let chain = -1;
    for (const [position, index] of this.#order.entries()) {
      const { handle } = this.#guards[index] as Guard;
      const ticket = this.#kernel.nextTicket();
      const hint = this.#kernel.slotHint();
      chain = exports.allClaim(chain, handle, demands[index] ?? 0, times[index] ?? 0, owner, ticket, hint);
      if (chain < 0) {
        this.#kernel.slotFreed(hint);
        throw this.#failure(-chain, position);
      }
      holds[index] = { slot: chain, owner, ticket };
    }
    return holds;
  }

  /** The kernel's answer for the chain that these holds are; the guard that was claimed last stands first in it. */
  #take(holds: readonly ClaimedHold[]): number {
    const first = holds[this.#order.at(-1) ?? 0] as ClaimedHold;
    return this.#kernel.exports.allTake(first.slot, first.owner, first.ticket);
  }

  /** @param position of the guard in the order of the claims */
  #failure(status: number, position: number): Error {
    return (this.#guards[this.#order[position] ?? 0] as Guard).failure(status);
  }
}

/** What was taken together. Disposing it gives back every part that was not settled by then. */
export class AllOfReservation<const Guards extends readonly AllOfBudget[]> extends Scoped {
  /** One for each guard, in their order; each can also be settled or released by itself. */
  readonly parts: PartsOf<Guards>;

  /** @internal */
  constructor(parts: PartsOf<Guards>) {
    super();
    this.parts = parts;
  }

  /** Gives back what is not settled yet, once. Goes on if a part fails, and then throws the first failure. */
  override release(): void {
    const failures: unknown[] = [];
    for (const part of this.parts as readonly Disposable[]) {
      try {
        part[DISPOSE]();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}

function guardAt(budget: AllOfBudget, index: number): Guard {
  const guard = guardOf(budget);
  if (guard === undefined) {
    throw invalidType(`guards[${index}]`, "a budget of this library or governor.category(…)", budget);
  }
  if (guard === null) throw invalidType(`guards[${index}]`, "made with a name or a kernel", budget);
  return guard;
}

function slotOf(guard: Guard | undefined): number {
  return (guard?.handle ?? 0) % BUDGETS_MAX;
}

/** For comparing how long a denial lasts at least. */
function durationOf(retry: RetryAdvice): number {
  if (retry === "never") return Number.POSITIVE_INFINITY;
  return retry === "when-released" ? Number.MAX_VALUE : retry.afterMs;
}
