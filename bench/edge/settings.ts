// The numbers of `npm run bench:edge`, each with its unit and its reason. Data only.

export interface EdgePace {
  /** Rounds over all operations of one setting; figures are medians of the rounds. */
  readonly rounds: number;
  /** How long one operation is asked for in one round. */
  readonly runMs: number;
  /** How long each operation is asked for before anything counts: engines go on recompiling for some seconds. */
  readonly warmUpMs: number;
  /** Of the large tenant. */
  readonly finished: number;
  readonly active: number;
}

/** Odd, so that the median is a measurement. */
export const EDGE_FULL: EdgePace = {
  rounds: 3,
  runMs: 2_000,
  warmUpMs: 3_000,
  finished: 1_000_000,
  active: 100_000,
};

/** To see that everything runs; the figures are rough. */
export const EDGE_QUICK: EdgePace = {
  rounds: 1,
  runMs: 250,
  warmUpMs: 250,
  finished: 20_000,
  active: 2_000,
};

export const CONNECTIONS: readonly number[] = [1, 16, 64, 200];
/** One object under all of the load, and as many as a small platform has at once. */
export const TENANTS: readonly number[] = [1, 64];
/** Where the aim is set: ≥ 4,000 reservations a second on one tenant, ≥ 0.5 × an empty object's calls. */
export const AIM_CONNECTIONS = 64;

/** Never used up: the bench is about decisions, not refusals. */
export const ALLOCATED_TOKENS = 1_000_000_000_000_000;

/** Of the large tenant's finished rows, every so many is past its retention, so that pruning is at work as well. */
export const PAST_RETENTION_EVERY = 10;

/** What the reference server's makers publish. Other machines: compare orders of magnitude, not digits. */
export const PUBLISHED: readonly {
  readonly what: string;
  /** By the columns: the nearest numbers of clients that were published. */
  readonly cells: readonly string[];
}[] = [
  {
    what: "Cycles reference 0.1.25.59, reserve, shared budget [1]",
    cells: ["50/s – / 32.4", "430/s – / 40.6", "999/s – / 113.8", "928/s – / 1325.9"],
  },
  {
    what: "Cycles reference 0.1.25.59, reserve, separate budgets [1]",
    cells: ["56/s – / 32.8", "426/s – / 42.6", "986/s – / 117.0", "833/s – / 929.1"],
  },
  {
    what: "Cycles reference 0.1.25.3, reserve + commit [2]",
    cells: ["– 14.9 / 18.4", "1,162/s – / 22.4", "2,873/s – / 19.3", "–"],
  },
];

export const PUBLISHED_NOTES: readonly string[] = [
  "published by the maker for 2026-07-30 (Java, Spring Boot, Redis), at 1, 10, 50 and 200 clients",
  "published for 2026-04-04 on a Threadripper 3990X (64 cores), at 1, 16 and 32 threads",
];
