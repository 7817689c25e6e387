// runComposition when it does not go well: refusals, failures, retries, aborts, bad arguments.

import "purser";
import { describe, expect, test } from "vitest";
import {
  BudgetExceededError,
  BudgetedExecutor,
  type CompositionNode,
  type RunOptions,
  runComposition,
  type StageContext,
  type StageTrace,
} from "../../../src/execution/index.ts";
import {
  bind,
  constant,
  fanout,
  merge,
  nested,
  parallel,
  remote,
  retry,
  sequential,
  stage,
  stages,
} from "../../support/compositions.ts";

const [a, b, c] = [stage("a"), stage("b"), stage("c")];
const failing = (message: string) => () => Promise.reject(new Error(message));

/** A stage that ends only when its signal does, and tells with what reason. */
function hanging(ends: unknown[]) {
  return (_input: unknown, context: StageContext) =>
    new Promise((_, reject) => {
      context.signal?.addEventListener("abort", () => {
        ends.push(context.signal?.reason);
        reject(new Error("I was aborted"));
      });
    });
}

const endless = () => new Promise<never>(() => {});

/** Runs a graph that must not succeed. */
async function failureOf(
  graph: CompositionNode,
  table: Record<string, unknown>,
  {
    costs = {},
    budgetCents = 100,
    ...options
  }: RunOptions & { costs?: Record<string, number>; budgetCents?: number } = {},
) {
  const inner = stages(table);
  const executor = new BudgetedExecutor(inner, new Map(Object.entries(costs)), budgetCents);
  const trace: StageTrace[] = [];
  const onStage = options.onStage ?? ((entry: StageTrace) => trace.push(entry));
  const run = runComposition(graph, null, executor, { ...options, onStage });
  const error: Error & { code?: string } = await run.then(
    () => new Error("the run succeeded"),
    (cause: unknown) => cause as Error,
  );
  return {
    error,
    executor,
    called: inner.calls.map(({ id }) => id),
    outcomes: trace.map(({ stageId, outcome, costCents }) => `${stageId} ${outcome} ${costCents}`),
  };
}

describe("the first cause", () => {
  test("ends a sequence: what comes after it is not called", async () => {
    const { error, called, outcomes, executor } = await failureOf(
      sequential(a, b, c),
      { b: failing("b broke") },
      { costs: { a: 1, b: 2, c: 4 } },
    );
    expect(error.message).toBe("b broke");
    expect(called).toEqual(["a", "b"]);
    expect(outcomes).toEqual(["a ok 1", "b failed 2"]);
    expect(executor.spentCents).toBe(3);
  });

  test.each<[string, CompositionNode]>([
    ["Parallel", parallel({ x: a, y: b, z: sequential(c, stage("later")) })],
    ["Fanout", fanout(constant(0), a, b, sequential(c, stage("later")))],
    ["Merge", merge([a, b, sequential(c, stage("later"))], stage("later"))],
    ["Let", bind({ x: a, y: b, z: sequential(c, stage("later")) }, stage("later"))],
    ["a group in a group", parallel({ x: a, y: fanout(constant(0), parallel({ z: b }), c) })],
  ])("aborts the siblings' signals with itself as reason: %s", async (_op, graph) => {
    const ends: unknown[] = [];
    const { error, called, outcomes } = await failureOf(graph, {
      a: hanging(ends),
      b: failing("b broke"),
      c: hanging(ends),
    });
    expect(error.message).toBe("b broke");
    expect(ends).toEqual([error, error]);
    expect(called.toSorted()).toEqual(["a", "b", "c"]);
    expect(outcomes.toSorted()).toEqual(["a aborted 0", "b failed 0", "c aborted 0"]);
  });

  test("may be a refusal, and siblings that ignore their signal are not waited for", async () => {
    const { error, called, outcomes, executor } = await failureOf(
      parallel({ x: a, y: b }),
      { a: endless },
      { costs: { a: 60, b: 50 } },
    );
    expect(error).toMatchObject({ code: "BUDGET_EXCEEDED", spentCents: 60, stageId: "b", costCents: 50 });
    expect(called).toEqual(["a"]);
    expect(outcomes).toEqual(["b refused 0", "a aborted 60"]);
    expect(executor.spentCents).toBe(60);
  });

  test("is what a stage throws, whatever it is", async () => {
    for (const thrown of [undefined, null, 0, "text"]) {
      const executor = new BudgetedExecutor(stages({ a: () => Promise.reject(thrown) }), new Map(), 0);
      const run = runComposition(parallel({ x: a, y: stage("endless") }), null, executor);
      await expect(run).rejects.toBe(thrown);
    }
  });

  test("comes before whatever has not begun, however far the siblings are", async () => {
    // Some depth lets the failure fall between the source's end and its target's beginning.
    for (let depth = 0; depth < 40; depth++) {
      const ends: unknown[] = [];
      const late: number[] = [];
      const table = { a: hanging(ends), b: failing("b broke"), c: () => ends.length > 0 && late.push(depth) };
      const source = nested(depth, constant(0), (inner) => sequential(inner));
      const { error } = await failureOf(parallel({ x: a, y: b, z: fanout(source, c) }), table);
      expect(error.message).toBe("b broke");
      expect(late).toEqual([]);
    }
  });

  test("that a Retry has caught leaves the rest of the graph's signals alone", async () => {
    let attempts = 0;
    const ends: unknown[] = [];
    const hang = hanging(ends);
    const table = {
      a: () => (attempts < 3 ? Promise.reject(new Error("not yet")) : "a"),
      b: (input: unknown, context: StageContext) => (++attempts < 3 ? hang(input, context) : "b"),
      c: "c",
    };
    const inner = stages(table);
    const executor = new BudgetedExecutor(inner, new Map([["b", 10]]), 30);
    const graph = parallel({ outer: sequential(retry(parallel({ x: b, y: a }), 3), c) });
    const { output, spentCents } = await runComposition(graph, null, executor);
    expect(output).toEqual({ outer: "c" });
    expect(ends.length).toBe(2);
    expect(spentCents).toBe(30);
    expect(inner.calls.at(-1)).toMatchObject({ id: "c", input: { x: "b", y: "a" } });
    expect(inner.calls.at(-1)?.context?.signal?.aborted).toBe(false);
  });
});

describe("Retry", () => {
  test("tries as often as it may, and hands on the last failure", async () => {
    let attempt = 0;
    const { error, called } = await failureOf(retry(a, 3), {
      a: () => Promise.reject(new Error(`attempt ${++attempt}`)),
    });
    expect(error.message).toBe("attempt 3");
    expect(called).toEqual(["a", "a", "a"]);
  });

  test("waits between attempts, and not after the last", async () => {
    const waits: number[] = [];
    const delay = (delayMs: number) => waits.push(delayMs);
    await failureOf(retry(a, 3, 250), { a: failing("again") }, { delay });
    expect(waits).toEqual([250, 250]);
    await failureOf(retry(a, 3, 0), { a: failing("again") }, { delay });
    await failureOf(retry(a, 3), { a: failing("again") }, { delay });
    expect(waits).toEqual([250, 250]);
  });

  test("waits by the platform's own timers unless told otherwise", async () => {
    let attempts = 0;
    const executor = new BudgetedExecutor(
      stages({ a: () => (++attempts < 3 ? Promise.reject(new Error("again")) : "there") }),
      new Map(),
      0,
    );
    expect((await runComposition(retry(a, 3, 1), null, executor)).output).toBe("there");
  });

  test("does not try again what the budget refused: it would pay anew for what comes before", async () => {
    const { error, called, executor } = await failureOf(
      retry(sequential(a, b), 5),
      {},
      { costs: { a: 10, b: 95 } },
    );
    expect(error.code).toBe("BUDGET_EXCEEDED");
    expect(called).toEqual(["a"]);
    expect(executor.spentCents).toBe(10);
  });

  test("tries again what another purse refused inside a stage", async () => {
    const refusal = new BudgetExceededError({
      spentCents: 1,
      budgetCents: 1,
      stageId: "inner",
      costCents: 1,
    });
    let tries = 0;
    const inner = () => (++tries === 3 ? "there" : Promise.reject(refusal));
    const executor = new BudgetedExecutor(stages({ a: inner }), new Map([["a", 10]]), 100);
    const { output, trace } = await runComposition(retry(a, 5), null, executor);
    expect(output).toBe("there");
    expect(trace.map(({ outcome }) => outcome)).toEqual(["failed", "failed", "ok"]);
    expect(executor.spentCents).toBe(30);
  });

  test("is charged for each attempt until the budget is used up", async () => {
    const { error, called, executor } = await failureOf(
      retry(a, 5),
      { a: failing("again") },
      { costs: { a: 40 } },
    );
    expect(error).toMatchObject({ code: "BUDGET_EXCEEDED", spentCents: 80 });
    expect(called.length).toBe(2);
    expect(executor.spentCents).toBe(80);
  });

  test("an abort ends its wait at once, also one that ignores the signal", async () => {
    for (const delay of [undefined, endless]) {
      const controller = new AbortController();
      const reason = new Error("enough");
      const broken = () => {
        queueMicrotask(() => setTimeout(() => controller.abort(reason)));
        throw new Error("again");
      };
      const { error, called } = await failureOf(
        retry(a, 3, 2 ** 31 - 1),
        { a: broken },
        { signal: controller.signal, ...(delay === undefined ? {} : { delay }) },
      );
      expect(error).toBe(reason);
      expect(called).toEqual(["a"]);
    }
  });
});

describe("the caller's signal", () => {
  test("aborted before: nothing runs, nothing is charged", async () => {
    const reason = new Error("never mind");
    const { error, called, executor } = await failureOf(
      a,
      {},
      { signal: AbortSignal.abort(reason), costs: { a: 1 } },
    );
    expect(error).toBe(reason);
    expect(called).toEqual([]);
    expect(executor.spentCents).toBe(0);
  });

  test("aborted meanwhile: the stages hear of it, nothing more begins, what was paid stays paid", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const ends: unknown[] = [];
    const { error, called, outcomes, executor } = await failureOf(
      sequential(parallel({ x: a, y: sequential(b, c), z: stage("endless") }), c),
      {
        a: hanging(ends),
        b: () => controller.abort(reason),
        endless,
      },
      { signal: controller.signal, costs: { a: 1, b: 2, c: 4, endless: 8 } },
    );
    expect(error).toBe(reason);
    expect(ends).toEqual([reason]);
    expect(called.toSorted()).toEqual(["a", "b", "endless"]);
    expect(outcomes.toSorted()).toEqual(["a aborted 1", "b aborted 2", "endless aborted 8"]);
    expect(executor.spentCents).toBe(11);
  });

  test("is not tried again by a Retry, and ends a remote stage", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    let requests = 0;
    let heard: AbortSignal | undefined;
    const send: RunOptions["fetch"] = (_url, { signal }) => {
      requests++;
      heard = signal;
      setTimeout(() => controller.abort(reason));
      return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    };
    const { error } = await failureOf(
      retry(remote("https://a.test/x"), 3),
      {},
      { signal: controller.signal, fetch: send },
    );
    expect(error).toBe(reason);
    expect(requests).toBe(1);
    expect(heard?.aborted).toBe(true);
  });

  test("aborted afterwards: no matter", async () => {
    const controller = new AbortController();
    const inner = stages({ a: 1 });
    const executor = new BudgetedExecutor(inner, new Map(), 0);
    await runComposition(a, null, executor, { signal: controller.signal });
    controller.abort();
    expect(inner.calls[0]?.context?.signal?.aborted).toBe(false);
  });
});

test("a stage that fails after its run is still given its cost back", async () => {
  let fail = (_: Error): void => {};
  const late = () =>
    new Promise((_, reject) => {
      fail = reject;
    });
  const options = { refundOnFailure: true };
  const costs = new Map([
    ["a", 60],
    ["b", 50],
  ]);
  const executor = new BudgetedExecutor(stages({ a: late }), costs, 100, options);
  await expect(runComposition(parallel({ x: a, y: b }), null, executor)).rejects.toMatchObject({
    stageId: "b",
  });
  expect(executor.spentCents).toBe(60);
  fail(new Error("too late"));
  await new Promise((resolve) => setTimeout(resolve));
  expect(executor.spentCents).toBe(0);
});

test("an observer that throws ends the run with what it throws, and no Retry takes it for the stage's failure", async () => {
  for (const table of [{ a: 1 }, { a: failing("stage") }]) {
    const observed: string[] = [];
    const onStage = ({ outcome }: StageTrace) => {
      observed.push(outcome);
      throw new Error("observer");
    };
    const { error, called } = await failureOf(retry(a, 3), table, { onStage });
    expect(error.message).toBe("observer");
    expect(called).toEqual(["a"]);
    expect(observed.length).toBe(1);
  }
});

describe("bad input rejects before anything runs", () => {
  const inner = stages({});
  const executor = new BudgetedExecutor(inner, new Map([["a", 1]]), 10);

  test.each<[string, unknown[], RegExp]>([
    ["no graph", [null, null, executor], /^root: must be an object with an op, got null$/],
    [
      "a bad node far below",
      [sequential(a, {} as CompositionNode), null, executor],
      /^root\.stages\[1\]\.op: /,
    ],
    ["no executor", [a, null, undefined], /executor must be a BudgetedExecutor, got undefined/],
    ["an executor without a budget", [a, null, inner], /executor must be a BudgetedExecutor/],
    ["a signal that is none", [a, null, executor, { signal: {} }], /signal must be an AbortSignal/],
    ["null for a signal", [a, null, executor, { signal: null }], /signal must be an AbortSignal, got null/],
    ["an observer that is none", [a, null, executor, { onStage: 1 }], /onStage must be a function/],
    ["a fetch that is none", [a, null, executor, { fetch: "x" }], /fetch must be a function/],
    ["a delay that is none", [a, null, executor, { delay: 5 }], /delay must be a function/],
  ])("%s", async (_name, parameters, message) => {
    await expect(runComposition(...(parameters as Parameters<typeof runComposition>))).rejects.toThrow(
      message,
    );
    expect(inner.calls).toEqual([]);
    expect(executor.spentCents).toBe(0);
  });
});
