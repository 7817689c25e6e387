// A made-up trace with the real one's shape: contexts and answers drawn from the quantiles of the Azure LLM inference trace
// 2023 (code service), straight lines in between. The same calls every time. For tests on machines without the real one.

import { seededRandom } from "../../../scripts/lib/seeded-random.ts";
import type { Trace } from "../../../scripts/lib/trace.ts";

type Quantiles = readonly (readonly [share: number, tokens: number])[];

const CONTEXT: Quantiles = [
  [0, 3],
  [0.1, 147],
  [0.25, 578],
  [0.5, 1_469],
  [0.75, 2_745],
  [0.9, 5_194],
  [0.95, 7_315],
  [1, 7_437],
];
const ANSWER: Quantiles = [
  [0, 6],
  [0.25, 9],
  [0.5, 13],
  [0.75, 24],
  [0.9, 55],
  [0.95, 90],
  [0.99, 252],
  [1, 700], // a straight line to the longest, 1,899, would make long answers commoner than they are
];

export function codeTrace(calls: number, seed: number): Trace {
  const random = seededRandom(seed);
  const column = (quantiles: Quantiles): Float64Array<SharedArrayBuffer> => {
    const values = new Float64Array(new SharedArrayBuffer(calls * Float64Array.BYTES_PER_ELEMENT));
    for (const index of values.keys()) values[index] = at(quantiles, random());
    return values;
  };
  const contextTokens = column(CONTEXT);
  const generatedTokens = column(ANSWER);
  const totalTokens = [...contextTokens, ...generatedTokens].reduce((sum, tokens) => sum + tokens, 0);
  return {
    label: `made up from quantiles, seed ${seed}`,
    calls,
    contextTokens,
    generatedTokens,
    totalTokens,
  };
}

function at(quantiles: Quantiles, share: number): number {
  const above = quantiles.findIndex(([quantile]) => quantile > share);
  const [low = 0, from = 0] = quantiles[above - 1] ?? [];
  const [high = 1, to = 0] = quantiles[above] ?? [];
  return Math.round(from + ((share - low) / (high - low)) * (to - from));
}
