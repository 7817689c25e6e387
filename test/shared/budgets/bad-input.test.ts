// Every public function that takes a number, with everything that is no amount: a clear error, and nothing changed.

import { AtomicBudget, AtomicTokenBudget, TokenReservation, withTokens } from "purser";
import { describe, expect, test } from "vitest";
import { BAD_AMOUNTS } from "../../support/arbitraries.ts";
import { BUDGET_FORMS } from "../../support/budget-forms.ts";

function figures(budget: AtomicBudget | AtomicTokenBudget) {
  const { capacity, available, utilization, highWater, denied, epoch } = budget;
  const more =
    budget instanceof AtomicBudget
      ? { overReleased: budget.overReleased }
      : {
          debt: budget.debt,
          held: budget.held,
          consumed: budget.tokensConsumed(),
          open: budget.openReservations,
        };
  return { capacity, available, utilization, highWater, denied, epoch, ...more };
}

describe.each(BUDGET_FORMS)("$form", (form) => {
  describe.each(BAD_AMOUNTS)("%s", (value, errorClass) => {
    const bad = value as number;

    test("AtomicBudget refuses it everywhere and stays as it was", () => {
      expect(() => form.counted(bad)).toThrow(errorClass);
      const budget = form.counted(10);
      budget.tryReserve(3);
      const before = figures(budget);
      expect(() => budget.tryReserve(bad)).toThrow(errorClass);
      expect(() => budget.release(bad)).toThrow(errorClass);
      expect(() => budget.grant(bad)).toThrow(errorClass);
      expect(() => budget.explainDenial(bad)).toThrow(errorClass);
      expect(figures(budget)).toEqual(before);
    });

    test("AtomicTokenBudget refuses it everywhere and stays as it was", async () => {
      expect(() => form.tokens(bad)).toThrow(errorClass);
      const budget = form.tokens(10);
      const reservation = budget.tryReserveTokens(3);
      if (reservation === null) throw new Error("expected a reservation");
      const before = figures(budget);
      expect(() => budget.tryReserveTokens(bad)).toThrow(errorClass);
      if (value !== undefined) {
        expect(() => budget.tryReserveTokens(1, { expiresAtMs: bad })).toThrow(errorClass);
      }
      expect(() => budget.expire(bad)).toThrow(errorClass);
      expect(() => budget.recordUsage(reservation, bad, 0)).toThrow(errorClass);
      expect(() => budget.recordUsage(reservation, 0, bad)).toThrow(errorClass);
      expect(() => new TokenReservation(bad, () => {})).toThrow(errorClass);
      await expect(
        withTokens(budget, bad, () => ({ result: 0, promptTokens: 0, completionTokens: 0 })),
      ).rejects.toThrow(errorClass);
      await expect(
        withTokens(budget, 1, () => ({ result: 0, promptTokens: bad, completionTokens: 0 })),
      ).rejects.toThrow(errorClass);
      expect(figures(budget)).toEqual({ ...before, highWater: 4 });
      expect(reservation.armed).toBe(true);
    });
  });

  test("the message names argument, rule and value, and the error has a code", () => {
    const budget = form.counted(10);
    const cases = [
      [-1, "cost must be an integer from 0 to 9007199254740991, got -1"],
      [0.5, "cost must be an integer from 0 to 9007199254740991, got 0.5"],
      ["7", 'cost must be a number, got string "7"'],
      [2n ** 64n, "cost must be a number, got bigint 18446744073709551616"],
      [null, "cost must be a number, got null"],
    ] as const;
    for (const [value, message] of cases) {
      const call = () => budget.tryReserve(value as number);
      expect(call).toThrow(message);
      expect(call).toThrow(expect.objectContaining({ code: "ARGUMENT_INVALID" }));
    }
  });

  test("the sum of prompt and completion tokens is an amount too", () => {
    const budget = form.tokens(10);
    const reservation = budget.tryReserveTokens(1);
    if (reservation === null) throw new Error("expected a reservation");
    expect(() => budget.recordUsage(reservation, Number.MAX_SAFE_INTEGER, 1)).toThrow(RangeError);
    expect(budget.held).toBe(1);
  });

  test.each([null, {}, "x", new TokenReservation(1, () => {})])(
    "%s is no reservation of the budget",
    (value) => {
      const budget = form.tokens(10);
      expect(() => budget.recordUsage(value as TokenReservation, 1, 1)).toThrow(TypeError);
      expect(budget.tokensConsumed()).toBe(0);
    },
  );
});

test("a private budget's reservations have no ticket, and it adopts none", () => {
  const budget = new AtomicTokenBudget(10);
  const reservation = budget.tryReserveTokens(3);
  if (reservation === null) throw new Error("expected a reservation");
  const refusal = expect.objectContaining({ code: "ARGUMENT_INVALID" });
  expect(() => budget.toTicket(reservation)).toThrow(refusal);
  expect(() => budget.adopt({ slot: 0, owner: 1, ticket: 1, estimate: 3 })).toThrow(refusal);
  expect(budget.held).toBe(3);
});

test("what is no kernel is refused", () => {
  expect(() => new AtomicBudget(1, { kernel: {} as never })).toThrow(/kernel must be a Kernel/);
});
