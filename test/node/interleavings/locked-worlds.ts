// What every operation does that finds its budget's word locked: it looks again, and answers what it would have answered
// without the lock. The locker is made here, by hand: it locks, lets others run, and puts back what it found.

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
import type { Call, Program } from "./explore.ts";
import { type Build, figures, ME, open, prepared, THEM, type Worlds, YOU } from "./worlds.ts";

const LOCK = 1n << 63n;

/** Locks the word of a budget, for as long as it takes to count the budgets, and sees that nobody touches it. */
function locker(words: Int32Array, handle: number): Program {
  const at = (HEADER_BYTES + PENDING_BYTES + (handle % BUDGETS_MAX) * COUNTER_BYTES) / 8;
  const memory = new BigUint64Array(words.buffer);
  return async (call) => {
    const word = memory[at] ?? 0n;
    strictEqual(word & LOCK, 0n);
    memory[at] = word | LOCK;
    await call("budgetCount");
    strictEqual(memory[at], word | LOCK, "somebody changed a word that was locked");
    memory[at] = word;
  };
}

interface Scene {
  readonly handle: number;
  readonly act: (call: Call) => Promise<void>;
  readonly check: () => void;
}

/** An operation beside a locker, under every order. */
function beside(scene: (kernel: KernelExports) => Scene): { build: Build; preemptions: number } {
  return {
    preemptions: 3,
    build: (kernel, words) => {
      prepared(kernel);
      const { handle, act, check } = scene(kernel);
      return { kernel, programs: [act, locker(words, handle)], check };
    },
  };
}

/** A governor with one permit of its one category. */
const ONE_PERMIT = { limits: 0b01_01n, guards: 0b10_10n, shift: 2 };

export const LOCKED: Worlds = {
  "a take that fits and one that does not, beside a lock": beside((kernel) => {
    const handle = open(kernel, Kind.Counter, 10);
    const answers: number[] = [];
    return {
      handle,
      act: async (call) => {
        answers.push(await call("counterTake", handle, 6), await call("counterTake", handle, 6));
      },
      check() {
        deepStrictEqual(answers, [Status.Ok, Status.Exceeds]);
        strictEqual(figures(kernel, handle).available, 4);
        strictEqual(kernel.budgetFigure(handle, Figure.Denied), 1);
      },
    };
  }),

  "a give that releases too much, beside a lock": beside((kernel) => {
    const handle = open(kernel, Kind.Counter, 10);
    strictEqual(kernel.counterTake(handle, 6), Status.Ok);
    return {
      handle,
      act: async (call) => void (await call("counterGive", handle, 7)),
      check() {
        strictEqual(figures(kernel, handle).available, 10);
        strictEqual(kernel.budgetFigure(handle, Figure.OverReleased), 1);
      },
    };
  }),

  "a refill and a reading of the figures, beside a lock": beside((kernel) => {
    const handle = open(kernel, Kind.Tokens, 10);
    strictEqual(kernel.holdReserve(handle, 6, YOU, 1, 0, 0) >= 0, true);
    const seen: number[] = [];
    return {
      handle,
      act: async (call) => {
        seen.push(await call("budgetFigure", handle, Figure.Available), await call("heldAmount", handle));
        await call("counterRefill", handle);
        seen.push(await call("budgetFigure", handle, Figure.Epoch), await call("heldAmount", handle));
      },
      check() {
        const epoch = kernel.budgetFigure(handle, Figure.Epoch);
        deepStrictEqual(seen, [4, 6, epoch, 0]);
        strictEqual(figures(kernel, handle).available, 10);
      },
    };
  }),

  "a reservation, one that does not fit, an adjustment and a settlement, beside a lock": beside((kernel) => {
    const handle = open(kernel, Kind.Tokens, 10);
    const answers: number[] = [];
    return {
      handle,
      act: async (call) => {
        const slot = await call("holdReserve", handle, 6, ME, 1, 0, 0);
        answers.push(slot, await call("holdReserve", handle, 6, ME, 2, 0, 1));
        answers.push(await call("holdAdjust", handle, slot, ME, 1, 9, ME));
        answers.push(await call("holdSettle", handle, slot, ME, 1, 12, ME));
      },
      check() {
        deepStrictEqual(answers, [0, -Status.Exceeds, 10, Status.Ok]);
        deepStrictEqual(figures(kernel, handle), { available: 0, debt: 2, consumed: 12 });
        strictEqual(kernel.budgetFigure(handle, Figure.OverReleased), 5);
      },
    };
  }),

  "a permit, one too many and its way back, beside a lock": beside((kernel) => {
    const { limits, guards, shift } = ONE_PERMIT;
    const handle = kernel.permitOpen(1n, 1n, limits, guards, 0n, THEM);
    const answers: number[] = [];
    return {
      handle,
      act: async (call) => {
        const slot = await call("permitTake", handle, shift, ME, 1, 0);
        answers.push(slot, await call("permitTake", handle, shift, ME, 2, 1));
        answers.push(await call("holdSettle", handle, slot, ME, 1, 0, ME));
      },
      check() {
        deepStrictEqual(answers, [0, -Status.Exceeds, Status.Ok]);
        strictEqual(kernel.permitFields(handle), 0n);
      },
    };
  }),

  "a free permit that somebody waits for is not taken past the line, beside a lock": beside((kernel) => {
    const { limits, guards, shift } = ONE_PERMIT;
    const handle = kernel.permitOpen(1n, 1n, limits, guards, 0n, THEM);
    const held = kernel.permitTake(handle, shift, THEM, 1, 0);
    const waiting = kernel.permitWait(handle, shift, YOU, 1, 1);
    strictEqual(kernel.holdSettle(handle, held, THEM, 1, 0, THEM), Status.Ok);
    let answer = 0;
    return {
      handle,
      act: async (call) => {
        answer = await call("permitTake", handle, shift, ME, 1, 2);
      },
      check() {
        strictEqual(answer, -Status.Exceeds);
        strictEqual(kernel.permitPromote(handle, waiting, YOU, 1), Status.Ok);
      },
    };
  }),

  "a rate's takes, waits and gives, beside a lock": beside((kernel) => {
    const handle = kernel.rateOpen(1n, 1n, 10, 10, 1_000, THEM);
    const answers: number[] = [];
    return {
      handle,
      act: async (call) => {
        answers.push(await call("rateTake", handle, 6, 5), await call("rateTake", handle, 6, 5));
        answers.push(await call("rateWait", handle, 6, 5), await call("rateGive", handle, 1));
        answers.push(await call("rateAvailable", handle, 5));
      },
      check() {
        deepStrictEqual(answers, [Status.Ok, Status.Exceeds, 200, Status.Ok, 5]);
      },
    };
  }),

  "an idle budget is not removed while its word is locked, and its slot's successor waits": beside(
    (kernel) => {
      const handle = open(kernel, Kind.Tokens, 10);
      strictEqual(open(kernel, Kind.Tokens, 1, 2n) > 0, true); // the other slot, so that the successor gets this one
      let successor = 0;
      return {
        handle,
        act: async (call) => {
          const answer = await call("budgetRemoveIdle", handle, ME);
          if (answer === Status.NotIdle) strictEqual(await call("budgetRemove", handle, ME), Status.Ok);
          else strictEqual(answer, Status.Ok);
          successor = await call("rateOpen", 3n, 3n, 10, 10, 1_000, ME);
        },
        check() {
          strictEqual(successor > 0, true);
          strictEqual(kernel.rateAvailable(successor, 0), 10);
        },
      };
    },
  ),
};
