// What a rate costs: one take that the rate allows. The clock is read once a take, as all of them do it themselves.

import { RateLimiter } from "limiter";
import { RateBudget } from "purser";
import RateLimiterMemory from "rate-limiter-flexible/lib/RateLimiterMemory.js";
import { type Group, type Loop, SCRIPT_RUNTIMES } from "../contender.ts";

/** More tokens a second than a loop of takes can ask for. */
const LIMIT = 1_000_000_000;
const WINDOW_MS = 1_000;

function take(tryTake: (cost: number) => boolean): Loop {
  return (operations) => {
    let granted = 0;
    for (let i = 0; i < operations; i++) {
      if (tryTake(1 + (i & 7))) granted++;
    }
    return granted;
  };
}

function pointsOfAKey(): Loop {
  const limiter = new RateLimiterMemory({ points: LIMIT, duration: WINDOW_MS / 1_000 });
  return async (operations) => {
    let granted = 0;
    for (let i = 0; i < operations; i++) {
      await limiter.consume("agent", 1 + (i & 7));
      granted++;
    }
    return granted;
  };
}

export const ratesGroup: Group = {
  id: "rates",
  title: "RateBudget: tryReserve",
  contenders: [
    {
      id: "rates-purser",
      kind: "loop",
      who: "purser RateBudget",
      runtimes: SCRIPT_RUNTIMES,
      prepare() {
        const rate = new RateBudget(
          { limit: LIMIT, windowMs: WINDOW_MS },
          { now: () => Math.floor(performance.now()) },
        );
        return take((cost) => rate.tryReserve(cost));
      },
    },
    {
      id: "rates-limiter",
      kind: "loop",
      who: "limiter RateLimiter",
      note: "One thread only; it cannot say exactly when a refused take will fit.",
      runtimes: SCRIPT_RUNTIMES,
      prepare() {
        const limiter = new RateLimiter({ tokensPerInterval: LIMIT, interval: WINDOW_MS });
        return take((cost) => limiter.tryRemoveTokens(cost));
      },
    },
    {
      id: "rates-rate-limiter-flexible",
      kind: "loop",
      who: "rate-limiter-flexible, memory",
      note: "Fixed windows: up to twice the limit around the turn of one. One thread only, asynchronously.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: pointsOfAKey,
    },
  ],
};
