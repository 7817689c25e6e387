// One tenant's ledger in this process, in the wire's shapes: the same rules over a store in memory, with a clock. What
// LocalAuthority stands on, and where its budgets are made. Invariant: the answers are those of the Durable Object, word
// for word; only ids' secrecy and durability are missing. Who may call: anyone, from one thread.

import { checkClock, checkObject } from "../arguments.ts";
import type { LedgerCounters } from "../ledger/counters.ts";
import type {
  BalancesQuery,
  BudgetInput,
  BudgetName,
  BudgetPatch,
  CommitInput,
  DecideInput,
  EventInput,
  ExtendInput,
  FundInput,
  PeriodInput,
  PolicyInput,
  PolicyPatchInput,
  PolicyQuery,
  ReleaseInput,
  ReservationsQuery,
  ReserveFitInput,
  ReserveInput,
} from "../ledger/inputs.ts";
import type {
  LeaseInput,
  LeaseRenewalInput,
  LeaseReturnInput,
  LeaseSettingsInput,
  LeasesQuery,
} from "../ledger/lease-schema.ts";
import { Ledger } from "../ledger/ledger.ts";
import { MemoryStore } from "../ledger/memory-store.ts";
import type { LedgerStore } from "../ledger/store.ts";

export interface LocalLedgerOptions {
  /** The tenant whose budgets these are: 3 to 64 lower-case letters, digits or "-". */
  readonly tenant: string;
  /** The clock, in milliseconds since the epoch: `Date.now`, or one that a test moves. */
  readonly now: () => number;
  /** What reservation ids are derived from. In one process nothing hangs on it, so a fixed text is the default. */
  readonly secret?: string;
  /** Where the ledger lives; a `MemoryStore` by default. */
  readonly store?: LedgerStore;
}

/**
 * A tenant's ledger without a server. Operations take the wire's request shapes and answer with a `Reply`: a refusal is a
 * value, never a throw.
 *
 * @throws TypeError when `tenant` is not a valid tenant id, or `now` no function
 * @example
 * const ledger = new LocalLedger({ tenant: "acme", now: Date.now });
 * ledger.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated: { unit: "TOKENS", amount: 1000 } });
 * const reply = ledger.reserve({
 *   idempotency_key: "call-1",
 *   subject: { tenant: "acme" },
 *   action: { kind: "llm.completion", name: "gpt" },
 *   estimate: { unit: "TOKENS", amount: 200 },
 * });
 */
export class LocalLedger {
  readonly tenant: string;
  readonly #ledger: Ledger;
  readonly #now: () => number;

  constructor(options: LocalLedgerOptions) {
    checkObject("options", options);
    const { tenant, now, secret = "local authority", store = new MemoryStore() } = options;
    checkClock("now", now);
    this.tenant = tenant;
    this.#now = now;
    this.#ledger = new Ledger({ tenant, store, secrets: [secret] });
    const created = this.#ledger.createTenant({ tenant_id: tenant, name: tenant }, this.#turn());
    if (!created.ok) throw new TypeError(created.message);
  }

  reserve(request: ReserveInput) {
    return this.#ledger.reserve(request, this.#turn());
  }

  reserveFit(request: ReserveFitInput) {
    return this.#ledger.reserveFit(request, this.#turn());
  }

  commit(reservationId: string, request: CommitInput) {
    return this.#ledger.commit(reservationId, request, this.#turn());
  }

  release(reservationId: string, request: ReleaseInput) {
    return this.#ledger.release(reservationId, request, this.#turn());
  }

  extend(reservationId: string, request: ExtendInput) {
    return this.#ledger.extend(reservationId, request, this.#turn());
  }

  decide(request: DecideInput) {
    return this.#ledger.decide(request, this.#turn());
  }

  event(request: EventInput) {
    return this.#ledger.event(request, this.#turn());
  }

  getReservation(reservationId: string) {
    return this.#ledger.getReservation(reservationId, this.#turn());
  }

  listReservations(query: ReservationsQuery = {}) {
    return this.#ledger.listReservations(query, this.#turn());
  }

  balances(query: BalancesQuery = { tenant: this.tenant }) {
    return this.#ledger.balances(query, this.#turn());
  }

  openLease(request: LeaseInput) {
    return this.#ledger.openLease(request, this.#turn());
  }

  renewLease(leaseId: string, request: LeaseRenewalInput) {
    return this.#ledger.renewLease(leaseId, request, this.#turn());
  }

  returnLease(leaseId: string, request: LeaseReturnInput) {
    return this.#ledger.returnLease(leaseId, request, this.#turn());
  }

  listLeases(query: LeasesQuery = {}) {
    return this.#ledger.listLeases(query, this.#turn());
  }

  /** The most that holders could spend without this ledger knowing it. */
  exposure() {
    return this.#ledger.exposure(this.#turn());
  }

  readLeaseSettings() {
    return this.#ledger.readLeaseSettings(this.#turn());
  }

  changeLeaseSettings(settings: LeaseSettingsInput) {
    return this.#ledger.changeLeaseSettings(settings, this.#turn());
  }

  /** Ends all leases, after the store was restored from a backup. */
  raiseLeaseEpoch() {
    return this.#ledger.raiseLeaseEpoch(this.#turn());
  }

  createBudget(request: BudgetInput) {
    return this.#ledger.createBudget(request, this.#turn());
  }

  lookupBudget(budget: BudgetName) {
    return this.#ledger.lookupBudget(budget, this.#turn());
  }

  updateBudget(budget: BudgetName, request: BudgetPatch) {
    return this.#ledger.updateBudget(budget, request, this.#turn());
  }

  /** Stops reserves, events and funding; what is reserved can still be settled. */
  freezeBudget(budget: BudgetName, request: { readonly reason?: string } = {}) {
    return this.#ledger.freezeBudget(budget, request, this.#turn());
  }

  unfreezeBudget(budget: BudgetName, request: { readonly reason?: string } = {}) {
    return this.#ledger.unfreezeBudget(budget, request, this.#turn());
  }

  fund(budget: BudgetName, request: FundInput) {
    return this.#ledger.fund(budget, request, this.#turn());
  }

  /** What was changed and when, newest first. */
  listAudit(query: { readonly operation?: string; readonly limit?: number; readonly cursor?: string } = {}) {
    return this.#ledger.listAudit(query, this.#turn());
  }

  /** What was counted since this ledger was made. */
  get counters(): Readonly<LedgerCounters> {
    return this.#ledger.counters;
  }

  /** Gives a budget a period: its figures are then those of the window that the clock's time lies in. */
  setPeriod(budget: BudgetName, request: PeriodInput) {
    return this.#ledger.setPeriod(budget, request, this.#turn());
  }

  removePeriod(budget: BudgetName) {
    return this.#ledger.removePeriod(budget, this.#turn());
  }

  getPeriod(budget: BudgetName) {
    return this.#ledger.getPeriod(budget, this.#turn());
  }

  createPolicy(request: PolicyInput) {
    return this.#ledger.createPolicy(request, this.#turn());
  }

  updatePolicy(policyId: string, request: PolicyPatchInput) {
    return this.#ledger.updatePolicy(policyId, request, this.#turn());
  }

  listPolicies(query: PolicyQuery = {}) {
    return this.#ledger.listPolicies(query, this.#turn());
  }

  #turn() {
    return { nowMs: this.#now() };
  }
}
