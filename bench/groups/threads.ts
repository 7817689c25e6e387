// What one hot budget yields to two threads: tryReserve + release, ns per operation of both together. More than one
// thread's figure means that they hinder each other more than they help. workerd has no threads.

import { AtomicBudget, attachKernel, createKernel } from "purser";
import type { Contender, Group, Shared, ThreadsContender } from "../contender.ts";
import { BigIntAtomicsBudget } from "../peers/bigint-atomics.ts";
import { Int32AtomicsBudget } from "../peers/int32-atomics.ts";
import { reserveAndRelease } from "./counter.ts";

const CAPACITY = 1_000_000;
const NAME = "hot";
/** A slice of 256 takes of the usual cost. */
const CREDIT = 1_024;

type Work = Pick<ThreadsContender, "share" | "prepareThread">;

const purser: Work = {
  share: () => createKernel({ shared: true }).memory,
  prepareThread(shared) {
    const kernel = attachKernel(asMemory(shared));
    return reserveAndRelease(new AtomicBudget(CAPACITY, { kernel, name: NAME }));
  },
};

const purserWithCredit: Work = {
  share: () => createKernel({ shared: true }).memory,
  prepareThread(shared) {
    const kernel = attachKernel(asMemory(shared));
    return reserveAndRelease(new AtomicBudget(CAPACITY, { kernel, name: NAME, credit: CREDIT }));
  },
};

const bigInt64: Work = {
  share: () => new BigIntAtomicsBudget(CAPACITY).buffer,
  prepareThread: (shared) => reserveAndRelease(new BigIntAtomicsBudget(CAPACITY, asBuffer(shared))),
};

const int32: Work = {
  share: () => new Int32AtomicsBudget(CAPACITY).buffer,
  prepareThread: (shared) => reserveAndRelease(new Int32AtomicsBudget(CAPACITY, asBuffer(shared))),
};

function asMemory(shared: Shared): WebAssembly.Memory {
  if (shared instanceof WebAssembly.Memory) return shared;
  throw new Error("expected a memory");
}

function asBuffer(shared: Shared): SharedArrayBuffer {
  if (shared instanceof SharedArrayBuffer) return shared;
  throw new Error("expected a buffer");
}

function oneAndTwo(name: string, who: string, work: Work): Contender[] {
  const runtimes = ["node", "chromium"] as const;
  const one = `threads-${name}-1`;
  return [
    { ...work, kind: "threads", id: one, who: `${who}: one thread`, threads: 1, runtimes },
    {
      ...work,
      kind: "threads",
      id: `threads-${name}-2`,
      who: `${who}: two threads`,
      threads: 2,
      runtimes,
      oneThread: one,
    },
  ];
}

export const threadsGroup: Group = {
  id: "threads",
  title: "Two threads on one hot AtomicBudget: tryReserve + release",
  contenders: [
    ...oneAndTwo("purser", "purser, no credit", purser),
    ...oneAndTwo("purser-credit", "purser, with credit", purserWithCredit),
    { id: "threads-native-1", kind: "native", who: "native Rust: one thread" },
    {
      id: "threads-native-2",
      kind: "native",
      who: "native Rust: two threads",
      oneThread: "threads-native-1",
    },
    ...oneAndTwo("bigint64", "BigInt64Array", bigInt64),
    ...oneAndTwo("int32", "Int32Array", int32),
  ],
};
