// Deals seeds to threads in their order and adds up what happened. Invariant: the failure it reports is that of the
// smallest failing seed: once one fails, nothing later is dealt, and everything earlier is waited for. No thread is left
// behind, however it ends. Called by simulate.ts.
import { Worker } from "node:worker_threads";
import type { Span, SpanResult, ThreadInput } from "./simulation-thread.ts";

/** Seeds dealt at once: a second's work at most, so that a stop is heard and the last thread is not waited for long. */
const SPAN_SEEDS = 50;

export interface PoolOptions extends Span {
  /** The URL of a module that exports `simulate`. */
  readonly program: string;
  readonly threads: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (seeds: number) => void;
}

export interface PoolResult {
  readonly seeds: number;
  readonly steps: number;
  readonly counts: ReadonlyMap<string, number>;
  readonly failure?: { readonly seed: number; readonly message: string };
}

export async function simulateSeeds(options: PoolOptions): Promise<PoolResult> {
  const { fromSeed, seeds, signal, onProgress } = options;
  const end = fromSeed + seeds;
  const counts = new Map<string, number>();
  let next = fromSeed;
  let done = 0;
  let steps = 0;
  let failure: PoolResult["failure"];

  const take = (): Span | undefined => {
    if (next >= end || failure !== undefined || signal?.aborted) return undefined;
    const span = { fromSeed: next, seeds: Math.min(SPAN_SEEDS, end - next) };
    next += span.seeds;
    return span;
  };
  const add = (result: SpanResult): void => {
    done += result.seeds;
    steps += result.steps;
    for (const [name, count] of result.counts) counts.set(name, (counts.get(name) ?? 0) + count);
    if (result.failure !== undefined && result.failure.seed < (failure?.seed ?? Number.POSITIVE_INFINITY)) {
      failure = result.failure;
    }
    onProgress?.(done);
  };

  const threads = Math.min(options.threads, Math.ceil(seeds / SPAN_SEEDS));
  await Promise.all(Array.from({ length: threads }, () => runThread(options.program, take, add)));
  return { seeds: done, steps, counts, ...(failure !== undefined && { failure }) };
}

/** One thread from its start to its end: a span, its result, the next span, until none is left. */
function runThread(
  program: string,
  take: () => Span | undefined,
  add: (result: SpanResult) => void,
): Promise<void> {
  const workerData: ThreadInput = { program };
  const worker = new Worker(new URL("./simulation-thread.ts", import.meta.url), { workerData });
  return new Promise((resolve, reject) => {
    worker.on("message", (message: "ready" | SpanResult) => {
      if (message !== "ready") add(message);
      const span = take();
      if (span === undefined) void worker.terminate();
      else worker.postMessage(span);
    });
    worker.once("error", reject);
    worker.once("exit", () => resolve());
  });
}
