// JSON → composition graph. Checks every field, names the place of what is wrong, and changes nothing that it reads.
// Invariant: no recursion, whatever the depth; own properties only, so that neither a polluted prototype nor a key
// `__proto__` can pass for a field; the result is a frozen tree of at most nodesMax nodes.

import { invalidInteger, invalidType } from "../arguments.ts";
import { type CompositionNode, isRecord } from "./composition.ts";
import { CompositionError } from "./errors.ts";
import { type GraphPath, ROOT_PATH } from "./graph-path.ts";
import { COMPOSITION_LIMITS } from "./limits.ts";

/** Which fields of a node hold nodes, and in which shape. */
const CHILD_FIELDS: ReadonlyMap<unknown, readonly (readonly [field: string, shape: Shape])[]> = new Map<
  CompositionNode["op"],
  readonly (readonly [field: string, shape: Shape])[]
>([
  ["Stage", []],
  ["RemoteStage", []],
  ["Const", []],
  ["Sequential", [["stages", "list"]]],
  ["Parallel", [["branches", "record"]]],
  [
    "Branch",
    [
      ["predicate", "node"],
      ["if_true", "node"],
      ["if_false", "node"],
    ],
  ],
  [
    "Fanout",
    [
      ["source", "node"],
      ["targets", "list"],
    ],
  ],
  [
    "Merge",
    [
      ["sources", "list"],
      ["target", "node"],
    ],
  ],
  ["Retry", [["stage", "node"]]],
  [
    "Let",
    [
      ["bindings", "record"],
      ["body", "node"],
    ],
  ],
]);

type Shape = "node" | "list" | "record";
type Fields = { readonly [field: string]: unknown };

/** A node still to be read, and where it goes. */
interface Pending {
  readonly value: unknown;
  readonly path: GraphPath;
  readonly parent: object;
  readonly key: string | number;
}

/** Graphs that this module made: they need not be checked again. */
const parsed = new WeakSet<object>();

/**
 * Reads a composition graph.
 *
 * @param json - a node, or `{ description, version, root }` around one; as a value, or as JSON text. Fields that a
 *   node does not have, such as `_comment`, are left out. Constants and configs are taken as they are, not copied.
 * @returns the graph, frozen
 * @throws CompositionError that begins with the place of what is wrong, `root.stages[2].branches.x: …`
 */
export function parseComposition(json: unknown): CompositionNode {
  const value = typeof json === "string" ? parseText(json) : json;
  const wrapped = isRecord(value) && !Object.hasOwn(value, "op") && Object.hasOwn(value, "root");
  const graph = new CompositionReader().read(wrapped ? value.root : value);
  parsed.add(graph);
  return graph;
}

/** The same graph if `parseComposition` made it, else what it makes of it. For functions that are handed a graph. */
export function checkedComposition(node: CompositionNode): CompositionNode {
  return typeof node === "object" && node !== null && parsed.has(node) ? node : parseComposition(node);
}

function parseText(text: string): unknown {
  const { textLengthMax } = COMPOSITION_LIMITS;
  if (text.length > textLengthMax) {
    throw new CompositionError("root", `must have at most ${textLengthMax} characters, got ${text.length}`);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CompositionError("root", `must be JSON: ${error instanceof Error ? error.message : error}`);
  }
}

class CompositionReader {
  readonly #pending: Pending[] = [];
  readonly #made: object[] = [];
  #nodes = 1;

  read(value: unknown): CompositionNode {
    const root = this.#readNode(value, ROOT_PATH);
    for (let next = this.#pending.pop(); next !== undefined; next = this.#pending.pop()) {
      setOwn(next.parent, next.key, this.#readNode(next.value, next.path));
    }
    for (const object of this.#made) Object.freeze(object);
    // Every field of every node was read by its type's own rules, below.
    return root as CompositionNode;
  }

  #readNode(value: unknown, path: GraphPath): object {
    if (!isRecord(value)) return refuse(path, "an object with an op", value);
    const op = own(value, "op");
    const fields = CHILD_FIELDS.get(op);
    if (fields === undefined)
      return refuse(path.at("op"), `one of ${[...CHILD_FIELDS.keys()].join(", ")}`, op);
    const node = { op, ...readOwnFields(op, value, path) };
    this.#made.push(node);
    const below: Pending[] = [];
    for (const [field, shape] of fields) {
      this.#readField({ value: own(value, field), path, parent: node, key: field }, shape, below);
    }
    // The last is taken up first: turned round, errors are found in the order of the text.
    for (const pending of below.reverse()) this.#pending.push(pending);
    return node;
  }

  /** Puts the field's container in place, and what it is to hold on the list of nodes below. */
  #readField(field: Pending & { readonly key: string }, shape: Shape, below: Pending[]): void {
    const { value, path, parent, key } = field;
    const place = path.at(key);
    if (shape === "node") {
      this.#count(1, place);
      setOwn(parent, key, undefined);
      below.push({ ...field, path: place });
      return;
    }
    const container: object = shape === "list" ? [] : {};
    const keys = shape === "list" ? this.#indexes(value, place) : names(value, place);
    this.#count(keys.length, place);
    setOwn(parent, key, container);
    this.#made.push(container);
    for (const inner of keys) {
      setOwn(container, inner, undefined);
      below.push({
        value: (value as { readonly [inner: string | number]: unknown })[inner],
        path: path.at(key, inner),
        parent: container,
        key: inner,
      });
    }
  }

  /** Counts before it lists, so that a sparse array of four billion elements costs nothing. */
  #indexes(value: unknown, place: GraphPath): readonly number[] {
    if (!Array.isArray(value)) return refuse(place, "an array", value);
    this.#check(value.length, place);
    return Array.from(value, (_, index) => index);
  }

  #count(nodes: number, place: GraphPath): void {
    this.#check(nodes, place);
    this.#nodes += nodes;
  }

  #check(nodes: number, place: GraphPath): void {
    const { nodesMax } = COMPOSITION_LIMITS;
    if (this.#nodes + nodes > nodesMax) {
      throw new CompositionError(`${place}`, `the graph must have at most ${nodesMax} nodes`);
    }
  }
}

function names(value: unknown, place: GraphPath): readonly string[] {
  return isRecord(value) ? Object.keys(value) : refuse(place, "an object", value);
}

/** The fields of a node that hold no nodes. */
function readOwnFields(op: unknown, value: Fields, path: GraphPath): object {
  switch (op) {
    case "Stage":
      return {
        id: readText(value, "id", path, COMPOSITION_LIMITS.stageIdLengthMax),
        ...optional("pinning", readPinning(value, path)),
        ...optional("config", readConfig(value, path)),
      };
    case "RemoteStage":
      return {
        url: readUrl(value, path),
        ...optional("input", own(value, "input")),
        ...optional("output", own(value, "output")),
      };
    case "Const":
      if (!Object.hasOwn(value, "value")) refuse(path.at("value"), "present (null is a value)", undefined);
      return { value: value.value };
    case "Retry": {
      const { attemptsMax, delayMsMax } = COMPOSITION_LIMITS;
      const delayMs = own(value, "delay_ms") ?? undefined;
      return {
        max_attempts: readInteger(own(value, "max_attempts"), path.at("max_attempts"), 1, attemptsMax),
        ...(delayMs === undefined
          ? {}
          : { delay_ms: readInteger(delayMs, path.at("delay_ms"), 0, delayMsMax) }),
      };
    }
    default:
      return {};
  }
}

function readText(value: Fields, field: string, path: GraphPath, lengthMax: number): string {
  const text = own(value, field);
  if (typeof text !== "string") return refuse(path.at(field), "a string", text);
  if (text.length < 1 || text.length > lengthMax) {
    throw new CompositionError(
      `${path.at(field)}`,
      `must have 1 to ${lengthMax} characters, got ${text.length}`,
    );
  }
  return text;
}

function readPinning(value: Fields, path: GraphPath): unknown {
  const pinning = own(value, "pinning");
  if (pinning === undefined || pinning === "signature" || pinning === "both") return pinning;
  return refuse(path.at("pinning"), '"signature" or "both"', pinning);
}

/** Null stands for none, as serialisers of optional fields write it. */
function readConfig(value: Fields, path: GraphPath): object | undefined {
  const config = own(value, "config") ?? undefined;
  if (config === undefined) return undefined;
  if (!isRecord(config)) return refuse(path.at("config"), "an object", config);
  return Object.freeze({ ...config });
}

function readUrl(value: Fields, path: GraphPath): string {
  const url = readText(value, "url", path, COMPOSITION_LIMITS.urlLengthMax);
  if (!/^https?:\/\//i.test(url) || !URL.canParse(url)) {
    return refuse(path.at("url"), "an absolute http or https URL", url);
  }
  return url;
}

function readInteger(value: unknown, place: GraphPath, low: number, high: number): number {
  if (!Number.isSafeInteger(value) || (value as number) < low || (value as number) > high) {
    throw new CompositionError(`${place}`, invalidInteger("", value, low, high).message.trimStart());
  }
  return value as number;
}

function refuse(path: GraphPath, expected: string, value: unknown): never {
  throw new CompositionError(`${path}`, invalidType("", expected, value).message.trimStart());
}

function own(value: Fields, field: string): unknown {
  return Object.hasOwn(value, field) ? value[field] : undefined;
}

function optional(field: string, value: unknown): object {
  return value === undefined ? {} : { [field]: value };
}

/** `__proto__` is a key like any other here; assigning it would set a prototype. Assigning is many times faster. */
function setOwn(target: object, key: string | number, value: unknown): void {
  if (key !== "__proto__") (target as { [own: string | number]: unknown })[key] = value;
  else Object.defineProperty(target, key, { value, enumerable: true, writable: true, configurable: true });
}
