// What the seed's tests leave out: debt, epochs, the reservation's handle, the scoped form, denials.

import {
  AtomicTokenBudget,
  BudgetDeniedError,
  createKernel,
  type TokenBudget,
  TokenReservation,
  withTokens,
} from "purser";
import { describe, expect, test } from "vitest";
import { BUDGET_FORMS } from "../../support/budget-forms.ts";

function granted(reservation: TokenReservation | null): TokenReservation {
  if (reservation === null) throw new Error("expected the budget to grant a reservation");
  return reservation;
}

describe.each(BUDGET_FORMS)("debt, $form", (form) => {
  test("is remembered: holds of 600 and 400, a use of 5000, and nothing is spendable again", () => {
    const budget = form.tokens(1_000);
    const first = granted(budget.tryReserveTokens(600));
    const second = granted(budget.tryReserveTokens(400));
    budget.recordUsage(first, 5_000, 0);
    expect(budget.debt).toBe(4_400);
    second.cancel();
    expect(budget.debt).toBe(4_000);
    expect(budget.available).toBe(0);
    expect(budget.tryReserveTokens(1)).toBeNull();
    expect(budget.tryReserveTokens(0)).toBeNull();
  });

  test("is repaid first by what comes back", () => {
    const budget = form.tokens(100);
    const over = granted(budget.tryReserveTokens(40));
    const under = granted(budget.tryReserveTokens(60));
    budget.recordUsage(over, 50, 0);
    expect(budget.debt).toBe(10);
    budget.recordUsage(under, 30, 0);
    expect(budget.debt).toBe(0);
    expect(budget.available).toBe(20);
  });

  test("survives a refill: the new epoch repays it first", () => {
    const budget = form.tokens(100);
    budget.recordUsage(granted(budget.tryReserveTokens(100)), 130, 0);
    budget.refill();
    expect(budget.debt).toBe(0);
    expect(budget.available).toBe(70);
    expect(budget.consumedInEpoch).toBe(30);
  });

  test("larger than the capacity outlives the refill", () => {
    const budget = form.tokens(100);
    budget.recordUsage(granted(budget.tryReserveTokens(100)), 350, 0);
    budget.refill();
    expect(budget.debt).toBe(150);
    expect(budget.tryReserveTokens(1)).toBeNull();
  });
});

describe.each(BUDGET_FORMS)("epochs, $form", (form) => {
  test("a reservation from before a refill never credits the new epoch: not 1100 of 1000", () => {
    const budget = form.tokens(1_000);
    const old = granted(budget.tryReserveTokens(100));
    budget.refill();
    granted(budget.tryReserveTokens(1_000));
    old.cancel();
    expect(budget.available).toBe(0);
    expect(budget.held).toBe(1_000);
  });

  test("what such a reservation used beyond its estimate is still charged", () => {
    const budget = form.tokens(1_000);
    const old = granted(budget.tryReserveTokens(100));
    budget.refill();
    budget.recordUsage(old, 150, 0);
    expect(budget.available).toBe(950);
    expect(budget.tokensConsumed()).toBe(150);
  });

  test("a refill of 1,024 epochs and more is told apart", () => {
    const budget = form.tokens(10);
    const old = granted(budget.tryReserveTokens(10));
    for (let i = 0; i < 1_024; i++) budget.refill();
    granted(budget.tryReserveTokens(10));
    old.cancel();
    expect(budget.available).toBe(0);
  });
});

describe.each(BUDGET_FORMS)("the reservation's handle, $form", (form) => {
  test("disarming hands over the refund, once", () => {
    const budget = form.tokens(10);
    const reservation = granted(budget.tryReserveTokens(4));
    const refund = reservation.disarm();
    expect(reservation.armed).toBe(false);
    expect(reservation.disarm()).toBeNull();
    reservation[Symbol.dispose]();
    expect(budget.available).toBe(6);
    refund?.();
    refund?.();
    expect(budget.available).toBe(10);
  });

  test("disposing after usage was recorded does nothing", () => {
    const budget = form.tokens(10);
    const reservation = granted(budget.tryReserveTokens(4));
    budget.recordUsage(reservation, 4, 0);
    expect(reservation.armed).toBe(false);
    reservation.cancel();
    reservation[Symbol.dispose]();
    expect(budget.available).toBe(6);
  });

  test("recording twice throws and changes nothing", () => {
    const budget = form.tokens(10);
    const reservation = granted(budget.tryReserveTokens(4));
    budget.recordUsage(reservation, 1, 1);
    expect(() => budget.recordUsage(reservation, 1, 1)).toThrow(
      expect.objectContaining({ code: "RESERVATION_SETTLED", name: "ReservationSettledError" }),
    );
    expect(budget.tokensConsumed()).toBe(2);
    expect(budget.available).toBe(8);
  });
});

describe.each(BUDGET_FORMS)("withTokens, $form", (form) => {
  const used = (result: string, promptTokens: number, completionTokens: number) => ({
    result,
    promptTokens,
    completionTokens,
  });

  test("settles with what the call reports", async () => {
    const budget = form.tokens(100);
    const text = await withTokens(budget, 50, (reservation) => {
      expect(reservation.estimate).toBe(50);
      expect(budget.available).toBe(50);
      return Promise.resolve(used("hello", 10, 5));
    });
    expect(text).toBe("hello");
    expect(budget.available).toBe(85);
    expect(budget.openReservations).toBe(0);
  });

  test("refunds when the call throws, at once or later", async () => {
    const budget = form.tokens(100);
    const failure = new Error("model down");
    await expect(withTokens(budget, 50, () => Promise.reject(failure))).rejects.toBe(failure);
    await expect(
      withTokens(budget, 50, () => {
        throw failure;
      }),
    ).rejects.toBe(failure);
    expect(budget.available).toBe(100);
  });

  test("refunds when it is aborted while the call runs, and forgets the late answer", async () => {
    const budget = form.tokens(100);
    const controller = new AbortController();
    let answer: (value: ReturnType<typeof used>) => void = () => {};
    const running = withTokens(
      budget,
      50,
      () =>
        new Promise<ReturnType<typeof used>>((resolve) => {
          answer = resolve;
        }),
      { signal: controller.signal },
    );
    await Promise.resolve();
    expect(budget.available).toBe(50);
    controller.abort(new Error("enough"));
    await expect(running).rejects.toThrow("enough");
    answer(used("late", 10, 10));
    await Promise.resolve();
    expect(budget.available).toBe(100);
    expect(budget.tokensConsumed()).toBe(0);
  });

  test("does not begin when it is aborted before", async () => {
    const budget = form.tokens(100);
    let called = false;
    const running = withTokens(
      budget,
      50,
      () => {
        called = true;
        return used("", 0, 0);
      },
      { signal: AbortSignal.abort(new Error("too late")) },
    );
    await expect(running).rejects.toThrow("too late");
    expect(called).toBe(false);
    expect(budget.available).toBe(100);
  });

  test("rejects with the denial when the budget says no, without calling", async () => {
    const budget = new AtomicTokenBudget(100, { kernel: createKernel(), name: "agents" });
    const held = granted(budget.tryReserveTokens(80));
    const error = await withTokens(budget, 30, () => {
      throw new Error("must not be called");
    }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(BudgetDeniedError);
    expect((error as BudgetDeniedError).denial).toEqual({
      code: "HELD_BY_INFLIGHT",
      scope: "agents",
      requested: 30,
      limit: 100,
      available: 20,
      spent: 0,
      held: 80,
      debt: 0,
      retry: "when-released",
    });
    expect((error as BudgetDeniedError).code).toBe("BUDGET_DENIED");
    held.cancel();
  });

  test("works over any TokenBudget, also an asynchronous one", async () => {
    const events: string[] = [];
    const remote: TokenBudget = {
      tryReserveTokens: async (asked) => {
        const estimate = typeof asked === "number" ? asked : Math.max(asked.min, Math.min(asked.want, 10));
        return estimate > 10 ? null : new TokenReservation(estimate, () => events.push("refund"));
      },
      recordUsage: async (reservation, prompt, completion) => {
        reservation.disarm();
        events.push(`record ${prompt + completion}`);
      },
      tokensConsumed: async () => 0,
    };
    await withTokens(remote, 5, () => used("", 1, 2));
    await expect(withTokens(remote, 11, () => used("", 1, 2))).rejects.toMatchObject({
      denial: { code: "EXHAUSTED", requested: 11 },
    });
    await expect(withTokens(remote, 5, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(events).toEqual(["record 3", "refund"]);
    await expect(
      withTokens(remote, { want: 90, min: 4 }, ({ estimate }) => used(`${estimate}`, 1, 2)),
    ).resolves.toBe("10");
    await expect(withTokens(remote, { want: 90, min: 11 }, () => used("", 1, 2))).rejects.toMatchObject({
      denial: { requested: 11 },
    });
  });
});

describe.each(BUDGET_FORMS)("why a budget says no, $form", (form) => {
  test.each([
    ["TOO_LARGE_EVER", "never", 101, []],
    ["HELD_BY_INFLIGHT", "when-released", 50, [{ hold: 60 }]],
    ["EXHAUSTED", "never", 50, [{ spend: 60 }]],
    ["DEBT", "never", 1, [{ spend: 110 }]],
  ] as const)("%s, retry %s", (code, retry, requested, steps) => {
    const budget = form.tokens(100);
    for (const step of steps) {
      const amount = "hold" in step ? step.hold : step.spend;
      const reservation = granted(budget.tryReserveTokens(Math.min(amount, 100)));
      if ("spend" in step) budget.recordUsage(reservation, amount, 0);
    }
    expect(budget.tryReserveTokens(requested)).toBeNull();
    expect(budget.explainDenial(requested)).toMatchObject({ code, retry, requested, limit: 100 });
  });

  test("a budget of 0 has a utilization of 0 and denies", () => {
    const budget = form.counted(0);
    expect(budget.utilization).toBe(0);
    expect(budget.tryReserve(0)).toBe(true);
    expect(budget.tryReserve(1)).toBe(false);
    expect(budget.explainDenial(1).code).toBe("TOO_LARGE_EVER");
  });
});
