// How much of their estimates the calls of one route really used: a histogram of actual / estimate in buckets that grow with
// the ratio, each a sixteenth wide. Invariant: memory never grows; every step is on integers or exact divisions, so the same
// calls give the same answers on every machine (no logarithms: engines round them differently). Older calls count less:
// when the weights come to the limit, all are halved. Who may call: EstimateAdvisor, with arguments that it checked.

/** Ratios in fixed point: 1 is 2^20, so 1/65,536 of an estimate still has sixteen buckets to itself. */
const ONE_BITS = 20;
const ONE = 2 ** ONE_BITS;
/** Ratios from 16 on are one bucket: an estimate that far off is no estimate. */
const RATIO_MAX = 2 ** (ONE_BITS + 4) - 1;
const STEP_BITS = 4;
const STEPS = 2 ** STEP_BITS;
const BUCKETS = bucketOf(RATIO_MAX) + 1;
/** What a new call weighs: it outlives four halvings before it is forgotten. */
const WEIGHT = 16;

export class RatioHistogram {
  readonly #weights = new Uint32Array(BUCKETS);
  readonly #weightMax: number;
  #weight = 0;
  #calls = 0;

  /** @param callsRemembered - after so many, older calls begin to count half */
  constructor(callsRemembered: number) {
    this.#weightMax = callsRemembered * WEIGHT;
  }

  /** How many calls it has seen, forgotten ones included. */
  get calls(): number {
    return this.#calls;
  }

  /** @param estimate - 1 or more */
  add(estimate: number, actual: number): void {
    if (this.#weight >= this.#weightMax) this.#halve();
    // Each bucket ends with its largest ratio, so that calls which use all of their estimate lead to just that.
    const ratio = Math.ceil((actual / estimate) * ONE);
    const bucket = bucketOf(Math.min(Math.max(ratio - 1, 0), RATIO_MAX));
    this.#weights[bucket] = (this.#weights[bucket] ?? 0) + WEIGHT;
    this.#weight += WEIGHT;
    this.#calls += 1;
  }

  /** Enough of `estimate` for a share `quantile` of the calls, rounded up to a bucket's end: by a sixteenth at most. */
  enough(estimate: number, quantile: number): number {
    const rank = Math.ceil(this.#weight * quantile);
    let below = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      below += this.#weights[bucket] ?? 0;
      if (below >= rank) return part(estimate, endOf(bucket));
    }
    return estimate;
  }

  #halve(): void {
    let sum = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const weight = (this.#weights[bucket] ?? 0) >>> 1;
      this.#weights[bucket] = weight;
      sum += weight;
    }
    this.#weight = sum;
  }
}

/** The bucket of a ratio − 1 in fixed point, 0 … RATIO_MAX: below 32 one each, then sixteen for every doubling. */
function bucketOf(ratio: number): number {
  const shift = Math.max(0, 31 - Math.clz32(ratio) - STEP_BITS);
  return shift * STEPS + (ratio >>> shift);
}

/** The largest ratio of a bucket. */
function endOf(bucket: number): number {
  const shift = Math.max(0, Math.floor(bucket / STEPS) - 1);
  return (bucket - shift * STEPS + 1) * 2 ** shift;
}

/** estimate · ratio, rounded up; exact also where a number cannot hold the product. */
function part(estimate: number, ratio: number): number {
  const product = estimate * ratio;
  if (Number.isSafeInteger(product)) return Math.ceil(product / ONE);
  const exact = (BigInt(estimate) * BigInt(ratio) + BigInt(ONE - 1)) >> BigInt(ONE_BITS);
  return Number(exact < BigInt(Number.MAX_SAFE_INTEGER) ? exact : BigInt(Number.MAX_SAFE_INTEGER));
}
