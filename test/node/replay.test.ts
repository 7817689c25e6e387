// The replay's threads when something goes wrong: a run that is stopped, an authority that fails, a thread that dies.
// Each time nobody sleeps for ever, and nothing stays held. Real threads over a real kernel; only the supply is ours.
import { join } from "node:path";
import { AtomicTokenBudget, createKernel } from "purser";
import { describe, test } from "vitest";
import { startReplay } from "../../scripts/lib/replay.ts";
import { createTally, readTally, sumRows } from "../../scripts/lib/tally.ts";
import { sampleTrace } from "../../scripts/lib/trace.ts";
import { temporaryFolder } from "./support/commands.ts";

const THREADS = 4;
const SLICE_TOKENS = 400_000;

async function world(options: { holds: number; supply: (grant: () => void) => Promise<"retry" | "denied"> }) {
  const folder = await temporaryFolder();
  const tally = { path: join(folder.path, "tally"), row: 0 };
  createTally(tally.path);
  const kernel = createKernel({ shared: true, budgets: 1, holds: options.holds });
  const budget = new AtomicTokenBudget(0, { kernel, name: "replay" });
  const controller = new AbortController();
  const trace = sampleTrace();
  const replay = startReplay({
    trace,
    threads: THREADS,
    outputCapTokens: 2048,
    kernel,
    budgetName: "replay",
    part: { firsts: [0, 1, 2, 3], step: THREADS },
    spreadMs: 0,
    tally,
    supply: () => options.supply(() => budget.grant(SLICE_TOKENS)),
    signal: controller.signal,
  });
  return {
    budget,
    controller,
    replay,
    trace,
    done: () => sumRows(readTally(tally.path, THREADS)),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

describe("startReplay", { timeout: 60_000 }, () => {
  test("stopped on the way, settles what is open and leaves the rest alone", async ({ expect }) => {
    let questions = 0;
    await using it = await world({
      holds: 64,
      supply: async (grant) => {
        questions += 1;
        grant();
        if (questions === 5) it.controller.abort();
        return "retry";
      },
    });
    const { openHolds } = await it.replay.finished;
    const done = it.done();
    expect(done.admitted).toBeGreaterThan(0);
    expect(done.admitted).toBeLessThan(it.trace.calls);
    expect(done.denied).toBe(0);
    expect(done.settled).toBe(done.admitted);
    expect(openHolds).toBe(0);
    expect(it.budget.held).toBe(0);
    expect(it.budget.tokensConsumed()).toBe(done.spentTokens);
  });

  test("fails with the supply's error when the authority is gone", async ({ expect }) => {
    await using it = await world({
      holds: 64,
      supply: async () => {
        throw new Error("no answer from the authority");
      },
    });
    await expect(it.replay.finished).rejects.toThrow("no answer from the authority");
    expect(it.budget.held).toBe(0);
  });

  test("reclaims what a thread held that died", async ({ expect }) => {
    // Too few holds for the calls in flight: a thread throws in the middle of its work.
    await using it = await world({
      holds: 5,
      supply: async (grant) => {
        grant();
        return "retry";
      },
    });
    await expect(it.replay.finished).rejects.toMatchObject({ code: expect.any(String) });
    expect(it.budget.held).toBe(0);
    expect(it.budget.available + it.budget.tokensConsumed()).toBe(it.budget.capacity);
  });
});
