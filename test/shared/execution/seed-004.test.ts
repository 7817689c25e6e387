// The tests of the fourth seed (ConcurrencyGovernor, `mod tests`), under their own names and in their order.

import { ConcurrencyGovernor } from "purser";
import { expect, test } from "vitest";

test("test_governor_limits_concurrent_operations", async () => {
  const governor = new ConcurrencyGovernor({ streams: 2, tools: 2, total: 4 });
  const first = await governor.acquireTool();
  const second = await governor.acquireTool();
  expect(governor.tryAcquireTool()).toBeNull();
  first.release();
  const third = governor.tryAcquireTool();
  expect(third).not.toBeNull();
  second.release();
  third?.release();
});

test("test_permits_released_on_drop", async () => {
  const governor = new ConcurrencyGovernor({ streams: 1, tools: 1, total: 2 });
  {
    using _permit = await governor.acquireTool();
    expect(governor.stats()).toMatchObject({ toolsAvailable: 0, globalAvailable: 1 });
  }
  expect(governor.stats()).toMatchObject({ toolsAvailable: 1, globalAvailable: 2 });
});

test("test_try_acquire_returns_none_at_capacity", async () => {
  const governor = new ConcurrencyGovernor({ streams: 1, tools: 1, total: 1 });
  using _permit = await governor.acquireTool();
  expect(governor.tryAcquireTool()).toBeNull();
});

test("test_stats_report_correct_values", async () => {
  const governor = new ConcurrencyGovernor({ streams: 4, tools: 8, total: 16 });
  expect(governor.stats()).toMatchObject({
    streamsAvailable: 4,
    streamsMax: 4,
    toolsAvailable: 8,
    toolsMax: 8,
    globalAvailable: 16,
    globalMax: 16,
  });
  using _stream = await governor.acquireStream();
  expect(governor.stats()).toMatchObject({ streamsAvailable: 3, globalAvailable: 15 });
  using _tool = await governor.acquireTool();
  expect(governor.stats()).toMatchObject({ toolsAvailable: 7, globalAvailable: 14 });
});

test("test_global_limit_caps_total_operations", async () => {
  const governor = new ConcurrencyGovernor({ streams: 4, tools: 4, total: 2 });
  using _tool = await governor.acquireTool();
  using _stream = await governor.acquireStream();
  expect(governor.tryAcquireTool()).toBeNull();
});

test("test_default_values", () => {
  expect(ConcurrencyGovernor.withDefaults().stats()).toMatchObject({
    streamsMax: 4,
    toolsMax: 8,
    globalMax: 16,
  });
});
