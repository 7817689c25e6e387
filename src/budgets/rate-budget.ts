// A rate: at most so many tokens or requests per window, with a burst, in one word of the kernel, shared by every thread
// that opens its name. Invariant: over any stretch of time t, granted ≤ burst + limit · t / window; exactly, in integers.
// It reads no clock of its own: threads that share a rate must bring the same one (`Date.now`, not `performance.now`).

import {
  checkAmount,
  checkClock,
  checkInteger,
  checkName,
  checkObject,
  invalidArgument,
  invalidInteger,
  isAmount,
} from "../arguments.ts";
import type { Denial } from "../denial.ts";
import * as Status from "../kernel/generated/Status.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { openInOrPrivately } from "../kernel/private-kernel.ts";
import { type AmountRange, checkRange } from "./amount-range.ts";
import { amountGuard, type Guard, type Guarded, TakenCost } from "./guard.ts";
import { type BudgetOptions, checkKernel, NAME_LENGTH_MAX } from "./kernel-budget.ts";
import type { BudgetGuard, ExplainsDenial } from "./traits.ts";

export interface RateLimits {
  /** How much per window; integer, 1 … 2^32−1, at most 2^20 once it and `windowMs` are reduced by their common divisor. */
  readonly limit: number;
  /** How long a window is, in milliseconds; integer, 1 … 2^32−1. */
  readonly windowMs: number;
  /** How much may be taken at once after a pause; integer, 0 … 2^53−1. Default: `limit`. */
  readonly burst?: number;
}

export interface RateOptions extends BudgetOptions {
  /** The clock, in milliseconds; the same for all threads that share the rate. Fractions are cut off. */
  readonly now: () => number;
}

/** The burst in scaled time must stay below 2^62. */
const SCALED_MAX = 2 ** 62;

/** With a larger one, scaled times of the epoch would reach 2^62 before the year 2109. */
const REDUCED_LIMIT_MAX = 2 ** 20;

/**
 * Requests or tokens per window, as every provider has them.
 *
 * @example
 * const requests = new RateBudget({ limit: 500, windowMs: 60_000, burst: 20 }, { now: Date.now });
 * if (!requests.tryReserve(1)) await sleep(requests.retryAfterMs(1) ?? 0);
 */
export class RateBudget implements BudgetGuard, ExplainsDenial, Guarded<TakenCost> {
  readonly limit: number;
  readonly windowMs: number;
  readonly burst: number;
  /** The name that threads share it by; empty for a private rate. */
  readonly name: string;
  readonly #kernel: Kernel;
  readonly #handle: number;
  readonly #now: () => number;
  readonly #isPrivate: boolean;

  /**
   * @throws RangeError, TypeError for a bad argument
   * @throws BudgetMismatchError if the name is taken by something else, or by a rate with other figures
   * @throws KernelFullError if the kernel has no slot left
   */
  constructor(limits: RateLimits, options: RateOptions) {
    checkObject("limits", limits);
    checkObject("options", options);
    const { limit, windowMs, burst = limit } = limits;
    checkInteger("limit", limit, 1, 2 ** 32 - 1);
    checkInteger("windowMs", windowMs, 1, 2 ** 32 - 1);
    checkAmount("burst", burst);
    const { now, kernel, name } = options;
    checkClock("now", now);
    if (name !== undefined) checkName("name", name, NAME_LENGTH_MAX);
    checkKernel(kernel);
    const divisor = greatestCommonDivisor(limit, windowMs);
    if (limit / divisor > REDUCED_LIMIT_MAX) {
      const rule = `a number that windowMs (${windowMs}) reduces to ${REDUCED_LIMIT_MAX} at most, as round figures do`;
      throw invalidArgument("limit", rule, limit);
    }
    const burstMax = Math.min(Number.MAX_SAFE_INTEGER, Math.floor(SCALED_MAX / (windowMs / divisor)));
    if (burst > burstMax) throw invalidInteger("burst", burst, 0, burstMax);
    this.limit = limit;
    this.windowMs = windowMs;
    this.burst = burst;
    this.name = name ?? "";
    this.#now = now;
    this.#isPrivate = name === undefined && kernel === undefined;
    const opened = openInOrPrivately(options, (candidate, key) =>
      candidate.open("rate", key, (high, low) =>
        candidate.exports.rateOpen(high, low, burst, limit / divisor, windowMs / divisor, candidate.owner),
      ),
    );
    this.#kernel = opened.kernel;
    this.#handle = opened.handle;
    if (name === undefined) this.#kernel.removeWhenUnreachable(this, this.#handle);
  }

  /**
   * Takes `cost` if the rate allows it now. A clock that went back grants nothing.
   * @param cost - safe integer, 0 … 2^53−1
   */
  tryReserve(cost: number): boolean;
  /**
   * Takes as much of a range as the rate allows now.
   * @returns what was taken, which may be 0 if `min` is; null if that is less than `min`
   */
  tryReserve(range: AmountRange): number | null;
  tryReserve(cost: number | AmountRange): boolean | number | null {
    if (!isAmount(cost)) return this.#fit(cost);
    const status = this.#kernel.exports.rateTake(this.#handle, cost, this.#time());
    if (status === Status.Ok) return true;
    if (status === Status.Exceeds) return false;
    throw this.#failure(status);
  }

  #fit(range: AmountRange): number | null {
    checkRange("cost", range);
    const answer = this.#kernel.exports.rateFit(this.#handle, range.min, range.want, this.#time());
    if (answer >= 0) return answer;
    if (answer === -Status.Exceeds) return null;
    throw this.#failure(-answer);
  }

  /** Gives back a cost that was granted and then not used. */
  release(cost: number): void {
    checkAmount("cost", cost);
    const status = this.#kernel.exports.rateGive(this.#handle, cost);
    if (status !== Status.Ok) throw this.#failure(status);
  }

  /**
   * How long until `cost` fits if nobody else takes, in milliseconds, exactly: one millisecond earlier it does not.
   * @returns 0 if it fits now; null if it is more than the burst and never fits
   */
  retryAfterMs(cost: number): number | null {
    checkAmount("cost", cost);
    return this.#waitMs(cost, this.#time());
  }

  #waitMs(cost: number, nowMs: number): number | null {
    const wait = this.#kernel.exports.rateWait(this.#handle, cost, nowMs);
    if (wait === -Status.Exceeds) return null;
    if (wait < 0) throw this.#failure(-wait);
    return wait;
  }

  /** What fits at this moment. May be late. */
  get available(): number {
    return this.#availableAt(this.#time());
  }

  #availableAt(nowMs: number): number {
    const available = this.#kernel.exports.rateAvailable(this.#handle, nowMs);
    if (available < 0) throw this.#failure(-available);
    return available;
  }

  /** Why `cost` does not fit now, and when it will. */
  explainDenial(cost: number): Denial {
    checkAmount("cost", cost);
    const nowMs = this.#time();
    return this.#denial(cost, nowMs, this.#waitMs(cost, nowMs));
  }

  #denial(cost: number, nowMs: number, afterMs: number | null): Denial {
    const figures = {
      scope: this.name,
      requested: cost,
      limit: this.burst,
      available: this.#availableAt(nowMs),
      spent: 0,
      held: 0,
      debt: 0,
    };
    return afterMs === null
      ? { code: "TOO_LARGE_EVER", ...figures, retry: "never" }
      : { code: "RATE", ...figures, retry: { afterMs } };
  }

  asGuard(): Guard<TakenCost> | null {
    if (this.#isPrivate) return null;
    const place = {
      kernel: this.#kernel,
      handle: this.#handle,
      keepsHold: false,
      time: () => this.#time(),
      part: (cost: number) => new TakenCost(cost, () => this.release(cost)),
      failure: (status: number) => this.#failure(status),
    };
    return amountGuard(place, (cost) => {
      const nowMs = this.#time();
      const afterMs = this.#waitMs(cost, nowMs);
      return afterMs === 0 ? null : this.#denial(cost, nowMs, afterMs);
    });
  }

  /** Removes the rate for every thread; the name can be opened anew. */
  remove(): void {
    const status = this.#kernel.removeBudget(this.#handle);
    if (status !== Status.Ok) throw this.#failure(status);
  }

  #time(): number {
    const nowMs = Math.floor(this.#now());
    checkAmount("now()", nowMs);
    return nowMs;
  }

  #failure(status: number): Error {
    if (status === Status.TimeInvalid)
      return invalidInteger("now()", this.#now(), 0, Math.floor(SCALED_MAX / this.limit));
    return this.#kernel.failure(status, this.name === "" ? "this rate" : `rate "${this.name}"`);
  }
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
