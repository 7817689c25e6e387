// Virtual time: what is to happen, earliest first, at the same moment in an order drawn by chance. Invariant: time never
// goes back here; the clocks that lie are the hosts' (host-clock.ts). Nothing runs outside `step`. Who may call: the
// simulation and its actors.

import type { Chance } from "./chance.ts";

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

export class Scheduler {
  #nowMs: number;
  readonly #chance: Chance;
  /** Latest first, so that the next event is the last. */
  readonly #events: Event[] = [];

  constructor(startMs: number, chance: Chance) {
    this.#nowMs = startMs;
    this.#chance = chance;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, run: () => void): void {
    const event = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#chance.next(), run };
    let index = this.#events.length;
    while (index > 0 && isLater(event, this.#events[index - 1])) index -= 1;
    this.#events.splice(index, 0, event);
  }

  /** Runs the next event; false when there is none. */
  step(): boolean {
    const event = this.#events.pop();
    if (event === undefined) return false;
    this.#nowMs = event.atMs;
    event.run();
    return true;
  }
}

function isLater(event: Event, other: Event | undefined): boolean {
  if (other === undefined) return false;
  return event.atMs > other.atMs || (event.atMs === other.atMs && event.order > other.order);
}
