// The simulation of leases over the real SQLite of a Durable Object: the same seeds, the same judge, fewer of them.

import { expect, test } from "vitest";
import { migrate } from "../../worker/tenant/schema.ts";
import { simulate } from "../simulation/leases/simulate.ts";
import { freshTenantName, START_MS, stubOf, within } from "./support.ts";

const SEEDS = 20;

test(`over SQLite nothing is overspent, lost or stuck after any step of ${SEEDS} seeds`, async () => {
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    // Its own object for each seed: a simulation begins with an empty store.
    const failure = await within(stubOf(freshTenantName()), START_MS, ({ store }, state) => {
      const { sql } = state.storage;
      const newStore = () => {
        for (const { name } of [...sql.exec<{ name: string }>(TABLES)]) sql.exec(`DROP TABLE ${name}`);
        migrate(state.storage, START_MS);
        return store;
      };
      return simulate(seed, { newStore }).failure;
    });
    expect(failure, `seed ${seed}`).toBeUndefined();
  }
});

const TABLES = `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'
  AND name NOT LIKE 'sqlite%'`;
