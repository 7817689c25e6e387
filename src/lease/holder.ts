// The holder of a lease: asks the authority, one call at a time, and moves the local budget as the answers allow.
// Invariant: what the local budget may have out is never more than what the authority has charged or set aside, and what
// the holder lent itself within its allowance (book.ts). Idle budget is taken out of local reach before it is reported
// as returned, and granted budget is put there only after the answer. Each try has a number of its own, and all figures
// are cumulative, so what is lost, repeated or late does no harm. Who may call: LeasedBudget.

import type { AuthorityDenial, Balance, CallOptions } from "../authority/authority.ts";
import type {
  LeaseAuthority,
  Leased,
  LeaseExpiryPolicy,
  LeaseName,
  LeaseRequest,
} from "../authority/leases.ts";
import type { AtomicTokenBudget } from "../budgets/atomic-token-budget.ts";
import { LeaseBook, type PastLease, type Reading, type Told } from "./book.ts";
import { type Life, leftMs, lifeOf, type Moment } from "./life.ts";
import { HOLDER_LIMITS } from "./limits.ts";
import { Pace, type PaceBounds } from "./pace.ts";
import { isLost, isRefusal } from "./refusal.ts";
import type { Attention } from "./slice.ts";

/** What every lease of this holder is asked for with. */
export interface LeaseTerms extends Pick<LeaseRequest, "subject" | "unit" | "holder"> {
  readonly ttlMs: number;
}

export interface HolderParts {
  readonly authority: LeaseAuthority;
  readonly terms: LeaseTerms;
  readonly local: AtomicTokenBudget;
  readonly bounds: PaceBounds;
  readonly clock: () => Moment;
  readonly newKey: () => string;
  /** How many takes were granted in this thread. */
  readonly decisions: () => number;
  readonly attention: Attention;
}

/** What the next call should come to. */
export interface Ask {
  /** What somebody waits for, or was refused: so much should be idle at least. */
  readonly needs: number;
  readonly keepalive?: boolean;
}

/** `none`: no lease. `active`: one that may be used while it lives. `over`: one that is still to be returned. */
type Phase = "none" | "active" | "over";

/** Tries of one snapshot while other threads go on. */
const SNAPSHOT_TRIES = 8;

export class Holder {
  readonly #parts: HolderParts;
  readonly #book = new LeaseBook();
  readonly #pace: Pace;
  #phase: Phase = "none";
  #name: LeaseName | undefined;
  #sequence = 0;
  #life: Life | undefined;
  #onExpiry: LeaseExpiryPolicy = "charge";
  #shortage: AuthorityDenial | undefined;
  /** The budget of the path that had the least left, as the authority said last; unknown where it did not. */
  #tightest: Balance | undefined;
  /** What was had when more was asked for: there is no point in asking again before this time, on the monotonic clock. */
  #most:
    | { readonly amount: number; readonly untilMs: number; readonly shortage: AuthorityDenial }
    | undefined;
  /** What the authority lets be idle here, after it asked for some back. */
  #ceiling = Number.POSITIVE_INFINITY;
  #lowWater = 0;
  /** A lease that was asked for, and of which no answer has told so far. Asked for again, it is the same one. */
  #pending: LeaseRequest | undefined;
  /** The one that was denied last. A copy of it may still wander and be granted: asked for again, it brings that lease. */
  #denied: LeaseRequest | undefined;
  #isClosing = false;
  /** The authority has asked for some back, and does not know that it was taken out of reach here. */
  #hasGivenBack = false;
  #calls = 0;
  readonly #consumedBefore: number;
  /** While it is set, no lease is opened, and one that is on its way goes back when it comes. */
  isPaused = false;

  constructor(parts: HolderParts, firstKey: string | undefined) {
    this.#parts = parts;
    this.#consumedBefore = parts.local.tokensConsumed();
    this.#pace = new Pace(parts.bounds, this.#progress());
    if (firstKey !== undefined) this.#pending = this.#request(firstKey, parts.bounds.first);
  }

  /** How often the authority was asked. */
  get calls(): number {
    return this.#calls;
  }

  get book(): LeaseBook {
    return this.#book;
  }

  get onExpiry(): LeaseExpiryPolicy {
    return this.#onExpiry;
  }

  /** Why the authority gave less than was wanted, the last time. */
  get shortage(): AuthorityDenial | undefined {
    return this.#shortage;
  }

  /** Whether so much could be idle here after a call: more is not asked for, since others would lack it to no avail. */
  canAsk(amount: number): boolean {
    return amount <= this.#pace.slice || amount <= this.reach;
  }

  /** The most that could be idle here, by what the authority said last. */
  get reach(): number {
    const { local, clock } = this.#parts;
    const { amount, untilMs } = this.#most ?? { amount: 0, untilMs: 0 };
    const most = clock().monotonicMs < untilMs ? amount : Number.POSITIVE_INFINITY;
    const left = this.#tightest?.remaining ?? Number.POSITIVE_INFINITY;
    return Math.max(local.available, Math.min(most, local.available + left));
  }

  /** Why `amount` cannot be had, by what the authority said last. */
  shortageOf(amount: number): AuthorityDenial | undefined {
    if (this.#shortage !== undefined || this.canAsk(amount)) return this.#shortage;
    const tightest = this.#tightest;
    const requested = amount - this.#parts.local.available;
    if (tightest === undefined || requested <= tightest.remaining) return this.#most?.shortage;
    return shortageIn(tightest, requested);
  }

  get lease(): LeaseName | undefined {
    return this.#name;
  }

  /** How much should be idle at the present rate. */
  get slice(): number {
    return this.#pace.slice;
  }

  get life(): Life | undefined {
    return this.#phase === "active" ? this.#life : undefined;
  }

  /** Whether so little is idle that more should be asked for. */
  isLow(available: number): boolean {
    return available < this.#lowWater;
  }

  /** Whether something is out that may come back: calls under way, and what `tryReserve` took. */
  get hasUnderWay(): boolean {
    const { local } = this.#parts;
    const out = this.#book.within - local.available + local.debt;
    return out > local.tokensConsumed() - this.#consumedBefore;
  }

  /** Whether the authority is still to be told of leases that are over, or of what it has asked back. */
  get owesReport(): boolean {
    return this.#phase === "over" || this.#hasGivenBack || this.#book.past.some(({ isDue }) => isDue);
  }

  /** Whether calls under way can still change what past leases are charged. */
  get isAtRest(): boolean {
    return !this.owesReport && this.#pending === undefined && this.#book.past.every(({ held }) => held === 0);
  }

  /** The lease's time is up by one of the clocks: nothing of it is granted until the authority has prolonged it. */
  endIfOver(now: Moment): boolean {
    if (this.#phase !== "active" || this.#life === undefined || leftMs(this.#life, now) > 0) return false;
    this.#takeBack(Number.POSITIVE_INFINITY);
    return true;
  }

  /** Reports, prolongs and tops up, or opens a lease; whatever is owed about past ones comes first. @returns what was granted */
  async exchange(ask: Ask): Promise<number> {
    await this.#reportPast(ask);
    let granted = 0;
    if (this.#phase === "active") granted = await this.#renew(ask);
    // It has ended at the authority, as the answer said.
    if (this.#isOver()) await this.#return(ask);
    if (this.#phase !== "none" || this.isPaused) return granted;
    granted = await this.#open(ask);
    if (this.isPaused && this.#isOver()) await this.#return({ ...ask, keepalive: !this.#isClosing });
    return granted;
  }

  /** The authority has answered: what the holder lent itself, and nobody has used, is not to be had any more. */
  #repayItself(): void {
    if (this.#book.lent > 0) this.#takeBack(this.#book.lent);
  }

  /** Takes what the holder may lend itself while the authority cannot be reached. */
  lendItself(allowance: number): void {
    this.#add(this.#book.lend(allowance));
  }

  /** From here on nothing is granted: the lease, if there is one, is over. */
  giveUp(): void {
    if (this.#phase === "active") this.#phase = "over";
    this.#takeBack(Number.POSITIVE_INFINITY);
  }

  /** After it, what `tryReserve` took and nobody released counts as spent. */
  beginClosing(): void {
    this.#isClosing = true;
    this.giveUp();
  }

  /** Reports what is owed, and what has changed since; for ever, until all calls under way have ended. */
  async settle(options: CallOptions): Promise<void> {
    this.#takeBack(Number.POSITIVE_INFINITY);
    if (this.#isOver()) await this.#return(options);
    // Whether that lease was opened is not known here: the same key brings it, and then it goes back.
    if (this.#isClosing && this.#pending !== undefined) await this.#open({ needs: 0 });
    if (this.#isOver()) await this.#return(options);
    if (this.#phase === "none" && this.#isClosing && this.#parts.local.openReservations === 0) {
      this.#takeBack(Number.POSITIVE_INFINITY);
      this.#add(this.#book.atRest(this.#reading().spent));
    }
    await this.#reportPast(options);
  }

  // ---- calls -----------------------------------------------------------------------------------------------------

  async #open({ needs }: Ask): Promise<number> {
    const { authority, clock, newKey } = this.#parts;
    this.#pending ??= this.#denied ?? this.#request(newKey(), Math.max(this.#pace.slice, needs));
    const pending = this.#pending;
    const sent = clock();
    this.#calls++;
    const answer = await authority.lease(pending).catch((error: unknown) => {
      if (isRefusal(error) && this.#pending === pending) this.#pending = undefined;
      throw error;
    });
    // A later try has had its answer already.
    if (this.#pending !== pending) return 0;
    this.#pending = undefined;
    this.#denied = answer.ok ? undefined : pending;
    if (!answer.ok) {
      this.#shortage = answer.denial;
      this.#tightest = undefined;
      this.#repayItself();
      return 0;
    }
    const { leaseId, epoch, sequence, state } = answer;
    const { subject, unit } = pending;
    this.#name = { leaseId, epoch, unit, ...(subject !== undefined && { subject }) };
    this.#sequence = sequence;
    this.#ceiling = Number.POSITIVE_INFINITY;
    this.#phase = state === "active" ? "active" : "over";
    if (state !== "active") return 0;
    const granted = this.#accept(answer, sent, needs);
    if (!this.isPaused) return granted;
    // Closed or hidden meanwhile: nobody is to spend from it.
    this.giveUp();
    return 0;
  }

  async #renew({ needs, ...options }: Ask): Promise<number> {
    const { authority, local, clock, terms } = this.#parts;
    const name = this.#name;
    if (name === undefined) throw new Error("an active lease has a name: a bug in purser");
    this.#pace.note(this.#progress(), terms.ttlMs);
    const idle = Math.max(Math.min(this.#pace.slice, this.#ceiling), needs) + local.debt;
    // A slice that nobody burns any more is given back by itself.
    const surplus = this.#book.returnable(this.#reading()) - idle * HOLDER_LIMITS.shrinkMax;
    if (surplus > 0) this.#takeBack(surplus);
    const told = this.#book.tell(this.#reading());
    const sent = clock();
    this.#calls++;
    const renewal = { ...told, sequence: ++this.#sequence, want: told.held + idle, ttlMs: terms.ttlMs };
    const answer = await authority.renewLease(name, renewal, options).catch((error: unknown) => {
      if (isLost(error)) return undefined;
      throw error;
    });
    if (this.#name !== name) return 0;
    if (answer === undefined) {
      // What was used of it counts as lent to itself, until another lease covers it: at worst it is charged under both.
      this.giveUp();
      return 0;
    }
    this.#book.heard(told);
    this.#hasGivenBack = false;
    if (answer.state === "ended") {
      this.giveUp();
      return 0;
    }
    return this.#phase === "active" ? this.#accept(answer, sent, needs) : 0;
  }

  /** Tells the authority that the lease is over for this holder, and what calls under way still have of it. */
  async #return(options: CallOptions): Promise<void> {
    const name = this.#name;
    if (name === undefined) return;
    this.#takeBack(Number.POSITIVE_INFINITY);
    // What is freed from here on is not idle for the authority: it is part of `held`, and is corrected later.
    const told = this.#book.tell({ ...this.#reading(), idle: 0 });
    const sequence = ++this.#sequence;
    const heard = await this.#tellReturn(name, told, sequence, options);
    if (this.#name !== name) return;
    // Another try may have been sent meanwhile, with a later number.
    if (heard) this.#add(this.#book.ended(name, this.#sequence, told));
    else this.#book.forgotten();
    this.#name = undefined;
    this.#life = undefined;
    this.#hasGivenBack = false;
    this.#phase = "none";
  }

  async #reportPast(options: CallOptions): Promise<void> {
    if (this.#isOver()) await this.#return(options);
    for (const { name } of this.#book.past.filter(({ isDue }) => isDue)) {
      const past = this.#pastOf(name);
      if (past === undefined) continue;
      const sequence = past.sequence + 1;
      this.#book.sentPast(name, sequence);
      await this.#tellReturn(name, past, sequence, options);
      this.#book.heardPast(name, past);
    }
    this.#book.tidy(this.#reading());
  }

  /** @returns false if the authority knows no such lease, or hears nothing of it from this credential */
  async #tellReturn(
    name: LeaseName,
    { spent, held, returned }: Told,
    sequence: number,
    { signal, keepalive }: CallOptions,
  ): Promise<boolean> {
    const options = { ...(signal && { signal }), ...(keepalive && { keepalive }) };
    this.#calls++;
    try {
      await this.#parts.authority.returnLease(name, { spent, held, returned, sequence }, options);
      return true;
    } catch (error) {
      if (isLost(error)) return false;
      throw error;
    }
  }

  // ---- the local budget ------------------------------------------------------------------------------------------

  #accept(answer: Leased, sent: Moment, needs: number): number {
    const granted = this.#book.grantedInAll(answer.granted.amount);
    this.#life = lifeOf(sent, answer.remainingTtlMs);
    this.#onExpiry = answer.onExpiry;
    this.#parts.attention.takes = answer.onExpiry === "refund";
    this.#shortage = answer.shortage;
    this.#tightest = tightestIn(answer);
    this.#add(granted);
    this.#repayItself();
    if (!this.endIfOver(this.#parts.clock())) {
      const before = this.#book.returned;
      if (answer.recall > 0) this.#takeBack(answer.recall);
      this.#trim(answer.shortage, needs);
      this.#hasGivenBack = this.#book.returned > before;
      const { available } = this.#parts.local;
      this.#ceiling = answer.recall > 0 ? available : Number.POSITIVE_INFINITY;
      this.#lowWater = Math.ceil(Math.min(this.#pace.slice, available) * HOLDER_LIMITS.lowWaterShare);
    }
    return granted;
  }

  /** What was had of something larger helps nobody here: it goes back, and others have it. */
  #trim(shortage: AuthorityDenial | undefined, needs: number): void {
    const { local, clock } = this.#parts;
    const amount = local.available;
    if (shortage === undefined || amount >= needs || amount <= this.#pace.slice) return;
    this.#most = { amount, untilMs: clock().monotonicMs + HOLDER_LIMITS.retryMsMax, shortage };
    this.#takeBack(amount - this.#pace.slice);
  }

  #add(amount: number): void {
    if (amount > 0) this.#parts.local.grant(amount);
  }

  /** Takes idle budget out of everybody's reach. All of it if there is no bound, else only what goes back to this lease. */
  #takeBack(amount: number): void {
    const { local } = this.#parts;
    const reading = this.#reading();
    if (reading.idle === 0) return;
    const most = amount === Number.POSITIVE_INFINITY ? Number.MAX_SAFE_INTEGER : amount;
    const wanted = most === Number.MAX_SAFE_INTEGER ? most : Math.min(most, this.#book.returnable(reading));
    this.#book.takenBack(local.counter.fit({ min: 0, want: Math.floor(wanted) }) ?? 0, reading);
  }

  #reading(): Reading {
    const { local } = this.#parts;
    const spent = this.#isClosing ? this.#spentWithTaken() : local.tokensConsumed() - this.#consumedBefore;
    return { spent, idle: local.available };
  }

  /** All that is out but what reservations hold; while other threads go on, never more than that. */
  #spentWithTaken(): number {
    const { local } = this.#parts;
    const out = () => this.#book.within - local.available + local.debt;
    let spent = 0;
    for (let tries = 0; tries < SNAPSHOT_TRIES; tries++) {
      const before = out();
      const consumed = local.tokensConsumed();
      spent = Math.max(0, before - local.held);
      if (before === out() && consumed === local.tokensConsumed()) break;
    }
    return spent;
  }

  #progress() {
    const { clock, local, decisions } = this.#parts;
    const out = this.#book.within - local.available + local.debt;
    return { nowMs: clock().monotonicMs, out, decisions: decisions() };
  }

  #request(idempotencyKey: string, want: number): LeaseRequest {
    return { ...this.#parts.terms, idempotencyKey, want };
  }

  #pastOf(name: LeaseName): PastLease | undefined {
    return this.#book.past.find((it) => it.name === name);
  }

  /** Asked anew: calls change the phase while one waits for them. */
  #isOver(): boolean {
    return this.#phase === "over";
  }
}

/** The balance with the least left of those that the answer shows. */
function tightestIn({ balances = [] }: Leased): Balance | undefined {
  return balances.reduce<Balance | undefined>(
    (least, it) => (least === undefined || it.remaining < least.remaining ? it : least),
    undefined,
  );
}

/** What the authority would say of a call for so much. */
function shortageIn(balance: Balance, requested: number): AuthorityDenial {
  const {
    scopePath,
    unit,
    remaining: available,
    allocated = 0,
    spent = 0,
    reserved: held = 0,
    debt,
  } = balance;
  const figures = { unit, requested, limit: allocated, available, spent, held, debt };
  return {
    code: "BUDGET_EXCEEDED",
    message: `${scopePath} has ${available} left, and ${requested} more would be needed`,
    scope: scopePath,
    figures,
    retry: requested <= available + held ? "when-released" : "never",
  };
}
