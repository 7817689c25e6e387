// How a Durable Object's database gets its tables: frozen, ordered steps. Invariant: each step runs once, in one
// transaction with the row that records it; a database written by a newer version is refused rather than misread. Who may
// call: the objects, when they wake and when they store for the first time.

export interface Migration {
  /** Its place in the list, from 1. */
  readonly version: number;
  readonly name: string;
  readonly statements: readonly string[];
}

/** Whether this object holds anything at all. A stranger's name must not leave tables behind, so this only reads. */
export function hasSchema(storage: DurableObjectStorage): boolean {
  return (
    storage.sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'").toArray()
      .length > 0
  );
}

/**
 * Runs the steps that the database has not had.
 *
 * @throws Error with `code: "schema_newer"` when a newer version wrote it: starting would corrupt it
 */
export function applyMigrations(
  storage: DurableObjectStorage,
  migrations: readonly Migration[],
  nowMs: number,
): void {
  storage.transactionSync(() => {
    storage.sql.exec(
      "CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at_ms INTEGER NOT NULL) STRICT",
    );
    const [{ version: current } = { version: 0 }] = storage.sql
      .exec<{ version: number }>("SELECT coalesce(max(version), 0) AS version FROM migrations")
      .toArray();
    if (current > migrations.length) throw new SchemaNewerError(current, migrations.length);
    for (const { version, name, statements } of migrations.slice(current)) {
      for (const statement of statements) storage.sql.exec(statement);
      storage.sql.exec(
        "INSERT INTO migrations (version, name, applied_at_ms) VALUES (?, ?, ?)",
        version,
        name,
        nowMs,
      );
    }
  });
}

class SchemaNewerError extends Error {
  readonly code = "schema_newer";

  constructor(found: number, known: number) {
    super(`the database has schema version ${found}, this code knows ${known}: deploy a newer version`);
    this.name = "SchemaNewerError";
  }
}
