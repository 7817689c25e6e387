// What counting a tenant's tokens in flight costs: one reserve and the drop of its reservation, one known tenant.

import { TenantTokenTracker } from "purser";
import RateLimiterMemory from "rate-limiter-flexible/lib/RateLimiterMemory.js";
import { type Group, type Loop, SCRIPT_RUNTIMES } from "../contender.ts";
import { BigIntAtomicsTracker } from "../peers/bigint-atomics.ts";
import { Int32AtomicsTracker } from "../peers/int32-atomics.ts";
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

function pointsOfATenant(): Loop {
  // Duration 0: points never expire, as what is in flight does not.
  const limiter = new RateLimiterMemory({ points: CAP, duration: 0 });
  return async (operations) => {
    let granted = 0;
    for (let i = 0; i < operations; i++) {
      const tokens = 1 + (i & 7);
      await limiter.consume(SCOPE.tenantId, tokens);
      await limiter.reward(SCOPE.tenantId, tokens);
      granted++;
    }
    return granted;
  };
}

export const trackerGroup: Group = {
  id: "tracker",
  title: "TenantTokenTracker: tryReserve + release",
  native: "tracker-native",
  bigIntAtomics: "tracker-bigint64",
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
      id: "tracker-bigint64",
      kind: "loop",
      who: "JS Atomics, BigInt64Array",
      note: "A tenant's place is known to one thread's Map; what a crashed task had is never given back.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: () => reserveAndDrop(new BigIntAtomicsTracker(CAP)),
    },
    {
      id: "tracker-int32",
      kind: "loop",
      who: "JS Atomics, Int32Array",
      note: "The same, and 32 bits.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: () => reserveAndDrop(new Int32AtomicsTracker(CAP)),
    },
    {
      id: "tracker-plain",
      kind: "loop",
      who: "plain JS Map",
      note: "One thread only, nothing checked, and a tenant's crashed task is never given back.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: () => reserveAndDrop(new PlainTracker(CAP)),
    },
    {
      id: "tracker-rate-limiter-flexible",
      kind: "loop",
      who: "rate-limiter-flexible, memory",
      note: "Points of a tenant in one thread, asynchronously: consume(tenant, tokens) and reward(tenant, tokens), tied by nothing.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: pointsOfATenant,
    },
  ],
};
