// The journal in IndexedDB, in a real browser: what every journal does, records that cannot be read, and a page that is
// closed while its commit is under way and opened again.

import type { RuntimeRpc } from "purser/client";
import { IndexedDbJournal } from "purser/journal-indexeddb";
import { LocalLedger } from "purser/ledger";
import { expect, onTestFinished, test } from "vitest";
import {
  type Clocks,
  countingContract,
  journalContract,
  journalRecord,
} from "../../support/journal-contract.ts";
import type { Surrounding } from "./journal-page.ts";

let made = 0;
const freshName = (): string => `journal-${++made}-${Date.now()}`;

for (const contract of [journalContract, countingContract]) {
  contract("in IndexedDB", async () => {
    const name = freshName();
    return (clocks?: Clocks) => new IndexedDbJournal({ name, ...clocks });
  });
}

function request<T>(asked: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
}

test("what cannot be read is set aside, told of once, and the others are read", async () => {
  const name = freshName();
  const journal = new IndexedDbJournal({ name });
  const record = journalRecord("a");
  await journal.put(record);
  const database = await request(indexedDB.open(name));
  const store = database.transaction("records", "readwrite").objectStore("records");
  store.put('{"version":1,"partition":', ["p", "torn"]);
  store.put(JSON.stringify({ ...record, version: 2 }), ["p", "later"]);
  await request(store.put({ not: "a text" }, ["p", "foreign"]));
  expect(await journal.list()).toEqual({
    records: [record],
    quarantined: ["p,foreign", "p,later", "p,torn"],
  });
  expect(await journal.list()).toEqual({ records: [record], quarantined: [] });
  const aside = database.transaction("quarantine").objectStore("quarantine");
  expect(await request(aside.count())).toBe(3);
  database.close();
});

test("what a stream has used is written at once when its page is hidden", async () => {
  const name = freshName();
  const journal = new IndexedDbJournal({ name, setTimer: () => () => undefined });
  const counted = (amount: number) => journalRecord("a", { actual: { unit: "TOKENS", amount } });
  await journal.count(counted(10));
  void journal.count(counted(20));
  document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
  const later = new IndexedDbJournal({ name, now: () => Date.now() + 120_000 });
  expect((await later.list()).records).toEqual([counted(20)]);
});

test("what is put is asked to be on the disk, not only on its way there", async () => {
  const { transaction } = IDBDatabase.prototype;
  onTestFinished(() => {
    IDBDatabase.prototype.transaction = transaction;
  });
  const durabilities: (string | undefined)[] = [];
  IDBDatabase.prototype.transaction = function (stores, mode, options) {
    const begun = transaction.call(this, stores, mode, options);
    durabilities.push(begun.durability);
    return begun;
  };
  await new IndexedDbJournal({ name: freshName() }).put(journalRecord("a"));
  expect(durabilities).toEqual(["strict"]);
});

test("a database that is deleted is waited for by nobody, and made anew", async () => {
  const name = freshName();
  const journal = new IndexedDbJournal({ name });
  await journal.put(journalRecord("a"));
  await request(indexedDB.deleteDatabase(name));
  await journal.put(journalRecord("b"));
  expect((await journal.list()).records).toEqual([journalRecord("b")]);
});

function openPage(surrounding: Surrounding): HTMLIFrameElement {
  Reflect.set(window, "surrounding", surrounding);
  const page = document.createElement("iframe");
  page.srcdoc = `<script type="module" src="${new URL("./journal-page.ts", import.meta.url)}"></script>`;
  document.body.append(page);
  onTestFinished(() => page.remove());
  return page;
}

test("a page that is closed while its commit is under way: the next one goes on, and it counts once", async () => {
  const ledger = new LocalLedger({ tenant: "acme", now: Date.now });
  const tokens = (amount: number) => ({ unit: "TOKENS" as const, amount });
  ledger.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated: tokens(1_000) });
  const name = freshName();
  const commits: { readonly idempotency_key: string }[] = [];
  let committed: () => void;
  const firstCommit = new Promise<void>((resolve) => {
    committed = resolve;
  });
  /** Objects of another page are made this page's own, as they are on any wire. */
  const rpc = {
    reserve: async (ask: never) => ledger.reserve(structuredClone(ask)),
    extend: async (id: string, ask: never) => ledger.extend(id, structuredClone(ask)),
    commit: async (id: string, ask: never) => {
      commits.push(structuredClone(ask));
      const reply = ledger.commit(id, structuredClone(ask));
      if (commits.length > 1) return reply;
      committed();
      return new Promise<never>(() => undefined); // decided, and never heard of
    },
  } as unknown as RuntimeRpc;
  const first = openPage({ rpc, journal: name, spends: true, onSettled: () => undefined });
  await firstCommit;
  const [left] = (await new IndexedDbJournal({ name }).list()).records;
  expect(left).toMatchObject({ mode: "commit", actual: tokens(70), metadata: { page: "first" } });
  first.remove();

  const settled = await new Promise<string>((onSettled) => {
    openPage({ rpc, journal: name, spends: false, onSettled });
  });
  expect(settled).toBe(left?.reservationId);
  expect(commits).toHaveLength(2);
  expect(commits[1]).toEqual(commits[0]);
  expect(await new IndexedDbJournal({ name }).list()).toEqual({ records: [], quarantined: [] });
  const row = { spent: { unit: "TOKENS", amount: 70n }, reserved: { unit: "TOKENS", amount: 0n } };
  expect(ledger.balances()).toMatchObject({ ok: true, body: { balances: [row] } });
});

test("a page that is gone in the middle of a stream: what it had counted is charged once, by a page that finds it", async () => {
  const ledger = new LocalLedger({ tenant: "acme", now: Date.now });
  const tokens = (amount: number) => ({ unit: "TOKENS" as const, amount });
  ledger.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated: tokens(1_000) });
  const rpc = {
    reserve: async (ask: never) => ledger.reserve(structuredClone(ask)),
    extend: async (id: string, ask: never) => ledger.extend(id, structuredClone(ask)),
    commit: async (id: string, ask: never) => ledger.commit(id, structuredClone(ask)),
  } as unknown as RuntimeRpc;
  const journal = freshName();
  const plan = { rpc, journal, spends: false, onSettled: () => undefined };
  const kept = async () => (await new IndexedDbJournal({ name: journal, now: ahead }).list()).records;
  const ahead = () => Date.now() + 120_000;

  const first = openPage({ ...plan, streams: true });
  while ((await kept())[0]?.actual.amount !== 42) await new Promise((resolve) => setTimeout(resolve, 20));
  const other = openPage(plan); // a tab beside it finds a stream that runs
  await new Promise((resolve) => other.addEventListener("load", resolve));
  first.remove();
  const figures = (spent: bigint, reserved: bigint) => ({
    body: {
      balances: [
        { spent: { unit: "TOKENS", amount: spent }, reserved: { unit: "TOKENS", amount: reserved } },
      ],
    },
  });
  expect(ledger.balances()).toMatchObject(figures(0n, 100n));
  await new Promise<string>((onSettled) => openPage({ ...plan, aheadMs: 120_000, onSettled }));
  expect(ledger.balances()).toMatchObject(figures(42n, 0n));
  expect(await kept()).toEqual([]);
});
