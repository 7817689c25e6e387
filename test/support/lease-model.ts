// A reference model of lending, written from docs/PROTOCOL.md and far simpler than the ledger: plain maps, one list of
// leases that is walked each time, and every figure of a budget a sum over what happened. Invariant: it shares no code with
// what it judges. One unit, no periods, no restores.

export interface LentAccount {
  allocated: bigint;
  frozen: boolean;
  /** What was paid out of the budget and what beyond it; together the sum of all that leases were charged. */
  spent: bigint;
  debt: bigint;
  /** Who was refused here, in the order in which each was last. */
  refused: { readonly who: string; readonly atMs: number }[];
}

export interface ModelLease {
  id: string;
  /** The budgeted scopes of the subject that hold it; a renewal may move it. */
  scopes: string[];
  subject: readonly string[];
  granted: bigint;
  spent: bigint;
  returned: bigint;
  held: bigint;
  charged: bigint;
  sequence: number;
  ttlMs: number;
  expiresAtMs: number;
  policy: "charge" | "refund";
  status: "ACTIVE" | "RETURNED" | "EXPIRED";
  ended: boolean;
}

export interface ModelReport {
  readonly sequence: number;
  readonly spent: bigint;
  readonly held: bigint;
  readonly returned: bigint;
}

const min = (first: bigint, ...rest: bigint[]): bigint => {
  let least = first;
  for (const each of rest) if (each < least) least = each;
  return least;
};
const max = (first: bigint, second: bigint): bigint => (first < second ? second : first);

export class LeaseModel {
  readonly accounts = new Map<string, LentAccount>();
  readonly leases: ModelLease[] = [];
  readonly graceMs = 5_000;
  nowMs: number;

  constructor(nowMs: number) {
    this.nowMs = nowMs;
  }

  static outstanding(lease: ModelLease): bigint {
    return lease.ended ? 0n : max(0n, lease.granted - lease.returned - lease.spent);
  }

  reserved(scope: string): bigint {
    return this.#on(scope).reduce((sum, lease) => sum + LeaseModel.outstanding(lease), 0n);
  }

  remaining(scope: string): bigint {
    const { allocated, spent, debt } = this.#account(scope);
    return allocated - spent - this.reserved(scope) - debt;
  }

  advance(ms: number): void {
    this.nowMs += ms;
    const due = this.leases.filter((it) => !it.ended && this.nowMs > it.expiresAtMs + this.graceMs);
    for (const lease of due) this.#end(lease);
  }

  raiseEpoch(): void {
    for (const lease of this.leases) if (!lease.ended) this.#end(lease);
  }

  /** The grant to `who`, or the code of the refusal. */
  open(who: string, subject: readonly string[], want: bigint, least: bigint): bigint | string {
    const path = this.#budgeted(subject);
    if (path.length === 0) return "404 NOT_FOUND";
    const tightest = this.#tightest(path);
    const share = this.#share(tightest, this.#holders(tightest) + 1 + this.#refused(tightest, who));
    const grant = min(want, this.remaining(tightest), max(share, least));
    const amount = grant < least ? least : grant;
    const refusal = this.#refusal(path, amount);
    if (refusal === undefined) {
      for (const scope of path) this.#forget(scope, who);
      return amount;
    }
    if (refusal === "409 BUDGET_EXCEEDED") {
      const refusing = path.find((scope) => this.remaining(scope) < amount) ?? "";
      if (this.#holders(refusing) > 0) {
        this.#forget(refusing, who);
        this.#account(refusing).refused.push({ who, atMs: this.nowMs });
      }
    }
    return refusal;
  }

  /** What a report is answered: the lease's state after it, or the code of a refusal. */
  report(lease: ModelLease, report: ModelReport, want: bigint | "return", needed = 0n): string {
    const isLast = want === "return";
    if (report.sequence < lease.sequence) return "heard";
    if (report.sequence === lease.sequence) {
      const isSame = report.spent === lease.spent && !(isLast && lease.status === "ACTIVE");
      return isSame ? "heard" : "409 IDEMPOTENCY_MISMATCH";
    }
    if (report.spent < lease.spent) return "400 INVALID_REQUEST";
    if (lease.ended) {
      const told = report.spent + report.held;
      const total = isLast ? told : max(told, lease.spent + lease.charged);
      this.#charge(lease, total - lease.spent - lease.charged, 0n);
      const returned = max(lease.returned, min(report.returned, lease.granted));
      const { spent, held, sequence } = report;
      Object.assign(lease, { spent, held, returned, sequence, charged: total - spent });
      if (isLast) lease.status = "RETURNED";
      return "booked";
    }
    if (lease.status === "ACTIVE" && report.returned < lease.returned) return "400 INVALID_REQUEST";

    const before = LeaseModel.outstanding(lease);
    const stays = !isLast && lease.status === "ACTIVE";
    const returned = stays ? min(report.returned, lease.granted) : lease.returned;
    const unspent = max(0n, lease.granted - returned - report.spent);
    const held = min(report.held, unspent);
    const after = stays ? unspent : held;
    this.#charge(lease, report.spent - lease.spent, before - after, () => {
      const { spent, sequence } = report;
      lease.granted = max(lease.granted, spent + returned);
      Object.assign(lease, { spent, held, sequence, returned: stays ? returned : returned + unspent - held });
    });
    if (stays) this.#renew(lease, want, needed);
    else this.#return(lease);
    return "booked";
  }

  recall(lease: ModelLease): bigint {
    if (lease.status !== "ACTIVE") return 0n;
    const idle = LeaseModel.outstanding(lease) - lease.held;
    const path = this.#budgeted(lease.subject);
    if (this.#isFrozen(path) || path.join() !== lease.scopes.join()) return idle;
    const tightest = this.#tightest(path);
    const share = this.#share(tightest, this.#holders(tightest) + this.#refused(tightest));
    return this.remaining(tightest) < share ? max(0n, idle - share) : 0n;
  }

  #renew(lease: ModelLease, want: bigint, needed: bigint): void {
    const path = this.#budgeted(lease.subject);
    if (this.#isFrozen(path)) return;
    if (path.join() !== lease.scopes.join()) {
      const added = path.filter((scope) => !lease.scopes.includes(scope));
      if (this.#refusal(added, LeaseModel.outstanding(lease)) !== undefined) return;
      lease.scopes = path;
    }
    lease.expiresAtMs = Math.max(lease.expiresAtMs, this.nowMs + lease.ttlMs);
    const outstanding = LeaseModel.outstanding(lease);
    const tightest = this.#tightest(path);
    const share = max(this.#share(tightest, this.#holders(tightest) + this.#refused(tightest)), needed);
    const growth = max(0n, min(want - outstanding, this.remaining(tightest), share - outstanding));
    if (this.#refusal(path, growth) === undefined) lease.granted += growth;
  }

  #return(lease: ModelLease): void {
    lease.status = "RETURNED";
    if (LeaseModel.outstanding(lease) === 0n) lease.ended = true;
    else if (!this.#isFrozen(lease.scopes)) {
      lease.expiresAtMs = Math.max(lease.expiresAtMs, this.nowMs + lease.ttlMs);
    }
  }

  #end(lease: ModelLease): void {
    const rest = LeaseModel.outstanding(lease);
    lease.charged = lease.policy === "charge" ? rest : 0n;
    this.#charge(lease, lease.charged, rest, () => {
      lease.ended = true;
      lease.status = "EXPIRED";
    });
  }

  /** Moves `amount` to spent: `freed` of it was reserved until `apply`, more is taken from what remains, or owed. */
  #charge(lease: ModelLease, amount: bigint, freed: bigint, apply: () => void = () => undefined): void {
    const covered = new Map(
      lease.scopes.map((scope) => [scope, max(0n, this.remaining(scope)) + min(freed, amount)]),
    );
    // What is freed and not spent is free afterwards only: it does not cover what goes beyond.
    apply();
    for (const [scope, cover] of covered) {
      const account = this.#account(scope);
      if (amount >= 0n) {
        const paid = min(amount, cover);
        account.spent += paid;
        account.debt += amount - paid;
      } else {
        const repaid = min(account.debt, -amount);
        account.debt -= repaid;
        account.spent = max(0n, account.spent + amount + repaid);
      }
    }
  }

  #refusal(path: readonly string[], amount: bigint): string | undefined {
    if (this.#isFrozen(path)) return "409 BUDGET_FROZEN";
    if (path.some((scope) => this.#account(scope).debt > 0n)) return "409 DEBT_OUTSTANDING";
    return path.some((scope) => this.remaining(scope) < amount) ? "409 BUDGET_EXCEEDED" : undefined;
  }

  #isFrozen(path: readonly string[]): boolean {
    return path.some((scope) => this.#account(scope).frozen);
  }

  #budgeted(subject: readonly string[]): string[] {
    return subject.filter((scope) => this.accounts.has(scope));
  }

  #tightest(path: readonly string[]): string {
    return path.reduce((a, b) => (this.remaining(b) < this.remaining(a) ? b : a));
  }

  #share(scope: string, holders: number): bigint {
    const lent = this.#active(scope).reduce((sum, lease) => sum + LeaseModel.outstanding(lease), 0n);
    return max(0n, this.remaining(scope) + lent) / BigInt(Math.max(1, holders));
  }

  #holders(scope: string): number {
    return this.#active(scope).length;
  }

  /** How many were refused within a minute, but for `who`. */
  #refused(scope: string, who?: string): number {
    const waiting = this.#account(scope).refused.slice(-32);
    return waiting.filter((it) => it.who !== who && this.nowMs - it.atMs < 60_000).length;
  }

  #forget(scope: string, who: string): void {
    const account = this.#account(scope);
    account.refused = account.refused.filter((it) => it.who !== who);
  }

  #active(scope: string): ModelLease[] {
    return this.#on(scope).filter(({ status }) => status === "ACTIVE");
  }

  #on(scope: string): ModelLease[] {
    return this.leases.filter((lease) => !lease.ended && lease.scopes.includes(scope));
  }

  #account(scope: string): LentAccount {
    const account = this.accounts.get(scope);
    if (account === undefined) throw new Error(`the model has no budget on ${scope}`);
    return account;
  }
}
