// Counts of what happened, by name: faults, operations, refusals. They show that a run met what it was made for.
// Invariant: a count only grows; tallies of several runs add up. Who may call: the simulation; scripts print them.

export class Tally {
  readonly #counts = new Map<string, number>();

  add(name: string, count = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + count);
  }

  get(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  /** Takes over what another tally counted, as it crossed a thread. */
  addAll(counts: Iterable<readonly [string, number]>): void {
    for (const [name, count] of counts) this.add(name, count);
  }

  /** Sorted by name. */
  entries(): [string, number][] {
    return [...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1));
  }
}
