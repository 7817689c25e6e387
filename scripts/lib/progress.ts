// How far the replay is: a bar on a terminal, a line per quarter elsewhere. Called by start.ts.
import process from "node:process";
import { SingleBar } from "cli-progress";
import { PROGRESS_EVERY_MS } from "./limits.ts";
import { count } from "./report.ts";

const LINES = 4;

/** Shows `decided()` of `calls` until the returned function is called, which shows it for the last time. */
export function showProgress(calls: number, decided: () => number): () => void {
  return process.stdout.isTTY ? showBar(calls, decided) : showLines(calls, decided);
}

function showBar(calls: number, decided: () => number): () => void {
  const bar = new SingleBar({
    format: "replaying {bar} {percentage} % · {value} of {total} calls",
    barCompleteChar: "█",
    barIncompleteChar: "░",
    stream: process.stdout,
    hideCursor: true,
  });
  bar.start(calls, 0);
  const timer = setInterval(() => bar.update(decided()), PROGRESS_EVERY_MS);
  return () => {
    clearInterval(timer);
    bar.update(decided());
    bar.stop();
  };
}

function showLines(calls: number, decided: () => number): () => void {
  let shown = 0;
  const show = (): void => {
    const now = decided();
    const quarter = Math.floor((now * LINES) / calls);
    if (quarter <= shown) return;
    shown = quarter;
    process.stdout.write(
      `replayed ${count(now)} of ${count(calls)} calls (${Math.floor((now * 100) / calls)} %)\n`,
    );
  };
  const timer = setInterval(show, PROGRESS_EVERY_MS);
  return () => {
    clearInterval(timer);
    show();
  };
}
