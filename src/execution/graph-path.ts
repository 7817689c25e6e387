// Where a node stands in its graph, as in `root.stages[2].branches.x`.
// Invariant: making a path and showing it take the same time at any depth; very deep ones are shown with a gap.

/** How many steps of a deep path are shown from its beginning, and how many from its end. */
const SHOWN_STEPS = 16;
const SHOWN_KEY_LENGTH = 40;

export class GraphPath {
  readonly #parent: GraphPath | undefined;
  readonly #text: string;
  readonly #depth: number;
  /** The ancestor at which a gap would begin; itself while the path is short. */
  readonly #head: GraphPath;

  constructor(parent: GraphPath | undefined, text: string) {
    this.#parent = parent;
    this.#text = text;
    this.#depth = parent === undefined ? 0 : parent.#depth + 1;
    this.#head = parent === undefined || this.#depth < SHOWN_STEPS ? this : parent.#head;
  }

  /** The path of a field, or of the element of a field with an index or a name. */
  at(field: string, key?: number | string): GraphPath {
    return new GraphPath(this, `.${field}${key === undefined ? "" : show(key)}`);
  }

  toString(): string {
    const hidden = this.#depth - 2 * SHOWN_STEPS + 1;
    if (hidden <= 1) return this.#since(undefined);
    let tail: GraphPath = this;
    for (let step = 1; step < SHOWN_STEPS && tail.#parent !== undefined; step++) tail = tail.#parent;
    return `${this.#head.#since(undefined)}…(${hidden} more)…${this.#since(tail.#parent)}`;
  }

  /** The steps after `ancestor`. */
  #since(ancestor: GraphPath | undefined): string {
    const steps: string[] = [];
    for (
      let path: GraphPath | undefined = this;
      path !== undefined && path !== ancestor;
      path = path.#parent
    ) {
      steps.push(path.#text);
    }
    return steps.reverse().join("");
  }
}

/** Marked as pure, so that who bundles the library without graphs does not get it. */
export const ROOT_PATH: GraphPath = /* @__PURE__ */ new GraphPath(undefined, "root");

function show(key: number | string): string {
  if (typeof key === "number") return `[${key}]`;
  return /^[\p{L}_$][\p{L}\p{N}_$]{0,39}$/u.test(key)
    ? `.${key}`
    : `[${JSON.stringify(key.slice(0, SHOWN_KEY_LENGTH))}]`;
}
