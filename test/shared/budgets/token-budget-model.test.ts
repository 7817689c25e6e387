// AtomicTokenBudget against a reference model of a few plain fields, after each step of random histories: reserve,
// settle, cancel, refill, grant, expire, reclaim, with amounts at the edges. Private, and in kernels.

import fc from "fast-check";
import { AtomicTokenBudget, createKernel, type Kernel, type TokenReservation } from "purser";
import { expect, test } from "vitest";
import { edgeAmount } from "../../support/arbitraries.ts";

const MAX = BigInt(Number.MAX_SAFE_INTEGER);
const max = (a: bigint, b: bigint): bigint => (a > b ? a : b);

interface OpenHold {
  readonly estimate: bigint;
  readonly epoch: number;
  readonly expiresAtMs: number;
  readonly reservation: TokenReservation;
}

/** What the budget should be, in exact integers. */
class Model {
  capacity: bigint;
  balance: bigint;
  consumed = 0n;
  consumedInEpoch = 0n;
  epoch = 0;
  denied = 0;
  highWater = 0n;
  readonly open: OpenHold[] = [];

  constructor(capacity: number) {
    this.capacity = BigInt(capacity);
    this.balance = this.capacity;
  }

  grants(estimate: number): boolean {
    const fits = this.balance >= BigInt(estimate);
    if (fits) {
      this.balance -= BigInt(estimate);
      this.highWater = max(this.highWater, this.capacity - this.balance);
    } else {
      this.denied++;
    }
    return fits;
  }

  settle(hold: OpenHold, actual: number): void {
    this.open.splice(this.open.indexOf(hold), 1);
    const used = BigInt(actual);
    this.consumed += used;
    if (hold.epoch === this.epoch) {
      this.balance += hold.estimate - used;
      this.consumedInEpoch += used;
    } else {
      const beyond = max(0n, used - hold.estimate);
      this.balance -= beyond;
      this.consumedInEpoch += beyond;
    }
    if (used > hold.estimate) this.highWater = max(this.highWater, this.capacity - this.balance);
  }

  refill(): void {
    const debt = max(0n, -this.balance);
    this.balance = this.capacity - debt;
    this.consumedInEpoch = debt;
    this.epoch++;
  }

  held(): bigint {
    return this.open
      .filter((hold) => hold.epoch === this.epoch)
      .reduce((sum, hold) => sum + hold.estimate, 0n);
  }
}

type Step =
  | { op: "reserve"; amount: number; expiresAtMs: number }
  | { op: "record"; which: number; prompt: number; completion: number }
  | { op: "cancel"; which: number }
  | { op: "settleTwice"; which: number }
  | { op: "refill" }
  | { op: "grant"; amount: number }
  | { op: "expire"; nowMs: number }
  | { op: "reclaim" };

const which = fc.nat({ max: 30 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant("reserve" as const),
      amount: edgeAmount,
      expiresAtMs: fc.nat({ max: 20 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant("record" as const),
      which,
      prompt: edgeAmount,
      completion: edgeAmount,
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("cancel" as const), which }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("settleTwice" as const), which }) },
  { weight: 1, arbitrary: fc.constant({ op: "refill" as const }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("grant" as const), amount: edgeAmount }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("expire" as const), nowMs: fc.nat({ max: 20 }) }) },
  { weight: 1, arbitrary: fc.constant({ op: "reclaim" as const }) },
);

function codeOf(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    return (error as { code?: string }).code;
  }
}

function run(kernel: Kernel | null, budget: AtomicTokenBudget, model: Model, current: Step): void {
  const pick = (index: number): OpenHold | undefined =>
    model.open.length === 0 ? undefined : model.open[index % model.open.length];
  switch (current.op) {
    case "reserve": {
      const { amount, expiresAtMs } = current;
      const reservation = budget.tryReserveTokens(amount, expiresAtMs === 0 ? {} : { expiresAtMs });
      expect(reservation !== null).toBe(model.grants(amount));
      if (reservation !== null) {
        model.open.push({ estimate: BigInt(amount), epoch: model.epoch, expiresAtMs, reservation });
      }
      return;
    }
    case "record": {
      const hold = pick(current.which);
      if (hold === undefined) return;
      const { prompt, completion } = current;
      const sum = BigInt(prompt) + BigInt(completion);
      const code = codeOf(() => budget.recordUsage(hold.reservation, prompt, completion));
      if (sum > MAX) {
        expect(code).toBe("ARGUMENT_INVALID");
      } else if (model.consumed + sum > MAX) {
        expect(code).toBe("BUDGET_OVERFLOW");
        expect(hold.reservation.armed).toBe(true);
      } else {
        expect(code).toBeUndefined();
        model.settle(hold, Number(sum));
      }
      return;
    }
    case "cancel": {
      const hold = pick(current.which);
      if (hold === undefined) return;
      hold.reservation.cancel();
      hold.reservation[Symbol.dispose]();
      model.settle(hold, 0);
      return;
    }
    case "settleTwice": {
      const hold = pick(current.which);
      if (hold === undefined) return;
      hold.reservation.cancel();
      model.settle(hold, 0);
      expect(codeOf(() => budget.recordUsage(hold.reservation, 1, 1))).toBe("RESERVATION_SETTLED");
      return;
    }
    case "refill":
      budget.refill();
      model.refill();
      return;
    case "grant": {
      const fits = model.capacity + BigInt(current.amount) <= MAX;
      expect(codeOf(() => budget.grant(current.amount))).toBe(fits ? undefined : "BUDGET_OVERFLOW");
      if (fits) {
        model.capacity += BigInt(current.amount);
        model.balance += BigInt(current.amount);
      }
      return;
    }
    case "expire": {
      const due = model.open.filter((hold) => hold.expiresAtMs > 0 && hold.expiresAtMs <= current.nowMs);
      expect(budget.expire(current.nowMs)).toBe(due.length);
      for (const hold of due) model.settle(hold, 0);
      return;
    }
    case "reclaim": {
      if (kernel === null) return; // a private budget has no thread that could die without it
      const all = [...model.open];
      expect(kernel.reclaim(kernel.owner)).toBe(all.length);
      for (const hold of all) model.settle(hold, 0);
      return;
    }
  }
}

function check(budget: AtomicTokenBudget, model: Model): void {
  const available = Number(max(0n, model.balance));
  const debt = Number(max(0n, -model.balance));
  expect({
    capacity: budget.capacity,
    available: budget.available,
    debt: budget.debt,
    held: budget.held,
    consumed: budget.tokensConsumed(),
    consumedInEpoch:
      BigInt(budget.capacity) - BigInt(budget.available) - BigInt(budget.held) + BigInt(budget.debt),
    open: budget.openReservations,
    denied: budget.denied,
  }).toEqual({
    capacity: Number(model.capacity),
    available,
    debt,
    held: Number(model.held()),
    consumed: Number(model.consumed),
    consumedInEpoch: model.consumedInEpoch,
    open: model.open.length,
    denied: model.denied,
  });
  expect(BigInt(budget.highWater)).toBe(model.highWater < MAX ? model.highWater : MAX);
  expect(model.capacity).toBe(BigInt(available) + model.held() + model.consumedInEpoch - BigInt(debt));
}

const shared = createKernel({ holds: 64, budgets: 4 });
const unshared = createKernel({ holds: 64, budgets: 4, shared: false });

test.each<[string, Kernel | null]>([
  ["private", null],
  ["in shared memory where the runtime has it", shared],
  ["in unshared memory", unshared],
])("%s: every history leaves the budget as the model says", (_, kernel) => {
  const options = kernel === null ? {} : { kernel, name: "modelled" };
  fc.assert(
    fc.property(edgeAmount, fc.array(step, { maxLength: 60 }), (capacity, steps) => {
      const budget = new AtomicTokenBudget(capacity, options);
      const model = new Model(capacity);
      try {
        for (const current of steps) {
          run(kernel, budget, model, current);
          check(budget, model);
        }
      } finally {
        kernel?.reclaim(kernel.owner);
        budget.remove();
      }
    }),
    { numRuns: 150 },
  );
});
