// Runs a trace through N threads that share one budget, and answers them when they run short. Main thread only.
// Invariants: every question gets an answer, also when the authority fails or the run is stopped, so no thread sleeps
// for ever; a thread that died is reclaimed, so its holds never outlive the run.
import { Worker } from "node:worker_threads";
import type { Kernel } from "purser";
import type { Lender } from "./lender.ts";
import { CALLS_IN_FLIGHT } from "./limits.ts";
import {
  ANSWER_EXHAUSTED,
  ANSWER_RETRY,
  ANSWER_STOP,
  answer,
  countDone,
  createMailbox,
  type Mailbox,
  RUN_GO,
  RUN_STOP,
  setExhausted,
  setRun,
} from "./mailbox.ts";
import type { ThreadInput, ThreadMessage, ThreadTotals } from "./replay-thread.ts";
import type { Trace } from "./trace.ts";

export interface ReplayOptions {
  readonly trace: Trace;
  readonly threads: number;
  readonly outputCapTokens: number;
  readonly kernel: Kernel;
  readonly budgetName: string;
  readonly lender: Lender;
  /** Aborting ends the run early: calls in flight are settled, the rest of the trace is left alone. */
  readonly signal: AbortSignal;
}

export interface Replay {
  /** Calls decided so far. May be late. */
  decided(): number;
  readonly finished: Promise<ReplayTotals>;
}

export interface ReplayTotals extends ThreadTotals {
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
    const startedMs = performance.now();
    if (options.signal.aborted) stop();
    else setRun(mailbox, RUN_GO);
    options.signal.addEventListener("abort", stop, { once: true });
    const totals = await Promise.all(threads.map((it) => it.done));
    const elapsedMs = performance.now() - startedMs;
    const reclaimed = await Promise.all(threads.map((it) => it.reclaimed));
    return { ...sum(totals), openHolds: reclaimed.reduce((all, holds) => all + holds, 0), elapsedMs };
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
  readonly done: Promise<ThreadTotals>;
  /** Resolves when the thread is gone and holds nothing any more, with the number of its holds that were left. */
  readonly reclaimed: Promise<number>;
}

function startThread(options: ReplayOptions, mailbox: Mailbox, thread: number): ReplayThread {
  const owner = options.kernel.issueOwner();
  const input: ThreadInput = {
    thread,
    threads: options.threads,
    memory: options.kernel.memory,
    owner,
    budgetName: options.budgetName,
    mailbox,
    contextTokens: options.trace.contextTokens,
    generatedTokens: options.trace.generatedTokens,
    outputCapTokens: options.outputCapTokens,
    callsInFlight: CALLS_IN_FLIGHT,
  };
  const worker = new Worker(new URL("./replay-thread.ts", import.meta.url), { workerData: input });
  const ready = Promise.withResolvers<void>();
  const done = Promise.withResolvers<ThreadTotals>();
  const fail = (error: unknown): void => {
    ready.reject(error);
    done.reject(error);
  };
  // Both are awaited only while the other is fine; a rejection that nobody awaits any more is no news.
  ready.promise.catch(() => undefined);
  done.promise.catch(() => undefined);

  worker.on("message", (message: ThreadMessage) => {
    if (message.kind === "ready") ready.resolve();
    else if (message.kind === "done") done.resolve(message.totals);
    else void answerShortage(message.estimateTokens);
  });
  async function answerShortage(estimateTokens: number): Promise<void> {
    let value = ANSWER_STOP;
    try {
      const result = await options.lender.topUp(estimateTokens);
      if (result === "exhausted") setExhausted(mailbox);
      if (!options.signal.aborted) value = result === "retry" ? ANSWER_RETRY : ANSWER_EXHAUSTED;
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

function sum(totals: readonly ThreadTotals[]): ThreadTotals {
  const total = (pick: (it: ThreadTotals) => number): number => totals.reduce((all, it) => all + pick(it), 0);
  return {
    admitted: total((it) => it.admitted),
    denied: total((it) => it.denied),
    spentTokens: total((it) => it.spentTokens),
    overCap: total((it) => it.overCap),
  };
}
