// The numbers of the benchmarks, each with its unit and its reason. Data only.

export interface Pace {
  /** Rounds over all contenders of a group. The figure is the median of the rounds. */
  readonly rounds: number;
  /** How long one contender runs in one round, at least. */
  readonly roundMs: number;
  /** How long a contender runs before the first round: engines go on recompiling what is hot for about a second. */
  readonly warmUpMs: number;
}

/** Odd, so that the median is a measurement; enough that a quarter of disturbed rounds does not move it. */
export const FULL: Pace = { rounds: 25, roundMs: 40, warmUpMs: 1_000 };

/** To see that everything runs; the figures are rough. */
export const QUICK: Pace = { rounds: 3, roundMs: 15, warmUpMs: 100 };

/** One sample is a batch that lasts at least this long: a thousand steps of the clock of Node, two hundred of a page's. */
export const BATCH_MS_MIN = 1;

/** … and at least this many steps of the clock, which in workerd is a whole millisecond: an error of 2 %. */
export const BATCH_CLOCK_STEPS_MIN = 50;

/** Operations between two looks at the clock in a thread: some 50 µs, so that threads stop at the same moment. */
export const THREAD_CHUNK_OPERATIONS = 1_000;

/** For the count of allocations. */
export const ALLOCATION_OPERATIONS = 1_000_000;
export const ALLOCATION_LIVE_RESERVATIONS = 1_000;

/** MiB of the young generation while allocations are counted: no collection may happen between the two readings. */
export const ALLOCATION_NURSERY_MIB = 512;

/** Until the benchmark's workerd listens. It takes a tenth of a second; a loaded machine takes seconds. */
export const WORKERD_READY_MS_MAX = 30_000;

export interface LeasesPace {
  readonly rounds: number;
  /** How long each budget decides in one round. */
  readonly roundMs: number;
  /** How long each does before: engines warm up, and the slice finds its size. */
  readonly warmUpMs: number;
  /** Leases opened to see how long the first decision takes. */
  readonly opens: number;
}

/** Rounds long enough for many top-ups. */
export const LEASES_FULL: LeasesPace = { rounds: 15, roundMs: 500, warmUpMs: 2_000, opens: 50 };
export const LEASES_QUICK: LeasesPace = { rounds: 3, roundMs: 100, warmUpMs: 300, opens: 5 };
