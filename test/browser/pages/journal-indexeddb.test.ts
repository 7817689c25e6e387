// The journal in IndexedDB, in a real browser: what every journal does, records that cannot be read, and a page that is
// closed while its commit is under way and opened again.

import type { RuntimeRpc } from "purser/client";
import { IndexedDbJournal } from "purser/journal-indexeddb";
import { LocalLedger } from "purser/ledger";
import { expect, onTestFinished, test } from "vitest";
import { journalContract, journalRecord } from "../../support/journal-contract.ts";
import type { Surrounding } from "./journal-page.ts";

let made = 0;
const freshName = (): string => `journal-${++made}-${Date.now()}`;

journalContract("in IndexedDB", async () => {
  const name = freshName();
  return () => new IndexedDbJournal({ name });
});

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

test("a database that is deleted is waited for by nobody, and made anew", async () => {
  const name = freshName();
  const journal = new IndexedDbJournal({ name });
  await journal.put(journalRecord("a"));
  await request(indexedDB.deleteDatabase(name));
  await journal.put(journalRecord("b"));
  expect((await journal.list()).records).toEqual([journalRecord("b")]);
});

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
  function openPage(surrounding: Surrounding): HTMLIFrameElement {
    Reflect.set(window, "surrounding", surrounding);
    const page = document.createElement("iframe");
    page.srcdoc = `<script type="module" src="${new URL("./journal-page.ts", import.meta.url)}"></script>`;
    document.body.append(page);
    onTestFinished(() => page.remove());
    return page;
  }

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
