// buildCostMap and costBounds: tables worked out by hand. That real runs stay within is in run-properties.test.ts.

import "purser";
import { describe, expect, test } from "vitest";
import {
  buildCostMap,
  COST_DENIED,
  type CompositionNode,
  costBounds,
  costBoundsOf,
  type Effect,
  MemoryStageStore,
  type StageRecord,
  type StageStore,
} from "../../../src/execution/index.ts";
import { BAD_AMOUNTS } from "../../support/arbitraries.ts";
import {
  bind,
  branch,
  constant,
  fanout,
  merge,
  nested,
  parallel,
  remote,
  retry,
  sequential,
  stage,
  stageRecord,
} from "../../support/compositions.ts";

const MAX = Number.MAX_SAFE_INTEGER;
const store = new MemoryStageStore([
  stageRecord("five", 5),
  stageRecord("seven", 7),
  stageRecord("eleven", 11),
  stageRecord("free"),
  stageRecord("most", MAX),
]);
const [five, seven, eleven, free] = [stage("five"), stage("seven"), stage("eleven"), stage("free")];

function withEffects(id: string, effects: readonly unknown[]): StageRecord {
  return { id, signature: { effects: effects as readonly Effect[] } };
}

describe("buildCostMap", () => {
  test("sums a stage's cost effects and looks at no other", () => {
    const one = withEffects("a", [
      { effect: "Cost", cents: 2 },
      { effect: "Network" },
      { effect: "Cost", cents: 0 },
      { effect: "Llm", model: "m", cents: 99 },
      { effect: "SomethingNew" },
      { effect: "Cost", cents: 3 },
    ]);
    expect(buildCostMap(stage("a"), new MemoryStageStore([one]))).toEqual(new Map([["a", 5]]));
  });

  test("finds stages below every kind of node", () => {
    const ids = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
    const all = new MemoryStageStore(ids.map((id, index) => stageRecord(id, index + 1)));
    const [a, b, c, d, e, f, g, h, i, j, k] = ids.map((id) => stage(id));
    const graph = sequential(
      parallel({ __proto__: constant(0), x: a as CompositionNode }),
      branch(b as CompositionNode, c as CompositionNode, d as CompositionNode),
      fanout(e as CompositionNode, f as CompositionNode),
      merge([g as CompositionNode], h as CompositionNode),
      retry(i as CompositionNode, 2),
      bind({ y: j as CompositionNode }, k as CompositionNode),
    );
    expect(buildCostMap(graph, all)).toEqual(new Map(ids.map((id, index) => [id, index + 1])));
  });

  test("a reference by signature finds the active implementation, one by `both` only its own id", () => {
    const signed = new MemoryStageStore([
      stageRecord("impl-1", 3, { signature_id: "sig", lifecycle: "Deprecated" }),
      stageRecord("impl-2", 4, { signature_id: "sig" }),
    ]);
    expect(buildCostMap(stage("sig"), signed)).toEqual(new Map([["sig", 4]]));
    expect(buildCostMap(stage("sig", { pinning: "signature" }), signed)).toEqual(new Map([["sig", 4]]));
    expect(buildCostMap(stage("sig", { pinning: "both" }), signed)).toEqual(new Map());
    expect(buildCostMap(stage("impl-1", { pinning: "both" }), signed)).toEqual(new Map([["impl-1", 3]]));
    expect(buildCostMap(stage("impl-1"), signed)).toEqual(new Map([["impl-1", 3]]));

    signed.put(stageRecord("impl-3", 6, { signature_id: "sig", lifecycle: "Active" }));
    expect(buildCostMap(stage("sig"), signed)).toEqual(new Map([["sig", 6]]));
    signed.put(stageRecord("impl-3", 6, { signature_id: "sig", lifecycle: { Deprecated: {} } }));
    expect(buildCostMap(stage("sig"), signed)).toEqual(new Map([["sig", 4]]));
  });

  test("of two stages that one id means the dearer counts", () => {
    const twice = new MemoryStageStore([
      stageRecord("id", 9, { signature_id: "other" }),
      stageRecord("impl", 2, { signature_id: "id" }),
    ]);
    const both = sequential(stage("id"), stage("id", { pinning: "both" }));
    expect(buildCostMap(stage("id"), twice)).toEqual(new Map([["id", 2]]));
    expect(buildCostMap(both, twice)).toEqual(new Map([["id", 9]]));
    expect(costBounds(both, twice)).toEqual({ minCents: 18, maxCents: 18 });
  });

  const unknowns = sequential(free, five, stage("missing"), remote("https://a.test/x"), stage("vague"));
  const vague: StageStore = new MemoryStageStore([
    stageRecord("five", 5),
    stageRecord("free"),
    withEffects("vague", [{ effect: "Unknown" }]),
  ]);

  test("what is unknown is free by default", () => {
    expect(buildCostMap(unknowns, vague)).toEqual(new Map([["five", 5]]));
  });

  test("or counts for so many cents, remote stages by their URL", () => {
    expect(buildCostMap(unknowns, vague, { unknown: 3 })).toEqual(
      new Map([
        ["five", 5],
        ["missing", 3],
        ["https://a.test/x", 3],
        ["vague", 3],
      ]),
    );
    expect(buildCostMap(unknowns, vague, { unknown: 0 })).toEqual(new Map([["five", 5]]));
  });

  test("or is denied: it costs more than every budget has", () => {
    const map = buildCostMap(unknowns, vague, { unknown: "deny" });
    expect([...map.entries()].filter(([, cents]) => cents === COST_DENIED).map(([id]) => id)).toEqual(
      expect.arrayContaining(["missing", "https://a.test/x", "vague"]),
    );
    expect(map.size).toBe(4);
  });

  test("unknown effects beside a cost are a known cost", () => {
    const known = new MemoryStageStore([
      withEffects("a", [{ effect: "Unknown" }, { effect: "Cost", cents: 4 }]),
      withEffects("b", [{ effect: "Unknown" }, { effect: "Cost", cents: 0 }]),
    ]);
    expect(buildCostMap(sequential(stage("a"), stage("b")), known, { unknown: "deny" })).toEqual(
      new Map([["a", 4]]),
    );
  });

  test("free stages can be included", () => {
    expect(buildCostMap(sequential(free, five), store, { includeFree: true })).toEqual(
      new Map([
        ["free", 0],
        ["five", 5],
      ]),
    );
  });
});

describe("costBounds", () => {
  test.each<[string, CompositionNode, number, number]>([
    ["a stage", five, 5, 5],
    ["a stage that nobody knows", stage("missing"), 0, 0],
    ["a constant", constant(1), 0, 0],
    ["nothing", sequential(), 0, 0],
    ["one after the other", sequential(five, seven, five), 17, 17],
    ["at the same time", parallel({ a: five, b: seven, c: free }), 12, 12],
    ["either way", branch(eleven, five, seven), 16, 18],
    ["either way, the other way round", branch(free, seven, constant(0)), 0, 7],
    ["fanned out", fanout(five, seven, seven), 19, 19],
    ["merged", merge([five, seven], eleven), 23, 23],
    ["three attempts", retry(five, 3), 5, 15],
    ["attempts of attempts", retry(retry(sequential(five, free), 3), 4), 5, 60],
    ["attempts of a branch", retry(branch(five, seven, constant(0)), 2), 5, 24],
    ["bound", bind({ a: five, b: retry(seven, 2) }, eleven), 23, 30],
    ["the same node twice", sequential(...Array.from({ length: 2 }, () => retry(five, 2))), 10, 20],
  ])("%s", (_name, graph, minCents, maxCents) => {
    expect(costBounds(graph, store)).toEqual({ minCents, maxCents });
    expect(costBoundsOf(graph, buildCostMap(graph, store))).toEqual({ minCents, maxCents });
  });

  const most = stage("most");

  test.each<[string, CompositionNode, number, number]>([
    ["the most that a budget can hold", most, MAX, MAX],
    ["one cent more", sequential(most, stage("one")), COST_DENIED, COST_DENIED],
    ["more only in the worst case", retry(most, 2), MAX, COST_DENIED],
    ["more on one way only", branch(constant(0), sequential(most, five), seven), 7, COST_DENIED],
    ["what is more already, again", sequential(most, most, most), COST_DENIED, COST_DENIED],
    ["many attempts at nothing", nested(3, constant(0), (inner) => retry(inner, 1_000)), 0, 0],
    ["just below", nested(5, stage("one"), (inner) => retry(inner, 1_000)), 1, 1e15],
    ["just above", nested(6, stage("one"), (inner) => retry(inner, 1_000)), 1, COST_DENIED],
  ])("beyond 2^53 nothing is rounded: %s", (_name, graph, minCents, maxCents) => {
    const large = new MemoryStageStore([
      stageRecord("most", MAX),
      stageRecord("one", 1),
      stageRecord("five", 5),
      stageRecord("seven", 7),
    ]);
    expect(costBounds(graph, large)).toEqual({ minCents, maxCents });
  });

  test("unknown costs count as asked for; a denied one only on its own way", () => {
    const graph = branch(five, remote("https://a.test/x"), seven);
    expect(costBounds(graph, store)).toEqual({ minCents: 5, maxCents: 12 });
    expect(costBounds(graph, store, { unknown: 20 })).toEqual({ minCents: 12, maxCents: 25 });
    expect(costBounds(graph, store, { unknown: "deny" })).toEqual({ minCents: 12, maxCents: COST_DENIED });
    expect(costBounds(stage("missing"), store, { unknown: "deny" })).toEqual({
      minCents: COST_DENIED,
      maxCents: COST_DENIED,
    });
  });

  test("prices that were added to the map count", () => {
    const graph = sequential(five, remote("https://a.test/x"));
    const costs = buildCostMap(graph, store).set("https://a.test/x", 12);
    expect(costBoundsOf(graph, costs)).toEqual({ minCents: 17, maxCents: 17 });
  });

  test("100,000 levels", () => {
    const deep = nested(100_000, five, (inner) => sequential(inner));
    expect(buildCostMap(deep, store)).toEqual(new Map([["five", 5]]));
    expect(costBounds(deep, store)).toEqual({ minCents: 5, maxCents: 5 });
  });
});

describe("bad input", () => {
  test.each(BAD_AMOUNTS)("%s is no cost", (value, errorClass) => {
    const bad = value as number;
    const record = withEffects("a", [{ effect: "Cost", cents: bad }]);
    const memory = new MemoryStageStore([stageRecord("a", 1)]);
    expect(() => memory.put(record)).toThrow(errorClass);
    expect(memory.get("a")).toEqual(stageRecord("a", 1));
    const lying: StageStore = { get: () => record, getBySignature: () => undefined };
    expect(() => buildCostMap(stage("a"), lying)).toThrow(/stage "a": effects\[0\]\.cents must be/);
    if (value !== undefined && value !== Number.POSITIVE_INFINITY) {
      expect(() => buildCostMap(stage("a"), store, { unknown: bad })).toThrow(errorClass);
      expect(() => costBoundsOf(stage("a"), new Map([["a", bad]]))).toThrow(errorClass);
    }
  });

  test("an infinite price for the unknown is spelled deny", () => {
    expect(() => buildCostMap(five, store, { unknown: COST_DENIED })).toThrow(RangeError);
    expect(() => buildCostMap(five, store, { unknown: "free" as "deny" })).toThrow(/"deny" or a number/);
  });

  test("free stages are wanted or not", () => {
    const options = { includeFree: "x" as unknown as boolean };
    expect(() => buildCostMap(five, store, options)).toThrow(/includeFree must be a boolean, got string "x"/);
  });

  test.each([[null], [7], [{}]])("%j holds no stage records", (stages) => {
    expect(() => new MemoryStageStore(stages as unknown as StageRecord[])).toThrow(
      /stages must be an iterable of stage records/,
    );
  });

  test("costs whose sum is no amount", () => {
    const effects = [
      { effect: "Cost", cents: MAX },
      { effect: "Cost", cents: 1 },
    ];
    expect(() => new MemoryStageStore([withEffects("a", effects)])).toThrow(/"a": effects: the sum of cents/);
  });

  test.each([[null], [undefined], [7], ["a"], [{}], [{ id: 1 }], [{ id: "" }], [{ id: "a" }]])(
    "%j is no stage record",
    (record) => {
      expect(() => new MemoryStageStore([record as StageRecord])).toThrow(/stage/);
    },
  );

  test("a stage record with bad effects or a bad signature id", () => {
    expect(() => new MemoryStageStore([withEffects("a", [null])])).toThrow(/effects\[0\] must be an effect/);
    const signed = stageRecord("a", 1, { signature_id: 7 as unknown as string });
    expect(() => new MemoryStageStore([signed])).toThrow(/stage.signature_id must be a string/);
  });

  test.each([[null], [undefined], [{}], [{ get: () => undefined }], [new Map()]])(
    "%j is no store",
    (value) => {
      expect(() => buildCostMap(five, value as unknown as StageStore)).toThrow(/store must be a StageStore/);
      expect(() => costBounds(five, value as unknown as StageStore)).toThrow(TypeError);
    },
  );

  test.each([[null], [{ op: "Nothing" }], [7]])("%j is no graph", (value) => {
    const bad = value as unknown as CompositionNode;
    for (const call of [
      () => buildCostMap(bad, store),
      () => costBounds(bad, store),
      () => costBoundsOf(bad, new Map()),
    ]) {
      expect(call).toThrow(expect.objectContaining({ code: "COMPOSITION_INVALID" }));
    }
  });

  test.each([[null], [{}], [[["a", 1]]], [new Map([[1, 1]])]])("%j is no cost map", (value) => {
    expect(() => costBoundsOf(five, value as unknown as Map<string, number>)).toThrow(TypeError);
  });
});
