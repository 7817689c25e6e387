// A thread that spends from a budget which another thread leases: half through the attached slice, half through a plain
// budget of that name. It loads the library as it ships.

import { parentPort, workerData } from "node:worker_threads";
import { AtomicTokenBudget, attachKernel, LeasedBudget } from "purser";

export interface LeaseJob {
  readonly memory: WebAssembly.Memory;
  readonly name: string;
  readonly calls: number;
  readonly tokens: number;
}

const { memory, name, calls, tokens } = workerData as LeaseJob;
const kernel = attachKernel(memory);
const slice = LeasedBudget.attach(kernel, name);
const plain = new AtomicTokenBudget(0, { kernel, name });
const pause = new Int32Array(new SharedArrayBuffer(4));

let refused = 0;
for (let done = 0; done < calls; ) {
  const budget = done % 2 === 0 ? slice : plain;
  const reservation = budget.tryReserveTokens(tokens);
  if (reservation === null) {
    refused++;
    Atomics.wait(pause, 0, 0, 1); // the holder is in another thread: let it run
    continue;
  }
  budget.recordUsage(reservation, tokens, 0);
  done++;
}
parentPort?.postMessage({ refused });
