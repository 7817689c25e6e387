// The package's entry `purser/journal-indexeddb`: a journal in the browser's own database, for pages and their Web Workers.
// Invariant: each method is one transaction, so it is whole or has not happened; a record is on the disk when `put` is over.
// Who may call: anyone where there is IndexedDB; any number of pages of one origin may share a database.

import type { Journal, JournalContents, JournalRecord } from "../authority/journal.ts";
import { recordOfText, textOfRecord } from "../authority/journal-text.ts";

export type { Journal, JournalContents, JournalRecord } from "../authority/journal.ts";

export interface IndexedDbJournalOptions {
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
  #database: Promise<IDBDatabase> | undefined;

  constructor({ name = "purser-journal" }: IndexedDbJournalOptions = {}) {
    this.#name = name;
  }

  async put(record: JournalRecord): Promise<void> {
    const { partition, reservationId } = record;
    await this.#change((transaction) => {
      transaction.objectStore(RECORDS).put(textOfRecord(record), [partition, reservationId]);
    });
  }

  async remove(partition: string, reservationId: string): Promise<void> {
    await this.#change((transaction) => {
      transaction.objectStore(RECORDS).delete([partition, reservationId]);
    });
  }

  async list(): Promise<JournalContents> {
    const records: JournalRecord[] = [];
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
    return { records, quarantined };
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
