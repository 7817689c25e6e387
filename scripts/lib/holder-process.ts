// One holder, a process of its own: it leases from the tenant's budget and lets its threads spend what it has, until its
// part of the trace is done; then it gives back what is left. Forked by holders.ts, which sends HolderInput, then "go" or
// "stop", and gets HolderMessage. Its figures stand in the tally, since it may be killed at any moment.
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { AtomicTokenBudget, createKernel, LeasedBudget } from "purser";
import { AuthorityError, HttpAuthority } from "purser/client";
import { CALLS_IN_FLIGHT, SUPPLY_LOOK_MS, SUPPLY_WAIT_MS_MAX } from "./limits.ts";
import { startReplay } from "./replay.ts";
import { emptyRow, tallyWriter } from "./tally.ts";

export interface HolderInput {
  readonly url: string;
  readonly apiKey: string;
  readonly tenant: string;
  /** Its name in the authority's list of leases. */
  readonly holder: string;
  readonly ttlMs: number;
  /** The most that may be idle here at once; absent: whatever it takes to ask seldom. */
  readonly sliceMost?: number;
  readonly contextTokens: Float64Array;
  readonly generatedTokens: Float64Array;
  readonly outputCapTokens: number;
  readonly threads: number;
  readonly part: { readonly firsts: readonly number[]; readonly step: number };
  readonly spreadMs: number;
  /** The holder's own row, followed by those of its threads. */
  readonly tally: { readonly path: string; readonly row: number };
}

/** What its kernel says after the last settlement. */
export interface KernelFigures {
  readonly consumed: number;
  readonly held: number;
  /** What it could still spend; 0 once its lease is given back. */
  readonly available: number;
}

export type HolderMessage =
  | { readonly kind: "ready" }
  | {
      readonly kind: "done";
      readonly openHolds: number;
      readonly elapsedMs: number;
      readonly kernel: KernelFigures;
    }
  | { readonly kind: "failed"; readonly message: string };

const tell = (message: HolderMessage): void => void process.send?.(message);
const stop = new AbortController();
// A terminal's Ctrl-C reaches every process; whoever started this one says when to stop, or is gone.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => undefined);
process.once("disconnect", () => process.exit(1));
const started = Promise.withResolvers<void>();
process.on("message", (message: HolderInput | "go" | "stop") => {
  if (message === "go") started.resolve();
  else if (message === "stop") stop.abort();
  else void run(message).catch((error: unknown) => tell({ kind: "failed", message: String(error) }));
});

async function run(input: HolderInput): Promise<void> {
  const kernel = createKernel({ shared: true, budgets: 1, holds: input.threads * (CALLS_IN_FLIGHT + 1) + 1 });
  const mine = emptyRow();
  const write = tallyWriter(input.tally.path, input.tally.row);
  const authority = new HttpAuthority({
    baseUrl: input.url,
    apiKey: input.apiKey,
    subject: { tenant: input.tenant },
    fetch: (url, init) => {
      mine.authorityCalls += 1;
      write(mine);
      return fetch(url, init);
    },
  });
  const lease = {
    unit: "TOKENS",
    kernel,
    name: input.tenant,
    holder: input.holder,
    ttlMs: input.ttlMs,
    ...(input.sliceMost !== undefined && { slice: { first: input.sliceMost, most: input.sliceMost } }),
    // The same key each time: a lease whose answer was lost is found again.
    idempotencyKey: `${input.holder}-${process.pid}-${Date.now()}`,
  } as const;
  const budget = await patiently(() => LeasedBudget.open(authority, lease));
  const shared = new AtomicTokenBudget(0, { kernel, name: input.tenant });
  const replay = startReplay({
    trace: { contextTokens: share(input.contextTokens), generatedTokens: share(input.generatedTokens) },
    threads: input.threads,
    outputCapTokens: input.outputCapTokens,
    kernel,
    budgetName: input.tenant,
    part: input.part,
    spreadMs: input.spreadMs,
    tally: { path: input.tally.path, row: input.tally.row + 1 },
    supply: (estimateTokens) => supply(budget, estimateTokens),
    ready: () => {
      tell({ kind: "ready" });
      return started.promise;
    },
    signal: stop.signal,
  });
  const { openHolds, elapsedMs } = await replay.finished;
  await patiently(() => budget.close());
  const figures = { consumed: shared.tokensConsumed(), held: shared.held, available: shared.available };
  tell({ kind: "done", openHolds, elapsedMs, kernel: figures });
  kernel.close();
  process.disconnect();
}

/** Its line may be cut just now: asks again until the authority answers, or there is no time left. */
async function patiently<Result>(call: () => Promise<Result>): Promise<Result> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      const isCutOff = error instanceof AuthorityError && error.outcome === "unknown";
      if (!isCutOff || stop.signal.aborted) throw error;
      await delay(SUPPLY_LOOK_MS);
    }
  }
}

/** Waits for a top-up as long as there is hope for one. */
async function supply(budget: LeasedBudget, estimateTokens: number): Promise<"retry" | "denied"> {
  for (let waitedMs = 0; waitedMs < SUPPLY_WAIT_MS_MAX && !stop.signal.aborted; waitedMs += SUPPLY_LOOK_MS) {
    const held = await budget.reserve(estimateTokens, { maxWaitMs: SUPPLY_LOOK_MS });
    if (held.ok) {
      held.reservation.cancel(); // the thread takes it itself
      return "retry";
    }
    if (held.denial.reason === "authority-exhausted") return "denied";
  }
  return "denied";
}

function share(values: Float64Array): Float64Array<SharedArrayBuffer> {
  const shared = new Float64Array(new SharedArrayBuffer(values.byteLength));
  shared.set(values);
  return shared;
}
