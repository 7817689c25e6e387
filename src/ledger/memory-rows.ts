// Maps that can be put back: what the stores in memory are made of. Invariant: every write inside `transact` leaves its undo,
// and a throw plays them back, newest first. Who may call: the stores in memory, which are these.

type Undo = () => void;

export abstract class MemoryRows {
  #undos: Undo[] | undefined;
  /** What an inner transaction threw, boxed: a throw may be anything. The outermost must not be kept then. */
  #failure: { readonly error: unknown } | undefined;

  transact<T>(decide: () => T): T {
    return this.#undos === undefined ? this.#outermost(decide) : this.#inner(decide);
  }

  #outermost<T>(decide: () => T): T {
    const undos: Undo[] = [];
    this.#undos = undos;
    try {
      const result = decide();
      if (this.#failure !== undefined) throw this.#failure.error;
      return result;
    } catch (error) {
      while (undos.length > 0) undos.pop()?.();
      throw error;
    } finally {
      this.#undos = undefined;
      this.#failure = undefined;
    }
  }

  #inner<T>(decide: () => T): T {
    try {
      return decide();
    } catch (error) {
      this.#failure ??= { error };
      throw error;
    }
  }

  /** Leaves an undo, for what is not in a map. */
  protected onUndo(undo: () => void): void {
    this.#undos?.push(undo);
  }

  protected insert<T>(map: Map<string, T>, key: string, value: T): void {
    if (map.has(key))
      throw new Error(`memory store: a row with the key ${JSON.stringify(key)} exists already`);
    map.set(key, value);
    this.#undos?.push(() => map.delete(key));
  }

  protected replace<T>(map: Map<string, T>, key: string, value: T): void {
    const before = map.get(key);
    if (before === undefined) throw new Error(`memory store: no row with the key ${JSON.stringify(key)}`);
    map.set(key, value);
    this.#undos?.push(() => map.set(key, before));
  }

  /** Adds or replaces. */
  protected put<T>(map: Map<string, T>, key: string, value: T): void {
    if (map.has(key)) this.replace(map, key, value);
    else this.insert(map, key, value);
  }

  protected remove<T>(map: Map<string, T>, key: string): void {
    const before = map.get(key);
    if (before === undefined) return;
    map.delete(key);
    this.#undos?.push(() => map.set(key, before));
  }
}
