// The load generator: a process of its own, so that what it costs is not taken from what it measures. Keep-alive
// connections, one request at a time on each, closed loop: a connection asks again as soon as it is answered.
// Invariant: every request that was sent is counted exactly once, as answered, refused or broken. Started by fleet.ts.

import { createHistogram } from "node:perf_hooks";
import process from "node:process";
import { Client, type Dispatcher } from "undici";
import { type Account, FLOWS, type Flow, type Operation, operationOf, type Step } from "./flows.ts";

export interface Job {
  readonly flow: string;
  readonly url: string;
  readonly connections: number;
  readonly accounts: readonly Account[];
  readonly runMs: number;
  /** Unique in the run: idempotency keys begin with it. */
  readonly prefix: string;
}

/** How often each operation was done on one account. */
export type Tally = Record<Operation, number>;

export interface Outcome {
  readonly elapsedMs: number;
  /** Whole flows that went through. */
  readonly done: number;
  /** Answers that are not 2xx by status; 0 stands for no answer. */
  readonly errors: Readonly<Record<string, number>>;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** By tenant. */
  readonly tallies: Readonly<Record<string, Tally>>;
}

const RESERVATION_ID = /"reservation_id":"([^"]+)"/;

/** Reservations that a filling flow left, by tenant, for a draining one. */
const stock = new Map<string, string[]>();

interface Answer {
  readonly status: number;
  readonly text: string;
}

function send(client: Client, account: Account, { method, path, body }: ReturnType<Step>): Promise<Answer> {
  const headers: Record<string, string> = { "x-cycles-api-key": account.apiKey };
  if (body !== undefined) headers["content-type"] = "application/json";
  return new Promise((resolve) => {
    let status = 0;
    const chunks: Buffer[] = [];
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart: () => {},
      onResponseStart: (_, statusCode) => {
        status = statusCode;
      },
      onResponseData: (_, chunk) => {
        chunks.push(chunk);
      },
      onResponseEnd: () => resolve({ status, text: Buffer.concat(chunks).toString() }),
      onResponseError: () => resolve({ status: 0, text: "" }),
    };
    client.dispatch({ method, path, headers, body: body ?? null }, handler);
  });
}

async function run(job: Job, flow: Flow): Promise<Outcome> {
  const latencies = createHistogram();
  const errors: Record<string, number> = {};
  const tallies: Record<string, Tally> = {};
  let done = 0;

  /** One flow from its first to its last step; whether it went through. */
  const perform = async (client: Client, account: Account, id: string, kept: string): Promise<boolean> => {
    let reservation = kept;
    const tally = tallies[account.tenant] ?? { reserve: 0, commit: 0, event: 0, nothing: 0 };
    tallies[account.tenant] = tally;
    for (const step of flow.steps) {
      const { status, text } = await send(client, account, step(account, id, reservation));
      if (status < 200 || status > 299) {
        errors[status] = (errors[status] ?? 0) + 1;
        return false;
      }
      const operation = operationOf(step);
      tally[operation] += 1;
      if (operation !== "reserve") continue;
      reservation = RESERVATION_ID.exec(text)?.[1] ?? "";
      if (flow.stock === "fill") stockOf(account).push(reservation);
    }
    return true;
  };

  const startedMs = performance.now();
  const untilMs = startedMs + job.runMs;
  const connection = async (number: number): Promise<void> => {
    const client = new Client(job.url, { pipelining: 1, keepAliveTimeout: 60_000 });
    for (let turn = 0; turn === 0 || performance.now() < untilMs; turn += 1) {
      const account = job.accounts[(number + turn) % job.accounts.length] as Account;
      const kept = flow.stock === "drain" ? stockOf(account).pop() : "";
      // What an earlier flow left is used up: this connection has nothing more to do.
      if (kept === undefined) break;
      const beganMs = performance.now();
      if (await perform(client, account, `${job.prefix}-${number}-${turn}`, kept)) {
        done += 1;
        latencies.record(Math.max(1, Math.round((performance.now() - beganMs) * 1_000)));
      }
    }
    await client.close();
  };
  await Promise.all(Array.from({ length: job.connections }, (_, number) => connection(number)));
  return {
    elapsedMs: performance.now() - startedMs,
    done,
    errors,
    p50Ms: latencies.percentile(50) / 1_000,
    p99Ms: latencies.percentile(99) / 1_000,
    tallies,
  };
}

function stockOf(account: Account): string[] {
  const kept = stock.get(account.tenant) ?? [];
  stock.set(account.tenant, kept);
  return kept;
}

process.on("message", (job: Job) => {
  const flow = FLOWS.find(({ name }) => name === job.flow);
  if (flow === undefined) throw new Error(`no flow is called ${job.flow}`);
  void run(job, flow).then((outcome) => process.send?.(outcome));
});
// Whoever started this process is the only one who can need it.
process.once("disconnect", () => process.exit());
