// `npm run simulate`: the ledger in deterministic simulation. Plays seeds on all cores until one fails, or one seed with
// its trace, or shows for each mutant which seed catches it (of the Durable Object: which tests). Exit code 1 when a seed fails or a mutant survives.
import { availableParallelism } from "node:os";
import process from "node:process";
import { SingleBar } from "cli-progress";
import { Command } from "commander";
import { LEASE_MUTANTS } from "../test/simulation/leases/mutants.ts";
import { simulate as simulateLeases } from "../test/simulation/leases/simulate.ts";
import { MUTANTS, type Mutant } from "../test/simulation/mutants.ts";
import { type Outcome, simulate } from "../test/simulation/simulate.ts";
import { parseSeed, parseSeeds, parseThreads } from "./lib/arguments.ts";
import { PROGRESS_EVERY_MS, SIMULATION_SEEDS_DEFAULT } from "./lib/limits.ts";
import { buildMutant, removeMutants } from "./lib/mutant-build.ts";
import { count } from "./lib/report.ts";
import { type PoolResult, simulateSeeds } from "./lib/simulation-pool.ts";
import { listenForStop, type StopSignal } from "./lib/stop-signal.ts";
import { reportLikePurser, runCommand } from "./lib/user-error.ts";
import { catchWorkerMutants } from "./lib/worker-mutants.ts";

interface SimulateOptions {
  readonly seeds: number;
  readonly from: number;
  readonly seed?: number;
  readonly trace: boolean;
  readonly leases: boolean;
  readonly threads: number;
  readonly mutants: boolean;
  readonly workerMutants: boolean;
}

/** What is simulated: where its program lies, the program itself, and the mutants that it must catch. */
interface Subject {
  readonly entry: string;
  readonly simulate: (seed: number, options: { trace?: (line: string) => void }) => Outcome;
  readonly mutants: readonly Mutant[];
  /** What it takes to name it on the command line again. */
  readonly flag: string;
}

const LEDGER: Subject = { entry: "test/simulation/simulate.ts", simulate, mutants: MUTANTS, flag: "" };
const LEASES: Subject = {
  entry: "test/simulation/leases/simulate.ts",
  simulate: simulateLeases,
  mutants: LEASE_MUTANTS,
  flag: "--leases ",
};

await runCommand(async () => {
  const options = readOptions();
  const subject = options.leases ? LEASES : LEDGER;
  if (options.seed !== undefined) return simulateOne(subject, options.seed, options.trace);
  const stop = listenForStop();
  if (options.workerMutants) return catchWorkers(stop);
  return options.mutants ? catchMutants(subject, options, stop) : simulateMany(subject, options, stop);
});

function readOptions(): SimulateOptions {
  return reportLikePurser(new Command("npm run simulate --"))
    .description(
      "Plays the ledger against faults of network, clock, alarm and process, and checks every step.",
    )
    .option(
      "--seeds <number>",
      "how many seeds to play; with --mutants at most, for each",
      parseSeeds,
      SIMULATION_SEEDS_DEFAULT,
    )
    .option("--from <seed>", "the first seed", parseSeed, 1)
    .option("--seed <seed>", "this one seed only", parseSeed)
    .option("--leases", "holders of leases, and what they do wrong, instead of reservations", false)
    .option("--trace", "with --seed: tell every step", false)
    .option("--threads <number>", "threads", parseThreads, availableParallelism())
    .option("--mutants", "break one rule at a time and show which seed catches it", false)
    .option(
      "--worker-mutants",
      "break the Durable Object's rules one at a time and show which tests catch it",
      false,
    )
    .parse()
    .opts<SimulateOptions>();
}

function simulateOne(subject: Subject, seed: number, trace: boolean): number {
  const outcome = subject.simulate(seed, trace ? { trace: (line) => say(line) } : {});
  say(`seed ${seed}: ${count(outcome.steps)} steps, ${outcome.failure ?? "all as foretold"}`);
  return outcome.failure === undefined ? 0 : 1;
}

async function simulateMany(
  { entry, flag }: Subject,
  { seeds, from, threads }: SimulateOptions,
  stop: StopSignal,
): Promise<number> {
  const startedMs = performance.now();
  const progress = showProgress(seeds);
  const result = await simulateSeeds({
    program: new URL(`../${entry}`, import.meta.url).href,
    fromSeed: from,
    seeds,
    threads,
    signal: stop.signal,
    onProgress: progress.show,
  });
  progress.stop();
  const seconds = (performance.now() - startedMs) / 1000;
  say(countsText(result));
  const rate = Math.round(result.steps / seconds);
  say(
    `${count(result.seeds)} seeds from ${from}, ${count(result.steps)} steps in ${seconds.toFixed(1)} s, ${count(rate)} steps/s on ${threads} threads`,
  );
  if (result.failure !== undefined) {
    say(`seed ${result.failure.seed} failed: ${result.failure.message}`);
    say(`play it again: npm run simulate -- ${flag}--seed ${result.failure.seed} --trace`);
    return 1;
  }
  if (stop.signal.aborted) return stop.exitCode();
  say("every step as it must be, every invariant kept");
  return 0;
}

/** For each mutant the first seed that fails, and why; a mutant that gets through all seeds has survived. */
async function catchMutants(
  { entry, mutants }: Subject,
  { seeds, from, threads }: SimulateOptions,
  stop: StopSignal,
): Promise<number> {
  let survivors = 0;
  say("| mutant | the rule it breaks | caught by seed | by what |\n|---|---|---|---|");
  try {
    for (const mutant of mutants) {
      const result = await play(entry, mutant, { seeds, from, threads }, stop);
      if (stop.signal.aborted) return stop.exitCode();
      const { failure } = result;
      if (failure === undefined) survivors += 1;
      const seed = failure === undefined ? `**none of ${count(result.seeds)}**` : String(failure.seed);
      say(`| ${mutant.name} | ${mutant.rule} | ${seed} | ${oneLine(failure?.message ?? "")} |`);
    }
  } finally {
    await removeMutants(entry);
  }
  say(`${mutants.length - survivors} of ${mutants.length} mutants caught`);
  return survivors === 0 ? 0 : 1;
}

/** For each mutant of the Durable Object the tests that fail first; one that none catches has survived. */
async function catchWorkers(stop: StopSignal): Promise<number> {
  let survivors = 0;
  say("| mutant | the rule it breaks | caught by |\n|---|---|---|");
  for await (const { name, rule, caughtBy } of catchWorkerMutants(stop.signal)) {
    if (caughtBy.length === 0) survivors += 1;
    const files = caughtBy.map((file) => file.replace(/^.*\/(.*)\.test\.ts$/, "$1")).join(", ");
    say(`| ${name} | ${rule} | ${files === "" ? "**none**" : files} |`);
  }
  if (stop.signal.aborted) return stop.exitCode();
  say(survivors === 0 ? "all caught" : `${survivors} survived`);
  return survivors === 0 ? 0 : 1;
}

async function play(
  entry: string,
  mutant: Mutant,
  { seeds, from, threads }: { seeds: number; from: number; threads: number },
  stop: StopSignal,
): Promise<PoolResult> {
  const program = await buildMutant(mutant, entry);
  return simulateSeeds({ program, fromSeed: from, seeds, threads, signal: stop.signal });
}

/** What happened, a paragraph per subject: the faults, then what was asked and how often it was answered how. */
function countsText({ counts }: PoolResult): string {
  const subjects = new Map<string, string[]>();
  for (const [name, times] of [...counts].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const [subject = "", what = ""] = name.split(": ");
    subjects.set(subject, [...(subjects.get(subject) ?? []), `${what} ×${count(times)}`]);
  }
  return [...subjects].map(([subject, items]) => paragraph(subject, items)).join("\n");
}

/** Items in lines of at most 110 columns, beside their heading. */
function paragraph(heading: string, items: readonly string[]): string {
  const lines = [""];
  for (const item of items) {
    const line = lines.at(-1) ?? "";
    const longer = line === "" ? item : `${line} · ${item}`;
    if (longer.length <= 95) lines[lines.length - 1] = longer;
    else lines.push(item);
  }
  return lines.map((line, index) => `${(index === 0 ? heading : "").padEnd(14)} ${line}`).join("\n");
}

/** What a table's cell can take. */
function oneLine(text: string): string {
  const short = text.length > 110 ? `${text.slice(0, 110)}…` : text;
  return short.replaceAll(/\s+/g, " ").replaceAll("|", "\\|");
}

/** A bar on a terminal, a line per tenth elsewhere. */
function showProgress(seeds: number): { show(done: number): void; stop(): void } {
  if (!process.stdout.isTTY) {
    let shown = 0;
    return {
      show(done) {
        const tenth = Math.floor((done * 10) / seeds);
        if (tenth > shown) say(`played ${count(done)} of ${count(seeds)} seeds`);
        shown = Math.max(shown, tenth);
      },
      stop: () => {},
    };
  }
  const bar = new SingleBar({
    format: "simulating {bar} {percentage} % · {value} of {total} seeds · {eta_formatted} left",
    barCompleteChar: "█",
    barIncompleteChar: "░",
    stream: process.stdout,
    hideCursor: true,
    fps: 1000 / PROGRESS_EVERY_MS,
  });
  bar.start(seeds, 0);
  return { show: (done) => bar.update(done), stop: () => bar.stop() };
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
