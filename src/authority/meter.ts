// Counts what a stream uses while it arrives, under the reservation it was made from and as many further ones as it takes.
// Invariant: whichever way the stream ends, it is settled once, by the ending that came first; all of its reservations
// together are charged what was used; and nothing that may have been used is given back. Made by `guard.meter()`; who may
// call: the guard's holder.

import { checkInteger } from "../arguments.ts";
import { AsyncScoped } from "../dispose-async.ts";
import { PurserError } from "../errors.ts";
import type { JsonObject } from "../ledger/json.ts";
import type { AuthorityDenial, Denied, Figure, Metrics } from "./authority.ts";
import { BudgetExhaustedError, MeterEndedError } from "./errors.ts";
import * as METER_LIMITS from "./limits/meter.ts";
import { charge, count, NOT_NEEDED } from "./meter-charge.ts";
import {
  type ChunkSource,
  chunksOf,
  iteratorOver,
  type PageEvents,
  pageHere,
  streamOver,
  watchPage,
} from "./meter-stream.ts";
import type { ReservationGuard } from "./reservation-guard.ts";
import type { Surroundings } from "./surroundings.ts";
import { checkAmount } from "./to-wire.ts";

export interface MeterOptions {
  /** Aborted when the stream must stop: out of budget, left by its reader, or by its page. The meter's own by default. */
  readonly controller?: AbortController;
  /** What a further reservation asks for; by default as much as the first. */
  readonly extendBy?: Figure;
  /** When less than this is left of what is held, a further reservation is made; by default a quarter of `extendBy`. */
  readonly lowWater?: Figure;
  /** How long a wrapped stream may lie unread before it is settled and stopped; 120,000 ms by default. */
  readonly idleTimeoutMs?: number;
  /** Kept with each charge, beside its `source` and `ending`. */
  readonly metadata?: JsonObject;
  /** What hears `pagehide` and `freeze`: the window by default where there is one. `null`: nothing. */
  readonly page?: PageEvents | null;
}

/** Who knew what was charged: the provider, this meter's count, or nobody, so that all that was held is charged. */
export type ChargeSource = "provider" | "local" | "estimate";

/**
 * How a stream ended. `error`: it failed by itself. `abort`: somebody aborted the controller. `exhausted`: out of budget.
 * `cancel`: its reader did not want the rest. `idle`: its reader forgot it. `dropped`: its meter or guard was disposed.
 */
export type StreamEnding =
  | "finish"
  | "error"
  | "abort"
  | "exhausted"
  | "cancel"
  | "idle"
  | "page-closed"
  | "dropped";

export interface MeterSettlement<F extends Figure = number> {
  readonly ending: StreamEnding;
  /** Absent where the call failed before anything of it was seen: then all was released. */
  readonly source?: ChargeSource;
  /** What was used, as far as `source` knows. */
  readonly actual: F;
  /** What the budgets were charged: less than that only where a budget had less and may not owe. */
  readonly charged: F;
}

/** @internal What a meter gets from the guard that makes it. */
export interface MeterHost<F extends Figure> {
  /** The `nth` further reservation for the same action. */
  readonly reserveMore: (amount: bigint, nth: number) => Promise<ReservationGuard<F> | Denied<F>>;
  readonly setTimer: Required<Surroundings>["setTimer"];
  /** What the guard was told by `spent`: beside the stream, and charged with it. */
  readonly spent: () => bigint;
}

const noop = (): void => undefined;

export class Meter<F extends Figure = number> extends AsyncScoped {
  /** What became of the stream, once the authority has answered. Rejects with what kept a charge from being made. */
  readonly settled: Promise<MeterSettlement<F>>;
  #settle: (settlement: Promise<MeterSettlement<F>>) => void = noop;
  readonly #host: MeterHost<F>;
  readonly #controller: AbortController;
  readonly #metadata: JsonObject | undefined;
  readonly #extendBy: bigint;
  readonly #lowWater: bigint;
  readonly #idleTimeoutMs: number;
  readonly #unlisten: () => void;
  /** The first is the guard that this was made from. */
  readonly #guards: ReservationGuard<F>[];
  #held: bigint;
  #counted = 0n;
  #late = 0n;
  /** Who knows what was used; nobody so far where it is undefined. */
  #source: "provider" | "local" | undefined;
  #metrics: Metrics | undefined;
  #isOpen = true;
  #isCharged = false;
  #reason: unknown;
  #isWrapped = false;
  #hasChunk = false;
  /** A chunk has gone beyond what is held, and whether there is more is not known yet. */
  #isBeyond = false;
  /** How often more was asked for: a denial must not be the answer to the next question. */
  #asks = 0;
  /** `usage` was told while a chunk was counted, so it covers that chunk. */
  #isCovered = false;
  #asking: Promise<void> | undefined;
  #refusal: { readonly denial?: AuthorityDenial<F>; readonly cause?: unknown } | undefined;
  #cancelIdle = noop;
  #stopSource: (reason: unknown) => void = noop;
  #stopWaiting = noop;

  /** @internal */
  constructor(guard: ReservationGuard<F>, host: MeterHost<F>, options: MeterOptions) {
    super();
    const { unit, amount: first } = guard.reserved;
    const { controller = new AbortController(), extendBy = first, metadata, page = pageHere() } = options;
    checkAmount("extendBy", { unit, amount: extendBy });
    const { lowWater = BigInt(extendBy) / 4n, idleTimeoutMs = METER_LIMITS.idleTimeoutMs } = options;
    checkAmount("lowWater", { unit, amount: lowWater });
    checkInteger("idleTimeoutMs", idleTimeoutMs, 1, METER_LIMITS.idleTimeoutMsMax);
    this.#host = host;
    this.#guards = [guard];
    this.#held = BigInt(first);
    this.#controller = controller;
    this.#extendBy = BigInt(extendBy);
    this.#lowWater = BigInt(lowWater);
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#metadata = metadata;
    this.settled = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.settled.catch(noop); // who wants to know asks for it
    const { signal } = controller;
    // Whoever keeps the controller must not keep a meter that everybody else forgot.
    const held = new WeakRef(this);
    const onAbort = (): void => held.deref()?.onAbort();
    signal.addEventListener("abort", onAbort);
    const unwatch = watchPage(page, this);
    this.#unlisten = () => {
      signal.removeEventListener("abort", onAbort);
      unwatch();
    };
    if (signal.aborted) void this.#end("dropped", signal.reason);
  }

  /** For the provider's call: aborts when the stream must stop. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** What was used so far. */
  get counted(): F {
    return this.#figure(this.#counted);
  }

  /** What is held for it, further reservations included. */
  get held(): F {
    return this.#figure(this.#held);
  }

  /** What was counted after the end, and is in no charge. */
  get late(): F {
    return this.#figure(this.#late);
  }

  /** @internal Whether something was counted that is not being settled yet. */
  get isCounting(): boolean {
    return this.#isOpen && this.#source !== undefined;
  }

  /** Whether it has ended, settled or not. */
  get isOver(): boolean {
    return !this.#isOpen;
  }

  /**
   * Counts what has arrived or was sent, the prompt for instance. Await it before taking more from the provider: it resolves
   * once that is held. Whoever does not wait and adds again beyond what is held is stopped, whatever the budget has.
   *
   * @returns rejects with what ended the meter, `BUDGET_EXHAUSTED` if this did
   * @throws RangeError or TypeError unless `amount` is an integer from 0, and the sum one
   */
  add(amount: Figure): Promise<void> {
    const counted = this.#sum(this.#isOpen ? this.#counted : this.#late, amount);
    if (!this.#isOpen) this.#late = counted;
    else if (BigInt(amount) > 0n) {
      this.#counted = counted;
      this.#source = "local";
      this.#makeRoom();
    }
    this.#note();
    const room = this.#room();
    room.catch(noop); // not everybody can wait
    return room;
  }

  /**
   * Notes what the provider says was used in all so far, in place of what was counted until then; told while a wrapped chunk
   * is counted, it covers that chunk too. What is added later comes on top. It never stops the stream.
   */
  usage(actual: Figure, metrics?: Metrics): void {
    const counted = this.#sum(0n, actual);
    if (!this.#isOpen) return;
    this.#counted = counted;
    this.#isBeyond = false;
    this.#isCovered = true;
    this.#source = "provider";
    this.#metrics = metrics;
    this.#note();
  }

  /** For who finds the journal when nobody is left to settle this. */
  #note(): void {
    if (!this.#isOpen) return;
    const { source, actual, metadata } = this.#known(!this.#hasChunk, "gone");
    if (source !== undefined) count(this.#guards, actual, metadata);
  }

  /**
   * The same stream, counted: each chunk by `count`, which may also tell `usage`. However it ends, it is settled by then;
   * once out of budget, it fails with `BUDGET_EXHAUSTED` after the chunk that used it up.
   *
   * @throws PurserError `METER_USED`: a meter counts one stream
   */
  wrap<T>(source: ReadableStream<T>, count: (chunk: T) => Figure): ReadableStream<T>;
  wrap<T>(source: AsyncIterable<T>, count: (chunk: T) => Figure): AsyncIterableIterator<T>;
  wrap<T>(source: ReadableStream<T> | AsyncIterable<T>, count: (chunk: T) => Figure) {
    if (this.#isWrapped) throw new PurserError("METER_USED", "a meter counts one stream");
    this.#isWrapped = true;
    this.#awaitReader();
    const chunks = chunksOf(source);
    this.#stopSource = (reason) => void chunks.cancel(reason).catch(noop);
    // Whoever ended it did not know of the source.
    if (!this.#isOpen) this.#stopSource(this.#reason);
    const counted = {
      next: () => this.#next(chunks, count),
      cancel: async (reason: unknown) => {
        // Not waited for: a generator hears of it only after the chunk that it waits for itself, which may never come.
        void chunks.cancel(reason).catch(noop);
        await this.#end("cancel").catch(noop);
      },
    };
    return "getReader" in source ? streamOver(counted) : iteratorOver(counted);
  }

  /** Settles a stream that has come to its end and was counted by hand. Again, or after another ending: nothing. */
  settle(): Promise<MeterSettlement<F>> {
    return this.#end("finish");
  }

  /** Settles a stream that failed, with what was counted; if nothing of it was ever seen, all is released. */
  fail(error?: unknown): Promise<MeterSettlement<F>> {
    return this.#end("error", error);
  }

  /**
   * @internal The end of a scope that has its result. A wrapped stream is waited for, at most until it is idle; of what is
   * counted by hand `actual` is the last word.
   */
  conclude({ actual, metrics }: { readonly actual: Figure; readonly metrics?: Metrics }): Promise<unknown> {
    if (this.#isWrapped) return this.settled;
    if (this.#isOpen && this.#sum(0n, actual) !== this.#counted) this.usage(actual, metrics);
    return this.settle();
  }

  /** Ends it with its scope. Never throws for what the authority says. */
  async dispose(): Promise<void> {
    await this.#end("dropped").catch(noop);
  }

  /** @internal */
  onAbort(): void {
    void this.#end("abort", this.signal.reason);
  }

  /** @internal */
  onPageHide(): void {
    void this.#end("page-closed");
  }

  async #next<T>(chunks: ChunkSource<T>, count: (chunk: T) => Figure): Promise<IteratorResult<T, undefined>> {
    this.#cancelIdle();
    try {
      await this.#room();
      const result = await this.#untilEnded(chunks.next());
      if (!this.#isOpen) throw this.#reason;
      if (result.done === true) {
        await this.#end("finish").catch(noop);
        return { done: true, value: undefined };
      }
      this.#hasChunk = true;
      this.#countChunk(result.value, count);
      this.#awaitReader();
      return result;
    } catch (error) {
      const isAbort = (error as { name?: unknown } | null)?.name === "AbortError";
      await this.#end(isAbort ? "abort" : "error", error).catch(noop);
      throw error;
    }
  }

  #countChunk<T>(chunk: T, count: (chunk: T) => Figure): void {
    this.#isCovered = false;
    const amount = count(chunk);
    if (!this.#isCovered) void this.add(amount);
    else if (this.#sum(0n, amount) > 0n && this.#isOpen) this.#makeRoom();
  }

  /** Settles as `next` does, or rejects at the meter's end: a source that does not hear of that keeps nobody waiting. */
  #untilEnded<T>(next: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#stopWaiting = () => reject(this.#reason);
      next.then(resolve, reject);
    });
  }

  /** From here on it is the reader's turn. */
  #awaitReader(): void {
    if (this.#isOpen)
      this.#cancelIdle = this.#host.setTimer(() => void this.#end("idle"), this.#idleTimeoutMs);
  }

  /** Resolves once all that was counted is held; rejects with what ended it. */
  async #room(): Promise<void> {
    if (this.#isBeyond) await this.#asking;
    if (!this.#isOpen) throw this.#reason;
  }

  /** Sees to it that enough is held for what may come, or that nothing more comes. */
  #makeRoom(): void {
    const wasBeyond = this.#isBeyond;
    this.#isBeyond = this.#left() < 0n;
    if (this.#isBeyond && wasBeyond) this.#exhaust();
    // Once refused, it is asked again only when it is needed: by then the budget may have more.
    else if (this.#isBeyond || (this.#isLow() && this.#refusal === undefined)) this.#asking ??= this.#ask();
  }

  async #ask(): Promise<void> {
    while (this.#isOpen && (this.#isLow() || this.#left() < 0n)) {
      const wasNeeded = this.#left() < 0n;
      const missing = this.#lowWater - this.#left();
      let amount = this.#extendBy;
      if (amount < missing) amount = missing;
      try {
        let more = await this.#reserve(amount);
        // What a budget that had too little has left.
        const rest = more.ok ? 0n : BigInt(more.denial.figures?.available ?? 0);
        if (rest > 0n && rest < amount) more = await this.#reserve(rest);
        this.#refusal = more.ok ? undefined : more;
        if (more.ok) {
          if (this.#isCharged) await more.release(NOT_NEEDED);
          else this.#hold(more);
        }
      } catch (cause) {
        this.#refusal = { cause };
      }
      if (this.#refusal !== undefined && (wasNeeded || this.#left() >= 0n)) break;
    }
    this.#asking = undefined;
    this.#isBeyond = this.#left() < 0n;
    if (this.#isBeyond) this.#exhaust();
  }

  #reserve(amount: bigint): Promise<ReservationGuard<F> | Denied<F>> {
    this.#asks += 1;
    return this.#host.reserveMore(amount, this.#asks);
  }

  /** How much of what is held is not used; less than nothing beyond it. */
  #left(): bigint {
    return this.#held - this.#counted - this.#host.spent();
  }

  #isLow(): boolean {
    return this.#left() < this.#lowWater;
  }

  #hold(guard: ReservationGuard<F>): void {
    this.#guards.push(guard);
    this.#held += BigInt(guard.reserved.amount);
  }

  #exhaust(): void {
    const { denial, cause } = this.#refusal ?? {};
    const unit = this.#guards[0]?.reserved.unit;
    const figures = `${this.#counted} ${unit} used, ${this.#held} held`;
    void this.#end("exhausted", new BudgetExhaustedError(figures, denial, cause));
  }

  /** The one place where it ends. The first ending counts; the others hear what became of that. */
  #end(ending: StreamEnding, reason: unknown = new MeterEndedError(ending)): Promise<MeterSettlement<F>> {
    if (this.#isOpen) {
      this.#isOpen = false;
      this.#reason = reason;
      this.#unlisten();
      this.#cancelIdle();
      this.#stopWaiting();
      this.#settle(this.#settlement(ending));
      if (ending === "finish") return this.settled;
      this.#controller.abort(reason);
      this.#stopSource(reason);
    }
    return this.settled;
  }

  async #settlement(ending: StreamEnding): Promise<MeterSettlement<F>> {
    // What is on its way may be needed for what went beyond. A page that closes has no later: it sends all of it now.
    if (ending !== "page-closed" && this.#asking !== undefined) await this.#asking;
    this.#isCharged = true;
    const isUnseen = !this.#hasChunk && (ending === "error" || (ending === "dropped" && !this.#isWrapped));
    const { source, actual, metadata } = this.#known(isUnseen, ending);
    const charged = await charge(this.#guards, source === undefined ? undefined : actual, {
      metadata,
      metrics: this.#metrics,
      keepalive: ending === "page-closed",
    });
    return {
      ending,
      ...(source !== undefined && { source }),
      actual: this.#figure(actual),
      charged: this.#figure(charged),
    };
  }

  /** What was used as far as anybody knows, and who does; nobody where nothing of it was seen. */
  #known(isUnseen: boolean, ending: StreamEnding | "gone") {
    const spent = this.#host.spent();
    const beside = spent > 0n ? "local" : undefined;
    const source: ChargeSource | undefined = this.#source ?? (isUnseen ? beside : "estimate");
    let actual = this.#counted + spent;
    if (source === "estimate" && actual < this.#held) actual = this.#held;
    const metadata = { ...this.#metadata, ...(source !== undefined && { source }), ending };
    return { source, actual, metadata };
  }

  #sum(before: bigint, amount: Figure): bigint {
    const unit = this.#guards[0]?.reserved.unit ?? "TOKENS";
    checkAmount("amount", { unit, amount });
    const sum = before + BigInt(amount);
    checkAmount("sum", { unit, amount: this.#figure(sum) });
    return sum;
  }

  /** As the guard's own amounts are. */
  #figure(amount: bigint): F {
    const isExact = typeof this.#guards[0]?.reserved.amount === "bigint";
    return (isExact ? amount : Number(amount)) as F;
  }
}
