// The statements of a tenant's database, in transactions, and what is remembered of it meanwhile. Invariant: every cursor is
// read to its end before a method returns; the database is the truth, and what is remembered lasts for one outermost
// transaction; a statement that could contradict it makes the store write and forget. Who may call: the stores above it.

import type { AccountRecord, ApiKeyRecord, TenantRecord, TokenRecord } from "purser/ledger";

/** What the outermost transaction has read or written; null is a row that is known not to be there. */
export interface Known {
  tenant?: TenantRecord | undefined;
  storedBytes?: number | undefined;
  readonly apiKeys: Map<string, ApiKeyRecord>;
  readonly tokens: Map<string, TokenRecord>;
  readonly accounts: Map<string, AccountRecord | null>;
  /** Of these the database does not know the newest figures yet. */
  readonly unwritten: Set<string>;
}

const nothingKnown = (): Known => ({
  apiKeys: new Map(),
  tokens: new Map(),
  accounts: new Map(),
  unwritten: new Set(),
});

/** Rows that a scan reads at once. */
export const PAGE_ROWS = 500;

/** A scan page by page, since a cursor must not stay open while the caller does something else. */
export function* pages<Record, Position>(
  start: Position,
  read: (after: Position) => readonly (readonly [Record, Position])[],
): Iterable<Record> {
  let position = start;
  for (;;) {
    const page = read(position);
    for (const [record] of page) yield record;
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE_ROWS) return;
    position = last[1];
  }
}

export type SqlValue = string | number | null;

export abstract class Statements {
  readonly storage: DurableObjectStorage;
  /** Where statements go. A test puts its own here. */
  sql: Pick<SqlStorage, "exec">;
  #depth = 0;
  #known: Known | undefined;
  /** What an inner transaction threw, boxed: a throw may be anything. The outermost must not be kept then. */
  #failure: { readonly error: unknown } | undefined;

  constructor(storage: DurableObjectStorage) {
    this.storage = storage;
    this.sql = storage.sql;
  }

  /** Brings what was put off into the database. */
  protected abstract writeBack(known: Known): void;

  /** An inner transaction costs nothing: it has no savepoint of its own, so its throw undoes the outermost. */
  transact<T>(decide: () => T): T {
    return this.#depth === 0 ? this.#outermost(decide) : this.#inner(decide);
  }

  #outermost<T>(decide: () => T): T {
    this.#depth = 1;
    try {
      return this.storage.transactionSync(() => {
        const result = decide();
        if (this.#failure !== undefined) throw this.#failure.error;
        this.flush();
        return result;
      });
    } finally {
      this.#depth = 0;
      this.#known = undefined;
      this.#failure = undefined;
    }
  }

  #inner<T>(decide: () => T): T {
    this.#depth += 1;
    try {
      return decide();
    } catch (error) {
      this.#failure ??= { error };
      throw error;
    } finally {
      this.#depth -= 1;
    }
  }

  /** Outside a transaction nothing is remembered, not even until the next line. */
  protected remembered(): Known {
    if (this.#depth === 0) return nothingKnown();
    this.#known ??= nothingKnown();
    return this.#known;
  }

  /** Before anything reads in the database what may have been put off, and at the end. */
  protected flush(): void {
    if (this.#known !== undefined) this.writeBack(this.#known);
  }

  /** For statements that change what may be remembered, or are not the store's own: it writes, and forgets. */
  change(statement: string, ...values: SqlValue[]): void {
    this.flush();
    this.#known = undefined;
    this.sql.exec(statement, ...values).toArray();
  }

  /** For statements that change nothing that is ever remembered. Returns the rows written. */
  protected exec(statement: string, ...values: SqlValue[]): number {
    return this.sql.exec(statement, ...values).rowsWritten;
  }

  protected rows<Row extends object>(statement: string, ...values: SqlValue[]): Row[] {
    return this.sql.exec(statement, ...values).toArray() as Row[];
  }

  protected count(what: string, ...values: SqlValue[]): number {
    const [row] = this.rows<{ rows: number }>(`SELECT count(*) AS rows FROM ${what}`, ...values);
    return row?.rows ?? 0;
  }
}
