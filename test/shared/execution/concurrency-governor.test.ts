// ConcurrencyGovernor: what the seed had wrong, the line, its endings, a model after each step, bad input.

import fc from "fast-check";
import {
  attachKernel,
  ConcurrencyGovernor,
  ConcurrencyPermit,
  createKernel,
  type GovernorLimits,
} from "purser";
import { describe, expect, test } from "vitest";
import { BAD_AMOUNTS } from "../../support/arbitraries.ts";
import { rightBehindFirst } from "../../support/right-behind.ts";

const LIMITS = { streams: 4, tools: 8, total: 16 };

/** Lets everything that is ready run. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
}

/** Follows a request without waiting for it. */
function follow(request: Promise<ConcurrencyPermit>) {
  const seen: { permit?: ConcurrencyPermit; error?: unknown } = {};
  request.then(
    (permit) => {
      seen.permit = permit;
    },
    (error: unknown) => {
      seen.error = error;
    },
  );
  return seen;
}

describe("who waits holds nothing", () => {
  test("16 requests for streams, 4 of them running, leave the tools' 8 slots free", async () => {
    const governor = new ConcurrencyGovernor(LIMITS);
    const streams = Array.from({ length: 16 }, () => follow(governor.acquireStream()));
    await settle();
    expect(streams.filter((one) => one.permit !== undefined)).toHaveLength(4);
    expect(governor.stats()).toMatchObject({ streamsWaiting: 12, toolsAvailable: 8, globalAvailable: 12 });
    for (let tool = 0; tool < 8; tool++) expect(governor.tryAcquireTool()).not.toBeNull();
    expect(governor.tryAcquireTool()).toBeNull();
  });

  test("a burst of tools leaves the streams alone", async () => {
    const governor = new ConcurrencyGovernor(LIMITS);
    for (let tool = 0; tool < 30; tool++) follow(governor.acquireTool());
    await settle();
    for (let stream = 0; stream < 4; stream++) expect(governor.tryAcquireStream()).not.toBeNull();
  });
});

describe("the line", () => {
  test("first come, first served, and no passing by a try", async () => {
    const governor = new ConcurrencyGovernor({ tools: 1, total: 1 });
    const running = await governor.acquireTool();
    const order: number[] = [];
    const waiting = [0, 1, 2].map(async (number) => {
      using _permit = await governor.acquireTool();
      order.push(number);
      expect(governor.tryAcquireTool()).toBeNull();
    });
    expect(governor.stats().toolsWaiting).toBe(3);
    running.release();
    expect(governor.tryAcquireTool()).toBeNull();
    await Promise.all(waiting);
    expect(order).toEqual([0, 1, 2]);
    expect(governor.stats()).toMatchObject({ toolsAvailable: 1, toolsWaiting: 0, globalAvailable: 1 });
  });

  test("is one over all threads: the first of another thread goes before the second of this one", async () => {
    const kernel = createKernel();
    const here = new ConcurrencyGovernor({ tools: 1, total: 1 }, { kernel, name: "agents" });
    const there = new ConcurrencyGovernor(
      { tools: 1, total: 1 },
      { kernel: attachKernel(kernel.memory), name: "agents" },
    );
    const running = await here.acquireTool();
    const order: string[] = [];
    const wait = async (governor: ConcurrencyGovernor, who: string) => {
      using _permit = await governor.acquireTool();
      order.push(who);
    };
    const all = [wait(there, "there 1"), wait(here, "here 1"), wait(there, "there 2"), wait(here, "here 2")];
    await settle();
    running.release();
    await Promise.all(all);
    expect(order).toEqual(["there 1", "here 1", "there 2", "here 2"]);
  });

  test("goes on in another thread that looked too early, once its first is served here", async () => {
    const kernel = createKernel();
    const limits = { tools: 2, streams: 1, total: 3 };
    const open = (one: typeof kernel) => new ConcurrencyGovernor(limits, { kernel: one, name: "agents" });
    const [busy, here, there] = [attachKernel(kernel.memory), kernel, attachKernel(kernel.memory)].map(open);
    if (busy === undefined || here === undefined || there === undefined) throw new Error("there are three");
    const tools = [await busy.acquireTool(), await busy.acquireTool()];
    const stream = await busy.acquireStream();
    const streamThere = there.acquireStream(); // so that the other thread watches first, and looks first
    const first = here.acquireTool();
    const second = there.acquireTool();
    await settle();
    for (const tool of tools) tool.release();
    for (const permit of await Promise.all([first, second])) permit.release();
    stream.release();
    (await streamThere).release();
    expect(busy.stats()).toMatchObject({ toolsAvailable: 2, streamsAvailable: 1, globalAvailable: 3 });
  });

  test("misses no permit that comes back between its look and its wait", async () => {
    const kernel = createKernel();
    const open = (one: typeof kernel) =>
      new ConcurrencyGovernor({ tools: 1, total: 1 }, { kernel: one, name: "agents" });
    const running = await open(attachKernel(kernel.memory)).acquireTool();
    rightBehindFirst(kernel, "permitPromote", () => running.release());
    using permit = await open(kernel).acquireTool();
    expect(permit.category).toBe("tools");
  });

  test("an aborted, a timed-out and a closed wait leave no trace", async () => {
    const kernel = createKernel({ budgets: 1, holds: 4 });
    const governor = new ConcurrencyGovernor({ tools: 1, total: 1 }, { kernel });
    const running = await governor.acquireTool();
    const controller = new AbortController();
    const aborted = governor.acquireTool({ signal: controller.signal });
    const timedOut = governor.acquireTool({ timeoutMs: 1 });
    controller.abort(new Error("changed my mind"));
    await expect(aborted).rejects.toThrow("changed my mind");
    await expect(timedOut).rejects.toMatchObject({ code: "CONCURRENCY_TIMEOUT", reason: "timeout" });
    await expect(governor.acquireTool({ signal: AbortSignal.abort(new Error("no")) })).rejects.toThrow("no");
    await expect(governor.acquireTool({ timeoutMs: 0 })).rejects.toMatchObject({ reason: "timeout" });
    expect(governor.stats().toolsWaiting).toBe(0);
    const closed = governor.acquireTool();
    governor.close();
    await expect(closed).rejects.toMatchObject({ code: "CONCURRENCY_CLOSED", reason: "closed" });
    await expect(governor.acquireTool()).rejects.toMatchObject({ reason: "closed" });
    expect(governor.tryAcquireTool()).toBeNull();
    running.release();
    expect(governor.stats()).toMatchObject({ toolsAvailable: 1, globalAvailable: 1, toolsWaiting: 0 });
  });

  test("a removed governor ends every wait, and its name can have other limits", async () => {
    const kernel = createKernel({ budgets: 1, holds: 4 });
    const there = attachKernel(kernel.memory);
    const governor = new ConcurrencyGovernor({ tools: 1, total: 1 }, { kernel, name: "shared" });
    const twin = new ConcurrencyGovernor({ tools: 1, total: 1 }, { kernel: there, name: "shared" });
    const running = await twin.acquireTool();
    const elsewhere = twin.acquireTool();
    const here = governor.acquireTool();
    governor.remove();
    await expect(here).rejects.toMatchObject({ code: "CONCURRENCY_CLOSED" });
    await expect(elsewhere).rejects.toMatchObject({ code: "BUDGET_REMOVED" });
    await expect(governor.acquireTool()).rejects.toMatchObject({ code: "CONCURRENCY_CLOSED" });
    await expect(twin.acquireTool()).rejects.toMatchObject({ code: "BUDGET_REMOVED" });
    expect(() => twin.tryAcquireTool()).toThrow(expect.objectContaining({ code: "BUDGET_REMOVED" }));
    expect(() => twin.stats()).toThrow(expect.objectContaining({ code: "BUDGET_REMOVED" }));
    expect(() => governor.remove()).toThrow(expect.objectContaining({ code: "BUDGET_REMOVED" }));
    const wider = new ConcurrencyGovernor({ tools: 3, total: 3 }, { kernel, name: "shared" });
    const permits = [wider.tryAcquireTool(), wider.tryAcquireTool(), wider.tryAcquireTool()];
    running.release(); // of the one before: gives nothing to the new one
    expect(wider.stats()).toMatchObject({ toolsAvailable: 0, toolsWaiting: 0, globalAvailable: 0 });
    for (const permit of permits) permit?.release();
    expect(wider.stats()).toMatchObject({ toolsAvailable: 3, globalAvailable: 3 });
  });

  test("a removed governor and a closed kernel tell those who wait elsewhere, with nobody else waiting here", async () => {
    const kernel = createKernel();
    const there = attachKernel(kernel.memory);
    const open = (one: typeof kernel) =>
      new ConcurrencyGovernor({ tools: 1, total: 1 }, { kernel: one, name: "shared" });
    const [here, twin] = [open(kernel), open(there)];
    await here.acquireTool();
    const served = twin.acquireTool();
    kernel.close();
    const permit = await served;
    const removed = twin.acquireTool();
    await settle();
    here.remove();
    await expect(removed).rejects.toMatchObject({ code: "BUDGET_REMOVED" });
    permit.release();
  });

  test("a wait that ended leaves neither its timer nor its listener behind", async () => {
    const timers = new Set<unknown>();
    const { setTimeout: set, clearTimeout: clear } = globalThis;
    globalThis.setTimeout = ((call: () => void, ms: number) => {
      const timer = set(call, ms);
      timers.add(timer);
      return timer;
    }) as typeof setTimeout;
    globalThis.clearTimeout = ((timer?: ReturnType<typeof setTimeout>) => {
      timers.delete(timer);
      clear(timer);
    }) as typeof clearTimeout;
    try {
      const { signal } = new AbortController();
      let listeners = 0;
      const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
      signal.addEventListener = (...args: Parameters<typeof add>) => {
        listeners++;
        add(...args);
      };
      signal.removeEventListener = (...args: Parameters<typeof remove>) => {
        listeners--;
        remove(...args);
      };
      const governor = new ConcurrencyGovernor({ tools: 1, total: 1 });
      const running = await governor.acquireTool();
      const waiting = governor.acquireTool({ signal, timeoutMs: 60_000 });
      expect(listeners).toBe(1);
      expect(timers.size).toBeGreaterThan(0);
      running.release();
      (await waiting).release();
      expect(listeners).toBe(0);
      expect(timers.size).toBe(0);
      const controller = new AbortController();
      using _running = await governor.acquireTool();
      const aborted = governor.acquireTool({ signal: controller.signal, timeoutMs: 60_000 });
      controller.abort(new Error("changed my mind"));
      await expect(aborted).rejects.toThrow("changed my mind");
      expect(timers.size).toBe(0); // nor the one that keeps this thread as long as somebody waits
    } finally {
      globalThis.setTimeout = set;
      globalThis.clearTimeout = clear;
    }
  });

  test("when its head leaves, the next one is served", async () => {
    const governor = new ConcurrencyGovernor({ tools: 2, total: 2 });
    const first = await governor.acquireTool();
    const second = await governor.acquireTool();
    const controller = new AbortController();
    const head = follow(governor.acquireTool({ signal: controller.signal }));
    const next = follow(governor.acquireTool());
    controller.abort();
    second.release();
    await settle();
    expect(head.error).toBeDefined();
    expect(next.permit).toBeDefined();
    first.release();
  });
});

describe("one name", () => {
  test("is one governor, in whatever order its categories were written", () => {
    const kernel = createKernel();
    const limits = [
      { total: 8, categories: { a: 4, b: 3, 7: 2 } },
      { total: 8, categories: { b: 3, 7: 2, a: 4 } },
    ];
    const [one, other] = limits.map((given) => new ConcurrencyGovernor(given, { kernel, name: "agents" }));
    one?.tryAcquire("a");
    one?.tryAcquire("b");
    one?.tryAcquire("b");
    for (const governor of [one, other]) {
      expect(governor?.stats().categories).toEqual({
        a: { available: 3, max: 4, waiting: 0 },
        b: { available: 1, max: 3, waiting: 0 },
        7: { available: 2, max: 2, waiting: 0 },
      });
    }
  });
});

describe("governors with neither name nor kernel", () => {
  test("have a line without an end, and none takes from another what it needs for its permits", async () => {
    const crowded = new ConcurrencyGovernor({ tools: 1, streams: 1, total: 2 });
    const running = await crowded.acquireTool();
    let served = 0;
    const all = Array.from({ length: 5_000 }, async () => {
      using _permit = await crowded.acquireTool();
      served++;
    });
    expect(crowded.stats()).toMatchObject({ toolsWaiting: 5_000, streamsWaiting: 0 });
    expect(crowded.tryAcquireTool()).toBeNull();
    expect(crowded.tryAcquireStream()).not.toBeNull();
    const others = Array.from({ length: 300 }, () => new ConcurrencyGovernor({ tools: 16, total: 16 }));
    const wide = new ConcurrencyGovernor({ tools: 10_000, total: 10_000 });
    for (const [governor, permits] of [...others.map((one) => [one, 16] as const), [wide, 10_000] as const]) {
      for (let permit = 0; permit < permits; permit++) expect(governor.tryAcquireTool()).not.toBeNull();
      expect(governor.tryAcquireTool()).toBeNull();
    }
    running.release();
    await Promise.all(all);
    expect(served).toBe(5_000);
    expect(crowded.stats()).toMatchObject({ toolsAvailable: 1, toolsWaiting: 0 });
  });
});

describe("permits", () => {
  test("released twice count once", async () => {
    const governor = new ConcurrencyGovernor({ tools: 2, total: 2 });
    const permit = await governor.acquireTool();
    using _other = await governor.acquireTool();
    permit.release();
    permit.release();
    permit[Symbol.dispose]();
    expect(governor.stats()).toMatchObject({ toolsAvailable: 1, globalAvailable: 1 });
  });

  test("that could not be given back can be given back later, once", () => {
    let fails = true;
    let given = 0;
    const permit = new ConcurrencyPermit("tools", () => {
      if (fails) throw new Error("not now");
      given++;
    });
    expect(() => permit.release()).toThrow("not now");
    fails = false;
    permit.release();
    permit.release();
    expect(given).toBe(1);
  });

  test("of a thread that ended come back by reclaim, and so do its places in the line", async () => {
    const kernel = createKernel();
    const other = attachKernel(kernel.memory);
    const here = new ConcurrencyGovernor({ tools: 2, total: 2 }, { kernel, name: "agents" });
    const there = new ConcurrencyGovernor({ tools: 2, total: 2 }, { kernel: other, name: "agents" });
    await there.acquireTool();
    await there.acquireTool();
    follow(there.acquireTool());
    expect(here.stats()).toMatchObject({ toolsAvailable: 0, toolsWaiting: 1 });
    expect(kernel.reclaim(other.owner)).toBe(2);
    expect(here.stats()).toMatchObject({ toolsAvailable: 2, toolsWaiting: 0, globalAvailable: 2 });
    expect(here.tryAcquireTool()).not.toBeNull();
  });

  test("in scoped form come back however the call ends", async () => {
    const governor = new ConcurrencyGovernor({ ...LIMITS, categories: { embeddings: 2 } });
    expect(await governor.withTool(() => governor.stats().toolsAvailable)).toBe(7);
    expect(await governor.withStream(async () => governor.stats().streamsAvailable)).toBe(3);
    await expect(governor.withPermit("embeddings", () => Promise.reject(new Error("no")))).rejects.toThrow(
      "no",
    );
    expect(governor.stats()).toMatchObject({ toolsAvailable: 8, streamsAvailable: 4, globalAvailable: 16 });
    expect(governor.stats().categories.embeddings).toEqual({ available: 2, max: 2, waiting: 0 });
  });

  test("of more categories than two", async () => {
    const governor = new ConcurrencyGovernor({
      total: 3,
      categories: { streams: 4, tools: 8, embeddings: 2 },
    });
    using _first = await governor.acquire("embeddings");
    using _second = await governor.acquire("embeddings");
    expect(governor.tryAcquire("embeddings")).toBeNull();
    using _third = await governor.acquireTool();
    expect(governor.tryAcquireStream()).toBeNull();
  });
});

type Step = { op: "try" | "wait" | "abort" | "release"; category: "streams" | "tools"; which: number };

test("every history leaves the counts as the model says, and serves in order", async () => {
  const step: fc.Arbitrary<Step> = fc.record({
    op: fc.constantFrom(
      "try" as const,
      "wait" as const,
      "wait" as const,
      "release" as const,
      "abort" as const,
    ),
    category: fc.constantFrom("streams" as const, "tools" as const),
    which: fc.nat({ max: 20 }),
  });
  const kernel = createKernel({ budgets: 1, holds: 64 });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const limits = { streams: 2, tools: 3, total: 4 };
      const governor = new ConcurrencyGovernor(limits, { kernel, name: "modelled" });
      const held: { permit: ConcurrencyPermit; category: "streams" | "tools" }[] = [];
      let line: {
        category: "streams" | "tools";
        seen: ReturnType<typeof follow>;
        controller: AbortController;
      }[] = [];
      const running = (category: string) => held.filter((one) => one.category === category).length;
      const fits = (category: "streams" | "tools") =>
        running(category) < limits[category] && held.length < limits.total;
      const isAwaited = (category: string) => line.some((one) => one.category === category);
      try {
        for (const { op, category, which } of steps) {
          if (op === "try") {
            const permit = governor.tryAcquire(category);
            expect(permit !== null).toBe(fits(category) && !isAwaited(category));
            if (permit !== null) held.push({ permit, category });
          } else if (op === "wait") {
            const controller = new AbortController();
            line.push({
              category,
              seen: follow(governor.acquire(category, { signal: controller.signal })),
              controller,
            });
          } else if (op === "release" && held.length > 0) {
            held.splice(which % held.length, 1)[0]?.permit.release();
          } else if (op === "abort" && line.length > 0) {
            const [left] = line.splice(which % line.length, 1);
            left?.controller.abort();
          }
          await settle();
          // The model: from the front of the line, everybody whose category nobody stands before in, and who fits.
          const stuck = new Set<string>();
          line = line.filter((one) => {
            if (stuck.has(one.category) || !fits(one.category)) {
              stuck.add(one.category);
              expect(one.seen.permit).toBeUndefined();
              return true;
            }
            const { permit } = one.seen;
            if (permit === undefined) throw new Error("expected the head of the line to be served");
            held.push({ permit, category: one.category });
            return false;
          });
          expect(governor.stats()).toMatchObject({
            streamsAvailable: limits.streams - running("streams"),
            toolsAvailable: limits.tools - running("tools"),
            globalAvailable: limits.total - held.length,
            streamsWaiting: line.filter((one) => one.category === "streams").length,
            toolsWaiting: line.filter((one) => one.category === "tools").length,
          });
        }
      } finally {
        for (const one of line) one.controller.abort();
        for (const { permit } of held) permit.release();
      }
    }),
    { numRuns: 150 },
  );
});

describe("bad input", () => {
  test.each(BAD_AMOUNTS.filter(([value]) => value !== undefined))("%s is no limit", (value, errorClass) => {
    const bad = value as number;
    expect(() => new ConcurrencyGovernor({ total: bad, tools: 1 })).toThrow(errorClass);
    expect(() => new ConcurrencyGovernor({ total: 1, categories: { x: bad } })).toThrow(errorClass);
  });

  test("limits that need too many bits, no category, an unknown one, a bad wait", async () => {
    const wide: GovernorLimits = { total: 1_000_000, categories: { a: 1_000_000, b: 1_000_000 } };
    expect(() => new ConcurrencyGovernor(wide)).toThrow(/54 bits/);
    expect(() => new ConcurrencyGovernor({ total: 1 })).toThrow(/at least one category/);
    const governor = new ConcurrencyGovernor({ tools: 1, total: 1 });
    expect(() => governor.tryAcquire("embeddings")).toThrow(/one of tools, got "embeddings"/);
    expect(() => governor.tryAcquireStream()).toThrow(RangeError);
    for (const timeoutMs of [-1, 0.5, Number.NaN, 2 ** 31]) {
      await expect(governor.acquireTool({ timeoutMs })).rejects.toThrow(RangeError);
    }
    expect(governor.stats()).toMatchObject({ toolsAvailable: 1, toolsWaiting: 0 });
  });

  test("the same name with other limits, or with the same ones for other categories", () => {
    const kernel = createKernel();
    const open = (limits: GovernorLimits) => new ConcurrencyGovernor(limits, { kernel, name: "agents" });
    open({ total: 8, categories: { a: 4, b: 5 } });
    for (const categories of [
      { a: 5, b: 4 },
      { a: 4, b: 4 },
      { x: 4, y: 5 },
      { a: 4, b: 5, c: 1 },
      { a: 4 },
    ]) {
      expect(() => open({ total: 8, categories })).toThrow(
        expect.objectContaining({ code: "BUDGET_MISMATCH" }),
      );
    }
  });

  test("options, signals and calls that are none leave nobody's place in the line behind", async () => {
    const governor = new ConcurrencyGovernor({ tools: 1, total: 1 });
    const running = await governor.acquireTool();
    const given = (argument: string) =>
      expect.objectContaining({
        code: "ARGUMENT_INVALID",
        message: expect.stringContaining(`${argument} must be`),
      });
    for (const signal of [null, 5, {}, { throwIfAborted() {} }, new EventTarget()]) {
      const options = { signal: signal as unknown as AbortSignal };
      await expect(governor.acquire("tools", options)).rejects.toEqual(given("signal"));
    }
    for (const options of [null, 5, "x"]) {
      await expect(governor.acquire("tools", options as never)).rejects.toEqual(given("options"));
    }
    await expect(governor.withTool(5 as never)).rejects.toEqual(given("call"));
    const next = follow(governor.acquireTool());
    expect(governor.stats().toolsWaiting).toBe(1);
    running.release();
    await settle();
    expect(next.permit).toBeDefined();
  });

  test("categories that are a list, nothing, or said twice", () => {
    const make = (limits: unknown) => () => new ConcurrencyGovernor(limits as GovernorLimits);
    expect(make({ total: 5, categories: [1, 2] })).toThrow(
      "limits.categories must be an object with a limit",
    );
    expect(make({ total: 5, categories: null })).toThrow("limits.categories must be an object, got null");
    const twice = make({ total: 5, tools: 5, categories: { tools: 2 } });
    expect(twice).toThrow("limits.tools must be left out where limits.categories has it, got 5");
    expect(twice).toThrow(expect.objectContaining({ code: "ARGUMENT_INVALID" }));
  });
});
