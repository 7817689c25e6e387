// What a million operations leave behind in Node's heap, and what they allocate on the way. Measured in a process of its
// own whose young generation is larger than all they allocate, so that the second figure is exact. Called by run.ts.

import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { ALLOCATION_NURSERY_MIB } from "./settings.ts";

export interface Allocations {
  readonly what: string;
  readonly operations: number;
  /** After a forced collection, before and after the operations. */
  readonly heapBeforeBytes: number;
  readonly heapAfterBytes: number;
  /** Allocated per operation, whether collected or not. */
  readonly bytesPerOperation: number;
}

const CHILD = fileURLToPath(new URL("allocations-child.ts", import.meta.url));

export async function countAllocations(): Promise<readonly Allocations[]> {
  const nursery = [
    `--min-semi-space-size=${ALLOCATION_NURSERY_MIB}`,
    `--max-semi-space-size=${ALLOCATION_NURSERY_MIB}`,
  ];
  const child = fork(CHILD, [], { execArgv: ["--expose-gc", ...nursery] });
  const ended = once(child, "exit").then(([code]) => {
    throw new Error(`the count of allocations ended with exit code ${code}`);
  });
  const [counted] = (await Promise.race([once(child, "message"), ended])) as [readonly Allocations[]];
  ended.catch(() => {}); // from here on its end is no news
  child.disconnect();
  return counted;
}
