// Real worker_threads on one lease; the holder in this thread does nothing but hear that they are short. And a process
// that holds a lease and forgets it.

import { execFile } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { createKernel, LeasedBudget } from "purser";
import { LocalAuthority } from "purser/ledger";
import { expect, test } from "vitest";
import type { LeaseJob } from "./lease-thread.ts";

const THREADS = 2;
const CALLS = 5_000;
const TOKENS = 10;

test("threads spend a lease that none of them holds, and every token is charged once", async () => {
  const allocated = THREADS * CALLS * TOKENS + 1_000;
  const authority = new LocalAuthority({ tenant: "acme", now: Date.now });
  authority.ledger.createBudget({
    scope: "tenant:acme",
    unit: "TOKENS",
    allocated: { unit: "TOKENS", amount: allocated },
  });
  const kernel = createKernel({ shared: true });
  const budget = await LeasedBudget.open(authority, {
    unit: "TOKENS",
    kernel,
    name: "agents",
    slice: { first: 500 },
  });
  const job: LeaseJob = { memory: kernel.memory, name: "agents", calls: CALLS, tokens: TOKENS };
  const ends = Array.from({ length: THREADS }, () => {
    const worker = new Worker(new URL("./lease-thread.ts", import.meta.url), { workerData: job });
    return once(worker, "exit");
  });
  for (const [code] of await Promise.all(ends)) expect(code).toBe(0);
  expect(budget.tokensConsumed()).toBe(THREADS * CALLS * TOKENS);
  await budget.close();
  expect(await authority.balances()).toMatchObject([
    { spent: THREADS * CALLS * TOKENS, reserved: 0, remaining: 1_000, debt: 0 },
  ]);
  expect(budget.authorityCalls).toBeLessThan(200);
});

test("a lease that nobody closes keeps no process alive", async () => {
  const program = `
    import { LeasedBudget } from "purser";
    import { LocalAuthority } from "purser/ledger";
    const authority = new LocalAuthority({ tenant: "acme", now: Date.now });
    authority.ledger.createBudget({
      scope: "tenant:acme", unit: "TOKENS", allocated: { unit: "TOKENS", amount: 1000 },
    });
    const budget = await LeasedBudget.open(authority, { unit: "TOKENS", name: "agents", slice: { first: 100 } });
    budget.tryReserveTokens(90);
    budget.tryReserveTokens(90);
    console.log(budget.available);`;
  const root = fileURLToPath(new URL("../../..", import.meta.url));
  const args = ["--input-type=module", "--eval", program];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root });
  expect(stdout).toBe("10\n");
});
