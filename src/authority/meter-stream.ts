// The two shapes that a stream comes in, and goes on in: a ReadableStream (of whatever runtime) or an async iterable.
// Invariant: nothing is taken from the source before the reader asks for it, so whoever stops reading stops the source.
// Who may call: Meter.

/** Where chunks come from, one at a time. */
export interface ChunkSource<T> {
  next(): Promise<IteratorResult<T, unknown>>;
  /** Says that no more is wanted. */
  cancel(reason: unknown): Promise<void>;
}

export function chunksOf<T>(source: ReadableStream<T> | AsyncIterable<T>): ChunkSource<T> {
  if ("getReader" in source) {
    const reader = source.getReader();
    return {
      next: () => reader.read() as Promise<IteratorResult<T, unknown>>,
      cancel: (reason) => reader.cancel(reason),
    };
  }
  const iterator = source[Symbol.asyncIterator]();
  return {
    next: async () => iterator.next(),
    cancel: async () => {
      await iterator.return?.();
    },
  };
}

/** Chunks whose end their source sees to. */
export interface CountedChunks<T> extends ChunkSource<T> {
  next(): Promise<IteratorResult<T, undefined>>;
}

export function streamOver<T>(chunks: CountedChunks<T>): ReadableStream<T> {
  return new ReadableStream<T>(
    {
      pull: async (controller) => {
        const { done, value } = await chunks.next();
        if (done === true) controller.close();
        else controller.enqueue(value);
      },
      cancel: (reason) => chunks.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

/** A generator for the order of calls; around it, since its own `return` waits for a chunk that may never come. */
export function iteratorOver<T>(chunks: CountedChunks<T>): AsyncIterableIterator<T, undefined> {
  const generator = (async function* () {
    for (;;) {
      const { done, value } = await chunks.next();
      if (done === true) return undefined;
      yield value;
    }
  })();
  const iterator: AsyncIterableIterator<T, undefined> = {
    next: () => generator.next(),
    return: async () => {
      await chunks.cancel(undefined);
      void generator.return(undefined);
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]: () => iterator,
  };
  return iterator;
}

/** After these a page may never run again. Not `visibilitychange`: whoever looks at another tab still wants the stream. */
const LAST_EVENTS = ["pagehide", "freeze"] as const;
type LastEvent = (typeof LAST_EVENTS)[number];

/** What tells of a page, as far as it is needed here. `freeze` is heard on its way down to the document. */
export interface PageEvents {
  addEventListener(type: LastEvent, listener: () => void, isCapture: boolean): void;
  removeEventListener(type: LastEvent, listener: () => void, isCapture: boolean): void;
}

/** A page must not keep a meter that everybody else forgot: its reservation could never be seen to be leaked. */
export function watchPage(page: PageEvents | null | undefined, meter: { onPageHide(): void }): () => void {
  const held = new WeakRef(meter);
  const listener = (): void => held.deref()?.onPageHide();
  for (const type of LAST_EVENTS) page?.addEventListener(type, listener, isPage());
  return () => {
    for (const type of LAST_EVENTS) page?.removeEventListener(type, listener, isPage());
  };
}

/** The window, in a page; undefined everywhere else, Web Workers included. */
export function pageHere(): PageEvents | undefined {
  return isPage() ? (globalThis as unknown as PageEvents) : undefined;
}

/** Only there is a way down; Workers refuse to hear of one. */
function isPage(): boolean {
  return "document" in globalThis;
}
