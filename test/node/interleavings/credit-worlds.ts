// Thread credit: takes and gives from cells beside whatever moves units between the cells and the budget's word, under
// every order; and the deaths of a thread in the middle of each move. Whatever happens, the books must be exact: every
// unit that is not out can be taken by somebody, and not one more.

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import {
  BUDGETS_MAX,
  COUNTER_BYTES,
  Figure,
  HEADER_BYTES,
  Kind,
  PENDING_BYTES,
  Status,
} from "../../../src/kernel/generated/abi.ts";
import type { KernelExports } from "../../../src/kernel/instance.ts";
import type { Call, Program, World } from "./explore.ts";
import { type Build, ME, open, prepared, THEM, type Worlds, YOU } from "./worlds.ts";

export const CAPACITY = 10;
export const CREDIT = 4;

export interface Scene {
  readonly kernel: KernelExports;
  readonly rows: number;
  readonly me: number;
  readonly you: number;
  /** Takes or gives (a negative cost) in a program. */
  readonly take: (call: Call, cell: number, cost: number) => Promise<number>;
  /** The books are exact, and so much is out. */
  readonly expectOut: (...outs: readonly number[]) => void;
}

/** Two threads with cells of one budget; each has taken 1 and has some idle: 8 are not out, of which 5 in the word. */
export function twoCells(kernel: KernelExports): Scene {
  prepared(kernel);
  const rows = kernel.creditOpen(1n, 1n, CAPACITY, CREDIT, THEM);
  const me = kernel.creditJoin(rows, ME, 1, 0);
  const you = kernel.creditJoin(rows, YOU, 1, 1);
  strictEqual(kernel.creditMove(rows, -1, me), Status.Ok);
  strictEqual(kernel.creditMove(rows, -1, you), Status.Ok);
  return {
    kernel,
    rows,
    me,
    you,
    take: (call, cell, cost) => call("creditMove", rows, -cost, cell),
    expectOut: (...outs) => expectOut(kernel, rows, outs),
  };
}

export function expectOut(kernel: KernelExports, rows: number, outs: readonly number[]): void {
  const available = kernel.budgetFigure(rows, Figure.Available);
  const overReleased = kernel.budgetFigure(rows, Figure.OverReleased);
  strictEqual(outs.includes(CAPACITY - available), true, `${CAPACITY - available} out, not ${outs}`);
  const cell = kernel.creditJoin(rows, THEM, 1, 2);
  strictEqual(
    kernel.creditMove(rows, -available, cell),
    Status.Ok,
    `${available} available, but not to be had`,
  );
  strictEqual(kernel.creditMove(rows, -1, cell), Status.Exceeds, "more to be had than there is");
  strictEqual(kernel.creditMove(rows, CAPACITY + 3, cell), Status.Ok);
  strictEqual(kernel.budgetFigure(rows, Figure.Available), CAPACITY);
  strictEqual(kernel.budgetFigure(rows, Figure.OverReleased), overReleased + 3);
  strictEqual(kernel.creditMove(rows, -CAPACITY, cell), Status.Ok);
  strictEqual(kernel.creditMove(rows, -1, cell), Status.Exceeds, "given back twice");
}

/** Each thread's operations in turn; a negative cost gives. */
function beside(
  steps: { readonly me: readonly number[]; readonly you: readonly number[]; readonly them?: number },
  check: (scene: Scene, answers: { me: number[]; you: number[]; them: number[] }) => void,
): Build {
  return (kernel) => {
    const scene = twoCells(kernel);
    const answers = { me: [] as number[], you: [] as number[], them: [] as number[] };
    const run =
      (cell: number, costs: readonly number[], into: number[]): Program =>
      async (call) => {
        for (const cost of costs) into.push(await scene.take(call, cell, cost));
      };
    const programs = [run(scene.me, steps.me, answers.me), run(scene.you, steps.you, answers.you)];
    if (steps.them !== undefined) {
      programs.push(run(kernel.creditJoin(scene.rows, THEM, 1, 2), [steps.them], answers.them));
    }
    return { kernel, programs, check: () => check(scene, answers) };
  };
}

const { Ok, Exceeds } = Status;

export const CREDITED: Worlds = {
  "credit: two takes that only fit with everything that is idle are both granted": {
    preemptions: 2,
    build: beside({ me: [5], you: [3] }, ({ expectOut }, { me, you }) => {
      deepStrictEqual([me, you], [[Ok], [Ok]]);
      expectOut(10);
    }),
  },

  "credit: of two takes that need everything one is granted": {
    preemptions: 2,
    build: beside({ me: [7], you: [8] }, ({ expectOut }, { me, you }) => {
      deepStrictEqual([...me, ...you].sort(), [Ok, Exceeds]);
      expectOut(me[0] === Ok ? 9 : 10);
    }),
  },

  "credit: a take from a cell beside one that needs that cell's idle: one of them, or both if they fit": {
    preemptions: 2,
    build: beside({ me: [8], you: [1] }, ({ expectOut }, { me, you }) => {
      deepStrictEqual([...me, ...you].sort(), [Ok, Exceeds]);
      expectOut(me[0] === Ok ? 10 : 3);
    }),
  },

  "credit: a take that always fits, beside takes and gives in another cell, is never refused": {
    preemptions: 2,
    build: beside({ me: [7], you: [1, -1, 1] }, ({ expectOut }, { me, you }) => {
      deepStrictEqual([me, you], [[Ok], [Ok, Ok, Ok]]);
      expectOut(10);
    }),
  },

  "credit: and not beside a third one that collects everything and is refused": {
    preemptions: 1,
    build: beside({ me: [7], you: [1, -1], them: 9 }, ({ expectOut }, { me, you, them }) => {
      deepStrictEqual([me, you, them], [[Ok], [Ok, Ok], [Exceeds]]);
      expectOut(9);
    }),
  },

  "credit: what was given back before a take began is there for it": {
    preemptions: 2,
    build: (kernel) => {
      const { rows, me, you, take, expectOut } = twoCells(kernel);
      let given = false;
      let granted = -1;
      let began = false;
      return {
        kernel,
        programs: [
          async (call) => {
            began = given;
            granted = await take(call, me, 9);
          },
          async (call) => {
            await take(call, you, -1);
            given = true;
          },
        ],
        check() {
          if (began) strictEqual(granted, Ok);
          expectOut(granted === Ok ? 10 : 1);
          strictEqual(kernel.budgetFigure(rows, Figure.OverReleased), 3);
        },
      };
    },
  },

  "credit: giving back what another thread's cell accounts for, beside its takes": {
    preemptions: 2,
    build: beside({ me: [1, 1], you: [-2] }, ({ kernel, rows, expectOut }, { me, you }) => {
      deepStrictEqual([me, you], [[Ok, Ok], [Ok]]);
      strictEqual(kernel.budgetFigure(rows, Figure.OverReleased), 0);
      expectOut(2);
    }),
  },

  "credit: two threads that give back each other's units": {
    preemptions: 2,
    build: beside({ me: [-1], you: [-1] }, ({ kernel, rows, expectOut }) => {
      strictEqual(kernel.budgetFigure(rows, Figure.OverReleased), 0);
      expectOut(0);
    }),
  },

  "credit: an over-release beside a take counts exactly what was not out": {
    preemptions: 2,
    build: beside({ me: [2], you: [-50] }, ({ kernel, rows, expectOut }, { me }) => {
      deepStrictEqual(me, [Ok]);
      const over = kernel.budgetFigure(rows, Figure.OverReleased);
      strictEqual(over === 48 || over === 46, true, `${over} over-released`);
      expectOut(over === 46 ? 0 : 2);
    }),
  },

  "credit: borrowing beside a refill: a take counts in the epoch before or in the new one": {
    preemptions: 2,
    build: (kernel) => {
      const { rows, me, take, expectOut } = twoCells(kernel);
      const answers: number[] = [];
      return {
        kernel,
        programs: [
          async (call) => {
            answers.push(await take(call, me, 3), await take(call, me, 1));
          },
          async (call) => void answers.push(await call("counterRefill", rows)),
        ],
        check() {
          deepStrictEqual(answers, [Ok, Ok, Ok]);
          expectOut(0, 1, 4);
        },
      };
    },
  },

  "credit: a new epoch's units are there at once, beside a late take from a cell": {
    preemptions: 2,
    build: (kernel) => {
      const { rows, me, you, take, expectOut } = twoCells(kernel);
      let refused = 0;
      return {
        kernel,
        programs: [
          async (call) => void (await take(call, me, 1)),
          async (call) => {
            await call("counterRefill", rows);
            if ((await take(call, you, 9)) !== Ok) refused++;
          },
        ],
        check() {
          strictEqual(refused, 0);
          expectOut(9, 10);
        },
      };
    },
  },

  "credit: who has seen the new epoch takes from it, not from what was lent before": {
    preemptions: 2,
    build: (kernel) => {
      const { rows, me, take, expectOut } = twoCells(kernel);
      const before = kernel.budgetFigure(rows, Figure.Epoch);
      let seen = before;
      return {
        kernel,
        programs: [
          async (call) => {
            seen = await call("budgetFigure", rows, Figure.Epoch);
            strictEqual(await take(call, me, 1), Ok);
          },
          async (call) => void (await call("counterRefill", rows)),
        ],
        check: () => (seen === before ? expectOut(0, 1) : expectOut(1)),
      };
    },
  },

  "credit: a grant beside a take that it makes fit": {
    preemptions: 2,
    build: (kernel) => {
      prepared(kernel);
      const rows = kernel.creditOpen(1n, 1n, CAPACITY - 2, CREDIT, THEM);
      const me = kernel.creditJoin(rows, ME, 1, 0);
      strictEqual(kernel.creditMove(rows, -1, me), Ok);
      let granted = -1;
      return {
        kernel,
        programs: [
          async (call) => {
            granted = await call("creditMove", rows, -9, me);
          },
          async (call) => void (await call("counterGrant", rows, 2)),
        ],
        check: () => expectOut(kernel, rows, [granted === Ok ? 10 : 1]),
      };
    },
  },

  "credit: two threads that join at once have a cell each, and nothing in them is lost": {
    preemptions: 2,
    build: (kernel) => {
      prepared(kernel);
      const rows = kernel.creditOpen(1n, 1n, CAPACITY, CREDIT, THEM);
      const cells: number[] = [];
      const join =
        (owner: number): Program =>
        async (call) => {
          const cell = await call("creditJoin", rows, owner, 1, 0);
          cells.push(cell);
          strictEqual(await call("creditMove", rows, -1, cell), Ok);
        };
      return {
        kernel,
        programs: [join(ME), join(YOU)],
        check() {
          strictEqual(new Set(cells.map((cell) => cell % 2 ** 22)).size, 2);
          expectOut(kernel, rows, [2]);
        },
      };
    },
  },

  "credit: a dead thread's idle is there for a take, before and after it is reclaimed": {
    preemptions: 2,
    build: (kernel) => {
      const { you, take, expectOut } = twoCells(kernel);
      let granted = -1;
      return {
        kernel,
        programs: [
          async (call) => {
            granted = await take(call, you, 8);
          },
          async (call) => void (await call("holdReclaim", ME, THEM)),
        ],
        check() {
          strictEqual(granted, Ok);
          expectOut(10);
        },
      };
    },
  },

  "credit: a decision over several that needs everything idle, beside a take from a cell: one is granted": {
    preemptions: 2,
    build: (kernel) => {
      const { rows, you, take, expectOut } = twoCells(kernel);
      const slot = kernel.allClaim(-1, rows, 8, 0, THEM, 100, 2);
      strictEqual(slot >= 0, true);
      const answers: number[] = [];
      return {
        kernel,
        programs: [
          async (call) => void answers.push(await call("allTake", slot, THEM, 100)),
          async (call) => void answers.push(await take(call, you, 1)),
        ],
        check() {
          deepStrictEqual([...answers].sort(), [Ok, Exceeds]);
          expectOut(3, 10);
          strictEqual(kernel.budgetFigure(rows, Figure.Denied), 3);
        },
      };
    },
  },

  "credit: a decision over several that always fits is never refused beside takes and gives in a cell": {
    preemptions: 2,
    build: (kernel) => {
      const { rows, you, take, expectOut } = twoCells(kernel);
      const slot = kernel.allClaim(-1, rows, 7, 0, THEM, 100, 2);
      const answers: number[] = [];
      return {
        kernel,
        programs: [
          async (call) => void answers.push(await call("allTake", slot, THEM, 100)),
          async (call) => void answers.push(await take(call, you, 1), await take(call, you, -1)),
        ],
        check() {
          deepStrictEqual(answers, [Ok, Ok, Ok]);
          expectOut(9);
        },
      };
    },
  },

  "credit: a late take never touches another budget's cell in the same hold, with the same tag and figures": {
    preemptions: 2,
    build: (kernel) => {
      prepared(kernel);
      const rows = kernel.creditOpen(1n, 1n, CAPACITY, CREDIT, THEM);
      const me = kernel.creditJoin(rows, ME, 1, 0);
      strictEqual(kernel.creditMove(rows, -1, me), Ok);
      let other = 0;
      return {
        kernel,
        programs: [
          async (call) => void (await call("creditMove", rows, -1, me)),
          async (call) => {
            strictEqual(await call("budgetRemove", rows, YOU), Ok);
            other = await call("creditOpen", 2n, 2n, CAPACITY, CREDIT, YOU); // the other slot, in its first epoch as well
            const cell = await call("creditJoin", other, YOU, 2, 0);
            strictEqual(cell % 2 ** 22, me % 2 ** 22);
            strictEqual(await call("creditMove", other, -1, cell), Ok);
          },
        ],
        check: () => expectOut(kernel, other, [1]),
      };
    },
  },

  "credit: a late take, give or join never touches the budget that got the slots": {
    preemptions: 2,
    build: (kernel) => {
      const { rows, me } = twoCells(kernel);
      strictEqual(open(kernel, Kind.Counter, 1, 2n) > 0, true); // the other slot, so that the successor gets this one
      let successor = 0;
      return {
        kernel,
        programs: [
          async (call) => {
            await call("creditMove", rows, -1, me);
            await call("creditMove", rows, 2, me);
            await call("creditJoin", rows, ME, 2, 0);
          },
          async (call) => {
            strictEqual(await call("budgetRemove", rows, YOU), Ok);
            successor = await call("creditOpen", 3n, 3n, CAPACITY, CREDIT, YOU);
            const cell = await call("creditJoin", successor, YOU, 2, 0);
            strictEqual(await call("creditMove", successor, -2, cell), Ok);
          },
        ],
        check() {
          strictEqual(successor > 0, true);
          strictEqual(kernel.budgetFigure(successor, Figure.OverReleased), 0);
          expectOut(kernel, successor, [2]);
          // The old budget's cells are gone, and with those of the successor every hold can be had again.
          strictEqual(kernel.budgetRemove(successor, THEM), Ok);
          expectFreeHolds(kernel);
        },
      };
    },
  },
};

/** Every hold is free: as many reservations as the kernel has holds. */
function expectFreeHolds(kernel: KernelExports): void {
  const tokens = open(kernel, Kind.Tokens, 100, 9n);
  for (let slot = 0; slot < 4; slot++)
    strictEqual(kernel.holdReserve(tokens, 1, THEM, 100 + slot, 0, 0) >= 0, true);
}

/** ME dies at every point of what it does; reclaimed, it has left the books exact and nobody in a slower gear. */
export function dying(
  act: (call: Call, scene: Scene) => Promise<unknown>,
  ...outs: readonly number[]
): Build {
  return (kernel, words): World => {
    const scene = twoCells(kernel);
    return {
      kernel,
      programs: [async (call) => void (await act(call, scene))],
      check() {
        kernel.holdReclaim(ME, THEM);
        strictEqual(words[wantedAt(scene.rows)], 0);
        scene.expectOut(...outs);
      },
    };
  };
}

/** Where a counter keeps what is lent to cells, and what a collecting thread wants; both are 64 bits wide. */
export const lentAt = (handle: number): number => wordAt(handle, 112);
export const wantedAt = (handle: number): number => wordAt(handle, 120);
const wordAt = (handle: number, bytes: number): number =>
  (HEADER_BYTES + PENDING_BYTES + (handle % BUDGETS_MAX) * COUNTER_BYTES + bytes) / 4;

export const CREDITED_DEATHS: Readonly<Record<string, Build>> = {
  "while it takes from its cell and gives back": dying(
    async (call, { me, take }) => {
      await take(call, me, 2);
      await take(call, me, -3);
    },
    2,
    4,
    1,
  ),
  "while it borrows": dying((call, { me, take }) => take(call, me, 5), 2, 7),
  "while it collects what is idle": dying((call, { me, take }) => take(call, me, 8), 2, 10),
  "while it collects and is refused": dying((call, { me, take }) => take(call, me, 9), 2),
  "while it gives back another cell's units": dying((call, { me, take }) => take(call, me, -2), 2, 0),
  "while it gives back more than is out": dying((call, { me, take }) => take(call, me, -50), 2, 0),
  "while it gives back more than is out, and is not reclaimed before a refill": (kernel, words) => {
    const { rows, me, take, expectOut } = twoCells(kernel);
    return {
      kernel,
      programs: [async (call) => void (await take(call, me, -50))],
      check() {
        strictEqual(kernel.counterRefill(rows), Ok);
        strictEqual(words[wantedAt(rows)], 0);
        expectOut(0);
      },
    };
  },
  "while it refills a budget with credit": (kernel) => {
    const { rows, you, expectOut } = twoCells(kernel);
    return {
      kernel,
      programs: [async (call) => void (await call("counterRefill", rows))],
      check() {
        kernel.holdReclaim(ME, THEM);
        const out = CAPACITY - kernel.budgetFigure(rows, Figure.Available);
        strictEqual(out === 2 || out === 0, true);
        // The other thread's cell may not have been emptied yet; it is void all the same.
        strictEqual(kernel.creditMove(rows, -1, you), Ok);
        expectOut(out + 1);
      },
    };
  },
  "while it joins a budget with credit": (kernel) => {
    const { rows, expectOut } = twoCells(kernel);
    kernel.holdReclaim(ME, THEM);
    const third = kernel.ownerIssue();
    return {
      kernel,
      programs: [
        async (call) => {
          // The first finds a cell that nobody has any more, the second needs a new one.
          for (const owner of [ME, third])
            await call("creditMove", rows, -1, await call("creditJoin", rows, owner, 2, 3));
        },
      ],
      check() {
        for (const owner of [ME, third]) kernel.holdReclaim(owner, THEM);
        expectOut(2, 3, 4);
        strictEqual(kernel.budgetRemove(rows, THEM), Status.Ok);
        expectFreeHolds(kernel);
      },
    };
  },
  "while it removes a budget with credit": (kernel) => {
    const { rows } = twoCells(kernel);
    return {
      kernel,
      programs: [async (call) => void (await call("budgetRemove", rows, ME))],
      check() {
        for (const owner of [ME, YOU]) kernel.holdReclaim(owner, THEM);
        const removed = kernel.budgetRemove(rows, THEM);
        strictEqual(removed === Status.Ok || removed === Status.Stale, true);
        expectFreeHolds(kernel);
      },
    };
  },
};
