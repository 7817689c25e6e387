// runComposition when all goes well: what each node means, what is charged, what is told.

import "purser";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  BudgetedExecutor,
  buildCostMap,
  type CompositionNode,
  MemoryStageStore,
  parseComposition,
  type RunOptions,
  runComposition,
  type StageTrace,
} from "../../../src/execution/index.ts";
import {
  bind,
  branch,
  compositions,
  constant,
  fanout,
  meaning,
  merge,
  nested,
  outputOf,
  parallel,
  REMOTE_URLS,
  remote,
  remoteAnswering,
  retry,
  STAGE_IDS,
  sequential,
  stage,
  stageRecord,
  stages,
} from "../../support/compositions.ts";

/** Runs a graph with stages that cost nothing. */
async function outputOfRun(graph: CompositionNode, input: unknown, table: Record<string, unknown> = {}) {
  using executor = new BudgetedExecutor(stages(table), new Map(), 0);
  return (await runComposition(graph, input, executor)).output;
}

/** A stage that shows what it was given. */
const shown = { show: (input: unknown) => ({ shown: input }) };
const show = stage("show");

describe("the nodes", () => {
  const record = { a: 1, b: { c: 2 }, source_0: "first" };

  test.each<[string, CompositionNode, unknown, unknown]>([
    ["Stage gets the input as it is", show, [1, 2], { shown: [1, 2] }],
    [
      "Stage lays its config over a record",
      stage("show", { config: { a: 9, d: 4 } }),
      record,
      { shown: { ...record, a: 9, d: 4 } },
    ],
    ["Stage leaves any other input alone", stage("show", { config: { a: 9 } }), [1], { shown: [1] }],
    ["Stage leaves null alone", stage("show", { config: { a: 9 } }), null, { shown: null }],
    ["Const ignores its input", constant({ k: [1] }), record, { k: [1] }],
    ["Const may be null", constant(null), record, null],
    ["Sequential feeds each output on", sequential(show, show), 1, { shown: { shown: 1 } }],
    ["Sequential of nothing yields its input", sequential(), record, record],
    [
      "Parallel gives a branch its own field, or everything",
      parallel({ a: show, x: show }),
      record,
      { a: { shown: 1 }, x: { shown: record } },
    ],
    [
      "Parallel gives everybody an input that is no record",
      parallel({ 0: show, length: show }),
      ["zero"],
      { 0: { shown: ["zero"] }, length: { shown: ["zero"] } },
    ],
    ["Parallel finds own fields only", parallel({ toString: show }), {}, { toString: { shown: {} } }],
    ["Parallel hands on a field that is null", parallel({ a: show }), { a: null }, { a: { shown: null } }],
    ["Parallel of nothing", parallel({}), record, {}],
    ["Branch takes if_true for true", branch(constant(true), show, constant(0)), 5, { shown: 5 }],
    ["Branch takes if_false for false", branch(constant(false), constant(0), show), 5, { shown: 5 }],
    ["Branch asks its predicate about the input", branch(sequential(), constant("yes"), show), true, "yes"],
    [
      "Fanout gives the source's output to all",
      fanout(show, show, constant(0)),
      1,
      [{ shown: { shown: 1 } }, 0],
    ],
    ["Fanout to nobody", fanout(show), 1, []],
    [
      "Merge gives source i its field, or null",
      merge([show, show], show),
      record,
      { shown: { source_0: { shown: "first" }, source_1: { shown: null } } },
    ],
    [
      "Merge gives every source an input that is no record",
      merge([show, constant(2)], show),
      [1],
      { shown: { source_0: { shown: [1] }, source_1: 2 } },
    ],
    ["Merge of nothing", merge([], show), record, { shown: {} }],
    ["Retry that succeeds at once", retry(show, 3), 1, { shown: 1 }],
    [
      "Let lays its bindings over the outer record",
      bind({ a: show, z: constant(0) }, show),
      record,
      { shown: { ...record, a: { shown: record }, z: 0 } },
    ],
    ["Let on an input that is no record", bind({ a: show }, show), [1], { shown: { a: { shown: [1] } } }],
    ["Let of nothing", bind({}, show), record, { shown: record }],
  ])("%s", async (_name, graph, input, output) => {
    expect(await outputOfRun(graph, input, shown)).toEqual(output);
    expect(await outputOfRun(parseComposition(JSON.stringify(graph)), input, shown)).toEqual(output);
  });

  test.each(["true", 1, null, undefined, {}, [true]])("Branch takes if_false for %j", async (value) => {
    expect(await outputOfRun(branch(stage("p"), constant(1), constant(2)), null, { p: value })).toBe(2);
  });

  test("Fanout runs its source once", async () => {
    const inner = stages({ source: 1, target: 2 });
    const executor = new BudgetedExecutor(inner, new Map(), 0);
    await runComposition(fanout(stage("source"), stage("target"), stage("target")), 0, executor);
    expect(inner.calls.map(({ id, input }) => [id, input])).toEqual([
      ["source", 0],
      ["target", 1],
      ["target", 1],
    ]);
  });

  test("branches, targets, sources and bindings run at the same time", async () => {
    for (const together of [
      (a: CompositionNode, b: CompositionNode) => parallel({ a, b }),
      (a: CompositionNode, b: CompositionNode) => fanout(constant(0), a, b),
      (a: CompositionNode, b: CompositionNode) => merge([a, b], constant(0)),
      (a: CompositionNode, b: CompositionNode) => bind({ a, b }, constant(0)),
    ]) {
      let begun = 0;
      let meet = (): void => {};
      const met = new Promise<void>((resolve) => {
        meet = resolve;
      });
      // Each waits for the other: one after the other they would never end.
      const wait = () => {
        if (++begun === 2) meet();
        return met;
      };
      await outputOfRun(together(stage("wait"), stage("wait")), null, { wait });
    }
  });

  test("a stage hears how its id is meant, and may be aborted", async () => {
    const inner = stages({ a: 1 });
    const executor = new BudgetedExecutor(inner, new Map(), 0);
    await runComposition(sequential(stage("a"), stage("a", { pinning: "both" })), null, executor);
    expect(inner.calls.map(({ context }) => context?.pinning)).toEqual(["signature", "both"]);
    expect(inner.calls[0]?.context?.signal).toBeInstanceOf(AbortSignal);
    expect(inner.calls[0]?.context?.signal?.aborted).toBe(false);
  });

  test("inputs are not changed, and __proto__ is a name like any other", async () => {
    const input = Object.freeze(JSON.parse('{ "__proto__": 1, "a": 2 }') as object);
    const graph = parseComposition(`{ "op": "Let",
      "bindings": { "__proto__": { "op": "Parallel", "branches": { "__proto__": { "op": "Stage", "id": "show" } } } },
      "body": { "op": "Stage", "id": "show", "config": { "__proto__": { "polluted": 1 } } } }`);
    const output = (await outputOfRun(graph, input, { show: (value: unknown) => value })) as object;
    expect(Object.entries(output)).toEqual([
      ["__proto__", { polluted: 1 }],
      ["a", 2],
    ]);
    expect(Object.getPrototypeOf(output)).toBe(Object.prototype);
    expect("polluted" in output || "polluted" in {}).toBe(false);
  });
});

describe("remote stages", () => {
  const url = "https://remote.test/v1/run?x=1";

  async function answer(status: number, text: string | (() => never)) {
    const requests: unknown[] = [];
    const send: RunOptions["fetch"] = async (...request) => {
      requests.push(...request);
      return {
        ok: status >= 200 && status < 300,
        status,
        text: async () => (typeof text === "string" ? text : text()),
      };
    };
    using executor = new BudgetedExecutor(stages({}), new Map([[url, 3]]), 10);
    const run = runComposition(remote(url), { city: "Graz" }, executor, { fetch: send });
    const ending = await run.then(
      ({ output }) => ({ output }),
      (error: unknown) => ({ error }),
    );
    return { ...ending, requests, spentCents: executor.spentCents };
  }

  test("are posted the input, paid for by their URL, and answer with data.output", async () => {
    const { output, requests, spentCents } = (await answer(
      200,
      '{"ok":true,"data":{"output":[1,{"a":null}]}}',
    )) as {
      output?: unknown;
      requests: unknown[];
      spentCents: number;
    };
    expect(output).toEqual([1, { a: null }]);
    expect(requests[0]).toBe(url);
    expect(requests[1]).toMatchObject({
      method: "POST",
      body: '{"input":{"city":"Graz"}}',
      headers: { "content-type": "application/json" },
    });
    expect((requests[1] as { signal: unknown }).signal).toBeInstanceOf(AbortSignal);
    expect(spentCents).toBe(3);
  });

  test("an output of null is an output", async () => {
    expect(await answer(200, '{"data":{"output":null}}')).toMatchObject({ output: null });
  });

  test.each<[string, number, string | (() => never), object]>([
    [
      "no 2xx",
      503,
      '{"error":"no such stage"}',
      { status: 503, message: /HTTP status 503, "no such stage"$/ },
    ],
    ["no 2xx, and no JSON", 500, "<html>", { status: 500, message: /HTTP status 500$/ }],
    ["no JSON", 200, "<html>", { status: 200, message: /no JSON object/ }],
    ["no object", 200, "[]", { message: /no JSON object/ }],
    ["no data", 200, "{}", { message: /no data.output/ }],
    ["no output", 200, '{"data":{}}', { message: /no data.output/ }],
    ["an output of __proto__", 200, '{"data":{"__proto__":{"output":1}}}', { message: /no data.output/ }],
    ["ok: false", 200, '{"ok":false,"error":"busy","data":{"output":1}}', { message: /ok: false, "busy"/ }],
    [
      "an answer that breaks off",
      200,
      () => {
        throw new TypeError("terminated");
      },
      { status: 200, message: /terminated/ },
    ],
  ])("fail on %s", async (_name, status, text, expected) => {
    const { error, spentCents } = (await answer(status, text)) as { error?: Error; spentCents: number };
    const { message, ...fields } = expected as { message: RegExp };
    expect(error).toMatchObject({ code: "REMOTE_STAGE_FAILED", url, ...fields });
    expect(error?.message).toMatch(message);
    expect(spentCents).toBe(3);
  });

  test("fail when nobody is reached, with the cause", async () => {
    const cause = new TypeError("fetch failed");
    const executor = new BudgetedExecutor(stages({}), new Map(), 0);
    const run = runComposition(remote(url), 1, executor, { fetch: () => Promise.reject(cause) });
    await expect(run).rejects.toMatchObject({ code: "REMOTE_STAGE_FAILED", cause, status: undefined });
  });

  test("no input is posted as null", async () => {
    const executor = new BudgetedExecutor(stages({}), new Map(), 0);
    const echo = remoteAnswering((_url, input) => ({ got: input }));
    expect((await runComposition(remote(url), undefined, executor, { fetch: echo })).output).toEqual({
      got: null,
    });
  });
});

describe("money", () => {
  const costs = new Map([
    ["a", 5],
    ["b", 7],
  ]);

  test("the same stage in several places is charged in each, and a run tells its own costs", async () => {
    const executor = new BudgetedExecutor(stages({}), costs, 100);
    const graph = sequential(stage("a"), parallel({ x: stage("a"), y: stage("b") }));
    const first = await runComposition(graph, null, executor);
    const second = await runComposition(graph, null, executor);
    expect([first.spentCents, second.spentCents, executor.spentCents]).toEqual([17, 17, 34]);
  });

  test("only the way that is taken is charged", async () => {
    const executor = new BudgetedExecutor(stages({}), costs, 100);
    const graph = branch(constant(true), stage("a"), stage("b"));
    expect((await runComposition(graph, null, executor)).spentCents).toBe(5);
  });

  test("every attempt is charged, or only the last if failures are given back", async () => {
    for (const [refundOnFailure, spentCents] of [
      [false, 15],
      [true, 5],
    ] as const) {
      let attempts = 0;
      const flaky = () => {
        if (++attempts < 3) throw new Error(`attempt ${attempts}`);
        return attempts;
      };
      const executor = new BudgetedExecutor(stages({ a: flaky }), costs, 100, { refundOnFailure });
      const run = await runComposition(retry(stage("a"), 5), null, executor);
      expect(run).toMatchObject({ output: 3, spentCents });
      expect(executor.spentCents).toBe(spentCents);
      expect(run.trace.map(({ outcome, costCents }) => [outcome, costCents])).toEqual([
        ["failed", refundOnFailure ? 0 : 5],
        ["failed", refundOnFailure ? 0 : 5],
        ["ok", 5],
      ]);
    }
  });

  test("trace and onStage tell of every call: where, what, how much, how it ended", async () => {
    const told: StageTrace[] = [];
    const executor = new BudgetedExecutor(stages({}), costs, 100);
    const graph = sequential(
      stage("a"),
      parallel({ "x y": retry(stage("b"), 2), z: constant(0) }),
      stage("free"),
    );
    const run = await runComposition(graph, null, executor, { onStage: (entry) => told.push(entry) });
    expect(run.trace).toEqual([
      { path: "root.stages[0]", stageId: "a", costCents: 5, outcome: "ok" },
      { path: 'root.stages[1].branches["x y"].stage', stageId: "b", costCents: 7, outcome: "ok" },
      { path: "root.stages[2]", stageId: "free", costCents: 0, outcome: "ok" },
    ]);
    expect(told).toEqual(run.trace);
  });
});

test("random graphs yield and cost what the plain reading of them says", async () => {
  const ids = [...STAGE_IDS, ...REMOTE_URLS];
  await fc.assert(
    fc.asyncProperty(
      compositions,
      fc.constantFrom<unknown>(null, 1, "x", [1], {}, { a: 1, source_1: 2, b: { a: 3 } }),
      fc.array(fc.integer({ min: 0, max: 30 }), { minLength: ids.length, maxLength: ids.length }),
      async (graph, input, prices) => {
        const price = new Map(ids.map((id, index) => [id as string, prices[index] ?? 0]));
        const store = new MemoryStageStore(STAGE_IDS.map((id) => stageRecord(id, price.get(id))));
        const costs = buildCostMap(graph, store);
        for (const url of REMOTE_URLS) costs.set(url, price.get(url) ?? 0);
        using executor = new BudgetedExecutor(
          { execute: async (id, value) => outputOf(id, value) },
          costs,
          1_000_000,
        );
        const run = await runComposition(graph, input, executor, { fetch: remoteAnswering(outputOf) });
        const visits: string[] = [];
        expect(run.output).toEqual(meaning(graph, input, (id) => visits.push(id)));
        expect(run.trace.map(({ stageId }) => stageId).sort()).toEqual(visits.sort());
        expect(run.spentCents).toBe(visits.reduce((total, id) => total + (price.get(id) ?? 0), 0));
        expect(executor.spentCents).toBe(run.spentCents);
      },
    ),
    { numRuns: 300 },
  );
});

describe("depth harms no stack", () => {
  const leaf = stage("leaf");

  // Any recursion breaks long before 20,000 levels.
  test.each<[number, string, (inner: CompositionNode) => CompositionNode, readonly string[]]>([
    [20_000, "Sequential", (inner) => sequential(inner), []],
    [20_000, "Parallel", (inner) => parallel({ x: inner }), ["x"]],
    [20_000, "Branch", (inner) => branch(constant(true), inner, constant(0)), []],
    [20_000, "Fanout", (inner) => fanout(constant(0), inner), ["0"]],
    [20_000, "Merge", (inner) => merge([constant(0)], inner), []],
    [20_000, "Retry", (inner) => retry(inner, 2), []],
    [20_000, "Let", (inner) => bind({}, inner), []],
  ])("%i levels of %s run, fail and are aborted", async (levels, _op, wrap, keys) => {
    const graph = parseComposition(nested(levels, leaf, wrap));
    const executor = new BudgetedExecutor(stages({ leaf: 1 }), new Map([["leaf", 2]]), 3);
    const run = await runComposition(graph, null, executor);
    expect(run.spentCents).toBe(2);
    expect(Object.keys(Object(run.output))).toEqual(keys);
    await expect(runComposition(graph, null, executor)).rejects.toMatchObject({ code: "BUDGET_EXCEEDED" });

    const controller = new AbortController();
    const abort = () => {
      controller.abort(new Error("enough"));
      return new Promise(() => {});
    };
    const stuck = new BudgetedExecutor(stages({ leaf: abort }), new Map(), 0);
    const { signal } = controller;
    await expect(runComposition(graph, null, stuck, { signal })).rejects.toThrow("enough");
  });

  test("a Retry at the bottom waits and is aborted below 20,000 groups", async () => {
    const controller = new AbortController();
    const delay = () => {
      controller.abort(new Error("enough"));
      return new Promise(() => {});
    };
    const broken = () => Promise.reject(new Error("again"));
    const graph = nested(20_000, retry(leaf, 2, 1), (inner) => parallel({ x: inner }));
    const executor = new BudgetedExecutor(stages({ leaf: broken }), new Map(), 0);
    const { signal } = controller;
    await expect(runComposition(graph, null, executor, { signal, delay })).rejects.toThrow("enough");
  });
});

test("a run that is aborted between two attempts leaves no timer behind", async () => {
  const timers = new Set<unknown>();
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  const controller = new AbortController();
  globalThis.setTimeout = ((call: () => void, ms: number) => {
    const timer = set(call, ms);
    timers.add(timer);
    queueMicrotask(() => controller.abort(new Error("enough")));
    return timer;
  }) as typeof setTimeout;
  globalThis.clearTimeout = ((timer?: ReturnType<typeof setTimeout>) => {
    timers.delete(timer);
    clear(timer);
  }) as typeof clearTimeout;
  try {
    const broken = () => Promise.reject(new Error("again"));
    using executor = new BudgetedExecutor(stages({ leaf: broken }), new Map(), 0);
    const { signal } = controller;
    const run = runComposition(retry(stage("leaf"), 2, 600_000), null, executor, { signal });
    await expect(run).rejects.toThrow("enough");
    expect(timers.size).toBe(0);
  } finally {
    globalThis.setTimeout = set;
    globalThis.clearTimeout = clear;
  }
});
