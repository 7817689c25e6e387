// A private budget decides on plain numbers, one with a name in the kernel. No caller may feel it: the same history leaves
// the same answers, errors and figures in both, after each step, removal and everything after it included.

import fc from "fast-check";
import { AtomicBudget, AtomicTokenBudget, createKernel, type TokenReservation } from "purser";
import { expect, test } from "vitest";
import { edgeAmount } from "../../support/arbitraries.ts";

/** What a call came to: its value, or its error's class and code. */
function outcome(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return { threw: (error as Error).name, code: (error as { code?: string }).code };
  }
}

/** Every figure of a budget; epochs as refills since the beginning, because a kernel numbers them on in a used slot. */
function figures(budget: AtomicBudget | AtomicTokenBudget, epoch: number): unknown[] {
  const readings = [
    () => budget.capacity,
    () => budget.available,
    () => budget.utilization,
    () => budget.highWater,
    () => budget.denied,
    () => budget.epoch - epoch,
    () => ({ ...budget.explainDenial(7), scope: "" }),
  ];
  if (budget instanceof AtomicBudget) readings.push(() => budget.overReleased);
  else {
    readings.push(
      () => budget.debt,
      () => budget.held,
      () => budget.openReservations,
      () => budget.tokensConsumed(),
    );
  }
  return readings.map(outcome);
}

/** A history's own kernel, so that one that fails leaves nothing to the next. */
const named = () => ({
  kernel: createKernel({ budgets: 1, holds: 64, shared: false }),
  name: "the other form",
});
/** Apart, because after one large overage a history is nothing but debt. */
const AMOUNTS: readonly [string, fc.Arbitrary<number>][] = [
  ["small amounts", fc.integer({ min: 0, max: 60 })],
  ["amounts at the edges", edgeAmount],
];
const which = fc.nat({ max: 60 });
const timeMs = fc.nat({ max: 20 });
const common = (amounts: fc.Arbitrary<number>) => [
  { weight: 1, arbitrary: fc.record({ op: fc.constant("grant" as const), amount: amounts }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("refill" as const), amount: fc.constant(0) }) },
];
const removal = fc.nat({ max: 200 });

test.each(AMOUNTS)("AtomicBudget, %s: private and shared by name answer alike", (_, amounts) => {
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ op: fc.constant("take" as const), amount: amounts }) },
    { weight: 4, arbitrary: fc.record({ op: fc.constant("give" as const), amount: amounts }) },
    ...common(amounts),
  );
  fc.assert(
    fc.property(amounts, fc.array(step, { maxLength: 60 }), removal, (capacity, steps, removeAt) => {
      const pair = [new AtomicBudget(capacity), new AtomicBudget(capacity, named())] as const;
      const epochs = pair.map(({ epoch }) => epoch);
      const both = (act: (budget: AtomicBudget) => unknown): void => {
        const [mine, kernels] = pair.map((budget) => outcome(() => act(budget)));
        expect(mine).toEqual(kernels);
        expect(figures(pair[0], epochs[0] ?? 0)).toEqual(figures(pair[1], epochs[1] ?? 0));
      };
      for (const [index, { op, amount }] of steps.entries()) {
        if (index === removeAt) both((budget) => budget.remove());
        if (op === "take") both((budget) => budget.tryReserve(amount));
        else if (op === "give") both((budget) => budget.release(amount));
        else if (op === "grant") both((budget) => budget.grant(amount));
        else both((budget) => budget.refill());
      }
      if (removeAt >= steps.length) both((budget) => budget.remove());
    }),
    { numRuns: 200 },
  );
});

test.each(AMOUNTS)("AtomicTokenBudget, %s: private and shared by name answer alike", (_, amounts) => {
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ op: fc.constant("reserve" as const), amount: amounts, expiresAtMs: timeMs }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        op: fc.constant("record" as const),
        which,
        prompt: amounts,
        completion: amounts,
      }),
    },
    { weight: 2, arbitrary: fc.record({ op: fc.constant("cancel" as const), which }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant("disarm" as const), which }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant("expire" as const), nowMs: timeMs }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant("take" as const), amount: amounts }) },
    ...common(amounts),
  );
  fc.assert(
    fc.property(amounts, fc.array(step, { maxLength: 60 }), removal, (capacity, steps, removeAt) => {
      const pair = [new AtomicTokenBudget(capacity), new AtomicTokenBudget(capacity, named())] as const;
      const epochs = pair.map(({ epoch }) => epoch);
      // Settled ones stay in: settling again, cancelling after the end and late refunds are part of the histories.
      const made: (readonly (TokenReservation | null)[])[] = [];
      const refunds: (readonly ((() => void) | null)[])[] = [];
      const both = (act: (budget: AtomicTokenBudget, form: 0 | 1) => unknown): void => {
        const mine = outcome(() => act(pair[0], 0));
        expect(mine).toEqual(outcome(() => act(pair[1], 1)));
        expect(figures(pair[0], epochs[0] ?? 0)).toEqual(figures(pair[1], epochs[1] ?? 0));
        for (const [first, second] of made) expect(first?.armed).toBe(second?.armed);
      };
      const pick = <T>(from: readonly T[], index: number): T | undefined => from[index % from.length];
      for (const [index, current] of steps.entries()) {
        if (index === removeAt) both((budget) => budget.remove());
        if (current.op === "reserve") {
          const { amount, expiresAtMs } = current;
          const reservations: (TokenReservation | null)[] = [null, null];
          both((budget, form) => {
            reservations[form] = budget.tryReserveTokens(amount, expiresAtMs === 0 ? {} : { expiresAtMs });
            return reservations[form]?.estimate;
          });
          if (reservations[0] !== null) made.push(reservations);
        } else if (current.op === "record") {
          const pairOf = pick(made, current.which);
          const { prompt, completion } = current;
          both((budget, form) => {
            const reservation = pairOf?.[form];
            if (reservation) budget.recordUsage(reservation, prompt, completion);
          });
        } else if (current.op === "cancel") {
          // A late refund, if one was taken over; else by the handle.
          const late = current.which % 3 === 0 ? pick(refunds, current.which) : undefined;
          const pairOf = pick(made, current.which);
          both((_, form) => (late === undefined ? pairOf?.[form]?.cancel() : late[form]?.()));
        } else if (current.op === "disarm") {
          const taken: ((() => void) | null)[] = [null, null];
          const pairOf = pick(made, current.which);
          both((_, form) => {
            taken[form] = pairOf?.[form]?.disarm() ?? null;
            return taken[form] === null;
          });
          refunds.push(taken);
        } else if (current.op === "expire") {
          both((budget) => budget.expire(current.nowMs));
        } else if (current.op === "take") {
          // What LeasedBudget does with its slice.
          both((budget) => budget.counter.fit({ min: current.amount % 7, want: current.amount }));
          // It gives back what it took, and never more.
          both((budget) => {
            const taken = budget.counter.fit({ min: 0, want: 5 });
            if (taken !== null) budget.counter.give(taken);
            return taken;
          });
        } else if (current.op === "grant") {
          both((budget) => budget.grant(current.amount));
        } else {
          both((budget) => budget.refill());
        }
      }
      if (removeAt >= steps.length) both((budget) => budget.remove());
    }),
    { numRuns: 300 },
  );
});
