// What a graph may cost, before it runs. Integers only; the one other value is infinity, which means "more than any
// budget can hold" and is what a denied cost is, too. Nothing here recurses.

import { checkAmount, checkObject, invalidType } from "../arguments.ts";
import { type CompositionNode, childrenOf, nodesOf, type StageId } from "./composition.ts";
import { checkedComposition } from "./parse-composition.ts";
import { declaredCost, findStage, type StageStore } from "./stage-store.ts";

/** The cost of what must not run because its cost is unknown: larger than every budget. */
export const COST_DENIED = Number.POSITIVE_INFINITY;

/** Whole cents a call, keyed by the id in the graph, for a remote stage by its URL. */
export type CostMap = ReadonlyMap<StageId, number>;

/** What a call costs whose cost is not known: nothing it may cost (`deny`), or so many cents. */
export type UnknownCost = "deny" | number;

export interface CostOptions {
  /**
   * What a stage counts for that the store does not know or that declares unknown effects and no cost, and every
   * remote stage. Default: nothing, they run free of charge.
   */
  readonly unknown?: UnknownCost;
  /** Free stages enter the map with 0, for executors that deny what is not in it. Default: they are left out. */
  readonly includeFree?: boolean;
}

export interface CostBounds {
  /** No run that yields an output costs less. */
  readonly minCents: number;
  /** No run costs more, whether it yields an output or fails. */
  readonly maxCents: number;
}

/**
 * What each stage of a graph costs a call.
 *
 * @returns a map of its own that may be added to: `costs.set("https://…", 12)` prices one remote stage. Should one id
 *   mean two stages (by signature here, by implementation there), the dearer one counts.
 * @throws CompositionError if `node` is no graph; RangeError, TypeError if a stage's cost is no amount
 */
export function buildCostMap(
  node: CompositionNode,
  store: StageStore,
  options: CostOptions = {},
): Map<StageId, number> {
  const graph = checkedComposition(node);
  checkStore(store);
  checkObject("options", options);
  const { unknown, includeFree = false } = options;
  if (typeof includeFree !== "boolean") throw invalidType("includeFree", "a boolean", includeFree);
  const unknownCents = unknown === undefined ? 0 : unknownCost("unknown", unknown);
  const costs = new Map<StageId, number>();
  const seen = new Set<string>();
  for (const { key, reference, find } of references(graph, store)) {
    if (seen.has(reference)) continue;
    seen.add(reference);
    const stage = find();
    const cents = (stage && declaredCost(stage)) ?? unknownCents;
    const counted = Math.max(cents, costs.get(key) ?? 0);
    if (counted > 0 || includeFree) costs.set(key, counted);
  }
  return costs;
}

/**
 * The least and the most that any run of a graph can cost; if `minCents` is beyond the budget, no run can end well.
 * Predicates are not evaluated: both ways of a Branch are possible. A Retry may succeed at once, and may fail up to its
 * last attempt. With `refundOnFailure` a run may cost less than without, never more.
 *
 * @returns whole cents; infinity for what is beyond 2^53−1, or denied
 * @throws like {@link buildCostMap}
 */
export function costBounds(node: CompositionNode, store: StageStore, options: CostOptions = {}): CostBounds {
  const graph = checkedComposition(node);
  return costBoundsOf(graph, buildCostMap(graph, store, options));
}

/** The bounds for costs that are given: what an executor with this map will charge. */
export function costBoundsOf(node: CompositionNode, costs: CostMap): CostBounds {
  const graph = checkedComposition(node);
  checkCosts("costs", costs);
  const bounds = new Map<CompositionNode, CostBounds>();
  const known = (child: CompositionNode): CostBounds => bounds.get(child) ?? FREE;
  // From the last node to the first: what stands below a node is known before the node itself.
  for (const current of nodesOf(graph).toReversed()) bounds.set(current, boundsOfNode(current, costs, known));
  return known(graph);
}

const FREE: CostBounds = { minCents: 0, maxCents: 0 };

function boundsOfNode(
  node: CompositionNode,
  costs: CostMap,
  known: (child: CompositionNode) => CostBounds,
): CostBounds {
  switch (node.op) {
    case "Stage":
      return exactly(costs.get(node.id));
    case "RemoteStage":
      return exactly(costs.get(node.url));
    case "Branch": {
      const [yes, no] = [known(node.if_true), known(node.if_false)];
      return sum(known(node.predicate), {
        minCents: Math.min(yes.minCents, no.minCents),
        maxCents: Math.max(yes.maxCents, no.maxCents),
      });
    }
    case "Retry": {
      const { minCents, maxCents } = known(node.stage);
      return { minCents, maxCents: times(node.max_attempts, maxCents) };
    }
    default:
      return childrenOf(node).map(known).reduce(sum, FREE);
  }
}

function exactly(cents = 0): CostBounds {
  return { minCents: cents, maxCents: cents };
}

function sum(a: CostBounds, b: CostBounds): CostBounds {
  return { minCents: plus(a.minCents, b.minCents), maxCents: plus(a.maxCents, b.maxCents) };
}

/** Compared before it is added: beyond 2^53 a sum would be rounded. */
function plus(a: number, b: number): number {
  return a > Number.MAX_SAFE_INTEGER - b ? COST_DENIED : a + b;
}

function times(count: number, cents: number): number {
  return cents > Math.floor(Number.MAX_SAFE_INTEGER / count) ? COST_DENIED : count * cents;
}

interface Reference {
  readonly key: StageId;
  /** Equal for references that find the same stage. */
  readonly reference: string;
  readonly find: () => ReturnType<typeof findStage>;
}

/** Every call that a graph can make. A remote stage is found nowhere: what it costs is its operator's to say. */
function* references(graph: CompositionNode, store: StageStore): Generator<Reference> {
  for (const node of nodesOf(graph)) {
    if (node.op === "RemoteStage") {
      yield { key: node.url, reference: `remote ${node.url}`, find: () => undefined };
    } else if (node.op === "Stage") {
      const { id, pinning = "signature" } = node;
      yield { key: id, reference: `${pinning} ${id}`, find: () => findStage(store, id, pinning) };
    }
  }
}

/** @throws TypeError unless `costs` is a map of ids to whole cents, or {@link COST_DENIED} */
export function checkCosts(argument: string, costs: unknown): asserts costs is CostMap {
  if (!(costs instanceof Map)) throw invalidType(argument, "a Map of ids to cents", costs);
  for (const [id, cents] of costs as Map<unknown, unknown>) {
    if (typeof id !== "string") throw invalidType(`a key of ${argument}`, "a string", id);
    if (cents !== COST_DENIED) checkAmount(`${argument}.get(${JSON.stringify(id)})`, cents);
  }
}

/** @throws TypeError, RangeError unless `unknown` is `deny` or an amount */
export function unknownCost(argument: string, unknown: unknown): number {
  if (unknown === "deny") return COST_DENIED;
  if (typeof unknown === "string") throw invalidType(argument, '"deny" or a number of cents', unknown);
  checkAmount(argument, unknown);
  return unknown;
}

function checkStore(store: unknown): asserts store is StageStore {
  const { get, getBySignature } = (store ?? {}) as Partial<StageStore>;
  if (typeof get !== "function" || typeof getBySignature !== "function") {
    throw invalidType("store", "a StageStore with get and getBySignature", store);
  }
}
