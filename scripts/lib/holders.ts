// The holders of one run: processes that lease from one tenant and share a trace among them. Each has a seat; whoever is
// killed in it is followed by another process, which goes on with the calls that were not decided yet.
// Invariant: every call of the trace is decided exactly once, whoever dies. Called by start.ts, in its own process.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { HolderInput, HolderMessage, KernelFigures } from "./holder-process.ts";
import { type Line, openLine } from "./line.ts";
import { createTally, readTally, sumRows, type TallyRow } from "./tally.ts";
import type { Trace } from "./trace.ts";

export interface HoldersOptions {
  readonly url: string;
  readonly apiKey: string;
  readonly tenant: string;
  readonly trace: Trace;
  readonly processes: number;
  readonly threads: number;
  readonly outputCapTokens: number;
  readonly ttlMs: number;
  readonly sliceMost?: number;
  readonly spreadMs: number;
  readonly tallyPath: string;
  /** Whether each holder has a line of its own, so that it can be cut. */
  readonly lines: boolean;
  readonly signal: AbortSignal;
}

/** One process from its start to its end. */
export interface HolderRecord {
  readonly name: string;
  readonly seat: number;
  /** What it did, its threads together. */
  readonly done: TallyRow;
  /** What its kernel said at the end; absent where it was killed. */
  readonly kernel?: KernelFigures;
  readonly openHolds: number;
  readonly elapsedMs: number;
}

export interface Holders {
  readonly seats: number;
  /** Calls decided so far. May be late. */
  decided(): number;
  /** Ends the process that has a seat, without a word. False if it has nothing left to do. */
  kill(seat: number): boolean;
  /** Cuts a holder off from the authority, or lets it back. */
  setCut(seat: number, isCut: boolean): void;
  /** The calls of holders to the authority so far. */
  authorityCalls(): number;
  /** Resolves when every call is decided and everybody who lives has given back what was left. */
  readonly finished: Promise<readonly HolderRecord[]>;
}

interface Seat {
  readonly line: Line | undefined;
  readonly rows: { readonly name: string; readonly row: number }[];
  child: ChildProcess | undefined;
  isKilled: boolean;
}

export async function startHolders(options: HoldersOptions): Promise<Holders> {
  const { processes, threads, tallyPath, signal } = options;
  createTally(tallyPath);
  const rowsEach = 1 + threads;
  let rows = 0;
  let isOver = false;
  const seats: Seat[] = [];
  for (let seat = 0; seat < processes; seat++) {
    const line = options.lines ? await openLine(options.url) : undefined;
    seats.push({ line, rows: [], child: undefined, isKilled: false });
  }
  const records: HolderRecord[] = [];
  const readRows = (row: number, count: number) => readTally(tallyPath, rows).slice(row, row + count);

  /** Where each thread of a seat goes on: behind what its predecessors decided. */
  function firstsOf(seat: number): number[] {
    const before = seats[seat]?.rows ?? [];
    return Array.from({ length: threads }, (_, thread) => {
      const decided = sumRows(before.flatMap(({ row }) => readRows(row + 1 + thread, 1))).decided;
      return seat * threads + thread + decided * processes * threads;
    });
  }

  function sit(index: number, seat: Seat): { readonly ready: Promise<void>; readonly done: Promise<void> } {
    const name = `holder-${index + 1}${seat.rows.length === 0 ? "" : `.${seat.rows.length + 1}`}`;
    const firsts = firstsOf(index);
    const row = rows;
    rows += rowsEach;
    seat.rows.push({ name, row });
    seat.isKilled = false;
    const { trace } = options;
    const left = firsts.reduce((sum, first) => sum + Math.max(0, trace.calls - first), 0);
    const input: HolderInput = {
      url: seat.line?.url ?? options.url,
      apiKey: options.apiKey,
      tenant: options.tenant,
      holder: name,
      ttlMs: options.ttlMs,
      ...(options.sliceMost !== undefined && { sliceMost: options.sliceMost }),
      contextTokens: Float64Array.from(trace.contextTokens),
      generatedTokens: Float64Array.from(trace.generatedTokens),
      outputCapTokens: options.outputCapTokens,
      threads,
      part: { firsts, step: processes * threads },
      spreadMs: (options.spreadMs * left) / (trace.calls * threads),
      tally: { path: tallyPath, row },
    };
    const child = fork(fileURLToPath(new URL("./holder-process.ts", import.meta.url)), {
      serialization: "advanced",
    });
    seat.child = child;
    const ready = Promise.withResolvers<void>();
    const done = Promise.withResolvers<void>();
    ready.promise.catch(() => undefined);
    let end: Extract<HolderMessage, { kind: "done" }> | undefined;
    const fail = (error: Error): void => {
      ready.reject(error);
      done.reject(error);
    };
    child.on("message", (message: HolderMessage) => {
      if (message.kind === "ready") ready.resolve();
      else if (message.kind === "done") end = message;
      else fail(new Error(`${name}: ${message.message}`));
    });
    child.once("error", fail);
    child.once("exit", (code) => {
      seat.child = undefined;
      const figures = sumRows(readRows(row, rowsEach));
      const { kernel, openHolds = 0, elapsedMs = 0 } = end ?? {};
      records.push({ name, seat: index, done: figures, ...(kernel && { kernel }), openHolds, elapsedMs });
      if (end !== undefined) done.resolve();
      else if (!seat.isKilled) fail(new Error(`${name} ended with exit code ${code} before it was done`));
      else if (signal.aborted || isOver) done.resolve();
      else {
        const next = sit(index, seat);
        next.ready.then(() => seat.child?.send("go"), fail);
        next.done.then(done.resolve, fail);
      }
    });
    child.send(input);
    return { ready: ready.promise, done: done.promise };
  }

  const first = seats.map((seat, index) => sit(index, seat));
  const stop = (): void => {
    for (const { child } of seats) child?.send("stop");
  };
  async function run(): Promise<readonly HolderRecord[]> {
    try {
      await Promise.all(first.map((it) => it.ready));
      for (const { child } of seats) child?.send("go");
      if (signal.aborted) stop();
      signal.addEventListener("abort", stop, { once: true });
      await Promise.all(first.map((it) => it.done));
      return records;
    } finally {
      signal.removeEventListener("abort", stop);
      isOver = true;
      await Promise.all(seats.map((it) => end(it)));
    }
  }

  /** Ends whoever still sits there. */
  async function end({ child, line }: Seat): Promise<void> {
    if (child !== undefined) {
      const exit = once(child, "exit");
      child.kill("SIGKILL");
      await exit;
    }
    await line?.close();
  }

  return {
    seats: processes,
    decided: () => sumRows(readTally(tallyPath, rows)).decided,
    kill: (index) => {
      const seat = seats[index];
      if (seat?.child === undefined) return false;
      seat.isKilled = true;
      return seat.child.kill("SIGKILL");
    },
    setCut: (index, isCut) => {
      const line = seats[index]?.line;
      if (isCut) line?.cut();
      else line?.mend();
    },
    authorityCalls: () => sumRows(readTally(tallyPath, rows)).authorityCalls,
    finished: run(),
  };
}
