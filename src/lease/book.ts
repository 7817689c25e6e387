// What a holder has of its leases, and what it has told: the arithmetic of one local budget that is supplied by one lease
// after another. Pure; the local budget is moved by the holder. Who may call: the holder.
//
// Invariant, after each method:   within = paid + (granted − returned) + lent
//   within     the local budget's capacity, less all that was taken back out of it: what it may have out at most
//   paid       what the authority has charged for leases that are over: what they spent, and what they had under way
//   granted, returned   of the present lease, as the holder knows; the authority may have granted more, and has not yet
//              been told of all that was returned. So what it has set aside is never less.
//   lent       what the holder lent itself while it could not reach the authority; beyond all budgets
//
// What was lent, spent and reported is charged, as debt where there is nothing left, and counts as granted from then on. It
// uses up the allowance all the same, until the authority lends again: while a budget has debt it lends nothing.
//
// What is spent counts against `paid` first: a call that outlives its lease was charged with it. So no unit is reported
// under two leases, and at rest the reports come to exactly what was spent.

import type { LeaseName } from "../authority/leases.ts";

/** The local budget at one moment. */
export interface Reading {
  /** What was spent in all, over all leases. */
  readonly spent: number;
  /** What can be taken now. */
  readonly idle: number;
}

/** What a report says, but for its number. */
export interface Told {
  readonly spent: number;
  readonly held: number;
  readonly returned: number;
}

/** A lease that is over: what there is to charge for it is `spent + held`. */
export interface PastLease extends Told {
  readonly name: LeaseName;
  readonly sequence: number;
  /** What the authority has charged for it, by the last report that it has heard. */
  readonly charged: number;
  /** The authority has not been told the figures above. */
  readonly isDue: boolean;
}

export class LeaseBook {
  #paid = 0;
  #granted = 0;
  #returned = 0;
  #lent = 0;
  /** What the holder lent itself and was charged for since the authority last lent anything. */
  #overdrawn = 0;
  #within = 0;
  /** What the authority has heard of the present lease. */
  #toldSpent = 0;
  #toldReturned = 0;
  #past: PastLease[] = [];

  get granted(): number {
    return this.#granted;
  }

  get returned(): number {
    return this.#returned;
  }

  get paid(): number {
    return this.#paid;
  }

  get lent(): number {
    return this.#lent;
  }

  get within(): number {
    return this.#within;
  }

  /** Granted, and neither returned nor told to be spent; what past leases still have under way included. */
  get untold(): number {
    const present = Math.max(0, this.#granted - this.#returned - this.#toldSpent);
    return this.#past.reduce((sum, { held }) => sum + held, present);
  }

  /** What calls have used beyond their leases, and the authority is about to hear. */
  get uncharged(): number {
    return this.#past.reduce((sum, { spent, held, charged }) => sum + Math.max(0, spent + held - charged), 0);
  }

  get past(): readonly PastLease[] {
    return this.#past;
  }

  /** The authority has granted so much under the present lease, in all. @returns what to add to the local budget */
  grantedInAll(total: number): number {
    const more = Math.max(0, total - this.#granted);
    // What was reported beyond the grant counts as granted; only what goes beyond that was lent.
    const charged = Math.min(more, Math.max(0, this.#toldSpent + this.#toldReturned - this.#granted));
    this.#granted += more;
    const repaid = Math.min(this.#lent, more);
    this.#lent -= repaid;
    this.#overdrawn = more > charged ? 0 : this.#overdrawn + repaid;
    this.#within += more - repaid;
    return more - repaid;
  }

  /**
   * The holder lends itself up to `allowance`, what it was charged for since the last grant included.
   * @returns what to add to the local budget
   */
  lend(allowance: number): number {
    const more = Math.max(0, allowance - this.#lent - this.#overdrawn);
    this.#lent += more;
    this.#within += more;
    return more;
  }

  /** What can be given back of the present lease, and of what the holder lent itself. */
  returnable(reading: Reading): number {
    const ofLease = Math.max(0, this.#granted - this.#returned - this.#spentOf(reading));
    return Math.min(reading.idle, this.#lent + ofLease);
  }

  /**
   * `amount` was taken out of the local budget: first off what was lent, then off the present lease, and the rest off what
   * was charged for past ones, which is then to be corrected.
   * @param reading - from before it was taken
   */
  takenBack(amount: number, reading: Reading): void {
    const ofLent = Math.min(this.#lent, amount);
    const left = Math.max(0, this.#granted - this.#returned - this.#spentOf(reading));
    const ofLease = Math.min(left, amount - ofLent);
    this.#lent -= ofLent;
    this.#returned += ofLease;
    this.#within -= amount;
    this.#correct(amount - ofLent - ofLease);
  }

  /** What the next report says. `held` is whatever is neither idle nor spent, so that nothing is set free too early. */
  tell(reading: Reading): Told {
    const spent = Math.max(this.#toldSpent, this.#spentOf(reading));
    const rest = Math.max(0, this.#granted - this.#returned - spent);
    return { spent, held: Math.max(0, rest - reading.idle), returned: this.#returned };
  }

  /** The authority has heard a report on the present lease. */
  heard({ spent, returned }: Told): void {
    this.#toldSpent = Math.max(this.#toldSpent, spent);
    this.#toldReturned = Math.max(this.#toldReturned, returned);
  }

  /**
   * The authority has heard the report with which the present lease is over. @returns what to add to the local budget: what
   * was spent beyond the lease, and is charged now
   */
  ended(name: LeaseName, sequence: number, told: Told): number {
    const { spent, held } = told;
    const beyond = Math.max(0, spent + held - (this.#granted - this.#returned));
    this.#paid += spent + held;
    this.#past.push({ ...told, name, sequence, charged: spent + held, isDue: false });
    this.#granted = 0;
    this.#returned = 0;
    this.#toldSpent = 0;
    this.#toldReturned = 0;
    return this.#absorb(beyond);
  }

  /** The authority knows no such lease: what was used of it is as if the holder had lent it itself, until a grant covers it. */
  forgotten(): void {
    this.#lent += this.#granted - this.#returned;
    this.#granted = 0;
    this.#returned = 0;
    this.#toldSpent = 0;
    this.#toldReturned = 0;
  }

  /**
   * Nothing is under way any more: past leases have spent what they were charged, and the last one whatever there is
   * beyond. @returns what to add to the local budget
   */
  atRest(spent: number): number {
    this.#allSpent();
    const beyond = Math.max(0, spent - this.#paid);
    const last = this.#past.at(-1);
    if (beyond === 0 || last === undefined) return 0;
    this.#past[this.#past.length - 1] = { ...last, spent: last.spent + beyond, isDue: true };
    this.#paid += beyond;
    return this.#absorb(beyond);
  }

  /** A past lease's report has been sent with this number. */
  sentPast(name: LeaseName, sequence: number): void {
    this.#past = this.#past.map((it) => (it.name === name ? { ...it, sequence } : it));
  }

  /** The authority has heard what was told of a past lease. */
  heardPast(name: LeaseName, told: Told): void {
    const isAsTold = (it: PastLease) => it.spent === told.spent && it.held === told.held;
    const charged = told.spent + told.held;
    this.#past = this.#past.map((it) =>
      it.name === name ? { ...it, charged, isDue: it.isDue && !isAsTold(it) } : it,
    );
  }

  /** Forgets past leases that nothing can change any more, but for the last. */
  tidy(reading: Reading): void {
    if (reading.spent >= this.#paid) this.#allSpent();
    const last = this.#past.length - 1;
    this.#past = this.#past.filter((it, index) => it.isDue || it.held > 0 || index === last);
  }

  /** What was charged for calls under way has been spent, by them or by others since. */
  #allSpent(): void {
    this.#past = this.#past.map((it) =>
      it.held === 0 ? it : { ...it, spent: it.spent + it.held, held: 0, isDue: true },
    );
  }

  #spentOf({ spent }: Reading): number {
    return Math.max(0, spent - this.#paid);
  }

  /** Charged beyond what was within: what was lent pays for it, and the rest becomes part of the local budget. */
  #absorb(beyond: number): number {
    const repaid = Math.min(this.#lent, beyond);
    this.#lent -= repaid;
    this.#overdrawn += repaid;
    this.#within += beyond - repaid;
    return beyond - repaid;
  }

  /** So much of what past leases had under way came back unspent, the latest first. */
  #correct(amount: number): void {
    let left = amount;
    for (let index = this.#past.length - 1; index >= 0 && left > 0; index--) {
      const it = this.#past[index];
      if (it === undefined) continue;
      const less = Math.min(it.held, left);
      left -= less;
      this.#past[index] = {
        ...it,
        held: it.held - less,
        returned: it.returned + less,
        isDue: it.isDue || less > 0,
      };
    }
    this.#paid -= amount - left;
  }
}
