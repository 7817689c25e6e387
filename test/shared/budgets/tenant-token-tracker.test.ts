// TenantTokenTracker: what the seed had wrong, a model after each step, many tenants, bad input.

import fc from "fast-check";
import { AtomicBudget, attachKernel, createKernel, TenantTokenTracker } from "purser";
import { describe, expect, test } from "vitest";
import { BAD_AMOUNTS } from "../../support/arbitraries.ts";

const scope = (tenantId: string) => ({ tenantId });

describe("what an adjustment leaves behind", () => {
  test("500, +300 on the reservation, end: nothing leaks", () => {
    const tracker = new TenantTokenTracker(1_000);
    const reservation = tracker.reserve(scope("a"), 500);
    expect(reservation.adjust(300)).toBe(800);
    expect(tracker.snapshot().get("a")?.inFlight).toBe(800);
    reservation.release();
    expect(tracker.snapshot().get("a")).toEqual({ inFlight: 0, highWater: 800 });
  });

  test("500 and 400, −500, end of the first: what the second holds is still counted", () => {
    const tracker = new TenantTokenTracker(1_000);
    const first = tracker.reserve(scope("a"), 500);
    const second = tracker.reserve(scope("a"), 400);
    tracker.adjust(scope("a"), -500);
    expect(tracker.snapshot().get("a")?.inFlight).toBe(400);
    first.release();
    second.release();
    expect(tracker.snapshot().get("a")?.inFlight).toBe(0);
    const third = tracker.reserve(scope("a"), 500);
    third.adjust(-500);
    using _fourth = tracker.reserve(scope("a"), 400);
    third.release();
    expect(tracker.snapshot().get("a")?.inFlight).toBe(400);
  });

  test("an adjustment beyond the cap is counted, and gone with its reservation", () => {
    const tracker = new TenantTokenTracker(1_000);
    const reservation = tracker.reserve(scope("a"), 900);
    expect(reservation.adjust(500)).toBe(1_000);
    expect(tracker.overCap(scope("a"))).toBe(400);
    reservation.release();
    expect(reservation.adjust(100)).toBe(0);
    reservation[Symbol.dispose]();
    expect(tracker.snapshot().get("a")?.inFlight).toBe(0);
  });
});

describe("across threads", () => {
  const trackers = () => {
    const kernel = createKernel({ budgets: 8, holds: 8 });
    const theirs = attachKernel(kernel.memory);
    const open = (one: typeof kernel) => new TenantTokenTracker(100, { kernel: one, name: "t" });
    return { kernel, theirs, mine: open(kernel), yours: open(theirs) };
  };

  test("any thread forgets every idle tenant, and no other tracker's", () => {
    const { kernel, mine, yours } = trackers();
    const other = new TenantTokenTracker(100, { kernel, name: "another" });
    other.reserve(scope("a"), 1).release();
    for (const tenantId of ["a", "b", "c"]) yours.reserve(scope(tenantId), 1).release();
    using _busy = yours.reserve(scope("d"), 7);
    expect(mine.totals()).toEqual({ tenants: 4, inFlight: 7 });
    expect(mine.forgetIdle()).toBe(3);
    expect(mine.totals()).toEqual({ tenants: 1, inFlight: 7 });
    expect([...yours.snapshot().keys()]).toEqual(["d"]);
    expect(other.totals()).toEqual({ tenants: 1, inFlight: 0 });
  });

  test("a dead thread's idle tenants make room by themselves", () => {
    const { kernel, theirs, mine, yours } = trackers();
    for (let n = 0; n < 8; n++) yours.reserve(scope(`theirs ${n}`), 1);
    kernel.reclaim(theirs.owner);
    using _reservation = mine.reserve(scope("mine"), 1);
    expect(mine.totals()).toEqual({ tenants: 1, inFlight: 1 });
  });

  test("a thread in whose kernel others forget keeps few stale handles, and opens its tenants anew", () => {
    const { theirs, mine, yours } = trackers();
    for (let n = 0; n < 1_000; n++) {
      yours.reserve(scope(`${n}`), 1).release();
      mine.forgetIdle();
    }
    const { exports } = theirs;
    let looks = 0;
    const budgetFigure: typeof exports.budgetFigure = (...values) => {
      looks++;
      return exports.budgetFigure(...values);
    };
    Object.assign(theirs, { exports: { ...exports, budgetFigure } });
    expect([...yours.snapshot()]).toEqual([]);
    expect(looks).toBeLessThanOrEqual(2 * 2 * theirs.budgets); // two figures of each handle that is kept
    using _again = yours.reserve(scope("3"), 5);
    expect(mine.totals()).toEqual({ tenants: 1, inFlight: 5 });
  });
});

describe("tenants", () => {
  test("a refused reserve makes none", () => {
    const tracker = new TenantTokenTracker(10);
    expect(tracker.tryReserve(scope("big"), 11)).toBeNull();
    expect(() => tracker.reserve(scope("big"), 11)).toThrow(
      expect.objectContaining({ code: "TENANT_OVERLOADED", inFlight: 0, cap: 10 }),
    );
    expect(tracker.snapshot().size).toBe(0);
  });

  test("a reserve that finds no free hold makes none, and ends none", () => {
    const kernel = createKernel({ budgets: 4, holds: 2 });
    const tracker = new TenantTokenTracker(100, { kernel, name: "agents" });
    const known = tracker.reserve(scope("known"), 9);
    using _last = tracker.reserve(scope("busy"), 1);
    known.release();
    using _taken = tracker.reserve(scope("busy"), 1);
    for (const tenantId of ["new", "known"]) {
      for (const tokens of [1, { min: 1, want: 2 }]) {
        expect(() => tracker.reserve(scope(tenantId), tokens)).toThrow(
          expect.objectContaining({ code: "KERNEL_FULL", option: "holds" }),
        );
      }
    }
    expect([...tracker.snapshot()]).toEqual([
      ["known", { inFlight: 0, highWater: 9 }],
      ["busy", { inFlight: 2, highWater: 2 }],
    ]);
    expect(tracker.totals()).toEqual({ tenants: 2, inFlight: 2 });
  });

  test("of two trackers of one name with two caps each knows its own, and both count all", () => {
    const kernel = createKernel();
    const wide = new TenantTokenTracker(1_000, { kernel, name: "agents" });
    const narrow = new TenantTokenTracker(10, { kernel, name: "agents" });
    using _wide = wide.reserve(scope("w"), 900);
    using _narrow = narrow.reserve(scope("n"), 7);
    const mismatch = expect.objectContaining({ code: "BUDGET_MISMATCH" });
    expect(() => narrow.reserve(scope("w"), 1)).toThrow(mismatch);
    expect(() => narrow.adjust(scope("w"), -1)).toThrow(mismatch);
    expect(() => narrow.overCap(scope("w"))).toThrow(mismatch);
    expect(() => narrow.reserve(scope("w"), { min: 1, want: 20 })).toThrow(mismatch);
    expect([...narrow.snapshot()]).toEqual([["n", { inFlight: 7, highWater: 7 }]]);
    for (const tracker of [wide, narrow]) expect(tracker.totals()).toEqual({ tenants: 2, inFlight: 907 });
  });

  test("idle ones make room for whatever is opened where there is a tracker; busy ones and budgets stay", () => {
    const kernel = createKernel({ budgets: 8, holds: 8 });
    const tracker = new TenantTokenTracker(100, { kernel });
    const named = new AtomicBudget(5, { kernel, name: "a budget, idle as well" });
    using _busy = tracker.reserve(scope("busy"), 1);
    for (let index = 0; index < 100; index++) tracker.reserve(scope(`passer-by ${index}`), 1).release();
    const other = attachKernel(kernel.memory);
    new TenantTokenTracker(5, { kernel: other, name: "another tracker" });
    for (let index = 0; index < 6; index++) new AtomicBudget(1, { kernel: other, name: `${index}` });
    expect(() => new AtomicBudget(1, { kernel, name: "one more" })).toThrow(
      expect.objectContaining({ code: "KERNEL_FULL", option: "budgets" }),
    );
    expect(tracker.totals()).toEqual({ tenants: 1, inFlight: 1 });
    expect(named.available).toBe(5);
  });

  test("forty thousand passing by need no more slots than are in use", () => {
    const kernel = createKernel({ budgets: 64, holds: 64 });
    const tracker = new TenantTokenTracker(100, { kernel });
    using _regular = tracker.reserve(scope("regular"), 60);
    for (let index = 0; index < 40_000; index++) tracker.reserve(scope(`passer-by ${index}`), 10).release();
    expect(tracker.snapshot().get("regular")?.inFlight).toBe(60);
    expect(tracker.snapshot().size).toBeLessThanOrEqual(64);
    tracker.forgetIdle();
    expect([...tracker.snapshot().keys()]).toEqual(["regular"]);
  });

  test("without an idle one to forget, a full kernel says which option to raise", () => {
    const kernel = createKernel({ budgets: 1, holds: 4 });
    const tracker = new TenantTokenTracker(100, { kernel });
    using _reservation = tracker.reserve(scope("a"), 1);
    expect(() => tracker.reserve(scope("b"), 1)).toThrow(expect.objectContaining({ option: "budgets" }));
  });

  test("a name is shared by threads, and is not mistaken for another's", () => {
    const kernel = createKernel();
    const here = new TenantTokenTracker(100, { kernel, name: "agents" });
    const there = new TenantTokenTracker(100, { kernel: attachKernel(kernel.memory), name: "agents" });
    const other = new TenantTokenTracker(100, { kernel, name: "agents/a" });
    using _reservation = here.reserve(scope("a/b"), 70);
    expect(there.tryReserve(scope("a/b"), 40)).toBeNull();
    expect(other.tryReserve(scope("b"), 40)).not.toBeNull();
    there.adjust(scope("a/b"), -50);
    expect(here.snapshot().get("a/b")).toEqual({ inFlight: 20, highWater: 70 });
  });

  test("a tenant that another thread forgot is made anew", () => {
    const kernel = createKernel();
    const here = new TenantTokenTracker(100, { kernel, name: "agents" });
    const there = new TenantTokenTracker(100, { kernel: attachKernel(kernel.memory), name: "agents" });
    here.reserve(scope("a"), 1).release();
    there.reserve(scope("a"), 1).release();
    expect(there.forgetIdle()).toBe(1);
    using _reservation = here.reserve(scope("a"), 5);
    expect(here.snapshot().get("a")).toEqual({ inFlight: 5, highWater: 5 });
  });
});

type Step =
  | { op: "reserve"; tenant: number; tokens: number }
  | { op: "adjust"; tenant: number; delta: number }
  | { op: "adjustOne" | "release"; which: number; delta: number }
  | { op: "forget" };

const tenant = fc.nat({ max: 2 });
const delta = fc.integer({ min: -150, max: 150 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ op: fc.constant("reserve" as const), tenant, tokens: fc.nat({ max: 120 }) }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("adjust" as const), tenant, delta }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant("adjustOne" as const), which: fc.nat(), delta }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant("release" as const), which: fc.nat(), delta }) },
  { weight: 1, arbitrary: fc.constant({ op: "forget" as const }) },
);

test("in flight is at every step what the open reservations hold", () => {
  const kernel = createKernel({ budgets: 8, holds: 64 });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
      const tracker = new TenantTokenTracker(100, { kernel });
      // The model: one number per tenant, and how many reservations are open.
      const inFlight = [0, 0, 0];
      const highWater = [0, 0, 0];
      const known = [false, false, false];
      const open: { reservation: ReturnType<typeof tracker.reserve>; tenant: number }[] = [];
      const openOf = (which: number) => open.filter((one) => one.tenant === which);
      try {
        for (const current of steps) {
          if (current.op === "reserve") {
            const fits = (inFlight[current.tenant] ?? 0) + current.tokens <= 100;
            const reservation = tracker.tryReserve(scope(`${current.tenant}`), current.tokens);
            expect(reservation !== null).toBe(fits);
            if (reservation === null) continue;
            known[current.tenant] = true;
            inFlight[current.tenant] = (inFlight[current.tenant] ?? 0) + current.tokens;
            open.push({ reservation, tenant: current.tenant });
          } else if (current.op === "adjust") {
            tracker.adjust(scope(`${current.tenant}`), current.delta);
            if (openOf(current.tenant).length > 0) {
              inFlight[current.tenant] = Math.min(
                100,
                Math.max(0, (inFlight[current.tenant] ?? 0) + current.delta),
              );
            }
          } else if (current.op === "forget") {
            tracker.forgetIdle();
            for (const which of [0, 1, 2]) {
              if (openOf(which).length === 0) {
                known[which] = false;
                highWater[which] = 0;
              }
            }
          } else if (open.length > 0) {
            const at = current.which % open.length;
            const one = open[at];
            if (one === undefined) continue;
            // A tenant-wide adjustment may have changed it: asking for a change of 0 tells what it holds.
            const holds = one.reservation.adjust(0);
            if (current.op === "release") {
              open.splice(at, 1);
              one.reservation.release();
              inFlight[one.tenant] = (inFlight[one.tenant] ?? 0) - holds;
            } else {
              const now = one.reservation.adjust(current.delta);
              const room = 100 - (inFlight[one.tenant] ?? 0);
              expect(now).toBe(Math.max(0, holds + Math.min(current.delta, room)));
              inFlight[one.tenant] = (inFlight[one.tenant] ?? 0) + now - holds;
            }
          }
          for (const which of [0, 1, 2]) {
            highWater[which] = Math.max(highWater[which] ?? 0, inFlight[which] ?? 0);
            const expected = known[which]
              ? { inFlight: inFlight[which], highWater: highWater[which] }
              : undefined;
            expect(tracker.snapshot().get(`${which}`)).toEqual(expected);
            const held = openOf(which).reduce((sum, one) => sum + one.reservation.adjust(0), 0);
            expect(held).toBe(inFlight[which]);
            if (openOf(which).length === 0) expect(inFlight[which]).toBe(0);
          }
        }
      } finally {
        for (const { reservation } of open) reservation.release();
        tracker.forgetIdle();
      }
    }),
    { numRuns: 200 },
  );
});

describe.each(BAD_AMOUNTS)("%s", (value, errorClass) => {
  test("is refused everywhere, and nothing changes", () => {
    const bad = value as number;
    expect(() => new TenantTokenTracker(bad)).toThrow(errorClass);
    const tracker = new TenantTokenTracker(10);
    using reservation = tracker.reserve(scope("a"), 3);
    expect(() => tracker.reserve(scope("a"), bad)).toThrow(errorClass);
    expect(() => tracker.tryReserve(scope("new"), bad)).toThrow(errorClass);
    const isDelta =
      typeof value === "number" && (Number.isInteger(value) || Math.abs(value) === Number.POSITIVE_INFINITY);
    if (!isDelta || !Number.isFinite(value)) {
      expect(() => tracker.adjust(scope("a"), bad)).toThrow(errorClass);
      expect(() => reservation.adjust(bad)).toThrow(errorClass);
    }
    expect([...tracker.snapshot()]).toEqual([["a", { inFlight: 3, highWater: 3 }]]);
  });
});

test.each([[null], [undefined], [5], ["acme"], [[]], [["acme"]]])("the scope %j is refused", (given) => {
  const tracker = new TenantTokenTracker(10);
  const expected = expect.objectContaining({ code: "ARGUMENT_INVALID" });
  for (const call of [
    () => tracker.reserve(given as never, 1),
    () => tracker.adjust(given as never, 1),
    () => tracker.overCap(given as never),
  ]) {
    expect(call).toThrow(expected);
    expect(call).toThrow("scope must be an object, got ");
  }
});

test.each([7, null, "x".repeat(257)])("the tenant id %j is refused", (tenantId) => {
  const tracker = new TenantTokenTracker(10);
  const call = () => tracker.reserve({ tenantId } as { tenantId: string }, 1);
  expect(call).toThrow(expect.objectContaining({ code: "ARGUMENT_INVALID" }));
});
