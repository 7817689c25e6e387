// A world for holders of leases: virtual time with timers, a real ledger behind an authority whose calls get lost, come
// twice, late or not at all. Nothing in it is chance or real time.

import { LeasedBudget, type LeasedBudgetOptions } from "purser";
import type {
  CallOptions,
  LeaseAuthority,
  LeaseName,
  LeaseRenewal,
  LeaseReport,
  LeaseRequest,
} from "purser/client";
import { LocalAuthority } from "purser/ledger";

/** What becomes of a call: how long request and answer travel, and whether they arrive. */
export interface Fault {
  readonly kind: "none" | "lost-request" | "lost-answer" | "twice" | "late";
  readonly delayMs: number;
}

const NO_FAULT: Fault = { kind: "none", delayMs: 0 };
/** What an authority throws where there was no answer. */
export const unreachable = () =>
  Object.assign(new Error("no answer"), { code: "AUTHORITY_UNAVAILABLE", outcome: "unknown" });
/** Who sets more timers than that within one advance is busy waiting. */
const EVENTS_MAX = 1_000;
/** Longer than any chain of promises here. */
const TURNS = 120;

export class LeaseWorld {
  nowMs = 1_800_000_000_000;
  /** What the holders' wall clocks are ahead of the authority's. */
  skewMs = 0;
  /** What becomes of the next calls, in order; after them none is disturbed. */
  faults: Fault[] = [];
  /** While it is set, no call arrives. */
  isCutOff = false;
  calls = 0;
  readonly authority: LocalAuthority;
  #timers = new Map<number, { readonly atMs: number; readonly run: () => void }>();
  /** Keys of leases that were asked for, and of which nothing was heard. */
  readonly #unheard = new Set<string>();
  /** Whether the epoch was raised over one of those: then it may stay charged, since nobody knows its name. */
  #isEpochStranded = false;
  /** Keys whose openings were denied, with whether a copy of one was granted later: its holder may never ask again. */
  readonly #deniedKeys = new Map<string, boolean>();
  #ids = 0;
  #epochs = 0;
  #keys = 0;
  readonly pages = new Set<{ hide(): void; show(): void }>();

  constructor(allocated: number) {
    this.authority = new LocalAuthority({ tenant: "acme", now: () => this.nowMs });
    this.authority.ledger.createBudget({
      scope: "tenant:acme",
      unit: "TOKENS",
      allocated: { unit: "TOKENS", amount: allocated },
    });
  }

  /** The authority's figures of the one budget. */
  figures() {
    const reply = this.authority.ledger.balances();
    if (!reply.ok) throw new Error(reply.message);
    const [row] = reply.body.balances;
    if (row === undefined) throw new Error("no budget");
    const numberOf = (amount: { readonly amount: bigint | number } | undefined) =>
      Number(amount?.amount ?? 0);
    return {
      allocated: numberOf(row.allocated),
      spent: numberOf(row.spent),
      reserved: numberOf(row.reserved),
      debt: numberOf(row.debt),
      remaining: numberOf(row.remaining),
    };
  }

  open(options: Partial<LeasedBudgetOptions> = {}): Promise<LeasedBudget> {
    return LeasedBudget.open(this.lossy(), { ...this.options(), ...options });
  }

  options(): LeasedBudgetOptions {
    return {
      unit: "TOKENS",
      slice: { first: 100 },
      surroundings: {
        monotonicNow: () => this.nowMs - 1_700_000_000_000,
        now: () => this.nowMs + this.skewMs,
        random: () => 0.5,
        newKey: () => `key-${++this.#keys}`,
        setTimer: (run, ms) => this.after(ms, run),
        sleep: (ms, signal) =>
          new Promise((resolve, reject) => {
            const cancel = this.after(ms, resolve);
            signal?.addEventListener("abort", () => {
              cancel();
              reject(signal.reason);
            });
          }),
        onPage: (listener) => {
          this.pages.add(listener);
          return () => this.pages.delete(listener);
        },
      },
    };
  }

  after(ms: number, run: () => void): () => void {
    const id = ++this.#ids;
    this.#timers.set(id, { atMs: this.nowMs + ms, run });
    return () => this.#timers.delete(id);
  }

  /** Whether there may be leases that no holder knows. */
  get hasStranded(): boolean {
    return this.#isEpochStranded || [...this.#deniedKeys.values()].some((isGranted) => isGranted);
  }

  /** How many timers are set. */
  get timers(): number {
    return this.#timers.size;
  }

  /** What an operator does after the authority was restored from a backup. */
  raiseEpoch(): void {
    this.#epochs++;
    if (this.#unheard.size > 0) this.#isEpochStranded = true;
    this.authority.ledger.raiseLeaseEpoch();
  }

  /** Lets everything happen that is due within this time, in its order. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.nowMs + ms;
    await settled();
    for (let events = 0; ; events++) {
      if (events > EVENTS_MAX) throw new Error(`more than ${EVENTS_MAX} timers within ${ms} ms`);
      const due = [...this.#timers].filter(([, { atMs }]) => atMs <= untilMs);
      const [next] = due.sort(([a, x], [b, y]) => x.atMs - y.atMs || a - b);
      if (next === undefined) break;
      const [id, { atMs, run }] = next;
      this.#timers.delete(id);
      this.nowMs = Math.max(this.nowMs, atMs);
      run();
      await settled();
    }
    this.nowMs = Math.max(this.nowMs, untilMs);
  }

  /** Time passes while nobody runs: timers are late. */
  sleep(ms: number): void {
    this.nowMs += ms;
  }

  /** The authority as it is reached over a bad line. */
  lossy(): LeaseAuthority {
    const { authority } = this;
    return {
      lease: (request: LeaseRequest, options?: CallOptions) => {
        const epochs = this.#epochs;
        const key = request.idempotencyKey ?? "";
        this.#unheard.add(key);
        // A request that wanders until after a restore opens a lease that nobody knows: no holder can help that.
        return this.#carry(() => {
          if (this.#epochs !== epochs) throw unreachable();
          const delivered = authority.lease(request, options);
          return delivered.then((answer) => {
            if (answer.ok && this.#deniedKeys.has(key)) this.#deniedKeys.set(key, true);
            return answer;
          });
        }).then((answer) => {
          this.#unheard.delete(key);
          if (answer.ok) this.#deniedKeys.delete(key);
          else this.#deniedKeys.set(key, false);
          return answer;
        });
      },
      renewLease: (name: LeaseName, renewal: LeaseRenewal, options?: CallOptions) =>
        this.#carry(() => authority.renewLease(name, renewal, options)),
      returnLease: (name: LeaseName, report: LeaseReport, options?: CallOptions) =>
        this.#carry(() => authority.returnLease(name, report, options)),
      leases: (query, options) => authority.leases(query, options),
      exposure: (options) => authority.exposure(options),
    };
  }

  async #carry<T>(deliver: () => Promise<T>): Promise<T> {
    this.calls++;
    if (this.isCutOff) throw unreachable();
    const { kind, delayMs } = this.faults.shift() ?? NO_FAULT;
    const ignore = (): void =>
      void Promise.resolve()
        .then(deliver)
        .catch(() => undefined);
    if (kind === "lost-request") throw unreachable();
    if (kind === "late") {
      this.after(delayMs, ignore);
      throw unreachable();
    }
    if (delayMs > 0) await this.#pass(delayMs);
    const answer = await deliver();
    if (kind === "twice") this.after(delayMs, ignore);
    if (kind === "lost-answer") throw unreachable();
    if (delayMs > 0) await this.#pass(delayMs);
    return answer;
  }

  #pass(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }
}

/** Everything that needs no time has happened. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await undefined;
}
