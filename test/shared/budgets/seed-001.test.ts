// The tests of the second seed (heartbit-core, `mod tests`), under their own names and in their order.

import { TenantOverloadedError, TenantTokenTracker } from "purser";
import { expect, test } from "vitest";

const scope = (tenantId: string) => ({ tenantId });

test("reserve_within_cap_succeeds", () => {
  const tracker = new TenantTokenTracker(1_000);
  const reservation = tracker.reserve(scope("a"), 500);
  expect([...tracker.snapshot()]).toEqual([["a", { inFlight: 500, highWater: 500 }]]);
  reservation.release();
});

test("reserve_exceeding_cap_returns_tenant_overloaded", () => {
  const tracker = new TenantTokenTracker(100);
  using _reservation = tracker.reserve(scope("a"), 80);
  let error: unknown;
  try {
    tracker.reserve(scope("a"), 50);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(TenantOverloadedError);
  expect(error).toMatchObject({ tenantId: "a", inFlight: 80, cap: 100, code: "TENANT_OVERLOADED" });
});

test("drop_releases_reservation", () => {
  const tracker = new TenantTokenTracker(1_000);
  {
    using _reservation = tracker.reserve(scope("a"), 700);
    expect(tracker.snapshot().get("a")?.inFlight).toBe(700);
  }
  expect(tracker.snapshot().get("a")?.inFlight).toBe(0);
});

test("tenants_are_isolated", () => {
  const tracker = new TenantTokenTracker(100);
  using _a = tracker.reserve(scope("a"), 90);
  using _b = tracker.reserve(scope("b"), 90);
  expect(tracker.snapshot().get("a")?.inFlight).toBe(90);
  expect(tracker.snapshot().get("b")?.inFlight).toBe(90);
});

test("high_water_tracks_peak", () => {
  const tracker = new TenantTokenTracker(1_000);
  const first = tracker.reserve(scope("a"), 400);
  using _second = tracker.reserve(scope("a"), 300);
  first.release();
  expect(tracker.snapshot().get("a")).toEqual({ inFlight: 300, highWater: 700 });
});

test("adjust_positive_delta_clamps_at_cap", () => {
  const tracker = new TenantTokenTracker(1_000);
  using _reservation = tracker.reserve(scope("a"), 500);
  tracker.adjust(scope("a"), 800);
  expect(tracker.snapshot().get("a")).toEqual({ inFlight: 1_000, highWater: 1_000 });
  expect(tracker.overCap(scope("a"))).toBe(300);
});

test("adjust_negative_delta_decrements", () => {
  const tracker = new TenantTokenTracker(1_000);
  using _reservation = tracker.reserve(scope("a"), 500);
  tracker.adjust(scope("a"), -200);
  expect(tracker.snapshot().get("a")?.inFlight).toBe(300);
});

test("adjust_negative_i64_min_does_not_panic", () => {
  const tracker = new TenantTokenTracker(1_000);
  using _reservation = tracker.reserve(scope("a"), 500);
  tracker.adjust(scope("a"), -(2 ** 63));
  expect(tracker.snapshot().get("a")?.inFlight).toBe(0);
});

test("reservation_owns_arc_and_outlives_borrow", async () => {
  let tracker: TenantTokenTracker | undefined = new TenantTokenTracker(1_000);
  const reservation = tracker.reserve(scope("a"), 500);
  const observer = tracker;
  tracker = undefined;
  await Promise.resolve().then(() => reservation.release());
  expect(observer.snapshot().get("a")?.inFlight).toBe(0);
});

test("default_scope_uses_empty_string_bucket", () => {
  const tracker = new TenantTokenTracker(1_000);
  using _reservation = tracker.reserve({}, 500);
  expect([...tracker.snapshot().keys()]).toEqual([""]);
});

test("adjust_on_unknown_tenant_is_noop", () => {
  const tracker = new TenantTokenTracker(1_000);
  tracker.adjust(scope("unknown"), -100);
  expect(tracker.snapshot().size).toBe(0);
});
