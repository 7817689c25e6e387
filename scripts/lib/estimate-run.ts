// How many calls of a trace a hard limit lets run at once, by what each of them holds. A simulation in virtual time over
// real budgets: there is always a next call waiting, calls are admitted in the trace's order as soon as their hold fits, and
// what a settled call has used is put back on top, so that the limit is the same throughout. How long a call takes is assumed
// (limits.ts) and the same for every policy; everything else is the trace's. Pure; called by estimates.ts and its test.

import { AtomicTokenBudget } from "purser";
import { ElasticBudget, type ElasticReservation, EstimateAdvisor } from "purser/estimates";
import { DECODE_MS_PER_TOKEN, PREFILL_MS_PER_TOKEN } from "./limits.ts";
import type { Trace } from "./trace.ts";

export interface EstimatePolicy {
  readonly name: string;
  /** `worst`: prompt and the longest answer; `suggested`: prompt and the advisor's quantile; `known`: what will be used. */
  readonly holds: "worst" | "suggested" | "known";
  /** The most that an answer may take is what the prompt leaves of the context window, or this if it is less. */
  readonly answerTokensMax?: number;
  readonly quantile?: number;
  /** The part of the limit that is the shared reserve. */
  readonly tailPercent?: number;
}

export interface EstimateSettings {
  readonly limitTokens: number;
  readonly windowTokens: number;
  /** Without it the limit is used up for good, and the run ends with it. */
  readonly isToppedUp: boolean;
}

export interface EstimateOutcome {
  readonly name: string;
  /** The mean over time, while calls were waiting. */
  readonly concurrency: number;
  readonly meanHoldTokens: number;
  readonly calls: number;
  /** Calls that could not get what they needed and ended short, and what that cut off in all. */
  readonly stopped: number;
  readonly cutTokens: number;
  readonly spentTokens: number;
  readonly mostDrawnTokens: number;
  /** Tokens that were used beyond the limit at any moment, or owed: it must be 0. */
  readonly overspendTokens: number;
}

interface Running {
  readonly prompt: number;
  readonly answer: number;
  readonly answerMax: number;
  readonly startedMs: number;
  readonly reservation: ElasticReservation;
}

/** Everything calls are to the advisor in these traces: one model, one place that asks. */
const ROUTE = { model: "trace", route: "code" };

export function runEstimates(
  trace: Trace,
  policy: EstimatePolicy,
  { limitTokens, windowTokens, isToppedUp }: EstimateSettings,
): EstimateOutcome {
  const tailTokens = Math.floor((limitTokens * (policy.tailPercent ?? 0)) / 100);
  const sources = [
    new AtomicTokenBudget(limitTokens - tailTokens),
    new AtomicTokenBudget(tailTokens),
  ] as const;
  const [budget, tail] = sources;
  const elastic = new ElasticBudget({ budget, tail });
  const advisor = new EstimateAdvisor(policy.quantile === undefined ? {} : { quantile: policy.quantile });

  const holdOf = (prompt: number, answer: number, answerMax: number): number => {
    if (policy.holds === "known") return prompt + answer;
    return prompt + (policy.holds === "worst" ? answerMax : advisor.suggest(ROUTE, answerMax));
  };
  const running: Running[] = [];
  let next = 0;
  let nowMs = 0;
  let waitedMs = 0;
  let areaMs = 0;
  let held = 0;
  let stopped = 0;
  let cutTokens = 0;
  let mostDrawnTokens = 0;
  let mostUsedTokens = 0;

  const admit = (): void => {
    while (next < trace.calls) {
      const prompt = trace.contextTokens[next] ?? 0;
      const answerMax = Math.max(1, Math.min(windowTokens - prompt, policy.answerTokensMax ?? windowTokens));
      const answer = Math.min(trace.generatedTokens[next] ?? 0, answerMax);
      const hold = holdOf(prompt, answer, answerMax);
      const reservation = elastic.tryReserve(hold);
      if (reservation === null) return;
      running.push({ prompt, answer, answerMax, startedMs: nowMs, reservation });
      held += hold;
      next += 1;
    }
  };
  /** A call has all it asked for, or may make no more without growing. */
  const proceed = (call: Running): void => {
    const { prompt, answer, reservation } = call;
    const made = Math.min(answer, reservation.held - prompt);
    if (made < answer && reservation.growTo(prompt + made + 1) > prompt + made) return;
    running.splice(running.indexOf(call), 1);
    reservation.settle(prompt, made);
    stopped += made < answer ? 1 : 0;
    cutTokens += answer - made;
    advisor.observe(ROUTE, call.answerMax, reservation.isStopped ? call.answerMax : made);
    if (!isToppedUp) return;
    for (const source of sources) source.grant(Math.max(0, source.tokensConsumed() - toppedUpOf(source)));
  };
  const toppedUpOf = (source: AtomicTokenBudget): number =>
    source.capacity - (source === tail ? tailTokens : limitTokens - tailTokens);

  for (admit(); running.length > 0; admit()) {
    const first = running.reduce((a, b) => (pausesAtMs(b) < pausesAtMs(a) ? b : a));
    const thenMs = pausesAtMs(first);
    if (next < trace.calls) {
      areaMs += running.length * (thenMs - nowMs);
      waitedMs += thenMs - nowMs;
    }
    nowMs = thenMs;
    const used = running.reduce((sum, call) => sum + usedAt(call, nowMs), 0);
    const drawn = running.reduce((sum, { reservation }) => sum + reservation.drawn, 0);
    const spentBefore = isToppedUp ? 0 : budget.tokensConsumed() + tail.tokensConsumed();
    mostUsedTokens = Math.max(mostUsedTokens, used + spentBefore);
    mostDrawnTokens = Math.max(mostDrawnTokens, drawn);
    proceed(first);
  }
  return {
    name: policy.name,
    concurrency: waitedMs === 0 ? running.length : areaMs / waitedMs,
    meanHoldTokens: next === 0 ? 0 : held / next,
    calls: next,
    stopped,
    cutTokens,
    spentTokens: budget.tokensConsumed() + tail.tokensConsumed(),
    mostDrawnTokens,
    overspendTokens: Math.max(0, mostUsedTokens - limitTokens) + budget.debt + tail.debt,
  };
}

/** When a call has made all it holds, or all it has to say. */
function pausesAtMs({ prompt, answer, startedMs, reservation }: Running): number {
  const made = Math.min(answer, reservation.held - prompt);
  return startedMs + prompt * PREFILL_MS_PER_TOKEN + made * DECODE_MS_PER_TOKEN;
}

/** The prompt is used from the start, the answer token by token. */
function usedAt({ prompt, answer, startedMs }: Running, nowMs: number): number {
  const madeMs = nowMs - startedMs - prompt * PREFILL_MS_PER_TOKEN;
  return prompt + Math.max(0, Math.min(answer, Math.floor(madeMs / DECODE_MS_PER_TOKEN)));
}
