// `npm run bench:edge`: what the authority does per second and how long an answer takes, over HTTP on this machine, from an
// empty Worker up to whole settlements, and whether the ledger adds up afterwards. It never passes or fails by a time;
// it fails if the ledger does not agree with the answers.

import { writeFile } from "node:fs/promises";
import process from "node:process";
import { Command } from "commander";
import { listenForStop } from "../scripts/lib/stop-signal.ts";
import { reportLikePurser, runCommand } from "../scripts/lib/user-error.ts";
import { Fleet } from "./edge/fleet.ts";
import { type Account, FLOWS, type Flow } from "./edge/flows.ts";
import { balanceOf, writePast } from "./edge/large-tenant.ts";
import { checkLedger, Expectation } from "./edge/ledger-check.ts";
import { EDGE_EXPLANATION, edgeTable, type Measurement, rateOf } from "./edge/report.ts";
import {
  AIM_CONNECTIONS,
  CONNECTIONS,
  EDGE_FULL,
  EDGE_QUICK,
  type EdgePace,
  TENANTS,
} from "./edge/settings.ts";
import { describeMachine, readMachine } from "./machine.ts";
import { renderMarkdown, renderText } from "./report.ts";

interface EdgeOptions {
  readonly quick: boolean;
  readonly large: boolean;
  readonly markdown?: string;
  readonly json?: string;
}

/** Settings of one group of rounds: the same flows, in turns, on the same accounts. */
interface Setting {
  readonly flows: readonly Flow[];
  readonly on: readonly { readonly name: string; readonly accounts: readonly Account[] }[];
  readonly connections: number;
}

await runCommand(async () => {
  const options = readOptions();
  const stop = listenForStop();
  const pace = options.quick ? EDGE_QUICK : EDGE_FULL;
  const machine = readMachine();
  say(`machine: ${describeMachine(machine)}`);
  const fleet = await Fleet.start();
  try {
    const expectation = new Expectation();
    const measure = (setting: Setting) =>
      measureSetting(fleet, setting, { pace, expectation, signal: stop.signal });

    const accounts = await fleet.makeAccounts("bench", Math.max(...TENANTS));
    await warmUp(fleet, accounts, pace, expectation);
    const load: Measurement[] = [];
    for (const count of TENANTS) {
      const on = [{ name: `${count} tenant${count === 1 ? "" : "s"}`, accounts: accounts.slice(0, count) }];
      for (const connections of CONNECTIONS) load.push(...(await measure({ flows: FLOWS, on, connections })));
    }
    const verdicts = [await checkLedger(fleet.authorityUrl, accounts, expectation)];
    const tables = [edgeTable(load, { connections: CONNECTIONS, published: true })];
    const remarks: string[] = [];

    if (options.large) {
      const { measurements, verdict, remark } = await measureLarge(fleet, pace, measure, expectation);
      tables.push(edgeTable(measurements, { connections: CONNECTIONS, published: false }));
      verdicts.push(verdict);
      remarks.push(remark);
      load.push(...measurements);
    }
    const closing = [EDGE_EXPLANATION, ...remarks, ...verdicts].join("\n\n");
    say(`\n${[...tables.map(renderText), closing].join("\n\n")}`);
    if (options.markdown !== undefined) {
      const head = `Measured on ${describeMachine(machine)}.`;
      await writeFile(options.markdown, `${[head, ...tables.map(renderMarkdown), closing].join("\n\n")}\n`);
      say(`written to ${options.markdown}`);
    }
    if (options.json !== undefined) {
      await writeFile(
        options.json,
        `${JSON.stringify({ machine, pace, measurements: load, verdicts }, null, 2)}\n`,
      );
      say(`written to ${options.json}`);
    }
    return verdicts.every((it) => it.startsWith("ledger check: ")) ? 0 : 1;
  } catch (error) {
    // What a signal ends, ends in many places at once; none of them is news.
    if (stop.signal.aborted) return stop.exitCode();
    throw error;
  } finally {
    await fleet.close();
  }
});

function readOptions(): EdgeOptions {
  return reportLikePurser(new Command("npm run bench:edge --"))
    .description("Measures the authority under load over HTTP, and checks the ledger afterwards.")
    .option("--quick", "one short round, to see that everything runs", false)
    .option(
      "--large",
      "also a tenant with a million finished and a hundred thousand active reservations",
      false,
    )
    .option("--markdown <file>", "also write the tables there, for docs/PERFORMANCE.md")
    .option("--json <file>", "also write every round there")
    .parse()
    .opts<EdgeOptions>();
}

async function warmUp(fleet: Fleet, accounts: readonly Account[], pace: EdgePace, expectation: Expectation) {
  say("warming up …");
  for (const flow of FLOWS) {
    const job = { accounts, connections: AIM_CONNECTIONS, runMs: pace.warmUpMs };
    expectation.add(await fleet.run(flow, job));
  }
}

/** Every flow on everything, once a round. */
async function measureSetting(
  fleet: Fleet,
  { flows, on, connections }: Setting,
  run: { readonly pace: EdgePace; readonly expectation: Expectation; readonly signal: AbortSignal },
): Promise<Measurement[]> {
  const series = flows.flatMap((flow) =>
    on.map((target) => ({ flow, target, rounds: [] as Measurement["rounds"][number][] })),
  );
  for (let round = 0; round < run.pace.rounds; round += 1) {
    for (const { flow, target, rounds } of series) {
      run.signal.throwIfAborted();
      const outcome = await fleet.run(flow, {
        accounts: target.accounts,
        connections,
        runMs: run.pace.runMs,
      });
      run.expectation.add(outcome);
      rounds.push(outcome);
    }
  }
  for (const { flow, target, rounds } of series) {
    const rates = rounds.map((it) => Math.round(rateOf(it)).toLocaleString("en")).join(", ");
    say(`${target.name}, ${connections} connections, ${flow.name}: ${rates} per second`);
  }
  return series.map(({ flow, target, rounds }) => ({
    flow: flow.name,
    on: target.name,
    connections,
    rounds,
  }));
}

/** The same operations, in turns, on a tenant that has just begun and on one with a long past. */
async function measureLarge(
  fleet: Fleet,
  pace: EdgePace,
  measure: (setting: Setting) => Promise<Measurement[]>,
  expectation: Expectation,
) {
  const fresh = await fleet.makeAccounts("fresh", 1);
  const large = await fleet.makeAccounts("large", 1);
  const [{ tenant } = { tenant: "" }] = large;
  // One committed and one active reservation, as templates for the rest.
  for (const name of ["reserve + commit", "reserve"]) {
    const flow = FLOWS.find((it) => it.name === name);
    if (flow === undefined) throw new Error(`no flow is called ${name}`);
    expectation.add(await fleet.run(flow, { accounts: large, connections: 1, runMs: 1 }));
  }
  const past = { finished: pace.finished, active: pace.active };
  const what = `${past.finished.toLocaleString("en")} finished and ${past.active.toLocaleString("en")} active reservations`;
  say(`writing ${what} …`);
  await fleet.whileStopped(() => writePast(fleet.dataDir, tenant, past, Date.now()));

  const startedMs = performance.now();
  await checkLedger(fleet.authorityUrl, large, expectation, balanceOf(past));
  const wokeMs = Math.round(performance.now() - startedMs);
  const measurements: Measurement[] = [];
  const flows = FLOWS.filter(
    ({ name, server }) => server === "authority" && name !== "decide" && name !== "event",
  );
  const on = [
    { name: "a fresh tenant", accounts: fresh },
    { name: `a tenant with ${what}`, accounts: large },
  ];
  await warmUp(fleet, [...fresh, ...large], pace, expectation);
  for (const connections of CONNECTIONS) measurements.push(...(await measure({ flows, on, connections })));
  const verdict = await checkLedger(fleet.authorityUrl, large, expectation, balanceOf(past));
  const remark = `The first answer of the large tenant after a restart, which reads the deadlines of all active reservations, took ${wokeMs} ms. Every tenth of its finished reservations is past its retention, so each settlement prunes four of them.`;
  return { measurements, verdict, remark };
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
