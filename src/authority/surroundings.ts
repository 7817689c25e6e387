// What a client takes from the platform: chance for keys and waits, and waiting itself. The one place in src/ with
// defaults for these; each can be handed in, and tests do. Who may call: the ways to an authority, once, when opened.

/** A number in 0 … 1, 1 excluded, like `Math.random`. */
export type Random = () => number;

export interface Surroundings {
  /** Makes the keys of calls that bring none; each must be unique in the tenant. 128 random bits by default. */
  readonly newKey?: () => string;
  /** Spreads retries. `Math.random` by default. */
  readonly random?: Random;
  /** Waits before a retry; rejects with the signal's reason if that comes first. By default a timer. */
  readonly sleep?: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
}

export const PLATFORM: Required<Surroundings> = {
  // crypto.randomUUID exists only where a page is served securely; this exists everywhere.
  newKey: () =>
    Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join(
      "",
    ),
  random: Math.random,
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      const onAbort = (): void => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      }, ms);
      if (signal?.aborted === true) onAbort();
      else signal?.addEventListener("abort", onAbort, { once: true });
    }),
};
