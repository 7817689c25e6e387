// What suggestions bring on a trace, at the same hard limit: at least three times the calls at once of holding the whole
// context window, and not a token too many. On the real trace where it is (beside the project), on a made-up one of the same
// shape everywhere; and on calls that go against every suggestion.

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { type EstimatePolicy, runEstimates } from "../../scripts/lib/estimate-run.ts";
import { CONTEXT_WINDOW_DEFAULT_TOKENS, ESTIMATE_LIMIT_DEFAULT_TOKENS } from "../../scripts/lib/limits.ts";
import { readTrace, type Trace } from "../../scripts/lib/trace.ts";
import { codeTrace } from "./support/code-trace.ts";

const SEED = 7;
const REAL = fileURLToPath(new URL("../../../shared/data/azure-llm-code-2023.csv", import.meta.url));
const SETTINGS = {
  limitTokens: ESTIMATE_LIMIT_DEFAULT_TOKENS,
  windowTokens: CONTEXT_WINDOW_DEFAULT_TOKENS,
  isToppedUp: true,
};
const WORST: EstimatePolicy = { name: "worst", holds: "worst" };
const SUGGESTED: EstimatePolicy = { name: "suggested", holds: "suggested", quantile: 0.95, tailPercent: 2 };
const KNOWN: EstimatePolicy = { name: "known", holds: "known" };

function expectThreeTimes(trace: Trace): void {
  const [worst, suggested, known] = [WORST, SUGGESTED, KNOWN].map((policy) =>
    runEstimates(trace, policy, SETTINGS),
  );
  for (const outcome of [worst, suggested, known]) {
    expect(outcome).toMatchObject({ calls: trace.calls, overspendTokens: 0 });
    expect(outcome?.spentTokens).toBe(trace.totalTokens - (outcome?.cutTokens ?? Number.NaN));
  }
  expect(worst).toMatchObject({ stopped: 0, cutTokens: 0 });
  // At every moment of waiting exactly as many as fit: the simulation counts what it should.
  expect(worst?.concurrency).toBeCloseTo(Math.floor(SETTINGS.limitTokens / SETTINGS.windowTokens), 6);
  const times = (suggested?.concurrency ?? 0) / (worst?.concurrency ?? 1);
  console.log(
    `${trace.label}: ${times.toFixed(2)} × the calls at once, ${suggested?.stopped} of them stopped`,
  );
  expect(times).toBeGreaterThanOrEqual(3);
  expect(suggested?.concurrency).toBeLessThanOrEqual(known?.concurrency ?? 0);
  expect(suggested?.stopped).toBeLessThanOrEqual(trace.calls / 1_000);
}

test("a made-up trace of the same shape: three times the calls at once, 0 overspend", () => {
  expectThreeTimes(codeTrace(4_000, SEED));
});

const absent = existsSync(REAL) ? "" : " (the trace is not beside this checkout)";
test.skipIf(absent !== "")(
  `the real trace: three times the calls at once, 0 overspend${absent}`,
  async () => {
    expectThreeTimes(await readTrace(REAL));
  },
);
if (!existsSync(REAL)) console.log("the real trace is not beside the project: its test is left out");

describe("calls that go against what was learnt", () => {
  /** Short answers until everything trusts them, then nothing but answers that fill the window. */
  function betrayal(calls: number): Trace {
    const trace = codeTrace(calls, SEED);
    trace.generatedTokens.fill(CONTEXT_WINDOW_DEFAULT_TOKENS, calls / 4);
    return trace;
  }

  test.each([0, 1, 2, 10])(
    "with a reserve of %i %%: some are stopped, nothing is overspent",
    (tailPercent) => {
      const outcome = runEstimates(betrayal(1_000), { ...SUGGESTED, tailPercent }, SETTINGS);
      expect(outcome.overspendTokens).toBe(0);
      expect(outcome.calls).toBe(1_000);
      expect(outcome.stopped).toBeGreaterThan(0);
      // What was stopped teaches: soon nobody is admitted on less than the whole answer.
      expect(outcome.stopped).toBeLessThan(500);
    },
  );

  test.each([0, 2, 10])(
    "a budget that ends with a reserve of %i %%: spent to the end, and no further",
    (tailPercent) => {
      const trace = betrayal(400);
      const limitTokens = 500_000;
      const outcome = runEstimates(
        trace,
        { ...SUGGESTED, tailPercent },
        { ...SETTINGS, limitTokens, isToppedUp: false },
      );
      expect(outcome.overspendTokens).toBe(0);
      expect(outcome.calls).toBeLessThan(trace.calls);
      expect(outcome.spentTokens).toBeLessThanOrEqual(limitTokens);
      // What is left is less than one more call would hold, and the reserve.
      expect(outcome.spentTokens).toBeGreaterThan(
        limitTokens * (1 - tailPercent / 100) - 2 * CONTEXT_WINDOW_DEFAULT_TOKENS,
      );
    },
  );
});
