// What becomes of the rounds. Pure.

export interface Measured {
  readonly contender: string;
  readonly runtime: string;
  /** ns per operation, one figure a round, in the order of the rounds. */
  readonly rounds: readonly number[];
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Half the distance between the quartiles, as a share of the median: how far a round usually is from it. */
export function spread(values: readonly number[]): number {
  return (quantile(values, 0.75) - quantile(values, 0.25)) / 2 / median(values);
}

/**
 * How many times as long `a` takes as `b`: the median over the rounds of the quotient in each. Both were measured within
 * the same second of each round, so what slows the machine down for a while slows both.
 */
export function ratio(a: Measured, b: Measured): number {
  return median(a.rounds.map((nanoseconds, round) => nanoseconds / (b.rounds[round] ?? Number.NaN)));
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const position = (sorted.length - 1) * share;
  const below = sorted[Math.floor(position)] ?? Number.NaN;
  const above = sorted[Math.ceil(position)] ?? Number.NaN;
  return below + (above - below) * (position - Math.floor(position));
}
