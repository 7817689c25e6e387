// One AbortSignal for "please end": Ctrl-C, SIGTERM, a closed terminal, or the loss of the process that started us.
// Repeats are ignored: a terminal's Ctrl-C reaches us twice, once from the terminal and once passed on by run.mjs.
// Invariant: until a command serves, whatever it waits for is raced against the signal, so a boot can always be ended.
// listenForStop() is called once, at the start of a command that keeps something running.
import { constants } from "node:os";
import process from "node:process";

export interface StopSignal {
  readonly signal: AbortSignal;
  /** Resolves when the first signal arrives. */
  readonly stopped: Promise<void>;
  /** The conventional exit status for a run that a signal cut short: 128 + the signal's number. */
  exitCode(): number;
}

/** A signal ended the command before it had begun its work. Not an error to tell about: whoever sent it knows. */
export class StoppedError extends Error {
  readonly code = "STOPPED";
  readonly stopSignal: NodeJS.Signals;

  constructor(stopSignal: NodeJS.Signals) {
    super(`stopped by ${stopSignal}`);
    this.stopSignal = stopSignal;
  }
}

export function listenForStop(): StopSignal {
  const controller = new AbortController();
  let first: NodeJS.Signals | null = null;
  const stop = (signal: NodeJS.Signals): void => {
    first ??= signal;
    controller.abort(new StoppedError(first));
  };
  process.on("SIGINT", stop).on("SIGTERM", stop).on("SIGHUP", stop);
  // The parent holds the other end of this channel; if it dies without a word, nobody is left to press Ctrl-C.
  process.once("disconnect", () => stop("SIGHUP"));
  process.channel?.unref();

  return {
    signal: controller.signal,
    stopped: new Promise((resolve) =>
      controller.signal.addEventListener("abort", () => resolve(), { once: true }),
    ),
    exitCode: () => 128 + (first === null ? 0 : constants.signals[first]),
  };
}

/**
 * Waits for `work`, but no longer than until the signal; then it rejects with the signal's reason. Whatever `work` still
 * does is abandoned, because some of it cannot be called off: a read from a pipe that nobody writes to, for one.
 */
export function unlessStopped<Result>(
  signal: AbortSignal | undefined,
  work: Promise<Result>,
): Promise<Result> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/** Ends this process by the signal itself: also when work that was abandoned would keep it from ending. */
export function endBySignal(signal: NodeJS.Signals): void {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}
