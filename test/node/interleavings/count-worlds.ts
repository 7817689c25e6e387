// Who counts holds, or looks for those who wait, beside threads whose holds change and pass to others meanwhile: a count may
// be late, but each hold counts as it stood at one moment, so nothing is counted that never was.

import { strictEqual } from "node:assert/strict";
import { Kind, Status } from "../../../src/kernel/generated/abi.ts";
import type { KernelExports } from "../../../src/kernel/instance.ts";
import { ME, open, prepared, THEM, type Worlds, YOU } from "./worlds.ts";

/** A total of 3, one of category X and two of category Y; each field has its guard bit on top. */
const LIMITS = 0b010_01_011n;
const GUARDS = 0b100_10_100n;
const X = 3;
const Y = 5;

/** The one permit of X is out, and ME waits for it in slot 0. */
function waitingForX(kernel: KernelExports): number {
  prepared(kernel);
  const permits = kernel.permitOpen(1n, 1n, LIMITS, GUARDS, 0n, THEM);
  strictEqual(kernel.permitTake(permits, X, THEM, 1, 3), 3);
  strictEqual(kernel.permitWait(permits, X, ME, 1, 0), 0);
  return permits;
}

export const COUNTS: Worlds = {
  "holds that are adjusted and settled are open until they are not": {
    preemptions: 2,
    build: (kernel) => {
      prepared(kernel);
      const tokens = open(kernel, Kind.Tokens, 10);
      const slot = kernel.holdReserve(tokens, 4, ME, 1, 0, 0);
      strictEqual(kernel.holdReserve(tokens, 1, YOU, 1, 0, 1), 1);
      let isSettled = false;
      const seen: { count: number; couldBeSettled: boolean }[] = [];
      return {
        kernel,
        programs: [
          async (call) => {
            await call("holdAdjust", tokens, slot, ME, 1, 3, ME);
            isSettled = true;
            await call("holdSettle", tokens, slot, ME, 1, 2, ME);
          },
          async (call) => {
            const count = await call("heldCount", tokens);
            seen.push({ count, couldBeSettled: isSettled });
          },
        ],
        check() {
          for (const { count, couldBeSettled } of seen) {
            strictEqual(count === 2 || (couldBeSettled && count === 1), true, `${count}`);
          }
          strictEqual(kernel.heldCount(tokens), 1);
          strictEqual(kernel.heldAmount(tokens), 1);
        },
      };
    },
  },

  "a hold that passes to another budget which then refuses is never open there": {
    preemptions: 2,
    build: (kernel) => {
      prepared(kernel);
      const before = open(kernel, Kind.Tokens, 10);
      const after = open(kernel, Kind.Tokens, 10, 2n);
      const slot = kernel.holdReserve(before, 4, ME, 1, 0, 0);
      const counts: number[] = [];
      return {
        kernel,
        programs: [
          async (call) => {
            await call("holdSettle", before, slot, ME, 1, 0, ME);
            strictEqual(await call("allClaim", -1, after, 11, 0, ME, 2, slot), slot);
            strictEqual(await call("allTake", slot, ME, 2), Status.Exceeds);
          },
          async (call) => void counts.push(await call("heldCount", after), await call("heldAmount", after)),
        ],
        check() {
          strictEqual(counts.join(), "0,0");
        },
      };
    },
  },

  "who waits for one category and then has a permit of another is never seen waiting for that": {
    preemptions: 2,
    build: (kernel) => {
      const permits = waitingForX(kernel);
      let forX = -1;
      let forY = -1;
      return {
        kernel,
        programs: [
          async (call) => {
            strictEqual(await call("permitCancel", permits, 0, ME, 1), Status.Ok);
            strictEqual(await call("permitTake", permits, Y, ME, 2, 0), 0);
          },
          async (call) => {
            forY = await call("permitWaiting", permits, Y);
            forX = await call("permitWaiting", permits, X);
          },
        ],
        check() {
          strictEqual(forY, 0);
          strictEqual(forX === 0 || forX === 1, true);
          strictEqual(kernel.permitWaiting(permits, X), 0);
        },
      };
    },
  },

  "and is no reason to refuse a permit of it that is free": {
    preemptions: 2,
    build: (kernel) => {
      const permits = waitingForX(kernel);
      let taken = -1;
      return {
        kernel,
        programs: [
          async (call) => {
            strictEqual(await call("permitCancel", permits, 0, ME, 1), Status.Ok);
            strictEqual(await call("permitTake", permits, Y, ME, 2, 0), 0);
          },
          async (call) => {
            taken = await call("permitTake", permits, Y, YOU, 1, 1);
          },
        ],
        check() {
          strictEqual(taken, 1);
        },
      };
    },
  },

  "who waits is counted until the permit is there": {
    preemptions: 2,
    build: (kernel) => {
      const permits = waitingForX(kernel);
      let mayHaveIt = false;
      const seen: { count: number; mayHaveIt: boolean }[] = [];
      return {
        kernel,
        programs: [
          async (call) => {
            mayHaveIt = true;
            await call("holdSettle", permits, 3, THEM, 1, 0, THEM);
            strictEqual(await call("permitPromote", permits, 0, ME, 1), Status.Ok);
          },
          async (call) => {
            seen.push({ count: await call("permitWaiting", permits, X), mayHaveIt });
          },
        ],
        check() {
          for (const one of seen) strictEqual(one.count, one.mayHaveIt ? Math.min(one.count, 1) : 1);
          strictEqual(kernel.permitWaiting(permits, X), 0);
          strictEqual(kernel.permitFields(permits), 0b000_01_001n);
        },
      };
    },
  },
};
