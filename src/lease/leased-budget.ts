// A budget that an authority lends, and that this thread and every other thread of its kernel spend from without asking.
// Invariant: a decision is the kernel's, over what the authority has set aside; the calls to the authority are made beside
// (keeper.ts says when, holder.ts with what). Who may call: anyone; one object a lease, in the thread that opened it.

import { checkInteger, isAmount } from "../arguments.ts";
import type { LeaseAuthority } from "../authority/leases.ts";
import { type HolderSurroundings, onPage, platformWith } from "../authority/surroundings.ts";
import { type AmountRange, checkRange, leastOf } from "../budgets/amount-range.ts";
import { AtomicTokenBudget, type ReserveOptions } from "../budgets/atomic-token-budget.ts";
import { type Guard, type Guarded, guardOf } from "../budgets/guard.ts";
import { KernelCounter } from "../budgets/kernel-counter.ts";
import type { TokenReservation } from "../budgets/token-reservation.ts";
import type { BudgetGuard, ExplainsDenial, TokenBudget } from "../budgets/traits.ts";
import { AsyncScoped } from "../dispose-async.ts";
import { BudgetMismatchError } from "../errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { claimSupply, isAbandoned } from "../kernel/supply.ts";
import { type LeaseDenial, leaseDenial, SUPPLY } from "./denial.ts";
import { type Exposure, exposureOf } from "./exposure.ts";
import { Holder } from "./holder.ts";
import { Keeper } from "./keeper.ts";
import { HOLDER_LIMITS } from "./limits.ts";
import { checkOptions, type LeasedBudgetOptions } from "./options.ts";
import { Attention, attachSlice, LeasedSlice } from "./slice.ts";
import type { Reserved } from "./waiters.ts";

export interface LeasedReserveOptions extends ReserveOptions {
  /** Aborting rejects with the signal's reason; nothing was taken then. */
  readonly signal?: AbortSignal;
  /** How long to wait for a top-up or a release at the most; 30,000 by default. */
  readonly maxWaitMs?: number;
}

export class LeasedBudget
  extends AsyncScoped
  implements BudgetGuard, TokenBudget, ExplainsDenial, Guarded<TokenReservation>
{
  readonly #options: LeasedBudgetOptions;
  readonly #surroundings: Required<HolderSurroundings>;
  readonly #local: AtomicTokenBudget;
  readonly #slice: LeasedSlice;
  readonly #holder: Holder;
  readonly #keeper: Keeper;
  /** What was consumed under the name before this object. */
  readonly #consumedBefore: number;

  /**
   * Opens a lease, and the budget that is spent from it.
   *
   * @param authority - an `HttpAuthority`, an `RpcAuthority`, a `LocalAuthority`, or a holder that lends on
   * @returns the budget; if the authority has nothing to lend just now, one that denies until it has
   * @throws AuthorityError if the authority cannot be reached, or refuses; with the same `idempotencyKey` it can be tried
   * again, and no lease is lost
   * @throws BudgetMismatchError if another LeasedBudget supplies this name, or it is a budget of another kind
   * @example
   * await using budget = await LeasedBudget.open(authority, { unit: "TOKENS", subject: { agent: "writer" } });
   * const text = await withTokens(budget, 1_200, callTheModel);
   */
  static async open(authority: LeaseAuthority, options: LeasedBudgetOptions): Promise<LeasedBudget> {
    const budget = new LeasedBudget(authority, options);
    await budget.#keeper.begin();
    return budget;
  }

  /**
   * The budget of that name in another thread of the kernel. It asks nobody: the thread that opened the lease tops it up,
   * and hears when it is short. (A plain `new AtomicTokenBudget(0, { kernel, name })` is the same budget, without
   * `tryReserve` and without reasons.)
   */
  static attach(kernel: Kernel, name: string): LeasedSlice {
    return attachSlice(kernel, name);
  }

  private constructor(authority: LeaseAuthority, options: LeasedBudgetOptions) {
    super();
    const bounds = checkOptions(options);
    const { kernel, name, subject, unit, holder, ttlMs = HOLDER_LIMITS.ttlMs } = options;
    const surroundings = { onPage, ...platformWith(options.surroundings ?? {}), ...options.surroundings };
    const clock = () => ({ monotonicMs: surroundings.monotonicNow(), wallMs: surroundings.now() });
    this.#options = options;
    this.#surroundings = surroundings;
    this.#local = new AtomicTokenBudget(0, {
      ...(kernel && { kernel }),
      ...(name !== undefined && { name }),
    });
    const shared = claimed(this.#local);
    this.#consumedBefore = this.#local.tokensConsumed();
    const attention = new Attention();
    this.#slice = new LeasedSlice(this.#local, {
      attention,
      taking: () => this.#keeper.taking(),
      cameBack: () => this.#keeper.cameBack(),
      looked: (available) => this.#keeper.looked(available),
      refused: (amount) => this.#keeper.refused(amount),
      denial: (figures) => {
        const keeper = this.#keeper;
        const known = { shortage: keeper.shortageOf(figures.requested), retryAfterMs: keeper.retryAfterMs };
        return leaseDenial(figures, keeper.supplyFor(figures.requested), known);
      },
    });
    const terms = {
      unit,
      ttlMs,
      ...(subject !== undefined && { subject }),
      ...(holder !== undefined && { holder }),
    };
    const { newKey } = surroundings;
    const decisions = () => this.#slice.decisions;
    this.#holder = new Holder(
      { authority, terms, local: this.#local, bounds, clock, newKey, decisions, attention },
      options.idempotencyKey,
    );
    this.#keeper = new Keeper({
      holder: this.#holder,
      local: this.#local,
      shared,
      attention,
      surroundings,
      clock,
      reportEveryMs: options.reportEveryMs,
      offlineAllowance: options.offlineAllowance ?? 0,
      usesTimer: options.upkeep !== "caller",
    });
  }

  // ---- spending --------------------------------------------------------------------------------------------------

  /**
   * Takes `estimate` from the slice if it fits, of a range as much as fits, at once and without asking anybody.
   *
   * @param estimate - in the lease's unit; safe integer, 0 … 2^53−1, or a range
   * @returns null when it does not fit; `explainDenial` says whose doing it is, and more is being asked for
   */
  tryReserveTokens(estimate: number | AmountRange, options?: ReserveOptions): TokenReservation | null {
    return this.#slice.tryReserveTokens(estimate, options);
  }

  /**
   * Takes `estimate`; if it does not fit (of a range, if its `min` does not), waits for a top-up or for what calls under
   * way give back. Who waits is served in the order of coming.
   *
   * @throws the signal's reason if that comes first
   * @example
   * const held = await budget.reserve(1_200, { signal, maxWaitMs: 5_000 });
   * if (!held.ok) return held.denial.reason;
   * using reservation = held.reservation;
   */
  async reserve(
    estimate: number | AmountRange,
    { signal, maxWaitMs = HOLDER_LIMITS.maxWaitMs, expiresAtMs }: LeasedReserveOptions = {},
  ): Promise<Reserved> {
    checkInteger("maxWaitMs", maxWaitMs, 0, HOLDER_LIMITS.timerMsMax);
    if (!isAmount(estimate)) checkRange("estimate", estimate);
    signal?.throwIfAborted();
    const keeper = this.#keeper;
    const least = leastOf(estimate);
    const options = expiresAtMs === undefined ? {} : { expiresAtMs };
    if (keeper.waiters.size === 0) {
      const reservation = this.tryReserveTokens(estimate, options);
      if (reservation !== null) return { ok: true, reservation };
    }
    const denial = () => this.explainDenial(least);
    if (maxWaitMs === 0 || !keeper.isOpen) return { ok: false, denial: denial() };
    const reserved = keeper.waiters.join({
      estimate: least,
      signal,
      wait: (until) => this.#wait(maxWaitMs, until),
      take: () => (this.#fits(least) ? this.tryReserveTokens(estimate, options) : null),
      denial,
    });
    keeper.wake();
    return reserved;
  }

  /** Settles a reservation with what was really used, as `AtomicTokenBudget.recordUsage` does. */
  recordUsage(reservation: TokenReservation, promptTokens: number, completionTokens: number): void {
    this.#slice.recordUsage(reservation, promptTokens, completionTokens);
  }

  /**
   * Gives back what expires at or before `nowMs`, in the clock that set `expiresAtMs`; nobody else does. For a budget in a
   * kernel this is `kernel.expire(nowMs)`, which serves all the kernel's budgets. @returns how many reservations that were
   */
  expire(nowMs: number): number {
    return this.#slice.expire(nowMs);
  }

  /** Takes `cost` from the slice if it fits. It counts as held until it is released, and as spent if it never is. */
  tryReserve(cost: number): boolean;
  /** Takes as much as fits of a range. @returns what was taken; null if less than `min` fits */
  tryReserve(range: AmountRange): number | null;
  tryReserve(cost: number | AmountRange): boolean | number | null {
    return typeof cost === "number" ? this.#slice.tryReserve(cost) : this.#slice.tryReserve(cost);
  }

  /** Gives back what `tryReserve` took through this object; what goes beyond that is counted in `overReleased`. */
  release(cost: number): void {
    this.#slice.release(cost);
  }

  /** Why `amount` does not fit now, and whose doing it is. */
  explainDenial(amount: number): LeaseDenial {
    return this.#slice.explainDenial(amount);
  }

  /** For `allOf`; null if the budget is private: opened with neither a name nor a kernel. */
  asGuard(): Guard<TokenReservation> | null {
    const guard = guardOf(this.#local) as Guard<TokenReservation> | null;
    if (guard === null) return null;
    return {
      ...guard,
      time: (expiresAtMs) => {
        this.#keeper.taking();
        return guard.time(expiresAtMs);
      },
      part: (estimate, hold) => {
        this.#slice.granted(estimate);
        return guard.part(estimate, hold);
      },
      refused: (estimate) => this.#keeper.refused(estimate),
      denial: (estimate) => (this.#fits(estimate) ? null : this.explainDenial(estimate)),
    };
  }

  // ---- figures ---------------------------------------------------------------------------------------------------

  /** The name that threads share it by; empty for a private budget. */
  get name(): string {
    return this.#local.name;
  }

  /** What can be taken at this moment without asking anybody. */
  get available(): number {
    return this.#local.available;
  }

  /** What calls have used beyond their estimates and the slice, and no grant has covered so far. */
  get debt(): number {
    return this.#local.debt;
  }

  /** All that settled reservations have spent, of all threads. */
  tokensConsumed(): number {
    return this.#local.tokensConsumed() - this.#consumedBefore;
  }

  /** How many takes were granted through this object. */
  get decisions(): number {
    return this.#slice.decisions;
  }

  /** How often the authority was asked. */
  get authorityCalls(): number {
    return this.#holder.calls;
  }

  /** What was released here beyond what was taken here. Anything but 0 is a bug in some caller. */
  get overReleased(): number {
    return this.#slice.overReleased;
  }

  /** What the last call to the authority failed with, if it did. */
  get lastError(): unknown {
    return this.#keeper.lastError;
  }

  /** The most that could be spent beyond the authority's knowledge at this moment, and why. */
  exposure(): Exposure {
    const { book, onExpiry } = this.#holder;
    const { unit, offlineAllowance = 0 } = this.#options;
    const mayLend = this.#keeper.isOpen ? offlineAllowance : 0;
    return exposureOf(unit, book.untold, [
      { code: "OFFLINE_ALLOWANCE", amount: Math.max(mayLend, book.lent) },
      { code: "REFUND_POLICY", amount: onExpiry === "refund" ? book.untold : 0 },
      { code: "USAGE_BEYOND_ESTIMATE", amount: this.#local.debt + book.uncharged },
    ]);
  }

  // ---- upkeep and end --------------------------------------------------------------------------------------------

  /**
   * Does what is due: a report, a top-up, the lease's end; at once if nothing is. For budgets with `upkeep: "caller"`. In
   * a Worker, in each request: `ctx.waitUntil(budget.upkeep())`.
   */
  upkeep(): Promise<void> {
    return this.#keeper.upkeep();
  }

  /**
   * Reports, and gives back what is left; nothing is granted from here on, in any thread. What calls under way have taken
   * stays set aside, and is reported as they end; what `tryReserve` took is spent.
   *
   * @throws AuthorityError if the authority could not be told: then it can be tried again, or left to the lease's end
   */
  close(): Promise<void> {
    this.#slice.spendTaken();
    return this.#keeper.close();
  }

  /** Closes it. */
  override dispose(): Promise<void> {
    return this.close();
  }

  /** Without a timer of the keeper's, who waits looks himself for what came back without a word. */
  async #wait(maxWaitMs: number, until: AbortSignal): Promise<void> {
    const { sleep, monotonicNow } = this.#surroundings;
    if (this.#options.upkeep !== "caller") return sleep(maxWaitMs, until);
    const endMs = monotonicNow() + maxWaitMs;
    for (let leftMs = maxWaitMs; leftMs > 0; leftMs = endMs - monotonicNow()) {
      await sleep(Math.min(leftMs, HOLDER_LIMITS.lookMs), until);
      this.#keeper.look();
    }
  }

  #fits(amount: number): boolean {
    return amount <= this.#local.available && this.#local.debt === 0;
  }
}

/** Makes the caller the one who supplies a budget. @returns where other threads find it */
function claimed(local: AtomicTokenBudget): KernelCounter | null {
  const { counter } = local;
  if (!(counter instanceof KernelCounter)) return null;
  const { kernel, handle } = counter;
  const wasAbandoned = isAbandoned(kernel, handle);
  // One that was closed has nothing idle and nothing under way: its name can be opened again.
  const isIdle = wasAbandoned || local.available === 0;
  // What calls used beyond a dead one's lease nobody has charged: the next lease pays for it first, and reports it.
  const isPaid = wasAbandoned || local.debt === 0;
  const isAtRest = isIdle && isPaid && local.openReservations === 0;
  if (isAtRest && claimSupply(kernel, handle, SUPPLY.good)) {
    // What a supplier that died has left idle is charged, or was given back, with its lease: nobody is to spend it under
    // another. Only once it is claimed, since what was claimed by somebody else meanwhile is his.
    if (wasAbandoned) counter.fit({ min: 0, want: Number.MAX_SAFE_INTEGER });
    return counter;
  }
  throw new BudgetMismatchError(
    `budget ${JSON.stringify(local.name)} is supplied by another LeasedBudget, or has budget of its own`,
  );
}
