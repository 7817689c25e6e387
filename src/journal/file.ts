// The package's entry `purser/journal-file`: a journal in a folder, for Node. Invariant: a file is whole or not there: it is
// written beside, brought to the disk and renamed, so neither a crash nor another process ever shows half of one; and no
// two reservations share a file, whatever their ids are made of. The one file of src/ that imports Node's modules.
// Who may call: anyone in Node; any number of processes and threads may share a folder.

import { createHash } from "node:crypto";
import type { Dirent } from "node:fs";
import { type FileHandle, mkdir, open, readdir, readFile, rename, stat, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { pid } from "node:process";
import { threadId } from "node:worker_threads";
import type { Journal, JournalContents, JournalRecord } from "../authority/journal.ts";
import { recordOfText, textOfRecord } from "../authority/journal-text.ts";
import { PLATFORM_CLOCKS, type Surroundings } from "../authority/surroundings.ts";
import { type KeptRecord, StreamCounts } from "./counts.ts";

export type { Journal, JournalContents, JournalRecord } from "../authority/journal.ts";

export interface FileJournalOptions extends Pick<Surroundings, "now" | "monotonicNow" | "setTimer"> {
  /** Made if it is not there. It holds what was spent on what: give it to nobody else. */
  readonly folder: string;
}

/** A file. */
interface Place {
  readonly folder: string;
  readonly name: string;
}

const QUARANTINE = "quarantine";
const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
const UNFINISHED = ".tmp";
/**
 * A file that a crash left half-written is removed when it is this old. Writing one takes milliseconds; the hour is for
 * processes that were stopped meanwhile, and for clocks of machines that share a folder. Should its writer be alive after
 * all, its `put` fails, and the spend is sent without.
 */
const UNFINISHED_MS_MAX = 3_600_000;

/**
 * One file for each spend that the authority has not confirmed: `<sha256 of the partition>/v2-<sha256 of the id>.json`, the
 * name that the protocol's recovery profile gives it. What cannot be read is moved to `quarantine/`.
 *
 * @example
 * const authority = new HttpAuthority({ baseUrl, apiKey, journal: new FileJournal({ folder: "/var/lib/agent/spends" }) });
 */
export class FileJournal implements Journal {
  readonly #folder: string;
  readonly #now: () => number;
  readonly #counts: StreamCounts;
  #written = 0;

  constructor(options: FileJournalOptions) {
    const { folder } = options;
    if (typeof folder !== "string" || folder === "") {
      throw Object.assign(new TypeError(`folder must be the path of a folder, got ${String(folder)}`), {
        code: "ARGUMENT_INVALID",
      });
    }
    this.#folder = folder;
    const clocks = { ...PLATFORM_CLOCKS, ...options };
    this.#now = clocks.now;
    this.#counts = new StreamCounts((record) => this.#store(record), clocks);
  }

  async put(record: JournalRecord): Promise<void> {
    await this.#counts.end(record);
    await this.#store(record);
  }

  count(record: JournalRecord): Promise<void> | undefined {
    return this.#counts.count(record);
  }

  async #store(record: KeptRecord): Promise<void> {
    const folder = await this.#partitionFolder(record.partition);
    const [file, path] = await this.#openNew(folder);
    try {
      await file.writeFile(textOfRecord(record));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(path, join(folder, fileNameOf(record)));
    await syncFolder(folder);
  }

  async remove(partition: string, reservationId: string): Promise<void> {
    await this.#counts.end({ partition, reservationId });
    const path = join(this.#folder, hashOf(partition), fileNameOf({ reservationId }));
    await unlink(path).catch(ifMissing);
  }

  async list(): Promise<JournalContents> {
    const records: KeptRecord[] = [];
    const quarantined: string[] = [];
    for (const { folder, name } of await this.#files()) {
      const path = join(folder, name);
      if (name.endsWith(UNFINISHED)) await this.#removeLeftover(path);
      if (!name.endsWith(".json")) continue;
      const text = await readFile(path, "utf8").catch(ifMissing);
      if (text === undefined) continue; // another process has settled it meanwhile
      const record = recordOfText(text);
      if (record !== undefined && (await this.#settleIn(record, path))) records.push(record);
      else quarantined.push(...(await this.#setAside(path, name)));
    }
    return { ...this.#counts.settleable(records), quarantined };
  }

  /** Gives a record the name it should have, if it has another one; false where that is taken, so that neither is lost. */
  async #settleIn(record: JournalRecord, path: string): Promise<boolean> {
    const own = join(this.#folder, hashOf(record.partition), fileNameOf(record));
    if (path === own) return true;
    await this.#partitionFolder(record.partition);
    if ((await readFile(own).catch(ifMissing)) !== undefined) return false;
    await rename(path, own).catch(ifMissing);
    return true;
  }

  /** Where it went; nowhere if another process was faster. */
  async #setAside(path: string, name: string): Promise<readonly string[]> {
    const folder = join(this.#folder, QUARANTINE);
    await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
    const to = join(folder, `${hashOf(path).slice(0, 8)}-${name}`);
    try {
      await rename(path, to);
      return [to];
    } catch (error) {
      return ifMissing(error) ?? [];
    }
  }

  async #removeLeftover(path: string): Promise<void> {
    const written = await stat(path).catch(ifMissing);
    if (written === undefined || this.#now() - written.mtimeMs < UNFINISHED_MS_MAX) return;
    await unlink(path).catch(ifMissing);
  }

  /** All files here and in the partitions' folders. What somebody else put there, folders and links, is let be. */
  async #files(): Promise<readonly Place[]> {
    const entries = await entriesOf(this.#folder);
    const folders = entries.filter((it) => it.isDirectory() && it.name !== QUARANTINE);
    const inside = folders.map(async ({ name }) => {
      const folder = join(this.#folder, name);
      return filesAmong(await entriesOf(folder), folder);
    });
    return [...filesAmong(entries, this.#folder), ...(await Promise.all(inside)).flat()];
  }

  async #partitionFolder(partition: string): Promise<string> {
    const folder = join(this.#folder, hashOf(partition));
    const made = await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
    if (made !== undefined) {
      // Each one that was made is a name in the one above it.
      const first = resolve(made);
      for (let at = resolve(folder); at.length >= first.length; at = dirname(at))
        await syncFolder(dirname(at));
    }
    return folder;
  }

  /** A file that nobody else writes to. One that a crash left behind is not taken over, and never read. */
  async #openNew(folder: string): Promise<[file: FileHandle, path: string]> {
    for (;;) {
      this.#written += 1;
      const path = join(folder, `${pid}-${threadId}-${this.#written}${UNFINISHED}`);
      try {
        return [await open(path, "wx", FILE_MODE), path];
      } catch (error) {
        if (codeOf(error) !== "EEXIST") throw error;
      }
    }
  }
}

async function entriesOf(folder: string): Promise<readonly Dirent[]> {
  return (await readdir(folder, { withFileTypes: true }).catch(ifMissing)) ?? [];
}

function filesAmong(entries: readonly Dirent[], folder: string): readonly Place[] {
  return entries.filter((it) => it.isFile()).map(({ name }) => ({ folder, name }));
}

function fileNameOf({ reservationId }: Pick<JournalRecord, "reservationId">): string {
  return `v2-${hashOf(reservationId)}.json`;
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** A new name is on the disk once its folder is. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(unlessUnknown);
  try {
    await handle?.sync().catch(unlessUnknown);
  } finally {
    await handle?.close();
  }
}

/** Windows knows no such thing for folders. */
function unlessUnknown(error: unknown): undefined {
  if (!["EPERM", "EISDIR", "EACCES", "EINVAL"].includes(codeOf(error))) throw error;
  return undefined;
}

function ifMissing(error: unknown): undefined {
  if (codeOf(error) !== "ENOENT") throw error;
  return undefined;
}

function codeOf(error: unknown): string {
  return String((error as { readonly code?: unknown }).code);
}
