// The folder that a server keeps its budgets in. Invariant: at most one server works on it at a time, because two
// workerd processes over the same databases would each decide alone and could spend the same budget twice.
// The lock is SQLite's lock on a file of its own: the operating system frees it even when the holder is killed.
// Called by authority-process.ts.
import { randomBytes } from "node:crypto";
import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { errorCode } from "./errors.ts";
import { commandOf, endProcess } from "./processes.ts";
import { UserError } from "./user-error.ts";

const LOCK_FILE = "purser.lock";
const PID_FILE = "workerd.pid";
const SECRET_FILE = "hash-secret";
const SECRET_BYTES = 32;
const SQLITE_BUSY = 5;

export interface DataFolder {
  /** Where workerd keeps the databases. */
  readonly databases: string;
  /** The secret under which API keys are hashed: made once, so that keys stay valid after a restart. */
  hashSecret(): Promise<string>;
  /** Notes which workerd works here, for whoever finds it running after this process was killed. */
  noteWorkerd(pid: number): Promise<void>;
  /** Frees the folder. Call it only when workerd has ended. */
  close(): Promise<void>;
}

export async function openDataFolder(path: string): Promise<DataFolder> {
  const folder = resolve(path);
  const databases = join(folder, "databases");
  try {
    await makeFolders(databases);
    // A folder that exists may still be closed to us; better to hear it now than at the first decision.
    await writeFile(join(folder, ".writable"), "");
    await rm(join(folder, ".writable"));
  } catch (error) {
    throw new UserError(`the data folder ${folder} cannot be written to (${errorCode(error)}).`);
  }

  const lock = takeLock(folder);
  try {
    await endAbandonedWorkerd(folder, databases);
  } catch (error) {
    lock.close();
    throw error;
  }
  return {
    databases,
    hashSecret: () => readOrMakeSecret(join(folder, SECRET_FILE)),
    noteWorkerd: (pid) => writeFile(join(folder, PID_FILE), String(pid)),
    close: async () => {
      await rm(join(folder, PID_FILE), { force: true });
      lock.close();
    },
  };
}

/**
 * A folder and those above it. Node's own recursive mkdir takes ENOENT for "make the parent first" and tries for ever
 * where a file system means "never", as /proc does.
 */
async function makeFolders(path: string): Promise<void> {
  const parent = dirname(path);
  if (!(await isThere(parent))) await makeFolders(parent);
  try {
    await mkdir(path);
  } catch (error) {
    // Also when someone else was quicker; a file in its place shows at the first write.
    if (errorCode(error) !== "EEXIST") throw error;
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return false;
    throw error;
  }
}

function takeLock(folder: string): DatabaseSync {
  let lock: DatabaseSync | null = null;
  try {
    lock = new DatabaseSync(join(folder, LOCK_FILE), { timeout: 0 });
    // Nothing is ever written; the transaction that is never ended is what keeps others out.
    lock.exec("BEGIN EXCLUSIVE");
    return lock;
  } catch (error) {
    lock?.close();
    if (error instanceof Error && "errcode" in error && error.errcode === SQLITE_BUSY) {
      throw new UserError(`another purser server is already using the data folder ${folder}.`);
    }
    throw error;
  }
}

/**
 * A server that was killed outright could not stop its workerd. Whoever holds the lock is the folder's only server, so
 * such a workerd belongs to nobody. It is ended only if its command line names this very folder, since pids come again.
 */
async function endAbandonedWorkerd(folder: string, databases: string): Promise<void> {
  const pid = Number(await readFile(join(folder, PID_FILE), "utf8").catch(() => ""));
  if (!Number.isSafeInteger(pid) || pid <= 0) return;
  const command = await commandOf(pid);
  if (command === null || !command.includes(databases)) return;
  if (!(await endProcess(pid))) {
    throw new UserError(
      `a workerd left behind by a killed server (pid ${pid}) still uses ${folder}; end it first.`,
    );
  }
}

async function readOrMakeSecret(path: string): Promise<string> {
  const fresh = randomBytes(SECRET_BYTES).toString("hex");
  try {
    await writeFile(path, fresh, { mode: 0o600, flag: "wx" });
    return fresh;
  } catch (error) {
    if (errorCode(error) !== "EEXIST") throw error;
  }
  const kept = (await readFile(path, "utf8")).trim();
  if (kept.length < SECRET_BYTES * 2)
    throw new UserError(`the secret in ${path} is damaged; restore it from a backup.`);
  return kept;
}
