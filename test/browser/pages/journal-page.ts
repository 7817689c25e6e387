// A page (an iframe) that spends under an authority whose budgets are in the page around it, and keeps its journal in
// IndexedDB. Run by journal-indexeddb.test.ts, which closes it at any moment and opens it again.

import { RpcAuthority, type RuntimeRpc } from "purser/client";
import { IndexedDbJournal } from "purser/journal-indexeddb";

/** What the page around offers, and what it is told. */
export interface Surrounding {
  readonly rpc: RuntimeRpc;
  readonly journal: string;
  readonly spends: boolean;
  /** Instead it counts 42 of a stream that never ends, and hears nothing of its own end, as a page that crashes. */
  readonly streams?: boolean;
  /** How far the clock of its journal is ahead. */
  readonly aheadMs?: number;
  readonly onSettled: (reservationId: string) => void;
}

const {
  rpc,
  journal,
  spends,
  streams,
  aheadMs = 0,
  onSettled,
} = (window.parent as unknown as { readonly surrounding: Surrounding }).surrounding;

const authority = new RpcAuthority({
  namespace: { getByName: () => rpc },
  tenant: "acme",
  journal: new IndexedDbJournal({ name: journal, now: () => Date.now() + aheadMs }),
  onRecovery: ({ disposition, reservationId = "" }) => {
    if (disposition === "settled") onSettled(reservationId);
  },
});

if (spends || streams) {
  const guard = await authority.guard({
    action: { kind: "llm", name: "chat" },
    estimate: { unit: "TOKENS", amount: 100 },
  });
  if (!guard.ok) throw new Error(guard.denial.message);
  if (streams) {
    const meter = guard.meter({ page: null });
    await meter.add(30);
    await meter.add(12);
  } else {
    await guard.commit({ actual: 70, metadata: { page: "first" } });
  }
}
