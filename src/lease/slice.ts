// A leased budget as one thread spends from it: a token budget of the kernel that some thread supplies from a lease.
// Invariant: what is granted here is within what the holder put in, because the kernel decides; this only counts along, and
// looks now and then whether the slice runs low. What `tryReserve` took here is released here. Who may call: anyone who
// has it; the holder makes its own.

import { checkAmount, isAmount } from "../arguments.ts";
import { type AmountRange, checkRange } from "../budgets/amount-range.ts";
import { AtomicTokenBudget, type ReserveOptions } from "../budgets/atomic-token-budget.ts";
import { KernelCounter } from "../budgets/kernel-counter.ts";
import type { TokenReservation } from "../budgets/token-reservation.ts";
import type { BudgetGuard, ExplainsDenial, TokenBudget } from "../budgets/traits.ts";
import type { DeniedFigures } from "../denial.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { supplyState, tellSupplier } from "../kernel/supply.ts";
import { type LeaseDenial, leaseDenial } from "./denial.ts";
import { HOLDER_LIMITS } from "./limits.ts";

/**
 * What a holder wants to hear of from its slice. Plain fields, because every take and every return looks at them: a call that
 * comes to nothing costs a decision more than all that this file counts.
 */
export class Attention {
  /** Each take, before it is made: the lease's end is no end for the authority's money. */
  takes = false;
  /** Each return: somebody waits for it, or the closed lease is settled by it. */
  returns = false;
}

/** Who is told what a slice sees: the holder in its own thread, the kernel's word for it in every other. */
export interface SliceListener {
  readonly attention: Attention;
  /** Something is about to be taken. */
  taking(): void;
  /** Something came back, or a call under way has ended. */
  cameBack(): void;
  /** Some part of the slice was taken since the last look. */
  looked(available: number): void;
  /** A take of so much was refused. */
  refused(amount: number): void;
  denial(figures: DeniedFigures): LeaseDenial;
}

export class LeasedSlice implements BudgetGuard, TokenBudget, ExplainsDenial {
  /** @internal */
  readonly local: AtomicTokenBudget;
  readonly #listener: SliceListener;
  readonly #attention: Attention;
  /** What may be taken before the next look; each decision counts for at least `#step`. */
  #untilLook = 0;
  #step = 1;
  #taken = 0;
  #decisions = 0;
  #overReleased = 0;

  /** @internal */
  constructor(local: AtomicTokenBudget, listener: SliceListener) {
    this.local = local;
    this.#listener = listener;
    this.#attention = listener.attention;
  }

  /** How many takes were granted here. */
  get decisions(): number {
    return this.#decisions;
  }

  /** What can be taken at this moment without asking anybody. */
  get available(): number {
    return this.local.available;
  }

  /** What was spent beyond the slice, by calls that used more than their estimate, and is not covered so far. */
  get debt(): number {
    return this.local.debt;
  }

  /** What was released here beyond what was taken here. Anything but 0 is a bug in some caller. */
  get overReleased(): number {
    return this.#overReleased;
  }

  /** What `tryReserve` took here and nobody released. Counts as spent once the budget is closed. */
  get taken(): number {
    return this.#taken;
  }

  /**
   * Takes `estimate` from the slice if it fits, of a range as much as fits; asks nobody.
   * @param estimate - in the lease's unit; safe integer, 0 … 2^53−1, or a range
   * @returns null when it does not fit; `explainDenial` says why
   */
  tryReserveTokens(estimate: number | AmountRange, options?: ReserveOptions): TokenReservation | null {
    if (this.#attention.takes) this.#listener.taking();
    const reservation = this.local.tryReserveTokens(estimate, options);
    if (reservation === null) this.#listener.refused(wantOf(estimate));
    else this.granted(reservation.estimate);
    return reservation;
  }

  /** Settles a reservation with what was really used, as `AtomicTokenBudget.recordUsage`. */
  recordUsage(reservation: TokenReservation, promptTokens: number, completionTokens: number): void {
    this.local.recordUsage(reservation, promptTokens, completionTokens);
    if (this.#attention.returns) this.#listener.cameBack();
  }

  /**
   * Gives back what expires at or before `nowMs`, as `AtomicTokenBudget.expire` does: for a budget in a kernel this serves
   * all the kernel's budgets. @returns how many reservations that were
   */
  expire(nowMs: number): number {
    const expired = this.local.expire(nowMs);
    if (expired > 0 && this.#attention.returns) this.#listener.cameBack();
    return expired;
  }

  /** Takes `cost` from the slice if it fits. It is spent unless this thread releases it. */
  tryReserve(cost: number): boolean;
  /** Takes as much as fits of a range. @returns what was taken; null if less than `min` fits */
  tryReserve(range: AmountRange): number | null;
  tryReserve(cost: number | AmountRange): boolean | number | null {
    const isOne = isAmount(cost);
    if (!isOne) checkRange("cost", cost);
    if (this.#attention.takes) this.#listener.taking();
    const taken = this.local.counter.fit(isOne ? { want: cost, min: cost } : cost);
    if (taken === null) this.#listener.refused(wantOf(cost));
    else {
      this.#taken += taken;
      this.granted(taken);
    }
    return isOne ? taken !== null : taken;
  }

  /** Gives back what `tryReserve` took here; what goes beyond that is counted in `overReleased`. */
  release(cost: number): void {
    checkAmount("cost", cost);
    const given = Math.min(cost, this.#taken);
    this.local.counter.give(given);
    this.#taken -= given;
    this.#overReleased += cost - given;
    if (this.#attention.returns) this.#listener.cameBack();
  }

  /** All that was spent by settled reservations, of all threads. */
  tokensConsumed(): number {
    return this.local.tokensConsumed();
  }

  /** Why `amount` does not fit now, and whose doing it is. */
  explainDenial(amount: number): LeaseDenial {
    checkAmount("amount", amount);
    const { scope, requested, available, held, debt } = this.local.explainDenial(amount);
    // The slice's own limit: what it has now, and what calls under way have of it. What went back is none of it.
    const spent = this.local.tokensConsumed();
    const limit = available + held + spent - debt;
    return this.#listener.denial({ scope, requested, limit, available, spent, held, debt });
  }

  /** @internal What was taken here is spent, and can no longer be released. */
  spendTaken(): void {
    this.#taken = 0;
  }

  /** @internal So much was taken here, by this object or by `allOf`. */
  granted(amount: number): void {
    this.#decisions++;
    this.#untilLook -= amount + this.#step;
    if (this.#untilLook < 0) this.#look();
  }

  #look(): void {
    const { available } = this.local;
    this.#listener.looked(available);
    this.#untilLook = available / HOLDER_LIMITS.looksPerSlice;
    this.#step = Math.max(1, this.#untilLook / HOLDER_LIMITS.decisionsPerLook);
  }
}

/** What a refusal asks the authority for. */
function wantOf(amount: number | AmountRange): number {
  return typeof amount === "number" ? amount : amount.want;
}

/** @internal The slice of a thread that is not the holder's. */
export function attachSlice(kernel: Kernel, name: string): LeasedSlice {
  const local = new AtomicTokenBudget(0, { kernel, name });
  const { counter } = local;
  if (!(counter instanceof KernelCounter))
    throw new Error("a budget of a kernel is no local one: a bug in purser");
  const { handle } = counter;
  /** The holder is told each time that half of what there was is gone. */
  let mark = 0;
  return new LeasedSlice(local, {
    looked(available) {
      if (available > mark) mark = available;
      if (available > mark / 2) return;
      mark = available;
      tellSupplier(kernel, handle);
    },
    // The lease's end is the holder's to see: its timer takes back what is idle, and looks for what came back.
    attention: new Attention(),
    taking: () => undefined,
    cameBack: () => undefined,
    // The kernel's counter has told the holder.
    refused: () => undefined,
    denial: (figures) => leaseDenial(figures, supplyState(kernel, handle)),
  });
}
