// The Durable Object that holds one tenant's ledger. Invariant: every operation is synchronous, with no await in it, inside
// its group's transaction, so calls are decided one after another in the order of their arrival, and an answer
// leaves only once its rows are durable; nothing in memory decides an ALLOW. Who may call: the HTTP front (with the
// caller of a verified key), or any Worker that holds the binding (without one: it is trusted). Denials are values, since
// error classes do not survive RPC.

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
  Refusal,
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
  Turn,
} from "purser/ledger";
import {
  busy,
  checkTenantRequest,
  isTenantId,
  Ledger,
  newCounters,
  refuse,
  shorten,
  TOKEN_RANDOM_BYTES,
  tenantBody,
  unauthorized,
} from "purser/ledger";
import { type Env, hashSecrets } from "../env.ts";
import { hasSchema } from "../migrations.ts";
import { registryOf } from "../registry/registry-stub.ts";
import type { RegistryEntry } from "../registry/tenant-registry.ts";
import { TokenTexts } from "../tokens.ts";
import { GroupCommit } from "./group-commit.ts";
import { migrate } from "./schema.ts";
import { SqliteStore } from "./sqlite-store.ts";

/** How long an alarm's work that failed waits for the next try; the platform's own retries end after six. */
const ALARM_RETRY_MS = 60_000;

const OVERLOADED: Refusal = busy("The tenant's object is overloaded, retry later");

type Operation<Body> = (ledger: Ledger, turn: Turn) => Reply<Body>;

export class TenantBudget extends DurableObject<Env> implements TenantRpc {
  /** The clock. An own property, so that RPC cannot reach it and a test can set it. */
  now: () => number = () => Date.now();
  /** Where the ledger lives. An own property for the same two reasons. */
  readonly store: SqliteStore;
  /** Tells the registry of tenants about this one. An own property, as above. */
  announce: (entry: RegistryEntry) => Promise<void> = (entry) => registryOf(this.env).record(entry);
  readonly #group: GroupCommit;
  /** Outlive the ledger, which is opened anew after a group that failed. */
  readonly #counters = newCounters();
  #ledger: Ledger | undefined;
  #alarmAtMs: number | undefined;
  #tokenTexts: Promise<TokenTexts> | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.store = new SqliteStore(ctx.storage);
    this.#group = new GroupCommit({
      transact: (decideAll) => this.#transactGroup(decideAll),
      gather: () => scheduler.wait(0),
    });
    // Synchronous, so that a database this code cannot read keeps the object from starting at all.
    if (hasSchema(ctx.storage)) migrate(ctx.storage, this.now());
    void ctx.blockConcurrencyWhile(async () => {
      this.#alarmAtMs = (await ctx.storage.getAlarm()) ?? undefined;
    });
    // What an earlier life of this object could not tell, or an earlier version did not.
    void this.#announceOrRetry();
  }

  reserve(request: ReserveInput, caller?: Caller): Promise<Reply<ReserveBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.reserve(request, turn));
  }

  reserveFit(request: ReserveFitInput, caller?: Caller): Promise<Reply<ReserveBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.reserveFit(request, turn));
  }

  commit(reservationId: string, request: CommitInput, caller?: Caller): Promise<Reply<CommitBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.commit(reservationId, request, turn));
  }

  release(
    reservationId: string,
    request: ReleaseInput,
    caller?: Caller,
    source?: CallSource,
  ): Promise<Reply<ReleaseBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.release(reservationId, request, turn), source);
  }

  extend(reservationId: string, request: ExtendInput, caller?: Caller): Promise<Reply<ExtendBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.extend(reservationId, request, turn));
  }

  decide(request: DecideInput, caller?: Caller): Promise<Reply<DecideBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.decide(request, turn));
  }

  event(request: EventInput, caller?: Caller): Promise<Reply<EventBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.event(request, turn));
  }

  /** Whether the caller's key stands; says nothing about what it may do. */
  checkKey(caller: Caller): Promise<Reply<null>> {
    return this.#decide(caller, (ledger, turn) => ledger.checkKey(turn));
  }

  getReservation(reservationId: string, caller?: Caller): Promise<Reply<ReservationBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.getReservation(reservationId, turn));
  }

  listReservations(query: ReservationsQuery, caller?: Caller): Promise<Reply<ReservationListBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.listReservations(query, turn));
  }

  introspect(caller?: Caller): Promise<Reply<IntrospectBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.introspect(turn));
  }

  balances(query: BalancesQuery, caller?: Caller): Promise<Reply<BalancesBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.balances(query, turn));
  }

  openLease(request: LeaseInput, caller?: Caller): Promise<Reply<LeaseBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.openLease(request, turn));
  }

  renewLease(leaseId: string, request: LeaseRenewalInput, caller?: Caller): Promise<Reply<LeaseBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.renewLease(leaseId, request, turn));
  }

  returnLease(leaseId: string, request: LeaseReturnInput, caller?: Caller): Promise<Reply<LeaseBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.returnLease(leaseId, request, turn));
  }

  listLeases(query: LeasesQuery, caller?: Caller): Promise<Reply<LeaseListBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.listLeases(query, turn));
  }

  exposure(caller?: Caller): Promise<Reply<ExposureBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.exposure(turn));
  }

  readLeaseSettings(): Promise<Reply<LeaseSettingsBody>> {
    return this.#decide(undefined, (ledger, turn) => ledger.readLeaseSettings(turn));
  }

  changeLeaseSettings(settings: LeaseSettingsInput, source?: CallSource): Promise<Reply<LeaseSettingsBody>> {
    return this.#decide(undefined, (ledger, turn) => ledger.changeLeaseSettings(settings, turn), source);
  }

  /** Ends all leases, after the object's storage was restored from a backup. */
  raiseLeaseEpoch(source?: CallSource): Promise<Reply<LeaseSettingsBody>> {
    return this.#decide(undefined, (ledger, turn) => ledger.raiseLeaseEpoch(turn), source);
  }

  /** Makes the tenant and its tables. Before this, the object stores nothing, whatever its name. */
  async createTenant(request: unknown, source?: CallSource): Promise<Reply<TenantBody>> {
    if (!isTenantId(this.#name)) return this.#refuseName();
    const checked = checkTenantRequest(request);
    if (!checked.ok) return checked;
    const reply = await this.#join(() => {
      if (!hasSchema(this.ctx.storage)) migrate(this.ctx.storage, this.now());
      return this.#operate(undefined, (ledger, turn) => ledger.createTenant(request, turn), source);
    });
    await this.#announceOrRetry();
    return reply;
  }

  getTenant(): Promise<Reply<TenantBody>> {
    return this.#decide(undefined, (ledger, turn) => ledger.getTenant(turn));
  }

  async updateTenant(request: unknown, source?: CallSource): Promise<Reply<TenantBody>> {
    const reply = await this.#decide(undefined, (ledger, turn) => ledger.updateTenant(request, turn), source);
    await this.#announceOrRetry();
    return reply;
  }

  createBudget(request: BudgetInput, caller?: Caller, source?: CallSource): Promise<Reply<BudgetBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.createBudget(request, turn), source);
  }

  lookupBudget(budget: BudgetName, caller?: Caller): Promise<Reply<BudgetBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.lookupBudget(budget, turn));
  }

  listBudgets(query: object, caller?: Caller): Promise<Reply<BudgetListBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.listBudgets(query, turn));
  }

  updateBudget(budget: BudgetName, request: unknown, source?: CallSource): Promise<Reply<BudgetBody>> {
    return this.#decide(undefined, (ledger, turn) => ledger.updateBudget(budget, request, turn), source);
  }

  freezeBudget(budget: BudgetName, request: unknown, source?: CallSource): Promise<Reply<BudgetBody>> {
    return this.#decide(undefined, (ledger, turn) => ledger.freezeBudget(budget, request, turn), source);
  }

  unfreezeBudget(budget: BudgetName, request: unknown, source?: CallSource): Promise<Reply<BudgetBody>> {
    return this.#decide(undefined, (ledger, turn) => ledger.unfreezeBudget(budget, request, turn), source);
  }

  fund(
    budget: BudgetName,
    request: FundInput,
    caller?: Caller,
    source?: CallSource,
  ): Promise<Reply<FundBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.fund(budget, request, turn), source);
  }

  createPolicy(request: PolicyInput, caller?: Caller, source?: CallSource): Promise<Reply<PolicyBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.createPolicy(request, turn), source);
  }

  updatePolicy(
    policyId: string,
    request: PolicyPatchInput,
    caller?: Caller,
    source?: CallSource,
  ): Promise<Reply<PolicyBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.updatePolicy(policyId, request, turn), source);
  }

  listPolicies(query: object, caller?: Caller): Promise<Reply<PolicyListBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.listPolicies(query, turn));
  }

  setPeriod(
    budget: BudgetName,
    request: PeriodInput,
    caller?: Caller,
    source?: CallSource,
  ): Promise<Reply<PeriodBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.setPeriod(budget, request, turn), source);
  }

  removePeriod(budget: BudgetName, caller?: Caller, source?: CallSource): Promise<Reply<PeriodBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.removePeriod(budget, turn), source);
  }

  getPeriod(budget: BudgetName, caller?: Caller): Promise<Reply<PeriodBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.getPeriod(budget, turn));
  }

  /** Records a key that the front minted; the key's text stays with the front. */
  createApiKey(
    request: unknown,
    minted: Pick<MintedKey, "keyId" | "digest" | "prefix">,
    source?: CallSource,
  ): Promise<Reply<ApiKeyBody>> {
    return this.#decide(undefined, (ledger, turn) => ledger.createApiKey(request, minted, turn), source);
  }

  readApiKeySettings(keyId: string): Promise<Reply<ApiKeySettingsBody>> {
    return this.#decide(undefined, (ledger, turn) => ledger.readApiKeySettings(keyId, turn));
  }

  changeApiKeySettings(
    keyId: string,
    settings: ApiKeySettingsInput,
    source?: CallSource,
  ): Promise<Reply<ApiKeySettingsBody>> {
    return this.#decide(
      undefined,
      (ledger, turn) => ledger.changeApiKeySettings(keyId, settings, turn),
      source,
    );
  }

  readCounters(): Promise<Reply<CountersBody>> {
    return this.#decide(undefined, (ledger) => ledger.readCounters());
  }

  listApiKeys(query: object): Promise<Reply<ApiKeyListBody>> {
    return this.#decide(undefined, (ledger, turn) => ledger.listApiKeys(query, turn));
  }

  updateApiKey(keyId: string, request: unknown, source?: CallSource): Promise<Reply<ApiKeyDetailBody>> {
    return this.#decide(undefined, (ledger, turn) => ledger.updateApiKey(keyId, request, turn), source);
  }

  revokeApiKey(keyId: string, query: object, source?: CallSource): Promise<Reply<ApiKeyDetailBody>> {
    return this.#decide(undefined, (ledger, turn) => ledger.revokeApiKey(keyId, query, turn), source);
  }

  /** Makes a token for a key that may issue some, or for a Worker with the binding. */
  async issueToken(
    request: TokenInput,
    caller?: Caller,
    source?: CallSource,
  ): Promise<Reply<IssuedTokenBody>> {
    const random = crypto.getRandomValues(new Uint8Array(TOKEN_RANDOM_BYTES));
    return this.#signed(
      await this.#decide(caller, (ledger, turn) => ledger.issueToken(request, random, turn), source),
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
      await this.#decide(caller, (ledger, turn) => ledger.attenuateToken(request, random, turn), source),
    );
  }

  async renewToken(
    tokenId: string,
    request: { readonly ttl_ms?: number },
    caller?: Caller,
    source?: CallSource,
  ): Promise<Reply<IssuedTokenBody>> {
    return this.#signed(
      await this.#decide(caller, (ledger, turn) => ledger.renewToken(tokenId, request, turn), source),
    );
  }

  revokeToken(
    tokenId: string,
    query: { readonly reason?: string },
    caller?: Caller,
    source?: CallSource,
  ): Promise<Reply<TokenBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.revokeToken(tokenId, query, turn), source);
  }

  listTokens(query: TokenQuery, caller?: Caller): Promise<Reply<TokenListBody>> {
    return this.#decide(caller, (ledger, turn) => ledger.listTokens(query, turn));
  }

  /** The reply with the token's text, signed after its row was decided and before anybody hears of it. */
  async #signed(reply: Reply<TokenBody>): Promise<Reply<IssuedTokenBody>> {
    if (!reply.ok) return reply;
    this.#tokenTexts ??= TokenTexts.under(hashSecrets(this.env));
    return { ...reply, body: await (await this.#tokenTexts).sign(reply.body) };
  }

  listAudit(query: object): Promise<Reply<AuditListBody>> {
    return this.#decide(undefined, (ledger, turn) => ledger.listAudit(query, turn));
  }

  /**
   * Sweeps what is due, and tells the registry what it does not know yet. Only tidies: every decision settles what it
   * needs itself, and an alarm may be late or double.
   */
  override async alarm(): Promise<void> {
    this.#alarmAtMs = undefined;
    const ledger = this.#openLedger();
    if (ledger === undefined) return;
    const nowMs = this.now();
    try {
      ledger.sweep({ nowMs });
      this.#setAlarm(ledger);
      await this.#announce();
    } catch (error) {
      console.error("purser: the alarm's work failed and will be tried again", error);
      // The earlier one stands: the next deadline's, set above or by a call meanwhile, may come first.
      this.#setAlarmBy(nowMs + ALARM_RETRY_MS);
    }
  }

  /** Decides one operation with its group. */
  #decide<Body>(
    caller: Caller | undefined,
    operation: Operation<Body>,
    source?: CallSource,
  ): Promise<Reply<Body>> {
    return this.#join(() => this.#operate(caller, operation, source));
  }

  /** Joins the group that is gathering; past the line's end the call is refused as overload, undecided. */
  #join<Body>(decide: () => Reply<Body>): Promise<Reply<Body>> {
    return this.#group.isFull ? Promise.resolve(OVERLOADED) : this.#group.run(decide);
  }

  #operate<Body>(
    caller: Caller | undefined,
    operation: Operation<Body>,
    source: CallSource | undefined,
  ): Reply<Body> {
    if (!isTenantId(this.#name)) return this.#refuseName();
    const ledger = this.#openLedger();
    if (ledger === undefined) {
      return caller === undefined
        ? refuse("NOT_FOUND", `Tenant not found: ${this.#name}`)
        : unauthorized("KEY_NOT_FOUND");
    }
    return operation(ledger, { nowMs: this.now(), caller, source });
  }

  /** One transaction for a group, its alarm included. If it fails, nothing that was remembered of it is true. */
  #transactGroup(decideAll: () => void): void {
    try {
      this.store.transact(() => {
        decideAll();
        if (this.#ledger !== undefined) this.#setAlarm(this.#ledger);
      });
    } catch (error) {
      this.#ledger = undefined;
      this.#alarmAtMs = undefined;
      throw error;
    }
  }

  /** The tenant's change is made whatever becomes of this; the registry hears of it now, or from an alarm. */
  async #announceOrRetry(): Promise<void> {
    try {
      await this.#announce();
    } catch (error) {
      console.error("purser: the registry could not be told of the tenant and will be told again", error);
      this.#setAlarmBy(this.now() + ALARM_RETRY_MS);
    }
  }

  /** Tells the registry of the tenant's newest revision, unless it knows. Safe to repeat, in any order. */
  async #announce(): Promise<void> {
    const tenant = hasSchema(this.ctx.storage) ? this.store.readUnannouncedTenant() : undefined;
    if (tenant === undefined) return;
    await this.announce({ revision: tenant.revision, tenant: tenantBody(tenant) });
    this.store.markAnnounced(tenant.revision);
  }

  /** The tenant is the object's own name; an object that was not reached by a name has none and serves nobody. */
  get #name(): string | undefined {
    return this.ctx.id.name;
  }

  /** A caller over RPC may ask for any name: the answer is a value, as for every other bad input. */
  #refuseName(): Refusal {
    const got = this.#name === undefined ? "none" : shorten(JSON.stringify(this.#name), 64);
    const rule = "3 to 64 lower-case letters, digits or '-'";
    return refuse("INVALID_REQUEST", `tenant, the object's name, must be ${rule}, got ${got}`, {
      field: "tenant",
    });
  }

  #openLedger(): Ledger | undefined {
    const tenant = this.#name;
    if (this.#ledger === undefined && isTenantId(tenant) && hasSchema(this.ctx.storage)) {
      this.#ledger = new Ledger({
        tenant,
        store: this.store,
        secrets: hashSecrets(this.env),
        counters: this.#counters,
        onFigureFault: (message) => console.error(`purser: ${message}`),
      });
    }
    return this.#ledger;
  }

  /**
   * One alarm at the earliest deadline, moved only earlier: each setting is a written row, so at most one per life of a
   * reservation. It is not taken back when the last hold is settled, which would be a row too: it rings once, finds
   * nothing, and none is set until something is held again.
   */
  #setAlarm(ledger: Ledger): void {
    const deadlineMs = ledger.nextDeadlineMs;
    if (deadlineMs !== undefined) this.#setAlarmBy(deadlineMs + 1);
  }

  #setAlarmBy(timeMs: number): void {
    if (this.#alarmAtMs === undefined || timeMs < this.#alarmAtMs) this.#setAlarmAt(timeMs);
  }

  #setAlarmAt(timeMs: number): void {
    this.#alarmAtMs = timeMs;
    // Not awaited: the write joins the decision's own, and the output gate holds the reply until both are durable.
    void this.ctx.storage.setAlarm(timeMs);
  }
}
