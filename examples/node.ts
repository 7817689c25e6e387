import { isMainThread, Worker, workerData } from "node:worker_threads";
import { AtomicTokenBudget, attachKernel, createKernel } from "purser";

const kernel = isMainThread ? createKernel({ shared: true }) : attachKernel(workerData);
const budget = new AtomicTokenBudget(10_000, { kernel, name: "agents" });

if (isMainThread) {
  for (let n = 0; n < 4; n++) new Worker(new URL(import.meta.url), { workerData: kernel.memory });
  process.on("exit", () => console.log(`${budget.tokensConsumed()} spent, ${budget.available} left`));
} else {
  for (
    let reservation = budget.tryReserveTokens(120);
    reservation;
    reservation = budget.tryReserveTokens(120)
  ) {
    budget.recordUsage(reservation, 60, 20); // null when the budget is used up: nobody overspends
  }
}
