// Expiry beside everything else that can end a hold or change it: each hold goes back once, with what it holds by then, and
// a deadline counts for the hold that had it and for none that gets its slot.

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { Figure, Kind, Status } from "../../../src/kernel/generated/abi.ts";
import type { KernelExports } from "../../../src/kernel/instance.ts";
import type { Program } from "./explore.ts";
import { type Build, figures, ME, open, prepared, THEM, type Worlds, YOU } from "./worlds.ts";

const DEADLINE = 5;
const LATER = 6;

/** One hold of 4 out of 10 that is due. */
function due(kernel: KernelExports): { tokens: number; slot: number } {
  prepared(kernel);
  const tokens = open(kernel, Kind.Tokens, 10);
  return { tokens, slot: kernel.holdReserve(tokens, 4, ME, 1, DEADLINE, 0) };
}

const expiring =
  (who: number, noted: (expired: number) => void): Program =>
  async (call) =>
    noted(await call("holdExpire", LATER, who));

export const EXPIRIES: Worlds = {
  "two expiries of one hold at once: one gives it back": {
    build: (kernel) => {
      const { tokens } = due(kernel);
      const expired: number[] = [];
      const note = (count: number): void => void expired.push(count);
      return {
        kernel,
        programs: [expiring(YOU, note), expiring(THEM, note)],
        check() {
          deepStrictEqual(expired.sort(), [0, 1]);
          deepStrictEqual(figures(kernel, tokens), { available: 10, debt: 0, consumed: 0 });
          strictEqual(kernel.heldCount(tokens), 0);
        },
      };
    },
    preemptions: 2,
  },

  "an expiry beside the settlement of its hold: one of them has it, and answers so": {
    preemptions: 3,
    build: (kernel) => {
      const { tokens, slot } = due(kernel);
      let expired = -1;
      let settled = -1;
      return {
        kernel,
        programs: [
          expiring(YOU, (count) => {
            expired = count;
          }),
          async (call) => {
            settled = await call("holdSettle", tokens, slot, ME, 1, 3, ME);
          },
        ],
        check() {
          strictEqual(settled, expired === 1 ? Status.NotHeld : Status.Ok);
          const consumed = expired === 1 ? 0 : 3;
          deepStrictEqual(figures(kernel, tokens), { available: 10 - consumed, debt: 0, consumed });
        },
      };
    },
  },

  "an expiry beside the next user of the slot: a hold that is not due stays": {
    preemptions: 3,
    build: (kernel) => {
      const { tokens, slot } = due(kernel);
      let expired = -1;
      let settled = -1;
      let reserved = -1;
      return {
        kernel,
        programs: [
          expiring(YOU, (count) => {
            expired = count;
          }),
          async (call) => {
            settled = await call("holdSettle", tokens, slot, ME, 1, 0, ME);
            reserved = await call("holdReserve", tokens, 6, ME, 2, LATER + 1, slot);
          },
        ],
        check() {
          strictEqual((settled === Status.Ok ? 1 : 0) + expired, 1);
          strictEqual(kernel.holdSettle(tokens, reserved, ME, 2, 0, ME), Status.Ok);
          deepStrictEqual(figures(kernel, tokens), { available: 10, debt: 0, consumed: 0 });
          strictEqual(kernel.budgetFigure(tokens, Figure.OverReleased), 0);
        },
      };
    },
  },

  "an expiry beside an adjustment: what goes back is what is held, now or at the next one": {
    preemptions: 3,
    build: (kernel) => {
      const { tokens, slot } = due(kernel);
      let expired = -1;
      let held = -1;
      return {
        kernel,
        programs: [
          expiring(YOU, (count) => {
            expired = count;
          }),
          async (call) => {
            held = await call("holdAdjust", tokens, slot, ME, 1, 3, ME);
          },
        ],
        check() {
          strictEqual(held === 7 || (held === -Status.NotHeld && expired === 1), true);
          strictEqual(kernel.heldAmount(tokens), expired === 1 ? 0 : 7);
          strictEqual(kernel.holdExpire(LATER, THEM), 1 - expired);
          deepStrictEqual(figures(kernel, tokens), { available: 10, debt: 0, consumed: 0 });
        },
      };
    },
  },

  "an expiry beside a refill and a reservation of all there is: the new epoch is credited nothing": {
    preemptions: 2,
    build: (kernel) => {
      const { tokens } = due(kernel);
      let expired = -1;
      let reserved = -1;
      return {
        kernel,
        programs: [
          expiring(YOU, (count) => {
            expired = count;
          }),
          async (call) => {
            await call("counterRefill", tokens);
            reserved = await call("holdReserve", tokens, 10, ME, 2, 0, 1);
          },
        ],
        check() {
          strictEqual(expired, 1);
          strictEqual(reserved >= 0, true);
          deepStrictEqual(figures(kernel, tokens), { available: 0, debt: 0, consumed: 0 });
          strictEqual(kernel.heldAmount(tokens), 10);
        },
      };
    },
  },

  "an expiry beside the removal of its budget: the slot's successor is credited nothing": {
    preemptions: 2,
    build: (kernel) => {
      const { tokens } = due(kernel);
      strictEqual(open(kernel, Kind.Counter, 1, 2n) > 0, true); // the other slot
      let successor = 0;
      return {
        kernel,
        programs: [
          expiring(YOU, () => {}),
          async (call) => {
            strictEqual(await call("budgetRemove", tokens, ME), Status.Ok);
            successor = await call("budgetOpen", 3n, 3n, Kind.Tokens, 7, ME);
            strictEqual(await call("counterFit", successor, 5, 5), 5);
          },
        ],
        check() {
          deepStrictEqual(figures(kernel, successor), { available: 2, debt: 0, consumed: 0 });
          strictEqual(kernel.budgetFigure(successor, Figure.OverReleased), 0);
          for (let slot = 0; slot < 4; slot++) {
            strictEqual(kernel.holdReserve(successor, 0, ME, 10 + slot, 0, slot), slot);
          }
        },
      };
    },
  },
};

export const EXPIRY_DEATHS: Readonly<Record<string, Build>> = {
  "while it expires another thread's holds": (kernel) => {
    prepared(kernel);
    const tokens = open(kernel, Kind.Tokens, 10);
    for (const [slot, amount] of [4, 5].entries()) {
      strictEqual(kernel.holdReserve(tokens, amount, YOU, slot + 1, DEADLINE, slot), slot);
    }
    return {
      kernel,
      programs: [async (call) => void (await call("holdExpire", LATER, ME))],
      check() {
        kernel.holdReclaim(ME, THEM);
        kernel.holdExpire(LATER, THEM);
        strictEqual(kernel.heldCount(tokens), 0);
        deepStrictEqual(figures(kernel, tokens), { available: 10, debt: 0, consumed: 0 });
        strictEqual(kernel.budgetFigure(tokens, Figure.OverReleased), 0);
      },
    };
  },
};
