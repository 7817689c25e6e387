// The Durable Object that holds one tenant's ledger, as it is called: each operation is a line, and what becomes of it is
// TenantHost's. Invariant: what RPC can reach here is what TenantRpc and the HTTP front name, and nothing else. Who may
// call: the HTTP front (with the caller of a verified key), or any Worker that holds the binding (without one: it is
// trusted). Denials are values, since error classes do not survive RPC.

import { DurableObject } from "cloudflare:workers";
import type {
  ApiKeyBody,
  ApiKeyDetailBody,
  ApiKeyListBody,
  ApiKeySettingsBody,
  ApiKeySettingsInput,
  AttenuateInput,
  AuditListBody,
  BalancesBody,
  BalancesQuery,
  BudgetBody,
  BudgetInput,
  BudgetListBody,
  BudgetName,
  Caller,
  CallSource,
  CommitBody,
  CommitInput,
  CountersBody,
  DecideBody,
  DecideInput,
  EventBody,
  EventInput,
  ExposureBody,
  ExtendBody,
  ExtendInput,
  FundBody,
  FundInput,
  IntrospectBody,
  IssuedTokenBody,
  LeaseBody,
  LeaseInput,
  LeaseListBody,
  LeaseRenewalInput,
  LeaseReturnInput,
  LeaseSettingsBody,
  LeaseSettingsInput,
  LeasesQuery,
  MintedKey,
  PeriodBody,
  PeriodInput,
  PolicyBody,
  PolicyInput,
  PolicyListBody,
  PolicyPatchInput,
  ReleaseBody,
  ReleaseInput,
  Reply,
  ReservationBody,
  ReservationListBody,
  ReservationsQuery,
  ReserveBody,
  ReserveFitInput,
  ReserveInput,
  TenantBody,
  TenantRpc,
  TokenBody,
  TokenInput,
  TokenListBody,
  TokenQuery,
} from "purser/ledger";
import { TOKEN_RANDOM_BYTES } from "purser/ledger";
import { type Env, hashSecrets } from "../env.ts";
import { registryOf } from "../registry/registry-stub.ts";
import type { RegistryEntry } from "../registry/tenant-registry.ts";
import { TokenTexts } from "../tokens.ts";
import { SqliteStore } from "./sqlite-store.ts";
import { TenantHost } from "./tenant-host.ts";

export class TenantBudget extends DurableObject<Env> implements TenantRpc {
  /** The clock. An own property, so that RPC cannot reach it and a test can set it. */
  now: () => number = () => Date.now();
  /** Where the ledger lives. An own property for the same two reasons. */
  readonly store: SqliteStore;
  /** Tells the registry of tenants about this one. An own property, as above. */
  announce: (entry: RegistryEntry) => Promise<void> = (entry) => registryOf(this.env).record(entry);
  /** Private, since RPC reaches whatever else a class has. */
  readonly #host: TenantHost;
  #tokenTexts: Promise<TokenTexts> | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.store = new SqliteStore(ctx.storage);
    const { store } = this;
    const [now, announce] = [() => this.now(), (entry: RegistryEntry) => this.announce(entry)];
    this.#host = new TenantHost({ ctx, secrets: () => hashSecrets(env), store, now, announce });
  }

  reserve(request: ReserveInput, caller?: Caller): Promise<Reply<ReserveBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.reserve(request, turn));
  }

  reserveFit(request: ReserveFitInput, caller?: Caller): Promise<Reply<ReserveBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.reserveFit(request, turn));
  }

  commit(reservationId: string, request: CommitInput, caller?: Caller): Promise<Reply<CommitBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.commit(reservationId, request, turn));
  }

  release(
    reservationId: string,
    request: ReleaseInput,
    caller?: Caller,
    source?: CallSource,
  ): Promise<Reply<ReleaseBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.release(reservationId, request, turn), source);
  }

  extend(reservationId: string, request: ExtendInput, caller?: Caller): Promise<Reply<ExtendBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.extend(reservationId, request, turn));
  }

  decide(request: DecideInput, caller?: Caller): Promise<Reply<DecideBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.decide(request, turn));
  }

  event(request: EventInput, caller?: Caller): Promise<Reply<EventBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.event(request, turn));
  }

  /** Whether the caller's key stands; says nothing about what it may do. */
  checkKey(caller: Caller): Promise<Reply<null>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.checkKey(turn));
  }

  getReservation(reservationId: string, caller?: Caller): Promise<Reply<ReservationBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.getReservation(reservationId, turn));
  }

  listReservations(query: ReservationsQuery, caller?: Caller): Promise<Reply<ReservationListBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.listReservations(query, turn));
  }

  introspect(caller?: Caller): Promise<Reply<IntrospectBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.introspect(turn));
  }

  balances(query: BalancesQuery, caller?: Caller): Promise<Reply<BalancesBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.balances(query, turn));
  }

  openLease(request: LeaseInput, caller?: Caller): Promise<Reply<LeaseBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.openLease(request, turn));
  }

  renewLease(leaseId: string, request: LeaseRenewalInput, caller?: Caller): Promise<Reply<LeaseBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.renewLease(leaseId, request, turn));
  }

  returnLease(leaseId: string, request: LeaseReturnInput, caller?: Caller): Promise<Reply<LeaseBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.returnLease(leaseId, request, turn));
  }

  listLeases(query: LeasesQuery, caller?: Caller): Promise<Reply<LeaseListBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.listLeases(query, turn));
  }

  exposure(caller?: Caller): Promise<Reply<ExposureBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.exposure(turn));
  }

  readLeaseSettings(): Promise<Reply<LeaseSettingsBody>> {
    return this.#host.decide(undefined, (ledger, turn) => ledger.readLeaseSettings(turn));
  }

  changeLeaseSettings(settings: LeaseSettingsInput, source?: CallSource): Promise<Reply<LeaseSettingsBody>> {
    return this.#host.decide(undefined, (ledger, turn) => ledger.changeLeaseSettings(settings, turn), source);
  }

  /** Ends all leases, after the object's storage was restored from a backup. */
  raiseLeaseEpoch(source?: CallSource): Promise<Reply<LeaseSettingsBody>> {
    return this.#host.decide(undefined, (ledger, turn) => ledger.raiseLeaseEpoch(turn), source);
  }

  /** Makes the tenant and its tables. Before this, the object stores nothing, whatever its name. */
  createTenant(request: unknown, source?: CallSource): Promise<Reply<TenantBody>> {
    return this.#host.createTenant(request, source);
  }

  getTenant(): Promise<Reply<TenantBody>> {
    return this.#host.decide(undefined, (ledger, turn) => ledger.getTenant(turn));
  }

  updateTenant(request: unknown, source?: CallSource): Promise<Reply<TenantBody>> {
    return this.#host.changeTenant((ledger, turn) => ledger.updateTenant(request, turn), source);
  }

  createBudget(request: BudgetInput, caller?: Caller, source?: CallSource): Promise<Reply<BudgetBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.createBudget(request, turn), source);
  }

  lookupBudget(budget: BudgetName, caller?: Caller): Promise<Reply<BudgetBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.lookupBudget(budget, turn));
  }

  listBudgets(query: object, caller?: Caller): Promise<Reply<BudgetListBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.listBudgets(query, turn));
  }

  updateBudget(budget: BudgetName, request: unknown, source?: CallSource): Promise<Reply<BudgetBody>> {
    return this.#host.decide(undefined, (ledger, turn) => ledger.updateBudget(budget, request, turn), source);
  }

  freezeBudget(budget: BudgetName, request: unknown, source?: CallSource): Promise<Reply<BudgetBody>> {
    return this.#host.decide(undefined, (ledger, turn) => ledger.freezeBudget(budget, request, turn), source);
  }

  unfreezeBudget(budget: BudgetName, request: unknown, source?: CallSource): Promise<Reply<BudgetBody>> {
    return this.#host.decide(
      undefined,
      (ledger, turn) => ledger.unfreezeBudget(budget, request, turn),
      source,
    );
  }

  fund(
    budget: BudgetName,
    request: FundInput,
    caller?: Caller,
    source?: CallSource,
  ): Promise<Reply<FundBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.fund(budget, request, turn), source);
  }

  createPolicy(request: PolicyInput, caller?: Caller, source?: CallSource): Promise<Reply<PolicyBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.createPolicy(request, turn), source);
  }

  updatePolicy(
    policyId: string,
    request: PolicyPatchInput,
    caller?: Caller,
    source?: CallSource,
  ): Promise<Reply<PolicyBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.updatePolicy(policyId, request, turn), source);
  }

  listPolicies(query: object, caller?: Caller): Promise<Reply<PolicyListBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.listPolicies(query, turn));
  }

  setPeriod(
    budget: BudgetName,
    request: PeriodInput,
    caller?: Caller,
    source?: CallSource,
  ): Promise<Reply<PeriodBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.setPeriod(budget, request, turn), source);
  }

  removePeriod(budget: BudgetName, caller?: Caller, source?: CallSource): Promise<Reply<PeriodBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.removePeriod(budget, turn), source);
  }

  getPeriod(budget: BudgetName, caller?: Caller): Promise<Reply<PeriodBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.getPeriod(budget, turn));
  }

  /** Records a key that the front minted; the key's text stays with the front. */
  createApiKey(
    request: unknown,
    minted: Pick<MintedKey, "keyId" | "digest" | "prefix">,
    source?: CallSource,
  ): Promise<Reply<ApiKeyBody>> {
    return this.#host.decide(undefined, (ledger, turn) => ledger.createApiKey(request, minted, turn), source);
  }

  readApiKeySettings(keyId: string): Promise<Reply<ApiKeySettingsBody>> {
    return this.#host.decide(undefined, (ledger, turn) => ledger.readApiKeySettings(keyId, turn));
  }

  changeApiKeySettings(
    keyId: string,
    settings: ApiKeySettingsInput,
    source?: CallSource,
  ): Promise<Reply<ApiKeySettingsBody>> {
    return this.#host.decide(
      undefined,
      (ledger, turn) => ledger.changeApiKeySettings(keyId, settings, turn),
      source,
    );
  }

  readCounters(): Promise<Reply<CountersBody>> {
    return this.#host.decide(undefined, (ledger) => ledger.readCounters());
  }

  listApiKeys(query: object): Promise<Reply<ApiKeyListBody>> {
    return this.#host.decide(undefined, (ledger, turn) => ledger.listApiKeys(query, turn));
  }

  updateApiKey(keyId: string, request: unknown, source?: CallSource): Promise<Reply<ApiKeyDetailBody>> {
    return this.#host.decide(undefined, (ledger, turn) => ledger.updateApiKey(keyId, request, turn), source);
  }

  revokeApiKey(keyId: string, query: object, source?: CallSource): Promise<Reply<ApiKeyDetailBody>> {
    return this.#host.decide(undefined, (ledger, turn) => ledger.revokeApiKey(keyId, query, turn), source);
  }

  /** Makes a token for a key that may issue some, or for a Worker with the binding. */
  async issueToken(
    request: TokenInput,
    caller?: Caller,
    source?: CallSource,
  ): Promise<Reply<IssuedTokenBody>> {
    const random = crypto.getRandomValues(new Uint8Array(TOKEN_RANDOM_BYTES));
    return this.#signed(
      await this.#host.decide(caller, (ledger, turn) => ledger.issueToken(request, random, turn), source),
    );
  }

  /** Makes a narrower token for the token that calls. */
  async attenuateToken(
    request: AttenuateInput,
    caller: Caller,
    source?: CallSource,
  ): Promise<Reply<IssuedTokenBody>> {
    const random = crypto.getRandomValues(new Uint8Array(TOKEN_RANDOM_BYTES));
    return this.#signed(
      await this.#host.decide(caller, (ledger, turn) => ledger.attenuateToken(request, random, turn), source),
    );
  }

  async renewToken(
    tokenId: string,
    request: { readonly ttl_ms?: number },
    caller?: Caller,
    source?: CallSource,
  ): Promise<Reply<IssuedTokenBody>> {
    return this.#signed(
      await this.#host.decide(caller, (ledger, turn) => ledger.renewToken(tokenId, request, turn), source),
    );
  }

  revokeToken(
    tokenId: string,
    query: { readonly reason?: string },
    caller?: Caller,
    source?: CallSource,
  ): Promise<Reply<TokenBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.revokeToken(tokenId, query, turn), source);
  }

  listTokens(query: TokenQuery, caller?: Caller): Promise<Reply<TokenListBody>> {
    return this.#host.decide(caller, (ledger, turn) => ledger.listTokens(query, turn));
  }

  /** The reply with the token's text, signed after its row was decided and before anybody hears of it. */
  async #signed(reply: Reply<TokenBody>): Promise<Reply<IssuedTokenBody>> {
    if (!reply.ok) return reply;
    this.#tokenTexts ??= TokenTexts.under(hashSecrets(this.env));
    return { ...reply, body: await (await this.#tokenTexts).sign(reply.body) };
  }

  listAudit(query: object): Promise<Reply<AuditListBody>> {
    return this.#host.decide(undefined, (ledger, turn) => ledger.listAudit(query, turn));
  }

  override alarm(): Promise<void> {
    return this.#host.alarm();
  }
}
