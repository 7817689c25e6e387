// What counting a tenant's tokens in flight costs: one reserve and the drop of its reservation, one known tenant.

import { TenantTokenTracker } from "purser";
import { type Group, type Loop, SCRIPT_RUNTIMES } from "../contender.ts";
import { PlainTracker } from "../peers/plain.ts";

const CAP = 1_000_000;
const SCOPE = { tenantId: "acme" };

interface Tracker {
  tryReserve(scope: { readonly tenantId: string }, tokens: number): { release(): void } | null;
}

function reserveAndDrop(tracker: Tracker): Loop {
  return (operations) => {
    let granted = 0;
    for (let i = 0; i < operations; i++) {
      const reservation = tracker.tryReserve(SCOPE, 1 + (i & 7));
      if (reservation === null) continue;
      reservation.release();
      granted++;
    }
    return granted;
  };
}

export const trackerGroup: Group = {
  id: "tracker",
  title: "TenantTokenTracker: tryReserve + release",
  native: "tracker-native",
  contenders: [
    {
      id: "tracker-purser",
      kind: "loop",
      who: "purser TenantTokenTracker",
      runtimes: SCRIPT_RUNTIMES,
      prepare: () => reserveAndDrop(new TenantTokenTracker(CAP)),
    },
    { id: "tracker-native", kind: "native", who: "native Rust, RwLock<HashMap>" },
    {
      id: "tracker-plain",
      kind: "loop",
      who: "plain JS Map",
      note: "One thread only, nothing checked, and a tenant's crashed task is never given back.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: () => reserveAndDrop(new PlainTracker(CAP)),
    },
  ],
};
