// The ledger in deterministic simulation, a few hundred seeds of it; `npm run simulate` plays as many as one likes. A
// failure names its seed. Beside it, that a seed always plays the same, and that the runs meet what they are made for.

import { describe, expect, test } from "vitest";
import { Tally } from "../../simulation/engine/tally.ts";
import { simulate } from "../../simulation/simulate.ts";
import { expectRepeatable } from "./repeatable.ts";

const SEEDS = 400;

describe("the ledger in simulation", () => {
  const tally = new Tally();

  test(`gives the model's replies and figures after every step of ${SEEDS} seeds`, () => {
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const outcome = simulate(seed);
      expect(outcome.failure, `npm run simulate -- --seed ${seed} --trace`).toBeUndefined();
      tally.addAll(outcome.tally.entries());
    }
  });

  test.each([
    "fault: request lost",
    "fault: request duplicated",
    "fault: request delayed",
    "fault: request overtaken",
    "fault: reply lost",
    "fault: reply duplicated",
    "fault: reply delayed",
    "fault: reply overtaken",
    "fault: died between commit and reply",
    "fault: died in the middle of a turn",
    "fault: failed in the middle of a turn",
    "group: of several",
    "fault: a group's commit failed",
    "fault: a group undone",
    "fault: evicted",
    "fault: alarm late",
    "fault: alarm early",
    "fault: alarm twice",
    "fault: clock back (hiccup)",
    "fault: clock back (behind)",
    "fault: clock ahead (ahead)",
    "fault: clock ahead (days)",
    "fault: clock put right",
  ])("met %s", (fault) => {
    expect(tally.get(fault)).toBeGreaterThan(5);
  });

  test.each([
    "reserve: 200",
    "reserve: 409 BUDGET_EXCEEDED",
    "reserve: 409 OVERDRAFT_LIMIT_EXCEEDED",
    "reserve: 409 IDEMPOTENCY_MISMATCH",
    "reserve: 429 LIMIT_EXCEEDED",
    "reserve: 409 BUDGET_FROZEN",
    "reserve: 409 TENANT_CLOSED",
    "reserve: 401 UNAUTHORIZED",
    "freeze: 200",
    "unfreeze: 200",
    "updateBudget: 200",
    "updateTenant: 200",
    "commit: 200",
    "commit: 409 BUDGET_EXCEEDED",
    "commit: 409 OVERDRAFT_LIMIT_EXCEEDED",
    "commit: 409 IDEMPOTENCY_MISMATCH",
    "commit: 409 RESERVATION_FINALIZED",
    "commit: 410 RESERVATION_EXPIRED",
    "event: 201",
    "event: 409 BUDGET_EXCEEDED",
    "event: 409 OVERDRAFT_LIMIT_EXCEEDED",
    "decide: 200",
    "release: 200",
    "release: 410 RESERVATION_EXPIRED",
    "extend: 200",
    "extend: 409 MAX_EXTENSIONS_EXCEEDED",
    "extend: 410 RESERVATION_EXPIRED",
    "fund: 200",
    "fund: 400 INVALID_REQUEST",
    "fund: 409 BUDGET_EXCEEDED",
    "get: 410 RESERVATION_EXPIRED",
    "balances: 200",
  ])("met %s", (verdict) => {
    expect(tally.get(verdict)).toBeGreaterThan(0);
  });
});

test("a seed plays the same again, to the letter", () => expectRepeatable(simulate));
