// What goes wrong in a run with --chaos: by turns a holder is killed and another one loses its line for a while, each time
// the trace has come a little further. Chance comes from a seed. Called by start.ts.
import type { Holders } from "./holders.ts";
import { CHAOS_CUT_MS, CHAOS_EVERY_PERCENT, PROGRESS_EVERY_MS } from "./limits.ts";
import { seededRandom } from "./seeded-random.ts";

export interface Chaos {
  /** What happened, one line each, in its order. */
  readonly events: readonly string[];
  readonly kills: number;
  readonly cuts: number;
  /** Mends what is cut, and lets things be. */
  end(): void;
}

export function startChaos(holders: Holders, calls: number, seed: number): Chaos {
  const random = seededRandom(seed);
  const events: string[] = [];
  const cuts = new Map<number, NodeJS.Timeout>();
  let [kills, cutCount, turn] = [0, 0, 0];
  const mend = (seat: number): void => {
    clearTimeout(cuts.get(seat));
    cuts.delete(seat);
    holders.setCut(seat, false);
  };
  const timer = setInterval(() => {
    const decided = holders.decided();
    if (decided * 100 < (turn + 1) * CHAOS_EVERY_PERCENT * calls || decided >= calls) return;
    turn += 1;
    const seat = Math.floor(random() * holders.seats);
    const when = `after ${decided.toLocaleString("en-US")} calls`;
    if (turn % 2 === 1) {
      if (!holders.kill(seat)) return;
      kills += 1;
      events.push(`${when} holder ${seat + 1} was killed; another one takes its seat`);
    } else if (!cuts.has(seat)) {
      holders.setCut(seat, true);
      cutCount += 1;
      events.push(`${when} holder ${seat + 1} lost its line for ${CHAOS_CUT_MS / 1000} s`);
      cuts.set(seat, setTimeout(mend, CHAOS_CUT_MS, seat));
    }
  }, PROGRESS_EVERY_MS);
  return {
    events,
    get kills() {
      return kills;
    },
    get cuts() {
      return cutCount;
    },
    end: () => {
      clearInterval(timer);
      for (const seat of [...cuts.keys()]) mend(seat);
    },
  };
}
