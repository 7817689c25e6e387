// Adjustments of what a tenant has in flight, beside each other and beside one whose thread died: no delta is ever lost.

import { strictEqual } from "node:assert/strict";
import { Figure, Kind, Status } from "../../../src/kernel/generated/abi.ts";
import type { KernelExports } from "../../../src/kernel/instance.ts";
import type { Call, Program } from "./explore.ts";
import { type Build, ME, open, prepared, THEM, type Worlds, YOU } from "./worlds.ts";

const CAPACITY = 100;

/** Open holds of these amounts. */
function tenant(kernel: KernelExports, ...amounts: readonly number[]): number {
  prepared(kernel);
  const tokens = open(kernel, Kind.Tokens, CAPACITY);
  for (const [slot, amount] of amounts.entries()) {
    strictEqual(kernel.holdReserve(tokens, amount, THEM, slot + 1, 0, slot), slot);
  }
  return tokens;
}

const inFlight = (kernel: KernelExports, tokens: number): number =>
  CAPACITY - kernel.budgetFigure(tokens, Figure.Available);

/** As a caller does: asks again with what is left while others are at it. */
async function adjustWhole(call: Call, tokens: number, delta: number, who: number): Promise<void> {
  for (let rest = delta; ; ) {
    const answer = await call("budgetAdjust", tokens, rest, who);
    if (answer === Status.Ok) return;
    if (answer < 0) rest = answer;
    else strictEqual(answer, Status.Busy);
  }
}

/** Two threads that adjust one tenant at once. */
function both(amounts: readonly number[], mine: number, yours: number, expected: number): Build {
  return (kernel) => {
    const tokens = tenant(kernel, ...amounts);
    const adjust =
      (delta: number, who: number): Program =>
      (call) =>
        adjustWhole(call, tokens, delta, who);
    return {
      kernel,
      programs: [adjust(mine, ME), adjust(yours, YOU)],
      check() {
        strictEqual(inFlight(kernel, tokens), expected);
        strictEqual(kernel.heldAmount(tokens), expected);
        strictEqual(kernel.budgetFigure(tokens, Figure.OverReleased), 0);
      },
    };
  };
}

export const ADJUSTED: Worlds = {
  "two adjustments of a tenant at once, upwards: both count": { preemptions: 2, build: both([10], 5, 7, 22) },
  "two adjustments of a tenant at once, up and down: both count": {
    preemptions: 2,
    build: both([10, 4], 5, -12, 7),
  },
  "two adjustments of a tenant at once, downwards over several holds: both count": {
    preemptions: 2,
    build: both([5, 6], -4, -5, 2),
  },
};

export const ADJUSTED_DEATHS: Readonly<Record<string, Build>> = {
  "while it adjusts a tenant: who comes next hears Busy until it is reclaimed, and nothing is lost": (
    kernel,
  ) => {
    const tokens = tenant(kernel, 10);
    return {
      kernel,
      programs: [async (call) => void (await call("budgetAdjust", tokens, 5, ME))],
      check() {
        const before = inFlight(kernel, tokens);
        strictEqual(before === 10 || before === 15, true);
        const answer = kernel.budgetAdjust(tokens, 7, YOU);
        if (answer === Status.Busy) {
          strictEqual(inFlight(kernel, tokens), before);
          strictEqual(kernel.budgetAdjust(tokens, -3, YOU), -3);
          kernel.holdReclaim(ME, THEM);
          strictEqual(kernel.budgetAdjust(tokens, 7, YOU), Status.Ok);
        } else strictEqual(answer, Status.Ok);
        strictEqual(inFlight(kernel, tokens), before + 7);
        strictEqual(kernel.heldAmount(tokens), before + 7);
      },
    };
  },
};
