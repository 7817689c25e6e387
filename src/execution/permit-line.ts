// The line for a governor's permits, as one thread stands in it: taking, waiting, being served, giving back.
// Invariant: a waiter ends exactly once, with a permit or a reason, and leaves no place in the line; whoever gives a permit
// back or leaves wakes the threads that watch. A private governor's line is this object alone: who waits there has no place
// in the kernel, so that no number of them can take the holds that permits need. Who may call: its governor.

import { Scoped } from "../dispose.ts";
import { BudgetRemovedError, PurserError } from "../errors.ts";
import * as Status from "../kernel/generated/Status.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { waitersOf, wakeSequence, watch } from "../kernel/waiting.ts";
import type { Category } from "./governor-limits.ts";
import { clearAway, give, type RequestWait, showLife, take } from "./request-waits.ts";

/** The longest that a timer can wait. */
export const TIMEOUT_MS_MAX = 2 ** 31 - 1;

export interface AcquireOptions {
  /** Aborting leaves the line and rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** How long to wait at most, in milliseconds; then `ConcurrencyError("timeout")`. */
  readonly timeoutMs?: number;
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

/** A place in the kernel's line. */
interface Place {
  readonly slot: number;
  readonly ticket: number;
}

interface Waiter extends RequestWait {
  readonly category: Category;
  /** Null in a private line, and outside of the line. */
  place: Place | null;
  /** Until its turn has come, or it has left. */
  isWaiting: boolean;
  settle: (outcome: ConcurrencyPermit | Error) => void;
}

/** @internal */
export class PermitLine {
  readonly #kernel: Kernel;
  readonly #handle: number;
  /** Whether nobody else can have permits of this governor, or wait for them. */
  readonly #isPrivate: boolean;
  /** This thread's requests in line, in the order in which they came. */
  #waiters: Waiter[] = [];
  #watching = false;
  #closedBy: Error | undefined;
  #awake: ReturnType<typeof setTimeout> | undefined;

  constructor(kernel: Kernel, handle: number, isPrivate: boolean) {
    this.#kernel = kernel;
    this.#handle = handle;
    this.#isPrivate = isPrivate;
  }

  /** How many of this thread wait for a category. */
  waiting(category: Category): number {
    return this.#waiters.filter((waiter) => waiter.category === category).length;
  }

  /**
   * A permit now; null if none is free, or others wait in the kernel's line for one already. In a private line nobody can be
   * passed: what came back has been given to those who wait before anybody else can ask.
   */
  take(category: Category): ConcurrencyPermit | null {
    clearAway();
    return this.#take(category);
  }

  #take(category: Category): ConcurrencyPermit | null {
    const kernel = this.#kernel;
    const ticket = kernel.nextTicket();
    const hint = kernel.slotHint();
    const slot = kernel.exports.permitTake(this.#handle, category.shift, kernel.owner, ticket, hint);
    if (slot >= 0) return this.permit(category, slot, ticket);
    kernel.slotFreed(hint);
    if (slot === -Status.Exceeds) return null;
    throw kernel.failure(-slot, `category "${category.name}"`);
  }

  /** The permit that stands in a hold of this thread. */
  permit(category: Category, slot: number, ticket: number): ConcurrencyPermit {
    return new ConcurrencyPermit(category.name, () => this.#give(slot, ticket));
  }

  #give(slot: number, ticket: number): void {
    clearAway();
    const kernel = this.#kernel;
    const status = kernel.settle(this.#handle, slot, kernel.owner, ticket, 0);
    if (status === Status.Ok) kernel.slotFreed(slot);
    else if (status !== Status.NotHeld && status !== Status.Stale) throw kernel.failure(status, "a permit");
    if (this.#isPrivate ? this.#waiters.length === 0 : waitersOf(kernel, this.#handle) === 0) return;
    this.#wakeOthers();
    this.#serve();
  }

  /** A permit as soon as its turn comes. */
  async wait(
    category: Category,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
  ): Promise<ConcurrencyPermit> {
    clearAway();
    const waiter: Waiter = {
      category,
      place: null,
      isWaiting: false,
      settle: () => {},
      standAside: () => this.#standAside(waiter),
      lineUp: () => this.#lineUp(waiter),
    };
    let turn = this.#turn(waiter);
    const onAbort = (): void => this.#leave(waiter, signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => this.#leave(waiter, new ConcurrencyError("timeout")), timeoutMs);
    const endLife = showLife(waiter);
    try {
      for (;;) {
        const permit = await turn;
        if (take(permit)) return permit;
        turn = this.#turn(waiter);
      }
    } finally {
      endLife();
      if (timer !== undefined) clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Stands in line for one permit. */
  #turn(waiter: Waiter): Promise<ConcurrencyPermit> {
    this.#enterFor(waiter);
    waiter.isWaiting = true;
    return new Promise((resolve, reject) => {
      waiter.settle = (outcome) => {
        waiter.isWaiting = false;
        if (!(outcome instanceof ConcurrencyPermit)) return reject(outcome);
        give(outcome);
        resolve(outcome);
      };
      this.#serve(); // a permit may have come back between the try and the wait
    });
  }

  #enterFor(waiter: Waiter): void {
    if (this.#closedBy !== undefined) throw this.#closedBy;
    waiter.place = this.#isPrivate ? null : this.#enter(waiter.category);
    this.#waiters.push(waiter);
  }

  #lineUp(waiter: Waiter): void {
    if (!waiter.isWaiting || this.#waiters.includes(waiter)) return;
    try {
      this.#enterFor(waiter);
      this.#serve();
    } catch (error) {
      waiter.settle(error as Error);
    }
  }

  #standAside(waiter: Waiter): void {
    if (!waiter.isWaiting) return;
    this.#remove(waiter);
    this.#moveUp();
  }

  /** Gets in the kernel's line. */
  #enter(category: Category): Place {
    const kernel = this.#kernel;
    const ticket = kernel.nextTicket();
    const hint = kernel.slotHint();
    const slot = kernel.exports.permitWait(this.#handle, category.shift, kernel.owner, ticket, hint);
    if (slot < 0) throw kernel.failure(-slot, `category "${category.name}"`);
    return { slot, ticket };
  }

  /** Takes all who wait through this object out of the line, and lets nobody in again. */
  rejectAll(reason: Error): void {
    this.#closedBy = reason;
    for (const waiter of [...this.#waiters]) this.#leave(waiter, reason);
  }

  /** Ends a wait without a permit. */
  #leave(waiter: Waiter, reason: Error): void {
    if (!waiter.isWaiting) return;
    this.#remove(waiter);
    waiter.settle(reason);
    this.#moveUp();
  }

  #remove(waiter: Waiter): void {
    this.#waiters = this.#waiters.filter((other) => other !== waiter);
    if (waiter.place !== null) this.#exit(waiter.place);
    waiter.place = null;
  }

  /** Somebody in line has gone. */
  #moveUp(): void {
    this.#wakeOthers();
    this.#serve();
  }

  /** Other objects of this governor's name, in this thread and others. */
  #wakeOthers(): void {
    if (!this.#isPrivate) this.#kernel.wakeWaiters();
  }

  /** Leaves the kernel's line. */
  #exit({ slot, ticket }: Place): void {
    const { exports, owner } = this.#kernel;
    if (exports.permitCancel(this.#handle, slot, owner, ticket) === Status.Ok) this.#kernel.slotFreed(slot);
  }

  /** Gives permits to those of this thread whose turn it is, then watches for the others' turns. */
  #serve(): void {
    const sequence = wakeSequence(this.#kernel);
    let moved = false;
    const stuck = new Set<Category>();
    const served: [Waiter, ConcurrencyPermit | Error][] = [];
    this.#waiters = this.#waiters.filter((waiter) => {
      const { category, place } = waiter;
      if (stuck.has(category)) return true;
      const outcome = place === null ? this.#take(category) : this.#promote(category, place);
      if (outcome === null) {
        stuck.add(category); // and so is everybody behind it in its category
        return true;
      }
      moved = true;
      served.push([waiter, outcome]);
      return false;
    });
    if (moved) this.#wakeOthers();
    for (const [waiter, outcome] of served) waiter.settle(outcome);
    if (this.#isPrivate) return; // whoever has a permit has this object too, and giving it back serves
    if (this.#waiters.length > 0) this.#watch(sequence);
    this.#stayAwake(this.#waiters.length > 0);
  }

  /** What became of a place in the kernel's line; null while it is to wait on. */
  #promote(category: Category, { slot, ticket }: Place): ConcurrencyPermit | Error | null {
    const status = this.#kernel.exports.permitPromote(this.#handle, slot, this.#kernel.owner, ticket);
    if (status === Status.Exceeds) return null;
    if (status === Status.Ok) return this.permit(category, slot, ticket);
    // Only its removal takes a place in the line from a thread that still stands there.
    if (status === Status.NotHeld) return new BudgetRemovedError();
    return this.#kernel.failure(status, `category "${category.name}"`);
  }

  /**
   * Node ends a thread that only waits for another thread's `Atomics.notify`: a timer that does nothing keeps it, as long
   * as somebody waits. Where this thread alone gives permits back, whoever has one keeps it.
   */
  #stayAwake(isWaiting: boolean): void {
    if (isWaiting && this.#kernel.shared) this.#awake ??= setTimeout(() => {}, TIMEOUT_MS_MAX);
    if (isWaiting) return;
    if (this.#awake !== undefined) clearTimeout(this.#awake);
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
