// How many streams, tool calls and other operations run at once: a limit per category and one for all of them together.
// Invariant: a permit counts in its category and in the total, both at once or not at all, so whoever waits for a tool
// slot holds nothing that a stream could use. Within a category permits go out in the order of the requests, over all
// threads, and nobody passes those who wait for it. Where the total is what is full, one object's line is fair to all
// categories; another object of the name (another thread's) that asks for another category may pass.
// Source: seed ConcurrencyGovernor; there the total was taken first and held while waiting for the category.

import { checkInteger, checkName, checkObject, checkSignal, invalidType } from "../arguments.ts";
import type { Guard, Guarded } from "../budgets/guard.ts";
import { checkKernel, NAME_LENGTH_MAX } from "../budgets/kernel-budget.ts";
import type { Denial } from "../denial.ts";
import * as Status from "../kernel/generated/Status.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { openInOrPrivately } from "../kernel/private-kernel.ts";
import { type Category, type GovernorLimits, layOut } from "./governor-limits.ts";
import {
  type AcquireOptions,
  ConcurrencyError,
  type ConcurrencyPermit,
  PermitLine,
  TIMEOUT_MS_MAX,
} from "./permit-line.ts";

export interface GovernorOptions {
  readonly kernel?: Kernel;
  /** Threads that open the same name in one kernel share its permits. */
  readonly name?: string;
}

/** One category at a moment. May be late. */
export interface CategoryStats {
  readonly available: number;
  readonly max: number;
  /** Requests in line, over all threads. */
  readonly waiting: number;
}

/** A governor at a moment. May be late. */
export interface GovernorStats {
  readonly streamsAvailable: number;
  readonly streamsMax: number;
  readonly streamsWaiting: number;
  readonly toolsAvailable: number;
  readonly toolsMax: number;
  readonly toolsWaiting: number;
  readonly globalAvailable: number;
  readonly globalMax: number;
  readonly categories: Readonly<Record<string, CategoryStats>>;
}

/**
 * Bounds what runs at once.
 *
 * @example
 * const governor = new ConcurrencyGovernor({ streams: 4, tools: 8, total: 16 });
 * const result = await governor.withTool(() => runTool(call));
 */
export class ConcurrencyGovernor {
  readonly #kernel: Kernel;
  readonly #handle: number;
  readonly #total: Category;
  readonly #categories = new Map<string, Category>();
  readonly #line: PermitLine;
  #closed = false;
  readonly #isPrivate: boolean;

  /**
   * @throws RangeError, TypeError for a limit that is no integer in 0 … 1,000,000, or for limits that need over 54 bits
   * @throws BudgetMismatchError if the name is taken by other limits, or by the same ones for other categories
   * @throws KernelFullError if the kernel has no slot left
   */
  constructor(limits: GovernorLimits, options: GovernorOptions = {}) {
    const layout = layOut(limits);
    checkObject("options", options);
    if (options.name !== undefined) checkName("name", options.name, NAME_LENGTH_MAX);
    checkKernel(options.kernel);
    this.#total = layout.total;
    for (const category of layout.categories) this.#categories.set(category.name, category);
    this.#isPrivate = options.name === undefined && options.kernel === undefined;
    const opened = openInOrPrivately(
      options,
      (kernel, name) =>
        kernel.open("governor", name, (high, low) =>
          kernel.exports.permitOpen(high, low, layout.limits, layout.guards, layout.names, kernel.owner),
        ),
      layout.total.limit,
    );
    this.#kernel = opened.kernel;
    this.#handle = opened.handle;
    this.#line = new PermitLine(opened.kernel, opened.handle, this.#isPrivate);
    // The line, not the governor: permits that are out and whoever waits have the line and go on without the governor.
    if (options.name === undefined) this.#kernel.removeWhenUnreachable(this.#line, this.#handle);
  }

  /** Four streams, eight tools, sixteen operations in all. */
  static withDefaults(options: GovernorOptions = {}): ConcurrencyGovernor {
    return new ConcurrencyGovernor({ streams: 4, tools: 8, total: 16 }, options);
  }

  /** A stream's permit, as soon as one is free. @see {@link acquire} */
  acquireStream(options?: AcquireOptions): Promise<ConcurrencyPermit> {
    return this.acquire("streams", options);
  }

  /** A tool's permit, as soon as one is free. @see {@link acquire} */
  acquireTool(options?: AcquireOptions): Promise<ConcurrencyPermit> {
    return this.acquire("tools", options);
  }

  tryAcquireStream(): ConcurrencyPermit | null {
    return this.tryAcquire("streams");
  }

  tryAcquireTool(): ConcurrencyPermit | null {
    return this.tryAcquire("tools");
  }

  /**
   * A permit of a category, now or as soon as its turn comes. In a Worker a request may end while it waits: what it had in line,
   * or was given, comes back within seconds. A permit that it holds when it ends does not: hold it in what `ctx.waitUntil` awaits.
   *
   * @throws RangeError, TypeError for a category that there is not, or bad options
   * @throws ConcurrencyError `closed`, `timeout`; the signal's reason when it is aborted. No trace is left then
   * @throws KernelFullError if the kernel has no hold slot left for a permit or a place in the line; never for a governor
   *   with neither name nor kernel
   */
  async acquire(category: string, options: AcquireOptions = {}): Promise<ConcurrencyPermit> {
    checkObject("options", options);
    const { signal, timeoutMs } = options;
    // Before anything else: who fails behind its place in the line would leave the place there, and all behind it unserved.
    checkSignal("signal", signal);
    if (timeoutMs !== undefined) checkInteger("timeoutMs", timeoutMs, 0, TIMEOUT_MS_MAX);
    const wanted = this.#category(category);
    signal?.throwIfAborted();
    if (this.#closed) throw new ConcurrencyError("closed");
    return this.#line.take(wanted) ?? this.#line.wait(wanted, signal, timeoutMs);
  }

  /** A permit now, or null: none is free, or others wait for one already. Null after `close()` too. */
  tryAcquire(category: string): ConcurrencyPermit | null {
    const wanted = this.#category(category);
    return this.#closed ? null : this.#line.take(wanted);
  }

  /** Runs `call` under a stream's permit. */
  withStream<T>(call: () => PromiseLike<T> | T, options?: AcquireOptions): Promise<T> {
    return this.withPermit("streams", call, options);
  }

  /** Runs `call` under a tool's permit. */
  withTool<T>(call: () => PromiseLike<T> | T, options?: AcquireOptions): Promise<T> {
    return this.withPermit("tools", call, options);
  }

  /** Runs `call` under a permit of a category, and gives the permit back however it ends. */
  async withPermit<T>(
    category: string,
    call: () => PromiseLike<T> | T,
    options?: AcquireOptions,
  ): Promise<T> {
    if (typeof call !== "function") throw invalidType("call", "a function", call);
    const permit = await this.acquire(category, options);
    try {
      return await call();
    } finally {
      permit.release();
    }
  }

  /** A category as one of the budgets that {@link allOf} takes from. It passes nobody who waits for a permit. */
  category(name: string): Guarded<ConcurrencyPermit> {
    const category = this.#category(name);
    return { asGuard: () => (this.#isPrivate ? null : this.#guard(category)) };
  }

  /** @throws BudgetRemovedError after `remove()`, from whichever thread */
  stats(): GovernorStats {
    const fields = this.#kernel.exports.permitFields(this.#handle);
    const used = ({ shift, bits }: Category): number =>
      Number((fields >> BigInt(shift)) & ((1n << BigInt(bits)) - 1n));
    const categories = Object.fromEntries(
      [...this.#categories.values()].map((category): [string, CategoryStats] => [
        category.name,
        {
          available: category.limit - used(category),
          max: category.limit,
          waiting: this.#waiting(category),
        },
      ]),
    );
    const absent: CategoryStats = { available: 0, max: 0, waiting: 0 };
    const { streams = absent, tools = absent } = categories;
    return {
      streamsAvailable: streams.available,
      streamsMax: streams.max,
      streamsWaiting: streams.waiting,
      toolsAvailable: tools.available,
      toolsMax: tools.max,
      toolsWaiting: tools.waiting,
      globalAvailable: this.#total.limit - used(this.#total),
      globalMax: this.#total.limit,
      categories,
    };
  }

  /**
   * Rejects all who wait through this object, and every later request through it. Permits that are out stay valid; other
   * objects that opened the name, in this thread or another, go on.
   */
  close(): void {
    this.#closed = true;
    this.#line.rejectAll(new ConcurrencyError("closed"));
  }

  /**
   * Ends it for every thread: who waits is rejected, in other threads with BudgetRemovedError, and so is every later request.
   * Permits that are out end without effect; the name can be opened anew, with other limits.
   */
  remove(): void {
    this.close();
    const status = this.#kernel.removeBudget(this.#handle);
    if (status !== Status.Ok) throw this.#kernel.failure(status, "the governor");
    this.#kernel.wakeWaiters();
  }

  #waiting(category: Category): number {
    if (this.#isPrivate) return this.#line.waiting(category);
    const waiting = this.#kernel.exports.permitWaiting(this.#handle, category.shift);
    if (waiting < 0) throw this.#kernel.failure(-waiting, `category "${category.name}"`);
    return waiting;
  }

  #guard(category: Category): Guard<ConcurrencyPermit> {
    const kernel = this.#kernel;
    return {
      kernel,
      handle: this.#handle,
      keepsHold: true,
      isClosed: () => this.#closed,
      demandOf(cost, argument) {
        checkInteger(argument, cost ?? 1, 1, 1);
        return category.shift;
      },
      time: () => 0,
      part: (_, { slot, ticket }) => this.#line.permit(category, slot, ticket),
      denial: () => this.#denial(category),
      failure: (status) => kernel.failure(status, `category "${category.name}"`),
    };
  }

  /** Why there is no permit of a category now; null if there is one. */
  #denial({ name, limit }: Category): Denial | null {
    const { categories, globalAvailable } = this.stats();
    const { available = 0, waiting = 0 } = categories[name] ?? {};
    const free = Math.min(available, globalAvailable);
    if (free > 0 && waiting === 0 && !this.#closed) return null;
    const retry = this.#closed || Math.min(limit, this.#total.limit) === 0 ? "never" : "when-released";
    return {
      code: retry === "never" ? "TOO_LARGE_EVER" : "HELD_BY_INFLIGHT",
      scope: name,
      requested: 1,
      limit,
      available: free,
      spent: 0,
      held: limit - available,
      debt: 0,
      retry,
    };
  }

  #category(name: string): Category {
    const category = this.#categories.get(name);
    if (category !== undefined) return category;
    throw new RangeError(
      `category must be one of ${[...this.#categories.keys()].join(", ")}, got ${JSON.stringify(name)}`,
    );
  }
}
