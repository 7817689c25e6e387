// What a reservation of tokens costs from end to end: reserve an estimate, settle it with a smaller usage.

import { AtomicTokenBudget } from "purser";
import RateLimiterMemory from "rate-limiter-flexible/lib/RateLimiterMemory.js";
import { type Group, type Loop, SCRIPT_RUNTIMES } from "../contender.ts";
import { BigIntAtomicsTokens } from "../peers/bigint-atomics.ts";
import { Int32AtomicsTokens } from "../peers/int32-atomics.ts";
import { PlainTokens } from "../peers/plain.ts";

/** No run comes to its end: some 10^14 operations. */
const CAPACITY = Number.MAX_SAFE_INTEGER;
/** What 32 bits hold: some twenty million operations. */
const CAPACITY_INT32 = 2 ** 31 - 1;
const PROMPT_TOKENS = 60;

interface Tokens<Reservation> {
  tryReserveTokens(estimate: number): Reservation | null;
  recordUsage(reservation: Reservation, promptTokens: number, completionTokens: number): void;
}

/** Estimates of 100 to 107 tokens, usage of 70 to 77. The loops of native/ do the same. */
export function reserveAndRecord<Reservation>(budget: Tokens<Reservation>): Loop {
  return (operations) => {
    let granted = 0;
    for (let i = 0; i < operations; i++) {
      const reservation = budget.tryReserveTokens(100 + (i & 7));
      if (reservation === null) continue;
      budget.recordUsage(reservation, PROMPT_TOKENS, 10 + (i & 7));
      granted++;
    }
    return granted;
  };
}

/** Filled anew before each batch of operations, which would else come to its end within seconds. */
function refilled(budget: Int32AtomicsTokens): Loop {
  const loop = reserveAndRecord(budget);
  return (operations) => {
    budget.refill();
    return loop(operations);
  };
}

function pointsOfAKey(): Loop {
  const limiter = new RateLimiterMemory({ points: CAPACITY, duration: 0 });
  return async (operations) => {
    let granted = 0;
    for (let i = 0; i < operations; i++) {
      const estimate = 100 + (i & 7);
      await limiter.consume("agent", estimate);
      await limiter.reward("agent", estimate - PROMPT_TOKENS - (10 + (i & 7)));
      granted++;
    }
    return granted;
  };
}

export const tokensGroup: Group = {
  id: "tokens",
  title: "AtomicTokenBudget: tryReserveTokens → recordUsage",
  native: "tokens-native",
  bigIntAtomics: "tokens-bigint64",
  contenders: [
    {
      id: "tokens-purser",
      kind: "loop",
      who: "purser AtomicTokenBudget, private",
      runtimes: SCRIPT_RUNTIMES,
      prepare: () => reserveAndRecord(new AtomicTokenBudget(CAPACITY)),
    },
    {
      id: "tokens-purser-shared",
      kind: "loop",
      who: "purser AtomicTokenBudget, shared by name",
      note: "Any thread can take from it: each call decides in the kernel.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: () => reserveAndRecord(new AtomicTokenBudget(CAPACITY, { name: "tokens" })),
    },
    {
      id: "tokens-native",
      kind: "native",
      who: "native Rust, AtomicU64 + Arc/Weak/Box",
    },
    {
      id: "tokens-bigint64",
      kind: "loop",
      who: "JS Atomics, BigInt64Array",
      note: "Nobody knows what is out: a reservation that is lost is never given back, a refill credits it twice.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: () => reserveAndRecord(new BigIntAtomicsTokens(CAPACITY)),
    },
    {
      id: "tokens-int32",
      kind: "loop",
      who: "JS Atomics, Int32Array",
      note: "As BigInt64Array, and 32 bits: 2^31 − 1 tokens in all, so it is filled anew for every batch.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: () => refilled(new Int32AtomicsTokens(CAPACITY_INT32)),
    },
    {
      id: "tokens-plain",
      kind: "loop",
      who: "plain JS numbers",
      note: "One thread only, nothing checked; the engine may not even make the reservation object.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: () => reserveAndRecord(new PlainTokens(CAPACITY)),
    },
    {
      id: "tokens-rate-limiter-flexible",
      kind: "loop",
      who: "rate-limiter-flexible, memory",
      note: "Two changes of a key's points, consume(estimate) and reward(estimate − actual), tied by nothing.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: pointsOfAKey,
    },
  ],
};
