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

export class PlainTracker {
  readonly #inFlight = new Map<string, number>();
  readonly #cap: number;

  constructor(cap: number) {
    this.#cap = cap;
  }

  tryReserve({ tenantId }: { readonly tenantId: string }, tokens: number): PlainTenantReservation | null {
    const inFlight = this.#inFlight.get(tenantId) ?? 0;
    if (inFlight + tokens > this.#cap) return null;
    this.#inFlight.set(tenantId, inFlight + tokens);
    return new PlainTenantReservation(this, tenantId, tokens);
  }

  giveBack(tenantId: string, tokens: number): void {
    this.#inFlight.set(tenantId, (this.#inFlight.get(tenantId) ?? 0) - tokens);
  }
}

class PlainTenantReservation {
  readonly #tracker: PlainTracker;
  readonly #tenantId: string;
  readonly #tokens: number;
  #open = true;

  constructor(tracker: PlainTracker, tenantId: string, tokens: number) {
    this.#tracker = tracker;
    this.#tenantId = tenantId;
    this.#tokens = tokens;
  }

  release(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#tracker.giveBack(this.#tenantId, this.#tokens);
  }
}
