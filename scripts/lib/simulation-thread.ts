// One thread that simulates seeds: it loads the program it is told (the harness as it is, or a bundle of it over a
// mutant) and answers each span of seeds with what happened. Started by simulation-pool.ts with ThreadInput.
import { parentPort, workerData } from "node:worker_threads";
import type { Outcome } from "../../test/simulation/simulate.ts";

export interface ThreadInput {
  /** The URL of a module that exports `simulate`. */
  readonly program: string;
}

export interface Span {
  readonly fromSeed: number;
  readonly seeds: number;
}

export interface SpanResult extends Span {
  readonly steps: number;
  readonly counts: readonly (readonly [string, number])[];
  /** The first seed of the span that failed; the span ends there. */
  readonly failure?: { readonly seed: number; readonly message: string };
}

const port = parentPort;
if (port === null) throw new Error("simulation-thread.ts runs as a worker_thread only");
const { program } = workerData as ThreadInput;
const { simulate }: { simulate: (seed: number) => Outcome } = await import(program);

port.on("message", (span: Span) => port.postMessage(simulateSpan(span)));
port.postMessage("ready");

function simulateSpan({ fromSeed, seeds }: Span): SpanResult {
  const counts = new Map<string, number>();
  let steps = 0;
  for (let seed = fromSeed; seed < fromSeed + seeds; seed += 1) {
    const outcome = simulate(seed);
    steps += outcome.steps;
    for (const [name, count] of outcome.tally.entries()) counts.set(name, (counts.get(name) ?? 0) + count);
    if (outcome.failure !== undefined) {
      const failure = { seed, message: outcome.failure };
      return { fromSeed, seeds: seed - fromSeed + 1, steps, counts: [...counts], failure };
    }
  }
  return { fromSeed, seeds, steps, counts: [...counts] };
}
