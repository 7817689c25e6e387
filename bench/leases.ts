// `npm run bench:leases`: what a decision through a leased budget costs beside the same decision without an authority, in turns
// in one run, and how often the authority is asked meanwhile. The authority is the real one, over HTTP on this machine. It
// never passes or fails by a time; it fails if the authority's books do not agree with what was spent.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setImmediate as turn } from "node:timers/promises";
import Table from "cli-table3";
import { Command } from "commander";
import { AtomicTokenBudget, LeasedBudget, type TokenBudget, type TokenReservation } from "purser";
import { type Authority, HttpAuthority, type LeaseAuthority } from "purser/client";
import { adminClient } from "../scripts/lib/authority-client.ts";
import { startAuthority } from "../scripts/lib/authority-process.ts";
import { reportLikePurser, runCommand, UserError } from "../scripts/lib/user-error.ts";
import { ALLOCATED_TOKENS } from "./edge/settings.ts";
import { describeMachine, readMachine } from "./machine.ts";
import { LEASES_FULL, LEASES_QUICK, type LeasesPace } from "./settings.ts";
import { median, spread } from "./statistics.ts";

const TENANT = "bench";
const ADMIN_KEY = "admin-key-of-the-bench";
/** Estimates of 100 to 107 tokens, usage of 70 to 77, as in the other benchmarks. */
const PROMPT_TOKENS = 60;
/** Decisions between two turns of the event loop, in which answers of the authority come in. */
const DECISIONS_PER_TURN = 2_000;
/** What a lease promises at a steady rate. */
const DECISIONS_PER_CALL_PROMISED = 1_000;
/**
 * Rows that a call writes at the most where one budget is on the path, as test/workerd/tenant-budget.test.ts counts them:
 * a renewal that reports nothing spent writes one.
 */
const ROWS_MOST = { opening: 2, renewal: 2, return: 3 } as const;

interface SyncTokens extends TokenBudget {
  tryReserveTokens(estimate: number): TokenReservation | null;
  recordUsage(reservation: TokenReservation, promptTokens: number, completionTokens: number): void;
}

interface Options {
  readonly quick: boolean;
  readonly markdown?: string;
}

await runCommand(async () => {
  const { quick, markdown } = reportLikePurser(new Command("npm run bench:leases --"))
    .description("Measures decisions on a leased budget, and how often the authority is asked.")
    .option("--quick", "few and short rounds, to see that everything runs", false)
    .option("--markdown <file>", "also write the table there, for docs/PERFORMANCE.md")
    .allowExcessArguments(false)
    .parse()
    .opts<Options>();
  const machine = describeMachine(readMachine());
  say(`machine: ${machine}`);
  const dataDir = await mkdtemp(join(tmpdir(), "purser-bench-"));
  const running = await startAuthority({
    port: 0,
    host: "127.0.0.1",
    dataDir,
    settings: { PURSER_ADMIN_KEY: ADMIN_KEY },
    onLog: (line) => process.stderr.write(`${line}\n`),
  });
  try {
    const rows = await measure(await authorityAt(running.url), quick ? LEASES_QUICK : LEASES_FULL);
    const table = new Table({ colAligns: ["left", "right"], style: { head: [], border: [] } });
    table.push(...rows.map((row) => [...row]));
    say(table.toString());
    if (markdown !== undefined) {
      const lines = ["| | |", "|---|---:|", ...rows.map(([what, figure]) => `| ${what} | ${figure} |`)];
      await writeFile(markdown, `Measured on ${machine}.\n\n${lines.join("\n")}\n`);
    }
    return 0;
  } finally {
    await running.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
});

async function authorityAt(url: string): Promise<Authority> {
  const admin = adminClient(url, ADMIN_KEY);
  await admin.ensureTenant(TENANT);
  await admin.createBudget({ tenant: TENANT, scope: `tenant:${TENANT}`, unit: "TOKENS" }, ALLOCATED_TOKENS);
  const apiKey = await admin.createKey(TENANT);
  return new HttpAuthority({ baseUrl: url, apiKey, subject: { tenant: TENANT } });
}

async function measure(authority: Authority, pace: LeasesPace): Promise<(readonly [string, string])[]> {
  const firsts: number[] = [];
  for (let opened = 0; opened < pace.opens; opened++) firsts.push(await firstDecisionMs(authority));

  const alone = new AtomicTokenBudget(Number.MAX_SAFE_INTEGER, { name: "alone" });
  const calls = { opening: 0, renewal: 0, return: 0 };
  const leased = await LeasedBudget.open(counted(authority, calls), {
    unit: "TOKENS",
    name: "leased",
    holder: "bench",
  });
  const wait = async (estimate: number): Promise<TokenReservation> => {
    const held = await leased.reserve(estimate);
    if (held.ok) return held.reservation;
    throw new UserError(`the authority lends no more: ${held.denial.reason}.`);
  };
  const never = (): never => {
    throw new Error("a budget without end was refused");
  };
  await decide(alone, pace.warmUpMs, never);
  // Counted from the first call on: a slice that has found its size may last for all rounds.
  let { decisions, waits } = await decide(leased, pace.warmUpMs, wait);
  const [aloneNs, leasedNs, ratios]: [number[], number[], number[]] = [[], [], []];
  for (let round = 0; round < pace.rounds; round++) {
    const there = await decide(alone, pace.roundMs, never);
    const here = await decide(leased, pace.roundMs, wait);
    aloneNs.push(there.nanoseconds);
    leasedNs.push(here.nanoseconds);
    ratios.push(there.nanoseconds / here.nanoseconds);
    decisions += here.decisions;
    waits += here.waits;
  }
  const spent = leased.tokensConsumed();
  await leased.close();
  await checkBooks(authority, spent);

  const asked = calls.opening + calls.renewal + calls.return;
  if (asked !== leased.authorityCalls) {
    throw new UserError(`${asked} calls were counted, the budget says ${leased.authorityCalls}.`);
  }
  const perCall = decisions / asked;
  const rows =
    calls.opening * ROWS_MOST.opening + calls.renewal * ROWS_MOST.renewal + calls.return * ROWS_MOST.return;
  return [
    ["AtomicTokenBudget, shared by name: ns a decision", withSpread(aloneNs)],
    ["LeasedBudget: ns a decision", withSpread(leasedNs)],
    ["LeasedBudget: decisions a second", shown(Math.round(1e9 / median(leasedNs)))],
    ["decisions a second beside AtomicTokenBudget", `${median(ratios).toFixed(2)} ×`],
    ["decisions", shown(decisions)],
    ["of them waited for a top-up", shown(waits)],
    ["authority calls, opening and closing included", shown(asked)],
    ["of them openings, renewals, returns", `${calls.opening}, ${calls.renewal}, ${calls.return}`],
    ["decisions per authority call", shown(Math.round(perCall))],
    ["requests per million decisions", (1e6 / perCall).toFixed(1)],
    ["rows written per million decisions, at the most", ((1e6 * rows) / decisions).toFixed(1)],
    [
      `the same, with a renewal for ${shown(DECISIONS_PER_CALL_PROMISED)} decisions, as promised`,
      shown((1e6 / DECISIONS_PER_CALL_PROMISED) * ROWS_MOST.renewal),
    ],
    ["from nothing to the first decision, ms", withSpread(firsts)],
  ];
}

/** The same authority; what it is asked for is counted. */
function counted(
  authority: LeaseAuthority,
  calls: { opening: number; renewal: number; return: number },
): LeaseAuthority {
  return {
    lease: (...asked) => {
      calls.opening++;
      return authority.lease(...asked);
    },
    renewLease: (...asked) => {
      calls.renewal++;
      return authority.renewLease(...asked);
    },
    returnLease: (...asked) => {
      calls.return++;
      return authority.returnLease(...asked);
    },
    leases: (...asked) => authority.leases(...asked),
    exposure: (...asked) => authority.exposure(...asked),
  };
}

/** Decides for so long; what does not fit waits. One decision is a reservation and its settlement. */
async function decide(
  budget: SyncTokens,
  runMs: number,
  wait: (estimate: number) => Promise<TokenReservation> | TokenReservation,
): Promise<{ readonly nanoseconds: number; readonly decisions: number; readonly waits: number }> {
  const startMs = performance.now();
  let decisions = 0;
  let waits = 0;
  let elapsedMs = 0;
  do {
    for (let nth = 0; nth < DECISIONS_PER_TURN; nth++) {
      const estimate = 100 + (nth & 7);
      let reservation = budget.tryReserveTokens(estimate);
      if (reservation === null) {
        waits++;
        reservation = await wait(estimate);
      }
      budget.recordUsage(reservation, PROMPT_TOKENS, 10 + (nth & 7));
    }
    decisions += DECISIONS_PER_TURN;
    await turn();
    elapsedMs = performance.now() - startMs;
  } while (elapsedMs < runMs);
  return { nanoseconds: (elapsedMs * 1e6) / decisions, decisions, waits };
}

/** A lease, a reservation from it, and both back again; the time until the reservation. */
async function firstDecisionMs(authority: Authority): Promise<number> {
  const startMs = performance.now();
  await using budget = await LeasedBudget.open(authority, { unit: "TOKENS", holder: "bench" });
  const reservation = budget.tryReserveTokens(100);
  const elapsedMs = performance.now() - startMs;
  if (reservation === null) throw new UserError("a new lease did not cover one call.");
  reservation.cancel();
  return elapsedMs;
}

async function checkBooks(authority: Authority, spent: number): Promise<void> {
  const [balance] = await authority.balances({ tenant: TENANT });
  if (balance?.spent !== spent || balance.reserved !== 0) {
    throw new UserError(
      `the authority has ${balance?.spent} spent and ${balance?.reserved} reserved, ${spent} were spent.`,
    );
  }
}

function withSpread(values: readonly number[]): string {
  return `${median(values).toFixed(1)} ± ${Math.round(100 * spread(values))} %`;
}

function shown(value: number): string {
  return value.toLocaleString("en-US");
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
