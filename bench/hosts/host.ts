// A place where contenders run, as the benchmark's own process sees it.
// Invariant: each session has a process, page or isolate of its own, which ends with close(). While a session is not in
// a round it does nothing, so that whoever is has the machine.

import type { Runtime } from "../contender.ts";

export interface Session {
  /** Runs the contender for at least that long and returns ns per operation. */
  round(roundMs: number): Promise<number>;
  close(): Promise<void>;
}

export interface Host {
  readonly runtime: Runtime;
  /** What it is, with versions, for the description of the machine. */
  readonly description: string;
  /** Starts a contender and warms it up. */
  open(contender: string, warmUpMs: number): Promise<Session>;
  close(): Promise<void>;
}

/** Why a host is not there: left out with this sentence, not an error. */
export interface Absent {
  readonly runtime: Runtime;
  readonly reason: string;
}
