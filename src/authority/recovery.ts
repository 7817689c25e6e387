// Makes sure that a known spend reaches the authority. Invariant: a spend is written to the journal before it is sent for
// the first time, and stays there until the authority has answered for good; a journal that fails, or is late, is told of
// and holds nothing up. Every try has the same key, so it counts once however often it is sent, also by two processes at
// once. An expired reservation's spend becomes an event, which is sent only for as long as the authority is sure to
// remember its key.
// Who may call: ReservationGuard and WireAuthority.

import { PurserError } from "../errors.ts";
import type {
  Authority,
  CallOptions,
  Committed,
  Denied,
  EventRequest,
  Figure,
  FlushResult,
} from "./authority.ts";
import { AuthorityError } from "./errors.ts";
import type { Journal, JournalRecord } from "./journal.ts";
import * as CLIENT_LIMITS from "./limits/client.ts";
import * as RECOVERY_LIMITS from "./limits/recovery.ts";
import { isRepeatable, untilAborted, withDeadline } from "./retry.ts";
import { callOut, type Surroundings } from "./surroundings.ts";
import type { CallControl } from "./wire-call.ts";

/** What became of a spend, or of the journal, while nobody was waiting for it. */
export interface RecoveryNotice {
  /**
   * `settled`: the authority has it. `kept`: not for now; it stays in the journal for the next call that is answered, `flush`
   * or the next process. `dropped`: the authority will never take it, or no more of it than was held. `undecidable`: an
   * event that is older than what the authority remembers, so it may have been counted; it stays in the journal, is not
   * sent, and is yours to decide and to remove. `quarantined`: a record could not be read and was set aside. `journal_failed`: the
   * journal could not be read or written, or not in time; what was to be sent is sent all the same.
   */
  readonly disposition: "settled" | "kept" | "dropped" | "undecidable" | "quarantined" | "journal_failed";
  readonly reservationId?: string;
  /** An AuthorityError, a denial, what the journal threw, or the name of what was set aside. */
  readonly cause?: unknown;
}

export interface RecoveryOptions {
  /** The server. */
  readonly place: string;
  /** Whose spends it may go on with; without it those of everybody at that server, as far as the key goes. */
  readonly tenant: string | undefined;
  readonly journal: Journal;
  readonly onNotice: (notice: RecoveryNotice) => void;
}

/** How a spend ended that nobody was waiting for: the answer, or what was thrown. */
export type Ending<F extends Figure> = Committed<F> | Denied<F> | AuthorityError;

/** What a guard says of what was spent. */
export type Spend = Omit<JournalRecord, "version" | "partition" | "mode" | "eventSinceMs" | "notBeforeMs">;

/** A spend that this process knows to be outstanding. */
interface Entry<F extends Figure> {
  record: JournalRecord;
  /** It was found in the journal by an authority that does not say whose it is: its tenant may be another one. */
  readonly isForeign: boolean;
  /** Hears how it ended. */
  readonly onEnd: ((ending: Ending<F>) => void) | undefined;
  /** It was said that it is kept; how it ended. */
  isKeptTold?: true;
  isEndTold?: true;
  /** Tries go on by themselves. */
  isDriven?: boolean;
  /** The last answer said that another try is of no use now. */
  isKept?: boolean;
  /** Ends the wait for the next try. */
  wake?: () => void;
  /** What is under way in the journal for it: one after the other, so that what comes last is what stays. */
  journalled?: Promise<void>;
  /** Whether it is sent, and answered, without waiting for that. Else after it, or after the time that is given to the journal. */
  passesJournal?: boolean;
}

/** What the protocol asks to be noted beside an event that takes a commit's place. */
const RECOVERY_REASON = "commit_after_reservation_expired";

const WITHOUT_ACCESS: ReadonlySet<number | undefined> = new Set([401, 403]);

export class Recovery<F extends Figure> {
  readonly #authority: Pick<Authority<F>, "commit" | "recordEvent">;
  readonly #options: RecoveryOptions;
  readonly #surroundings: Required<Surroundings>;
  /** By reservation. */
  readonly #entries = new Map<string, Entry<F>>();
  #againAtMs = Number.NEGATIVE_INFINITY;
  #cancelLook = (): void => undefined;
  /** For each look into the journal that is under way, what was settled since it began. */
  readonly #looks = new Set<Set<string>>();

  constructor(
    authority: Pick<Authority<F>, "commit" | "recordEvent">,
    options: RecoveryOptions,
    surroundings: Required<Surroundings>,
  ) {
    this.#authority = authority;
    this.#options = options;
    this.#surroundings = surroundings;
  }

  /**
   * Writes a spend down and commits it. Answers and throws as the authority does; what that leaves open goes on by itself.
   * Again for the same reservation: the same spend, until it is no more outstanding.
   */
  async commit(
    spend: Spend,
    options?: CallOptions,
    onEnd?: (ending: Ending<F>) => void,
  ): Promise<Committed<F> | Denied<F>> {
    let entry = this.#entries.get(spend.reservationId);
    if (entry === undefined) {
      entry = this.#enter(this.#recordOf(spend), false, onEnd);
      // A page that goes does not live to hear of it, and would send nothing if it waited.
      entry.passesJournal = options?.keepalive === true;
      const written = this.#write(entry);
      if (!entry.passesJournal) await written;
    }
    try {
      return await this.#attempt(entry, options);
    } finally {
      if (this.#isOpen(entry) && !entry.isKept) void this.#goOn(entry);
    }
  }

  /** Notes what a stream has used so far, for who finds it in the journal when nobody here goes on with it. */
  count(spend: Spend): void {
    const record = this.#recordOf(spend);
    void this.#withJournal(record, () => this.#options.journal.count?.(record));
  }

  #recordOf(spend: Spend): JournalRecord {
    return { version: 1, partition: this.#partition(spend.subject.tenant), mode: "commit", ...spend };
  }

  /** Whether a spend of this reservation was sent, and is not answered for good. */
  isOutstanding(reservationId: string): boolean {
    return this.#entries.has(reservationId);
  }

  /** Whether the authority asked to be left alone with it for now. */
  isPostponed(reservationId: string): boolean {
    const entry = this.#entries.get(reservationId);
    return entry !== undefined && this.#floorMs(entry) > 0;
  }

  /** The authority has answered somebody: what it could not be told before is tried again. */
  reached(): void {
    if (this.#entries.size === 0 || this.#surroundings.monotonicNow() < this.#againAtMs) return;
    this.#againAtMs = this.#surroundings.monotonicNow() + RECOVERY_LIMITS.againMs;
    for (const entry of this.#entries.values()) {
      // Those that somebody is waiting for are no business of this.
      if (entry.isKept || entry.isKeptTold) void this.#goOn(entry);
    }
  }

  /** Goes on with what an earlier process left in the journal, without anybody waiting for it. */
  resume(): Promise<void> {
    return this.#resume(this.#load());
  }

  /**
   * Tries all that is outstanding, in the journal and here, and waits until each is settled or has to be kept; at most until
   * the signal aborts. What is left then goes on by itself.
   */
  async flush(signal: AbortSignal | undefined): Promise<FlushResult> {
    await untilAborted(signal, this.#flush(signal)).catch(() => undefined); // rejects for the signal alone
    return { outstanding: this.#entries.size };
  }

  async #flush(signal: AbortSignal | undefined): Promise<void> {
    const resuming = this.#load();
    // What is read too late for this goes on by itself.
    if (!(await this.#isInTime(undefined, resuming))) void this.#resume(resuming);
    // Waits of its own, which keep the process running; in a Worker, those of another request may never be over.
    const wait = (ms: number): Promise<void> => this.#surroundings.sleep(ms, signal);
    await Promise.all(
      [...this.#entries.values()].map((entry) =>
        this.#drive(entry, 0, wait, signal).catch(() => this.#goOn(entry)),
      ),
    );
  }

  async #resume(loading: Promise<readonly Entry<F>[]>): Promise<void> {
    for (const entry of await loading) void this.#goOn(entry);
  }

  #partition(tenant = ""): string {
    return `${this.#options.place} ${tenant}`;
  }

  #isOwn(partition: string): boolean {
    const { tenant } = this.#options;
    const own = this.#partition(tenant);
    return tenant === undefined ? partition.startsWith(own) : partition === own;
  }

  /** Those records of this server and tenant that were not known here. */
  async #load(): Promise<readonly Entry<F>[]> {
    const { journal, tenant } = this.#options;
    const settled = new Set<string>();
    this.#looks.add(settled);
    const contents = await this.#withJournal(undefined, () => journal.list());
    this.#looks.delete(settled);
    if (contents === undefined) return [];
    const { againAfterMs } = contents;
    if (againAfterMs !== undefined) {
      this.#cancelLook();
      this.#cancelLook = this.#surroundings.setTimer(() => this.resume(), againAfterMs);
    }
    for (const cause of contents.quarantined) this.tell({ disposition: "quarantined", cause });
    const isNew = ({ partition: of, reservationId: id }: JournalRecord): boolean =>
      this.#isOwn(of) && !this.#entries.has(id) && !settled.has(id);
    return contents.records.filter(isNew).map((record) => this.#enter(record, tenant === undefined));
  }

  #enter(
    record: JournalRecord,
    isForeign: boolean,
    onEnd: ((ending: Ending<F>) => void) | undefined = undefined,
  ): Entry<F> {
    const entry: Entry<F> = { record, isForeign, onEnd };
    this.#entries.set(record.reservationId, entry);
    return entry;
  }

  async #goOn(entry: Entry<F>): Promise<void> {
    if (entry.isDriven) return;
    entry.isDriven = true;
    const wait = (ms: number) =>
      new Promise<void>((resolve) => {
        const cancel = this.#surroundings.setTimer(resolve, ms);
        entry.wake = () => {
          cancel();
          resolve();
        };
      });
    await this.#drive(entry, 1, wait, undefined);
    entry.isDriven = false;
  }

  /** Tries until it is over or of no use for now, or has been tried often enough. Rejects only if the signal aborts. */
  async #drive(
    entry: Entry<F>,
    firstRound: number,
    wait: (ms: number) => Promise<void>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { reservationId } = entry.record;
    let cause: unknown;
    for (let round = firstRound; round < firstRound + RECOVERY_LIMITS.rounds; round++) {
      const floorMs = this.#floorMs(entry);
      if (floorMs > RECOVERY_LIMITS.retryAfterMsMax) break;
      const delayMs = floorMs + this.#backoffMs(round);
      if (delayMs > 0) await wait(delayMs);
      if (!this.#isOpen(entry)) return;
      try {
        const answer = await this.#attempt(entry, signal && { signal });
        cause = answer.ok ? undefined : answer.denial;
        if (!this.#isOpen(entry)) entry.onEnd?.(answer);
      } catch (error) {
        signal?.throwIfAborted();
        cause = error;
        if (!this.#isOpen(entry) && error instanceof AuthorityError) entry.onEnd?.(error);
      }
      if (!this.#isOpen(entry)) {
        // Another try of the same may have been under way.
        if (entry.isEndTold) return;
        entry.isEndTold = true;
        // An answer that nobody can read is one all the same: the authority has taken it.
        const isTaken = cause === undefined || (cause as Partial<AuthorityError>).outcome === "done";
        return this.tell({ disposition: isTaken ? "settled" : "dropped", reservationId, cause });
      }
      if (entry.isKept) break;
    }
    if (entry.isKeptTold) return;
    entry.isKeptTold = true;
    this.tell({ disposition: isUndecidable(cause) ? "undecidable" : "kept", reservationId, cause });
  }

  /** Any length up to a bound that doubles, so that those who failed together do not come back together. */
  #backoffMs(round: number): number {
    if (round === 0) return 0;
    const boundMs = Math.min(RECOVERY_LIMITS.firstDelayMs * 2 ** (round - 1), RECOVERY_LIMITS.delayMsMax);
    return Math.floor(this.#surroundings.random() * boundMs);
  }

  #floorMs({ record: { notBeforeMs = 0 } }: Entry<F>): number {
    return Math.max(0, notBeforeMs - this.#surroundings.now());
  }

  #isOpen(entry: Entry<F>): boolean {
    return this.#entries.get(entry.record.reservationId) === entry;
  }

  async #attempt(entry: Entry<F>, options: CallOptions | undefined): Promise<Committed<F> | Denied<F>> {
    entry.isKept = false;
    try {
      const answer = await this.#send(entry, options);
      if (!answer.ok && answer.denial.code === "LIMIT_EXCEEDED") {
        const { retry } = answer.denial;
        await this.#postpone(entry, typeof retry === "object" ? retry.afterMs : undefined);
      } else if (!answer.ok && entry.record.mode === "event" && answer.denial.code === "BUDGET_FROZEN") {
        // It will thaw, and no reservation waits for it to end.
        entry.isKept = true;
      } else {
        await this.#drop(entry);
      }
      return answer;
    } catch (error) {
      const fate = fateOf(error, entry.isForeign);
      if (fate === "over") await this.#drop(entry);
      entry.isKept = fate === "kept";
      throw error;
    }
  }

  async #send(entry: Entry<F>, options: CallOptions | undefined): Promise<Committed<F> | Denied<F>> {
    const control: CallControl = {
      ...options,
      onRetry: ({ retryAfterMs }) => this.#postpone(entry, retryAfterMs),
    };
    if (entry.record.mode === "commit") {
      try {
        return await this.#authority.commit(entry.record.reservationId, entry.record, control);
      } catch (error) {
        if ((error as Partial<AuthorityError>).code !== "RESERVATION_EXPIRED") throw error;
        await this.#change(entry, { mode: "event", eventSinceMs: this.#surroundings.now() });
      }
    }
    this.#checkAge(entry.record);
    const booked = await this.#authority.recordEvent(eventOf(entry.record), control);
    if (!booked.ok) return booked;
    const { charged } = booked;
    const none = (typeof charged.amount === "bigint" ? 0n : 0) as F;
    return { ...booked, released: { unit: charged.unit, amount: none } };
  }

  #checkAge({ eventSinceMs = 0 }: JournalRecord): void {
    if (this.#surroundings.now() - eventSinceMs <= RECOVERY_LIMITS.eventReplayMsMax) return;
    const message = "it may have been counted before";
    throw new AuthorityError("SPEND_UNDECIDABLE", message, { outcome: "unknown" });
  }

  /** Also the next process is to wait that long. */
  async #postpone(entry: Entry<F>, afterMs: number | undefined): Promise<void> {
    if (afterMs === undefined) return;
    const waitMs = Math.min(afterMs, CLIENT_LIMITS.retryAfterMsBelieved);
    await this.#change(entry, { notBeforeMs: this.#surroundings.now() + waitMs });
  }

  async #change(entry: Entry<F>, change: Partial<JournalRecord>): Promise<void> {
    entry.record = { ...entry.record, ...change };
    await this.#write(entry);
  }

  #write(entry: Entry<F>): Promise<void> {
    const { record } = entry;
    return this.#inOrder(entry, () => this.#options.journal.put(record));
  }

  async #inOrder(entry: Entry<F>, work: () => PromiseLike<void> | void): Promise<void> {
    const run = (): Promise<void> => this.#withJournal(entry.record, work);
    // The first is begun at once: a page that goes may not come to anything later.
    const journalled = entry.journalled?.then(run) ?? run();
    entry.journalled = journalled;
    // One that was late is not waited for again: what it has to do for this spend it does in its order, if ever.
    if (!entry.passesJournal) entry.passesJournal = !(await this.#isInTime(entry.record, journalled));
  }

  async #drop(entry: Entry<F>): Promise<void> {
    const { partition, reservationId } = entry.record;
    if (this.#isOpen(entry)) this.#entries.delete(reservationId);
    for (const settled of this.#looks) settled.add(reservationId);
    entry.wake?.();
    await this.#inOrder(entry, () => this.#options.journal.remove(partition, reservationId));
  }

  /**
   * What the journal cannot do stands in nobody's way: a spend that it could not write is sent all the same, and one that
   * it could not strike out will be sent again, with the same key, and change nothing.
   */
  async #withJournal<T>(
    record: JournalRecord | undefined,
    work: () => PromiseLike<T> | T,
  ): Promise<T | undefined> {
    try {
      return await work();
    } catch (cause) {
      this.#tellOfJournal(record, cause);
      return undefined;
    }
  }

  /** Waits for the journal, but not for ever: one that hangs would hold what is known to be spent. Tells if it is late. */
  async #isInTime(record: JournalRecord | undefined, work: Promise<unknown>): Promise<boolean> {
    const within = withDeadline(() => work, RECOVERY_LIMITS.journalMs, this.#surroundings, undefined);
    const isInTime = await within.then(
      () => true,
      () => false,
    );
    if (!isInTime) {
      const message = `no answer from the journal within ${RECOVERY_LIMITS.journalMs} ms`;
      this.#tellOfJournal(record, new PurserError("JOURNAL_TIMEOUT", message));
    }
    return isInTime;
  }

  #tellOfJournal(record: JournalRecord | undefined, cause: unknown): void {
    this.tell({
      disposition: "journal_failed",
      ...(record && { reservationId: record.reservationId }),
      cause,
    });
  }

  /** Never throws. Also for guards that are gone. */
  tell(notice: RecoveryNotice): void {
    callOut(() => this.#options.onNotice(notice));
  }
}

/** The event that takes an expired commit's place: the same key and figures, and where it comes from. */
function eventOf(record: JournalRecord): EventRequest {
  const { reservationId, metadata } = record;
  return {
    ...record,
    metadata: { ...metadata, recovered_reservation_id: reservationId, recovery_reason: RECOVERY_REASON },
  };
}

function isUndecidable(error: unknown): boolean {
  return error instanceof AuthorityError && error.code === "SPEND_UNDECIDABLE";
}

/** Whether what was thrown ends it, leaves it open, or leaves it to another day. */
function fateOf(error: unknown, isForeign: boolean): "over" | "open" | "kept" {
  if (!(error instanceof AuthorityError)) return "open"; // an abort
  // Where it may be another tenant's, that it is not found says nothing.
  if (isUndecidable(error) || (isForeign && error.code === "NOT_FOUND")) return "kept";
  if (isRepeatable(error)) return "open";
  // Another key may be let in, and somebody's page or a code of a later version may be gone.
  if (error.outcome === "unknown" || WITHOUT_ACCESS.has(error.status)) return "kept";
  return "over";
}
