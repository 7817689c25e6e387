// Signals of a run as a tree: what is aborted takes everything below with it.
// Invariant: aborting does not recurse. Signals that listen to each other would, once a level, and a deep graph could
// overflow the stack of whoever aborts it. Who may call: run-composition.ts, from one thread.

import type { Awaitable } from "../budgets/traits.ts";

export class Scope {
  readonly #parent: Scope | undefined;
  readonly #children = new Set<Scope>();
  /** Made when work is first waited for. */
  #controller: AbortController | undefined;
  #ending: { readonly reason: unknown } | undefined;

  constructor(parent?: Scope) {
    this.#parent = parent;
    if (parent === undefined) return;
    this.#ending = parent.#ending;
    parent.#children.add(this);
  }

  get aborted(): boolean {
    return this.#ending !== undefined;
  }

  get reason(): unknown {
    return this.#ending?.reason;
  }

  throwIfAborted(): void {
    if (this.#ending !== undefined) throw this.#ending.reason;
  }

  /** Aborts this scope and all below it; the first reason stays. */
  abort(reason: unknown): void {
    const pending: Scope[] = [this];
    for (let scope = pending.pop(); scope !== undefined; scope = pending.pop()) {
      if (scope.#ending !== undefined) continue;
      scope.#ending = { reason };
      for (const child of scope.#children) pending.push(child);
      scope.#controller?.abort(reason);
    }
  }

  /** Takes the scope out of the tree: nothing is going on in it any more. */
  end(): void {
    if (this.#parent !== undefined) this.#parent.#children.delete(this);
  }

  /**
   * Waits for `work`, but not beyond the scope's abort: who ignores the signal is left alone, and its outcome with it.
   * @throws the reason of the abort, or what the work fails with
   */
  async within<T>(work: (signal: AbortSignal) => Awaitable<T>): Promise<T> {
    this.throwIfAborted();
    this.#controller ??= new AbortController();
    const { signal } = this.#controller;
    let stop = (): void => {};
    const aborted = new Promise<never>((_, reject) => {
      stop = () => reject(this.reason);
      signal.addEventListener("abort", stop, { once: true });
    });
    try {
      return await Promise.race([aborted, work(signal)]);
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }
}
