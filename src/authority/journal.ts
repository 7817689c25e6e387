// The journal: where a spend is written down before the authority is told of it, and stays until the authority has
// answered for good. Invariant: a record holds all that is needed to settle it from another process and no credential.
// Who may call: Recovery; whoever keeps a journal of their own implements it.

import type { OveragePolicy } from "../kernel/accounts.ts";
import type { JsonObject } from "../ledger/json.ts";
import type { AmountInput } from "../ledger/schema.ts";
import type { Subject } from "../ledger/scope.ts";
import type { Action, Metrics } from "./authority.ts";

/** A spend that the authority has not confirmed. Plain data: it survives structured cloning, and JSON with exact integers. */
export interface JournalRecord {
  readonly version: 1;
  /** Which server's it is, and which tenant's: the subject's. Not which key's: keys change. */
  readonly partition: string;
  readonly reservationId: string;
  /** The commit's key; the event that takes its place has the same. */
  readonly idempotencyKey: string;
  /** `event`: the reservation has expired, so it is booked as spending without one. */
  readonly mode: "commit" | "event";
  readonly subject: Subject;
  readonly action: Action;
  readonly actual: AmountInput;
  readonly metrics?: Metrics;
  readonly metadata?: JsonObject;
  /** The reservation's; an event has to say it anew. */
  readonly overagePolicy?: OveragePolicy;
  /** When it became an event, which is before it was sent as one; milliseconds since the epoch. Every event has it. */
  readonly eventSinceMs?: number;
  /** Not to be sent before, because the authority asked for it; milliseconds since the epoch. */
  readonly notBeforeMs?: number;
}

export interface JournalContents {
  readonly records: readonly JournalRecord[];
  /** Names of what could not be read, or has a version that this one does not know, and was set aside just now. */
  readonly quarantined: readonly string[];
  /** In how long a look may find more: streams that are still counted, perhaps by somebody who is gone. */
  readonly againAfterMs?: number;
}

/** Several processes may use one journal at the same time: a record that two of them settle counts once. */
export interface Journal {
  /** Durable once it is over. Takes the place of an earlier record of the same partition and reservation. */
  put(record: JournalRecord): PromiseLike<void> | void;
  /** Does nothing if there is none. */
  remove(partition: string, reservationId: string): PromiseLike<void> | void;
  list(): PromiseLike<JournalContents> | JournalContents;
  /**
   * What a stream has used so far, called for each chunk. `list` gives the last one that was written, once its writer writes no
   * more; `put` and `remove` end it. Who has no use for it leaves it out: then a stream whose page or process is gone is not charged.
   */
  count?(record: JournalRecord): PromiseLike<void> | undefined;
}

/** A journal that lasts as long as this process: the default. */
export class MemoryJournal implements Journal {
  readonly #records = new Map<string, JournalRecord>();

  put(record: JournalRecord): void {
    this.#records.set(nameOf(record.partition, record.reservationId), record);
  }

  remove(partition: string, reservationId: string): void {
    this.#records.delete(nameOf(partition, reservationId));
  }

  list(): JournalContents {
    return { records: [...this.#records.values()], quarantined: [] };
  }
}

function nameOf(partition: string, reservationId: string): string {
  return `${partition}\n${reservationId}`;
}
