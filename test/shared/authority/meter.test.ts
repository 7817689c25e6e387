// A meter over the authority in this process: how each stream ends, and what it does before that.

import * as fc from "fast-check";
import {
  AuthorityError,
  type CallOptions,
  type Meter,
  type RecoveryNotice,
  withReservation,
} from "purser/client";
import { LocalAuthority } from "purser/ledger";
import { describe, expect, test } from "vitest";
import { testClock } from "../../support/ledger-fixtures.ts";
import { localWay } from "../../support/local-way.ts";
import { ACTION, countOn, guardOf, meterSuite, provider, readable } from "../../support/meter-suite.ts";
import { TestTime, until } from "../../support/test-time.ts";

let made = 0;

meterSuite("in this process", async () => {
  made += 1;
  const tenant = localWay(`metered-${made}`);
  const { ledger } = tenant;
  return {
    tenant,
    numbers: new LocalAuthority({ ledger }),
    exact: new LocalAuthority({ ledger, exact: true }),
  };
});

const tokens = (amount: number) => ({ unit: "TOKENS" as const, amount });
const code = (expected: string) => expect.objectContaining({ code: expected });

function rig(allocated = 1_000) {
  const clock = testClock();
  const authority = new LocalAuthority({ tenant: "acme", now: clock.now });
  authority.ledger.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated: tokens(allocated) });
  const figures = async () => {
    const [row] = await authority.balances();
    return `${row?.spent} spent, ${row?.reserved} reserved`;
  };
  return { authority, clock, figures };
}

/** The ledger answers within microtasks; whatever it was asked by then is answered. */
async function answered(): Promise<void> {
  const { port1, port2 } = new MessageChannel();
  await new Promise((resolve) => {
    port1.onmessage = resolve;
    port2.postMessage(null);
  });
  port1.close();
}

describe("by hand", () => {
  test("add waits for what is held, and tells when there is no more", async () => {
    const { authority, figures } = rig(250);
    const meter = (await guardOf(authority, 100)).meter({ extendBy: 50, lowWater: 0 });
    await meter.add(100);
    expect(await figures()).toBe("0 spent, 100 reserved");
    await meter.add(1);
    expect([meter.counted, meter.held]).toEqual([101, 150]);
    await meter.add(149); // more than a step: as much as it takes
    expect([meter.counted, meter.held]).toEqual([250, 250]);
    await expect(meter.add(1)).rejects.toEqual(code("BUDGET_EXHAUSTED"));
    expect(meter.signal.reason).toEqual(code("BUDGET_EXHAUSTED"));
    expect(await meter.settled).toEqual({ ending: "exhausted", source: "local", actual: 251, charged: 250 });
    expect(await figures()).toBe("250 spent, 0 reserved");
  });

  test("who does not wait has what is held and one chunk more", async () => {
    const { authority, figures } = rig();
    const meter = (await guardOf(authority, 100)).meter();
    const adds = Array.from({ length: 30 }, () => meter.add(10));
    expect(meter.signal.aborted).toBe(true);
    expect([meter.counted, meter.late]).toEqual([120, 180]);
    const results = await Promise.allSettled(adds);
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(10);
    expect(await meter.settled).toMatchObject({ ending: "exhausted", actual: 120, charged: 120 });
    expect(await figures()).toBe("120 spent, 0 reserved");
  });

  test("who does not wait goes on where the answer comes in time", async () => {
    const { authority, figures } = rig();
    const meter = (await guardOf(authority, 100)).meter();
    for (let n = 0; n < 30; n++) {
      void meter.add(10);
      await answered();
    }
    expect(await meter.settle()).toEqual({ ending: "finish", source: "local", actual: 300, charged: 300 });
    expect(await figures()).toBe("300 spent, 0 reserved");
  });

  test("settled while a further reservation is on its way: that is given back", async () => {
    const { authority, figures } = rig();
    const meter = (await guardOf(authority, 100)).meter();
    void meter.add(90);
    expect(await meter.settle()).toMatchObject({ actual: 90, charged: 90 });
    expect(await figures()).toBe("90 spent, 0 reserved");
    const rows: string[] = [];
    for await (const { status } of authority.reservations()) rows.push(status);
    expect(rows.sort()).toEqual(["COMMITTED", "RELEASED"]);
  });

  test.each([
    ["settled", (it: Meter) => it.settle(), "estimate", 100],
    ["failed", (it: Meter) => it.fail(), undefined, 0],
    ["dropped", (it: Meter) => it.dispose(), undefined, 0],
  ] as const)("%s with nothing counted", async (_, end, source, spent) => {
    const { authority, figures } = rig();
    const meter = (await guardOf(authority, 100)).meter();
    await end(meter);
    expect(await meter.settled).toMatchObject(
      source === undefined ? { charged: 0 } : { source, charged: spent },
    );
    expect(await figures()).toBe(`${spent} spent, 0 reserved`);
  });

  test("the provider's zero is a charge of nothing", async () => {
    const { authority, figures } = rig();
    const meter = (await guardOf(authority, 100)).meter();
    meter.usage(0);
    expect(await meter.settle()).toEqual({ ending: "finish", source: "provider", actual: 0, charged: 0 });
    expect(await figures()).toBe("0 spent, 0 reserved");
    for await (const row of authority.reservations({ include: ["committedMetadata"] })) {
      expect(row).toMatchObject({ status: "COMMITTED", committedMetadata: { source: "provider" } });
    }
  });

  test("what it has counted is neither committed nor given back around it, nor are its further holds", async () => {
    const { authority, figures } = rig();
    const guard = await guardOf(authority, 50);
    const meter = guard.meter();
    for (let chunk = 0; chunk < 6; chunk++) await meter.add(30);
    const held = await figures();
    await expect(guard.commit({ actual: 180 })).rejects.toEqual(code("METER_OPEN"));
    await expect(guard.release("user")).rejects.toEqual(code("METER_OPEN"));
    expect(await figures()).toBe(held);
    await meter.settle();
    expect(await figures()).toBe("180 spent, 0 reserved");
  });

  test("a guard whose meter saw nothing is given back as any other", async () => {
    const { authority, figures } = rig();
    const guard = await guardOf(authority, 50);
    guard.meter();
    expect(await guard.release("not begun")).toMatchObject({ ok: true });
    expect(await figures()).toBe("0 spent, 0 reserved");
  });

  test("what comes after the end is in no charge, and is told", async () => {
    const { authority, figures } = rig();
    const meter = (await guardOf(authority, 100)).meter();
    await meter.add(30);
    await meter.settle();
    await expect(meter.add(5)).rejects.toEqual(code("METER_ENDED"));
    meter.usage(99);
    expect([meter.counted, meter.late]).toEqual([30, 5]);
    expect(await figures()).toBe("30 spent, 0 reserved");
  });

  test("its guard's scope ends it: what was counted is charged", async () => {
    const { authority, figures } = rig();
    {
      await using guard = await guardOf(authority, 100);
      await guard.meter().add(30);
    }
    expect(await figures()).toBe("30 spent, 0 reserved");
  });

  test("a controller that is aborted before anything began: all goes back", async () => {
    const { authority, figures } = rig();
    const controller = new AbortController();
    controller.abort(new Error("never mind"));
    const meter = (await guardOf(authority, 100)).meter({ controller });
    expect(await meter.settled).toEqual({ ending: "dropped", actual: 0, charged: 0 });
    await expect(meter.add(1)).rejects.toThrow("never mind");
    expect(await figures()).toBe("0 spent, 0 reserved");
  });
});

test("the authority cannot be asked for more: stopped at what is held, with what was thrown as the cause", async () => {
  const { authority, figures } = rig();
  const guard = await guardOf(authority, 100);
  const cause = new AuthorityError("AUTHORITY_UNAVAILABLE", "no answer", { outcome: "unknown" });
  authority.guard = () => Promise.reject(cause);
  const meter = guard.meter();
  await meter.add(100);
  await expect(meter.add(1)).rejects.toMatchObject({ code: "BUDGET_EXHAUSTED", cause });
  expect(await meter.settled).toMatchObject({ actual: 101, charged: 101 });
  expect(await figures()).toBe("101 spent, 0 reserved");
});

test("a policy that takes nothing beyond the hold takes the hold: it was used", async () => {
  const { authority, figures } = rig();
  const meter = (await guardOf(authority, 100, { overagePolicy: "REJECT" })).meter({ lowWater: 0 });
  meter.usage(130);
  expect(await meter.settle()).toEqual({ ending: "finish", source: "provider", actual: 130, charged: 100 });
  expect(await figures()).toBe("100 spent, 0 reserved");
});

test("a charge that cannot be made is what `settled` rejects with; the stream itself ends as it would", async () => {
  const { ledger } = rig().authority;
  // Without timers: what is known to be spent would be tried again, and this test is over by then.
  const authority = new LocalAuthority({ ledger, setTimer: () => () => undefined });
  const guard = await guardOf(authority, 100);
  authority.commit = () =>
    Promise.reject(new AuthorityError("AUTHORITY_UNAVAILABLE", "no answer", { outcome: "unknown" }));
  const meter = guard.meter();
  let read = 0;
  for await (const { text } of meter.wrap(provider([{ text: 10 }], meter.signal), countOn(meter)))
    read += text;
  expect(read).toBe(10);
  await expect(meter.settled).rejects.toEqual(code("AUTHORITY_UNAVAILABLE"));
});

test("the idle clock runs in the reader's turn alone, however slow the provider is, and never after the end", async () => {
  const { ledger } = rig().authority;
  const timers: number[] = [];
  const authority = new LocalAuthority({
    ledger,
    setTimer: (_, delayMs) => {
      timers.push(delayMs);
      return () => void timers.splice(timers.indexOf(delayMs), 1);
    },
  });
  const guard = await authority.guard({ action: ACTION, estimate: tokens(100) }, { heartbeat: false });
  if (!guard.ok) throw new Error(guard.denial.message);
  const meter = guard.meter({ idleTimeoutMs: 7_000 });
  await meter.add(5);
  expect(timers).toEqual([]);
  let send = (_: { text: number }): void => undefined;
  async function* slow() {
    for (;;) {
      yield await new Promise<{ text: number }>((resolve) => {
        send = resolve;
      });
    }
  }
  const iterator = meter.wrap(slow(), countOn(meter));
  expect(timers).toEqual([7_000]);
  for (let turn = 0; turn < 3; turn++) {
    const next = iterator.next();
    await answered();
    expect(timers).toEqual([]);
    send({ text: 10 });
    await next;
    expect(timers).toEqual([7_000]);
  }
  await meter.dispose();
  expect(timers).toEqual([]);
  expect(await meter.settled).toMatchObject({ ending: "dropped", charged: 35 });
});

test("the body of a response goes on into another response, and is settled by whoever reads that", async () => {
  const { authority, figures } = rig();
  const bytes = (size: number): ReadableStream<Uint8Array> => {
    const { body } = new Response(new Uint8Array(size));
    if (body === null) throw new Error("a response without a body");
    return body;
  };
  const whole = (await guardOf(authority, 100)).meter();
  const read = new Response(whole.wrap(bytes(64), (it) => it.byteLength));
  expect((await read.arrayBuffer()).byteLength).toBe(64);
  expect(await whole.settled).toEqual({ ending: "finish", source: "local", actual: 64, charged: 64 });
  const left = (await guardOf(authority, 100)).meter();
  const unread = new Response(left.wrap(bytes(64), (it) => it.byteLength));
  await unread.body?.cancel();
  expect(await left.settled).toMatchObject({ ending: "cancel", source: "estimate", charged: 100 });
  expect(await figures()).toBe("164 spent, 0 reserved");
});

test("amounts are BigInt where the authority's are", async () => {
  const { authority } = rig();
  const exact = new LocalAuthority({ ledger: authority.ledger, exact: true });
  const guard = await exact.guard({ action: ACTION, estimate: tokens(100) });
  if (!guard.ok) throw new Error(guard.denial.message);
  const meter = guard.meter();
  await meter.add(2n ** 5n);
  expect(await meter.settle()).toEqual({ ending: "finish", source: "local", actual: 32n, charged: 32n });
});

test("nothing is read from the provider before the reader asks, and the error of `count` ends it", async () => {
  const { authority, figures } = rig();
  const meter = (await guardOf(authority, 100)).meter();
  const seen = { sent: 0, closed: false };
  const source = provider([{ text: 10 }, { text: 11 }], meter.signal, seen);
  const reader = meter
    .wrap(readable(source), ({ text }) => {
      if (text === 11) throw new Error("odd");
      return text;
    })
    .getReader();
  await answered();
  expect(seen.sent).toBe(0);
  await reader.read();
  await expect(reader.read()).rejects.toThrow("odd");
  expect(await meter.settled).toMatchObject({ ending: "error", charged: 10 });
  expect(await figures()).toBe("10 spent, 0 reserved");
});

test("bad input is an error that names it, and changes nothing", async () => {
  const { authority, figures } = rig();
  const guard = await guardOf(authority, 100);
  for (const options of [
    { extendBy: -1 },
    { extendBy: 0.5 },
    { lowWater: 0.5 },
    { idleTimeoutMs: 0 },
    { idleTimeoutMs: 2 ** 31 },
  ]) {
    expect(() => guard.meter(options)).toThrow(code("ARGUMENT_INVALID"));
  }
  const meter = guard.meter();
  for (const bad of [-1, 0.5, Number.NaN, 2 ** 53]) {
    expect(() => meter.add(bad)).toThrow(code("ARGUMENT_INVALID"));
    expect(() => meter.usage(bad)).toThrow(code("ARGUMENT_INVALID"));
  }
  meter.usage(Number.MAX_SAFE_INTEGER);
  expect(() => meter.add(1)).toThrow(code("ARGUMENT_INVALID"));
  expect(() => guard.meter()).toThrow(code("METER_USED"));
  meter.wrap(provider([], meter.signal), countOn(meter));
  expect(() => meter.wrap(provider([], meter.signal), countOn(meter))).toThrow(code("METER_USED"));
  meter.usage(0);
  await meter.settle();
  expect(() => guard.meter()).toThrow(code("RESERVATION_SETTLED"));
  expect(await figures()).toBe("0 spent, 0 reserved");
});

test("any chunks, steps, budgets and endings: charged is what was used, as far as the budget has it", async () => {
  const ending = fc.constantFrom("finish", "usage", "error", "abort", "break", "dispose", "pagehide");
  const scene = fc.record({
    allocated: fc.integer({ min: 1, max: 400 }),
    estimate: fc.integer({ min: 1, max: 120 }),
    extendBy: fc.integer({ min: 0, max: 120 }),
    lowWater: fc.integer({ min: 0, max: 120 }),
    texts: fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 12 }),
    ending,
    overagePolicy: fc.constantFrom("ALLOW_IF_AVAILABLE" as const, "REJECT" as const),
  });
  // One ledger for all of them, since each has wasm of its own: a budget is a workspace's.
  const authority = new LocalAuthority({ tenant: "acme", now: testClock().now });
  let runs = 0;
  const property = fc.asyncProperty(scene, async ({ texts, ending, ...it }) => {
    fc.pre(it.estimate <= it.allocated);
    runs += 1;
    const subject = { workspace: `w${runs}` };
    const scope = `tenant:acme/workspace:w${runs}`;
    authority.ledger.createBudget({ scope, unit: "TOKENS", allocated: tokens(it.allocated) });
    const guard = await guardOf(authority, it.estimate, { subject, overagePolicy: it.overagePolicy });
    const page = new EventTarget();
    const meter = guard.meter({ extendBy: it.extendBy, lowWater: it.lowWater, page });
    const script = texts.map((text) => ({ text }));
    const total = texts.reduce((sum, text) => sum + text, 7);
    const source = provider(ending === "usage" ? [...script, { text: 0, total }] : script, meter.signal);
    let beforeLast = 0;
    let read = 0;
    try {
      for await (const { text } of meter.wrap(source, countOn(meter))) {
        beforeLast = read;
        read += text;
        // Within one chunk of what is held, at each step.
        expect(beforeLast).toBeLessThanOrEqual(meter.held);
        if (beforeLast + text < 50) continue;
        if (ending === "break") break;
        if (ending === "error") throw new Error("reader");
        if (ending === "abort") void meter.fail(new Error("part"));
        if (ending === "dispose") await meter.dispose();
        if (ending === "pagehide") page.dispatchEvent(new Event("pagehide"));
      }
    } catch (error) {
      expect(String(error)).toMatch(/reader|part|settled|stopped/);
    }
    const settled = await meter.settled;
    const nobodyKnows = texts.length === 0 && ending !== "usage";
    const finished = settled.ending === "finish";
    const used = ending === "usage" && finished ? total : nobodyKnows ? it.estimate : read;
    expect(settled).toMatchObject({ actual: used });
    expect(settled.charged).toBeLessThanOrEqual(used);
    const [balance] = await authority.balances(subject);
    expect(balance).toMatchObject({ spent: settled.charged, reserved: 0, debt: 0 });
    const bound = it.overagePolicy === "REJECT" ? meter.held : it.allocated;
    expect(settled.charged).toBeGreaterThanOrEqual(Math.min(used, meter.held));
    // A page that closes cannot wait for the reservation that was to cover its last chunk, and that one is in the way.
    if (settled.ending !== "page-closed") expect(settled.charged).toBe(Math.min(used, bound));
  });
  await fc.assert(property, { numRuns: 300 });
});

describe("running usage", () => {
  test("of a chunk that has text too covers that text; text after it comes on top", async () => {
    const { authority, figures } = rig();
    const meter = (await guardOf(authority, 100)).meter();
    void meter.add(5);
    type Part = { readonly text: number; readonly used?: number };
    async function* parts(): AsyncGenerator<Part> {
      yield { text: 10, used: 12 };
      yield { text: 10, used: 21 };
      yield { text: 4 };
      yield { text: 10, used: 33 };
    }
    const seen: number[] = [];
    for await (const _ of meter.wrap(parts(), ({ text, used }) => {
      if (used !== undefined) meter.usage(used);
      return text;
    }))
      seen.push(meter.counted);
    expect(seen).toEqual([12, 21, 25, 33]);
    expect(await meter.settled).toEqual({ ending: "finish", source: "provider", actual: 33, charged: 33 });
    expect(await figures()).toBe("33 spent, 0 reserved");
  });

  test("stops a stream whose chunks have text beyond what is held", async () => {
    const { authority, figures } = rig(100);
    const meter = (await guardOf(authority, 100)).meter();
    let used = 0;
    async function* parts() {
      for (;;) yield 30;
    }
    const read = async () => {
      for await (const _ of meter.wrap(parts(), (text) => {
        used += text;
        meter.usage(used);
        return text;
      }));
    };
    await expect(read()).rejects.toEqual(code("BUDGET_EXHAUSTED"));
    expect(await meter.settled).toMatchObject({ ending: "exhausted", source: "provider", actual: 120 });
    expect(await figures()).toBe("100 spent, 0 reserved");
  });
});

describe("a further reservation", () => {
  test("that was refused at low water is asked for again when it is needed", async () => {
    const { authority, figures } = rig(200);
    const other = await guardOf(authority, 100);
    const meter = (await guardOf(authority, 100)).meter({ lowWater: 20 });
    await meter.add(90); // asked, and refused
    await answered();
    expect([meter.isOver, meter.held]).toEqual([false, 100]);
    await other.release();
    await meter.add(30);
    expect([meter.isOver, meter.held]).toEqual([false, 200]);
    expect(await meter.settle()).toMatchObject({ ending: "finish", actual: 120, charged: 120 });
    expect(await figures()).toBe("120 spent, 0 reserved");
  });

  test("that was throttled once is asked for again, each time with a key of its own that another try would have too", async () => {
    const { authority, figures } = rig();
    const guard = await guardOf(authority, 100);
    const ask = authority.guard.bind(authority);
    const keys: (string | undefined)[] = [];
    authority.guard = async (request, options) => {
      keys.push(request.idempotencyKey);
      if (keys.length > 1) return ask(request, options);
      throw new AuthorityError("LIMIT_EXCEEDED", "slow down", { outcome: "refused" });
    };
    const meter = guard.meter({ lowWater: 20 });
    await meter.add(90);
    await answered();
    await meter.add(30);
    expect(await meter.settle()).toMatchObject({ ending: "finish", charged: 120 });
    expect(keys).toEqual([`more-${guard.reservationId}-1`, `more-${guard.reservationId}-2`]);
    expect(await figures()).toBe("120 spent, 0 reserved");
  });

  test("is what the budget has left, where that is less: all of it is used before the stream is stopped", async () => {
    const { authority, figures } = rig(250);
    const meter = (await guardOf(authority, 100)).meter();
    const adds = async () => {
      for (;;) await meter.add(1);
    };
    await expect(adds()).rejects.toEqual(code("BUDGET_EXHAUSTED"));
    expect([meter.counted, meter.held]).toEqual([251, 250]);
    expect(await meter.settled).toMatchObject({ charged: 250 });
    expect(await figures()).toBe("250 spent, 0 reserved");
  });

  test("may be less than the least that the first one wanted", async () => {
    const { authority, figures } = rig();
    const meter = (await guardOf(authority, 100, { min: 80 })).meter({ extendBy: 30 });
    await meter.add(120);
    expect(await meter.settle()).toMatchObject({ ending: "finish", charged: 120 });
    expect(await figures()).toBe("120 spent, 0 reserved");
  });
});

describe("with the guard's own figures", () => {
  test.each([
    ["before what is counted", 40, 70],
    ["alone", 0, 30],
  ])("what `spent` was told is charged with it: %s", async (_, counted, total) => {
    const { authority, figures } = rig();
    const guard = await guardOf(authority, 100);
    guard.spent(30);
    const meter = guard.meter();
    await meter.add(counted);
    await guard.dispose();
    expect(await meter.settled).toEqual({
      ending: "dropped",
      source: "local",
      actual: total,
      charged: total,
    });
    expect(await figures()).toBe(`${total} spent, 0 reserved`);
  });

  test.each(["read to its end", "counted by hand", "settled by hand"])(
    "withReservation gives back the result of a stream %s",
    async (way) => {
      const { authority, figures } = rig();
      const request = { action: ACTION, estimate: tokens(100) };
      const result = await withReservation(authority, request, async (guard) => {
        const meter = guard.meter();
        if (way === "read to its end") {
          for await (const _ of meter.wrap(provider([{ text: 30 }], meter.signal), countOn(meter)));
        } else await meter.add(way === "counted by hand" ? 20 : 30);
        if (way === "settled by hand") await meter.settle();
        return { result: way, actual: 30 };
      });
      expect(result).toBe(way);
      expect(await figures()).toBe("30 spent, 0 reserved");
    },
  );
});

test.each([true, false])(
  "further reservations have the guard's heartbeat: %s, and none of theirs is left at the end",
  async (heartbeat) => {
    const time = new TestTime();
    const authority = new LocalAuthority({ tenant: "acme", ...time.surroundings });
    authority.ledger.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated: tokens(1_000) });
    const guard = await authority.guard({ action: ACTION, estimate: tokens(100) }, { heartbeat });
    if (!guard.ok) throw new Error(guard.denial.message);
    const meter = guard.meter({ lowWater: 0 });
    await meter.add(250);
    expect(meter.held).toBe(250);
    expect(time.timers).toBe(heartbeat ? 2 : 0);
    const beats: string[] = [];
    const extend = authority.extend.bind(authority);
    authority.extend = (id, ...rest) => {
      beats.push(id);
      return extend(id, ...rest);
    };
    await time.advance(59_000);
    expect(new Set(beats).size).toBe(heartbeat ? 2 : 0);
    expect(await meter.settle()).toMatchObject({ charged: 250 });
    expect(time.timers).toBe(0);
  },
);

test("a charge that is refused leaves none of its reservations beating, and what is lost is told", async () => {
  const time = new TestTime();
  const notices: RecoveryNotice[] = [];
  const authority = new LocalAuthority({
    tenant: "acme",
    ...time.surroundings,
    onRecovery: (notice) => void notices.push(notice),
  });
  authority.ledger.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated: tokens(1_000) });
  const guard = await guardOf(authority, 100);
  const meter = guard.meter({ lowWater: 0 });
  await meter.add(250);
  const commit = authority.commit.bind(authority);
  authority.commit = async (id, ...rest) => {
    if (id === guard.reservationId) return commit(id, ...rest);
    throw new AuthorityError("INVALID_REQUEST", "no", { outcome: "refused", status: 400 });
  };
  await expect(meter.settle()).rejects.toEqual(code("INVALID_REQUEST"));
  await time.advance(0);
  expect(notices).toEqual([
    expect.objectContaining({ disposition: "dropped", cause: code("INVALID_REQUEST") }),
  ]);
  expect(time.timers).toBe(0);
});

describe("what is sent at the end", () => {
  /** A meter with two reservations whose commits are held up; `calls` has each commit and release, and its keepalive. */
  async function heldUp() {
    const { authority, figures } = rig();
    const page = new EventTarget();
    const meter = (await guardOf(authority, 100)).meter({ page, lowWater: 0 });
    const calls: string[] = [];
    const waiting: (() => void)[] = [];
    for (const operation of ["commit", "release"] as const) {
      const call = authority[operation].bind(authority) as (...args: unknown[]) => Promise<never>;
      Reflect.set(authority, operation, async (id: string, request: object, options?: CallOptions) => {
        calls.push(`${operation} keepalive ${options?.keepalive}`);
        await new Promise<void>((resolve) => waiting.push(resolve));
        return call(id, request, options);
      });
    }
    const answer = () => {
      for (const resolve of waiting.splice(0)) resolve();
    };
    return { authority, meter, page, calls, answer, figures };
  }

  test("all charges before the first answer: a page may not live to hear it", async () => {
    const { meter, page, calls, answer, figures } = await heldUp();
    await meter.add(150);
    page.dispatchEvent(new Event("pagehide"));
    expect(calls).toEqual(Array(2).fill("commit keepalive true"));
    answer();
    expect(await meter.settled).toMatchObject({ ending: "page-closed", charged: 150 });
    expect(await figures()).toBe("150 spent, 0 reserved");
  });

  test("what is not needed is released the same way", async () => {
    const { meter, page, calls, answer, figures } = await heldUp();
    await meter.add(150);
    meter.usage(90);
    page.dispatchEvent(new Event("pagehide"));
    expect(calls.sort()).toEqual(["commit keepalive true", "release keepalive true"]);
    answer();
    expect(await meter.settled).toMatchObject({ charged: 90 });
    expect(await figures()).toBe("90 spent, 0 reserved");
  });

  test.each([
    ["REJECT", "100 spent"],
    [undefined, "100 spent"],
    ["ALLOW_IF_AVAILABLE", "120 spent"],
  ] as const)(
    "beyond the hold under %s: nothing that may be refused, since nobody is left to send the hold",
    async (overagePolicy, spent) => {
      const { authority, figures } = rig();
      const page = new EventTarget();
      const rest = overagePolicy === undefined ? {} : { overagePolicy };
      const meter = (await guardOf(authority, 100, rest)).meter({ page });
      const commit = authority.commit.bind(authority);
      let commits = 0;
      const committed = new Promise<void>((resolve) => {
        authority.commit = async (...args) => {
          commits += 1;
          await commit(...args);
          resolve();
          // The page is gone: what would follow from an answer is never done.
          return new Promise<never>(() => undefined);
        };
      });
      meter.usage(120);
      page.dispatchEvent(new Event("pagehide"));
      await committed;
      await answered();
      expect(commits).toBe(1);
      expect(await figures()).toBe(`${spent}, 0 reserved`);
    },
  );

  test("any other ending asks for no keepalive, which is scarce in a page", async () => {
    const { meter, calls, answer, figures } = await heldUp();
    await meter.add(150);
    meter.usage(90);
    void meter.settle();
    await until(() => calls.length === 2);
    expect(calls.sort()).toEqual(["commit keepalive false", "release keepalive false"]);
    answer();
    expect(await meter.settled).toMatchObject({ ending: "finish", charged: 90 });
    expect(await figures()).toBe("90 spent, 0 reserved");
  });
});

test("of one call there is one set of metrics, whatever the number of its reservations", async () => {
  const { authority } = rig();
  const meter = (await guardOf(authority, 100)).meter({ lowWater: 0 });
  await meter.add(150);
  const commit = authority.commit.bind(authority);
  const metrics: unknown[] = [];
  authority.commit = (id, request, ...rest) => {
    metrics.push(request.metrics);
    return commit(id, request, ...rest);
  };
  meter.usage(160, { tokensOutput: 160 });
  expect(await meter.settle()).toMatchObject({ charged: 160 });
  expect(metrics).toEqual([{ tokensOutput: 160 }, undefined]);
});

test("a page that closes while a further reservation is under way: charged at once, and that is given back", async () => {
  const { authority, figures } = rig();
  const page = new EventTarget();
  const meter = (await guardOf(authority, 100)).meter({ page });
  const reserve = authority.reserve.bind(authority);
  let grant: () => void = () => expect.fail("not asked");
  authority.reserve = async (...args) => {
    await new Promise<void>((resolve) => {
      grant = resolve;
    });
    return reserve(...args);
  };
  void meter.add(90);
  page.dispatchEvent(new Event("pagehide"));
  expect(await meter.settled).toEqual({ ending: "page-closed", source: "local", actual: 90, charged: 90 });
  expect(await figures()).toBe("90 spent, 0 reserved");
  const release = authority.release.bind(authority);
  const givenBack = new Promise<unknown>((resolve) => {
    authority.release = (...args) => {
      const answer = release(...args);
      resolve(answer);
      return answer;
    };
  });
  grant();
  await givenBack;
  const rows: string[] = [];
  for await (const { status } of authority.reservations()) rows.push(status);
  expect(rows.sort()).toEqual(["COMMITTED", "RELEASED"]);
});

test("a reader that leaves while the provider is silent waits for nobody", async () => {
  const { authority, figures } = rig();
  const meter = (await guardOf(authority, 100)).meter();
  async function* silent() {
    yield { text: 10 };
    await new Promise(() => undefined);
  }
  const iterator = meter.wrap(silent(), countOn(meter));
  await iterator.next();
  const next = iterator.next();
  await answered(); // the provider has been asked
  await Promise.all([iterator.return?.(), expect(next).rejects.toEqual(code("METER_ENDED"))]);
  expect(await meter.settled).toMatchObject({ ending: "cancel", charged: 10 });
  expect(await figures()).toBe("10 spent, 0 reserved");
});

test.each(["ReadableStream", "async iterable"])(
  "a %s that is wrapped after the end is stopped",
  async (shape) => {
    const { authority } = rig();
    const meter = (await guardOf(authority, 100)).meter();
    await meter.fail(new Error("overloaded"));
    const reasons: unknown[] = [];
    const stream = new ReadableStream<{ text: number }>({
      pull: (controller) => controller.enqueue({ text: 1 }),
      cancel: (reason) => void reasons.push(reason),
    });
    if (shape === "ReadableStream") meter.wrap(stream, countOn(meter));
    else {
      const source: AsyncIterable<{ text: number }> = {
        [Symbol.asyncIterator]: () => ({
          next: async () => ({ done: false, value: { text: 1 } }),
          return: async () => {
            reasons.push(meter.signal.reason);
            return { done: true, value: undefined };
          },
        }),
      };
      meter.wrap(source, countOn(meter));
    }
    await answered();
    expect(reasons).toEqual([new Error("overloaded")]);
  },
);

test("a controller that goes on hears no more of a meter that has ended", async () => {
  const { authority } = rig();
  const controller = new AbortController();
  const listeners = new Set<unknown>();
  const { signal } = controller;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
    listeners.add(args[1]);
    addEventListener.apply(signal, args);
  };
  signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
    listeners.delete(args[1]);
    removeEventListener.apply(signal, args);
  };
  const meter = (await guardOf(authority, 100)).meter({ controller });
  expect(listeners.size).toBe(1);
  await meter.settle();
  expect(listeners.size).toBe(0);
});
