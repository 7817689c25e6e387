// The words that the main thread and the replay threads exchange in shared memory: a memory of their own, never the
// kernel's. Layout, in 32-bit words; what different threads write lies 128 bytes apart:
//
//   0        run        0 wait · 1 go · 2 stop            written by the main thread
//   32·(1+i) answer     to thread i's last question        thread i clears it, the main thread answers
//   32·(1+i)+1 done     calls that thread i has decided    written by thread i
//
// A thread sleeps in Atomics.wait until it is answered; the main thread never waits.

const WORDS_PER_LINE = 32;
const RUN = 0;

export const RUN_WAIT = 0;
export const RUN_GO = 1;
export const RUN_STOP = 2;

export const ANSWER_NONE = 0;
export const ANSWER_RETRY = 1;
export const ANSWER_DENIED = 2;

export type Mailbox = Int32Array<SharedArrayBuffer>;

export function createMailbox(threads: number): Mailbox {
  return new Int32Array(new SharedArrayBuffer((1 + threads) * WORDS_PER_LINE * Int32Array.BYTES_PER_ELEMENT));
}

export function setRun(mailbox: Mailbox, run: number): void {
  Atomics.store(mailbox, RUN, run);
  Atomics.notify(mailbox, RUN);
}

/** Thread side. Returns once the main thread has said go or stop. */
export function waitForGo(mailbox: Mailbox): void {
  Atomics.wait(mailbox, RUN, RUN_WAIT);
}

export function isStopped(mailbox: Mailbox): boolean {
  return Atomics.load(mailbox, RUN) === RUN_STOP;
}

/** Thread side. Sleeps until then, by `performance.now()`, or until the run is stopped. */
export function pauseUntil(mailbox: Mailbox, timeMs: number): void {
  const leftMs = timeMs - performance.now();
  if (leftMs > 0) Atomics.wait(mailbox, RUN, RUN_GO, leftMs);
}

/** Thread side. Clears the last answer, puts the question and sleeps until the main thread has answered it. */
export function ask(mailbox: Mailbox, thread: number, postQuestion: () => void): number {
  const word = lineOf(thread);
  Atomics.store(mailbox, word, ANSWER_NONE);
  postQuestion();
  // An answer that comes before the wait makes the wait return at once: it compares with "none".
  Atomics.wait(mailbox, word, ANSWER_NONE);
  return Atomics.load(mailbox, word);
}

export function answer(mailbox: Mailbox, thread: number, value: number): void {
  Atomics.store(mailbox, lineOf(thread), value);
  Atomics.notify(mailbox, lineOf(thread));
}

/** Thread side. */
export function tellDone(mailbox: Mailbox, thread: number, calls: number): void {
  Atomics.store(mailbox, lineOf(thread) + 1, calls);
}

/** Calls decided so far by all threads. May be late. */
export function countDone(mailbox: Mailbox, threads: number): number {
  let calls = 0;
  for (let thread = 0; thread < threads; thread += 1) calls += Atomics.load(mailbox, lineOf(thread) + 1);
  return calls;
}

function lineOf(thread: number): number {
  return (1 + thread) * WORDS_PER_LINE;
}
