// A page (an iframe) that spends under an authority whose budgets are in the page around it, and keeps its journal in
// IndexedDB. Run by journal-indexeddb.test.ts, which closes it at any moment and opens it again.

import { RpcAuthority, type RuntimeRpc } from "purser/client";
import { IndexedDbJournal } from "purser/journal-indexeddb";

/** What the page around offers, and what it is told. */
export interface Surrounding {
  readonly rpc: RuntimeRpc;
  readonly journal: string;
  readonly spends: boolean;
  readonly onSettled: (reservationId: string) => void;
}

const { rpc, journal, spends, onSettled } = (
  window.parent as unknown as { readonly surrounding: Surrounding }
).surrounding;

const authority = new RpcAuthority({
  namespace: { getByName: () => rpc },
  tenant: "acme",
  journal: new IndexedDbJournal({ name: journal }),
  onRecovery: ({ disposition, reservationId = "" }) => {
    if (disposition === "settled") onSettled(reservationId);
  },
});

if (spends) {
  const guard = await authority.guard({
    action: { kind: "llm", name: "chat" },
    estimate: { unit: "TOKENS", amount: 100 },
  });
  if (guard.ok) await guard.commit({ actual: 70, metadata: { page: "first" } });
}
