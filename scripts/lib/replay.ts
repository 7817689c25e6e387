// Runs a holder's part of a trace through N threads that share one budget, and answers them when they run short. Main
// thread of a holder only.
// Invariants: every question gets an answer, also when the authority fails or the run is stopped, so no thread sleeps
// for ever; a thread that died is reclaimed, so its holds never outlive the run.
import { Worker } from "node:worker_threads";
import type { Kernel } from "purser";
import { CALLS_IN_FLIGHT } from "./limits.ts";
import {
  ANSWER_DENIED,
  ANSWER_RETRY,
  answer,
  countDone,
  createMailbox,
  type Mailbox,
  RUN_GO,
  RUN_STOP,
  setRun,
} from "./mailbox.ts";
import type { ThreadInput, ThreadMessage } from "./replay-thread.ts";
import type { Trace } from "./trace.ts";

export interface ReplayOptions {
  readonly trace: Pick<Trace, "contextTokens" | "generatedTokens">;
  readonly threads: number;
  readonly outputCapTokens: number;
  readonly kernel: Kernel;
  readonly budgetName: string;
  /** Which calls each thread takes: the first one, then every `step`-th. */
  readonly part: { readonly firsts: readonly number[]; readonly step: number };
  readonly spreadMs: number;
  /** The file, and the row of the first thread. */
  readonly tally: { readonly path: string; readonly row: number };
  /** Sees to it that a call of this estimate has a chance, if it can be had. Another thread may be faster than the retry. */
  readonly supply: (estimateTokens: number) => Promise<"retry" | "denied">;
  /** Called once all threads stand ready; they go when it resolves. */
  readonly ready?: () => Promise<void>;
  /** Aborting ends the run early: calls in flight are settled, the rest of the trace is left alone. */
  readonly signal: AbortSignal;
}

export interface Replay {
  /** Calls decided so far. May be late. */
  decided(): number;
  readonly finished: Promise<ReplayTotals>;
}

export interface ReplayTotals {
  /** Holds that had to be taken back from threads that had ended; 0 if every call was settled. */
  readonly openHolds: number;
  /** From the moment all threads were told to go until the last was done, answers of the authority included. */
  readonly elapsedMs: number;
}

export function startReplay(options: ReplayOptions): Replay {
  const mailbox = createMailbox(options.threads);
  return { decided: () => countDone(mailbox, options.threads), finished: runThreads(options, mailbox) };
}

async function runThreads(options: ReplayOptions, mailbox: Mailbox): Promise<ReplayTotals> {
  const stop = (): void => setRun(mailbox, RUN_STOP);
  const threads = Array.from({ length: options.threads }, (_, thread) =>
    startThread(options, mailbox, thread),
  );
  try {
    await Promise.all(threads.map((it) => it.ready));
    await options.ready?.();
    const startedMs = performance.now();
    if (options.signal.aborted) stop();
    else setRun(mailbox, RUN_GO);
    options.signal.addEventListener("abort", stop, { once: true });
    await Promise.all(threads.map((it) => it.done));
    const elapsedMs = performance.now() - startedMs;
    const reclaimed = await Promise.all(threads.map((it) => it.reclaimed));
    return { openHolds: reclaimed.reduce((all, holds) => all + holds, 0), elapsedMs };
  } catch (error) {
    stop();
    throw error;
  } finally {
    options.signal.removeEventListener("abort", stop);
    // Also after a failure: whoever is still running ends by itself now, and what the dead ones held comes back.
    await Promise.all(threads.map((it) => it.reclaimed));
  }
}

interface ReplayThread {
  readonly ready: Promise<void>;
  readonly done: Promise<void>;
  /** Resolves when the thread is gone and holds nothing any more, with the number of its holds that were left. */
  readonly reclaimed: Promise<number>;
}

function startThread(options: ReplayOptions, mailbox: Mailbox, thread: number): ReplayThread {
  const owner = options.kernel.issueOwner();
  const input: ThreadInput = {
    thread,
    memory: options.kernel.memory,
    owner,
    budgetName: options.budgetName,
    mailbox,
    contextTokens: options.trace.contextTokens,
    generatedTokens: options.trace.generatedTokens,
    outputCapTokens: options.outputCapTokens,
    callsInFlight: CALLS_IN_FLIGHT,
    first: options.part.firsts[thread] ?? options.trace.contextTokens.length,
    step: options.part.step,
    spreadMs: options.spreadMs,
    tally: { path: options.tally.path, row: options.tally.row + thread },
  };
  const worker = new Worker(new URL("./replay-thread.ts", import.meta.url), { workerData: input });
  const ready = Promise.withResolvers<void>();
  const done = Promise.withResolvers<void>();
  const fail = (error: unknown): void => {
    ready.reject(error);
    done.reject(error);
  };
  // Both are awaited only while the other is fine; a rejection that nobody awaits any more is no news.
  ready.promise.catch(() => undefined);
  done.promise.catch(() => undefined);

  worker.on("message", (message: ThreadMessage) => {
    if (message.kind === "ready") ready.resolve();
    else if (message.kind === "done") done.resolve();
    else void answerShortage(message.estimateTokens);
  });
  async function answerShortage(estimateTokens: number): Promise<void> {
    let value = ANSWER_DENIED;
    try {
      const result = await options.supply(estimateTokens);
      if (result === "retry" && !options.signal.aborted) value = ANSWER_RETRY;
    } catch (error) {
      setRun(mailbox, RUN_STOP);
      fail(error);
    }
    answer(mailbox, thread, value);
  }
  const reclaimed = new Promise<number>((resolve) => {
    worker.once("error", fail);
    worker.once("exit", (code) => {
      fail(new Error(`replay thread ${thread} ended with exit code ${code} before it was done`));
      resolve(options.kernel.reclaim(owner));
    });
  });
  return { ready: ready.promise, done: done.promise, reclaimed };
}
