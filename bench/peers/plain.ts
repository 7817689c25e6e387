// The same budgets as plain numbers in an object: the least that JavaScript can do. Faster than anything with atomics,
// and it answers less: one thread only, nothing is checked, and what a crashed task held is gone.

export class PlainBudget {
  #available: number;
  readonly #capacity: number;

  constructor(capacity: number) {
    this.#available = capacity;
    this.#capacity = capacity;
  }

  tryReserve(cost: number): boolean {
    if (this.#available < cost) return false;
    this.#available -= cost;
    return true;
  }

  release(cost: number): void {
    this.#available = Math.min(this.#available + cost, this.#capacity);
  }
}

export class PlainTokens {
  #available: number;
  #consumed = 0;
  readonly #capacity: number;

  constructor(capacity: number) {
    this.#available = capacity;
    this.#capacity = capacity;
  }

  tryReserveTokens(estimate: number): PlainReservation | null {
    if (this.#available < estimate) return null;
    this.#available -= estimate;
    return new PlainReservation(estimate);
  }

  recordUsage(reservation: PlainReservation, promptTokens: number, completionTokens: number): void {
    if (!reservation.open) return;
    reservation.open = false;
    const actual = promptTokens + completionTokens;
    this.#consumed += actual;
    const next = this.#available + reservation.estimate - actual;
    this.#available = Math.max(0, Math.min(next, this.#capacity));
  }
}

class PlainReservation {
  readonly estimate: number;
  open = true;

  constructor(estimate: number) {
    this.estimate = estimate;
  }
}

interface PlainTenant {
  inFlight: number;
  highWater: number;
}

export class PlainTracker {
  readonly #tenants = new Map<string, PlainTenant>();
  readonly #cap: number;

  constructor(cap: number) {
    this.#cap = cap;
  }

  tryReserve({ tenantId }: { readonly tenantId: string }, tokens: number): PlainTenantReservation | null {
    const known = this.#tenants.get(tenantId);
    const tenant = known ?? { inFlight: 0, highWater: 0 };
    if (tenant.inFlight + tokens > this.#cap) return null;
    if (known === undefined) this.#tenants.set(tenantId, tenant);
    tenant.inFlight += tokens;
    if (tenant.inFlight > tenant.highWater) tenant.highWater = tenant.inFlight;
    return new PlainTenantReservation(tenant, tokens);
  }
}

class PlainTenantReservation {
  readonly #tenant: PlainTenant;
  readonly #tokens: number;
  #open = true;

  constructor(tenant: PlainTenant, tokens: number) {
    this.#tenant = tenant;
    this.#tokens = tokens;
  }

  release(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#tenant.inFlight -= this.#tokens;
  }
}

/** Both counts at once or not at all, which costs nothing where nobody else can come between. */
export class PlainGovernor {
  #total = 0;
  #tools = 0;
  readonly #limits: { readonly total: number; readonly tools: number };

  constructor(limits: { readonly total: number; readonly tools: number }) {
    this.#limits = limits;
  }

  tryAcquireTool(): PlainPermit | null {
    if (this.#total >= this.#limits.total || this.#tools >= this.#limits.tools) return null;
    this.#total++;
    this.#tools++;
    return new PlainPermit(this);
  }

  giveBack(): void {
    this.#total--;
    this.#tools--;
  }
}

class PlainPermit {
  readonly #governor: PlainGovernor;
  #open = true;

  constructor(governor: PlainGovernor) {
    this.#governor = governor;
  }

  release(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#governor.giveBack();
  }
}
