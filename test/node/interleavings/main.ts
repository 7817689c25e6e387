// Explores every world and prints one line of JSON: what was explored, how often, and what failed. Run by
// interleavings.test.ts, because Promise Integration is behind a flag of Node.

import { ALL_DEATHS, ALL_ORDERS } from "./all-worlds.ts";
import { CREDITED, CREDITED_DEATHS } from "./credit-worlds.ts";
import { Explorer } from "./explore.ts";
import { LINES } from "./line-worlds.ts";
import { LOCKED } from "./locked-worlds.ts";
import { DEATHS, ORDERS } from "./worlds.ts";

const results: { name: string; runs: number; failure?: string }[] = [];

async function explore(name: string, run: (explorer: Explorer) => Promise<number>): Promise<void> {
  try {
    results.push({ name, runs: await run(new Explorer()) });
  } catch (error) {
    results.push({ name, runs: 0, failure: (error as Error).message });
  }
}

for (const [name, { build, preemptions }] of Object.entries({
  ...ORDERS,
  ...LOCKED,
  ...LINES,
  ...ALL_ORDERS,
  ...CREDITED,
})) {
  await explore(name, (explorer) => explorer.everyOrder(build, preemptions));
}
for (const [name, build] of Object.entries({ ...DEATHS, ...ALL_DEATHS, ...CREDITED_DEATHS })) {
  await explore(`a thread dies ${name}`, (explorer) => explorer.everyDeath(build));
}
console.log(JSON.stringify(results));
