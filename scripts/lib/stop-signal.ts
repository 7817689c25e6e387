// One AbortSignal for "please end": Ctrl-C, SIGTERM, a closed terminal, or the loss of the process that started us.
// Repeats are ignored: a terminal's Ctrl-C reaches us twice, once from the terminal and once passed on by run.mjs.
// Called once, at the start of a command that keeps something running.
import { constants } from "node:os";
import process from "node:process";

export interface StopSignal {
  readonly signal: AbortSignal;
  /** Resolves when the first signal arrives. */
  readonly stopped: Promise<void>;
  /** The conventional exit status for a run that a signal cut short: 128 + the signal's number. */
  exitCode(): number;
}

export function listenForStop(): StopSignal {
  const controller = new AbortController();
  let first: NodeJS.Signals | null = null;
  const stop = (signal: NodeJS.Signals): void => {
    first ??= signal;
    controller.abort();
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
