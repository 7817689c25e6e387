// The worlds that are explored: two or three programs of one or two kernel calls, and what must hold in every order.

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { Figure, HEADER_SEQUENCE, Kind, Status } from "../../../src/kernel/generated/abi.ts";
import type { KernelExports } from "../../../src/kernel/instance.ts";
import type { Program, World } from "./explore.ts";

export const ME = 1;
export const YOU = 2;
export const THEM = 3;

export function prepared(kernel: KernelExports, budgets = 2, holds = 4): void {
  strictEqual(kernel.initialise(budgets, holds), Status.Ok);
  for (const owner of [ME, YOU, THEM]) strictEqual(kernel.ownerIssue(), owner);
}

export const open = (kernel: KernelExports, kind: number, capacity: number, name = 1n): number =>
  kernel.budgetOpen(name, name, kind, capacity, THEM);

export const figures = (kernel: KernelExports, handle: number) => ({
  available: kernel.budgetFigure(handle, Figure.Available),
  debt: kernel.budgetFigure(handle, Figure.Debt),
  consumed: kernel.budgetFigure(handle, Figure.Consumed),
});

/** `words` is the kernel's memory, for what threads watch. */
export type Build = (kernel: KernelExports, words: Int32Array) => World;

/** Worlds by name, each with how many preemptions it is explored with; without a number, all of them. */
export type Worlds = Readonly<Record<string, { build: Build; preemptions?: number }>>;

export const ORDERS: Worlds = {
  "two takes of which one fits: exactly one is granted": {
    build: (kernel) => {
      prepared(kernel);
      const rows = open(kernel, Kind.Counter, 10);
      const answers: number[] = [];
      const take: Program = async (call) => void answers.push(await call("counterTake", rows, 6));
      return {
        kernel,
        programs: [take, take],
        check() {
          deepStrictEqual([...answers].sort(), [Status.Ok, Status.Exceeds]);
          strictEqual(figures(kernel, rows).available, 4);
        },
      };
    },
  },

  "two takes that fit beside one that never does: none of them is refused": {
    preemptions: 3,
    build: (kernel) => {
      prepared(kernel);
      const rows = open(kernel, Kind.Counter, 10);
      const answers: number[] = [];
      const take =
        (cost: number, index: number): Program =>
        async (call) => {
          answers[index] = await call("counterTake", rows, cost);
        };
      return {
        kernel,
        programs: [take(6, 0), take(100, 1), take(4, 2)],
        check() {
          deepStrictEqual(answers, [Status.Ok, Status.Exceeds, Status.Ok]);
          strictEqual(figures(kernel, rows).available, 0);
        },
      };
    },
  },

  "a take, a give or a refill that comes late never touches the budget that got the slot": {
    preemptions: 3,
    build: (kernel) => {
      prepared(kernel);
      strictEqual(kernel.initialise(2, 4), Status.Ok);
      const old = open(kernel, Kind.Counter, 10, 1n);
      const filler = open(kernel, Kind.Counter, 1, 2n); // the other slot, so that the successor gets this one
      strictEqual(filler > 0, true);
      let successor = 0;
      const late: Program = async (call) => {
        await call("counterTake", old, 1);
        await call("counterGive", old, 1);
      };
      const replace: Program = async (call) => {
        strictEqual(await call("budgetRemove", old, YOU), Status.Ok);
        successor = await call("budgetOpen", 3n, 3n, Kind.Counter, 7, YOU);
      };
      return {
        kernel,
        programs: [late, replace],
        check() {
          strictEqual(successor > 0, true);
          deepStrictEqual(figures(kernel, successor), { available: 7, debt: 0, consumed: 0 });
          strictEqual(kernel.budgetFigure(successor, Figure.OverReleased), 0);
          strictEqual(kernel.budgetFigure(successor, Figure.HighWater), 0);
        },
      };
    },
  },

  "a grant beside a give that releases too much: never more available than there is": {
    build: (kernel) => {
      prepared(kernel);
      const rows = open(kernel, Kind.Counter, 10);
      strictEqual(kernel.counterTake(rows, 4), Status.Ok);
      const give: Program = async (call) => void (await call("counterGive", rows, 50));
      const grant: Program = async (call) => void (await call("counterGrant", rows, 5));
      return {
        kernel,
        programs: [give, grant],
        check() {
          strictEqual(figures(kernel, rows).available, 15);
          strictEqual(kernel.budgetFigure(rows, Figure.OverReleased), 46);
        },
      };
    },
  },

  "a recall beside a reservation and a settlement: what is recalled, nobody has": {
    preemptions: 2,
    build: (kernel) => {
      prepared(kernel);
      const tokens = open(kernel, Kind.Tokens, 10);
      const slot = kernel.holdReserve(tokens, 4, ME, 1, 0, 0);
      let recalled = -1;
      let reserved: number = Status.Ok;
      const settle: Program = async (call) => void (await call("holdSettle", tokens, slot, ME, 1, 1, ME));
      const recall: Program = async (call) => {
        recalled = await call("counterFit", tokens, 0, 10);
      };
      const reserve: Program = async (call) => {
        reserved = await call("holdReserve", tokens, 6, YOU, 1, 0, 1);
      };
      return {
        kernel,
        programs: [settle, recall, reserve],
        check() {
          const held = reserved >= 0 ? 6 : 0;
          strictEqual(kernel.heldAmount(tokens), held);
          strictEqual(recalled >= 0, true);
          // 10 = 1 consumed + what is held + what went back + what is left.
          deepStrictEqual(figures(kernel, tokens), {
            available: 9 - held - recalled,
            debt: 0,
            consumed: 1,
          });
        },
      };
    },
  },

  "two takes without a hold and a give: what fits is taken once": {
    preemptions: 3,
    build: (kernel) => {
      prepared(kernel);
      const tokens = open(kernel, Kind.Tokens, 10);
      const taken: number[] = [];
      const take: Program = async (call) => {
        const got = await call("counterFit", tokens, 6, 6);
        taken.push(got);
        if (got === 6) strictEqual(await call("counterGive", tokens, 2), Status.Ok);
      };
      return {
        kernel,
        programs: [take, take],
        check() {
          // The second fits if it comes after the give; each that was granted keeps 4.
          const granted = taken.filter((got) => got === 6).length;
          strictEqual(granted >= 1, true);
          strictEqual(taken.length - granted, taken.filter((got) => got === -Status.Exceeds).length);
          deepStrictEqual(figures(kernel, tokens), { available: 10 - 4 * granted, debt: 0, consumed: 0 });
        },
      };
    },
  },

  "two settlements of one hold: one counts": {
    preemptions: 3,
    build: (kernel) => {
      prepared(kernel);
      const tokens = open(kernel, Kind.Tokens, 10);
      const slot = kernel.holdReserve(tokens, 8, ME, 1, 0, 0);
      const answers: number[] = [];
      const settle =
        (actual: number, who: number): Program =>
        async (call) =>
          void answers.push(await call("holdSettle", tokens, slot, ME, 1, actual, who));
      return {
        kernel,
        programs: [settle(3, ME), settle(3, YOU)],
        check() {
          deepStrictEqual(
            [...answers].sort((a, b) => a - b),
            [Status.Ok, Status.NotHeld],
          );
          deepStrictEqual(figures(kernel, tokens), { available: 7, debt: 0, consumed: 3 });
          strictEqual(kernel.heldCount(tokens), 0);
        },
      };
    },
  },

  "a refund that meets a refill never credits the new epoch": {
    preemptions: 3,
    build: (kernel) => {
      prepared(kernel);
      const tokens = open(kernel, Kind.Tokens, 10);
      const slot = kernel.holdReserve(tokens, 8, ME, 1, 0, 0);
      let granted = 0;
      const cancel: Program = async (call) => void (await call("holdSettle", tokens, slot, ME, 1, 0, ME));
      const refill: Program = async (call) => {
        await call("counterRefill", tokens);
        granted = await call("holdReserve", tokens, 10, YOU, 1, 0, 1);
      };
      return {
        kernel,
        programs: [cancel, refill],
        check() {
          strictEqual(granted >= 0, true);
          deepStrictEqual(figures(kernel, tokens), { available: 0, debt: 0, consumed: 0 });
          strictEqual(kernel.heldAmount(tokens), 10);
        },
      };
    },
  },

  "an adjustment beside a settlement: what is out is what is held": {
    preemptions: 2,
    build: (kernel) => {
      prepared(kernel);
      const tokens = open(kernel, Kind.Tokens, 10);
      const slot = kernel.holdReserve(tokens, 4, ME, 1, 0, 0);
      const other = kernel.holdReserve(tokens, 2, YOU, 1, 0, 1);
      strictEqual(other >= 0, true);
      const adjust: Program = async (call) => void (await call("holdAdjust", tokens, slot, ME, 1, 3, YOU));
      const cancel: Program = async (call) => void (await call("holdSettle", tokens, slot, ME, 1, 0, ME));
      return {
        kernel,
        programs: [adjust, cancel],
        check() {
          strictEqual(kernel.heldCount(tokens), 1);
          deepStrictEqual(figures(kernel, tokens), { available: 8, debt: 0, consumed: 0 });
        },
      };
    },
  },

  "two adjustments of one hold at once: both count": {
    preemptions: 2,
    build: (kernel) => {
      prepared(kernel);
      const tokens = open(kernel, Kind.Tokens, 10);
      const slot = kernel.holdReserve(tokens, 4, ME, 1, 0, 0);
      const answers: number[] = [];
      const adjust =
        (who: number): Program =>
        async (call) =>
          void answers.push(await call("holdAdjust", tokens, slot, ME, 1, 2, who));
      return {
        kernel,
        programs: [adjust(ME), adjust(YOU)],
        check() {
          strictEqual(Math.min(...answers) > 0, true);
          strictEqual(kernel.heldAmount(tokens), 8);
          deepStrictEqual(figures(kernel, tokens), { available: 2, debt: 0, consumed: 0 });
        },
      };
    },
  },

  "two takes of the last permit of the total, in two categories: one gets it": {
    preemptions: 3,
    build: (kernel) => {
      prepared(kernel);
      // Total 1 and two categories of 1 each; a field is one bit and its guard.
      const permits = kernel.permitOpen(1n, 1n, 0b01_01_01n, 0b10_10_10n, 0n, THEM);
      const answers: number[] = [];
      const take =
        (shift: number, who: number): Program =>
        async (call) =>
          void answers.push(await call("permitTake", permits, shift, who, 1, who));
      return {
        kernel,
        programs: [take(2, ME), take(4, YOU)],
        check() {
          strictEqual(answers.filter((slot) => slot >= 0).length, 1);
          strictEqual(answers.filter((slot) => slot === -Status.Exceeds).length, 1);
          const fields = kernel.permitFields(permits);
          strictEqual(fields === 0b00_01_01n || fields === 0b01_00_01n, true);
          // Who was refused has let go of its hold.
          const tokens = open(kernel, Kind.Tokens, 1, 2n);
          for (let ticket = 2; ticket <= 4; ticket++) {
            strictEqual(kernel.holdReserve(tokens, 0, THEM, ticket, 0, 0) >= 0, true);
          }
        },
      };
    },
  },

  "a wait beside the give that it waits for: the permit is never lost, the sequence moves or the look succeeds":
    {
      preemptions: 3,
      build: (kernel, words) => {
        prepared(kernel);
        const permits = kernel.permitOpen(1n, 1n, 0b01_01n, 0b10_10n, 0n, THEM);
        const held = kernel.permitTake(permits, 2, ME, 1, 0);
        let waiting = -1;
        let promoted: number = Status.Exceeds;
        let seen = -1;
        const give: Program = async (call) => void (await call("holdSettle", permits, held, ME, 1, 0, ME));
        const wait: Program = async (call) => {
          waiting = await call("permitWait", permits, 2, YOU, 1, 1);
          seen = words[HEADER_SEQUENCE / 4] ?? -1;
          promoted = await call("permitPromote", permits, waiting, YOU, 1);
        };
        return {
          kernel,
          programs: [give, wait],
          check() {
            // Whoever was not promoted is told: the give came later, and saw somebody waiting.
            if (promoted !== Status.Ok) strictEqual(words[HEADER_SEQUENCE / 4] !== seen, true);
            if (promoted !== Status.Ok)
              strictEqual(kernel.permitPromote(permits, waiting, YOU, 1), Status.Ok);
            strictEqual(kernel.permitFields(permits), 0b01_01n);
            strictEqual(kernel.permitWaiting(permits, 2), 0);
          },
        };
      },
    },

  "two takes from a rate with room for one: one is granted": {
    build: (kernel) => {
      prepared(kernel);
      const rate = kernel.rateOpen(1n, 1n, 10, 10, 1_000, THEM);
      const answers: number[] = [];
      const take: Program = async (call) => void answers.push(await call("rateTake", rate, 6, 5));
      return {
        kernel,
        programs: [take, take],
        check() {
          deepStrictEqual(
            [...answers].sort((a, b) => a - b),
            [Status.Ok, Status.Exceeds],
          );
          strictEqual(kernel.rateAvailable(rate, 5), 4);
        },
      };
    },
  },
};

/** The first program dies at every point at which an engine may end a thread; its owner is reclaimed. */
export const DEATHS: Readonly<Record<string, Build>> = {
  "while it reserves": (kernel) => {
    prepared(kernel);
    const tokens = open(kernel, Kind.Tokens, 10);
    return whole(kernel, tokens, async (call) => void (await call("holdReserve", tokens, 6, ME, 1, 0, 0)));
  },
  "while it settles its own hold": (kernel) => {
    prepared(kernel);
    const tokens = open(kernel, Kind.Tokens, 10);
    const slot = kernel.holdReserve(tokens, 6, ME, 1, 0, 0);
    return whole(kernel, tokens, async (call) => void (await call("holdSettle", tokens, slot, ME, 1, 4, ME)));
  },
  "while it settles another thread's hold": (kernel) => {
    prepared(kernel);
    const tokens = open(kernel, Kind.Tokens, 10);
    const slot = kernel.holdReserve(tokens, 6, YOU, 1, 0, 0);
    const world = whole(
      kernel,
      tokens,
      async (call) => void (await call("holdSettle", tokens, slot, YOU, 1, 9, ME)),
    );
    return {
      ...world,
      check() {
        kernel.holdReclaim(ME, THEM);
        kernel.holdReclaim(YOU, THEM);
        world.check();
      },
    };
  },
  "while it adjusts": (kernel) => {
    prepared(kernel);
    const tokens = open(kernel, Kind.Tokens, 10);
    const slot = kernel.holdReserve(tokens, 4, ME, 1, 0, 0);
    return whole(kernel, tokens, async (call) => void (await call("holdAdjust", tokens, slot, ME, 1, 3, ME)));
  },
  "while it adjusts another thread's hold, which is settled afterwards": (kernel) => {
    prepared(kernel);
    const tokens = open(kernel, Kind.Tokens, 10);
    const slot = kernel.holdReserve(tokens, 4, YOU, 1, 0, 0);
    const world = whole(
      kernel,
      tokens,
      async (call) => void (await call("holdAdjust", tokens, slot, YOU, 1, 3, ME)),
    );
    return {
      ...world,
      check() {
        kernel.holdReclaim(ME, THEM);
        strictEqual(kernel.holdSettle(tokens, slot, YOU, 1, 2, THEM), Status.Ok);
        world.check();
      },
    };
  },
  "while it takes, waits for and gives back permits": (kernel) => {
    prepared(kernel);
    const permits = kernel.permitOpen(1n, 1n, 0b01_01n, 0b10_10n, 0n, THEM);
    return {
      kernel,
      programs: [
        async (call) => {
          const slot = await call("permitTake", permits, 2, ME, 1, 0);
          const waiting = await call("permitWait", permits, 2, ME, 2, 1);
          await call("holdSettle", permits, slot, ME, 1, 0, ME);
          await call("permitPromote", permits, waiting, ME, 2);
        },
      ],
      check() {
        kernel.holdReclaim(ME, THEM);
        strictEqual(kernel.permitFields(permits), 0n);
        strictEqual(kernel.permitWaiting(permits, 2), 0);
        strictEqual(kernel.permitTake(permits, 2, YOU, 1, 0) >= 0, true);
      },
    };
  },
  "inside the directory": (kernel) => {
    prepared(kernel);
    return {
      kernel,
      programs: [async (call) => void (await call("budgetOpen", 9n, 9n, Kind.Tokens, 10, ME))],
      check() {
        kernel.holdReclaim(ME, THEM);
        const tokens = kernel.budgetOpen(9n, 9n, Kind.Tokens, 10, YOU);
        deepStrictEqual(figures(kernel, tokens), { available: 10, debt: 0, consumed: 0 });
        strictEqual(kernel.budgetCount(), 1);
      },
    };
  },
};

/** After the death of ME and its reclaim nothing is held, and every unit is either available or consumed. */
function whole(kernel: KernelExports, tokens: number, program: Program): World {
  return {
    kernel,
    programs: [program],
    check() {
      kernel.holdReclaim(ME, THEM);
      const { available, debt, consumed } = figures(kernel, tokens);
      strictEqual(kernel.heldCount(tokens), 0);
      strictEqual(available - debt, 10 - consumed);
    },
  };
}
