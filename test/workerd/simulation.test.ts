// The simulation over the real SQLite of a Durable Object: the same seeds, the same model, fewer of them.

import { expect, test } from "vitest";
import { migrate } from "../../worker/tenant/schema.ts";
import { simulate } from "../simulation/simulate.ts";
import { freshTenantName, START_MS, stubOf, within } from "./support.ts";

const SEEDS = 60;

test(`${SEEDS} seeds over SQLite give the model's replies and figures after every step`, async () => {
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    // Its own object for each seed: a simulation begins with an empty store.
    const failure = await within(stubOf(freshTenantName()), START_MS, ({ store }, state) => {
      migrate(state.storage, START_MS);
      return simulate(seed, { store }).failure;
    });
    expect(failure, `seed ${seed}`).toBeUndefined();
  }
});
