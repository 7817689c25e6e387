// The journal in a folder: its files, what becomes of one that is torn or foreign, and that a crash never shows half of one.

import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, readFile, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { FileJournal } from "purser/journal-file";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  type Clocks,
  countingContract,
  journalContract,
  journalRecord,
} from "../support/journal-contract.ts";
import { temporaryFolder } from "./support/commands.ts";

async function folderOfTest(): Promise<string> {
  const folder = await temporaryFolder();
  onTestFinished(() => folder[Symbol.asyncDispose]());
  return folder.path;
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const RECORD = journalRecord("a");
const OTHER = journalRecord("b");
const PARTITION = sha256(RECORD.partition);

for (const contract of [journalContract, countingContract]) {
  contract("in a folder", async () => {
    const folder = join(await folderOfTest(), "below", "it");
    return (clocks?: Clocks) => new FileJournal({ folder, ...clocks });
  });
}

describe("files", () => {
  test("are named by the hash of the exact id, readable by their owner alone, and hold the record as JSON", async () => {
    const folder = await folderOfTest();
    await new FileJournal({ folder }).put(journalRecord("ä/1"));
    expect(await readdir(join(folder, PARTITION))).toEqual([`v2-${sha256("ä/1")}.json`]);
    const path = join(folder, PARTITION, `v2-${sha256("ä/1")}.json`);
    expect(JSON.parse(await readFile(path, "utf8"))).toMatchObject({ version: 1, reservationId: "ä/1" });
    if (process.platform !== "win32") expect((await stat(path)).mode & 0o077).toBe(0);
  });

  test("are on the disk, then under their name, and then the name is: in that order, and all of it by the end", async () => {
    const above = await folderOfTest();
    const folder = join(above, "new");
    const partition = join(folder, PARTITION);
    const path = join(partition, `v2-${sha256(RECORD.reservationId)}.json`);
    const isThere = async (at: string) => (await stat(at).catch(() => undefined)) !== undefined;
    const probe = await open(import.meta.filename);
    const handles = Object.getPrototypeOf(probe) as FileHandle;
    await probe.close();
    const { sync } = handles;
    onTestFinished(() => {
      handles.sync = sync;
    });
    /** What was brought to the disk, and whether the record had its name by then. */
    const synced: string[] = [];
    handles.sync = async function (this: FileHandle) {
      const held = await this.stat();
      const what = held.isDirectory() ? await nameOf(held.ino) : `a file of ${held.size} bytes`;
      synced.push(`${what}, ${(await isThere(path)) ? "named" : "not named"}`);
      await sync.call(this);
    };
    const nameOf = async (inode: number) => {
      const folders = [above, folder, partition];
      const inodes = await Promise.all(folders.map(async (it) => (await stat(it)).ino));
      return ["above", "folder", "partition"][inodes.indexOf(inode)];
    };
    await new FileJournal({ folder }).put(RECORD);
    const { size } = await stat(path);
    const made = ["folder, not named", "above, not named"];
    expect(synced).toEqual([...made, `a file of ${size} bytes, not named`, "partition, named"]);
  });

  test.each([
    ["cut short", '{"version":1,"partition":"https://bud'],
    ["empty", ""],
    ["of a later version", JSON.stringify({ ...OTHER, version: 2 })],
    ["without an amount", JSON.stringify({ ...OTHER, actual: { unit: "TOKENS" } })],
    ["with less than nothing", JSON.stringify({ ...OTHER, actual: { unit: "TOKENS", amount: -1 } })],
    ["of an unknown unit", JSON.stringify({ ...OTHER, actual: { unit: "BEANS", amount: 1 } })],
    ["of an unknown mode", JSON.stringify({ ...OTHER, mode: "refund" })],
    ["without a key", JSON.stringify({ ...OTHER, idempotencyKey: "" })],
    ["no object", "[]"],
  ])("one that is %s is set aside, told of once, and the others are read", async (_, text) => {
    const folder = await folderOfTest();
    const journal = new FileJournal({ folder });
    await journal.put(RECORD);
    const bad = `v2-${sha256(OTHER.reservationId)}.json`;
    await writeFile(join(folder, PARTITION, bad), text);
    const { records, quarantined } = await journal.list();
    expect(records).toEqual([RECORD]);
    expect(quarantined).toEqual([expect.stringContaining(bad)]);
    expect(await readFile(quarantined[0] ?? "", "utf8")).toBe(text);
    expect(await journal.list()).toEqual({ records: [RECORD], quarantined: [] });
  });

  test("one that a crash left half-written is neither read nor in the way", async () => {
    const folder = await folderOfTest();
    const journal = new FileJournal({ folder });
    await mkdir(join(folder, PARTITION), { recursive: true });
    await writeFile(join(folder, PARTITION, `${process.pid}-0-1.tmp`), "half of it");
    await journal.put(RECORD);
    expect(await journal.list()).toEqual({ records: [RECORD], quarantined: [] });
  });

  test("one that a crash left half-written goes after an hour, and no younger one: somebody may be writing it", async () => {
    const folder = await folderOfTest();
    const journal = new FileJournal({ folder, now: () => 10_000_000 });
    await journal.put(RECORD);
    const leave = async (name: string, atMs: number) => {
      const path = join(folder, PARTITION, name);
      await writeFile(path, "half of it");
      await utimes(path, atMs / 1_000, atMs / 1_000);
    };
    await leave("1-0-1.tmp", 10_000_000 - 3_600_000);
    await leave("1-0-2.tmp", 10_000_000 - 3_599_000);
    expect(await journal.list()).toEqual({ records: [RECORD], quarantined: [] });
    expect((await readdir(join(folder, PARTITION))).sort()).toEqual([
      "1-0-2.tmp",
      `v2-${sha256(RECORD.reservationId)}.json`,
    ]);
  });

  test("a folder with the name of a record is nobody's, and in nobody's way", async () => {
    const folder = await folderOfTest();
    const journal = new FileJournal({ folder });
    await journal.put(RECORD);
    const others = [join(folder, "x.json"), join(folder, PARTITION, "x.json")];
    for (const path of others) await mkdir(path);
    expect(await journal.list()).toEqual({ records: [RECORD], quarantined: [] });
    for (const path of others) expect((await stat(path)).isDirectory()).toBe(true);
  });

  test("one with another name gets its own; where that is taken it is set aside, and neither is lost", async () => {
    const folder = await folderOfTest();
    const journal = new FileJournal({ folder });
    const moved = journalRecord("moved");
    await writeFile(join(folder, "moved.json"), JSON.stringify(moved));
    expect(await journal.list()).toEqual({ records: [moved], quarantined: [] });
    expect(await readdir(join(folder, PARTITION))).toEqual([`v2-${sha256("moved")}.json`]);
    await writeFile(join(folder, "old.json"), JSON.stringify({ ...moved, mode: "event" }));
    const { records, quarantined } = await journal.list();
    expect(records).toEqual([moved]);
    expect(JSON.parse(await readFile(quarantined[0] ?? "", "utf8"))).toMatchObject({ mode: "event" });
  });
});

test("counts that cannot be written are told once", async () => {
  const folder = join(await folderOfTest(), "file");
  await writeFile(folder, "in the way");
  const journal = new FileJournal({ folder, setTimer: () => () => undefined });
  await expect(journal.count(RECORD)).rejects.toThrow();
  expect(journal.count(RECORD)).toBeUndefined();
});

test.each([[""], [undefined]])("a folder %o is none, and the error names it", (folder) => {
  expect(() => new FileJournal({ folder: folder as string })).toThrow(
    expect.objectContaining({ code: "ARGUMENT_INVALID", message: expect.stringContaining("folder") }),
  );
});
