// Every order of the atomic steps of two or three threads that has at most so many preemptions (1 to 4, as each world says;
// some without a bound), and every death of one, on the real kernel. The exploration runs in a Node of its own, because Promise Integration is behind a flag.

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const main = fileURLToPath(new URL("./main.ts", import.meta.url));

interface Explored {
  readonly name: string;
  readonly runs: number;
  readonly failure?: string;
}

/** Under a minute of exploring, on a machine that has nothing else to do. */
const TIMEOUT_MS = 300_000;

test(
  "every order with so many preemptions, and every death, leave the kernel as it must be",
  async () => {
    const { stdout } = await promisify(execFile)(process.execPath, ["--experimental-wasm-jspi", main]);
    const explored: readonly Explored[] = JSON.parse(stdout);
    expect(explored.filter(({ failure }) => failure !== undefined)).toEqual([]);
    expect(explored.length).toBeGreaterThanOrEqual(250);
    const runs = explored.reduce((sum, one) => sum + one.runs, 0);
    expect(runs).toBeGreaterThan(200_000);
    console.log(`${runs} orders and deaths explored in ${explored.length} worlds`);
  },
  TIMEOUT_MS,
);
