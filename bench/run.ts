// `npm run bench`: what the hot paths cost, beside what else one could use, in Node, workerd and Chromium, and beside
// native Rust. It prints one table at the end and never passes or fails by a time: figures belong to the machine.

import { writeFile } from "node:fs/promises";
import process from "node:process";
import { SingleBar } from "cli-progress";
import { Command, InvalidArgumentError } from "commander";
import { listenForStop } from "../scripts/lib/stop-signal.ts";
import { reportLikePurser, runCommand } from "../scripts/lib/user-error.ts";
import { countAllocations } from "./allocations.ts";
import { GROUPS } from "./catalogue.ts";
import { type Runtime, SCRIPT_RUNTIMES } from "./contender.ts";
import { chromiumHost } from "./hosts/chromium.ts";
import type { Absent, Host } from "./hosts/host.ts";
import { findNative } from "./hosts/native.ts";
import { nodeHost } from "./hosts/node.ts";
import { workerdHost } from "./hosts/workerd.ts";
import { describeMachine, readMachine } from "./machine.ts";
import { closingTable, renderMarkdown, renderText } from "./report.ts";
import { measureGroup } from "./rounds.ts";
import { FULL, QUICK } from "./settings.ts";
import { type Measured, median, spread } from "./statistics.ts";

interface BenchOptions {
  readonly quick: boolean;
  readonly json?: string;
  readonly markdown?: string;
  readonly group: readonly string[];
  readonly runtime: readonly string[];
}

const HOSTS: Readonly<Record<Runtime, () => Host | Absent | Promise<Host | Absent>>> = {
  native: findNative,
  node: nodeHost,
  workerd: workerdHost,
  chromium: chromiumHost,
};

const EXPLANATION = `ns per operation: median of the rounds ± half the distance between their quartiles, in brackets the fastest round, which
a busy machine disturbs least. All take turns in every round, one at a time; each has a process, page or isolate of its
own. Ratios are medians of the quotients within a round, in the order Node · workerd · Chromium. "native = 1": how many
times as long as native Rust takes. "BigInt64 = 1" and "1 thread = 1": how many times as fast as JavaScript's atomics on
a BigInt64Array in the same runtime (native Rust: as in Node), and as one thread alone. Two threads: time per operation
of both together.`;

await runCommand(async () => {
  const options = readOptions();
  const stop = listenForStop();
  const pace = options.quick ? QUICK : FULL;
  const machine = readMachine();
  say(`machine: ${describeMachine(machine)}`);

  const hosts = new Map<Runtime, Host>();
  try {
    for (const runtime of ["native", ...SCRIPT_RUNTIMES] as const) {
      if (runtime !== "native" && !options.runtime.includes(runtime)) continue;
      const host = await HOSTS[runtime]();
      if ("reason" in host) say(`${runtime}: left out, ${host.reason}`);
      else {
        hosts.set(runtime, host);
        say(`${runtime}: ${host.description}`);
      }
    }

    const groups = GROUPS.filter((group) => options.group.includes(group.id));
    const measured: Measured[] = [];
    for (const group of groups) {
      const progress = showProgress(`${group.id} (${pace.rounds} rounds)`);
      measured.push(
        ...(await measureGroup({ group, hosts, pace, signal: stop.signal, onStep: progress.step })),
      );
      progress.stop();
    }
    const allocations = hosts.has("node") ? await countAllocations() : [];

    const table = closingTable({ groups, measured, allocations });
    say(`\n${renderText(table)}\n${EXPLANATION}`);
    if (options.markdown !== undefined) {
      await writeFile(options.markdown, `${renderMarkdown(table)}\n\n${EXPLANATION}\n`);
      say(`written to ${options.markdown}`);
    }
    if (options.json !== undefined) {
      const runtimes = Object.fromEntries([...hosts].map(([runtime, host]) => [runtime, host.description]));
      const figures = measured.map((it) => ({
        ...it,
        nanoseconds: median(it.rounds),
        fastest: Math.min(...it.rounds),
        spread: spread(it.rounds),
      }));
      const report = { machine, runtimes, pace, measured: figures, allocations };
      await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`);
      say(`written to ${options.json}`);
    }
    return 0;
  } catch (error) {
    // What a signal ends, ends in many places at once; none of them is news.
    if (stop.signal.aborted) return stop.exitCode();
    throw error;
  } finally {
    for (const host of hosts.values()) await host.close();
  }
});

function readOptions(): BenchOptions {
  const collect = (allowed: readonly string[]) => {
    const chosen: string[] = [];
    return (text: string): string[] => {
      if (!allowed.includes(text)) throw new InvalidArgumentError(`It must be one of ${allowed.join(", ")}.`);
      chosen.push(text);
      return chosen;
    };
  };
  const groups = GROUPS.map((group) => group.id);
  const command = reportLikePurser(new Command("npm run bench --"))
    .description(
      "Measures the hot paths beside native Rust, JavaScript's own atomics and the usual packages.",
    )
    .option("--quick", "few and short rounds, to see that everything runs", false)
    .option("--json <file>", "also write every round of every contender there")
    .option("--markdown <file>", "also write the table there, for docs/PERFORMANCE.md")
    .option("--group <id>", `only this one; may be repeated: ${groups.join(", ")}`, collect(groups), groups)
    .option(
      "--runtime <name>",
      `only this one; may be repeated: ${SCRIPT_RUNTIMES.join(", ")}`,
      collect(SCRIPT_RUNTIMES),
      [...SCRIPT_RUNTIMES],
    )
    .parse();
  return command.opts<BenchOptions>();
}

/** A bar on a terminal, a line when it is done elsewhere. */
function showProgress(what: string): { step(done: number, steps: number): void; stop(): void } {
  if (!process.stdout.isTTY) {
    const startedMs = performance.now();
    return {
      step: () => {},
      stop: () => say(`measured ${what} in ${Math.round((performance.now() - startedMs) / 1000)} s`),
    };
  }
  const bar = new SingleBar({
    format: `measuring ${what} {bar} {percentage} %`,
    barCompleteChar: "█",
    barIncompleteChar: "░",
    stream: process.stdout,
    hideCursor: true,
  });
  bar.start(1, 0);
  return {
    step(done, steps) {
      bar.setTotal(steps);
      bar.update(done);
    },
    stop: () => bar.stop(),
  };
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
