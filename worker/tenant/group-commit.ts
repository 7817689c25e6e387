// Group commit: calls that arrive together are decided in their order inside one transaction and share one commit, since
// the commit (a flush to disk, a quorum of replicas) costs far more than a decision. Invariant: a caller hears of its
// decision only after the transaction that holds it has ended; a call that throws fails alone: the group is then undone
// and its calls are decided again, one transaction each. Who may call: TenantBudget, for every operation; the simulation
// calls `decideTogether`, which has no wait in it.

/** Calls that wait at once. At 0.1 to 0.3 ms each they are decided within a third of a second; a client that waits longer retries. */
export const WAITING_CALLS_MAX = 1_000;

/** Runs decisions as one transaction. If one of them throws, everything is undone and `transact` throws. */
export type TransactGroup = (decideAll: () => void) => void;

export interface GroupCommitOptions {
  readonly transact: TransactGroup;
  /** Lets the calls that are on their way arrive. Nothing else delays a decision; if it fails, nobody is waited for. */
  readonly gather: () => Promise<void>;
}

/** A call in the line. */
export interface GroupCall {
  /** Decides. May be called again after what it did was undone. */
  readonly decide: () => void;
  /** Tells what was decided last. */
  readonly tell: () => void;
  readonly fail: (error: unknown) => void;
}

export class GroupCommit {
  readonly #options: GroupCommitOptions;
  #waiting: GroupCall[] = [];

  constructor(options: GroupCommitOptions) {
    this.#options = options;
  }

  /** Whether one more call would be one too many. */
  get isFull(): boolean {
    return this.#waiting.length >= WAITING_CALLS_MAX;
  }

  /** Puts a call into the line. What `decide` throws rejects this promise and nobody else's. */
  run<T>(decide: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let tell = (): void => reject(new Error("group commit: told before it was decided"));
      this.#waiting.push({
        decide: () => {
          const value = decide();
          tell = () => resolve(value);
        },
        tell: () => tell(),
        fail: reject,
      });
      if (this.#waiting.length === 1) void this.#decideGroup();
    });
  }

  async #decideGroup(): Promise<void> {
    try {
      await this.#options.gather();
    } catch (error) {
      // Those who wait must be decided all the same: nobody else will ever take them out of the line.
      console.error("purser: a group could not gather and is decided as it stands", error);
    }
    const calls = this.#waiting;
    this.#waiting = [];
    decideTogether(calls, this.#options.transact);
  }
}

/** Decides calls in their order and tells each what became of it: all in one transaction, or each in its own. */
export function decideTogether(calls: readonly GroupCall[], transact: TransactGroup): void {
  // A throw is a bug or a failing disk, and rare: no call pays for a savepoint of its own to be safe from another's.
  if (calls.length > 1 && decided(calls, transact) === undefined) return;
  for (const call of calls) {
    const failure = decided([call], transact);
    if (failure !== undefined) call.fail(failure.error);
  }
}

/** Decides these calls in one transaction and tells them; or tells nobody and returns why that could not be. */
function decided(
  calls: readonly GroupCall[],
  transact: TransactGroup,
): { readonly error: unknown } | undefined {
  try {
    transact(() => {
      for (const call of calls) call.decide();
    });
  } catch (error) {
    return { error };
  }
  for (const call of calls) call.tell();
  return undefined;
}
