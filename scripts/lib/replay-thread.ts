// One replay thread (a worker_thread). It attaches to the shared kernel, takes every N-th call of the trace in order,
// reserves what a caller can know beforehand (context + a cap on the output) and settles with what the trace says was
// used. A few calls are always open at once. Started by replay.ts with ThreadInput; posts ThreadMessage.
import { parentPort, workerData } from "node:worker_threads";
import { AtomicTokenBudget, attachKernel, type TokenReservation } from "purser";
import {
  ANSWER_RETRY,
  ANSWER_STOP,
  ask,
  isExhausted,
  isStopped,
  type Mailbox,
  tellDone,
  waitForGo,
} from "./mailbox.ts";

export interface ThreadInput {
  readonly thread: number;
  readonly threads: number;
  readonly memory: WebAssembly.Memory;
  readonly owner: number;
  readonly budgetName: string;
  readonly mailbox: Mailbox;
  readonly contextTokens: Float64Array<SharedArrayBuffer>;
  readonly generatedTokens: Float64Array<SharedArrayBuffer>;
  readonly outputCapTokens: number;
  readonly callsInFlight: number;
}

/** What one thread counted by itself, independently of the kernel. */
export interface ThreadTotals {
  readonly admitted: number;
  readonly denied: number;
  readonly spentTokens: number;
  /** Calls that generated more than the cap, and so more than was reserved for them. */
  readonly overCap: number;
}

export type ThreadMessage =
  | { readonly kind: "ready" }
  | { readonly kind: "short"; readonly estimateTokens: number }
  | { readonly kind: "done"; readonly totals: ThreadTotals };

interface OpenCall {
  readonly reservation: TokenReservation;
  readonly contextTokens: number;
  readonly generatedTokens: number;
}

const port = parentPort;
if (port === null) throw new Error("replay-thread.ts runs as a worker_thread only");
const input: ThreadInput = workerData;
const post = (message: ThreadMessage): void => port.postMessage(message);

const kernel = attachKernel(input.memory, { owner: input.owner });
const budget = new AtomicTokenBudget(0, { kernel, name: input.budgetName });

const open: OpenCall[] = [];
let admitted = 0;
let denied = 0;
let spentTokens = 0;
let overCap = 0;

post({ kind: "ready" });
waitForGo(input.mailbox);
for (let call = input.thread; call < input.contextTokens.length; call += input.threads) {
  if (isStopped(input.mailbox)) break;
  const contextTokens = input.contextTokens[call] ?? 0;
  const generatedTokens = input.generatedTokens[call] ?? 0;
  const reservation = admit(contextTokens + input.outputCapTokens);
  if (reservation === null) {
    if (isStopped(input.mailbox)) break;
    denied += 1;
  } else {
    admitted += 1;
    open.push({ reservation, contextTokens, generatedTokens });
    if (open.length > input.callsInFlight) settleOldest();
  }
  tellDone(input.mailbox, input.thread, admitted + denied);
}
while (open.length > 0) settleOldest();
// No kernel.close() here: it would give back a forgotten hold quietly. The main thread reclaims, and counts.
post({ kind: "done", totals: { admitted, denied, spentTokens, overCap } });

/**
 * A reservation, or null when the call is denied for good: the authority has nothing left, and what this thread had
 * reserved for its own calls in flight, once they have ended, does not suffice either.
 */
function admit(estimateTokens: number): TokenReservation | null {
  for (;;) {
    const reservation = budget.tryReserveTokens(estimateTokens);
    if (reservation !== null) return reservation;
    if (!isExhausted(input.mailbox)) {
      const answer = ask(input.mailbox, input.thread, () => post({ kind: "short", estimateTokens }));
      if (answer === ANSWER_STOP) return null;
      if (answer === ANSWER_RETRY) continue;
    }
    if (open.length === 0) return null;
    while (open.length > 0) settleOldest();
  }
}

function settleOldest(): void {
  const call = open.shift();
  if (call === undefined) return;
  budget.recordUsage(call.reservation, call.contextTokens, call.generatedTokens);
  spentTokens += call.contextTokens + call.generatedTokens;
  if (call.generatedTokens > input.outputCapTokens) overCap += 1;
}
