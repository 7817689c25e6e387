// What a Worker with the TENANT_BUDGET binding may call on a tenant's Durable Object. Types only: the object implements
// them (worker/tenant), and whoever calls needs nothing else of it.

import type {
  ApiKeyDetailBody,
  ApiKeyListBody,
  AuditListBody,
  BudgetBody,
  BudgetListBody,
  FundBody,
  TenantBody,
} from "../ledger/admin-wire.ts";
import type { Reply } from "../ledger/codes.ts";
import type {
  ApiKeySettingsInput,
  AuditQuery,
  BalancesQuery,
  BudgetInput,
  BudgetName,
  BudgetPatch,
  BudgetsQuery,
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
  TenantInput,
  TenantPatchInput,
  TransitionInput,
} from "../ledger/inputs.ts";
import type {
  LeaseInput,
  LeaseRenewalInput,
  LeaseReturnInput,
  LeaseSettingsInput,
  LeasesQuery,
} from "../ledger/lease-schema.ts";
import type { ExposureBody, LeaseBody, LeaseListBody, LeaseSettingsBody } from "../ledger/lease-wire.ts";
import type { PeriodBody } from "../ledger/period-schema.ts";
import type { PolicyBody, PolicyListBody } from "../ledger/policy-schema.ts";
import type {
  IssuedTokenBody,
  TokenBody,
  TokenInput,
  TokenListBody,
  TokenQuery,
} from "../ledger/token-schema.ts";
import type {
  ApiKeySettingsBody,
  BalancesBody,
  CommitBody,
  CountersBody,
  DecideBody,
  EventBody,
  ExtendBody,
  ReleaseBody,
  ReservationBody,
  ReservationListBody,
  ReserveBody,
} from "../ledger/wire.ts";

/** What agents ask of a tenant's budgets. Refusals are values; a throw means that the object could not be asked. */
export interface RuntimeRpc {
  reserve(request: ReserveInput): Promise<Reply<ReserveBody>>;
  reserveFit(request: ReserveFitInput): Promise<Reply<ReserveBody>>;
  commit(reservationId: string, request: CommitInput): Promise<Reply<CommitBody>>;
  release(reservationId: string, request: ReleaseInput): Promise<Reply<ReleaseBody>>;
  extend(reservationId: string, request: ExtendInput): Promise<Reply<ExtendBody>>;
  decide(request: DecideInput): Promise<Reply<DecideBody>>;
  event(request: EventInput): Promise<Reply<EventBody>>;
  getReservation(reservationId: string): Promise<Reply<ReservationBody>>;
  listReservations(query: ReservationsQuery): Promise<Reply<ReservationListBody>>;
  balances(query: BalancesQuery): Promise<Reply<BalancesBody>>;
  openLease(request: LeaseInput): Promise<Reply<LeaseBody>>;
  renewLease(leaseId: string, request: LeaseRenewalInput): Promise<Reply<LeaseBody>>;
  returnLease(leaseId: string, request: LeaseReturnInput): Promise<Reply<LeaseBody>>;
  listLeases(query: LeasesQuery): Promise<Reply<LeaseListBody>>;
  exposure(): Promise<Reply<ExposureBody>>;
}

/**
 * All operations of one tenant, those of its operators included. A name that is no tenant's is a refusal too. API keys
 * are made over HTTP alone: the front mints their text.
 */
export interface TenantRpc extends RuntimeRpc {
  /** Until a tenant is made, every other operation on it is `NOT_FOUND`. Making it again changes nothing. */
  createTenant(request: TenantInput): Promise<Reply<TenantBody>>;
  getTenant(): Promise<Reply<TenantBody>>;
  updateTenant(request: TenantPatchInput): Promise<Reply<TenantBody>>;

  createBudget(request: BudgetInput): Promise<Reply<BudgetBody>>;
  lookupBudget(budget: BudgetName): Promise<Reply<BudgetBody>>;
  listBudgets(query: BudgetsQuery): Promise<Reply<BudgetListBody>>;
  updateBudget(budget: BudgetName, request: BudgetPatch): Promise<Reply<BudgetBody>>;
  freezeBudget(budget: BudgetName, request: TransitionInput): Promise<Reply<BudgetBody>>;
  unfreezeBudget(budget: BudgetName, request: TransitionInput): Promise<Reply<BudgetBody>>;
  fund(budget: BudgetName, request: FundInput): Promise<Reply<FundBody>>;

  setPeriod(budget: BudgetName, request: PeriodInput): Promise<Reply<PeriodBody>>;
  removePeriod(budget: BudgetName): Promise<Reply<PeriodBody>>;
  getPeriod(budget: BudgetName): Promise<Reply<PeriodBody>>;

  createPolicy(request: PolicyInput): Promise<Reply<PolicyBody>>;
  updatePolicy(policyId: string, request: PolicyPatchInput): Promise<Reply<PolicyBody>>;
  listPolicies(query: PolicyQuery): Promise<Reply<PolicyListBody>>;

  listApiKeys(query: {
    readonly status?: string;
    readonly search?: string;
    readonly limit?: number | string;
    readonly cursor?: string;
  }): Promise<Reply<ApiKeyListBody>>;
  /** `keyId` without the tenant in front: twelve hex digits. */
  revokeApiKey(keyId: string, query: { readonly reason?: string }): Promise<Reply<ApiKeyDetailBody>>;
  readApiKeySettings(keyId: string): Promise<Reply<ApiKeySettingsBody>>;
  changeApiKeySettings(keyId: string, settings: ApiKeySettingsInput): Promise<Reply<ApiKeySettingsBody>>;

  /** A token for somebody who gets no binding and no key. Whoever calls here is bound by nothing but the tenant. */
  issueToken(request: TokenInput): Promise<Reply<IssuedTokenBody>>;
  /** `tokenId` without the tenant in front: 32 hex digits. */
  renewToken(tokenId: string, request: { readonly ttl_ms?: number }): Promise<Reply<IssuedTokenBody>>;
  revokeToken(tokenId: string, query: { readonly reason?: string }): Promise<Reply<TokenBody>>;
  listTokens(query: TokenQuery): Promise<Reply<TokenListBody>>;

  readLeaseSettings(): Promise<Reply<LeaseSettingsBody>>;
  changeLeaseSettings(settings: LeaseSettingsInput): Promise<Reply<LeaseSettingsBody>>;
  /** Ends all leases, after the tenant's store was restored from a backup. */
  raiseLeaseEpoch(): Promise<Reply<LeaseSettingsBody>>;

  listAudit(query: AuditQuery): Promise<Reply<AuditListBody>>;
  readCounters(): Promise<Reply<CountersBody>>;
}

/** The binding, as the type of `env.TENANT_BUDGET`. The tenant's id is the object's name. */
export interface TenantNamespace {
  getByName(tenant: string): TenantRpc;
}
