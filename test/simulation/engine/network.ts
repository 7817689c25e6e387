// A network that loses, duplicates, delays and so reorders what is sent over it. Invariant: a message is delivered zero,
// one or two times, never changed, never before it was sent. Who may call: actors that talk to one another.

import type { Chance } from "./chance.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Tally } from "./tally.ts";

/** Probabilities per message, and how long a message takes: usually, and when it is delayed. */
export interface NetworkFaults {
  readonly lost: number;
  readonly duplicated: number;
  readonly delayed: number;
  readonly latencyMsMax: number;
  readonly delayMsMax: number;
}

/** In some lives a fault is on, in others off. */
export function drawNetwork(chance: Chance): NetworkFaults {
  return {
    lost: chance.sometimes(0.3),
    duplicated: chance.sometimes(0.4),
    delayed: chance.sometimes(0.3),
    latencyMsMax: chance.pick([0, 20, 400]),
    delayMsMax: chance.pick([3_000, 60_000, 7_200_000]),
  };
}

export class Network {
  readonly #scheduler: Scheduler;
  readonly #chance: Chance;
  readonly #faults: NetworkFaults;
  readonly #tally: Tally;
  #sent = 0;
  #latestDelivered = 0;

  constructor(scheduler: Scheduler, chance: Chance, faults: NetworkFaults, tally: Tally) {
    this.#scheduler = scheduler;
    this.#chance = chance;
    this.#faults = faults;
    this.#tally = tally;
  }

  /** Sends one message; `kind` names it in the tally. */
  send(kind: string, deliver: () => void): void {
    if (this.#chance.happens(this.#faults.lost)) {
      this.#tally.add(`fault: ${kind} lost`);
      return;
    }
    this.#carry(kind, deliver);
    if (!this.#chance.happens(this.#faults.duplicated)) return;
    this.#tally.add(`fault: ${kind} duplicated`);
    this.#carry(kind, deliver);
  }

  #carry(kind: string, deliver: () => void): void {
    this.#sent += 1;
    const number = this.#sent;
    const delayed = this.#chance.happens(this.#faults.delayed);
    if (delayed) this.#tally.add(`fault: ${kind} delayed`);
    const delayMs = this.#chance.between(0, delayed ? this.#faults.delayMsMax : this.#faults.latencyMsMax);
    this.#scheduler.after(delayMs, () => {
      if (number < this.#latestDelivered) this.#tally.add(`fault: ${kind} overtaken`);
      this.#latestDelivered = Math.max(this.#latestDelivered, number);
      deliver();
    });
  }
}
