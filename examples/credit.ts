import { isMainThread, Worker, workerData } from "node:worker_threads";
import { AtomicBudget, attachKernel, createKernel } from "purser";

const kernel = isMainThread ? createKernel({ shared: true }) : attachKernel(workerData);
// Each thread borrows up to 500 requests at a time and decides on them alone, without touching what the others use.
const requests = new AtomicBudget(100_000, { kernel, name: "requests", credit: 500 });

if (isMainThread) {
  for (let n = 0; n < 2; n++) new Worker(new URL(import.meta.url), { workerData: kernel.memory });
  process.on("exit", () =>
    console.log(`${requests.capacity - requests.available} sent, ${requests.available} left`),
  );
} else {
  while (requests.tryReserve(1)); // false only once both threads together have used it up, to the last one
  kernel.close(); // what it still has lent to it is for the others
}
