// What a permit costs that is free: one tryAcquireTool and its release. The packages' semaphores stand beside the counted
// budget (counter.ts); here they would need two of them, and take them one after the other.

import { Semaphore } from "async-mutex";
import pLimit from "p-limit";
import { ConcurrencyGovernor } from "purser";
import { type Group, type Loop, SCRIPT_RUNTIMES } from "../contender.ts";
import { BigIntAtomicsGovernor } from "../peers/bigint-atomics.ts";
import { Int32AtomicsGovernor } from "../peers/int32-atomics.ts";
import { PlainGovernor } from "../peers/plain.ts";

const LIMITS = { streams: 4, tools: 8, total: 16 };

interface Governor {
  tryAcquireTool(): { release(): void } | null;
}

function acquireAndRelease(governor: Governor): Loop {
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

function twoLimits(): Loop {
  const total = pLimit(LIMITS.total);
  const tools = pLimit(LIMITS.tools);
  const work = (i: number): number => i;
  const inTools = (i: number): Promise<number> => tools(work, i);
  return async (operations) => {
    let granted = 0;
    for (let i = 0; i < operations; i++) {
      await total(inTools, i);
      granted++;
    }
    return granted;
  };
}

export const governorGroup: Group = {
  id: "governor",
  title: "ConcurrencyGovernor: tryAcquireTool + release",
  native: "governor-native",
  bigIntAtomics: "governor-bigint64",
  contenders: [
    {
      id: "governor-purser",
      kind: "loop",
      who: "purser ConcurrencyGovernor",
      runtimes: SCRIPT_RUNTIMES,
      prepare: () => acquireAndRelease(new ConcurrencyGovernor(LIMITS)),
    },
    {
      id: "governor-native",
      kind: "native",
      who: "native Rust, two AtomicUsize + Arc",
      note: "Takes the whole first and the category second, so that a burst of one starves the other.",
    },
    {
      id: "governor-bigint64",
      kind: "loop",
      who: "JS Atomics, BigInt64Array",
      note: "One count after the other, as the native one; nobody can wait, and a crashed thread's permits are gone.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: () => acquireAndRelease(new BigIntAtomicsGovernor(LIMITS)),
    },
    {
      id: "governor-int32",
      kind: "loop",
      who: "JS Atomics, Int32Array",
      note: "The same; 32 bits are enough for permits.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: () => acquireAndRelease(new Int32AtomicsGovernor(LIMITS)),
    },
    {
      id: "governor-plain",
      kind: "loop",
      who: "plain JS numbers",
      note: "One thread only, nothing checked, nobody can wait.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: () => acquireAndRelease(new PlainGovernor(LIMITS)),
    },
    {
      id: "governor-async-mutex",
      kind: "loop",
      who: "async-mutex, two Semaphores",
      note: "One after the other, asynchronously, in one thread; who waits for the second holds the first.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: twoSemaphores,
    },
    {
      id: "governor-p-limit",
      kind: "loop",
      who: "p-limit, two limits",
      note: "Runs a function that does nothing in a slot of one within a slot of the other, in one thread; who waits for the second holds the first.",
      runtimes: SCRIPT_RUNTIMES,
      prepare: twoLimits,
    },
  ],
};
