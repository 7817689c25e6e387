// Times one loop, in any runtime: tinybench takes the samples, a sample is a batch of operations.
// Invariant: every operation of every batch was granted. Who may call: session.ts.

import { Bench } from "tinybench";
import { callLoop } from "./call-loop.ts";
import type { Loop } from "./contender.ts";
import { BATCH_CLOCK_STEPS_MIN, BATCH_MS_MIN } from "./settings.ts";

export interface Meter {
  /** Runs the loop for at least that long; the median of its batches, in ns per operation. */
  round(roundMs: number): Promise<number>;
}

/** Warms the loop up and finds how many operations make a batch. */
export async function createMeter(loop: Loop, warmUpMs: number): Promise<Meter> {
  const batchMs = Math.max(BATCH_MS_MIN, BATCH_CLOCK_STEPS_MIN * clockStepMs());
  const operations = await calibrate(loop, batchMs, warmUpMs);
  return {
    async round(roundMs) {
      const bench = new Bench({ time: roundMs, iterations: 1, warmup: false, throws: true });
      bench.add("round", () => run(loop, operations));
      const [task] = await bench.run();
      if (task?.result.state !== "completed") throw new Error(`a round ended as ${task?.result.state}`);
      return (task.result.latency.p50 * 1e6) / operations;
    },
  };
}

/** A loop without promises is timed without promises. */
function run(loop: Loop, operations: number): void | Promise<void> {
  const granted = callLoop(loop, operations);
  if (typeof granted === "number") return checkGranted(granted, operations);
  return granted.then((count) => checkGranted(count, operations));
}

function checkGranted(granted: number, operations: number): void {
  if (granted === operations) return;
  throw new Error(
    `${granted} of ${operations} operations were granted: what was timed is not what was meant`,
  );
}

/** Batches of the size that turned out right are run to the end of the warm-up, so that this size is what is compiled. */
async function calibrate(loop: Loop, batchMs: number, warmUpMs: number): Promise<number> {
  const endMs = performance.now() + warmUpMs;
  let operations = 16;
  while (true) {
    const startMs = performance.now();
    await run(loop, operations);
    const nowMs = performance.now();
    if (nowMs - startMs < batchMs) operations *= 2;
    else if (nowMs >= endMs) return operations;
  }
}

/** The smallest step that the clock was seen to make. */
function clockStepMs(): number {
  let step = Number.POSITIVE_INFINITY;
  for (let seen = 0, last = performance.now(); seen < 5; ) {
    const now = performance.now();
    if (now === last) continue;
    step = Math.min(step, now - last);
    last = now;
    seen++;
  }
  return step;
}
