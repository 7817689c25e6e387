// What is really true of one lease, on its holder's side: what was spent, what is under way, what is still within reach.
// The judge compares the authority's books with it; nobody else sees it. What it may have out is reckoned by the book of
// LeasedBudget itself. Invariant: while the holder keeps its rules, granted + lent = returned + spent + held + idle;
// nothing is taken once it has stopped. Who may call: the holder's scripts.

import type { Subject, Unit } from "purser/ledger";
import { LeaseBook } from "../../../src/lease/book.ts";

export class Slice {
  readonly id: string;
  readonly epoch: number;
  readonly subject: Subject;
  readonly unit: Unit;
  /** What it may lend itself at the most, all told: what was declared of it beforehand. */
  readonly allowance: bigint;
  readonly #book = new LeaseBook();
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

  constructor(
    known: Pick<Slice, "id" | "epoch" | "subject" | "unit" | "granted" | "deadlineMs" | "allowance">,
  ) {
    this.id = known.id;
    this.epoch = known.epoch;
    this.subject = known.subject;
    this.unit = known.unit;
    this.deadlineMs = known.deadlineMs;
    this.allowance = known.allowance;
    this.#book.grantedInAll(Number(known.granted));
  }

  /** All that it has heard was granted. */
  get granted(): bigint {
    return BigInt(this.#book.granted);
  }

  get returned(): bigint {
    return BigInt(this.#book.returned);
  }

  get idle(): bigint {
    return BigInt(this.#book.within) - this.spent - this.held;
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
    this.#book.takenBack(Number(amount), { spent: Number(this.spent), idle: Number(this.idle) });
  }

  /** The authority has answered what it was told: so much was granted in all, and what it lent itself and has not used is gone. */
  heard(granted: bigint, told: { readonly spent: bigint; readonly returned: bigint }): void {
    this.#book.heard({ spent: Number(told.spent), held: 0, returned: Number(told.returned) });
    this.#book.grantedInAll(Number(granted));
    const lent = BigInt(this.#book.lent);
    this.giveBack(lent < this.idle ? lent : this.idle);
  }

  /** The authority does not answer. @returns whether it lent itself anything */
  lendItself(): boolean {
    return this.#book.lend(Number(this.allowance)) > 0;
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
