// Composition graphs for tests: short builders, stages that do as told, random graphs, and what a graph means, said a
// second time as plainly as possible.

import fc from "fast-check";
import type {
  CompositionNode,
  RemoteFetch,
  StageContext,
  StageExecutor,
  StageRecord,
} from "../../src/execution/index.ts";

export const stage = (id: string, fields: { pinning?: "signature" | "both"; config?: object } = {}) =>
  ({ op: "Stage", id, ...fields }) as CompositionNode;
export const remote = (url: string): CompositionNode => ({ op: "RemoteStage", url });
export const constant = (value: unknown): CompositionNode => ({ op: "Const", value });
export const sequential = (...stages: CompositionNode[]): CompositionNode => ({ op: "Sequential", stages });
export const parallel = (branches: Record<string, CompositionNode>): CompositionNode => ({
  op: "Parallel",
  branches,
});
export const branch = (
  predicate: CompositionNode,
  if_true: CompositionNode,
  if_false: CompositionNode,
): CompositionNode => ({ op: "Branch", predicate, if_true, if_false });
export const fanout = (source: CompositionNode, ...targets: CompositionNode[]): CompositionNode => ({
  op: "Fanout",
  source,
  targets,
});
export const merge = (sources: CompositionNode[], target: CompositionNode): CompositionNode => ({
  op: "Merge",
  sources,
  target,
});
export const retry = (node: CompositionNode, max_attempts: number, delay_ms?: number): CompositionNode => ({
  op: "Retry",
  stage: node,
  max_attempts,
  ...(delay_ms === undefined ? {} : { delay_ms }),
});
export const bind = (bindings: Record<string, CompositionNode>, body: CompositionNode): CompositionNode => ({
  op: "Let",
  bindings,
  body,
});

/** A stage that declares so many cents and an LLM; without cents it is pure. */
export function stageRecord(id: string, cents?: number, more: Partial<StageRecord> = {}): StageRecord {
  const effects: StageRecord["signature"]["effects"] =
    cents === undefined
      ? [{ effect: "Pure" }]
      : [
          { effect: "Cost", cents },
          { effect: "Llm", model: "gpt" },
        ];
  return { id, signature: { effects }, ...more };
}

export interface Call {
  readonly id: string;
  readonly input: unknown;
  readonly context: StageContext | undefined;
}

/** An executor of functions by id, which remembers its calls. A function may be a constant output. */
export function stages(table: Record<string, unknown>): StageExecutor & { readonly calls: Call[] } {
  const calls: Call[] = [];
  return {
    calls,
    execute(id, input, context) {
      calls.push({ id, input, context });
      const entry = Object.hasOwn(table, id) ? table[id] : undefined;
      return typeof entry === "function" ? entry(input, context) : entry;
    },
  };
}

/** A `fetch` that answers with `data.output` of what `answer` makes of url and input. */
export function remoteAnswering(answer: (url: string, input: unknown) => unknown): RemoteFetch {
  return async (url, { body }) => {
    const output = await answer(url, (JSON.parse(body) as { input: unknown }).input);
    return { ok: true, status: 200, text: async () => JSON.stringify({ ok: true, data: { output } }) };
  };
}

/** One value nested in `levels` nodes, built by a loop. */
export function nested(
  levels: number,
  leaf: CompositionNode,
  wrap: (inner: CompositionNode) => CompositionNode,
): CompositionNode {
  let node = leaf;
  for (let level = 0; level < levels; level++) node = wrap(node);
  return node;
}

/** The ids and URLs that random graphs call. */
export const STAGE_IDS = ["yes", "number", "fields", "same", "list", "text"] as const;
export const REMOTE_URLS = ["https://one.test/run", "https://two.test/run"] as const;

/** What the stages of random graphs yield: each a pure function of its input. */
export function outputOf(id: string, input: unknown): unknown {
  switch (id) {
    case "yes":
      return true;
    case "number":
      return digest(input);
    case "fields":
      return { a: digest(input), source_0: [id], b: null, __proto__: 1 };
    case "same":
      return input;
    case "list":
      return [digest(input), id];
    default:
      return `${id}:${digest(input)}`;
  }
}

function digest(value: unknown): number {
  let sum = 7;
  for (const character of JSON.stringify(value) ?? "undefined") {
    sum = (sum * 31 + (character.codePointAt(0) ?? 0)) % 1_000_003;
  }
  return sum;
}

const NAMES = ["a", "b", "source_0", "source_1", "__proto__", "two words"];
const name = fc.constantFrom(...NAMES);
const json = fc.constantFrom<unknown>(true, false, null, 0, "x", [1], { a: 1, source_1: { b: 2 } }, {});

/** A record whose keys are own properties, `__proto__` among them. */
function recordOf<T>(value: fc.Arbitrary<T>): fc.Arbitrary<Record<string, T>> {
  return fc
    .uniqueArray(fc.tuple(name, value), { maxLength: 3, selector: ([key]) => key })
    .map((entries) => Object.fromEntries(entries) as Record<string, T>);
}

/** Random graphs over STAGE_IDS and REMOTE_URLS: every kind of node, up to a few dozen of them. */
export const compositions: fc.Arbitrary<CompositionNode> = fc.letrec<{ node: CompositionNode }>((tie) => {
  const node = tie("node");
  const some = fc.array(node, { maxLength: 3 });
  return {
    node: fc.oneof(
      { maxDepth: 4, depthIdentifier: "composition" },
      { weight: 6, arbitrary: fc.constantFrom(...STAGE_IDS).map((id) => stage(id)) },
      {
        weight: 1,
        arbitrary: fc
          .tuple(fc.constantFrom(...STAGE_IDS), recordOf(json))
          .map(([id, config]) => stage(id, { config, pinning: "both" })),
      },
      { weight: 1, arbitrary: fc.constantFrom(...REMOTE_URLS).map(remote) },
      { weight: 2, arbitrary: json.map(constant) },
      { weight: 3, arbitrary: some.map((inner) => sequential(...inner)) },
      { weight: 3, arbitrary: recordOf(node).map(parallel) },
      { weight: 2, arbitrary: fc.tuple(node, node, node).map((three) => branch(...three)) },
      { weight: 1, arbitrary: fc.tuple(node, some).map(([source, targets]) => fanout(source, ...targets)) },
      { weight: 1, arbitrary: fc.tuple(some, node).map(([sources, target]) => merge(sources, target)) },
      {
        weight: 2,
        arbitrary: fc.tuple(node, fc.integer({ min: 1, max: 4 })).map(([inner, most]) => retry(inner, most)),
      },
      { weight: 1, arbitrary: fc.tuple(recordOf(node), node).map((both) => bind(...both)) },
    ),
  };
}).node;

/** What a graph yields when no stage fails, by recursion and without a clock. `visit` hears of each call. */
export function meaning(node: CompositionNode, input: unknown, visit: (id: string) => void): unknown {
  const again = (inner: CompositionNode, value: unknown) => meaning(inner, value, visit);
  const record = (value: unknown): value is Record<string, unknown> =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  const call = (id: string, value: unknown) => {
    visit(id);
    return outputOf(id, value);
  };
  switch (node.op) {
    case "Stage":
      return call(node.id, node.config && record(input) ? { ...input, ...node.config } : input);
    case "RemoteStage":
      // Through JSON, as over the wire.
      return JSON.parse(JSON.stringify(call(node.url, input === undefined ? null : input)));
    case "Const":
      return node.value;
    case "Sequential":
      return node.stages.reduce((value, inner) => again(inner, value), input);
    case "Parallel":
      return Object.fromEntries(
        Object.entries(node.branches).map(([key, inner]) => [
          key,
          again(inner, record(input) && Object.hasOwn(input, key) ? input[key] : input),
        ]),
      );
    case "Branch":
      return again(again(node.predicate, input) === true ? node.if_true : node.if_false, input);
    case "Fanout": {
      const value = again(node.source, input);
      return node.targets.map((target) => again(target, value));
    }
    case "Merge": {
      const outputs = node.sources.map((source, i) => {
        const key = `source_${i}`;
        const own = record(input) ? (Object.hasOwn(input, key) ? input[key] : null) : input;
        return [key, again(source, own)] as const;
      });
      return again(node.target, Object.fromEntries(outputs));
    }
    case "Retry":
      return again(node.stage, input);
    case "Let": {
      const bound = Object.entries(node.bindings).map(([key, inner]) => [key, again(inner, input)] as const);
      return again(node.body, { ...(record(input) ? input : {}), ...Object.fromEntries(bound) });
    }
  }
}
