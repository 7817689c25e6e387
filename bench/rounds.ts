// Runs one group: opens every contender in every runtime, then goes round all of them again and again, one at a time, so
// that whatever else the machine does hits all of them alike. Called by run.ts.

import { type Contender, type Group, type Runtime, runtimesOf } from "./contender.ts";
import type { Host, Session } from "./hosts/host.ts";
import type { Pace } from "./settings.ts";
import type { Measured } from "./statistics.ts";

export interface GroupRun {
  readonly group: Group;
  readonly hosts: ReadonlyMap<Runtime, Host>;
  readonly pace: Pace;
  readonly signal: AbortSignal;
  /** After each contender was opened and each round of one is done. */
  readonly onStep: (done: number, steps: number) => void;
}

interface Place {
  readonly contender: Contender;
  readonly host: Host;
}

/** @throws if a contender fails; `signal.reason` if the run is cut short */
export async function measureGroup({ group, hosts, pace, signal, onStep }: GroupRun): Promise<Measured[]> {
  const places = placesOf(group, hosts);
  const steps = places.length * (1 + pace.rounds);
  let done = 0;
  const running: { place: Place; session: Session; rounds: number[] }[] = [];
  try {
    for (const place of places) {
      signal.throwIfAborted();
      const session = await place.host.open(place.contender.id, pace.warmUpMs);
      running.push({ place, session, rounds: [] });
      onStep(++done, steps);
    }
    for (let round = 0; round < pace.rounds; round++) {
      for (let turn = 0; turn < running.length; turn++) {
        signal.throwIfAborted();
        // Each round begins one further on: nobody always comes after the same neighbour's heat.
        const next = running[(turn + round) % running.length];
        next?.rounds.push(await next.session.round(pace.roundMs));
        onStep(++done, steps);
      }
    }
  } finally {
    for (const { session } of running) await session.close();
  }
  return running.map(({ place, rounds }) => ({
    contender: place.contender.id,
    runtime: place.host.runtime,
    rounds,
  }));
}

/** Contenders that run nowhere here are left out; the table says so. */
function placesOf(group: Group, hosts: ReadonlyMap<Runtime, Host>): Place[] {
  return group.contenders.flatMap((contender) =>
    runtimesOf(contender).flatMap((runtime) => {
      const host = hosts.get(runtime);
      return host === undefined ? [] : [{ contender, host }];
    }),
  );
}
