// A holder in a tab, as simple as one can be: it takes what it was lent, reports and gives back when it is told to. What it
// really spent is known here and nowhere else. Invariant: it never takes more than it knows to have been granted.
// Who may call: tests of the tabs.

import type { CallOptions, Denied } from "../../src/authority/authority.ts";
import type { LeaseAuthority, Leased, LeaseReport } from "../../src/authority/leases.ts";

export class TabSpender {
  readonly #authority: LeaseAuthority;
  readonly #name: string;
  #lease: Leased | undefined;
  granted = 0;
  returned = 0;
  spent = 0;
  held = 0;
  sequence = 0;
  /** Takes nothing any more. */
  stopped = true;
  isDead = false;
  isOpening = false;
  /** Of a slice that was asked for, and was not heard to be granted: asked for again, it is the same one. */
  #key: string | undefined;
  #keys = 0;

  /** @param name - unlike that of any other spender beside it */
  constructor(authority: LeaseAuthority, name: string) {
    this.#authority = authority;
    this.#name = name;
  }

  get lease(): Leased | undefined {
    return this.#lease;
  }

  get idle(): number {
    return this.stopped ? 0 : this.granted - this.returned - this.spent - this.held;
  }

  /** The most that it may come to have spent without hearing another word. */
  get reach(): number {
    return this.spent + this.held + (this.isDead ? 0 : this.idle);
  }

  /** Whether it may have a slice that it does not know. */
  get isUnsure(): boolean {
    return this.#key !== undefined;
  }

  async open(want: number, min = 1): Promise<Leased | Denied> {
    this.isOpening = true;
    this.#key ??= `${this.#name}-${++this.#keys}`;
    const idempotencyKey = this.#key;
    const answer = await this.#authority.lease({ unit: "TOKENS", want, min, idempotencyKey }).finally(() => {
      this.isOpening = false;
    });
    if (answer.ok) this.#key = undefined;
    if (!answer.ok || this.isDead) return answer;
    this.#lease = answer;
    this.granted = answer.granted.amount;
    this.stopped = answer.state === "ended";
    return answer;
  }

  /** Spends at most so much of what is here. */
  spend(amount: number): void {
    this.spent += Math.min(amount, this.idle);
  }

  hold(amount: number): void {
    this.held += Math.min(amount, this.idle);
  }

  /** The calls under way end, and have spent all that they held or less. */
  settle(spent: number): void {
    this.spent += Math.min(spent, this.held);
    this.held = 0;
  }

  async renew(want: number, back = 0): Promise<Leased> {
    this.returned += Math.min(back, this.idle);
    const answer = await this.#authority.renewLease(this.#leaseName, { ...this.#report(), want });
    if (this.isDead) return answer;
    if (answer.state === "ended") this.stopped = true;
    else this.granted = Math.max(this.granted, answer.granted.amount);
    return answer;
  }

  async return(options?: CallOptions): Promise<Leased> {
    this.stopped = true;
    return this.#authority.returnLease(this.#leaseName, this.#report(), options);
  }

  get #leaseName() {
    if (this.#lease === undefined) throw new Error("nothing was lent");
    const { leaseId, epoch, granted } = this.#lease;
    return { leaseId, epoch, unit: granted.unit };
  }

  #report(): LeaseReport {
    this.sequence += 1;
    const { sequence, spent, held, returned } = this;
    return { sequence, spent, held, returned };
  }
}
