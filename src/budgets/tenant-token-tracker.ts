// Tokens in flight per tenant, under one cap each, in the kernel: shared by every thread that opens the same name.
// Invariant: a tenant's in-flight count is at every moment the sum of what its open reservations hold, so when the last
// one ends it is 0, whatever was adjusted before. A refused reserve creates no tenant.
// Source: seed heartbit-core, TenantTokenTracker. Mended: an adjustment belongs to reservations and goes with them
// (there it changed the tenant, and the reservation gave back its old amount); what the cap swallows is counted.

import { checkAmount, checkInteger, checkName, checkObject, invalidType, isAmount } from "../arguments.ts";
import { Scoped } from "../dispose.ts";
import { PurserError } from "../errors.ts";
import * as Figure from "../kernel/generated/Figure.ts";
import * as Kind from "../kernel/generated/Kind.ts";
import * as Status from "../kernel/generated/Status.ts";
import { forgetIdle, handlesOf, removeIdle } from "../kernel/group.ts";
import { defaultKernel, type Kernel } from "../kernel/kernel.ts";
import { directoryKey } from "../kernel/name.ts";
import { type AmountRange, checkRange, leastOf } from "./amount-range.ts";
import { type BudgetOptions, checkKernel, NAME_LENGTH_MAX } from "./kernel-budget.ts";
import { type FittedHold, reserveFit } from "./kernel-fit.ts";

/** Whose tokens they are. Without an id it is the tenant `""`. */
export interface TenantScope {
  readonly tenantId?: string;
}

/** What a tenant has in flight, and the most it ever had. */
export interface TenantTokenState {
  readonly inFlight: number;
  readonly highWater: number;
}

/** The tenant has too much in flight. Nothing was changed. */
export class TenantOverloadedError extends PurserError {
  readonly tenantId: string;
  readonly inFlight: number;
  readonly cap: number;

  constructor(tenantId: string, inFlight: number, cap: number) {
    super("TENANT_OVERLOADED", `tenant "${tenantId}" has ${inFlight} of ${cap} tokens in flight`);
    this.tenantId = tenantId;
    this.inFlight = inFlight;
    this.cap = cap;
  }
}

const TENANT_ID_LENGTH_MAX = 256;

/**
 * Caps what each tenant has in flight at once: sheds load instead of queueing it.
 *
 * @example
 * const tracker = new TenantTokenTracker(8_000);
 * using reservation = tracker.reserve({ tenantId: "acme" }, 1_200);
 * const reply = await model.call(prompt);
 * reservation.adjust(reply.usage.total - 1_200); // keep holding what is really used until the turn ends
 */
export class TenantTokenTracker {
  /** What each tenant may have in flight at once. */
  readonly perTenantCap: number;
  readonly #kernel: Kernel;
  /** What every tenant's name begins with; no caller's name can, and none can be mistaken for another's. */
  readonly #prefix: string;
  /** What finds every tenant of this tracker in the kernel, whoever opened it: names are only hashes there. */
  readonly #group: bigint;
  /** The tenants that this object has opened or asked for. */
  readonly #handles = new Map<string, number>();

  /**
   * @param perTenantCap - tokens; safe integer, 0 … 2^53−1
   * @param options.name - threads that open the same name in one kernel share every tenant
   */
  constructor(perTenantCap: number, options: BudgetOptions = {}) {
    checkAmount("perTenantCap", perTenantCap);
    checkObject("options", options);
    if (options.name !== undefined) checkName("name", options.name, NAME_LENGTH_MAX);
    checkKernel(options.kernel);
    this.perTenantCap = perTenantCap;
    const kernel = options.kernel ?? defaultKernel();
    kernel.makeRoom ??= () => void forgetIdle(kernel);
    this.#kernel = kernel;
    this.#prefix =
      options.name === undefined
        ? `${this.#kernel.privateName()}/`
        : `\0tenants ${options.name.length} ${options.name}/`;
    this.#group = directoryKey(this.#prefix).high;
  }

  /**
   * Holds `tokens` for a tenant until the reservation ends.
   *
   * @param tokens - safe integer, 0 … 2^53−1; or a range, of which the reservation gets as much as fits (`tokens` says it)
   * @throws TenantOverloadedError if they do not fit under the cap; nothing has changed then
   * @throws KernelFullError if the kernel has no slot left for another tenant or reservation
   * @throws BudgetMismatchError if a tracker of this name opened the tenant with another cap; so do all that name a tenant
   */
  reserve(scope: TenantScope, tokens: number | AmountRange): TenantReservation {
    const reservation = this.tryReserve(scope, tokens);
    if (reservation !== null) return reservation;
    const tenantId = idOf(scope);
    throw new TenantOverloadedError(tenantId, this.#state(tenantId)?.inFlight ?? 0, this.perTenantCap);
  }

  /** As `reserve`, with null for "does not fit". */
  tryReserve(scope: TenantScope, tokens: number | AmountRange): TenantReservation | null {
    const tenantId = idOf(scope);
    if (!isAmount(tokens)) checkRange("tokens", tokens);
    if (leastOf(tokens) > this.perTenantCap) return null; // before a tenant is made that could never hold it
    const kernel = this.#kernel;
    for (;;) {
      const isNew = this.#find(tenantId) === undefined;
      const handle = this.#open(tenantId);
      const taken = isAmount(tokens)
        ? reserveWhole(kernel, handle, tokens)
        : reserveFit(kernel, handle, tokens, 0);
      if (!("status" in taken)) return new TenantReservation(kernel, handle, tenantId, taken);
      if (taken.status === Status.Exceeds) return null;
      // Else another thread has just forgotten the idle tenant: open it anew.
      if (taken.status !== Status.Stale) {
        if (isNew && removeIdle(kernel, handle)) this.#handles.delete(tenantId);
        throw kernel.failure(taken.status, `tenant "${tenantId}"`);
      }
      this.#handles.delete(tenantId);
    }
  }

  /**
   * Changes what a tenant has in flight by `delta`, within 0 … cap, through its open reservations: they end up holding
   * that much more or less. What the cap swallows is counted (`overCap`). A tenant without one is left alone.
   *
   * @param delta - tokens, negative for less; an integer, clamped to ±(2^53−1)
   * @throws KernelBusyError if a thread died while it adjusted one of them, until that thread is reclaimed
   */
  adjust(scope: TenantScope, delta: number): void {
    const tenantId = idOf(scope);
    const change = checkDelta(delta);
    const handle = this.#find(tenantId);
    if (handle === undefined) return;
    let rest = change;
    const status = this.#kernel.patiently(Status.Busy, () => {
      const answer = this.#kernel.exports.budgetAdjust(handle, rest, this.#kernel.owner);
      if (answer >= 0) return answer;
      rest = answer; // part of it is done
      return Status.Busy;
    });
    if (status !== Status.Ok && status !== Status.Stale)
      throw this.#kernel.failure(status, `tenant "${tenantId}"`);
  }

  /**
   * Every tenant that this object has opened or asked for and that was not forgotten, with what all threads have in flight
   * for it. The kernel keeps no names, so who was only ever asked for elsewhere is in `totals` alone. May be late.
   */
  snapshot(): Map<string, TenantTokenState> {
    const states = new Map<string, TenantTokenState>();
    for (const tenantId of [...this.#handles.keys()]) {
      const state = this.#state(tenantId);
      if (state !== undefined) states.set(tenantId, state);
    }
    return states;
  }

  /** All tenants that were not forgotten, whichever thread opened them. May be late. */
  totals(): { readonly tenants: number; readonly inFlight: number } {
    let tenants = 0;
    let inFlight = 0;
    for (const handle of handlesOf(this.#kernel, this.#group)) {
      // Its own cap: trackers of this name with another one may have opened it.
      const cap = this.#kernel.exports.budgetFigure(handle, Figure.Capacity);
      const available = this.#kernel.exports.budgetFigure(handle, Figure.Available);
      if (cap < 0 || available < 0) continue; // forgotten just now
      tenants++;
      inFlight += cap - available;
    }
    return { tenants, inFlight };
  }

  /** What adjustments wanted beyond the cap, in all: demand that the in-flight count does not show. */
  overCap(scope: TenantScope): number {
    const handle = this.#find(idOf(scope));
    return handle === undefined
      ? 0
      : Math.max(0, this.#kernel.exports.budgetFigure(handle, Figure.OverReleased));
  }

  /**
   * Frees the kernel's slots of tenants that have nothing in flight, whichever thread opened them, also one that is gone;
   * their high-water marks are gone then. A thread that has a tracker forgets the idle tenants of all of them by itself
   * before a kernel without a free slot refuses it a new tenant or budget of whatever kind.
   *
   * @returns how many were forgotten
   */
  forgetIdle(): number {
    const forgotten = forgetIdle(this.#kernel, this.#group);
    this.#dropStale();
    return forgotten;
  }

  /** Drops the handles of tenants that any thread has forgotten. */
  #dropStale(): void {
    for (const [tenantId, handle] of this.#handles) {
      if (this.#kernel.exports.budgetFigure(handle, Figure.Epoch) < 0) this.#handles.delete(tenantId);
    }
  }

  /** Remembers a handle. More than the kernel has budgets cannot all be good, so there are never more than twice as many. */
  #remember(tenantId: string, handle: number): number {
    if (this.#handles.size >= 2 * this.#kernel.budgets) this.#dropStale();
    this.#handles.set(tenantId, handle);
    return handle;
  }

  /** The tenant's handle, made if need be. */
  #open(tenantId: string): number {
    const known = this.#handles.get(tenantId);
    if (known !== undefined) return known;
    const { exports, owner } = this.#kernel;
    const handle = this.#kernel.open("tenant", this.#prefix + tenantId, (high, low) =>
      exports.tenantOpen(high, low, this.perTenantCap, this.#group, owner),
    );
    return this.#remember(tenantId, handle);
  }

  /** The tenant's handle if the tenant exists, in this thread or another. */
  #find(tenantId: string): number | undefined {
    const known = this.#handles.get(tenantId);
    if (known !== undefined) return known;
    const { high, low } = directoryKey(this.#prefix + tenantId);
    const found = this.#kernel.exports.budgetFind(high, low, Kind.Tokens);
    if (found === -Status.NotFound) return undefined;
    if (found < 0) throw this.#kernel.failure(-found, `tenant "${tenantId}"`);
    const cap = this.#kernel.exports.budgetFigure(found, Figure.Capacity);
    if (cap < 0) return undefined; // forgotten just now
    if (cap !== this.perTenantCap) throw this.#kernel.failure(Status.Mismatch, `tenant "${tenantId}"`);
    return this.#remember(tenantId, found);
  }

  #state(tenantId: string): TenantTokenState | undefined {
    const handle = this.#find(tenantId);
    if (handle === undefined) return undefined;
    const available = this.#kernel.exports.budgetFigure(handle, Figure.Available);
    const highWater = this.#kernel.exports.budgetFigure(handle, Figure.HighWater);
    if (available >= 0 && highWater >= 0) return { inFlight: this.perTenantCap - available, highWater };
    this.#handles.delete(tenantId);
    return undefined;
  }
}

/** Tokens held for a tenant. Disposing it gives back exactly what it holds by then, once. */
export class TenantReservation extends Scoped {
  readonly tenantId: string;
  readonly #kernel: Kernel;
  readonly #handle: number;
  readonly #slot: number;
  readonly #ticket: number;
  #tokens: number;
  #ended = false;

  /** @internal */
  constructor(
    kernel: Kernel,
    handle: number,
    tenantId: string,
    { slot, ticket, amount }: { slot: number; ticket: number; amount: number },
  ) {
    super();
    this.#kernel = kernel;
    this.#handle = handle;
    this.tenantId = tenantId;
    this.#slot = slot;
    this.#ticket = ticket;
    this.#tokens = amount;
  }

  /** What it held when this object last looked: at its reserve, or its last own adjustment. */
  get tokens(): number {
    return this.#tokens;
  }

  /**
   * Changes what this reservation holds by `delta`, at least to 0 and at most by what the tenant's cap leaves.
   *
   * @returns what it holds now; 0 after its end
   */
  adjust(delta: number): number {
    const change = checkDelta(delta);
    if (this.#ended) return 0;
    const { owner, exports } = this.#kernel;
    const held = this.#kernel.patiently(-Status.Busy, () =>
      exports.holdAdjust(this.#handle, this.#slot, owner, this.#ticket, change, owner),
    );
    if (held < 0) {
      if (held !== -Status.NotHeld && held !== -Status.Stale) {
        throw this.#kernel.failure(-held, `tenant "${this.tenantId}"`);
      }
      this.#ended = true;
    }
    this.#tokens = Math.max(0, held);
    return this.#tokens;
  }

  /** Ends it and gives everything back. Again: nothing. */
  override release(): void {
    if (this.#ended) return;
    const { owner } = this.#kernel;
    const status = this.#kernel.settle(this.#handle, this.#slot, owner, this.#ticket, 0); // throws if it may be tried again
    this.#ended = true;
    if (status === Status.Ok) this.#kernel.slotFreed(this.#slot);
    else if (status !== Status.NotHeld && status !== Status.Stale) {
      throw this.#kernel.failure(status, `tenant "${this.tenantId}"`);
    }
  }
}

function reserveWhole(kernel: Kernel, handle: number, amount: number): FittedHold {
  const ticket = kernel.nextTicket();
  const hint = kernel.slotHint();
  const slot = kernel.exports.holdReserve(handle, amount, kernel.owner, ticket, 0, hint);
  if (slot >= 0) return { amount, slot, ticket };
  kernel.slotFreed(hint);
  return { status: -slot };
}

function idOf(scope: TenantScope): string {
  checkObject("scope", scope);
  // No tenant is meant by a list of them, and it would be taken for the default one.
  if (Array.isArray(scope)) throw invalidType("scope", "an object", scope);
  const { tenantId = "" } = scope;
  if (tenantId !== "") checkName("scope.tenantId", tenantId, TENANT_ID_LENGTH_MAX);
  return tenantId;
}

/** Deltas beyond ±(2^53−1) do the same as ±(2^53−1): everything there is. The seed takes any i64. */
function checkDelta(delta: number): number {
  if (typeof delta !== "number") throw invalidType("delta", "a number", delta);
  const clamped = Math.min(Math.max(delta, -Number.MAX_SAFE_INTEGER), Number.MAX_SAFE_INTEGER);
  checkInteger(
    "delta",
    Number.isFinite(delta) ? clamped : delta,
    -Number.MAX_SAFE_INTEGER,
    Number.MAX_SAFE_INTEGER,
  );
  return clamped;
}
