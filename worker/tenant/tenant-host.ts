// What a tenant's Durable Object does with every call, whatever its operation: groups it, opens the ledger, keeps the alarm and
// tells the registry. Invariant: every operation is synchronous, with no await in it, inside its group's transaction, so
// calls are decided one after another in the order of their arrival, and an answer leaves only once its rows are
// durable; nothing in memory decides an ALLOW. Who may call: TenantBudget.

import type { Caller, CallSource, Refusal, Reply, TenantBody, Turn } from "purser/ledger";
import {
  busy,
  checkTenantRequest,
  isTenantId,
  Ledger,
  newCounters,
  refuse,
  shorten,
  tenantBody,
  unauthorized,
} from "purser/ledger";
import { hasSchema } from "../migrations.ts";
import type { RegistryEntry } from "../registry/tenant-registry.ts";
import { GroupCommit } from "./group-commit.ts";
import { migrate } from "./schema.ts";
import type { SqliteStore } from "./sqlite-store.ts";

/** How long an alarm's work that failed waits for the next try; the platform's own retries end after six. */
const ALARM_RETRY_MS = 60_000;

const OVERLOADED: Refusal = busy("The tenant's object is overloaded, retry later");

/** One operation of the ledger, at its turn. */
export type Operation<Body> = (ledger: Ledger, turn: Turn) => Reply<Body>;

export interface TenantHostParts {
  readonly ctx: DurableObjectState;
  readonly store: SqliteStore;
  readonly now: () => number;
  /** What reservation ids are derived from. */
  readonly secrets: () => readonly string[];
  readonly announce: (entry: RegistryEntry) => Promise<void>;
}

export class TenantHost {
  readonly #parts: TenantHostParts;
  readonly #group: GroupCommit;
  /** Outlive the ledger, which is opened anew after a group that failed. */
  readonly #counters = newCounters();
  #ledger: Ledger | undefined;
  #alarmAtMs: number | undefined;

  constructor(parts: TenantHostParts) {
    const { ctx, now } = parts;
    this.#parts = parts;
    this.#group = new GroupCommit({
      transact: (decideAll) => this.#transactGroup(decideAll),
      gather: () => scheduler.wait(0),
    });
    // Synchronous, so that a database this code cannot read keeps the object from starting at all.
    if (hasSchema(ctx.storage)) migrate(ctx.storage, now());
    void ctx.blockConcurrencyWhile(async () => {
      this.#alarmAtMs = (await ctx.storage.getAlarm()) ?? undefined;
    });
    // What an earlier life of this object could not tell, or an earlier version did not.
    void this.#announceOrRetry();
  }

  /** Decides one operation with its group. */
  decide<Body>(
    caller: Caller | undefined,
    operation: Operation<Body>,
    source?: CallSource,
  ): Promise<Reply<Body>> {
    return this.#join(() => this.#operate(caller, operation, source));
  }

  /** Makes the tenant and its tables. Before this, the object stores nothing, whatever its name. */
  async createTenant(request: unknown, source?: CallSource): Promise<Reply<TenantBody>> {
    if (!isTenantId(this.#name)) return this.#refuseName();
    const checked = checkTenantRequest(request);
    if (!checked.ok) return checked;
    const reply = await this.#join(() => {
      if (!hasSchema(this.#parts.ctx.storage)) migrate(this.#parts.ctx.storage, this.#parts.now());
      return this.#operate(undefined, (ledger, turn) => ledger.createTenant(request, turn), source);
    });
    await this.#announceOrRetry();
    return reply;
  }

  /** An operation that changes the tenant's record: the registry is told of it. */
  async changeTenant(
    operation: Operation<TenantBody>,
    source: CallSource | undefined,
  ): Promise<Reply<TenantBody>> {
    const reply = await this.decide(undefined, operation, source);
    await this.#announceOrRetry();
    return reply;
  }

  /**
   * Sweeps what is due, and tells the registry what it does not know yet. Only tidies: every decision settles what it
   * needs itself, and an alarm may be late or double.
   */
  async alarm(): Promise<void> {
    this.#alarmAtMs = undefined;
    const ledger = this.#openLedger();
    if (ledger === undefined) return;
    const nowMs = this.#parts.now();
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
    return operation(ledger, { nowMs: this.#parts.now(), caller, source });
  }

  /** One transaction for a group, its alarm included. If it fails, nothing that was remembered of it is true. */
  #transactGroup(decideAll: () => void): void {
    try {
      this.#parts.store.transact(() => {
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
      this.#setAlarmBy(this.#parts.now() + ALARM_RETRY_MS);
    }
  }

  /** Tells the registry of the tenant's newest revision, unless it knows. Safe to repeat, in any order. */
  async #announce(): Promise<void> {
    const tenant = hasSchema(this.#parts.ctx.storage) ? this.#parts.store.readUnannouncedTenant() : undefined;
    if (tenant === undefined) return;
    await this.#parts.announce({ revision: tenant.revision, tenant: tenantBody(tenant) });
    this.#parts.store.markAnnounced(tenant.revision);
  }

  /** The tenant is the object's own name; an object that was not reached by a name has none and serves nobody. */
  get #name(): string | undefined {
    return this.#parts.ctx.id.name;
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
    if (this.#ledger === undefined && isTenantId(tenant) && hasSchema(this.#parts.ctx.storage)) {
      this.#ledger = new Ledger({
        tenant,
        store: this.#parts.store,
        secrets: this.#parts.secrets(),
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
    void this.#parts.ctx.storage.setAlarm(timeMs);
  }
}
