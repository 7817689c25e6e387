// `npm start`: the whole of Purser in one run. It boots the authority, gives a demo tenant a token budget and a key, and
// replays a trace of LLM calls through processes that each lease from that budget and let their threads decide on what they
// have in WASM memory. At the end threads, kernels and authority must agree to the token. Exit 0 only if they do and the
// budget was kept. Until the replay begins a signal ends the command at once; from then on it settles what is open first.
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { Command } from "commander";
import {
  parsePort,
  parseProcesses,
  parseSeconds,
  parseSeed,
  parseThreads,
  parseTokens,
} from "./lib/arguments.ts";
import { adminClient } from "./lib/authority-client.ts";
import { PortInUseError, type RunningAuthority, startAuthority } from "./lib/authority-process.ts";
import { balanceOf, clientOf, DEMO, type DemoOptions, replayTrace } from "./lib/demo.ts";
import {
  BUDGET_SHARE_DEFAULT_PERCENT,
  CALLS_IN_FLIGHT,
  CHAOS_SECONDS_DEFAULT,
  DEMO_LEASE_GRACE_MS,
  DEMO_OVERDRAFT_LIMIT_TOKENS,
  OUTPUT_CAP_DEFAULT_TOKENS,
  PORT_DEFAULT,
} from "./lib/limits.ts";
import { count, type DemoBalance, differences, footnotes, overspendOf, renderTable } from "./lib/report.ts";
import { say } from "./lib/say.ts";
import { listenForStop, type StopSignal, unlessStopped } from "./lib/stop-signal.ts";
import { readTrace, sampleTrace, type Trace } from "./lib/trace.ts";
import { reportLikePurser, runCommand, UserError } from "./lib/user-error.ts";

interface StartOptions extends DemoOptions {
  readonly trace?: string;
  readonly budget?: number;
  readonly port?: number;
  readonly data?: string;
  readonly exit: boolean;
}

interface Booted {
  readonly authority: RunningAuthority;
  readonly adminKey: string;
}

const HOST = "127.0.0.1";

await runCommand(async () => {
  const options = readOptions();
  const stop = listenForStop();
  const trace =
    options.trace === undefined ? sampleTrace() : await unlessStopped(stop.signal, readTrace(options.trace));
  say(
    `trace: ${trace.label}, ${count(trace.calls)} calls that would spend ${count(trace.totalTokens)} tokens`,
  );
  const dataDir = options.data ?? (await mkdtemp(join(tmpdir(), "purser-")));
  try {
    const adminKey = `adm_${randomBytes(24).toString("base64url")}`;
    const authority = await boot(options, dataDir, adminKey, stop);
    try {
      return await demonstrate(options, trace, { authority, adminKey }, stop);
    } finally {
      await authority.stop();
    }
  } finally {
    if (options.data === undefined) await rm(dataDir, { recursive: true, force: true });
  }
});

function readOptions(): StartOptions {
  const command = reportLikePurser(new Command("npm start --"))
    .description("Replays a trace of LLM calls against one budget and checks every token of it.")
    .option(
      "--trace <file>",
      "CSV with TIMESTAMP,ContextTokens,GeneratedTokens (default: a synthetic sample)",
    )
    .option("--processes <n>", "processes that lease from the budget", parseProcesses, 1)
    .option("--threads <n>", "threads of each process, which share its lease", parseThreads, 2)
    .option("--chaos", "kill processes and cut their lines while it runs", false)
    .option("--seed <n>", "what the chaos is drawn from", parseSeed, 1)
    .option(
      "--seconds <n>",
      `spread the trace over so long (default: as fast as it goes; with --chaos ${CHAOS_SECONDS_DEFAULT})`,
      parseSeconds,
    )
    .option(
      "--budget <tokens>",
      `default: ${BUDGET_SHARE_DEFAULT_PERCENT} % of what the trace would spend`,
      parseTokens,
    )
    .option("--output-cap <tokens>", "output reserved per call", parseTokens, OUTPUT_CAP_DEFAULT_TOKENS)
    .option("--port <port>", `port of the authority (default: ${PORT_DEFAULT}, or a free one)`, parsePort)
    .option(
      "--data <dir>",
      "keep the authority's data there (default: a temporary folder, removed at the end)",
    )
    .option("--exit", "end after the replay instead of serving on", false)
    .allowExcessArguments(false)
    .parse();
  return command.opts<StartOptions>();
}

/** A port that was asked for must be free; the usual one may be taken, then any will do. */
async function boot(
  options: StartOptions,
  dataDir: string,
  adminKey: string,
  { signal }: StopSignal,
): Promise<RunningAuthority> {
  const onLog = (line: string): void => {
    process.stderr.write(`${line}\n`);
  };
  const on = (port: number): Promise<RunningAuthority> =>
    startAuthority({ port, host: HOST, dataDir, settings: { PURSER_ADMIN_KEY: adminKey }, onLog, signal });
  if (options.port !== undefined) return on(options.port);
  try {
    return await on(PORT_DEFAULT);
  } catch (error) {
    if (error instanceof PortInUseError) return on(0);
    throw error;
  }
}

async function demonstrate(
  options: StartOptions,
  trace: Trace,
  { authority, adminKey }: Booted,
  stop: StopSignal,
): Promise<number> {
  const budgetTokens =
    options.budget ?? Math.max(1, Math.floor((trace.totalTokens / 100) * BUDGET_SHARE_DEFAULT_PERCENT));
  say(
    `authority: ${authority.url}, tenant "${DEMO.tenant}", data in ${options.data ?? "a temporary folder"}`,
  );
  say(
    `budget: ${count(budgetTokens)} tokens` +
      (options.budget === undefined
        ? ` (${BUDGET_SHARE_DEFAULT_PERCENT} % of the trace, so some calls will be denied)`
        : ""),
  );
  say(
    `each call reserves its context + ${count(options.outputCap)} tokens of output; ${options.processes} ` +
      `${options.processes === 1 ? "process" : "processes"} of ${options.threads} threads with up to ` +
      `${CALLS_IN_FLIGHT} calls in flight each`,
  );

  const preparing = prepareTenant(authority.url, adminKey, budgetTokens);
  const { apiKey, before } = await unlessStopped(stop.signal, preparing);
  const prepared = { url: authority.url, apiKey, budgetTokens, before };
  const figures = await replayTrace(options, trace, prepared, stop.signal);
  process.stdout.write(`${renderTable(figures)}\n`);
  for (const note of footnotes(figures)) say(note);

  const wrong = differences(figures);
  if (wrong.length > 0) throw new UserError(`the figures do not agree: ${wrong.join("; ")}.`);
  say("threads, kernels and authority agree to the token.");
  const overspend = overspendOf(figures);
  if (overspend > 0) {
    throw new UserError(
      `the budget was overspent by ${count(overspend)} tokens: calls used more than the ${count(options.outputCap)} ` +
        "tokens of output they had reserved, and nothing was left to cover it; the authority has recorded it.",
    );
  }
  if (stop.signal.aborted) {
    say(`stopped after ${count(figures.calls)} of ${count(trace.calls)} calls; what was open is settled.`);
    return stop.exitCode();
  }
  if (options.exit) return 0;
  return serveOn(authority, apiKey, adminKey, stop);
}

/**
 * The demo tenant with exactly this run's budget left to spend. In a data folder that was used before, what earlier runs
 * spent stays in the account, and the allocation is raised on top of it. `before` is the balance it was raised on.
 */
async function prepareTenant(
  url: string,
  adminKey: string,
  budgetTokens: number,
): Promise<{ apiKey: string; before: DemoBalance }> {
  const admin = adminClient(url, adminKey);
  await admin.ensureTenant(DEMO.tenant);
  const isNew = await admin.createBudget(DEMO, budgetTokens, DEMO_OVERDRAFT_LIMIT_TOKENS);
  await admin.setLeaseGrace(DEMO.tenant, DEMO_LEASE_GRACE_MS);
  const apiKey = await admin.createKey(DEMO.tenant);
  const before = await balanceOf(clientOf(url, apiKey));
  if (!isNew) {
    await admin.setOverdraftLimit(DEMO, DEMO_OVERDRAFT_LIMIT_TOKENS);
    await admin.resetBudget(DEMO, before.spent + before.reserved + before.debt + budgetTokens);
  }
  return { apiKey, before };
}

async function serveOn(
  authority: RunningAuthority,
  apiKey: string,
  adminKey: string,
  stop: StopSignal,
): Promise<number> {
  say(`still serving on ${authority.url}; Ctrl-C ends it. Ask it for the balance:`);
  process.stdout.write(
    `  curl -H "X-Cycles-API-Key: ${apiKey}" "${authority.url}/v1/balances?tenant=${DEMO.tenant}"\n`,
  );
  say(`admin key of this run: ${adminKey}`);
  const unexpected = await Promise.race([stop.stopped, authority.ended]);
  if (unexpected !== undefined) throw new UserError(`workerd ${unexpected}.`);
  return 0;
}
