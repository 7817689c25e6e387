// parseComposition: what it accepts, what it refuses and where it says so, and that no depth harms it.

import "purser";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  COMPOSITION_LIMITS,
  CompositionError,
  type CompositionNode,
  parseComposition,
} from "../../../src/execution/index.ts";
import { compositions, constant, nested, sequential, stage } from "../../support/compositions.ts";

function refusal(json: unknown): CompositionError {
  try {
    parseComposition(json);
  } catch (error) {
    if (error instanceof CompositionError) return error;
    throw error;
  }
  throw new Error("expected a refusal");
}

describe("accepts", () => {
  test("every random graph, and gives it back unchanged and frozen", () => {
    fc.assert(
      fc.property(compositions, (graph) => {
        const before = JSON.stringify(graph);
        const parsed = parseComposition(graph);
        expect(parsed).toEqual(graph);
        expect(JSON.stringify(graph)).toBe(before);
        expect(Object.isFrozen(parsed)).toBe(true);
        expect(parseComposition(before)).toEqual(JSON.parse(before));
      }),
      { numRuns: 200 },
    );
  });

  test("a node in a wrapper, with fields that nodes do not have", () => {
    const json = {
      description: "two of them",
      version: "0.1.0",
      root: { op: "Sequential", _comment: 1, stages: [{ op: "Stage", id: "a", _comment: "the first" }] },
    };
    expect(parseComposition(json)).toEqual(sequential(stage("a")));
    expect(parseComposition(JSON.stringify(json))).toEqual(sequential(stage("a")));
  });

  test("every field of every node, and null for a field that is left out", () => {
    const leaf = { op: "Const", value: { deep: [1, null] } };
    const json = {
      op: "Let",
      bindings: {
        a: { op: "Stage", id: "s", pinning: "both", config: { k: 1 } },
        b: { op: "RemoteStage", url: "http://localhost:8080", input: { kind: "Text" }, output: "Any" },
        c: { op: "Retry", stage: leaf, max_attempts: 3, delay_ms: 500 },
        d: { op: "Branch", predicate: leaf, if_true: leaf, if_false: leaf },
        e: { op: "Fanout", source: leaf, targets: [leaf] },
        f: { op: "Merge", sources: [leaf, leaf], target: leaf },
        g: { op: "Parallel", branches: {} },
      },
      body: { op: "Sequential", stages: [] },
    };
    expect(parseComposition(json)).toEqual(json);
    expect(parseComposition({ op: "Stage", id: "s", config: null })).toEqual(stage("s"));
    expect(parseComposition({ op: "Retry", stage: leaf, max_attempts: 1, delay_ms: null })).toEqual({
      op: "Retry",
      stage: leaf,
      max_attempts: 1,
    });
  });

  test("a later change of what was parsed changes nothing", () => {
    const config = { temperature: 0 };
    const json = { op: "Sequential", stages: [{ op: "Stage", id: "a", config }] };
    const graph = parseComposition(json);
    json.stages.push({ op: "Stage", id: "b", config });
    config.temperature = 1;
    expect(graph).toEqual(sequential(stage("a", { config: { temperature: 0 } })));
    expect(() => (graph as unknown as { stages: unknown[] }).stages.push(stage("c"))).toThrow(TypeError);
  });
});

describe("refuses, and names the place", () => {
  const deep = (node: unknown) => ({
    op: "Sequential",
    stages: [stage("a"), stage("b"), { op: "Parallel", branches: { x: node } }],
  });
  const leaf = { op: "Const", value: 0 };

  test.each<[unknown, string]>([
    [null, "root: must be an object with an op, got null"],
    [undefined, "root: must be an object with an op, got undefined"],
    [7, "root: must be an object with an op, got number"],
    [[], "root: must be an object with an op, got object"],
    [{}, "root.op: must be one of Stage, RemoteStage, Const, Sequential, "],
    [{ op: "stage" }, 'got string "stage"'],
    [{ op: "constructor" }, 'got string "constructor"'],
    [{ op: "__proto__" }, 'got string "__proto__"'],
    [{ root: 5 }, "root: must be an object with an op, got number"],
    ["{", "root: must be JSON: "],
    ["null", "root: must be an object with an op, got null"],
    [deep(5), "root.stages[2].branches.x: must be an object with an op, got number"],
    [deep({ op: "Stage" }), "root.stages[2].branches.x.id: must be a string, got undefined"],
    [deep({ op: "Stage", id: "" }), "root.stages[2].branches.x.id: must have 1 to 1024 characters, got 0"],
    [deep({ op: "Stage", id: "i".repeat(1_025) }), "must have 1 to 1024 characters, got 1025"],
    [
      deep({ op: "Stage", id: "a", pinning: "newest" }),
      'x.pinning: must be "signature" or "both", got string',
    ],
    [deep({ op: "Stage", id: "a", pinning: null }), 'x.pinning: must be "signature" or "both", got null'],
    [deep({ op: "Stage", id: "a", config: [] }), "x.config: must be an object, got object"],
    [deep({ op: "RemoteStage" }), "x.url: must be a string, got undefined"],
    [
      deep({ op: "RemoteStage", url: "/relative" }),
      "x.url: must be an absolute http or https URL, got string",
    ],
    [deep({ op: "RemoteStage", url: "file:///etc/passwd" }), "x.url: must be an absolute http or https URL"],
    [deep({ op: "RemoteStage", url: "https://" }), "x.url: must be an absolute http or https URL"],
    [
      deep({ op: "RemoteStage", url: `https://a/${"b".repeat(8_192)}` }),
      "x.url: must have 1 to 8192 characters, got 8202",
    ],
    [deep({ op: "Const" }), "x.value: must be present (null is a value), got undefined"],
    [deep({ op: "Sequential" }), "x.stages: must be an array, got undefined"],
    [deep({ op: "Sequential", stages: { 0: leaf, length: 1 } }), "x.stages: must be an array, got object"],
    [deep({ op: "Sequential", stages: [leaf, null] }), "x.stages[1]: must be an object with an op, got null"],
    [deep({ op: "Sequential", stages: new Array(3) }), "x.stages[0]: must be an object with an op"],
    [deep({ op: "Parallel", branches: [leaf] }), "x.branches: must be an object, got object"],
    [deep({ op: "Parallel", branches: { "a b": 1 } }), 'x.branches["a b"]: must be an object with an op'],
    [
      deep({ op: "Branch", predicate: leaf, if_true: leaf }),
      "x.if_false: must be an object with an op, got undefined",
    ],
    [deep({ op: "Fanout", source: leaf, targets: null }), "x.targets: must be an array, got null"],
    [deep({ op: "Merge", sources: leaf, target: leaf }), "x.sources: must be an array, got object"],
    [deep({ op: "Let", bindings: { a: leaf } }), "x.body: must be an object with an op, got undefined"],
    [deep({ op: "Let", bindings: null, body: leaf }), "x.bindings: must be an object, got null"],
    [deep({ op: "Retry", stage: leaf }), "x.max_attempts: must be a number, got undefined"],
    [
      deep({ op: "Retry", stage: leaf, max_attempts: 0 }),
      "x.max_attempts: must be an integer from 1 to 1000, got 0",
    ],
    [deep({ op: "Retry", stage: leaf, max_attempts: 1_001 }), "from 1 to 1000, got 1001"],
    [deep({ op: "Retry", stage: leaf, max_attempts: 1.5 }), "from 1 to 1000, got 1.5"],
    [
      deep({ op: "Retry", stage: leaf, max_attempts: "3" }),
      'x.max_attempts: must be a number, got string "3"',
    ],
    [
      deep({ op: "Retry", stage: leaf, max_attempts: 1, delay_ms: -1 }),
      "x.delay_ms: must be an integer from 0 to",
    ],
    [deep({ op: "Retry", stage: leaf, max_attempts: 1, delay_ms: 2 ** 31 }), "to 2147483647, got 2147483648"],
    [
      deep({ op: "Retry", stage: leaf, max_attempts: 1, delay_ms: "" }),
      'x.delay_ms: must be a number, got string ""',
    ],
    [
      deep({ op: "Retry", stage: leaf, max_attempts: 1, delay_ms: Number.NaN }),
      "x.delay_ms: must be an integer",
    ],
  ])("%j", (json, message) => {
    const error = refusal(json);
    expect(error.message).toContain(message);
    expect(error.message.startsWith(`${error.path}: `)).toBe(true);
    expect(error).toMatchObject({ code: "COMPOSITION_INVALID", name: "CompositionError" });
  });

  test("the first of several faults, in the order of the text", () => {
    const json = { op: "Fanout", source: { op: "Sequential", stages: [leaf, 1, 2] }, targets: [3] };
    expect(refusal(json).path).toBe("root.source.stages[1]");
  });

  test("a place that is very deep is shown with a gap", () => {
    const { path } = refusal(nested(1_000, 5 as never, (inner) => sequential(inner)));
    expect(path).toMatch(/^root(\.stages\[0\]){15}…\(969 more\)…(\.stages\[0\]){16}$/);
    expect(refusal(nested(31, 5 as never, (inner) => sequential(inner))).path).toBe(
      `root${".stages[0]".repeat(31)}`,
    );
  });

  test("a graph that contains itself", () => {
    const stages: unknown[] = [];
    const knot = { op: "Sequential", stages };
    stages.push(knot);
    expect(refusal(knot).message).toContain("the graph must have at most 200000 nodes");
  });
});

describe("keys that mean something to JavaScript", () => {
  test("__proto__ is a branch, a binding and a config field like any other", () => {
    const text = `{ "op": "Let",
      "bindings": { "__proto__": { "op": "Parallel", "branches": { "__proto__": { "op": "Const", "value": 1 } } } },
      "body": { "op": "Stage", "id": "a", "config": { "__proto__": { "polluted": true } } } }`;
    const graph = parseComposition(text);
    if (graph.op !== "Let" || graph.body.op !== "Stage") throw new Error("expected a Let with a Stage");
    expect(Object.keys(graph.bindings)).toEqual(["__proto__"]);
    expect(Object.keys(graph.body.config ?? {})).toEqual(["__proto__"]);
    expect(Object.getPrototypeOf(graph.bindings)).toBe(Object.prototype);
    expect((graph.body.config as { polluted?: boolean }).polluted).toBeUndefined();
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  test("fields that a node only inherits are not its own", () => {
    const inherited = Object.create({ op: "Const", value: 1 }) as object;
    expect(refusal(inherited).path).toBe("root.op");
    const text = `{ "op": "Sequential", "__proto__": { "stages": [] } }`;
    expect(refusal(text).path).toBe("root.stages");
  });
});

describe("limits", () => {
  const { nodesMax } = COMPOSITION_LIMITS;
  const wide = (leaves: number): CompositionNode => ({
    op: "Sequential",
    stages: Array.from({ length: leaves }, () => constant(0)),
  });

  test("as many nodes as allowed, and not one more", () => {
    const graph = parseComposition(wide(nodesMax - 1));
    expect(graph.op === "Sequential" && graph.stages.length).toBe(nodesMax - 1);
    expect(refusal(wide(nodesMax)).message).toBe(
      `root.stages: the graph must have at most ${nodesMax} nodes`,
    );
  });

  test("a sparse array of four billion elements is refused at once", () => {
    expect(refusal({ op: "Sequential", stages: new Array(2 ** 32 - 1) }).path).toBe("root.stages");
  });

  test("a text that is too long is not even read", () => {
    const text = " ".repeat(COMPOSITION_LIMITS.textLengthMax);
    expect(refusal(text).message).toContain("must be JSON");
    expect(refusal(`${text} `).message).toBe("root: must have at most 33554432 characters, got 33554433");
  });

  test.each<[string, string, string]>([
    ["Sequential", '{"op":"Sequential","stages":[', "]}"],
    ["Parallel", '{"op":"Parallel","branches":{"x":', "}}"],
    ["Retry", '{"op":"Retry","max_attempts":1,"stage":', "}"],
    ["Let", '{"op":"Let","bindings":{},"body":', "}"],
  ])("100,000 levels of %s", (_op, open, close) => {
    const text = `${open.repeat(100_000)}{"op":"Const","value":42}${close.repeat(100_000)}`;
    let node = parseComposition(text);
    let levels = 0;
    for (; node.op !== "Const"; levels++) {
      const inner =
        node.op === "Sequential"
          ? node.stages[0]
          : node.op === "Parallel"
            ? node.branches.x
            : node.op === "Retry"
              ? node.stage
              : node.op === "Let"
                ? node.body
                : undefined;
      if (inner === undefined) throw new Error(`expected a node below level ${levels}`);
      node = inner;
    }
    expect(levels).toBe(100_000);
    expect(node.value).toBe(42);
    const broken = `${open.repeat(100_000)}{"op":"Const"}${close.repeat(100_000)}`;
    expect(refusal(broken).message).toMatch(/\.value: must be present/);
  });
});
