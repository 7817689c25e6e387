// What a client takes from the platform: chance for keys and waits, clocks, timers, and a last word. The one place in
// src/ with defaults for these; each can be handed in, and tests do. Who may call: the ways to an authority and the
// holders of leases, once, when opened.

/** A number in 0 … 1, 1 excluded, like `Math.random`. */
export type Random = () => number;

export interface Surroundings {
  /** Makes the keys of calls that bring none; each must be unique in the tenant. 128 random bits by default. */
  readonly newKey?: () => string;
  /** Spreads retries. `Math.random` by default. */
  readonly random?: Random;
  /** Waits before a retry; rejects with the signal's reason if that comes first. By default a timer. */
  readonly sleep?: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
  /** Milliseconds on a clock that is never set, from any origin. `performance.now` by default. */
  readonly monotonicNow?: () => number;
  /** Milliseconds since the epoch. `Date.now` by default. */
  readonly now?: () => number;
  /** Runs something later, and returns what calls it off. By default a timer that does not keep Node running. */
  readonly setTimer?: (run: () => void, delayMs: number) => () => void;
  /** Tells when an object was collected, and returns what stops the watch. By default a FinalizationRegistry, where there is one. */
  readonly watch?: (target: object, onCollected: () => void) => () => void;
  /** Says what a programmer should know. `console.warn` by default. */
  readonly warn?: (message: string) => void;
}

/** The same moment on both clocks. */
export type Moment = readonly [steadyMs: number, wallMs: number];

export function momentOn({
  monotonicNow,
  now,
}: Required<Pick<Surroundings, "monotonicNow" | "now">>): Moment {
  return [monotonicNow(), now()];
}

/** Of all guards of all authorities; made when it is needed first, since not every runtime has it. */
let collected: FinalizationRegistry<() => void> | undefined;

const monotonicNow = (): number => performance.now();
const now = (): number => Date.now();
const setTimer = (run: () => void, delayMs: number): (() => void) => {
  const timer: unknown = setTimeout(run, delayMs);
  // A number everywhere but in Node, where an object can be told that nobody waits for it.
  (timer as { unref?: () => void }).unref?.();
  return () => clearTimeout(timer as number);
};

/** The clocks alone, for entries that need nothing else of the platform. */
export const PLATFORM_CLOCKS: Required<Pick<Surroundings, "now" | "monotonicNow" | "setTimer">> = {
  monotonicNow,
  now,
  setTimer,
};

const PLATFORM: Required<Surroundings> = {
  monotonicNow,
  now,
  setTimer,
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
  watch: (target, onCollected) => {
    if (typeof FinalizationRegistry !== "function") return () => undefined;
    collected ??= new FinalizationRegistry((tell) => tell());
    collected.register(target, onCollected, onCollected);
    return () => collected?.unregister(onCollected);
  },
  warn: (message) => console.warn(message),
};

/** What was handed in, and the platform for the rest. */
export function platformWith(options: Surroundings): Required<Surroundings> {
  const all: Record<string, unknown> = { ...PLATFORM };
  for (const name of Object.keys(all)) all[name] = options[name as keyof Surroundings] ?? all[name];
  return all as unknown as Required<Surroundings>;
}

/** What the holder of a lease takes from the platform: of the above, and its page. */
export interface HolderSurroundings
  extends Pick<Surroundings, "newKey" | "random" | "sleep" | "monotonicNow" | "now" | "setTimer"> {
  /** Tells when the page goes away or comes back: `pagehide` and `pageshow`, where there is a page. @returns what ends it */
  readonly onPage?: (page: PageListener) => () => void;
}

export interface PageListener {
  hide(): void;
  show(): void;
}

/** What a window has, as far as it is needed here. */
interface PageWindow {
  addEventListener(type: "pagehide" | "pageshow", listener: () => void): void;
  removeEventListener(type: "pagehide" | "pageshow", listener: () => void): void;
}

/** Threads have no page, and neither have Workers and Node. */
export function onPage({ hide, show }: PageListener): () => void {
  if (!("document" in globalThis)) return () => undefined;
  const page = globalThis as unknown as PageWindow;
  page.addEventListener("pagehide", hide);
  page.addEventListener("pageshow", show);
  return () => {
    page.removeEventListener("pagehide", hide);
    page.removeEventListener("pageshow", show);
  };
}

/** Calls what the application gave to be told by. What that throws or rejects with would end a process, and reach nobody. */
export function callOut(call: () => unknown): void {
  (async () => call())().catch(() => undefined);
}
