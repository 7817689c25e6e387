// A consumer of the built package in plain JavaScript: threads on one budget, and an authority in the process. Prints
// one line of JSON. Run by system-node.test.ts under whatever Node this machine has.

import { isMainThread, Worker, workerData } from "node:worker_threads";
import { AtomicTokenBudget, attachKernel, createKernel, withTokens } from "purser";
import { LocalLedger } from "purser/ledger";

const kernel = isMainThread ? createKernel() : attachKernel(workerData);
const budget = new AtomicTokenBudget(1_000, { kernel, name: "shared" });

if (isMainThread) {
  const result = await withTokens(budget, 50, () => ({
    result: "text",
    promptTokens: 10,
    completionTokens: 5,
  }));
  const thread = new Worker(new URL(import.meta.url), { workerData: kernel.memory });
  await new Promise((resolve) => thread.once("exit", resolve));

  const authority = new LocalLedger({ tenant: "acme", now: Date.now });
  const tokens = (amount) => ({ unit: "TOKENS", amount });
  authority.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated: tokens(2n ** 62n) });
  const request = { subject: { tenant: "acme" }, action: { kind: "llm", name: "chat" } };
  const held = authority.reserve({ idempotency_key: "1", ...request, estimate: tokens(2n ** 60n) });
  const again = authority.reserve({ idempotency_key: "1", ...request, estimate: tokens(2n ** 60n) });
  const committed = authority.commit(held.body.reservation_id, {
    idempotency_key: "2",
    actual: tokens(2n ** 59n),
  });
  console.log(
    JSON.stringify({
      result,
      shared: kernel.shared,
      consumed: budget.tokensConsumed(),
      available: budget.available,
      replayed: held.body.reservation_id === again.body.reservation_id,
      charged: String(committed.body.charged.amount),
    }),
  );
} else {
  const reservation = budget.tryReserveTokens(100);
  budget.recordUsage(reservation, 60, 25);
}
