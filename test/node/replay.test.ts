// The replay's threads when something goes wrong: a run that is stopped, an authority that fails, a thread that dies.
// Each time nobody sleeps for ever, and nothing stays held. Real threads over a real kernel; only the lender is ours.
import { AtomicTokenBudget, createKernel } from "purser";
import { describe, test } from "vitest";
import type { Lender } from "../../scripts/lib/lender.ts";
import { startReplay } from "../../scripts/lib/replay.ts";
import { sampleTrace } from "../../scripts/lib/trace.ts";

const THREADS = 4;
const SLICE_TOKENS = 400_000;

function world(options: { holds: number; topUp: (grant: () => void) => Promise<"retry" | "exhausted"> }) {
  const kernel = createKernel({ shared: true, budgets: 1, holds: options.holds });
  const budget = new AtomicTokenBudget(0, { kernel, name: "replay" });
  let drawnTokens = 0;
  const grant = (): void => {
    budget.grant(SLICE_TOKENS);
    drawnTokens += SLICE_TOKENS;
  };
  const lender: Lender = {
    get drawnTokens() {
      return drawnTokens;
    },
    openSlices: 0,
    chargedTokens: 0,
    topUp: () => options.topUp(grant),
    settleAll: async () => undefined,
  };
  const controller = new AbortController();
  const trace = sampleTrace();
  const replay = startReplay({
    trace,
    threads: THREADS,
    outputCapTokens: 2048,
    kernel,
    budgetName: "replay",
    lender,
    signal: controller.signal,
  });
  return { budget, controller, replay, trace };
}

describe("startReplay", { timeout: 60_000 }, () => {
  test("stopped on the way, settles what is open and leaves the rest alone", async ({ expect }) => {
    let questions = 0;
    const { budget, controller, replay, trace } = world({
      holds: 64,
      topUp: async (grant) => {
        questions += 1;
        grant();
        if (questions === 5) controller.abort();
        return "retry";
      },
    });
    const totals = await replay.finished;
    expect(totals.admitted).toBeGreaterThan(0);
    expect(totals.admitted).toBeLessThan(trace.calls);
    expect(totals.denied).toBe(0);
    expect(totals.openHolds).toBe(0);
    expect(budget.held).toBe(0);
    expect(budget.tokensConsumed()).toBe(totals.spentTokens);
  });

  test("fails with the lender's error when the authority is gone", async ({ expect }) => {
    const { budget, replay } = world({
      holds: 64,
      topUp: async () => {
        throw new Error("no answer from the authority");
      },
    });
    await expect(replay.finished).rejects.toThrow("no answer from the authority");
    expect(budget.held).toBe(0);
  });

  test("reclaims what a thread held that died", async ({ expect }) => {
    // Too few holds for the calls in flight: a thread throws in the middle of its work.
    const { budget, replay } = world({
      holds: 5,
      topUp: async (grant) => {
        grant();
        return "retry";
      },
    });
    await expect(replay.finished).rejects.toMatchObject({ code: expect.any(String) });
    expect(budget.held).toBe(0);
    expect(budget.available + budget.tokensConsumed()).toBe(budget.capacity);
  });
});
