// Several tabs of one origin share one lease: each sees an authority like any other here and opens its LeasedBudget on it; the tab
// that holds a Web Lock leads and has the lease, the others ask it over a BroadcastChannel. When the leading tab dies, the
// lock goes to the next one at once, which takes over the lease with the book that all of them have heard.
// Invariant: what the tabs can spend together is within what the one lease was granted. Who may call: a page's script.

import { checkInteger, checkName, invalidArgument } from "../arguments.ts";
import type { CallOptions, Denied } from "../authority/authority.ts";
import type {
  LeaseAuthority,
  Leased,
  LeaseName,
  LeaseRenewal,
  LeaseReport,
  LeaseRequest,
  LeaseState,
  UnitExposure,
} from "../authority/leases.ts";
import { platformWith, type Surroundings } from "../authority/surroundings.ts";
import { AsyncScoped } from "../dispose-async.ts";
import type { Unit } from "../ledger/schema.ts";
import type { Subject } from "../ledger/scope.ts";
import type { Moment } from "./life.ts";
import { HOLDER_LIMITS } from "./limits.ts";
import { EMPTY_BOOK, isNewer, type TabBook } from "./tab-book.ts";
import { TabLeader } from "./tab-leader.ts";
import { TAB_LIMITS } from "./tab-limits.ts";
import {
  errorOfFault,
  faultOf,
  isTabMessage,
  noLeader,
  type TabAsk,
  type TabMessage,
  type TabReply,
} from "./tab-messages.ts";

/** The part of a BroadcastChannel that is used: what is posted reaches every other channel of the name, in its order. */
export interface TabChannel {
  postMessage(message: unknown): void;
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
  close(): void;
}

/** The part of `navigator.locks` that is used. */
export interface TabLocks {
  request(
    name: string,
    options: { readonly signal: AbortSignal },
    callback: () => Promise<void>,
  ): Promise<unknown>;
  query(): Promise<{ readonly pending?: readonly { readonly name?: string | undefined }[] | undefined }>;
}

export interface TabAuthorityOptions extends Pick<Surroundings, "newKey" | "sleep" | "now" | "monotonicNow"> {
  /** The real one. Each tab has its own way to it; only the leading tab's is used. */
  readonly authority: LeaseAuthority;
  readonly unit: Unit;
  readonly subject?: Subject;
  /** Tabs of one origin with the same name share a lease, so authority, unit and subject must be the same: 1 … 128 characters. */
  readonly name: string;
  /** How long the shared lease is to last unless it is renewed. */
  readonly ttlMs?: number;
  /** Who holds it, for lists. */
  readonly holder?: string;
  readonly channel?: (name: string) => TabChannel;
  readonly locks?: TabLocks;
  /** Where `pagehide` is heard; the page itself by default. */
  readonly page?: Pick<EventTarget, "addEventListener" | "removeEventListener"> | undefined;
}

interface Waiting {
  readonly ask: TabAsk;
  readonly options: CallOptions | undefined;
  readonly settle: (outcome: { readonly reply: TabReply } | { readonly error: unknown }) => void;
}

/**
 * @example
 * const tabs = new TabAuthority({ authority, unit: "TOKENS", subject: { agent: "writer" }, name: "writer" });
 * await using budget = await LeasedBudget.open(tabs, { unit: "TOKENS" });
 */
export class TabAuthority extends AsyncScoped implements LeaseAuthority {
  readonly #options: TabAuthorityOptions;
  readonly #name: string;
  readonly #id: string;
  readonly #now: () => Moment;
  readonly #newKey: () => string;
  readonly #sleep: Required<Surroundings>["sleep"];
  readonly #channel: TabChannel;
  /** Hears what this tab says itself: what has come back here has gone out to all others. */
  readonly #echo: TabChannel;
  readonly #page: TabAuthorityOptions["page"];
  readonly #closing = new AbortController();
  readonly #waiting = new Map<number, Waiting>();
  /** Calls for a slice whose callers know no key of it, and so cannot ask for the same one again. */
  readonly #nameless = new Set<number>();
  readonly #echoes = new Map<number, () => void>();
  readonly #elected: Promise<unknown>;
  #number = 0;
  #book: TabBook = EMPTY_BOOK;
  #leader: TabLeader | undefined;
  #resign: () => void = () => undefined;
  #onRollAnswer: () => void = () => undefined;
  #onOwnQuestion: () => void = () => undefined;

  constructor(options: TabAuthorityOptions) {
    super();
    checkName("name", options.name, TAB_LIMITS.nameLengthMax);
    if (options.ttlMs !== undefined) {
      checkInteger("ttlMs", options.ttlMs, HOLDER_LIMITS.ttlMsMin, HOLDER_LIMITS.ttlMsMax);
    }
    this.#options = options;
    this.#name = `purser-tabs:${options.name}`;
    const { newKey, sleep, now, monotonicNow } = platformWith(options);
    this.#newKey = newKey;
    this.#sleep = sleep;
    this.#now = () => ({ monotonicMs: monotonicNow(), wallMs: now() });
    this.#id = this.#newKey();
    const open = options.channel ?? ((name: string): TabChannel => new BroadcastChannel(name));
    this.#channel = open(this.#name);
    this.#channel.addEventListener("message", ({ data }) => {
      if (isTabMessage(data)) this.#hear(data);
    });
    this.#echo = open(this.#name);
    this.#echo.addEventListener("message", ({ data }) => {
      if (isTabMessage(data) && data.kind === "book" && data.from === this.#id) this.#hearEcho(data.book);
    });
    this.#page = "page" in options ? options.page : thisPage();
    this.#page?.addEventListener("pagehide", this.#onPageHide);
    const locks = options.locks ?? navigator.locks;
    const { signal } = this.#closing;
    this.#elected = locks
      .request(this.#name, { signal }, () => this.#lead(locks))
      .catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
  }

  /** Whether this tab holds the lease for the others. */
  get leads(): boolean {
    return this.#leader !== undefined;
  }

  lease(request: LeaseRequest, options?: CallOptions): Promise<Leased | Denied> {
    this.#checkOwn(request);
    const { idempotencyKey = this.#newKey() } = request;
    const isNameless = request.idempotencyKey === undefined;
    return this.#call({ op: "lease", request: { ...request, idempotencyKey } }, options, isNameless);
  }

  async renewLease(lease: LeaseName, renewal: LeaseRenewal, options?: CallOptions): Promise<Leased> {
    return leasedIn(await this.#call({ op: "renew", lease, renewal }, options));
  }

  async returnLease(lease: LeaseName, report: LeaseReport, options?: CallOptions): Promise<Leased> {
    return leasedIn(await this.#call({ op: "return", lease, report }, options));
  }

  /** The tenant's, of which the tabs' own is one. */
  leases(
    query?: { readonly status?: LeaseState["status"]; readonly pageRows?: number },
    options?: CallOptions,
  ): AsyncIterable<LeaseState> {
    return this.#options.authority.leases(query, options);
  }

  exposure(options?: CallOptions): Promise<readonly UnitExposure[]> {
    return this.#options.authority.exposure(options);
  }

  /** Leaves the other tabs: gives back what nobody has if it leads, and lets the next one lead. Calls under way are rejected. */
  async dispose(): Promise<void> {
    if (this.#closing.signal.aborted) return this.#elected.then(() => undefined);
    await this.#leader?.giveBack().catch(() => undefined);
    this.#closing.abort(noLeader("the tab has left the others"));
    this.#page?.removeEventListener("pagehide", this.#onPageHide);
    for (const { settle } of [...this.#waiting.values()]) settle({ error: this.#closing.signal.reason });
    for (const heard of this.#echoes.values()) heard();
    this.#leader = undefined;
    this.#channel.close();
    this.#echo.close();
    this.#resign();
    await this.#elected;
  }

  // ---- asking ------------------------------------------------------------------------------------------------------

  #checkOwn({ unit, subject }: LeaseRequest): void {
    const own = this.#options;
    if (unit !== own.unit) throw invalidArgument("unit", `${own.unit}, which the tabs share`, unit);
    if (subject !== undefined && JSON.stringify(subject) !== JSON.stringify(own.subject))
      throw invalidArgument("subject", "left out, or the one that the tabs share", JSON.stringify(subject));
  }

  #call(ask: TabAsk, options: CallOptions | undefined, isNameless = false): Promise<TabReply> {
    const { signal } = this.#closing;
    if (signal.aborted) return Promise.reject(signal.reason);
    if (options?.signal?.aborted === true) return Promise.reject(options.signal.reason);
    this.#number += 1;
    const number = this.#number;
    if (isNameless) this.#nameless.add(number);
    const over = new AbortController();
    return new Promise<TabReply>((resolve, reject) => {
      const settle: Waiting["settle"] = (outcome) => {
        if (!this.#waiting.delete(number)) return;
        over.abort();
        options?.signal?.removeEventListener("abort", onAbort);
        if ("reply" in outcome) resolve(outcome.reply);
        else reject(outcome.error);
      };
      const onAbort = (): void => settle({ error: options?.signal?.reason });
      options?.signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiting.set(number, { ask, options, settle });
      void this.#sleep(TAB_LIMITS.answerMs, over.signal).then(
        () => settle({ error: noLeader("no tab leads that could answer in time") }),
        () => undefined,
      );
      this.#send(number);
    });
  }

  /** To the leader: here, or wherever it is. Asked again, a call is the same call. */
  #send(number: number): void {
    const waiting = this.#waiting.get(number);
    if (waiting === undefined) return;
    const { ask, options, settle } = waiting;
    if (this.#leader === undefined) {
      this.#post({ kind: "ask", from: this.#id, number, ask });
      return;
    }
    this.#leader.serve(ask, options?.keepalive === true ? { keepalive: true } : undefined).then(
      (reply) => this.#arrived(number, reply),
      (error: unknown) => settle({ error }),
    );
  }

  #post(message: TabMessage): void {
    if (!this.#closing.signal.aborted) this.#channel.postMessage(message);
  }

  // ---- hearing -----------------------------------------------------------------------------------------------------

  #hear(message: TabMessage): void {
    switch (message.kind) {
      case "ask":
        this.#answer(message);
        return;
      case "reply":
        if (message.to === this.#id) this.#arrived(message.number, message.reply);
        return;
      case "fault":
        if (message.to !== this.#id) return;
        this.#waiting.get(message.number)?.settle({ error: errorOfFault(message.fault) });
        return;
      case "book":
        this.#hearBook(message.book);
        return;
      case "who":
        if (message.from === this.#id) this.#onOwnQuestion();
        else this.#post({ kind: "here", to: message.from, book: this.#book });
        return;
      case "here":
        if (message.to !== this.#id) return;
        this.#keep(message.book);
        this.#onRollAnswer();
        return;
    }
  }

  #answer({ from, number, ask }: TabMessage & { readonly kind: "ask" }): void {
    this.#leader?.serve(ask).then(
      (reply) => this.#post({ kind: "reply", to: from, number, reply }),
      (error: unknown) => this.#post({ kind: "fault", to: from, number, fault: faultOf(error) }),
    );
  }

  #arrived(number: number, reply: TabReply): void {
    const isNameless = this.#nameless.delete(number);
    const waiting = this.#waiting.get(number);
    if (waiting !== undefined) waiting.settle({ reply });
    // Nobody waits for this slice any more, nor can come for it. Who has its key may have asked again, and got it.
    else if (isNameless && reply.ok) this.#giveBackUnused(reply);
  }

  #giveBackUnused({ leaseId, epoch, granted }: Leased): void {
    const lease = { leaseId, epoch, unit: granted.unit };
    const report = { sequence: 1, spent: 0, held: 0, returned: granted.amount };
    this.#call({ op: "return", lease, report }, undefined).catch(() => undefined);
  }

  #hearBook(book: TabBook): void {
    const isNewLeader = book.term > this.#book.term;
    this.#keep(book);
    if (isNewLeader) for (const number of [...this.#waiting.keys()]) this.#send(number);
  }

  #keep(book: TabBook): void {
    if (isNewer(book, this.#book)) this.#book = book;
  }

  #hearEcho({ serial }: TabBook): void {
    this.#echoes.get(serial)?.();
    this.#echoes.delete(serial);
  }

  // ---- leading -----------------------------------------------------------------------------------------------------

  /** Runs while this tab has the lock. */
  async #lead(locks: TabLocks): Promise<void> {
    const { signal } = this.#closing;
    await this.#callRoll(locks);
    if (signal.aborted) return;
    const { authority, unit, subject, ttlMs, holder } = this.#options;
    const publish = (book: TabBook): Promise<void> => this.#publish(book);
    const parts = { authority, unit, subject, ttlMs, holder, now: this.#now, newKey: this.#newKey, publish };
    const leader = new TabLeader(parts, this.#book);
    const resigned = new Promise<void>((resolve) => {
      this.#resign = resolve;
    });
    this.#leader = leader;
    await leader.begin();
    for (const number of [...this.#waiting.keys()]) this.#send(number);
    await resigned;
  }

  /**
   * Hears all that earlier leaders have said: nothing is led before that. What they acted on lies in this tab's own channel at the
   * latest, so the question that comes round behind it is waited for, however busy this tab is; other tabs' books, which
   * should say no more, for a moment.
   */
  async #callRoll(locks: TabLocks): Promise<void> {
    const { pending = [] } = await locks.query();
    const { signal } = this.#closing;
    if (signal.aborted) return;
    let missing = pending.filter(({ name }) => name === this.#name).length;
    const over = new AbortController();
    const others = new Promise<void>((resolve) => {
      if (missing === 0) resolve();
      this.#onRollAnswer = () => {
        missing -= 1;
        if (missing === 0) resolve();
      };
    });
    const cameRound = new Promise<void>((resolve) => {
      this.#onOwnQuestion = resolve;
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    this.#echo.postMessage({ kind: "who", from: this.#id } satisfies TabMessage);
    const late = this.#sleep(TAB_LIMITS.rollCallMs, over.signal).catch(() => undefined);
    await Promise.all([cameRound, Promise.race([others, late])]);
    over.abort();
  }

  /** Resolves once the book has come back from the channel: then every other tab has it, or will before anything later. */
  #publish(book: TabBook): Promise<void> {
    this.#book = book;
    if (this.#closing.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      this.#echoes.set(book.serial, resolve);
      this.#post({ kind: "book", from: this.#id, book });
    });
  }

  /** The page goes: what nobody has goes back now, since nobody may be left to do it. */
  readonly #onPageHide = (): void => {
    this.#leader?.giveBack({ keepalive: true }).catch(() => undefined);
  };
}

function leasedIn(reply: TabReply): Leased {
  if (reply.ok) return reply;
  throw noLeader(`a lease that is held was denied: ${reply.denial.message}`);
}

function thisPage(): TabAuthorityOptions["page"] {
  return typeof globalThis.addEventListener === "function" ? globalThis : undefined;
}
