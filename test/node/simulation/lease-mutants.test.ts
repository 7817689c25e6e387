// That the simulation of leases bites: each mutant of a rule is caught by one of the first seeds. The mutants of the
// arithmetic are compiled one by one, which takes its time: `npm run simulate -- --leases --mutants` runs those as well.

import { afterAll, expect, test } from "vitest";
import { buildMutant, removeMutants } from "../../../scripts/lib/mutant-build.ts";
import { LEASE_MUTANTS } from "../../simulation/leases/mutants.ts";
import type { Outcome } from "../../simulation/simulate.ts";

const SEEDS_MAX = 2_000;
const ENTRY = "test/simulation/leases/simulate.ts";

afterAll(() => removeMutants(ENTRY));

test.each(LEASE_MUTANTS.filter(({ file }) => !file.startsWith("assembly/")))(
  "$name is caught",
  async (mutant) => {
    const { simulate }: { simulate: (seed: number) => Outcome } = await import(
      await buildMutant(mutant, ENTRY)
    );
    const seeds = Array.from({ length: SEEDS_MAX }, (_, index) => index + 1);
    expect(seeds.find((seed) => simulate(seed).failure !== undefined)).toBeDefined();
  },
);
