// `npm run estimates`: what holding the probable instead of the worst brings on a trace, at the same hard limit. Prints
// one table. Exit code 1 if anything was overspent.
import process from "node:process";
import Table from "cli-table3";
import { Command } from "commander";
import { parseTokens } from "./lib/arguments.ts";
import { type EstimateOutcome, type EstimatePolicy, runEstimates } from "./lib/estimate-run.ts";
import { CONTEXT_WINDOW_DEFAULT_TOKENS, ESTIMATE_LIMIT_DEFAULT_TOKENS } from "./lib/limits.ts";
import { count } from "./lib/report.ts";
import { readTrace, sampleTrace } from "./lib/trace.ts";
import { reportLikePurser, runCommand } from "./lib/user-error.ts";

interface EstimatesOptions {
  readonly trace?: string;
  readonly limit: number;
  readonly window: number;
}

const WORST: EstimatePolicy = { name: "worst case", holds: "worst" };
const POLICIES: readonly EstimatePolicy[] = [
  WORST,
  { name: "suggested, 90 %", holds: "suggested", quantile: 0.9, tailPercent: 2 },
  { name: "suggested, 95 %", holds: "suggested", quantile: 0.95, tailPercent: 2 },
  { name: "suggested, 99 %", holds: "suggested", quantile: 0.99, tailPercent: 2 },
  { name: "knows the future", holds: "known" },
];
/** A caller that caps its answers has a smaller worst case, and less to win. */
const CAPS_TOKENS = [4_096, 2_048];

await runCommand(async () => {
  const {
    trace: file,
    limit,
    window,
  } = reportLikePurser(new Command("npm run estimates --"))
    .description("How many calls of a trace a hard limit lets run at once, by what each call holds.")
    .option(
      "--trace <file>",
      "a CSV of calls: TIMESTAMP,ContextTokens,GeneratedTokens; default: a synthetic one",
    )
    .option("--limit <tokens>", "the hard limit", parseTokens, ESTIMATE_LIMIT_DEFAULT_TOKENS)
    .option("--window <tokens>", "the model's context window", parseTokens, CONTEXT_WINDOW_DEFAULT_TOKENS)
    .parse()
    .opts<EstimatesOptions>();
  const trace = file === undefined ? sampleTrace() : await readTrace(file);
  const settings = { limitTokens: limit, windowTokens: window, isToppedUp: true };
  const table = new Table({
    head: [
      "holds",
      "longest answer",
      "mean hold",
      "calls at once",
      "× worst",
      "stopped",
      "cut",
      "reserve used",
      "overspend",
    ],
    style: { head: [], border: [] },
    colAligns: ["left", "right", "right", "right", "right", "right", "right", "right", "right"],
  });
  let overspendTokens = 0;
  const add = (policy: EstimatePolicy, worst: EstimateOutcome | undefined): EstimateOutcome => {
    const outcome = runEstimates(trace, policy, settings);
    const times = outcome.concurrency / (worst ?? outcome).concurrency;
    table.push([
      outcome.name,
      policy.answerTokensMax === undefined ? "window" : count(policy.answerTokensMax),
      count(Math.round(outcome.meanHoldTokens)),
      outcome.concurrency.toFixed(1),
      times.toFixed(2),
      count(outcome.stopped),
      count(outcome.cutTokens),
      count(outcome.mostDrawnTokens),
      count(outcome.overspendTokens),
    ]);
    overspendTokens += outcome.overspendTokens;
    return outcome;
  };
  for (const cap of [undefined, ...CAPS_TOKENS]) {
    const capped = cap === undefined ? {} : { answerTokensMax: cap };
    let worst: EstimateOutcome | undefined;
    for (const policy of POLICIES) worst = ((it) => worst ?? it)(add({ ...policy, ...capped }, worst));
  }
  say(
    `${trace.label}: ${count(trace.calls)} calls, a hard limit of ${count(limit)} tokens, a window of ${count(window)}`,
  );
  say(table.toString());

  // The same without topping up: the limit is all there is.
  const budgetTokens = Math.floor(trace.totalTokens * 0.8);
  const ended = runEstimates(
    trace,
    { name: "", holds: "suggested", tailPercent: 2 },
    { limitTokens: budgetTokens, windowTokens: window, isToppedUp: false },
  );
  say(
    `A budget of ${count(budgetTokens)} tokens for all of it: ${count(ended.spentTokens)} spent by ${count(ended.calls)} calls, ` +
      `overspend ${count(ended.overspendTokens)}.`,
  );
  return overspendTokens + ended.overspendTokens === 0 ? 0 : 1;
});

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
