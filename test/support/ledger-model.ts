// A reference model of the ledger, written from the protocol's tables and far simpler than the ledger: plain maps, one
// list of reservations walked each time. Invariant: it shares no code with what it judges.

export type Policy = "REJECT" | "ALLOW_IF_AVAILABLE" | "ALLOW_WITH_OVERDRAFT";

export interface ModelAccount {
  allocated: bigint;
  spent: bigint;
  debt: bigint;
  limit: bigint;
  mark: boolean;
}

export interface ModelReservation {
  id: string;
  scopes: string[];
  amount: bigint;
  policy: Policy;
  expiresAtMs: number;
  graceMs: number;
  extensions: number;
  state: "ACTIVE" | "COMMITTED" | "RELEASED" | "EXPIRED";
}

const min = (a: bigint, b: bigint) => (a < b ? a : b);
const atLeastZero = (a: bigint) => (a > 0n ? a : 0n);

export class LedgerModel {
  readonly accounts = new Map<string, ModelAccount>();
  readonly reservations: ModelReservation[] = [];
  readonly maxTtlMs = 3_600_000;
  nowMs: number;

  constructor(nowMs: number) {
    this.nowMs = nowMs;
  }

  /** What is held on a scope: never stored, always the sum of what is active. */
  reserved(scope: string): bigint {
    return this.reservations
      .filter((each) => each.state === "ACTIVE" && each.scopes.includes(scope))
      .reduce((sum, each) => sum + each.amount, 0n);
  }

  remaining(scope: string): bigint {
    const { allocated, spent, debt } = this.#account(scope);
    return allocated - spent - debt - this.reserved(scope);
  }

  isOverLimit(scope: string): boolean {
    const { debt, limit, mark } = this.#account(scope);
    return mark || (limit > 0n && debt > limit);
  }

  advance(ms: number): void {
    this.nowMs += ms;
    for (const each of this.reservations) {
      if (each.state === "ACTIVE" && this.nowMs > each.expiresAtMs + each.graceMs) each.state = "EXPIRED";
    }
  }

  /** The expected answer to a reserve; on `200` the caller adds the reservation with the id it got. */
  judgeReserve(scopes: string[], amount: bigint): string {
    const budgeted = scopes.filter((scope) => this.accounts.has(scope));
    if (budgeted.length === 0) return "404 NOT_FOUND";
    if (budgeted.some((scope) => this.isOverLimit(scope))) return "409 OVERDRAFT_LIMIT_EXCEEDED";
    if (budgeted.some((scope) => this.#account(scope).debt > 0n && this.#account(scope).limit === 0n)) {
      return "409 DEBT_OUTSTANDING";
    }
    return budgeted.some((scope) => this.remaining(scope) < amount) ? "409 BUDGET_EXCEEDED" : "200";
  }

  /** A reserve's answer as a decision: what decide and a dry run say. */
  judgeDecide(scopes: string[], amount: bigint): string {
    const verdict = this.judgeReserve(scopes, amount);
    if (verdict === "200") return "ALLOW";
    return verdict === "404 NOT_FOUND" ? "DENY BUDGET_NOT_FOUND" : verdict.replace("409", "DENY");
  }

  /** Charges `actual` without a reservation; the answer, and on `201` what was charged. */
  event(scopes: string[], actual: bigint, policy: Policy): { verdict: string; charged: bigint } {
    const budgeted = scopes.filter((scope) => this.accounts.has(scope));
    if (budgeted.length === 0) return { verdict: "404 NOT_FOUND", charged: 0n };
    const short = budgeted.filter((scope) => this.remaining(scope) < actual);
    if (policy === "REJECT" && short.length > 0) return { verdict: "409 BUDGET_EXCEEDED", charged: 0n };
    const plan = this.#planOverage(
      { scopes: budgeted, policy: policy === "REJECT" ? "ALLOW_IF_AVAILABLE" : policy },
      actual,
    );
    if (plan.verdict !== "200") return { verdict: plan.verdict, charged: 0n };
    for (const scope of budgeted) {
      const account = this.#account(scope);
      const paid = min(atLeastZero(this.remaining(scope)), plan.charge);
      account.spent += paid;
      account.debt += plan.charge - paid;
      const mayOwe = policy === "ALLOW_WITH_OVERDRAFT" && account.limit > 0n;
      if (plan.charge < actual && short.includes(scope) && !mayOwe) account.mark = true;
    }
    return { verdict: "201", charged: plan.charge };
  }

  /** Settles with `actual`; the answer, and on `200` what was charged. */
  commit(reservation: ModelReservation, actual: bigint): { verdict: string; charged: bigint } {
    const refused = this.#unsettleable(reservation);
    if (refused !== undefined) return { verdict: refused, charged: 0n };
    const over = actual - reservation.amount;
    if (over <= 0n) {
      this.#close(reservation, "COMMITTED");
      for (const scope of reservation.scopes) this.#account(scope).spent += actual;
      return { verdict: "200", charged: actual };
    }
    const plan = this.#planOverage(reservation, over);
    if (plan.verdict !== "200") return { verdict: plan.verdict, charged: 0n };
    const remaining = new Map(reservation.scopes.map((scope) => [scope, this.remaining(scope)]));
    this.#close(reservation, "COMMITTED");
    for (const scope of reservation.scopes) {
      const account = this.#account(scope);
      const available = remaining.get(scope) ?? 0n;
      const paid = available >= plan.charge ? plan.charge : min(atLeastZero(available), plan.charge);
      account.spent += reservation.amount + paid;
      account.debt += plan.charge - paid;
      const short = available < over;
      const capped =
        plan.charge < over && (reservation.policy === "ALLOW_IF_AVAILABLE" || account.limit === 0n);
      if (capped && short) account.mark = true;
    }
    return { verdict: "200", charged: reservation.amount + plan.charge };
  }

  release(reservation: ModelReservation): string {
    const refused = this.#unsettleable(reservation);
    if (refused === undefined) this.#close(reservation, "RELEASED");
    return refused ?? "200";
  }

  extend(reservation: ModelReservation, byMs: number): string {
    const refused = this.#unsettleable(reservation);
    if (refused !== undefined) return refused;
    if (this.nowMs > reservation.expiresAtMs) return "410 RESERVATION_EXPIRED";
    if (reservation.extensions >= 10) return "409 MAX_EXTENSIONS_EXCEEDED";
    reservation.extensions += 1;
    const latest = Math.max(reservation.expiresAtMs, this.nowMs + this.maxTtlMs);
    reservation.expiresAtMs = Math.min(reservation.expiresAtMs + byMs, latest);
    return "200";
  }

  fund(scope: string, operation: string, amount: bigint): string {
    const account = this.accounts.get(scope);
    if (account === undefined) return "404 BUDGET_NOT_FOUND";
    if (operation === "DEBIT" && this.remaining(scope) < amount) return "409 BUDGET_EXCEEDED";
    if (operation === "CREDIT") account.allocated += amount;
    if (operation === "DEBIT") account.allocated -= amount;
    if (operation === "RESET" || operation === "RESET_SPENT") account.allocated = amount;
    if (operation === "RESET_SPENT") account.spent = 0n;
    if (operation === "REPAY_DEBT") {
      const repaid = min(account.debt, amount);
      account.debt -= repaid;
      account.allocated += amount - repaid;
    }
    account.mark = false;
    return "200";
  }

  #planOverage(
    reservation: Pick<ModelReservation, "scopes" | "policy">,
    over: bigint,
  ): { verdict: string; charge: bigint } {
    if (reservation.policy === "REJECT") return { verdict: "409 BUDGET_EXCEEDED", charge: 0n };
    const overdraft = reservation.policy === "ALLOW_WITH_OVERDRAFT";
    let charge = over;
    for (const scope of reservation.scopes) {
      const canOwe = overdraft && this.#account(scope).limit > 0n;
      if (!canOwe) charge = min(charge, atLeastZero(this.remaining(scope)));
    }
    for (const scope of overdraft ? reservation.scopes : []) {
      const { debt, limit } = this.#account(scope);
      const deficit = charge - min(charge, atLeastZero(this.remaining(scope)));
      if (limit > 0n && deficit > 0n && debt + deficit > limit) {
        return { verdict: "409 OVERDRAFT_LIMIT_EXCEEDED", charge: 0n };
      }
    }
    return { verdict: "200", charge };
  }

  #unsettleable(reservation: ModelReservation): string | undefined {
    if (reservation.state === "EXPIRED") return "410 RESERVATION_EXPIRED";
    return reservation.state === "ACTIVE" ? undefined : "409 RESERVATION_FINALIZED";
  }

  #close(reservation: ModelReservation, state: ModelReservation["state"]): void {
    reservation.state = state;
  }

  #account(scope: string): ModelAccount {
    const account = this.accounts.get(scope);
    if (account === undefined) throw new Error(`model: no account ${scope}`);
    return account;
  }
}
