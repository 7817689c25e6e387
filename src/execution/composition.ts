// The nodes of a composition graph in their JSON form, field names as in the files of noether.
// Invariant: data only, a tree; what came from `parseComposition` is frozen and within COMPOSITION_LIMITS.

/** A stage's id: of its signature or of one implementation, as the node's `pinning` says. */
export type StageId = string;

/**
 * How a stage's id is meant: `signature` is whatever implementation of that signature is active, `both` exactly the
 * implementation with that id.
 */
export type Pinning = "signature" | "both";

/** Calls a stage. `config` is laid over an input that is a record; any other input is handed on as it is. */
export interface StageNode {
  readonly op: "Stage";
  readonly id: StageId;
  /** Default: `signature`. */
  readonly pinning?: Pinning;
  readonly config?: { readonly [name: string]: unknown };
}

/** Posts `{ "input": … }` to `url` and yields `data.output` of the answer. The declared types are not looked at. */
export interface RemoteStageNode {
  readonly op: "RemoteStage";
  /** Absolute, http or https. Its cost is keyed by this text as it stands here. */
  readonly url: string;
  readonly input?: unknown;
  readonly output?: unknown;
}

/** Yields `value`, whatever the input. */
export interface ConstNode {
  readonly op: "Const";
  readonly value: unknown;
}

/** Feeds each stage's output to the next. Without stages it yields its input. */
export interface SequentialNode {
  readonly op: "Sequential";
  readonly stages: readonly CompositionNode[];
}

/**
 * Runs all branches at the same time and yields a record of their outputs. A branch gets `input[its name]` if the
 * input is a record with that key, else the whole input.
 */
export interface ParallelNode {
  readonly op: "Parallel";
  readonly branches: { readonly [name: string]: CompositionNode };
}

/** Runs `if_true` if the predicate yields the value `true`, and for everything else `if_false`, on the same input. */
export interface BranchNode {
  readonly op: "Branch";
  readonly predicate: CompositionNode;
  readonly if_true: CompositionNode;
  readonly if_false: CompositionNode;
}

/** Runs the source once, gives its output to all targets at the same time, and yields the array of their outputs. */
export interface FanoutNode {
  readonly op: "Fanout";
  readonly source: CompositionNode;
  readonly targets: readonly CompositionNode[];
}

/**
 * Runs all sources at the same time and feeds `{ source_0: …, source_1: … }` to the target. Source i gets the field
 * `source_i` of an input that is a record (null if it has none), else the whole input.
 */
export interface MergeNode {
  readonly op: "Merge";
  readonly sources: readonly CompositionNode[];
  readonly target: CompositionNode;
}

/** Tries up to `max_attempts` times. A refusal by the budget and an abort are not tried again. */
export interface RetryNode {
  readonly op: "Retry";
  readonly stage: CompositionNode;
  /** 1 … COMPOSITION_LIMITS.attemptsMax */
  readonly max_attempts: number;
  /** Milliseconds between two attempts. Default: none. */
  readonly delay_ms?: number;
}

/**
 * Runs all bindings at the same time on the input, then the body on the input record with the bindings' outputs laid
 * over it. An input that is no record leaves the bindings alone.
 */
export interface LetNode {
  readonly op: "Let";
  readonly bindings: { readonly [name: string]: CompositionNode };
  readonly body: CompositionNode;
}

export type CompositionNode =
  | StageNode
  | RemoteStageNode
  | ConstNode
  | SequentialNode
  | ParallelNode
  | BranchNode
  | FanoutNode
  | MergeNode
  | RetryNode
  | LetNode;

/** The nodes right below one, in the order of its fields. */
export function childrenOf(node: CompositionNode): readonly CompositionNode[] {
  switch (node.op) {
    case "Stage":
    case "RemoteStage":
    case "Const":
      return [];
    case "Sequential":
      return node.stages;
    case "Parallel":
      return Object.values(node.branches);
    case "Branch":
      return [node.predicate, node.if_true, node.if_false];
    case "Fanout":
      return [node.source, ...node.targets];
    case "Merge":
      return [...node.sources, node.target];
    case "Retry":
      return [node.stage];
    case "Let":
      return [...Object.values(node.bindings), node.body];
  }
}

/** Every node of a graph, each before those below it. Keeps its own stack, so that depth is no danger. */
export function nodesOf(root: CompositionNode): readonly CompositionNode[] {
  const nodes: CompositionNode[] = [];
  const pending: CompositionNode[] = [root];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    nodes.push(node);
    for (const child of childrenOf(node)) pending.push(child);
  }
  return nodes;
}

/** A JSON object: neither null nor an array. */
export function isRecord(value: unknown): value is { readonly [key: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
