// `npm run crash -- --kills 20 [--seed N]`: SIGKILLs the real authority under load again and again, and checks after each
// time that everything acknowledged is there, that everything unknown is applied exactly once, and that the ledger
// balances. The seed decides what is asked and when it is killed; what the kill meets is the machine's business.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { Command } from "commander";
import { parseKills, parseSeed } from "./lib/arguments.ts";
import { crash } from "./lib/crash-rig.ts";
import { count } from "./lib/report.ts";
import { seededRandom } from "./lib/seeded-random.ts";
import { listenForStop } from "./lib/stop-signal.ts";
import { reportLikePurser, runCommand } from "./lib/user-error.ts";

const KILLS_DEFAULT = 20;

await runCommand(async () => {
  const { kills, seed } = reportLikePurser(new Command("npm run crash --"))
    .description("Kills the authority under load and checks what it kept.")
    .option("--kills <number>", "how often", parseKills, KILLS_DEFAULT)
    .option("--seed <number>", "for the load and the moments of the kills", parseSeed, Date.now() % 1_000_000)
    .parse()
    .opts<{ kills: number; seed: number }>();
  const stop = listenForStop();
  const dataDir = await mkdtemp(join(tmpdir(), "purser-crash-"));
  process.stdout.write(`purser: seed ${seed}\n`);
  try {
    const figures = await crash({
      dataDir,
      kills,
      random: seededRandom(seed),
      signal: stop.signal,
      onLife: (it) =>
        process.stdout.write(`kill ${it.kills}: ${count(it.acknowledged)} acknowledged, none lost\n`),
    });
    process.stdout.write(
      `${figures.kills} kills: ${count(figures.acknowledged)} operations acknowledged, 0 lost; ` +
        `${count(figures.unknown)} without an answer, of which ${count(figures.unknownApplied)} had been applied; ` +
        "sent again, each counts exactly once; the ledger balances\n",
    );
    return 0;
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
});
