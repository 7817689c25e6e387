// One replay thread (a worker_thread). It attaches to its holder's kernel, takes its calls of the trace in order, reserves
// what a caller can know beforehand (context + a cap on the output) and settles with what the trace says was used. A few
// calls are always open at once. Started by replay.ts with ThreadInput; posts ThreadMessage, and writes a row of the tally.
import { parentPort, workerData } from "node:worker_threads";
import { attachKernel, LeasedBudget, type TokenReservation } from "purser";
import { ANSWER_RETRY, ask, isStopped, type Mailbox, pauseUntil, tellDone, waitForGo } from "./mailbox.ts";
import { emptyRow, tallyWriter } from "./tally.ts";

export interface ThreadInput {
  readonly thread: number;
  readonly memory: WebAssembly.Memory;
  readonly owner: number;
  readonly budgetName: string;
  readonly mailbox: Mailbox;
  readonly contextTokens: Float64Array<SharedArrayBuffer>;
  readonly generatedTokens: Float64Array<SharedArrayBuffer>;
  readonly outputCapTokens: number;
  readonly callsInFlight: number;
  /** Which calls are its own: from `first` on every `step`-th. */
  readonly first: number;
  readonly step: number;
  /** How long its calls should take in all; 0 for as fast as they go. */
  readonly spreadMs: number;
  readonly tally: { readonly path: string; readonly row: number };
}

export type ThreadMessage =
  | { readonly kind: "ready" }
  | { readonly kind: "short"; readonly estimateTokens: number }
  | { readonly kind: "done" };

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
const budget = LeasedBudget.attach(kernel, input.budgetName);

const open: OpenCall[] = [];
const done = emptyRow();
const write = tallyWriter(input.tally.path, input.tally.row);
const calls = Math.max(0, Math.ceil((input.contextTokens.length - input.first) / input.step));

post({ kind: "ready" });
waitForGo(input.mailbox);
const startMs = performance.now();
for (let nth = 0; nth < calls; nth++) {
  pauseUntil(input.mailbox, startMs + (input.spreadMs * nth) / calls);
  if (isStopped(input.mailbox)) break;
  const call = input.first + nth * input.step;
  const contextTokens = input.contextTokens[call] ?? 0;
  const generatedTokens = input.generatedTokens[call] ?? 0;
  const reservation = admit(contextTokens + input.outputCapTokens);
  if (reservation === null) {
    if (isStopped(input.mailbox)) break;
    done.denied += 1;
  } else {
    done.admitted += 1;
    open.push({ reservation, contextTokens, generatedTokens });
  }
  done.decided += 1;
  write(done);
  tellDone(input.mailbox, input.thread, done.decided);
  if (open.length > input.callsInFlight) settleOldest();
}
while (open.length > 0) settleOldest();
// No kernel.close() here: it would give back a forgotten hold quietly. The main thread reclaims, and counts.
post({ kind: "done" });

/**
 * A reservation, or null when the call is denied: the authority has nothing left to lend or does not answer, and what this
 * thread had reserved for its own calls in flight, once they have ended, does not suffice either.
 */
function admit(estimateTokens: number): TokenReservation | null {
  for (;;) {
    const reservation = budget.tryReserveTokens(estimateTokens);
    if (reservation !== null) return reservation;
    if (budget.explainDenial(estimateTokens).reason !== "authority-exhausted") {
      const answer = ask(input.mailbox, input.thread, () => post({ kind: "short", estimateTokens }));
      if (answer === ANSWER_RETRY) continue;
    }
    if (open.length === 0 || isStopped(input.mailbox)) return null;
    while (open.length > 0) settleOldest();
  }
}

function settleOldest(): void {
  const call = open.shift();
  if (call === undefined) return;
  budget.recordUsage(call.reservation, call.contextTokens, call.generatedTokens);
  done.settled += 1;
  done.spentTokens += call.contextTokens + call.generatedTokens;
  if (call.generatedTokens > input.outputCapTokens) done.overCap += 1;
  write(done);
}
