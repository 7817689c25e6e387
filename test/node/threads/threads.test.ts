// Real worker_threads on one kernel.

import { once } from "node:events";
import process from "node:process";
import { Worker } from "node:worker_threads";
import type { HammerResult } from "../../support/hammer.ts";
import { threadTests } from "../../support/thread-tests.ts";

/** Of the full load, which takes twice as long and is for those who change the kernel: PURSER_THREADS_SCALE=1. */
const SCALE = 0.5;

threadTests(
  (job) => {
    const worker = new Worker(new URL("./thread.ts", import.meta.url), { workerData: job });
    const result = once(worker, "message").then(([message]) => message as HammerResult);
    result.catch(() => {}); // a terminated thread has no result, and nobody waits for it
    return {
      result,
      terminate: async () => {
        await worker.terminate();
      },
    };
  },
  { threads: 4, scale: Number(process.env.PURSER_THREADS_SCALE ?? SCALE) },
);
