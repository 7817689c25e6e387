// Waits where the platform ends requests without a word, as Workers do: the code of a request that is over never goes on,
// so a permit that it is given would be nobody's. Each wait shows that its request runs, by a timer of that request's own
// (without one the platform takes it for hung) and by taking what it is given.
// Invariant: a permit that is given and not taken, and a place in line whose request is silent, come back at the next
// visit of any line in the isolate; who is alive after all lines up again, so that no bound here can cost a permit or a
// wait. Who may call: permit-line.ts, and the entry for Workers.

/** How often a request that waits shows that it runs. */
const BEAT_MS = 1_000;
/** How long without a sign a request still counts as running: some beats, for the isolate may be busy with others. */
const SILENT_MS = 5_000;
/** How long a permit may wait to be taken: its request goes on as soon as the isolate has a moment for it. */
const UNTAKEN_MS = 2_000;

interface Permit {
  release(): void;
}

/** One wait, as its line knows it. */
export interface RequestWait {
  /** Leaves the line, and goes on waiting outside of it; nothing if it has ended. */
  standAside(): void;
  /** Gets in line again; nothing if it has ended. */
  lineUp(): void;
}

let clock: (() => number) | undefined;

/** Permits on the way to a request, and since when. */
const given = new Map<Permit, number>();
/** Who stands in a line, and when its request was last seen. */
const standing = new Map<RequestWait, number>();

/** Says that requests end here, and how late it is, in milliseconds; the clock may stand still, or be set. */
export function watchRequests(now: () => number): void {
  clock = now;
}

/** Takes back what requests that are over have or stand in the way of. Whoever comes to a line calls it first. */
export function clearAway(): void {
  if (clock === undefined || given.size + standing.size === 0) return;
  const nowMs = clock();
  for (const [permit, sinceMs] of given) {
    if (nowMs - sinceMs < UNTAKEN_MS) continue;
    given.delete(permit);
    permit.release();
  }
  for (const [wait, seenMs] of standing) {
    if (nowMs - seenMs < SILENT_MS) continue;
    standing.delete(wait);
    wait.standAside();
  }
}

/** Notes that a permit is on the way to a request. */
export function give(permit: Permit): void {
  if (clock !== undefined) given.set(permit, clock());
}

/** Takes what was given: false if it came too late, and the permit is no longer there. */
export function take(permit: Permit): boolean {
  return clock === undefined || given.delete(permit);
}

/** Shows from now on that the calling request runs. Returns what ends that. */
export function showLife(wait: RequestWait): () => void {
  if (clock === undefined) return () => {};
  const now = clock;
  let timer: ReturnType<typeof setTimeout>;
  let isOver = false;
  const beat = (): void => {
    // Another request's code cannot clear this timer.
    if (isOver) return;
    const isAside = !standing.has(wait);
    standing.set(wait, now());
    timer = setTimeout(beat, BEAT_MS);
    if (isAside) wait.lineUp();
    clearAway();
  };
  standing.set(wait, now());
  timer = setTimeout(beat, BEAT_MS);
  return () => {
    isOver = true;
    standing.delete(wait);
    clearTimeout(timer);
  };
}
