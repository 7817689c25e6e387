// What a counted budget costs: one tryReserve and the release of the same cost, uncontended.

import { Semaphore } from "async-mutex";
import { RateLimiter } from "limiter";
import pLimit from "p-limit";
import { AtomicBudget } from "purser";
import RateLimiterMemory from "rate-limiter-flexible/lib/RateLimiterMemory.js";
import { type Group, type Loop, SCRIPT_RUNTIMES } from "../contender.ts";
import { BigIntAtomicsBudget } from "../peers/bigint-atomics.ts";
import { Int32AtomicsBudget } from "../peers/int32-atomics.ts";
import { PlainBudget } from "../peers/plain.ts";

const CAPACITY = 1_000_000;

/** Each of its releases looks at every free permit, so that with the capacity above it takes milliseconds. */
const SEMAPHORE_PERMITS = 8;

interface Budget {
  tryReserve(cost: number): boolean;
  release(cost: number): void;
}

/** Costs vary, so that no compiler turns them into a constant. The loops of native/ do the same. */
export function reserveAndRelease(budget: Budget): Loop {
  return (operations) => {
    let granted = 0;
    for (let i = 0; i < operations; i++) {
      const cost = 1 + (i & 7);
      if (!budget.tryReserve(cost)) continue;
      budget.release(cost);
      granted++;
    }
    return granted;
  };
}

function semaphore(): Loop {
  const permits = new Semaphore(SEMAPHORE_PERMITS);
  return async (operations) => {
    let granted = 0;
    for (let i = 0; i < operations; i++) {
      const [, release] = await permits.acquire(1 + (i & 7));
      release();
      granted++;
    }
    return granted;
  };
}

function slots(): Loop {
  const limit = pLimit(CAPACITY);
  const work = (i: number): number => i;
  return async (operations) => {
    let granted = 0;
    for (let i = 0; i < operations; i++) {
      await limit(work, i);
      granted++;
    }
    return granted;
  };
}

function tokenBucket(): Loop {
  const limiter = new RateLimiter({ tokensPerInterval: Number.MAX_SAFE_INTEGER, interval: "day" });
  return (operations) => {
    let granted = 0;
    for (let i = 0; i < operations; i++) {
      if (limiter.tryRemoveTokens(1 + (i & 7))) granted++;
    }
    return granted;
  };
}

function pointsOfAKey(): Loop {
  // Duration 0: points never expire, as in a budget.
  const limiter = new RateLimiterMemory({ points: CAPACITY, duration: 0 });
  return async (operations) => {
    let granted = 0;
    for (let i = 0; i < operations; i++) {
      const cost = 1 + (i & 7);
      await limiter.consume("agent", cost);
      await limiter.reward("agent", cost);
      granted++;
    }
    return granted;
  };
}

export const counterGroup: Group = {
  id: "counter",
  title: "AtomicBudget: tryReserve + release",
  native: "counter-native",
  bigIntAtomics: "counter-bigint64",
  contenders: [
    {
      id: "counter-purser",
      kind: "loop",
      who: "purser AtomicBudget, private",
      runtimes: SCRIPT_RUNTIMES,
      prepare: () => reserveAndRelease(new AtomicBudget(CAPACITY)),
    },
    {
      id: "counter-purser-shared",
      kind: "loop",
      who: "purser AtomicBudget, shared by name",
      note: "Any thread can take from it: each call decides in the kernel.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: () => reserveAndRelease(new AtomicBudget(CAPACITY, { name: "counter" })),
    },
    {
      id: "counter-native",
      kind: "native",
      who: "native Rust, AtomicU64",
    },
    {
      id: "counter-bigint64",
      kind: "loop",
      who: "JS Atomics, BigInt64Array",
      runtimes: SCRIPT_RUNTIMES,
      prepare: () => reserveAndRelease(new BigIntAtomicsBudget(CAPACITY)),
    },
    {
      id: "counter-int32",
      kind: "loop",
      who: "JS Atomics, Int32Array",
      note: "32 bits: no amount beyond 2^31 − 1, no epochs, no figures of what was refused or out at most.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: () => reserveAndRelease(new Int32AtomicsBudget(CAPACITY)),
    },
    {
      id: "counter-plain",
      kind: "loop",
      who: "plain JS numbers",
      note: "One thread only, nothing checked: the floor of what a call can cost, not the same question.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: () => reserveAndRelease(new PlainBudget(CAPACITY)),
    },
    {
      id: "counter-async-mutex",
      kind: "loop",
      who: "async-mutex Semaphore",
      note: "Waits for its weight in one thread, asynchronously; 8 permits, since its cost grows with their number.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: semaphore,
    },
    {
      id: "counter-p-limit",
      kind: "loop",
      who: "p-limit",
      note: "Slots, not amounts: runs a function that does nothing in one of them.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: slots,
    },
    {
      id: "counter-limiter",
      kind: "loop",
      who: "limiter RateLimiter",
      note: "A rate, so half of the operation: tryRemoveTokens(cost), and nothing can be given back.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: tokenBucket,
    },
    {
      id: "counter-rate-limiter-flexible",
      kind: "loop",
      who: "rate-limiter-flexible, memory",
      note: "Points of a key in one thread, asynchronously: consume(key, cost) and reward(key, cost).",
      runtimes: SCRIPT_RUNTIMES,
      prepare: pointsOfAKey,
    },
  ],
};
