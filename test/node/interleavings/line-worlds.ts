// A line for permits: who leaves it lets the next one know. And whose governor is removed while somebody gets in it or leaves
// it: the slot's successor never counts who waited for its predecessor.

import { strictEqual } from "node:assert/strict";
import {
  BUDGETS_MAX,
  COUNTER_BYTES,
  COUNTER_WAITING,
  HEADER_BYTES,
  HEADER_SEQUENCE,
  Kind,
  PENDING_BYTES,
  Status,
} from "../../../src/kernel/generated/abi.ts";
import type { KernelExports } from "../../../src/kernel/instance.ts";
import type { Program, World } from "./explore.ts";
import { ME, open, prepared, THEM, type Worlds, YOU } from "./worlds.ts";

const LIMITS = 0b01_01n;
const GUARDS = 0b10_10n;
const SHIFT = 2;

/** How many wait, by the count that the governor keeps. */
function waitingOf(words: Int32Array, handle: number): number {
  const counters = HEADER_BYTES + PENDING_BYTES;
  return words[(counters + (handle % BUDGETS_MAX) * COUNTER_BYTES + COUNTER_WAITING) / 4] ?? -1;
}

/** Someone's steps beside a removal whose slot passes to another governor at once, with one who waits for it. */
function beside(
  kernel: KernelExports,
  words: Int32Array,
  old: number,
  program: Program,
  leave: () => void = () => {},
): World {
  let successor = 0;
  return {
    kernel,
    programs: [
      program,
      async (call) => {
        strictEqual(await call("budgetRemove", old, YOU), Status.Ok);
      },
      async (call) => {
        successor = await call("permitOpen", 3n, 3n, LIMITS, GUARDS, 0n, THEM);
        if (successor > 0) await call("permitWait", successor, SHIFT, THEM, 9, 3);
      },
    ],
    check() {
      leave();
      // Without a free slot there was no successor yet.
      if (successor < 0) strictEqual(successor, -Status.BudgetsFull);
      else strictEqual(waitingOf(words, successor), kernel.permitWaiting(successor, SHIFT));
    },
  };
}

function governed(kernel: KernelExports): number {
  prepared(kernel);
  const old = kernel.permitOpen(1n, 1n, LIMITS, GUARDS, 0n, THEM);
  strictEqual(open(kernel, Kind.Counter, 1, 2n) > 0, true); // the other slot
  strictEqual(kernel.permitTake(old, SHIFT, THEM, 1, 0), 0);
  return old;
}

export const LINES: Worlds = {
  "the first in line leaves beside the look of the second: the permit is the second's, or the sequence moves":
    {
      preemptions: 3,
      build: (kernel, words) => {
        prepared(kernel);
        const permits = kernel.permitOpen(1n, 1n, LIMITS, GUARDS, 0n, THEM);
        strictEqual(kernel.permitWait(permits, SHIFT, ME, 1, 0), 0);
        strictEqual(kernel.permitWait(permits, SHIFT, YOU, 1, 1), 1);
        let seen = -1;
        let promoted: number = Status.Exceeds;
        return {
          kernel,
          programs: [
            async (call) => {
              strictEqual(await call("permitCancel", permits, 0, ME, 1), Status.Ok);
            },
            async (call) => {
              seen = words[HEADER_SEQUENCE / 4] ?? -1;
              promoted = await call("permitPromote", permits, 1, YOU, 1);
            },
          ],
          check() {
            if (promoted === Status.Ok) return;
            strictEqual(words[HEADER_SEQUENCE / 4] !== seen, true);
            strictEqual(kernel.permitPromote(permits, 1, YOU, 1), Status.Ok);
          },
        };
      },
    },

  "who leaves the line of a governor that is being removed is not taken off its successor's": {
    preemptions: 2,
    build: (kernel, words) => {
      const old = governed(kernel);
      const slot = kernel.permitWait(old, SHIFT, ME, 1, 1);
      return beside(kernel, words, old, async (call) => {
        await call("permitCancel", old, slot, ME, 1);
      });
    },
  },

  "who waits for a governor that is being removed is not counted by its successor": {
    preemptions: 2,
    build: (kernel, words) => {
      const old = governed(kernel);
      let slot = -1;
      return beside(
        kernel,
        words,
        old,
        async (call) => {
          slot = await call("permitWait", old, SHIFT, ME, 1, 1);
        },
        () => void (slot < 0 || kernel.permitCancel(old, slot, ME, 1)),
      );
    },
  },

  "who becomes the first in the line of a governor that is being removed does not take the hold's next user's place":
    {
      preemptions: 2,
      build: (kernel) => {
        prepared(kernel, 2, 1);
        const old = kernel.permitOpen(1n, 1n, LIMITS, GUARDS, 0n, THEM);
        const tokens = open(kernel, Kind.Tokens, 10, 2n);
        const slot = kernel.permitWait(old, SHIFT, ME, 1, 0);
        let reserved = -1;
        return {
          kernel,
          programs: [
            async (call) => void (await call("permitPromote", old, slot, ME, 1)),
            async (call) => {
              await call("budgetRemove", old, YOU);
              reserved = await call("holdReserve", tokens, 4, YOU, 1, 0, 0);
            },
          ],
          check() {
            if (reserved < 0) return; // the promotion was first, and has the hold
            strictEqual(kernel.holdSettle(tokens, reserved, YOU, 1, 0, YOU), Status.Ok);
            strictEqual(kernel.heldCount(tokens), 0);
          },
        };
      },
    },

  "a dead thread's place in the line of a removed governor is not taken off its successor's": {
    preemptions: 1,
    build: (kernel, words) => {
      const old = governed(kernel);
      strictEqual(kernel.permitWait(old, SHIFT, ME, 1, 1), 1);
      return beside(kernel, words, old, async (call) => {
        await call("holdReclaim", ME, YOU);
      });
    },
  },
};
