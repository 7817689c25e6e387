// Explores every world and prints one line of JSON: what was explored, how often, and what failed. Run by
// interleavings.test.ts, because Promise Integration is behind a flag of Node.

import { ADJUSTED, ADJUSTED_DEATHS } from "./adjust-worlds.ts";
import { ALL_DEATHS, ALL_ORDERS } from "./all-worlds.ts";
import { COUNTS } from "./count-worlds.ts";
import { EXACT, EXACT_DEATHS } from "./credit-exact-worlds.ts";
import { historyWorld } from "./credit-histories.ts";
import { CREDITED, CREDITED_DEATHS } from "./credit-worlds.ts";
import { EXPIRIES, EXPIRY_DEATHS } from "./expiry-worlds.ts";
import { Explorer } from "./explore.ts";
import { FIT_DEATHS, FITS } from "./fit-worlds.ts";
import { LINES } from "./line-worlds.ts";
import { LOCKED } from "./locked-worlds.ts";
import { TENANT_DEATHS, TENANTS } from "./tenant-worlds.ts";
import { type Build, DEATHS, ORDERS } from "./worlds.ts";

/** Some seconds of random histories. */
const SEEDS = 150;

// `main.ts [seeds [first seed [more preemptions]]]`: more histories and orders than npm test has the time for.
const [seeds = SEEDS, first = 1, more = 0] = process.argv.slice(2).map(Number);

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
  ...EXACT,
  ...ADJUSTED,
  ...FITS,
  ...EXPIRIES,
  ...TENANTS,
  ...COUNTS,
})) {
  await explore(name, (explorer) => explorer.everyOrder(build, preemptions && preemptions + more));
}
for (const [name, build] of Object.entries({
  ...DEATHS,
  ...ALL_DEATHS,
  ...CREDITED_DEATHS,
  ...EXACT_DEATHS,
  ...ADJUSTED_DEATHS,
  ...FIT_DEATHS,
  ...EXPIRY_DEATHS,
  ...TENANT_DEATHS,
})) {
  await explore(`a thread dies ${name}`, (explorer) => explorer.everyDeath(build));
}
const histories = new Explorer();
for (let seed = first; seed < first + seeds; seed++) {
  const build: Build = (kernel) => historyWorld(kernel, seed);
  await explore(`history ${seed}`, () => histories.everyOrder(build, 1));
}
console.log(JSON.stringify(results));
