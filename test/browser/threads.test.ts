// Real Web Workers on one kernel, in a cross-origin isolated page.

import { expect, test } from "vitest";
import type { HammerResult } from "../support/hammer.ts";
import { threadTests } from "../support/thread-tests.ts";

test("the page is cross-origin isolated", () => {
  expect(globalThis.crossOriginIsolated).toBe(true);
});

threadTests(
  (job) => {
    const worker = new Worker(new URL("./thread.ts", import.meta.url), { type: "module" });
    const result = new Promise<HammerResult>((resolve, reject) => {
      worker.addEventListener("message", (event: MessageEvent<HammerResult>) => resolve(event.data), {
        once: true,
      });
      worker.addEventListener("error", (event) => reject(new Error(event.message)), { once: true });
    });
    worker.postMessage(job);
    return {
      result,
      terminate: () => {
        worker.terminate();
        return Promise.resolve();
      },
    };
  },
  { threads: 2, scale: 0.25 },
);
