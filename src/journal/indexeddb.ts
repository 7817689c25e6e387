// The package's entry `purser/journal-indexeddb`: a journal in the browser's own database, for pages and their Web Workers.
// Invariant: each method is one transaction, so it is whole or has not happened; a record is on the disk when `put` is over.
// Who may call: anyone where there is IndexedDB; any number of pages of one origin may share a database.

import type { Journal, JournalContents, JournalRecord } from "../authority/journal.ts";
import { recordOfText, textOfRecord } from "../authority/journal-text.ts";
import { PLATFORM_CLOCKS, type Surroundings } from "../authority/surroundings.ts";
import { type KeptRecord, StreamCounts } from "./counts.ts";

export type { Journal, JournalContents, JournalRecord } from "../authority/journal.ts";

export interface IndexedDbJournalOptions extends Pick<Surroundings, "now" | "monotonicNow" | "setTimer"> {
  /** The database's name; `purser-journal` by default. */
  readonly name?: string;
}

const RECORDS = "records";
const QUARANTINE = "quarantine";

/**
 * What cannot be read is moved to the store `quarantine`.
 *
 * @example
 * const authority = new HttpAuthority({ baseUrl, getToken, journal: new IndexedDbJournal() });
 */
export class IndexedDbJournal implements Journal {
  readonly #name: string;
  readonly #counts: StreamCounts;
  #database: Promise<IDBDatabase> | undefined;

  constructor(options: IndexedDbJournalOptions = {}) {
    const { name = "purser-journal" } = options;
    this.#name = name;
    this.#counts = new StreamCounts((record) => this.#store(record), { ...PLATFORM_CLOCKS, ...options });
    // A phone may end a hidden page without another word.
    if ("document" in globalThis) addEventListener("visibilitychange", () => this.#counts.flush());
  }

  put(record: JournalRecord): Promise<void> {
    void this.#counts.end(record); // transactions come in the order in which they are begun
    return this.#store(record);
  }

  count(record: JournalRecord): Promise<void> | undefined {
    return this.#counts.count(record);
  }

  async #store(record: KeptRecord): Promise<void> {
    const { partition, reservationId } = record;
    await this.#change((transaction) => {
      transaction.objectStore(RECORDS).put(textOfRecord(record), [partition, reservationId]);
    });
  }

  async remove(partition: string, reservationId: string): Promise<void> {
    void this.#counts.end({ partition, reservationId });
    await this.#change((transaction) => {
      transaction.objectStore(RECORDS).delete([partition, reservationId]);
    });
  }

  async list(): Promise<JournalContents> {
    const records: KeptRecord[] = [];
    const quarantined: string[] = [];
    await this.#change((transaction) => {
      const cursors = transaction.objectStore(RECORDS).openCursor();
      cursors.onsuccess = () => {
        const cursor = cursors.result;
        if (cursor === null) return;
        const record = typeof cursor.value === "string" ? recordOfText(cursor.value) : undefined;
        if (record === undefined) {
          transaction.objectStore(QUARANTINE).add({ key: cursor.key, value: cursor.value });
          cursor.delete();
          quarantined.push(String(cursor.key));
        } else {
          records.push(record);
        }
        cursor.continue();
      };
    });
    return { ...this.#counts.settleable(records), quarantined };
  }

  /** Runs one transaction to its end. */
  async #change(work: (transaction: IDBTransaction) => void): Promise<void> {
    const database = await this.#open();
    return new Promise((resolve, reject) => {
      const transaction = database.transaction([RECORDS, QUARANTINE], "readwrite", { durability: "strict" });
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
      work(transaction);
    });
  }

  #open(): Promise<IDBDatabase> {
    this.#database ??= new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open(this.#name, 1);
      request.onupgradeneeded = () => {
        request.result.createObjectStore(RECORDS);
        request.result.createObjectStore(QUARANTINE, { autoIncrement: true });
      };
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const database = request.result;
        // Whoever deletes the database, or a later version of this that changes it, is not kept waiting.
        database.onversionchange = () => this.#close(database);
        database.onclose = () => this.#close(database);
        resolve(database);
      };
    });
    // One that could not be opened is opened anew the next time.
    this.#database.catch(() => {
      this.#database = undefined;
    });
    return this.#database;
  }

  #close(database: IDBDatabase): void {
    database.close();
    this.#database = undefined;
  }
}
