// What a leased budget is opened with, checked. Pure. Who may call: LeasedBudget.

import { checkAmount, checkInteger, checkName, invalidType } from "../arguments.ts";
import type { LeaseRequest } from "../authority/leases.ts";
import type { HolderSurroundings } from "../authority/surroundings.ts";
import type { BudgetOptions } from "../budgets/kernel-budget.ts";
import { HOLDER_LIMITS } from "./limits.ts";
import type { PaceBounds } from "./pace.ts";

export interface SliceOptions {
  /** What is asked for first. By default some tens of model calls' worth, by unit (src/lease/limits.ts). */
  readonly first?: number;
  /** What an idle holder keeps. A tenth of the first by default. */
  readonly least?: number;
  /** What is idle here at the most; whoever waits for more gets it all the same. No bound by default. */
  readonly most?: number;
}

export interface LeasedBudgetOptions
  extends BudgetOptions,
    Pick<LeaseRequest, "subject" | "unit" | "holder" | "idempotencyKey"> {
  /** How large the slice is; between these it follows the rate at which it is spent. */
  readonly slice?: SliceOptions;
  /** How long the lease is asked for, 1,000 … 600,000; 60,000 by default. The authority may give less. */
  readonly ttlMs?: number;
  /** How often it is reported at the latest, if anything was spent. By default with each renewal: half of the time. */
  readonly reportEveryMs?: number;
  /**
   * What may be spent while the authority cannot be reached, beyond what the lease has left. It is part of the bound of
   * overspending. What was charged of it is had again once the authority lends again. 0 by default: then the lease's end is the
   * end.
   */
  readonly offlineAllowance?: number;
  /**
   * Who sees to renewals and top-ups: a timer, or the caller, who then calls `upkeep()` often and waits for it. A Worker has
   * no timers between requests: it says `caller`, and hands each request's `upkeep()` to `waitUntil`.
   */
  readonly upkeep?: "timer" | "caller";
  readonly surroundings?: HolderSurroundings;
}

/** @throws RangeError or TypeError for an option that is not what it says; kernel and name are checked by the budget */
export function checkOptions(options: LeasedBudgetOptions): PaceBounds {
  const { unit, ttlMs, reportEveryMs, offlineAllowance, holder, upkeep } = options;
  const { firstSlice, leastShare, ttlMsMin, ttlMsMax, holderLengthMax } = HOLDER_LIMITS;
  if (!Object.hasOwn(firstSlice, unit)) {
    throw invalidType("unit", `one of ${Object.keys(firstSlice).join(", ")}`, unit);
  }
  const { first = firstSlice[unit], most = Number.MAX_SAFE_INTEGER } = options.slice ?? {};
  checkInteger("slice.first", first, 1, Number.MAX_SAFE_INTEGER);
  checkInteger("slice.most", most, first, Number.MAX_SAFE_INTEGER);
  const { least = Math.ceil(first * leastShare) } = options.slice ?? {};
  checkInteger("slice.least", least, 1, first);
  if (ttlMs !== undefined) checkInteger("ttlMs", ttlMs, ttlMsMin, ttlMsMax);
  if (reportEveryMs !== undefined) checkInteger("reportEveryMs", reportEveryMs, 1, HOLDER_LIMITS.timerMsMax);
  if (offlineAllowance !== undefined) checkAmount("offlineAllowance", offlineAllowance);
  if (holder !== undefined) checkName("holder", holder, holderLengthMax);
  if (upkeep !== undefined && upkeep !== "timer" && upkeep !== "caller") {
    throw invalidType("upkeep", '"timer" or "caller"', upkeep);
  }
  return { first, least, most };
}
