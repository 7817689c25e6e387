// What is really true of one lease, on its holder's side: what was spent, what is under way, what is still within reach.
// The judge compares the authority's books with it; nobody else sees it. Invariant: while the holder keeps its rules,
// granted = returned + spent + held + idle; nothing is taken once it has stopped. Who may call: the holder's scripts.

import type { Subject, Unit } from "purser/ledger";

export class Slice {
  readonly id: string;
  readonly epoch: number;
  readonly subject: Subject;
  readonly unit: Unit;
  /** All that it has heard was granted. */
  granted: bigint;
  returned = 0n;
  spent = 0n;
  held = 0n;
  /** What a liar reports beyond what it spent. */
  invented = 0n;
  sequence = 0;
  /** Until when it may take, by the holder's own clock. */
  deadlineMs: number;
  /** It takes nothing new any more: it was told so, or gave the rest back, or is dead. */
  stopped = false;
  /** The authority has acknowledged a return after which nothing is under way. */
  closed = false;

  constructor(known: Pick<Slice, "id" | "epoch" | "subject" | "unit" | "granted" | "deadlineMs">) {
    this.id = known.id;
    this.epoch = known.epoch;
    this.subject = known.subject;
    this.unit = known.unit;
    this.granted = known.granted;
    this.deadlineMs = known.deadlineMs;
  }

  get idle(): bigint {
    return this.granted - this.returned - this.spent - this.held;
  }

  /** The most that it may come to have spent, without being granted more. */
  get reach(): bigint {
    return this.spent + this.held + (this.stopped ? 0n : this.idle);
  }

  /** What it says it has spent. */
  get claimed(): bigint {
    return this.spent + this.invented;
  }

  /** Takes it out of its own reach before anyone is told. */
  giveBack(amount: bigint): void {
    this.returned += amount;
  }

  /** Starts a call that may spend up to this. */
  hold(amount: bigint): void {
    this.held += amount;
  }

  settle(held: bigint, spent: bigint): void {
    this.held -= held;
    this.spent += spent;
  }
}
