// Thread credit at its edges: what a thread read before it had the lock counts only if it is still so; what a collecting
// thread wants keeps others from borrowing, and goes with it; a thread without a cell decides as well as any other.

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { Kind, NO_CELL, Status } from "../../../src/kernel/generated/abi.ts";
import type { KernelExports } from "../../../src/kernel/instance.ts";
import { CAPACITY, CREDIT, dying, expectOut, lentAt, twoCells, wantedAt } from "./credit-worlds.ts";
import type { Program } from "./explore.ts";
import { type Build, ME, open, prepared, THEM, type Worlds, YOU } from "./worlds.ts";

const { Ok, Exceeds } = Status;

/** Two threads with a cell each, and a third that has none and never had. */
function noCell(
  mine: number,
  yours: number,
  check: (answers: readonly number[], kernel: KernelExports, rows: number) => void,
): Build {
  return (kernel) => {
    const { rows, you, take } = twoCells(kernel);
    const answers: number[] = [];
    const move =
      (index: number, cell: number, cost: number): Program =>
      async (call) => {
        answers[index] = await take(call, cell, cost);
      };
    return {
      kernel,
      programs: [move(0, NO_CELL, mine), move(1, you, yours)],
      check: () => check(answers, kernel, rows),
    };
  };
}

export const EXACT: Worlds = {
  "credit: a cell that is emptied, and whose idle is taken by another, while its thread waits for the lock": {
    preemptions: 1,
    build: (kernel) => {
      prepared(kernel, 2, 8);
      const capacity = 30;
      const rows = kernel.creditOpen(1n, 1n, capacity, 3, THEM);
      const [them = 0, you = 0, me = 0] = [THEM, YOU, ME].map((owner) =>
        kernel.creditJoin(rows, owner, 1, 0),
      );
      // 5 are not out: some idle in the cells of ME and THEM, the rest in the word.
      for (const [cell, cost] of [
        [them, 1],
        [me, 2],
        [you, 21],
        [me, 1],
      ] as const) {
        strictEqual(kernel.creditMove(rows, -cost, cell), Ok);
      }
      const answers: number[] = [];
      return {
        kernel,
        programs: [
          async (call) => {
            answers[0] = await call("creditMove", rows, -3, me);
          },
          async (call) => {
            answers[1] = await call("creditMove", rows, -2, you);
          },
        ],
        check() {
          deepStrictEqual(answers, [Ok, Ok]);
          strictEqual(kernel.creditMove(rows, -1, them), Exceeds);
          strictEqual(kernel.creditMove(rows, capacity, them), Ok);
        },
      };
    },
  },

  "credit: a refusal goes by the capacity of its own moment, not by that from before a grant": {
    preemptions: 2,
    build: (kernel) => {
      const { rows, me, you, take } = twoCells(kernel);
      const answers: number[] = [];
      return {
        kernel,
        programs: [
          async (call) => {
            answers[0] = await take(call, me, 8);
          },
          async (call) => {
            // At every moment at least 8 are not out.
            strictEqual(await call("counterGrant", rows, CREDIT), Ok);
            answers[1] = await take(call, you, CREDIT);
          },
        ],
        check() {
          deepStrictEqual(answers, [Ok, Ok]);
          strictEqual(kernel.creditMove(rows, -2, me), Exceeds);
        },
      };
    },
  },

  "credit: nobody borrows while somebody collects": {
    build: (kernel, words) => {
      prepared(kernel);
      const rows = kernel.creditOpen(1n, 1n, CAPACITY, CREDIT, THEM);
      const me = kernel.creditJoin(rows, ME, 1, 0);
      let lent: number | undefined;
      return {
        kernel,
        programs: [
          async (call) => {
            words[wantedAt(rows)] = CAPACITY; // more than is there after the first of these
            await call("creditMove", rows, -1, me);
            lent = words[lentAt(rows)];
            await call("creditMove", rows, 1, me);
          },
        ],
        check() {
          strictEqual(lent, 0);
          // After the second everything that was wanted is there, so the wish is done with.
          strictEqual(words[wantedAt(rows)], 0);
          strictEqual((words[lentAt(rows)] ?? 0) > 0, true);
        },
      };
    },
  },

  "credit: a take without a cell beside one from a cell: granted if both fit": {
    preemptions: 2,
    build: noCell(6, 2, (answers, kernel, rows) => {
      deepStrictEqual(answers, [Ok, Ok]);
      expectOut(kernel, rows, [10]);
    }),
  },
  "credit: a take without a cell beside one from a cell: one of them if not": {
    preemptions: 2,
    build: noCell(8, 1, (answers, kernel, rows) => {
      deepStrictEqual([...answers].sort(), [Ok, Exceeds]);
      expectOut(kernel, rows, answers[0] === Ok ? [10] : [3]);
    }),
  },
  "credit: a give without a cell of what cells account for, beside a take": {
    preemptions: 2,
    build: noCell(-2, 1, (answers, kernel, rows) => {
      deepStrictEqual(answers, [Ok, Ok]);
      expectOut(kernel, rows, [1]);
    }),
  },
};

export const EXACT_DEATHS: Readonly<Record<string, Build>> = {
  "while it takes and gives without a cell": dying(
    async (call, { take }) => {
      await take(call, NO_CELL, 8);
      await take(call, NO_CELL, -8);
    },
    2,
    10,
  ),
  "while it takes from credit all or nothing, without a cell": (kernel, words) => {
    const { rows, expectOut: expect } = twoCells(kernel);
    kernel.holdReclaim(ME, THEM);
    const slot = kernel.allClaim(-1, rows, 8, 0, ME, 100, 2);
    strictEqual(slot >= 0, true);
    return {
      kernel,
      programs: [async (call) => void (await call("allTake", slot, ME, 100))],
      check() {
        kernel.holdReclaim(ME, THEM);
        strictEqual(words[wantedAt(rows)], 0);
        expect(2, 10);
        strictEqual(open(kernel, Kind.Tokens, 1, 9n) > 0, true);
      },
    };
  },
};
