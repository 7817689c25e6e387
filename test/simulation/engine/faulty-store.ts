// A store that fails on command: at its n-th write from now, just before or just after it, or when a transaction is
// about to be kept. Everything else goes straight to the store beneath. Invariant: it never changes a value, and what it
// throws is an InjectedFault and nothing else. Methods that do not read are writes, so that new ones are met as well.
// Who may call: the simulation.

export class InjectedFault extends Error {}

/** Where the next fault strikes. Writes are counted from 1; `keep` is the end of the outermost transaction. */
export type FaultPoint =
  | { readonly write: number; readonly when: "before" | "after" }
  | { readonly write: "keep"; readonly when: "before" };

const READS = /^(stored|read|find|scan|count|latest|has)/;

type Method = (...values: unknown[]) => unknown;

export interface FaultyStore<Store> {
  readonly store: Store;
  /** Lets one fault strike, once. */
  arm(point: FaultPoint): void;
  /** Takes the fault back; false when it has struck already. */
  disarm(): boolean;
  /** Writes since this store was made. */
  readonly writes: number;
}

export function faultyStore<Store extends object & { transact<T>(decide: () => T): T }>(
  inner: Store,
): FaultyStore<Store> {
  let point: FaultPoint | undefined;
  let left = 0;
  let writes = 0;
  let depth = 0;

  const strike = (): never => {
    point = undefined;
    throw new InjectedFault("the simulation's own fault");
  };
  const write = (method: Method): Method => {
    return (...values) => {
      writes += 1;
      left -= 1;
      const strikes = point !== undefined && point.write !== "keep" && left === 0;
      if (strikes && point?.when === "before") strike();
      const result = method.apply(inner, values);
      if (strikes) strike();
      return result;
    };
  };
  const transact: Store["transact"] = (decide) =>
    inner.transact(() => {
      depth += 1;
      try {
        const result = decide();
        if (depth === 1 && point?.write === "keep") strike();
        return result;
      } finally {
        depth -= 1;
      }
    });

  const wrapped: Record<string, unknown> = {};
  for (let at: object = inner; at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const name of Object.getOwnPropertyNames(at)) {
      const value: unknown = Reflect.get(inner, name);
      if (name === "constructor" || name in wrapped || typeof value !== "function") continue;
      const method = value as Method;
      wrapped[name] = READS.test(name) ? method.bind(inner) : write(method);
    }
  }
  return {
    store: { ...wrapped, transact } as Store,
    arm(next) {
      point = next;
      left = next.write === "keep" ? 0 : next.write;
    },
    disarm() {
      const armed = point !== undefined;
      point = undefined;
      return armed;
    },
    get writes() {
      return writes;
    },
  };
}
