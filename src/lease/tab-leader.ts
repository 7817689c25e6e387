// The leading tab: it holds one lease at the authority, the trunk, and lends slices of it to every tab, itself included. Invariant:
// what it lends or gives back stands in a book that the other tabs have before anybody acts on it, so whoever leads next
// knows at least what was lent. It asks the authority one thing at a time. Who may call: the tabs' authority.

import type { AuthorityDenial, CallOptions, Denied } from "../authority/authority.ts";
import type {
  LeaseAuthority,
  Leased,
  LeaseExpiryPolicy,
  LeaseName,
  LeaseRenewal,
  LeaseReport,
  LeaseRequest,
} from "../authority/leases.ts";
import type { Unit } from "../ledger/schema.ts";
import type { Subject } from "../ledger/scope.ts";
import { type Life, leftMs, lifeOf, type Moment } from "./life.ts";
import { isLost, isRefusal } from "./refusal.ts";
import type { TabBook, TabSlice, Trunk } from "./tab-book.ts";
import * as Book from "./tab-book.ts";
import { noLeader, type TabAsk, type TabReply } from "./tab-messages.ts";

export interface TabLeaderParts {
  readonly authority: LeaseAuthority;
  readonly unit: Unit;
  readonly subject: Subject | undefined;
  readonly ttlMs: number | undefined;
  readonly holder: string | undefined;
  readonly now: () => Moment;
  readonly newKey: () => string;
  /** Tells the other tabs the book; resolves once it has reached them. */
  readonly publish: (book: TabBook) => Promise<void>;
}

export class TabLeader {
  readonly #parts: TabLeaderParts;
  #book: TabBook;
  /** The latest book that the other tabs have. Who leads next may know no more than this. */
  #told: TabBook;
  /** When the present trunk may be used no longer, and when it is to be renewed; unknown until the authority has answered. */
  #life: Life | undefined;
  /** The authority's word for the present trunk, and so for its slices. */
  #onExpiry: LeaseExpiryPolicy = "charge";
  /** Why the authority gave less than was wanted when it was last asked. */
  #shortage: AuthorityDenial | undefined;
  /** The trunk that was denied last. Asked for again, the authority takes it for the same holder's. */
  #lastDenied: TabBook["opening"];
  #recall = 0;
  /** For how long a slice lives at the most, and when each last reported or was told so; one from before, when this tab began to lead. */
  #sliceMs = Number.POSITIVE_INFINITY;
  readonly #heardAtMs = new Map<string, number>();
  readonly #beganMs: number;
  #line: Promise<unknown> = Promise.resolve();
  readonly #opening = new Map<string, Promise<TabReply>>();

  /** @param book - what is known of earlier leaders */
  constructor(parts: TabLeaderParts, book: TabBook) {
    this.#parts = parts;
    this.#beganMs = parts.now().monotonicMs;
    this.#book = { ...book, term: book.term + 1, serial: 0 };
    this.#told = this.#book;
  }

  get book(): TabBook {
    return this.#book;
  }

  /** Tells everyone that it leads, and hears from the authority what has become of the trunk. */
  async begin(): Promise<void> {
    await this.#publish();
    if (Book.presentTrunk(this.#book) === undefined) return;
    // If the authority cannot be reached now, it is asked again with the first call.
    await this.#inLine(() => this.#callUp(0)).catch(() => undefined);
  }

  async serve(ask: TabAsk, options?: CallOptions): Promise<TabReply> {
    switch (ask.op) {
      case "lease":
        return this.#leaseOnce(ask.request, options);
      case "renew":
        return this.#renew(ask.lease, ask.renewal, options);
      case "return":
        return this.#return(ask.lease, ask.report, options);
    }
  }

  /**
   * Gives back what nobody has; with nothing lent, the trunk itself.
   * @param options - with `keepalive` the page may be gone before anything else happens: everything is said at once
   */
  async giveBack(options?: CallOptions): Promise<void> {
    const trunk = Book.presentTrunk(this.#book);
    if (trunk === undefined) return;
    this.#book = Book.withReturn(this.#book, trunk, Book.freeOf(this.#book, trunk));
    const isLast = Book.lentOf(this.#book, trunk) === 0;
    if (isLast) this.#book = Book.withEnd(this.#book, trunk);
    const { name, report } = this.#nextReport(trunk);
    await this.#tell(options);
    const { authority } = this.#parts;
    if (!isLast) await authority.renewLease(name, { ...report, want: 0 }, options);
    else {
      await authority.returnLease(name, report, options);
      this.#book = Book.withHeard(this.#book, trunk, report);
    }
    await this.#publish();
  }

  /** The same question may come twice, from a tab that asks again whoever leads now: it is one slice. */
  #leaseOnce(request: LeaseRequest, options?: CallOptions): Promise<TabReply> {
    const id = request.idempotencyKey ?? this.#parts.newKey();
    const underWay = this.#opening.get(id);
    if (underWay !== undefined) return underWay;
    const reply = this.#lease(id, request, options).finally(() => this.#opening.delete(id));
    this.#opening.set(id, reply);
    return reply;
  }

  async #lease(id: string, request: LeaseRequest, options?: CallOptions): Promise<TabReply> {
    if (Book.sliceOf(this.#book, id) !== undefined) {
      // It may come long after the first time, and nobody else may have renewed the lease meanwhile.
      await this.#supplied(0, options, (failure) => {
        if (failure !== undefined && this.#leftMs() <= 0) throw failure;
      });
      return this.#answer(id, Book.sliceOf(this.#book, id), request.ttlMs);
    }
    const want = Number(request.want);
    const min = Number(request.min ?? 1);
    await this.#supplied(want, options, (failure) => {
      const trunk = Book.presentTrunk(this.#book);
      const granted =
        trunk === undefined ? 0 : this.#fit(trunk, { missing: want, idle: 0, min, newcomers: 1 });
      const isUsable = failure === undefined || this.#leftMs() > 0;
      if (trunk === undefined || granted < min || !isUsable) {
        if (failure !== undefined) throw failure;
        return;
      }
      this.#book = Book.withSlice(this.#book, trunk, id, { granted, want });
    });
    const slice = Book.sliceOf(this.#book, id);
    if (slice === undefined) return this.#denied(want);
    await this.#publish();
    return this.#answer(id, slice, request.ttlMs);
  }

  async #renew({ leaseId }: LeaseName, renewal: LeaseRenewal, options?: CallOptions): Promise<TabReply> {
    const isNew = this.#hear(leaseId, renewal, false);
    const want = Number(renewal.want);
    /** The slice and how much it wants, as long as it is one of the present trunk. */
    const place = () => {
      const slice = Book.sliceOf(this.#book, leaseId);
      const trunk = Book.presentTrunk(this.#book);
      if (slice === undefined || slice.isReturned || trunk?.number !== slice.trunk) return undefined;
      return { slice, trunk, missing: Math.max(0, want - Book.lentTo(slice)) };
    };
    if (isNew && place() !== undefined) {
      let more = 0;
      await this.#supplied(place()?.missing ?? 0, options, (failure) => {
        const found = place();
        if (failure !== undefined && this.#leftMs() <= 0) throw failure;
        if (found === undefined) return;
        const { slice, trunk, missing } = found;
        const min = Math.max(0, Number(renewal.min ?? 0) - Book.lentTo(slice));
        more = this.#fit(trunk, { missing, idle: Book.idleIn(slice), min, newcomers: 0 });
        this.#book = Book.withGrowth(this.#book, leaseId, { more, want });
      });
      if (more > 0) await this.#publish();
    }
    return this.#answer(leaseId, Book.sliceOf(this.#book, leaseId), renewal.ttlMs);
  }

  async #return({ leaseId }: LeaseName, report: LeaseReport, options?: CallOptions): Promise<TabReply> {
    const before = Book.sliceOf(this.#book, leaseId);
    if (this.#hear(leaseId, report, true)) {
      // The page goes, and what has come back just now is nobody's.
      if (options?.keepalive === true) await this.giveBack(options).catch(() => undefined);
      // The last word on it: nobody says it again to whoever leads next.
      await this.#tell(options);
      await this.#tellPast(options);
    }
    return this.#answer(leaseId, Book.sliceOf(this.#book, leaseId) ?? before, 0, true);
  }

  #noteHeard(id: string): void {
    this.#heardAtMs.set(id, this.#parts.now().monotonicMs);
  }

  /** Whether somebody has a part of the trunk who has said nothing for longer than any slice lives: his tab is gone, or asleep. */
  #hasSilent(trunk: Trunk): boolean {
    for (const id of this.#heardAtMs.keys()) {
      if (Book.sliceOf(this.#book, id) === undefined) this.#heardAtMs.delete(id);
    }
    const sinceMs = this.#parts.now().monotonicMs - this.#sliceMs;
    const heardAtMs = ({ id }: TabSlice) => this.#heardAtMs.get(id) ?? this.#beganMs;
    return this.#book.slices.some(
      (slice) => slice.trunk === trunk.number && Book.lentTo(slice) > 0 && heardAtMs(slice) < sinceMs,
    );
  }

  /** Books a slice's report, unless one with its number was heard. @returns whether it was new */
  #hear(id: string, report: LeaseReport, isLast: boolean): boolean {
    this.#noteHeard(id);
    const slice = Book.sliceOf(this.#book, id);
    if (slice === undefined || report.sequence <= slice.sequence) return false;
    const figures = {
      spent: Number(report.spent),
      held: Number(report.held),
      returned: Number(report.returned),
    };
    this.#book = Book.withReport(this.#book, id, { ...figures, sequence: report.sequence }, isLast);
    return true;
  }

  /** Runs `decide` once as much is free, or once the authority has said what there is, or could not be reached. */
  async #supplied(
    need: number,
    options: CallOptions | undefined,
    decide: (failure: unknown) => void,
  ): Promise<void> {
    if (this.#isSupplied(need)) {
      decide(undefined);
      return;
    }
    await this.#inLine(async () => {
      let failure: unknown;
      if (!this.#isSupplied(need)) {
        await this.#callUp(need, options).catch((error: unknown) => {
          failure = error;
        });
      }
      decide(failure);
    });
  }

  #isSupplied(need: number): boolean {
    const trunk = Book.presentTrunk(this.#book);
    if (trunk === undefined || this.#life === undefined) return false;
    if (this.#parts.now().monotonicMs >= this.#life.renewAtMs || this.#leftMs() <= 0) return false;
    return Book.freeOf(this.#book, trunk) >= need;
  }

  /** What one tab may get now: what it misses, or as much as brings it to its share where there is too little for all. */
  #fit(
    trunk: Trunk,
    tab: { readonly missing: number; readonly idle: number; readonly min: number; readonly newcomers: 0 | 1 },
  ): number {
    const granted = Math.min(tab.missing, Book.freeOf(this.#book, trunk));
    if (!this.#isShort) return granted;
    const share = Book.evenShare(this.#book, trunk, tab.newcomers);
    return Math.min(granted, Math.max(tab.min, share - tab.idle));
  }

  get #isShort(): boolean {
    return this.#shortage !== undefined || this.#recall > 0;
  }

  /** One call to the authority: opens a trunk or renews it, so that `need` is free and there is some for the next calls. */
  async #callUp(need: number, options?: CallOptions): Promise<void> {
    const trunk = Book.presentTrunk(this.#book);
    if (trunk === undefined) {
      await this.#tellPast(options);
      // One that was asked for, and not answered, may have been granted: who asks again hears of it.
      if (need > 0 || this.#book.opening !== undefined) await this.#open(need, options);
      return;
    }
    const isSpare = need === 0 && this.#recall > 0;
    if (isSpare) {
      const back = Math.min(this.#recall, Book.freeOf(this.#book, trunk));
      this.#book = Book.withReturn(this.#book, trunk, back);
    }
    const { name, report } = this.#nextReport(trunk);
    await this.#publish();
    const want = report.held + Math.max(need, isSpare ? 0 : Book.wantedOf(this.#book, trunk));
    const sent = this.#parts.now();
    const { authority, ttlMs } = this.#parts;
    const renewal = { ...report, want, ...(ttlMs !== undefined && { ttlMs }) };
    const answer = await authority.renewLease(name, renewal, options).catch((error: unknown) => {
      if (isLost(error)) return undefined;
      throw error;
    });
    if (answer === undefined) this.#book = Book.without(this.#book, trunk.number);
    else this.#take(trunk, answer, sent);
    // What a dead tab had is settled as any dead holder's, by giving the lease back: who lives moves on to another one.
    if (answer?.state === "active" && !this.#hasSilent(trunk)) return;
    if (answer !== undefined) this.#book = Book.withEnd(this.#book, trunk);
    await this.#tellPast(options);
    if (need > 0) await this.#open(need, options);
  }

  async #open(need: number, options?: CallOptions): Promise<void> {
    const { authority, unit, subject, ttlMs, holder, newKey, now } = this.#parts;
    // As much again as is asked for: the next tab, or the next call, finds something.
    const opening = this.#book.opening ?? this.#lastDenied ?? { key: newKey(), want: 2 * need };
    this.#book = { ...this.#book, opening };
    await this.#publish();
    const sent = now();
    const request = {
      ...(subject !== undefined && { subject }),
      unit,
      want: opening.want,
      idempotencyKey: opening.key,
      ...(ttlMs !== undefined && { ttlMs }),
      ...(holder !== undefined && { holder }),
    };
    const answer = await authority.lease(request, options).catch((error: unknown) => {
      if (isRefusal(error)) {
        this.#forgetOpening();
        this.#lastDenied = undefined;
      }
      throw error;
    });
    this.#lastDenied = answer.ok ? undefined : opening;
    if (!answer.ok) {
      this.#forgetOpening();
      this.#shortage = answer.denial;
      return;
    }
    const { leaseId, epoch, granted, sequence, affectedScopes } = answer;
    const name = { leaseId, epoch, unit, ...(subject !== undefined && { subject }) };
    this.#book = Book.withTrunk(this.#book, { name, affectedScopes, granted: granted.amount, sequence });
    const trunk = this.#book.trunks.at(-1);
    if (trunk === undefined) return;
    this.#take(trunk, answer, sent);
    if (answer.state === "ended") this.#book = Book.withEnd(this.#book, trunk);
  }

  #forgetOpening(): void {
    const { opening: _, ...rest } = this.#book;
    this.#book = rest;
  }

  #take(trunk: Trunk, answer: Leased, sent: Moment): void {
    const { granted, sequence, remainingTtlMs, onExpiry, recall, shortage } = answer;
    this.#book = Book.withAnswer(this.#book, trunk, { granted: granted.amount, sequence });
    this.#life = lifeOf(sent, remainingTtlMs);
    this.#sliceMs = remainingTtlMs;
    this.#onExpiry = onExpiry;
    this.#recall = recall;
    this.#shortage = shortage;
  }

  /** Numbers the next report on a trunk; the number is told to the others with the book. */
  #nextReport(trunk: Trunk): { readonly name: LeaseName; readonly report: Book.SliceReport } {
    this.#book = Book.withNextReport(this.#book, trunk);
    const present = this.#book.trunks.find(({ number }) => number === trunk.number) ?? trunk;
    return { name: trunk.name, report: Book.reportOf(this.#book, present) };
  }

  /** Tells the authority what is new of trunks that are over. What fails now is told with a later call. */
  async #tellPast(options?: CallOptions): Promise<void> {
    for (const trunk of this.#book.trunks.filter(({ isDue }) => isDue)) {
      const { name, report } = this.#nextReport(trunk);
      await this.#tell(options);
      try {
        await this.#parts.authority.returnLease(name, report, options);
        this.#book = Book.withHeard(this.#book, trunk, report);
      } catch (error) {
        if (!isLost(error)) return;
        this.#book = Book.without(this.#book, trunk.number);
      }
    }
  }

  /** What a slice's tab is told. A slice that is not known is one of a trunk that was forgotten: it is over. */
  #answer(leaseId: string, slice: TabSlice | undefined, ttlMs?: number, isOver = false): Leased {
    const { unit, now } = this.#parts;
    const trunk = this.#book.trunks.find(({ number }) => number === slice?.trunk);
    const isActive = slice !== undefined && !slice.isReturned && trunk?.isOver === false && !isOver;
    if (isActive) this.#noteHeard(leaseId);
    const leftMs = isActive ? this.#leftMs() : 0;
    if (isActive && leftMs <= 0) throw noLeader("the lease that the tabs share could not be renewed in time");
    const remainingTtlMs = Math.floor(Math.min(leftMs, ttlMs ?? leftMs));
    // Another call for the same slice may have just been granted more, of which the other tabs have not heard yet.
    const granted = (isActive ? Book.sliceOf(this.#told, leaseId) : slice)?.granted ?? 0;
    return {
      ok: true,
      leaseId,
      epoch: slice?.trunk ?? 0,
      sequence: slice?.sequence ?? 0,
      state: isActive ? "active" : "ended",
      granted: { unit, amount: granted },
      outstanding: slice === undefined ? 0 : Book.lentTo({ ...slice, granted }),
      recall: isActive && this.#isShort ? this.#recallFrom(slice, trunk) : 0,
      remainingTtlMs,
      graceMs: 0,
      expiresAtMs: now().wallMs + remainingTtlMs,
      onExpiry: this.#onExpiry,
      ...(isActive && this.#shortage !== undefined && { shortage: this.#shortage }),
      affectedScopes: trunk?.affectedScopes ?? [],
    };
  }

  #recallFrom(slice: TabSlice, trunk: Trunk): number {
    return Math.max(0, Book.idleIn(slice) - Book.evenShare(this.#book, trunk, 0));
  }

  #denied(requested: number): Denied {
    const denial: AuthorityDenial = this.#shortage ?? {
      code: "BUDGET_EXCEEDED",
      message: `The tabs have less than ${requested} left between them`,
      retry: "when-released",
    };
    return { ok: false, denial };
  }

  #leftMs(): number {
    return this.#life === undefined ? 0 : leftMs(this.#life, this.#parts.now());
  }

  #inLine<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#line.then(work);
    this.#line = turn.catch(() => undefined);
    return turn;
  }

  /** Tells the other tabs before the authority; a page that goes does not wait until they have heard. */
  async #tell(options: CallOptions | undefined): Promise<void> {
    const published = this.#publish();
    if (options?.keepalive !== true) await published;
  }

  async #publish(): Promise<void> {
    const book = { ...this.#book, serial: this.#book.serial + 1 };
    this.#book = book;
    await this.#parts.publish(book);
    if (book.serial > this.#told.serial) this.#told = book;
  }
}
