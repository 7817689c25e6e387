// An executor that pays for each stage before it runs. The purse is an AtomicBudget: check and take are one step,
// so that branches, other executors on the same name and other threads can never overspend it together.
// Source: seed noether-engine, executor/budget.rs. Mended: a take that fits is never refused because a larger one is
// failing at the same moment, nothing wraps around, unknown costs can be denied, failed stages can be refunded.

import { checkAmount, checkObject, checkSignal, invalidType } from "../arguments.ts";
import { AtomicBudget } from "../budgets/atomic-budget.ts";
import type { BudgetOptions } from "../budgets/kernel-budget.ts";
import type { Awaitable } from "../budgets/traits.ts";
import { Scoped } from "../dispose.ts";
import { BudgetRemovedError } from "../errors.ts";
import type { Pinning, StageId } from "./composition.ts";
import { type CostMap, checkCosts, type UnknownCost, unknownCost } from "./costs.ts";
import { BudgetExceededError } from "./errors.ts";

/** What goes with a call. */
export interface StageContext {
  /** Aborted when the call's outcome is of no use any more: its run was aborted, or a sibling failed. */
  readonly signal?: AbortSignal;
  /** How the graph means the stage's id. */
  readonly pinning?: Pinning;
}

/** Whoever really runs stages. */
export interface StageExecutor {
  /**
   * @param input - not to be changed: siblings and the graph's constants may hold the same object
   * @throws whatever the stage fails with
   */
  execute(stageId: StageId, input: unknown, context?: StageContext): Awaitable<unknown>;
}

export interface BudgetedExecutorOptions extends BudgetOptions {
  /** Give a stage's cost back when it fails. Default false: work that failed was mostly paid for all the same. */
  readonly refundOnFailure?: boolean;
  /**
   * What a stage costs that the cost map does not have. Default: nothing. With a map of `buildCostMap` set
   * `includeFree` there, else its free stages count as unknown here.
   */
  readonly unknown?: UnknownCost;
}

/** Hears what happens to the money of one call. */
export interface CallAccount {
  /** The call was admitted; `costCents` may be 0. */
  admitted(costCents: number): void;
  refunded(): void;
}

/**
 * Runs stages within a budget. Give it a `name` and a shared `kernel`, and executors in other threads spend from the
 * same purse.
 *
 * @example
 * const executor = new BudgetedExecutor(inner, buildCostMap(graph, store, { unknown: "deny" }), 100);
 * const { output, spentCents } = await runComposition(graph, input, executor);
 */
export class BudgetedExecutor extends Scoped implements StageExecutor {
  /** The purse. One with a name stays until somebody removes it: other threads may be using it. */
  readonly budget: AtomicBudget;
  /** @internal */
  readonly inner: StageExecutor;
  readonly #costs: CostMap;
  readonly #unknownCents: number;
  readonly #refundOnFailure: boolean;
  #disposed = false;

  /**
   * @param costMap - whole cents a call, from `buildCostMap`; copied
   * @param budgetCents - safe integer, 0 … 2^53−1
   * @throws RangeError, TypeError for a bad argument; what `new AtomicBudget` throws
   */
  constructor(
    inner: StageExecutor,
    costMap: CostMap,
    budgetCents: number,
    options: BudgetedExecutorOptions = {},
  ) {
    super();
    if (typeof (inner as Partial<StageExecutor> | null | undefined)?.execute !== "function") {
      throw invalidType("inner", "a StageExecutor with execute", inner);
    }
    checkCosts("costMap", costMap);
    checkAmount("budgetCents", budgetCents);
    checkObject("options", options);
    const { refundOnFailure = false, unknown, ...budgetOptions } = options;
    if (typeof refundOnFailure !== "boolean") {
      throw invalidType("refundOnFailure", "a boolean", refundOnFailure);
    }
    this.#unknownCents = unknown === undefined ? 0 : unknownCost("unknown", unknown);
    this.#refundOnFailure = refundOnFailure;
    this.inner = inner;
    this.#costs = new Map(costMap);
    this.budget = new AtomicBudget(budgetCents, budgetOptions);
  }

  /** All that was spent from the budget, by whichever executor or thread. May be late. */
  get spentCents(): number {
    return this.budget.capacity - this.budget.available;
  }

  get budgetCents(): number {
    return this.budget.capacity;
  }

  /** What a call of that stage, or of the remote stage at that URL, is charged. */
  costOf(stageId: StageId): number {
    return this.#costs.get(stageId) ?? this.#unknownCents;
  }

  /**
   * Pays for the stage, then runs it. A stage that fails stays paid unless `refundOnFailure`.
   *
   * @throws BudgetExceededError if its cost does not fit; it was not called then, and nothing was taken
   * @throws the signal's reason if it was aborted before, and nothing was taken either
   */
  async execute(stageId: StageId, input: unknown, context: StageContext = {}): Promise<unknown> {
    if (typeof stageId !== "string") throw invalidType("stageId", "a string", stageId);
    checkObject("context", context);
    checkSignal("signal", context.signal);
    const { pinning } = context;
    if (pinning !== undefined && pinning !== "signature" && pinning !== "both") {
      throw invalidType("pinning", '"signature" or "both"', pinning);
    }
    context.signal?.throwIfAborted();
    return this.payFor(stageId, () => this.inner.execute(stageId, input, context));
  }

  /** @internal Pays the cost of `key`, then does the work. */
  async payFor<T>(key: StageId, work: () => Awaitable<T>, account?: CallAccount): Promise<T> {
    const costCents = this.costOf(key);
    if (costCents > 0) this.#take(key, costCents);
    account?.admitted(costCents);
    try {
      return await work();
    } catch (failure) {
      if (costCents > 0 && this.#refundOnFailure) {
        this.#giveBack(costCents);
        account?.refunded();
      }
      throw failure;
    }
  }

  /**
   * Removes a purse without a name, which nobody else can spend from. Left undone, the slot that it took of a
   * given kernel is free again only when the executor has been collected. Calling it again does nothing more.
   */
  override release(): void {
    if (this.#disposed || this.budget.name !== "") return;
    this.#disposed = true;
    this.budget.remove();
  }

  #take(stageId: StageId, costCents: number): void {
    if (Number.isFinite(costCents) && this.budget.tryReserve(costCents)) return;
    const { spentCents, budgetCents } = this;
    throw new BudgetExceededError({ spentCents, budgetCents, stageId, costCents });
  }

  /** The stage's failure is what the caller must hear of, not that its purse is gone meanwhile. */
  #giveBack(costCents: number): void {
    try {
      this.budget.release(costCents);
    } catch (error) {
      if (!(error instanceof BudgetRemovedError)) throw error;
    }
  }
}
