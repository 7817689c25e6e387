// What can be measured, as data. A group is one question ("what does a reserve and its release cost?"), a contender one
// answer to it. Invariant: every contender of a group does the same number of the same operations per call of its loop.
// Runs in every runtime: nothing here or in groups/ and peers/ may import node:* or cloudflare:*.

/** Where a contender can run. `native` is the Rust program of native/, the others run the same TypeScript. */
export type Runtime = "native" | "node" | "workerd" | "chromium";

export const SCRIPT_RUNTIMES = ["node", "workerd", "chromium"] as const satisfies readonly Runtime[];

/** Does `operations` operations and returns how many were granted; all of them must be, or nothing was measured. */
export type Loop = (operations: number) => number | Promise<number>;

/** What threads share: posted to each of them as it is. */
export type Shared = WebAssembly.Memory | SharedArrayBuffer;

interface Named {
  /** Unique over all groups. */
  readonly id: string;
  readonly who: string;
  /** Which question it answers where that is not the group's own; becomes a footnote. */
  readonly note?: string;
}

/** A program of its own: `id` is the name of the case in native/. */
export interface NativeContender extends Named {
  readonly kind: "native";
  /** The contender that does the same with one thread. */
  readonly oneThread?: string;
}

export interface LoopContender extends Named {
  readonly kind: "loop";
  readonly runtimes: readonly Runtime[];
  /** Makes the loop with all that it works on. Called once per process, page or isolate. */
  prepare(): Loop;
}

/** Several threads on one thing; the figure is the time per operation of all of them together. */
export interface ThreadsContender extends Named {
  readonly kind: "threads";
  readonly runtimes: readonly Runtime[];
  readonly threads: number;
  readonly oneThread?: string;
  /** On the main thread. */
  share(): Shared;
  /** In each thread. */
  prepareThread(shared: Shared): Loop;
}

export type Contender = NativeContender | LoopContender | ThreadsContender;

export interface Group {
  readonly id: string;
  /** With what one operation is. */
  readonly title: string;
  readonly contenders: readonly Contender[];
  /** Contenders that the table gives ratios to. */
  readonly native?: string;
  readonly bigIntAtomics?: string;
}

export function runtimesOf(contender: Contender): readonly Runtime[] {
  return contender.kind === "native" ? ["native"] : contender.runtimes;
}
