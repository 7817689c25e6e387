// What is believed of a request that waits, and turns out to be wrong: that it is over because it was silent or did not
// take what it was given. The clock is moved here while the code stands still, as a busy isolate would have it. What is
// right of it is shown with requests that do end, in test/node/request-waits.test.ts.

import { ConcurrencyError, ConcurrencyGovernor, createKernel } from "purser";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

const LIMITS = { total: 1, categories: { calls: 1 } };

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Time goes by, and no timer fires. */
function pass(ms: number): void {
  vi.setSystemTime(Date.now() + ms);
}

const LINES: readonly [string, () => ConcurrencyGovernor][] = [
  ["private", () => new ConcurrencyGovernor(LIMITS)],
  ["named", () => new ConcurrencyGovernor(LIMITS, { kernel: createKernel(), name: "calls" })],
];

describe.each(LINES)("a %s line", (_kind, open) => {
  const waiting = (governor: ConcurrencyGovernor): number | undefined =>
    governor.stats().categories.calls?.waiting;
  const take = (governor: ConcurrencyGovernor) => {
    const permit = governor.tryAcquire("calls");
    if (permit === null) throw new Error("there is no permit");
    return permit;
  };

  test("who was silent and lives lines up again, behind who came meanwhile", async () => {
    const governor = open();
    const held = take(governor);
    const order: string[] = [];
    const silent = governor.acquire("calls").then((permit) => {
      order.push("silent");
      permit.release();
    });
    pass(5_000);
    const later = governor.acquire("calls").then((permit) => {
      order.push("later");
      permit.release();
    });
    await Promise.resolve();
    expect(waiting(governor)).toBe(1);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(waiting(governor)).toBe(2);
    held.release();
    await Promise.all([silent, later]);
    expect(order).toEqual(["later", "silent"]);
    expect(governor.stats()).toMatchObject({ globalAvailable: 1, categories: { calls: { waiting: 0 } } });
  });

  test("who is seen to live keeps its place for as long as it waits", async () => {
    const governor = open();
    const held = take(governor);
    const wait = governor.acquire("calls");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(waiting(governor)).toBe(1);
    pass(4_999);
    expect(governor.tryAcquire("calls")).toBeNull();
    expect(waiting(governor)).toBe(1);
    held.release();
    (await wait).release();
  });

  test("who comes late for its permit waits for the next one", async () => {
    const governor = open();
    const held = take(governor);
    const late = governor.acquire("calls");
    await Promise.resolve();
    held.release();
    pass(1_999);
    expect(governor.tryAcquire("calls")).toBeNull();
    pass(1);
    const other = take(governor);
    await vi.advanceTimersByTimeAsync(0);
    expect(waiting(governor)).toBe(1);
    other.release();
    const permit = await late;
    expect(governor.tryAcquire("calls")).toBeNull();
    permit.release();
    expect(governor.stats().globalAvailable).toBe(1);
  });

  test("a permit that was taken stays out, however late it is", async () => {
    const governor = open();
    const held = take(governor);
    const wait = governor.acquire("calls");
    await Promise.resolve();
    held.release();
    const permit = await wait;
    pass(3_600_000);
    expect(governor.tryAcquire("calls")).toBeNull();
    permit.release();
    expect(governor.stats().globalAvailable).toBe(1);
  });

  test("who stands aside is still told of its timeout, its signal and a close", async () => {
    const governor = open();
    const held = take(governor);
    const leaver = new AbortController();
    const timed = governor.acquire("calls", { timeoutMs: 100 });
    const aborted = governor.acquire("calls", { signal: leaver.signal });
    const closed = governor.acquire("calls");
    const ends = Promise.allSettled([timed, aborted, closed]);
    await Promise.resolve();
    pass(5_000);
    expect(governor.tryAcquire("calls")).toBeNull();
    expect(waiting(governor)).toBe(0);
    leaver.abort(new Error("gone"));
    governor.close();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await ends).toEqual([
      { status: "rejected", reason: new ConcurrencyError("timeout") },
      { status: "rejected", reason: new Error("gone") },
      { status: "rejected", reason: new ConcurrencyError("closed") },
    ]);
    held.release();
    expect(governor.stats()).toMatchObject({ globalAvailable: 1, categories: { calls: { waiting: 0 } } });
  });
});
