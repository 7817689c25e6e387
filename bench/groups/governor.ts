// What a permit costs that is free: one tryAcquireTool and its release. The packages' semaphores stand beside the counted
// budget (counter.ts); here they would need two of them, and take them one after the other.

import { Semaphore } from "async-mutex";
import { ConcurrencyGovernor } from "purser";
import { type Group, type Loop, SCRIPT_RUNTIMES } from "../contender.ts";

const LIMITS = { streams: 4, tools: 8, total: 16 };

function acquireAndRelease(): Loop {
  const governor = new ConcurrencyGovernor(LIMITS);
  return (operations) => {
    let granted = 0;
    for (let i = 0; i < operations; i++) {
      const permit = governor.tryAcquireTool();
      if (permit === null) continue;
      permit.release();
      granted++;
    }
    return granted;
  };
}

function twoSemaphores(): Loop {
  const total = new Semaphore(LIMITS.total);
  const tools = new Semaphore(LIMITS.tools);
  return async (operations) => {
    let granted = 0;
    for (let i = 0; i < operations; i++) {
      const [, releaseTotal] = await total.acquire();
      const [, releaseTool] = await tools.acquire();
      releaseTool();
      releaseTotal();
      granted++;
    }
    return granted;
  };
}

export const governorGroup: Group = {
  id: "governor",
  title: "ConcurrencyGovernor: tryAcquireTool + release",
  native: "governor-native",
  contenders: [
    {
      id: "governor-purser",
      kind: "loop",
      who: "purser ConcurrencyGovernor",
      runtimes: SCRIPT_RUNTIMES,
      prepare: acquireAndRelease,
    },
    {
      id: "governor-native",
      kind: "native",
      who: "native Rust, two AtomicUsize + Arc",
      note: "Takes the whole first and the category second, so that a burst of one starves the other.",
    },
    {
      id: "governor-async-mutex",
      kind: "loop",
      who: "async-mutex, two Semaphores",
      note: "One after the other, asynchronously, in one thread; who waits for the second holds the first.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: twoSemaphores,
    },
  ],
};
