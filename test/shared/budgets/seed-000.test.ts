// The tests of the first seed (rig-compose, budget.rs, `mod tests`), under their own names and in their order.
// Rust's end of scope, where a reservation is dropped, is a block with `using` here.

import type { TokenReservation } from "purser";
import { describe, expect, test } from "vitest";
import { BUDGET_FORMS } from "../../support/budget-forms.ts";

function granted(reservation: TokenReservation | null): TokenReservation {
  if (reservation === null) throw new Error("expected the budget to grant a reservation");
  return reservation;
}

describe.each(BUDGET_FORMS)("$form", (form) => {
  test("reserve_until_empty", () => {
    const budget = form.counted(100);
    expect(budget.tryReserve(60)).toBe(true);
    expect(budget.tryReserve(40)).toBe(true);
    expect(budget.tryReserve(1)).toBe(false);
    budget.release(50);
    expect(budget.tryReserve(50)).toBe(true);
  });

  test("release_caps_at_capacity", () => {
    const budget = form.counted(10);
    expect(budget.tryReserve(5)).toBe(true);
    budget.release(100);
    expect(budget.available).toBe(10);
    expect(budget.overReleased).toBe(95);
  });

  test("refill_restores_capacity", () => {
    const budget = form.counted(100);
    expect(budget.tryReserve(75)).toBe(true);
    expect(budget.available).toBe(25);
    budget.refill();
    expect(budget.available).toBe(100);
  });

  test("utilization_tracks_consumption", () => {
    const budget = form.counted(100);
    expect(budget.utilization).toBe(0);
    expect(budget.tryReserve(40)).toBe(true);
    expect(budget.utilization).toBeCloseTo(0.4, 12);
  });

  test("token_budget_reserves_records_and_reports", () => {
    const budget = form.tokens(1_000);
    const reservation = granted(budget.tryReserveTokens(400));
    budget.recordUsage(reservation, 120, 80);
    expect(budget.tokensConsumed()).toBe(200);
    using _hold = granted(budget.tryReserveTokens(800));
    expect(budget.tryReserveTokens(1)).toBeNull();
  });

  test("token_budget_debits_overage", () => {
    const budget = form.tokens(1_000);
    const reservation = granted(budget.tryReserveTokens(100));
    budget.recordUsage(reservation, 150, 50);
    expect(budget.tokensConsumed()).toBe(200);
    expect(budget.available).toBe(800);
  });

  test("token_budget_reconciles_each_reservation_independently", () => {
    const budget = form.tokens(1_000);
    const first = granted(budget.tryReserveTokens(400));
    const second = granted(budget.tryReserveTokens(400));
    expect(budget.available).toBe(200);

    budget.recordUsage(first, 100, 100);
    expect(budget.available).toBe(400);
    expect(budget.tryReserveTokens(401)).toBeNull();

    budget.recordUsage(second, 200, 200);
    expect(budget.available).toBe(400);
    expect(budget.tokensConsumed()).toBe(600);
  });

  test("token_reservation_reports_estimate", () => {
    const budget = form.tokens(10);
    const reservation = granted(budget.tryReserveTokens(7));
    expect(reservation.estimate).toBe(7);
  });

  test("token_reservation_refunds_on_drop", () => {
    const budget = form.tokens(1_000);
    {
      using _reservation = granted(budget.tryReserveTokens(400));
      expect(budget.available).toBe(600);
    }
    expect(budget.available).toBe(1_000);
    expect(budget.tokensConsumed()).toBe(0);
  });

  test("token_reservation_refund_is_capped_at_capacity", () => {
    const budget = form.tokens(100);
    const reservation = granted(budget.tryReserveTokens(40));
    reservation[Symbol.dispose]();
    expect(budget.available).toBe(100);
  });
});
