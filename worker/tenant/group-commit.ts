// Group commit: calls that arrive together are decided in their order inside one transaction and share one commit, since
// the commit (a flush to disk, a quorum of replicas) costs far more than a decision. Invariant: a caller hears of its
// decision only after the whole group's transaction has ended; a call that throws fails alone; if the group's
// transaction fails, all of its calls do. Who may call: TenantBudget, for every operation.

/** Calls that wait at once. At 0.1 to 0.3 ms each they are decided within a third of a second; a client that waits longer retries. */
export const WAITING_CALLS_MAX = 1_000;

export interface GroupCommitOptions {
  /** Runs all decisions of a group as one transaction. What it throws fails the whole group. */
  readonly transact: (decideAll: () => void) => void;
  /** Lets the calls that are on their way arrive. Nothing else delays a decision. */
  readonly gather: () => Promise<void>;
}

/** A call in the line. */
interface Call {
  /** Decides; from then on it is known what `tell` will say. Never throws. */
  readonly decide: () => void;
  readonly tell: () => void;
  readonly fail: (error: unknown) => void;
}

export class GroupCommit {
  readonly #options: GroupCommitOptions;
  #waiting: Call[] = [];

  constructor(options: GroupCommitOptions) {
    this.#options = options;
  }

  /** Whether one more call would be one too many. */
  get isFull(): boolean {
    return this.#waiting.length >= WAITING_CALLS_MAX;
  }

  /**
   * Puts a call into the line. `decide` must be whole or not at all by itself (a nested transaction): what it throws
   * rejects this promise and nobody else's.
   */
  run<T>(decide: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let tell = (): void => reject(new Error("group commit: told before it was decided"));
      this.#waiting.push({
        decide: () => {
          try {
            const value = decide();
            tell = () => resolve(value);
          } catch (error) {
            tell = () => reject(error);
          }
        },
        tell: () => tell(),
        fail: reject,
      });
      if (this.#waiting.length === 1) void this.#decideGroup();
    });
  }

  async #decideGroup(): Promise<void> {
    await this.#options.gather();
    const calls = this.#waiting;
    this.#waiting = [];
    try {
      this.#options.transact(() => {
        for (const call of calls) call.decide();
      });
    } catch (error) {
      for (const call of calls) call.fail(error);
      return;
    }
    for (const call of calls) call.tell();
  }
}
