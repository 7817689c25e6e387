// What has no name frees its slot once nobody can reach it any more, and not before: who has a permit of a governor or waits
// for one reaches it. With a real garbage collector.

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { AtomicTokenBudget, ConcurrencyGovernor, type ConcurrencyPermit, createKernel } from "purser";
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

test.each([
  ["private", undefined],
  ["in a kernel, without a name", createKernel({ budgets: 8, holds: 8 })],
])(
  "whoever waits for a permit of a governor is served when the governor itself is gone: %s",
  async (_, kernel) => {
    const begin = () => {
      const governor = new ConcurrencyGovernor(
        { tools: 1, total: 1 },
        kernel === undefined ? {} : { kernel },
      );
      const running = governor.tryAcquireTool();
      return { governor: new WeakRef(governor), running, next: governor.acquireTool() };
    };
    const { governor, running, next } = begin();
    await turnsUntil(() => {
      collectGarbage();
      return governor.deref() === undefined;
    });
    await new Promise(setImmediate); // finalizers run between turns
    const served: ConcurrencyPermit[] = [];
    next.then((permit) => served.push(permit));
    running?.release();
    await new Promise(setImmediate);
    expect(served).toHaveLength(1);
  },
);

async function turnsUntil(isDone: () => boolean): Promise<void> {
  while (!isDone()) await new Promise(setImmediate);
}
