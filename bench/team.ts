// Threads that work on one shared thing at the same time: what each of them does, and how their figures add up.
// Invariant: a round begins when all threads are there, and each of them works for the same time.
// Who may call: createTeam the main thread of Node or of a page, createTeamMember a thread.

import { callLoop } from "./call-loop.ts";
import { findContender } from "./catalogue.ts";
import type { Shared, ThreadsContender } from "./contender.ts";
import { THREAD_CHUNK_OPERATIONS } from "./settings.ts";

/** What a thread is started with. */
export interface Membership {
  readonly contender: string;
  readonly shared: Shared;
  readonly barrier: Int32Array<SharedArrayBuffer>;
  readonly threads: number;
}

export interface Work {
  readonly operations: number;
  readonly elapsedMs: number;
}

/** One thread as the main thread sees it. */
export interface Member {
  work(roundMs: number): Promise<Work>;
}

export interface Team {
  /** ns per operation of all threads together. */
  round(roundMs: number): Promise<number>;
}

export async function createTeam(
  contender: ThreadsContender,
  start: (membership: Membership) => Member,
  warmUpMs: number,
): Promise<Team> {
  const barrier = new Int32Array(new SharedArrayBuffer(4));
  const membership = {
    contender: contender.id,
    shared: contender.share(),
    barrier,
    threads: contender.threads,
  };
  const members = Array.from({ length: contender.threads }, () => start(membership));
  const round = async (roundMs: number): Promise<number> => {
    const work = await Promise.all(members.map((member) => member.work(roundMs)));
    const operationsPerMs = work.reduce((sum, it) => sum + it.operations / it.elapsedMs, 0);
    return 1e6 / operationsPerMs;
  };
  await round(warmUpMs);
  return { round };
}

/** In the thread: returns what it does in each round. Threads may block, so they wait for each other by blocking. */
export function createTeamMember(membership: Membership): (roundMs: number) => Work {
  const contender = findContender(membership.contender);
  if (contender.kind !== "threads") throw new Error(`${contender.id} has no threads`);
  const loop = contender.prepareThread(membership.shared);
  const { barrier, threads } = membership;
  let rounds = 0;
  return (roundMs) => {
    rounds++;
    if (Atomics.add(barrier, 0, 1) + 1 === rounds * threads) Atomics.notify(barrier, 0);
    for (let here = Atomics.load(barrier, 0); here < rounds * threads; here = Atomics.load(barrier, 0)) {
      Atomics.wait(barrier, 0, here);
    }
    const startMs = performance.now();
    let operations = 0;
    let elapsedMs = 0;
    while (elapsedMs < roundMs) {
      if (callLoop(loop, THREAD_CHUNK_OPERATIONS) !== THREAD_CHUNK_OPERATIONS)
        throw new Error("an operation was refused");
      operations += THREAD_CHUNK_OPERATIONS;
      elapsedMs = performance.now() - startMs;
    }
    return { operations, elapsedMs };
  };
}
