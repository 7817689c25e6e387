// All the chance of a simulation: one seeded source, asked in the order in which things happen. Invariant: the same seed
// asked the same questions answers alike, so a run is a function of its seed. Who may call: the simulation.

import { seededRandom } from "../../../scripts/lib/seeded-random.ts";

export class Chance {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = seededRandom(seed);
  }

  /** A number in [0, 1). */
  next(): number {
    return this.#next();
  }

  /** True with this probability; never at 0. */
  happens(probability: number): boolean {
    return this.#next() < probability;
  }

  /** A rate up to this one in half of all lives, and none in the others. */
  sometimes(rate: number): number {
    return this.happens(0.5) ? rate * this.next() : 0;
  }

  /** A whole number from `min` to `max`, both included. */
  between(min: number, max: number): number {
    return min + Math.floor(this.#next() * (max - min + 1));
  }

  pick<T>(choices: readonly T[]): T {
    const choice = choices[Math.floor(this.#next() * choices.length)];
    if (choice === undefined) throw new RangeError("choices must hold at least one value");
    return choice;
  }

  /** One of the keys, each as often as its weight says. */
  weighted<Key extends string>(weights: Readonly<Record<Key, number>>): Key {
    const entries = Object.entries(weights) as [Key, number][];
    let rest = this.#next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [key, weight] of entries) {
      rest -= weight;
      if (rest < 0) return key;
    }
    throw new RangeError("weights must hold at least one weight above 0");
  }
}
