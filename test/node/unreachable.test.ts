// A budget without a name frees its slot once nobody can reach it any more. With a real garbage collector.

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { AtomicTokenBudget, createKernel } from "purser";
import { expect, test } from "vitest";
import { Figure } from "../../src/kernel/generated/abi.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

test("a thousand budgets pass through eight slots; reservations keep theirs alive", async () => {
  const kernel = createKernel({ budgets: 8, holds: 8 });
  const keeper = new AtomicTokenBudget(10, { kernel, name: "named budgets stay" });
  let reservation = new AtomicTokenBudget(77, { kernel }).tryReserveTokens(7);
  for (let made = 0; made < 1_000; ) {
    try {
      new AtomicTokenBudget(10, { kernel }).tryReserveTokens(1)?.cancel();
      made++;
    } catch (error) {
      expect(error).toMatchObject({ code: "KERNEL_FULL", option: "budgets" });
      collectGarbage();
      await new Promise(setImmediate); // finalizers run between turns
    }
  }
  expect(keeper.available).toBe(10);
  const figure = () => reservation?.counter?.figure(Figure.Available);
  expect(figure()).toBe(70);
  reservation?.cancel();
  expect(figure()).toBe(77);
  reservation = null;
});
