// Takes of as much as fits, beside takes, gives and grants, in every order: each gets exactly what was left at one moment,
// so the sum of what was granted says who came first; and a thread's death in the middle leaves nothing out.

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { Figure, Kind, NO_CELL, Status } from "../../../src/kernel/generated/abi.ts";
import type { KernelExports } from "../../../src/kernel/instance.ts";
import { CAPACITY, dying, type Scene, twoCells } from "./credit-worlds.ts";
import type { Call, Program, World } from "./explore.ts";
import { type Build, figures, ME, open, prepared, type Worlds, YOU } from "./worlds.ts";

const { Ok, Exceeds } = Status;
const REFUSED = -Exceeds;

/** Each program is one call; `check` gets the answers. */
function once(
  kernel: KernelExports,
  calls: readonly ((call: Call) => Promise<number>)[],
  check: (answers: readonly number[]) => void,
): World {
  const answers: number[] = [];
  const programs = calls.map(
    (make, index): Program =>
      async (call) => {
        answers[index] = await make(call);
      },
  );
  return { kernel, programs, check: () => check(answers) };
}

/** One of these pairs, and no other. */
function expectOneOf(answers: readonly number[], ...allowed: readonly (readonly number[])[]): void {
  const texts = allowed.map(String);
  strictEqual(texts.includes(String(answers)), true, `${answers} is none of ${texts.join(" | ")}`);
}

/** Reserves as much as fits, as the library does: a claim, and the take of what there is. */
async function reserveFit(
  call: Call,
  tokens: number,
  owner: number,
  least: number,
  most: number,
): Promise<number> {
  const slot = await call("allClaim", -1, tokens, most, 0, owner, 9, owner);
  return call("holdFit", slot, owner, 9, least);
}

/** Two threads with a cell each and 8 that are not out: `me` fits, `you` takes and gives these costs. */
function besideFit(
  [least, most]: readonly [number, number],
  costs: readonly number[],
  check: (fit: number, answers: readonly number[], scene: Scene) => void,
  cellOf: (scene: Scene) => number = ({ me }) => me,
): Build {
  return (kernel) => {
    const scene = twoCells(kernel);
    const answers: number[] = [];
    let fit = 0;
    return {
      kernel,
      programs: [
        async (call) => {
          fit = await call("creditFit", scene.rows, least, most, cellOf(scene));
        },
        async (call) => {
          for (const cost of costs) answers.push(await scene.take(call, scene.you, cost));
        },
      ],
      check: () => check(fit, answers, scene),
    };
  };
}

export const FITS: Worlds = {
  "two fits: the first gets what it wants, the second what is left": {
    preemptions: 4,
    build: (kernel) => {
      prepared(kernel);
      const rows = open(kernel, Kind.Counter, 10);
      const fit = (call: Call) => call("counterFit", rows, 1, 7);
      return once(kernel, [fit, fit], (answers) => {
        expectOneOf(answers, [7, 3], [3, 7]);
        strictEqual(figures(kernel, rows).available, 0);
        strictEqual(kernel.budgetFigure(rows, Figure.HighWater), 10);
      });
    },
  },

  "a fit beside takes of which one fails: never less than was left, never refused": {
    preemptions: 3,
    build: (kernel) => {
      prepared(kernel);
      const rows = open(kernel, Kind.Counter, 10);
      const take = (cost: number) => (call: Call) => call("counterTake", rows, cost);
      return once(kernel, [(call) => call("counterFit", rows, 4, 9), take(6), take(100)], (answers) => {
        expectOneOf(answers, [9, Exceeds, Exceeds], [4, Ok, Exceeds]);
        strictEqual(kernel.budgetFigure(rows, Figure.Denied), answers[0] === 9 ? 2 : 1);
      });
    },
  },

  "a fit beside a give and a grant: what was there at one moment": {
    preemptions: 3,
    build: (kernel) => {
      prepared(kernel);
      const rows = open(kernel, Kind.Counter, 10);
      strictEqual(kernel.counterTake(rows, 9), Ok);
      const calls = [
        (call: Call) => call("counterFit", rows, 2, 50),
        (call: Call) => call("counterGive", rows, 3),
        (call: Call) => call("counterGrant", rows, 5),
      ];
      return once(kernel, calls, ([fit = 0]) => {
        expectOneOf([fit], [REFUSED], [4], [6], [9]);
        strictEqual(figures(kernel, rows).available, 9 - Math.max(0, fit));
      });
    },
  },

  "a fit beside the removal of its budget: nothing of the budget that got the slot": {
    preemptions: 3,
    build: (kernel) => {
      prepared(kernel, 1);
      const rows = open(kernel, Kind.Counter, 10, 1n);
      let successor = 0;
      const replace = async (call: Call) => {
        await call("budgetRemove", rows, YOU);
        successor = await call("budgetOpen", 3n, 3n, Kind.Counter, 7, YOU);
        return 0;
      };
      return once(kernel, [(call) => call("counterFit", rows, 1, 5), replace], ([fit = 0]) => {
        expectOneOf([fit], [5], [-Status.Stale]);
        deepStrictEqual(figures(kernel, successor), { available: 7, debt: 0, consumed: 0 });
        strictEqual(kernel.budgetFigure(successor, Figure.HighWater), 0);
      });
    },
  },

  "two reservations of what fits: what is out is what is held": {
    preemptions: 2,
    build: (kernel) => {
      prepared(kernel);
      const tokens = open(kernel, Kind.Tokens, 10);
      const calls = [
        (call: Call) => reserveFit(call, tokens, ME, 2, 7),
        (call: Call) => reserveFit(call, tokens, YOU, 4, 9),
      ];
      return once(kernel, calls, (answers) => {
        expectOneOf(answers, [7, REFUSED], [REFUSED, 9]);
        const granted = Math.max(...answers);
        strictEqual(kernel.heldAmount(tokens), granted);
        strictEqual(kernel.heldCount(tokens), 1);
        strictEqual(figures(kernel, tokens).available, 10 - granted);
      });
    },
  },

  "a reservation of what fits beside a settlement and a refill: it belongs to the epoch it was taken in": {
    preemptions: 2,
    build: (kernel) => {
      prepared(kernel);
      const tokens = open(kernel, Kind.Tokens, 10);
      const slot = kernel.holdReserve(tokens, 8, ME, 1, 0, 0);
      const calls = [
        (call: Call) => reserveFit(call, tokens, YOU, 1, 10),
        (call: Call) => call("holdSettle", tokens, slot, ME, 1, 3, ME),
        (call: Call) => call("counterRefill", tokens),
      ];
      return once(kernel, calls, ([fit = 0]) => {
        const held = kernel.heldAmount(tokens);
        strictEqual(held === fit || held === 0, true, `${held} held of ${fit}`);
        const { available, debt } = figures(kernel, tokens);
        strictEqual(debt, 0);
        strictEqual(available, 10 - held - (kernel.budgetFigure(tokens, Figure.Capacity) - 10));
        strictEqual(kernel.heldCount(tokens), 1);
      });
    },
  },

  "two fits of a rate: the first gets what it wants, the second what is left": {
    preemptions: 3,
    build: (kernel) => {
      prepared(kernel);
      const rate = kernel.rateOpen(1n, 1n, 10, 10, 1_000, ME);
      const fit = (call: Call) => call("rateFit", rate, 1, 7, 5);
      return once(kernel, [fit, fit], (answers) => {
        expectOneOf(answers, [7, 3], [3, 7]);
        strictEqual(kernel.rateAvailable(rate, 5), 0);
      });
    },
  },

  "credit: a fit of everything beside a take: one of them has it": {
    preemptions: 2,
    build: besideFit([1, 50], [1], (fit, answers, { expectOut }) => {
      expectOneOf([fit, ...answers], [8, Exceeds], [7, Ok]);
      expectOut(CAPACITY);
    }),
  },

  "credit: a fit that always fits beside takes and gives in another cell is never refused, and gets all there is":
    {
      preemptions: 2,
      build: besideFit([7, 8], [1, -1], (fit, answers, { expectOut }) => {
        if (answers[0] === Ok) expectOneOf([fit], [7], [8]);
        else expectOneOf([fit, ...answers], [8, Exceeds, Ok]);
        // What the give brought after a refused take was the one that this thread had before.
        expectOut(2 + fit + (answers[0] === Ok ? 0 : -1));
      }),
    },

  "credit: a fit of what other threads hold idle, without a cell of its own": {
    preemptions: 2,
    build: besideFit(
      [2, 8],
      [3],
      (fit, answers, { expectOut }) => {
        expectOneOf([fit, ...answers], [8, Exceeds], [5, Ok]);
        expectOut(CAPACITY);
      },
      () => NO_CELL,
    ),
  },
};

export const FIT_DEATHS: Readonly<Record<string, Build>> = {
  "while it reserves what fits": (kernel) => {
    prepared(kernel);
    const tokens = open(kernel, Kind.Tokens, 10);
    return {
      kernel,
      programs: [async (call) => void (await reserveFit(call, tokens, ME, 1, 20))],
      check() {
        kernel.holdReclaim(ME, YOU);
        strictEqual(kernel.heldCount(tokens), 0);
        deepStrictEqual(figures(kernel, tokens), { available: 10, debt: 0, consumed: 0 });
        strictEqual(kernel.holdReserve(tokens, 10, YOU, 1, 0, 0) >= 0, true);
      },
    };
  },
  "while it takes what fits from credit": dying(
    async (call, { rows, me }) => call("creditFit", rows, 1, 20, me),
    2,
    CAPACITY,
  ),
};
