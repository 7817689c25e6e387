// Real Web Workers on one kernel, in a cross-origin isolated page.

import { expect, test } from "vitest";
import type { HammerResult } from "../support/hammer.ts";
import { threadTests } from "../support/thread-tests.ts";
import type { LockedJob } from "./thread.ts";

test("the page is cross-origin isolated", () => {
  expect(globalThis.crossOriginIsolated).toBe(true);
});

let threadsStarted = 0;

threadTests(
  (job) => {
    const worker = new Worker(new URL("./thread.ts", import.meta.url), { type: "module" });
    const result = new Promise<HammerResult>((resolve, reject) => {
      worker.addEventListener("message", (event: MessageEvent<HammerResult>) => resolve(event.data), {
        once: true,
      });
      worker.addEventListener("error", (event) => reject(new Error(event.message)), { once: true });
    });
    const lock = `hammering thread ${++threadsStarted}`;
    worker.postMessage({ job, lock } satisfies LockedJob);
    return {
      result,
      terminate: async () => {
        worker.terminate();
        await navigator.locks.request(lock, () => {});
      },
    };
  },
  { threads: 2, scale: 0.25 },
);
