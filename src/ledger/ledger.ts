// The ledger: the rules of one tenant's budgets over a store. One method an operation, each one transaction.
// Invariant: refusals are values and change no figure; a throw is a bug and leaves no trace; for every budget, at every
// moment, remaining = allocated − spent − reserved − debt. Who may call: the Durable Object, LocalLedger, tests.
// Source: Cycles protocol v0.1.25; docs name where it is stricter.

import {
  createBudget,
  freezeBudget,
  listBudgets,
  lookupBudget,
  unfreezeBudget,
  updateBudget,
} from "./admin-budgets.ts";
import { fund } from "./admin-funding.ts";
import { createApiKey, listApiKeys, revokeApiKey, updateApiKey } from "./admin-keys.ts";
import { getPeriod, removePeriod, setPeriod } from "./admin-periods.ts";
import { createPolicy, listPolicies, updatePolicy } from "./admin-policies.ts";
import { createTenant, getTenant, updateTenant } from "./admin-tenants.ts";
import type {
  ApiKeyBody,
  ApiKeyDetailBody,
  ApiKeyListBody,
  AuditListBody,
  BudgetBody,
  BudgetListBody,
  FundBody,
  TenantBody,
} from "./admin-wire.ts";
import type { MintedKey } from "./api-keys.ts";
import { listAudit } from "./audit.ts";
import { type Reply, succeed } from "./codes.ts";
import { LedgerCore, type LedgerOptions, type Turn } from "./core.ts";
import type { LedgerCounters } from "./counters.ts";
import { decide } from "./decide.ts";
import { event } from "./event.ts";
import { introspect } from "./introspect.ts";
import { changeApiKeySettings, readApiKeySettings } from "./key-settings.ts";
import { changeLeaseSettings, raiseLeaseEpoch, readLeaseSettings } from "./lease-admin.ts";
import { exposure, listLeases } from "./lease-lists.ts";
import { renewLease, returnLease } from "./lease-reports.ts";
import type { ExposureBody, LeaseBody, LeaseListBody, LeaseSettingsBody } from "./lease-wire.ts";
import { openLease } from "./leases.ts";
import { LIMITS } from "./limits.ts";
import { listReservations } from "./list.ts";
import type { PeriodBody } from "./period-schema.ts";
import type { PolicyBody, PolicyListBody } from "./policy-schema.ts";
import { balances, getReservation } from "./reads.ts";
import { reserve, reserveFit } from "./reserve.ts";
import { commit, extend, release } from "./settle.ts";
import {
  attenuateToken,
  forgetTokens,
  issueToken,
  listTokens,
  renewToken,
  revokeToken,
} from "./token-operations.ts";
import type { TokenBody, TokenListBody } from "./token-schema.ts";
import type {
  ApiKeySettingsBody,
  BalancesBody,
  CommitBody,
  CountersBody,
  DecideBody,
  EventBody,
  ExtendBody,
  IntrospectBody,
  ReleaseBody,
  ReservationBody,
  ReservationListBody,
  ReserveBody,
} from "./wire.ts";

/**
 * One tenant's ledger. Requests are wire shapes (`ReserveInput` and its like) and are validated here, whoever sends
 * them; amounts may be safe integers or BigInt, and come back as BigInt. Every method answers with a `Reply`:
 * `{ ok: true, status, body }`, or `{ ok: false, status, error, message, details? }`.
 *
 * @throws RangeError when `turn.nowMs` is not a safe integer of milliseconds: a bug in the host
 */
export class Ledger {
  readonly #core: LedgerCore;

  constructor(options: LedgerOptions) {
    this.#core = new LedgerCore(options);
  }

  /** Takes `estimate` out of every budgeted scope of the subject, until committed, released or expired. 1 + scopes rows. */
  reserve(request: unknown, turn: Turn): Reply<ReserveBody> {
    return reserve(this.#core, request, turn);
  }

  /** The same for as much of the estimate as there is, and no less than its least. 1 + scopes rows. */
  reserveFit(request: unknown, turn: Turn): Reply<ReserveBody> {
    return reserveFit(this.#core, request, turn);
  }

  /** Settles a reservation with what was really spent, by its overage policy. 2 + scopes rows. */
  commit(id: string, request: unknown, turn: Turn): Reply<CommitBody> {
    return commit(this.#core, id, request, turn);
  }

  /** Gives a whole reservation back. 2 + scopes rows. */
  release(id: string, request: unknown, turn: Turn): Reply<ReleaseBody> {
    return release(this.#core, id, request, turn);
  }

  /** Moves a reservation's expiry outward. 1 row. */
  extend(id: string, request: unknown, turn: Turn): Reply<ExtendBody> {
    return extend(this.#core, id, request, turn);
  }

  /** What a reserve would be answered; takes nothing. 1 row, the answer. */
  decide(request: unknown, turn: Turn): Reply<DecideBody> {
    return decide(this.#core, request, turn);
  }

  /** Charges what no reservation stands for. 1 + scopes rows. */
  event(request: unknown, turn: Turn): Reply<EventBody> {
    return event(this.#core, request, turn);
  }

  /** Lends a slice of every budgeted scope of the subject, as much as is wanted or what there is. 1 + scopes rows. */
  openLease(request: unknown, turn: Turn): Reply<LeaseBody> {
    return openLease(this.#core, request, turn);
  }

  /** Books what a holder reports, and gives its lease a new life and more budget. 1 row, and those scopes that change. */
  renewLease(id: string, request: unknown, turn: Turn): Reply<LeaseBody> {
    return renewLease(this.#core, id, request, turn);
  }

  /** Books a holder's last report, and takes back all that it does not hold. 2 + scopes rows. */
  returnLease(id: string, request: unknown, turn: Turn): Reply<LeaseBody> {
    return returnLease(this.#core, id, request, turn);
  }

  /** A page of leases, newest first. Writes only the expiry of those it finds past their end. */
  listLeases(query: unknown, turn: Turn): Reply<LeaseListBody> {
    return listLeases(this.#core, query, turn);
  }

  /** The most that holders could spend and the ledger not know, by unit. */
  exposure(turn: Turn): Reply<ExposureBody> {
    return exposure(this.#core, turn);
  }

  readLeaseSettings(turn: Turn): Reply<LeaseSettingsBody> {
    return readLeaseSettings(this.#core, turn);
  }

  changeLeaseSettings(request: unknown, turn: Turn): Reply<LeaseSettingsBody> {
    return changeLeaseSettings(this.#core, request, turn);
  }

  /** Ends all leases, after the store was restored from a backup. */
  raiseLeaseEpoch(turn: Turn): Reply<LeaseSettingsBody> {
    return raiseLeaseEpoch(this.#core, turn);
  }

  /** What was counted since the host started. */
  get counters(): Readonly<LedgerCounters> {
    return this.#core.counters;
  }

  /** The same for the wire. */
  readCounters(): Reply<CountersBody> {
    const { figureFaults, commitsRefused, eventsRefused } = this.counters;
    return succeed({
      figure_faults: figureFaults,
      commits_refused: commitsRefused,
      events_refused: eventsRefused,
    });
  }

  /** Whether the caller's key stands, for a front that must say 401 before anything about a request it can't read. */
  checkKey(turn: Turn): Reply<null> {
    return this.#core.run(turn, (nowMs) => {
      const known = this.#core.authenticate(turn, nowMs);
      return known.ok ? succeed(null) : known;
    });
  }

  getReservation(id: string, turn: Turn): Reply<ReservationBody> {
    return getReservation(this.#core, id, turn);
  }

  /** A page of reservations, finished and expired ones included. Writes only the expiry of those it shows as expired. */
  listReservations(query: unknown, turn: Turn): Reply<ReservationListBody> {
    return listReservations(this.#core, query, turn);
  }

  /** What the caller's key may do. */
  introspect(turn: Turn): Reply<IntrospectBody> {
    return introspect(this.#core, turn);
  }

  balances(query: unknown, turn: Turn): Reply<BalancesBody> {
    return balances(this.#core, query, turn);
  }

  createTenant(request: unknown, turn: Turn): Reply<TenantBody> {
    return createTenant(this.#core, request, turn);
  }

  getTenant(turn: Turn): Reply<TenantBody> {
    return getTenant(this.#core, turn);
  }

  /** Changes, suspends, activates or closes the tenant. Closing ends all that it owns, in the same transaction. */
  updateTenant(request: unknown, turn: Turn): Reply<TenantBody> {
    return updateTenant(this.#core, request, turn);
  }

  createBudget(request: unknown, turn: Turn): Reply<BudgetBody> {
    return createBudget(this.#core, request, turn);
  }

  /** The budget that `query` names by scope and unit. */
  lookupBudget(query: unknown, turn: Turn): Reply<BudgetBody> {
    return lookupBudget(this.#core, query, turn);
  }

  listBudgets(query: unknown, turn: Turn): Reply<BudgetListBody> {
    return listBudgets(this.#core, query, turn);
  }

  updateBudget(query: unknown, request: unknown, turn: Turn): Reply<BudgetBody> {
    return updateBudget(this.#core, query, request, turn);
  }

  freezeBudget(query: unknown, request: unknown, turn: Turn): Reply<BudgetBody> {
    return freezeBudget(this.#core, query, request, turn);
  }

  unfreezeBudget(query: unknown, request: unknown, turn: Turn): Reply<BudgetBody> {
    return unfreezeBudget(this.#core, query, request, turn);
  }

  /** CREDIT, DEBIT, RESET, RESET_SPENT or REPAY_DEBT on the budget that `query` names by scope and unit. */
  fund(query: unknown, request: unknown, turn: Turn): Reply<FundBody> {
    return fund(this.#core, query, request, turn);
  }

  /** Gives the budget that `query` names by scope and unit a period. No figure changes. */
  setPeriod(query: unknown, request: unknown, turn: Turn): Reply<PeriodBody> {
    return setPeriod(this.#core, query, request, turn);
  }

  removePeriod(query: unknown, turn: Turn): Reply<PeriodBody> {
    return removePeriod(this.#core, query, turn);
  }

  /** A budget's period, its window and those that have passed. */
  getPeriod(query: unknown, turn: Turn): Reply<PeriodBody> {
    return getPeriod(this.#core, query, turn);
  }

  createPolicy(request: unknown, turn: Turn): Reply<PolicyBody> {
    return createPolicy(this.#core, request, turn);
  }

  updatePolicy(policyId: string, request: unknown, turn: Turn): Reply<PolicyBody> {
    return updatePolicy(this.#core, policyId, request, turn);
  }

  listPolicies(query: unknown, turn: Turn): Reply<PolicyListBody> {
    return listPolicies(this.#core, query, turn);
  }

  createApiKey(
    request: unknown,
    minted: Pick<MintedKey, "keyId" | "digest" | "prefix">,
    turn: Turn,
  ): Reply<ApiKeyBody> {
    return createApiKey(this.#core, request, minted, turn);
  }

  readApiKeySettings(keyId: string, turn: Turn): Reply<ApiKeySettingsBody> {
    return readApiKeySettings(this.#core, keyId, turn);
  }

  changeApiKeySettings(keyId: string, request: unknown, turn: Turn): Reply<ApiKeySettingsBody> {
    return changeApiKeySettings(this.#core, keyId, request, turn);
  }

  listApiKeys(query: unknown, turn: Turn): Reply<ApiKeyListBody> {
    return listApiKeys(this.#core, query, turn);
  }

  updateApiKey(keyId: string, request: unknown, turn: Turn): Reply<ApiKeyDetailBody> {
    return updateApiKey(this.#core, keyId, request, turn);
  }

  revokeApiKey(keyId: string, query: unknown, turn: Turn): Reply<ApiKeyDetailBody> {
    return revokeApiKey(this.#core, keyId, query, turn);
  }

  /** A new token, from an API key that may issue some or from a trusted Worker. `random` are the bytes of its id. */
  issueToken(request: unknown, random: Uint8Array, turn: Turn): Reply<TokenBody> {
    return issueToken(this.#core, request, random, turn);
  }

  /** A narrower token, from the token that calls. */
  attenuateToken(request: unknown, random: Uint8Array, turn: Turn): Reply<TokenBody> {
    return attenuateToken(this.#core, request, random, turn);
  }

  renewToken(tokenId: string, request: unknown, turn: Turn): Reply<TokenBody> {
    return renewToken(this.#core, tokenId, request, turn);
  }

  revokeToken(tokenId: string, query: unknown, turn: Turn): Reply<TokenBody> {
    return revokeToken(this.#core, tokenId, query, turn);
  }

  listTokens(query: unknown, turn: Turn): Reply<TokenListBody> {
    return listTokens(this.#core, query, turn);
  }

  listAudit(query: unknown, turn: Turn): Reply<AuditListBody> {
    return listAudit(this.#core, query, turn);
  }

  /** Settles what is due, a bounded number, and prunes old rows. No decision depends on it ever running. */
  sweep(turn: Turn): number {
    return this.#core.run(turn, (nowMs) => {
      this.#core.prune(nowMs, LIMITS.sweepHoldsPerAlarm);
      forgetTokens(this.#core, nowMs, LIMITS.tokensLookedAtPerAlarm);
      return this.#core.sweepDue(nowMs, LIMITS.sweepHoldsPerAlarm);
    });
  }

  /** The earliest moment at which a reservation or a lease is past its grace; `undefined` while nothing is held. */
  get nextDeadlineMs(): number | undefined {
    return this.#core.nextDeadlineMs;
  }
}
