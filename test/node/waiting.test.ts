// Waiting across threads, where `Atomics.waitAsync` is there: who is told, and what keeps Node running meanwhile, which does
// not count such a wait as something to stay for.

import process from "node:process";
import { ConcurrencyGovernor, createKernel } from "purser";
import { expect, test } from "vitest";
import { HEADER_SEQUENCE } from "../../src/kernel/generated/abi.ts";

const LIMITS = { tools: 1, total: 1 };

const timers = (): number => process.getActiveResourcesInfo().filter((one) => one === "Timeout").length;

test("a wait for a permit that others can have keeps the thread for as long as it lasts", async () => {
  const governor = new ConcurrencyGovernor(LIMITS, {
    kernel: createKernel({ shared: true }),
    name: "agents",
  });
  const running = await governor.acquireTool();
  const before = timers();
  const waiting = [governor.acquireTool(), governor.acquireTool()];
  await Promise.resolve();
  expect(timers()).toBe(before + 1);
  running.release();
  (await waiting[0])?.release();
  await waiting[1];
  expect(timers()).toBe(before);
});

test("whoever has a permit of a private governor is who keeps the thread", async () => {
  const governor = new ConcurrencyGovernor(LIMITS);
  const running = await governor.acquireTool();
  const before = timers();
  const waiting = governor.acquireTool();
  await Promise.resolve();
  expect(timers()).toBe(before);
  running.release();
  await waiting;
});

test("who leaves the line tells the threads that watch", async () => {
  const kernel = createKernel({ shared: true });
  const governor = new ConcurrencyGovernor(LIMITS, { kernel, name: "agents" });
  using _running = await governor.acquireTool();
  const controller = new AbortController();
  const leaving = governor.acquireTool({ signal: controller.signal });
  await Promise.resolve();
  const seen = Atomics.load(kernel.words, HEADER_SEQUENCE / 4);
  const watch = Atomics.waitAsync(kernel.words, HEADER_SEQUENCE / 4, seen);
  controller.abort(new Error("changed my mind"));
  await expect(leaving).rejects.toThrow("changed my mind");
  expect(await watch.value).toBe("ok");
});
