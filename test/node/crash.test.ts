// The real authority, killed under load: nothing acknowledged is lost, nothing unknown counts twice, the ledger balances.
// More kills: npm run crash -- --kills 100.

import { expect, test } from "vitest";
import { crash } from "../../scripts/lib/crash-rig.ts";
import { seededRandom } from "../../scripts/lib/seeded-random.ts";
import { COMMAND_TIMEOUT_MS, temporaryFolder } from "./support/commands.ts";

const KILLS = 5;

test(`${KILLS} kills under load`, { timeout: 2 * COMMAND_TIMEOUT_MS }, async () => {
  await using folder = await temporaryFolder();
  const seed = Date.now() % 1_000_000;
  console.log(`crash test: seed ${seed}`);
  const figures = await crash({ dataDir: folder.path, kills: KILLS, random: seededRandom(seed) });
  console.log("crash test:", figures);
  expect(figures.kills).toBe(KILLS);
  expect(figures.acknowledged).toBeGreaterThanOrEqual(KILLS * 20);
  // A kill in the middle of 32 clients' work leaves some of them without an answer.
  expect(figures.unknown).toBeGreaterThan(KILLS);
});
