// When the authority is called for a leased budget: before its slice runs low, before its time is up, when somebody waits,
// and after a while again where the last call brought nothing. Invariant: one exchange is under way at a time, and a call
// that brought nothing is not followed by another before its time, however many takes are refused. No timer of this file
// keeps a process alive. Who may call: LeasedBudget.

import type { AuthorityDenial } from "../authority/authority.ts";
import type { HolderSurroundings } from "../authority/surroundings.ts";
import type { AtomicTokenBudget } from "../budgets/atomic-token-budget.ts";
import type { KernelCounter } from "../budgets/kernel-counter.ts";
import { canWatchShortage, refusalsOf, setSupplyState, watchShortage } from "../kernel/supply.ts";
import { SUPPLY, type Supply } from "./denial.ts";
import type { Holder } from "./holder.ts";
import { leftMs, type Moment } from "./life.ts";
import { HOLDER_LIMITS } from "./limits.ts";
import { codeOf, isRefusal } from "./refusal.ts";
import type { Attention } from "./slice.ts";
import { Waiters } from "./waiters.ts";

export interface KeeperParts {
  readonly holder: Holder;
  readonly local: AtomicTokenBudget;
  /** Where other threads find the budget; null if it is private to its object. */
  readonly shared: KernelCounter | null;
  readonly attention: Attention;
  readonly surroundings: Required<HolderSurroundings>;
  readonly clock: () => Moment;
  readonly reportEveryMs: number | undefined;
  readonly offlineAllowance: number;
  /** False where the caller sees to it with `upkeep`. */
  readonly usesTimer: boolean;
}

/** `closed`: nothing is granted any more, and calls under way are followed to their ends. */
type State = "open" | "hidden" | "closing" | "closed";

export class Keeper {
  readonly waiters = new Waiters(() => this.#attend());
  readonly #parts: KeeperParts;
  readonly #leavePage: () => void;
  #state: State = "open";
  #supply: Supply = SUPPLY.good;
  #lastError: unknown;
  /** The largest take that was refused since the last call. */
  #refused = 0;
  /** The largest that was refused since then, and is more than the authority has by what it said last. */
  #beyond = 0;
  /** From what size on the authority had nothing to give when it was last asked. */
  #exhaustedFrom = Number.POSITIVE_INFINITY;
  /** Calls in a row after which somebody waits for more than there is. */
  #probes = 0;
  #isLow = false;
  /** When it was opened or shown, or a take was refused last. */
  #usedAtMs = 0;
  /** Calls in a row that brought nothing. */
  #fruitless = 0;
  #notBeforeMs = 0;
  #calledAtMs = 0;
  #consumedAtCall = 0;
  #running: { readonly done: Promise<void>; readonly sinceMs: number } | undefined;
  #turn = 0;
  #isWatching = false;
  #refusals = 0;
  #cancelTimer: () => void = () => undefined;
  #drainMs: number = HOLDER_LIMITS.drainMs;

  constructor(parts: KeeperParts) {
    this.#parts = parts;
    this.#leavePage = parts.surroundings.onPage({ hide: () => this.#hide(), show: () => this.#show() });
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  get lastError(): unknown {
    return this.#lastError;
  }

  /** How a take of so much stands: the authority has too little for a large one, and may have enough for a small one. */
  supplyFor(amount: number): Supply {
    if (this.#supply !== SUPPLY.good && this.#supply !== SUPPLY.exhausted) return this.#supply;
    const isOut = amount >= this.#exhaustedFrom || !this.#parts.holder.canAsk(amount);
    return isOut ? SUPPLY.exhausted : SUPPLY.good;
  }

  shortageOf(amount: number): AuthorityDenial | undefined {
    return this.#parts.holder.shortageOf(amount);
  }

  /** How long until the authority is asked again. */
  get retryAfterMs(): number {
    return Math.max(0, this.#notBeforeMs - this.#parts.clock().monotonicMs);
  }

  /** The first call, whose failure is the caller's. */
  async begin(): Promise<void> {
    const { shared, clock } = this.#parts;
    this.#usedAtMs = clock().monotonicMs;
    if (shared !== null) this.#refusals = refusalsOf(shared.kernel, shared.handle);
    try {
      await this.#exchange();
      if (this.#lastError !== undefined) throw this.#lastError;
    } catch (error) {
      this.#parts.holder.giveUp();
      this.#end();
      throw error;
    }
    this.#plan();
    this.#watch();
  }

  /** Where the lease's end is no end for the authority's money, the clocks are looked at before each take. */
  taking(): void {
    const { holder, clock } = this.#parts;
    if (holder.onExpiry !== "refund" || !holder.endIfOver(clock())) return;
    this.#isLow = true;
    this.#kick();
  }

  looked(available: number): void {
    const { holder, clock } = this.#parts;
    if (holder.endIfOver(clock()) || holder.isLow(available)) {
      this.#isLow = true;
      this.#kick();
    }
  }

  refused(amount: number): void {
    if (!this.#parts.holder.canAsk(amount)) this.#beyond = Math.max(this.#beyond, amount);
    else if (amount > this.#refused) this.#refused = amount;
    this.#usedAtMs = this.#parts.clock().monotonicMs;
    this.#kick();
  }

  /** Something came back to the slice, or a call under way has ended. */
  cameBack(): void {
    if (this.waiters.size > 0) this.waiters.serve();
    else if (this.#state === "closed") this.#kick();
  }

  /** Sees to what is due now, also where the caller does the upkeep: somebody waits for it. */
  wake(): void {
    const now = this.#parts.clock();
    if (this.#isDue(now)) void this.#run(now);
    else this.#plan();
  }

  /** Looks for whatever nobody tells: the lease's end, threads that are short, and what came back for those who wait. */
  look(): void {
    if (this.#parts.holder.endIfOver(this.#parts.clock())) this.#isLow = true;
    this.#hearThreads();
    this.#watch();
    this.waiters.serve();
    this.wake();
  }

  async upkeep(): Promise<void> {
    const now = this.#parts.clock();
    this.#hearThreads();
    if (this.#parts.holder.endIfOver(now)) this.#isLow = true;
    this.waiters.serve();
    // What another request has under way is not waited for: a Worker may never resolve it here.
    if (this.#isDue(now) && !this.#isRunning(now)) await this.#run(now);
  }

  /** @throws what the authority could not be told for */
  async close(): Promise<void> {
    const { holder } = this.#parts;
    this.#state = "closing";
    holder.isPaused = true;
    holder.beginClosing();
    this.#end();
    await this.#running?.done;
    await holder.settle({});
    this.#state = "closed";
    this.#attend();
    this.#plan();
  }

  // ---- when ------------------------------------------------------------------------------------------------------

  #attend(): void {
    this.#parts.attention.returns = this.waiters.size > 0 || this.#state === "closed";
  }

  #kick(): void {
    if (this.#parts.usesTimer) this.wake();
  }

  #isDue(now: Moment): boolean {
    const { holder } = this.#parts;
    if (this.#state === "closing") return false;
    if (this.#state === "closed") return !holder.isAtRest;
    if (now.monotonicMs < this.#notBeforeMs) return false;
    if (this.#state === "hidden") return holder.owesReport;
    if (this.#isWanting || this.#isSeeking(now) || now.monotonicMs >= this.#probeAtMs()) return true;
    return holder.owesReport || now.monotonicMs >= this.#reportAtMs();
  }

  /** Whether somebody is short or soon will be, or the authority is to be found again. */
  get #isWanting(): boolean {
    const isFailing = this.#supply === SUPPLY.unreachable || this.#supply === SUPPLY.refused;
    const isWaitedFor = this.waiters.size > 0 && !this.#isWaitedBeyond;
    return this.#isLow || this.#refused > 0 || isWaitedFor || isFailing;
  }

  /** Whether the first who waits wants more than the authority has. */
  get #isWaitedBeyond(): boolean {
    const { first } = this.waiters;
    return first !== undefined && !this.#parts.holder.canAsk(first);
  }

  /** When it is looked whether the authority has more by now than it had for somebody. */
  #probeAtMs(): number {
    const { retryMs, retryMsMax } = HOLDER_LIMITS;
    if (this.#isWaitedBeyond) return this.#calledAtMs + Math.min(retryMs * 2 ** this.#probes, retryMsMax);
    return this.#beyond > 0 ? this.#calledAtMs + retryMsMax : Number.POSITIVE_INFINITY;
  }

  /** Without a lease, and somebody wanted something of it not long ago: it asks until it has one. */
  #isSeeking({ monotonicMs }: Moment): boolean {
    const isUsed = monotonicMs - this.#usedAtMs < HOLDER_LIMITS.seekMs;
    return isUsed && this.#state === "open" && this.#parts.holder.life === undefined;
  }

  /** When the lease is to be renewed or reported, on the monotonic clock. */
  #reportAtMs(): number {
    const { holder, local, reportEveryMs } = this.#parts;
    const { life } = holder;
    if (life === undefined) return Number.POSITIVE_INFINITY;
    if (reportEveryMs === undefined || local.tokensConsumed() === this.#consumedAtCall) return life.renewAtMs;
    return Math.min(life.renewAtMs, this.#calledAtMs + reportEveryMs);
  }

  /** Sets the one timer to the next moment at which something may be due. */
  #plan(): void {
    this.#cancelTimer();
    this.#cancelTimer = () => undefined;
    const { usesTimer, clock, surroundings } = this.#parts;
    if (!usesTimer || this.#running !== undefined || this.#state === "closing") return;
    const now = clock();
    const ms = Math.min(this.#nextMs(now), HOLDER_LIMITS.timerMsMax);
    if (ms < HOLDER_LIMITS.timerMsMax) {
      this.#cancelTimer = surroundings.setTimer(() => this.look(), Math.max(0, Math.ceil(ms)));
    }
  }

  #nextMs(now: Moment): number {
    const { holder, shared, reportEveryMs } = this.#parts;
    if (this.#state === "closed") {
      const drainMs = this.#drainMs;
      this.#drainMs = Math.min(2 * drainMs, HOLDER_LIMITS.retryMsMax);
      return holder.isAtRest ? Number.POSITIVE_INFINITY : drainMs;
    }
    const quietMs = Math.max(0, this.#notBeforeMs - now.monotonicMs);
    const dueAtMs = Math.min(this.#reportAtMs(), this.#probeAtMs());
    const dueMs = Math.max(quietMs, dueAtMs - now.monotonicMs);
    // Whether anything was spent is looked at when it would be reported.
    const sinceMs = Math.max(0, now.monotonicMs - this.#calledAtMs);
    const reportMs =
      reportEveryMs === undefined ? dueMs : Math.min(dueMs, reportEveryMs - (sinceMs % reportEveryMs));
    const lifeMs = holder.life === undefined ? 0 : leftMs(holder.life, now);
    const endMs = lifeMs > 0 ? lifeMs : Number.POSITIVE_INFINITY;
    const isShort = this.#isWanting || this.#isSeeking(now) || (shared !== null && !this.#isWatching);
    const isWaiting = holder.owesReport || (this.#state === "open" && isShort);
    // Nobody tells what a cancelled call or another thread gives back, which may be all that somebody waits for.
    const isBlind = shared !== null && !canWatchShortage(shared.kernel);
    const lookMs = isBlind || this.waiters.size > 0 ? HOLDER_LIMITS.lookMs : Number.POSITIVE_INFINITY;
    return Math.min(reportMs, endMs, lookMs, isWaiting ? quietMs : Number.POSITIVE_INFINITY);
  }

  // ---- calling ---------------------------------------------------------------------------------------------------

  /** One exchange after another while something is due. A run that never ends is given up for a new one. */
  #run(now: Moment): Promise<void> {
    if (this.#running !== undefined && this.#isRunning(now)) return this.#running.done;
    this.#cancelTimer();
    const turn = ++this.#turn;
    const run = { done: this.#exchangeWhileDue(turn), sinceMs: now.monotonicMs };
    this.#running = run;
    return run.done;
  }

  #isRunning(now: Moment): boolean {
    return this.#running !== undefined && now.monotonicMs - this.#running.sinceMs < HOLDER_LIMITS.callMsMax;
  }

  async #exchangeWhileDue(turn: number): Promise<void> {
    // From here on `#running` is set, also where the first exchange needs no waiting.
    await undefined;
    do {
      await (this.#state === "closed" ? this.#drain() : this.#exchange());
      // What came late may be owed still.
      if (turn !== this.#turn) return this.#kick();
    } while (this.#state !== "closed" && this.#isDue(this.#parts.clock()));
    this.#running = undefined;
    this.#plan();
    this.#watch();
  }

  /** Never rejects: what it failed with is remembered. */
  async #exchange(): Promise<void> {
    const { holder, local, clock, offlineAllowance } = this.#parts;
    const wasWanting = this.#isWanting;
    const most = Math.max(holder.slice, holder.reach);
    const needs = Math.max(this.waiters.wantedWithin(most), this.#refused);
    const beyond = Math.max(this.#isWaitedBeyond ? (this.waiters.first ?? 0) : 0, this.#beyond);
    this.#refused = this.#beyond = 0;
    this.#isLow = false;
    this.#calledAtMs = clock().monotonicMs;
    this.#consumedAtCall = local.tokensConsumed();
    try {
      const granted = await holder.exchange({ needs });
      this.#lastError = undefined;
      const isShort = holder.shortage !== undefined && granted === 0;
      const isUnmet = holder.shortage !== undefined && needs > local.available;
      this.#exhaustedFrom = isShort ? 0 : isUnmet ? needs : Number.POSITIVE_INFINITY;
      this.#setSupply(isShort ? SUPPLY.exhausted : SUPPLY.good);
      // There after all: it is asked for with the next call.
      if (beyond > local.available && holder.canAsk(beyond)) this.#refused = Math.max(this.#refused, beyond);
      const isFruitless = granted === 0 && (wasWanting || isShort || holder.life === undefined);
      if (isFruitless) this.#putOff(isShort ? adviceOf(holder.shortage) : 0);
      else this.#fruitless = this.#notBeforeMs = 0;
    } catch (error) {
      this.#lastError = error;
      const saysNo = isRefusal(error) && codeOf(error) !== "LIMIT_EXCEEDED";
      this.#setSupply(saysNo ? SUPPLY.refused : SUPPLY.unreachable);
      this.#putOff((error as { retryAfterMs?: unknown } | null)?.retryAfterMs);
      // The allowance is for an authority that does not answer, not for one that says no.
      if (this.#state === "open" && !saysNo) holder.lendItself(offlineAllowance);
    }
    this.waiters.serve();
    for (
      let { first } = this.waiters;
      first !== undefined && this.#isHopeless(first);
      { first } = this.waiters
    ) {
      this.waiters.denyFirst();
      this.waiters.serve();
    }
    this.#probes = this.#isWaitedBeyond ? Math.min(this.#probes + 1, 32) : 0;
  }

  /** The authority has nothing left, and nothing is under way that could come back to it or to this slice. */
  #isHopeless(amount: number): boolean {
    const { holder } = this.#parts;
    const shortage = this.supplyFor(amount) === SUPPLY.exhausted ? holder.shortageOf(amount) : undefined;
    if (shortage === undefined || holder.hasUnderWay) return false;
    // What is held there may be this very lease.
    const held = shortage.figures?.held ?? Number.POSITIVE_INFINITY;
    return shortage.retry === "never" || held <= holder.book.untold;
  }

  async #drain(): Promise<void> {
    await this.#parts.holder.settle({}).catch((error: unknown) => {
      this.#lastError = error;
    });
  }

  /** @param adviceMs - how long the authority said to wait, if it did */
  #putOff(adviceMs?: unknown): void {
    const { surroundings, clock } = this.#parts;
    const { retryMs, retryMsMax, adviceMsMax } = HOLDER_LIMITS;
    const boundMs = Math.min(retryMs * 2 ** this.#fruitless, retryMsMax);
    this.#fruitless = Math.min(this.#fruitless + 1, 32);
    // Half of it at random, so that holders that failed together do not come back together.
    const waitMs = boundMs * (0.5 + surroundings.random() / 2);
    const advisedMs = typeof adviceMs === "number" && adviceMs > 0 ? Math.min(adviceMs, adviceMsMax) : 0;
    this.#notBeforeMs = clock().monotonicMs + advisedMs + waitMs;
  }

  #setSupply(supply: Supply): void {
    this.#supply = this.#state === "open" ? supply : SUPPLY.none;
    const { shared } = this.#parts;
    if (shared !== null) setSupplyState(shared.kernel, shared.handle, this.#supply);
  }

  // ---- the other threads, and the page ---------------------------------------------------------------------------

  /** Another thread was refused, and nobody here knows how much it wanted: twice what there is, and again. */
  #hearThreads(): void {
    const { shared, local, holder, clock } = this.#parts;
    if (shared === null) return;
    const refusals = refusalsOf(shared.kernel, shared.handle);
    const isNew = refusals !== this.#refusals;
    this.#refusals = refusals;
    if (isNew) this.#usedAtMs = clock().monotonicMs;
    if (isNew && this.#refused === 0) {
      const twice = 2 * Math.max(local.available, holder.slice);
      this.#refused = Math.min(twice, Math.max(holder.reach, holder.slice));
    }
    if (holder.isLow(local.available)) this.#isLow = true;
  }

  #watch(): void {
    const { shared, usesTimer, clock } = this.#parts;
    if (shared === null || !usesTimer || this.#isWatching || !this.isOpen) return;
    if (this.#running !== undefined || clock().monotonicMs < this.#notBeforeMs) return;
    this.#isWatching = true;
    const { kernel, handle } = shared;
    watchShortage(kernel, handle, refusalsOf(kernel, handle), () => {
      this.#isWatching = false;
      if (!this.isOpen) return;
      this.#hearThreads();
      this.wake();
      this.#watch();
    });
    // What happened before it was watched.
    this.#hearThreads();
    if (this.#isDue(clock())) this.wake();
  }

  /** The page may never come back: all that is idle goes back with the last request that it may send. */
  #hide(): void {
    const { holder, clock } = this.#parts;
    if (this.#state !== "open") return;
    this.#state = "hidden";
    holder.isPaused = true;
    holder.giveUp();
    const turn = ++this.#turn;
    const done = holder.settle({ keepalive: true }).then(
      () => this.#hidden(turn),
      (error: unknown) => {
        this.#lastError = error;
        this.#putOff();
        this.#hidden(turn);
      },
    );
    // Whatever was under way is not waited for: there may be no time left.
    this.#running = { done, sinceMs: clock().monotonicMs };
  }

  #hidden(turn: number): void {
    if (turn !== this.#turn) return;
    this.#running = undefined;
    this.#kick();
  }

  #show(): void {
    if (this.#state !== "hidden") return;
    this.#state = "open";
    this.#parts.holder.isPaused = false;
    this.#isLow = true;
    this.#usedAtMs = this.#parts.clock().monotonicMs;
    this.#setSupply(SUPPLY.good);
    this.#kick();
  }

  /** Nothing is granted from here on. */
  #end(): void {
    this.#leavePage();
    this.#cancelTimer();
    if (this.#state === "open") this.#state = "closing";
    this.#setSupply(SUPPLY.none);
    this.waiters.denyAll();
  }
}

/** How long the authority says to wait before it is asked again. */
function adviceOf(shortage: AuthorityDenial | undefined): number {
  return typeof shortage?.retry === "object" ? shortage.retry.afterMs : 0;
}
