// How many streams, tool calls and other operations run at once: a limit per category and one for all of them together.
// Invariant: a permit counts in its category and in the total, both at once or not at all, so whoever waits for a tool
// slot holds nothing that a stream could use. Within a category permits go out in the order of the requests, over all
// threads; nobody passes those who wait. Source: seed ConcurrencyGovernor; there the total was taken first and held
// while waiting for the category.

import { checkInteger, checkName } from "../arguments.ts";
import type { Guard, Guarded } from "../budgets/guard.ts";
import { checkKernel, NAME_LENGTH_MAX } from "../budgets/kernel-budget.ts";
import type { Denial } from "../denial.ts";
import { Scoped } from "../dispose.ts";
import { PurserError } from "../errors.ts";
import * as Status from "../kernel/generated/Status.ts";
import { type Kernel, openIn } from "../kernel/kernel.ts";
import { waitersOf, wakeSequence, watch } from "../kernel/waiting.ts";
import { type Category, type GovernorLimits, layOut } from "./governor-limits.ts";

export interface GovernorOptions {
  readonly kernel?: Kernel;
  /** Threads that open the same name in one kernel share its permits. */
  readonly name?: string;
}

export interface AcquireOptions {
  /** Aborting leaves the line and rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** How long to wait at most, in milliseconds; then `ConcurrencyError("timeout")`. */
  readonly timeoutMs?: number;
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

/** A wait that ended without a permit. */
export class ConcurrencyError extends PurserError {
  readonly reason: "closed" | "timeout";

  constructor(reason: "closed" | "timeout") {
    const message = { closed: "the governor was closed", timeout: "no permit came free in time" }[reason];
    super(`CONCURRENCY_${reason.toUpperCase()}`, message);
    this.reason = reason;
  }
}

const TIMEOUT_MS_MAX = 2 ** 31 - 1;

interface Waiter {
  readonly category: Category;
  readonly slot: number;
  readonly ticket: number;
  readonly settle: (outcome: ConcurrencyPermit | Error) => void;
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
  /** This thread's requests in line, in the order in which they came. */
  #waiters: Waiter[] = [];
  #watching = false;
  #awake: ReturnType<typeof setTimeout> | undefined;
  #closed = false;
  readonly #isPrivate: boolean;

  /**
   * @throws RangeError, TypeError for a limit that is no integer in 0 … 1,000,000, or for limits that need over 54 bits
   * @throws BudgetMismatchError if the name is taken by other limits
   * @throws KernelFullError if the kernel has no slot left
   */
  constructor(limits: GovernorLimits, options: GovernorOptions = {}) {
    if (options.name !== undefined) checkName("name", options.name, NAME_LENGTH_MAX);
    checkKernel(options.kernel);
    const { streams, tools, categories } = limits;
    const named = {
      ...(streams !== undefined && { streams }),
      ...(tools !== undefined && { tools }),
      ...categories,
    };
    const fields = layOut([["total", limits.total], ...Object.entries(named)]);
    const [total, ...rest] = fields;
    if (total === undefined || rest.length === 0)
      throw new RangeError("limits must name at least one category");
    this.#total = total;
    for (const category of rest) this.#categories.set(category.name, category);
    const limitBits = fields.reduce((bits, { limit, shift }) => bits | (BigInt(limit) << BigInt(shift)), 0n);
    const guards = fields.reduce((bits, { shift, bits: width }) => bits | (1n << BigInt(shift + width)), 0n);
    this.#isPrivate = options.name === undefined && options.kernel === undefined;
    const opened = openIn(options, (kernel, name) =>
      kernel.open("governor", name, (high, low) =>
        kernel.exports.permitOpen(high, low, limitBits, guards, kernel.owner),
      ),
    );
    this.#kernel = opened.kernel;
    this.#handle = opened.handle;
    if (options.name === undefined) this.#kernel.removeWhenUnreachable(this, this.#handle);
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
   * A permit of a category, now or as soon as its turn comes.
   *
   * @throws ConcurrencyError `closed`, `timeout`; the signal's reason when it is aborted. No trace is left then
   * @throws KernelFullError if the kernel has no hold slot left for a permit or a place in the line
   */
  async acquire(category: string, options: AcquireOptions = {}): Promise<ConcurrencyPermit> {
    const { signal, timeoutMs } = options;
    if (timeoutMs !== undefined) checkInteger("timeoutMs", timeoutMs, 0, TIMEOUT_MS_MAX);
    const wanted = this.#category(category);
    signal?.throwIfAborted();
    if (this.#closed) throw new ConcurrencyError("closed");
    return this.#take(wanted) ?? this.#wait(wanted, signal, timeoutMs);
  }

  /** A permit now, or null: none is free, or others wait for one already. Null after `close()` too. */
  tryAcquire(category: string): ConcurrencyPermit | null {
    const wanted = this.#category(category);
    return this.#closed ? null : this.#take(wanted);
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
          waiting: Math.max(0, this.#kernel.exports.permitWaiting(this.#handle, category.shift)),
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

  /** Rejects all who wait in this thread, and every later request. Permits that are out stay valid. */
  close(): void {
    this.#closed = true;
    for (const waiter of [...this.#waiters]) this.#leave(waiter, new ConcurrencyError("closed"));
  }

  #guard(category: Category): Guard<ConcurrencyPermit> {
    const kernel = this.#kernel;
    return {
      kernel,
      handle: this.#handle,
      keepsHold: true,
      isClosed: () => this.#closed,
      amountOf(cost, argument) {
        checkInteger(argument, cost ?? 1, 1, 1);
        return category.shift;
      },
      time: () => 0,
      part: (_, { slot, ticket }) => this.#permit(category, slot, ticket),
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

  #take(category: Category): ConcurrencyPermit | null {
    const kernel = this.#kernel;
    const ticket = kernel.nextTicket();
    const hint = kernel.slotHint();
    const slot = kernel.exports.permitTake(this.#handle, category.shift, kernel.owner, ticket, hint);
    if (slot >= 0) return this.#permit(category, slot, ticket);
    kernel.slotFreed(hint);
    if (slot === -Status.Exceeds) return null;
    throw kernel.failure(-slot, `category "${category.name}"`);
  }

  #permit(category: Category, slot: number, ticket: number): ConcurrencyPermit {
    return new ConcurrencyPermit(category.name, () => this.#give(slot, ticket));
  }

  #give(slot: number, ticket: number): void {
    const kernel = this.#kernel;
    const status = kernel.settle(this.#handle, slot, kernel.owner, ticket, 0);
    if (status === Status.Ok) kernel.slotFreed(slot);
    else if (status !== Status.NotHeld && status !== Status.Stale) throw kernel.failure(status, "a permit");
    if (waitersOf(kernel, this.#handle) === 0) return;
    kernel.wakeWaiters();
    this.#serve();
  }

  #wait(
    category: Category,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
  ): Promise<ConcurrencyPermit> {
    const kernel = this.#kernel;
    const ticket = kernel.nextTicket();
    const slot = kernel.exports.permitWait(
      this.#handle,
      category.shift,
      kernel.owner,
      ticket,
      kernel.slotHint(),
    );
    if (slot < 0) throw kernel.failure(-slot, `category "${category.name}"`);
    return new Promise((resolve, reject) => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const onAbort = (): void => this.#leave(waiter, signal?.reason);
      const waiter: Waiter = {
        category,
        slot,
        ticket,
        settle: (outcome) => {
          clearTimeout(timer);
          signal?.removeEventListener("abort", onAbort);
          if (outcome instanceof ConcurrencyPermit) resolve(outcome);
          else reject(outcome);
        },
      };
      if (timeoutMs !== undefined) {
        timer = setTimeout(() => this.#leave(waiter, new ConcurrencyError("timeout")), timeoutMs);
      }
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiters.push(waiter);
      this.#serve(); // a permit may have come back between the try and the wait
    });
  }

  /** Takes a waiter out of the line without a permit. */
  #leave(waiter: Waiter, reason: Error): void {
    if (!this.#waiters.includes(waiter)) return;
    this.#waiters = this.#waiters.filter((other) => other !== waiter);
    const { slot, ticket } = waiter;
    if (this.#kernel.exports.permitCancel(this.#handle, slot, this.#kernel.owner, ticket) === Status.Ok) {
      this.#kernel.slotFreed(slot);
    }
    waiter.settle(reason);
    this.#kernel.wakeWaiters();
    this.#serve();
  }

  /** Gives permits to those of this thread whose turn it is, then watches for the others' turns. */
  #serve(): void {
    const { exports, owner } = this.#kernel;
    const sequence = wakeSequence(this.#kernel);
    let moved = false;
    const stuck = new Set<Category>();
    const served: [Waiter, ConcurrencyPermit | Error][] = [];
    this.#waiters = this.#waiters.filter((waiter) => {
      const { category, slot, ticket } = waiter;
      if (stuck.has(category)) return true;
      const status = exports.permitPromote(this.#handle, slot, owner, ticket);
      if (status === Status.Exceeds) {
        stuck.add(category); // and so is everybody behind it in its category
        return true;
      }
      moved = true;
      served.push([
        waiter,
        status === Status.Ok
          ? this.#permit(category, slot, ticket)
          : this.#kernel.failure(status, `category "${category.name}"`),
      ]);
      return false;
    });
    if (moved) this.#kernel.wakeWaiters();
    for (const [waiter, outcome] of served) waiter.settle(outcome);
    if (this.#waiters.length > 0) this.#watch(sequence);
    this.#stayAwake(this.#waiters.length > 0);
  }

  /**
   * Node ends a thread that only waits for another thread's `Atomics.notify`: a timer that does nothing keeps it, as long
   * as somebody waits. Where this thread alone gives permits back, whoever has one keeps it.
   */
  #stayAwake(isWaiting: boolean): void {
    if (isWaiting && this.#kernel.shared) this.#awake ??= setTimeout(() => {}, TIMEOUT_MS_MAX);
    if (isWaiting) return;
    clearTimeout(this.#awake);
    this.#awake = undefined;
  }

  /** Looks again when the sequence is another one than `seen`. One watch at a time; none can be missed. */
  #watch(seen: number): void {
    if (this.#watching) return;
    this.#watching = true;
    watch(this.#kernel, seen, () => {
      this.#watching = false;
      if (this.#waiters.length > 0) this.#serve();
    });
  }
}

/** The right to run one operation. Releasing it twice counts once. */
export class ConcurrencyPermit extends Scoped {
  readonly category: string;
  #give: (() => void) | null;

  /** @internal */
  constructor(category: string, give: () => void) {
    super();
    this.category = category;
    this.#give = give;
  }

  /** Gives it back, once; if that fails, it can be tried again. */
  override release(): void {
    this.#give?.();
    this.#give = null;
  }
}
