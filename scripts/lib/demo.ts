// One run of the demo tenant: holders replay the trace on leases, while the exposure is watched and, if asked for, things
// go wrong; then the run's figures, once the authority has accounted for every holder. Called by start.ts.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Authority, HttpAuthority, type LeaseState } from "purser/client";
import type { BudgetName } from "./authority-client.ts";
import { type Chaos, startChaos } from "./chaos.ts";
import { watchExposure } from "./exposure.ts";
import { startHolders } from "./holders.ts";
import {
  CHAOS_SECONDS_DEFAULT,
  CHAOS_SLICES,
  DEMO_LEASE_GRACE_MS,
  DEMO_LEASE_TTL_MS,
  EXPOSURE_EVERY_MS,
  RECLAIM_SLACK_MS,
} from "./limits.ts";
import { showProgress } from "./progress.ts";
import type { DemoBalance, Figures } from "./report.ts";
import { say } from "./say.ts";
import type { Trace } from "./trace.ts";
import { UserError } from "./user-error.ts";

export const DEMO: BudgetName = { tenant: "demo", scope: "tenant:demo", unit: "TOKENS" };

export interface DemoOptions {
  readonly processes: number;
  readonly threads: number;
  readonly chaos: boolean;
  readonly seed: number;
  readonly seconds?: number;
  readonly outputCap: number;
}

export function clientOf(url: string, apiKey: string): Authority {
  return new HttpAuthority({ baseUrl: url, apiKey, subject: { tenant: DEMO.tenant } });
}

export async function balanceOf(authority: Authority): Promise<DemoBalance> {
  const rows = await authority.balances({ tenant: DEMO.tenant });
  const row = rows.find((it) => it.scopePath === DEMO.scope && it.unit === DEMO.unit);
  if (row === undefined)
    throw new UserError(`the authority shows no balance for ${DEMO.scope} in ${DEMO.unit}.`);
  const { allocated = 0, spent = 0, reserved = 0 } = row;
  return { ...row, allocated, spent, reserved };
}

export interface Prepared {
  readonly url: string;
  readonly apiKey: string;
  readonly budgetTokens: number;
  readonly before: DemoBalance;
}

export async function replayTrace(
  options: DemoOptions,
  trace: Trace,
  prepared: Prepared,
  signal: AbortSignal,
): Promise<Figures> {
  const folder = await mkdtemp(join(tmpdir(), "purser-"));
  try {
    return await runHolders(options, trace, prepared, join(folder, "tally"), signal);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function runHolders(
  options: DemoOptions,
  trace: Trace,
  { url, apiKey, budgetTokens, before }: Prepared,
  tallyPath: string,
  signal: AbortSignal,
): Promise<Figures> {
  const authority = clientOf(url, apiKey);
  const startedAtMs = Date.now();
  const exposure = watchExposure(authority, DEMO.unit);
  const startedMs = performance.now();
  const holders = await startHolders({
    url,
    apiKey,
    tenant: DEMO.tenant,
    trace,
    processes: options.processes,
    threads: options.threads,
    outputCapTokens: options.outputCap,
    ttlMs: DEMO_LEASE_TTL_MS,
    spreadMs: (options.seconds ?? (options.chaos ? CHAOS_SECONDS_DEFAULT : 0)) * 1_000,
    // What a holder has idle dies with it, so where holders die they have less.
    ...(options.chaos && { sliceMost: Math.ceil(budgetTokens / (options.processes * CHAOS_SLICES)) }),
    tallyPath,
    lines: options.chaos,
    signal,
  });
  const chaos = options.chaos ? startChaos(holders, trace.calls, options.seed) : undefined;
  const endProgress = showProgress(trace.calls, holders.decided);
  const records = await holders.finished.finally(() => {
    chaos?.end();
    endProgress();
  });
  const replayMs = Math.max(...records.map((it) => it.elapsedMs), 0);
  const elapsedMs = chaos === undefined && replayMs > 0 ? replayMs : performance.now() - startedMs;
  if (chaos !== undefined) tellChaos(chaos);
  const leases = await untilEnded(authority, startedAtMs);
  await exposure.end();
  const plot = exposure.render();
  if (plot !== "") say(`tokens lent and not known to be spent, from the beginning to the end:\n${plot}`);
  return {
    calls: signal.aborted ? holders.decided() : trace.calls,
    elapsedMs,
    budgetTokens,
    holders: records,
    leases,
    authorityCalls: holders.authorityCalls(),
    exposurePeak: exposure.peak,
    before,
    after: await balanceOf(authority),
  };
}

function tellChaos({ events, kills, cuts }: Chaos): void {
  for (const event of events) say(`chaos: ${event}`);
  say(`chaos: ${kills} killed, ${cuts} cut off`);
}

/** This run's leases once all of them have ended: those of killed holders end when the authority reclaims them. */
async function untilEnded(authority: Authority, sinceMs: number): Promise<LeaseState[]> {
  const deadlineMs = Date.now() + DEMO_LEASE_TTL_MS + DEMO_LEASE_GRACE_MS + RECLAIM_SLACK_MS;
  for (let isTold = false; ; ) {
    const leases: LeaseState[] = [];
    for await (const lease of authority.leases()) if (lease.createdAtMs >= sinceMs) leases.push(lease);
    const open = leases.filter((it) => it.status === "ACTIVE");
    if (open.length === 0) return leases;
    if (Date.now() > deadlineMs) {
      throw new UserError(
        `the authority has not reclaimed ${open.length} leases, the first of ${open[0]?.holder}.`,
      );
    }
    if (!isTold) say(`waiting for the authority to reclaim ${open.length} leases of killed holders`);
    isTold = true;
    await new Promise((resolve) => setTimeout(resolve, EXPOSURE_EVERY_MS));
  }
}
