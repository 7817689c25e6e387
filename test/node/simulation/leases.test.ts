// Leases in deterministic simulation, a few hundred seeds of it; `npm run simulate -- --leases` plays as many as one likes. A
// failure names its seed. Beside it, that a seed always plays the same, and that the runs meet what they are made for.

import { describe, expect, test } from "vitest";
import { Tally } from "../../simulation/engine/tally.ts";
import { simulate } from "../../simulation/leases/simulate.ts";
import { expectRepeatable } from "./repeatable.ts";

const SEEDS = 300;

describe("leases in simulation", () => {
  const tally = new Tally();

  test(`nothing is overspent, lost or stuck after any step of ${SEEDS} seeds`, () => {
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const outcome = simulate(seed);
      expect(outcome.failure, `npm run simulate -- --leases --seed ${seed} --trace`).toBeUndefined();
      tally.addAll(outcome.tally.entries());
    }
  });

  test.each([
    "fault: request lost",
    "fault: request duplicated",
    "fault: request overtaken",
    "fault: reply lost",
    "fault: died between commit and reply",
    "fault: died in the middle of a turn",
    "fault: a group undone",
    "fault: evicted",
    "fault: alarm late",
    "fault: clock back (behind)",
    "fault: clock ahead (ahead)",
    "fault: clock ahead (days)",
    "fault: restored from a backup",
    "fault: a holder's clock lies",
    "holder: crashed",
    "holder: slept",
    "holder: lied about what it spent",
    "holder: gave back what was asked back",
    "holder: heard that its lease is over",
    "holder: spent after it was reclaimed",
    "holder: lent itself",
    "holder: went on beyond its lease's end",
  ])("met %s", (what) => {
    expect(tally.get(what)).toBeGreaterThan(5);
  });

  test.each([
    "openLease: 200",
    "openLease: 409 BUDGET_EXCEEDED",
    "openLease: 409 BUDGET_FROZEN",
    "renewLease: 200",
    "returnLease: 200",
    "raiseEpoch: 200",
    "reserve: 409 BUDGET_EXCEEDED",
    "commit: 200",
  ])("met %s", (verdict) => {
    expect(tally.get(verdict)).toBeGreaterThan(0);
  });
});

test("a seed plays the same again, to the letter", () => expectRepeatable(simulate));
