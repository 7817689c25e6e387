// That the simulation bites: each mutant of a rule is caught by one of the first seeds. The mutants of the arithmetic
// are compiled one by one, which takes its time: `npm run simulate -- --mutants` runs those as well.

import { readFile } from "node:fs/promises";
import { afterAll, expect, test } from "vitest";
import { buildMutant, removeMutants } from "../../../scripts/lib/mutant-build.ts";
import { MUTANTS } from "../../simulation/mutants.ts";
import type { Outcome } from "../../simulation/simulate.ts";
import { WORKER_MUTANTS } from "../../workerd/mutants.ts";

const SEEDS_MAX = 1_000;

afterAll(() => removeMutants());

test.each(MUTANTS.filter(({ file }) => !file.startsWith("assembly/")))("$name is caught", async (mutant) => {
  const { simulate }: { simulate: (seed: number) => Outcome } = await import(await buildMutant(mutant));
  const seeds = Array.from({ length: SEEDS_MAX }, (_, index) => index + 1);
  expect(seeds.find((seed) => simulate(seed).failure !== undefined)).toBeDefined();
});

// They are played in workerd by a command of their own; what is changed there must at least be there to change.
test.each(WORKER_MUTANTS)("the text that $name changes stands once in its file", async ({ file, find }) => {
  const text = await readFile(new URL(`../../../${file}`, import.meta.url), "utf8");
  expect(text.split(find)).toHaveLength(2);
});
