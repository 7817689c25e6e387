// What a rate costs: one take that the rate allows. The clock is read once a take, as both do it themselves.

import { RateLimiter } from "limiter";
import { RateBudget } from "purser";
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
  ],
};
