// allOf against a plain model: budgets of every kind, asked together in random sets, after each step as the model says.
// The model is one integer or two for each budget; it decides in the same breath what the kernel decides over many words.

import fc from "fast-check";
import {
  type AllOfBudget,
  type AllOfReservation,
  AtomicBudget,
  AtomicTokenBudget,
  allOf,
  ConcurrencyGovernor,
  createKernel,
  RateBudget,
  type TakenCost,
  type TokenReservation,
} from "purser";
import { expect, test } from "vitest";
import { BUDGETS_MAX } from "../../../src/kernel/generated/abi.ts";

/** The kinds by position: two of each, the last two being categories of two governors. */
const POSITIONS = [0, 1, 2, 3, 4, 5, 6, 7] as const;
const CAPACITY = 20;
const RATES = [
  { limit: 3, windowMs: 1_000, burst: 5 },
  { limit: 10, windowMs: 100, burst: 20 },
] as const;

type Step =
  | { op: "take"; positions: number[]; costs: number[] }
  | { op: "release"; which: number }
  | { op: "releasePart"; which: number; part: number }
  | { op: "settle"; which: number; actual: number }
  | { op: "refill"; which: number }
  | { op: "later"; ms: number };

const which = fc.nat({ max: 30 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant("take" as const),
      positions: fc.shuffledSubarray([...POSITIONS], { minLength: 1 }),
      costs: fc.array(fc.nat({ max: 9 }), { minLength: 8, maxLength: 8 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("release" as const), which }) },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant("releasePart" as const), which, part: fc.nat({ max: 7 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant("settle" as const), which, actual: fc.nat({ max: 15 }) }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("refill" as const), which: fc.nat({ max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("later" as const), ms: fc.nat({ max: 700 }) }) },
);

/** One part of a reservation that the model knows to be open. */
interface OpenPart {
  readonly position: number;
  readonly cost: number;
  readonly epoch: number;
  open: boolean;
}

function realWorld(now: () => number) {
  const kernel = createKernel({ budgets: 16, holds: 512 });
  const named = (name: string) => ({ kernel, name });
  const counters = ["a", "b"].map((name) => new AtomicBudget(CAPACITY, named(name))) as [
    AtomicBudget,
    AtomicBudget,
  ];
  const tokens = ["c", "d"].map((name) => new AtomicTokenBudget(CAPACITY, named(name))) as [
    AtomicTokenBudget,
    AtomicTokenBudget,
  ];
  const rates = RATES.map((limits, n) => new RateBudget(limits, { ...named(`rate ${n}`), now }));
  const governors = [1, 3].map(
    (tools) => new ConcurrencyGovernor({ tools, total: 2 }, named(`slots ${tools}`)),
  );
  const budgets = [
    ...counters,
    ...tokens,
    ...rates,
    ...governors.map((governor) => governor.category("tools")),
  ];
  const slots = budgets.map((budget) => handleOf(budget) % BUDGETS_MAX);
  return { kernel, counters, tokens, rates, governors, budgets, slots };
}

function handleOf(budget: AllOfBudget): number {
  if ("asGuard" in budget) return budget.asGuard()?.handle ?? 0;
  const { counter } = budget as unknown as { counter: { handle: number } };
  return counter.handle;
}

class Model {
  nowMs = 5_000_000;
  readonly out = [0, 0, 0, 0];
  readonly epoch = [0, 0, 0, 0];
  readonly denied = [0, 0, 0, 0];
  readonly highWater = [0, 0, 0, 0];
  consumed = [0, 0, 0, 0];
  /** Arrival times in units of 1/limit milliseconds, as integers. */
  readonly arrival = [0, 0];
  readonly permits = [0, 0];

  fits(position: number, cost: number): boolean {
    if (position < 4) return (this.out[position] ?? 0) + cost <= CAPACITY;
    if (position < 6) return this.#next(position - 4, cost) <= this.#end(position - 4);
    return (this.permits[position - 6] ?? 0) < (position === 6 ? 1 : 2);
  }

  take(position: number, cost: number): void {
    if (position < 4) {
      this.out[position] = (this.out[position] ?? 0) + cost;
      this.#mark(position);
    } else if (position < 6) this.arrival[position - 4] = this.#next(position - 4, cost);
    else this.permits[position - 6] = (this.permits[position - 6] ?? 0) + 1;
  }

  give(part: OpenPart, actual = 0): void {
    if (!part.open) return;
    part.open = false;
    const { position, cost, epoch } = part;
    if (position < 2) this.out[position] = Math.max(0, (this.out[position] ?? 0) - cost);
    else if (position < 4) {
      const change = epoch === this.epoch[position] ? actual - cost : Math.max(0, actual - cost);
      this.out[position] = (this.out[position] ?? 0) + change;
      this.consumed[position] = (this.consumed[position] ?? 0) + actual;
      if (change > 0) this.#mark(position);
    } else if (position < 6) {
      const took = cost * RATES[position - 4 === 0 ? 0 : 1].windowMs;
      this.arrival[position - 4] = Math.max(0, (this.arrival[position - 4] ?? 0) - took);
    } else this.permits[position - 6] = (this.permits[position - 6] ?? 0) - 1;
  }

  refill(position: number): void {
    this.out[position] = Math.max(0, (this.out[position] ?? 0) - CAPACITY);
    this.epoch[position] = (this.epoch[position] ?? 0) + 1;
  }

  rateAvailable(rate: number): number {
    const { limit, windowMs } = RATES[rate === 0 ? 0 : 1];
    const from = Math.max(this.arrival[rate] ?? 0, this.nowMs * limit);
    return Math.floor((this.#end(rate) - from) / windowMs);
  }

  #mark(position: number): void {
    this.highWater[position] = Math.max(this.highWater[position] ?? 0, this.out[position] ?? 0);
  }

  #next(rate: number, cost: number): number {
    const { limit, windowMs } = RATES[rate === 0 ? 0 : 1];
    return Math.max(this.arrival[rate] ?? 0, this.nowMs * limit) + cost * windowMs;
  }

  #end(rate: number): number {
    const { limit, windowMs, burst } = RATES[rate === 0 ? 0 : 1];
    return this.nowMs * limit + burst * windowMs;
  }
}

test("every history of decisions over random sets of budgets leaves each of them as the model says", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
      const model = new Model();
      const { kernel, counters, tokens, rates, governors, budgets, slots } = realWorld(() => model.nowMs);
      const taken: { reservation: AllOfReservation<typeof budgets>; parts: OpenPart[] }[] = [];
      for (const current of steps) {
        const { op } = current;
        if (op === "take") {
          const { positions } = current;
          const costs = positions.map((position) => (position < 6 ? (current.costs[position] ?? 0) : 1));
          const call = allOf(...positions.map((position) => budgets[position] as (typeof budgets)[number]));
          const refusing = positions.filter((position, n) => !model.fits(position, costs[n] ?? 0));
          const denial = call.explainDenial(costs);
          expect(denial === null).toBe(refusing.length === 0);
          if (denial !== null) expect(refusing).toContain(positions[denial.guard]);
          const reservation = call.tryReserve(costs);
          expect(reservation !== null).toBe(refusing.length === 0);
          if (reservation === null) {
            // The kernel asks in the order of the slots, and stops at the first who says no.
            const [first = 0] = refusing.sort((a, b) => (slots[a] ?? 0) - (slots[b] ?? 0));
            if (first < 4) model.denied[first] = (model.denied[first] ?? 0) + 1;
          } else {
            for (const [n, position] of positions.entries()) model.take(position, costs[n] ?? 0);
            const parts = positions.map((position, n) => ({
              position,
              cost: costs[n] ?? 0,
              epoch: model.epoch[position] ?? 0,
              open: true,
            }));
            taken.push({ reservation, parts });
          }
        } else if (op === "later") model.nowMs += current.ms;
        else if (op === "refill") {
          model.refill(current.which);
          [...counters, ...tokens][current.which]?.refill();
        } else if (taken.length > 0) {
          const { reservation, parts } = taken[current.which % taken.length] ?? { parts: [] };
          if (op === "release") {
            reservation?.release();
            for (const part of parts) model.give(part);
          } else {
            const isTokens = ({ position }: OpenPart) => position === 2 || position === 3;
            const n = op === "settle" ? parts.findIndex(isTokens) : current.part % parts.length;
            const part = parts[n];
            if (part === undefined) continue;
            const real = reservation?.parts[n] as TokenReservation | TakenCost;
            if (op === "settle") {
              const record = () =>
                tokens[part.position - 2]?.recordUsage(real as TokenReservation, current.actual, 0);
              if (part.open) record();
              else expect(record).toThrow(expect.objectContaining({ code: "RESERVATION_SETTLED" }));
              model.give(part, current.actual);
            } else {
              real[Symbol.dispose]();
              model.give(part);
            }
          }
        }
        const counted = [...counters, ...tokens];
        expect(counted.map(({ available }) => available)).toEqual(
          model.out.map((out) => Math.max(0, CAPACITY - out)),
        );
        expect(tokens.map(({ debt }) => debt)).toEqual(
          model.out.slice(2).map((out) => Math.max(0, out - CAPACITY)),
        );
        expect(counted.map(({ denied }) => denied)).toEqual(model.denied);
        expect(counted.map(({ highWater }) => highWater)).toEqual(model.highWater);
        expect(tokens.map((budget) => budget.tokensConsumed())).toEqual(model.consumed.slice(2));
        expect(rates.map(({ available }) => available)).toEqual(
          [0, 1].map((rate) => model.rateAvailable(rate)),
        );
        expect(governors.map((governor) => 2 - governor.stats().globalAvailable)).toEqual(model.permits);
        const open = taken.flatMap(({ parts }) => parts).filter((part) => part.open);
        for (const position of [2, 3]) {
          const held = open.filter((part) => part.position === position);
          expect(tokens[position - 2]?.openReservations).toBe(held.length);
          const ofEpoch = held.filter(({ epoch }) => epoch === model.epoch[position]);
          expect(tokens[position - 2]?.held).toBe(ofEpoch.reduce((sum, { cost }) => sum + cost, 0));
        }
      }
      kernel.close();
      for (const [n, budget] of tokens.entries()) {
        expect(budget.openReservations).toBe(0);
        const inEpoch = taken
          .flatMap(({ parts }) => parts)
          .filter(({ position, open, epoch }) => open && position === n + 2 && epoch === model.epoch[n + 2]);
        const back = inEpoch.reduce((sum, { cost }) => sum + cost, 0);
        expect(budget.available - budget.debt).toBe(CAPACITY - (model.out[n + 2] ?? 0) + back);
      }
      expect(governors.map((governor) => governor.stats().globalAvailable)).toEqual([2, 2]);
    }),
    { numRuns: 150 },
  );
});
