// The heartbeat of a guard over the real rules, in time that the test moves: when it beats, that nothing of it is left
// once the guard has ended, and that the call it is for never hears of its failures.

import {
  AuthorityError,
  type Extended,
  type GuardOptions,
  type HeartbeatFailure,
  type ReserveRequest,
  RpcAuthority,
  type RuntimeRpc,
  type Surroundings,
} from "purser/client";
import { LocalAuthority, LocalLedger } from "purser/ledger";
import { describe, expect, test } from "vitest";
import { TestTime } from "../../support/test-time.ts";

const tokens = (amount: number) => ({ unit: "TOKENS" as const, amount });
const REQUEST = { action: { kind: "llm.completion", name: "model" }, estimate: tokens(100), ttlMs: 60_000 };
const unavailable = () => new AuthorityError("AUTHORITY_UNAVAILABLE", "lost", { outcome: "unknown" });

/** What becomes of an extension: it is lost before or after it was decided, takes a while, or is answered like this. */
type Fault = "lost request" | "lost reply" | { takesMs: number } | { sleepsMs: number } | { answer: unknown };

function rig(surroundings: Surroundings = {}, reserveSleepsMs = 0) {
  const time = new TestTime();
  const startMs = time.steadyMs;
  const ledger = new LocalLedger({ tenant: "acme", now: () => time.nowMs });
  ledger.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated: tokens(1_000) });
  const authority = new LocalAuthority({
    ledger,
    ...time.surroundings,
    warn: () => undefined,
    ...surroundings,
  });
  const reserve = authority.reserve.bind(authority);
  authority.reserve = async (...args) => {
    const answer = await reserve(...args);
    time.sleep(reserveSleepsMs);
    return answer;
  };
  /** When each extension was asked for, in seconds since the start, and with which key. */
  const beats: { atSeconds: number; key: string; byMs: number }[] = [];
  const faults: Fault[] = [];
  const extend = authority.extend.bind(authority);
  authority.extend = async (id, request, options) => {
    const atSeconds = (time.steadyMs - startMs) / 1_000;
    beats.push({ atSeconds, key: String(request.idempotencyKey), byMs: request.extendByMs });
    const fault = faults.shift();
    if (fault === "lost request") throw unavailable();
    if (typeof fault === "object" && "answer" in fault) {
      if (fault.answer instanceof Error) throw fault.answer;
      return fault.answer as Extended;
    }
    const takesMs = typeof fault === "object" && "takesMs" in fault ? fault.takesMs : 0;
    time.pass(takesMs / 2);
    const answer = await extend(id, request, options);
    time.pass(takesMs / 2);
    if (typeof fault === "object" && "sleepsMs" in fault) time.sleep(fault.sleepsMs);
    if (fault === "lost reply") throw unavailable();
    return answer;
  };
  const failures: HeartbeatFailure[] = [];
  const open = async (request: Partial<ReserveRequest> = {}, options: GuardOptions = {}) => {
    const onHeartbeatError = (failure: HeartbeatFailure) => void failures.push(failure);
    const guard = await authority.guard({ ...REQUEST, ...request }, { onHeartbeatError, ...options });
    if (!guard.ok) throw new Error(guard.denial.message);
    return guard;
  };
  const figures = async () => {
    const [row] = await authority.balances();
    return `${row?.spent} spent, ${row?.reserved} reserved`;
  };
  const times = () => beats.map(({ atSeconds }) => atSeconds);
  return { time, ledger, authority, beats, times, faults, failures, open, figures };
}

describe("when it beats", () => {
  test("well before the end, by what is left; the reservation lasts as long as the call", async () => {
    const { time, times, failures, open, figures } = rig();
    const guard = await open();
    const firstEndMs = guard.expiresAtMs;
    await time.advance(300_000);
    // 60 s less two tries and a distance of 1 s each; then every 60 s, since each beat adds as much.
    expect(times()).toEqual([57, 117, 177, 237, 297]);
    expect(guard.expiresAtMs).toBe(firstEndMs + 5 * 60_000);
    expect(await figures()).toBe("0 spent, 100 reserved");
    expect(await guard.commit({ actual: 70 })).toMatchObject({ ok: true });
    expect(await figures()).toBe("70 spent, 0 reserved");
    expect(failures).toEqual([]);
    expect(time.timers).toBe(0);
  });

  test.each([
    [1_000, 0.4],
    [5_000, 2],
    [10_000, 7],
    [86_400, 83.4],
  ])("a life of %i ms: never before two fifths of it", async (ttlMs, seconds) => {
    const { time, times, open } = rig();
    await using _guard = await open({ ttlMs });
    await time.advance(seconds * 1_000 - 1);
    expect(times()).toEqual([]);
    await time.advance(1);
    expect(times()).toEqual([seconds]);
  });

  test("the round trip is taken off, and the slowest one widens the distance from the end", async () => {
    const { time, times, faults, open } = rig();
    await using _guard = await open();
    faults.push({ takesMs: 2_000 });
    await time.advance(200_000);
    // Sent at 57: decided at 58 with 62 left, so 119 at the earliest. Two tries and a distance of 2 × 2 s each: 107.
    expect(times().slice(0, 2)).toEqual([57, 107]);
  });

  /** A guard over a way whose first answers get lost: `lossMs` each on the way there and back, a later one `takesMs`. */
  async function openOverLosses(losses: number, { isTold = true } = {}) {
    const { time, ledger } = rig();
    const startMs = time.steadyMs;
    const times: number[] = [];
    let tries = 0;
    const carry = async <T extends object>(decide: () => T): Promise<T> => {
      const isLost = tries++ < losses;
      time.pass(isLost ? 2_000 : 50);
      const reply = decide();
      time.pass(isLost ? 2_000 : 50);
      if (isLost) throw new Error("connection lost");
      const { body } = structuredClone(reply) as { body: Record<string, unknown> };
      if (!isTold) delete body.remaining_ttl_ms;
      return { ...reply, body };
    };
    const tenant = {
      reserve: (request: never) => carry(() => ledger.reserve(request)),
      release: async (id: string, request: never) => ledger.release(id, request),
      extend: (id: string, request: never) => {
        times.push((time.steadyMs - startMs) / 1_000);
        return carry(() => ledger.extend(id, request));
      },
    };
    const authority = new RpcAuthority({
      namespace: { getByName: () => tenant as unknown as RuntimeRpc },
      tenant: "acme",
      ...time.surroundings,
      random: () => 0.5,
      sleep: async (ms) => time.pass(ms),
    });
    const guard = await authority.guard(REQUEST);
    if (!guard.ok) throw new Error(guard.denial.message);
    return { time, times, guard, lose: (count: number) => (losses = tries + count) };
  }

  test("a call that was tried several times: the round trip is that of the try that was answered", async () => {
    const { time, times, guard, lose } = await openOverLosses(1);
    // Made at 2, so it ends at 62. Tried again at 4.125, answered by 4.225 that 57.825 are left: until 61.95 at the
    // earliest. Two tries of 5 and a distance of 1, since no round trip took more than 0.1.
    expect(guard.expiresAtMs - time.nowMs).toBe(57_775);
    await time.advance(60_000 - 4_225);
    expect(times).toEqual([50.95]);
    lose(1);
    await guard.extend(60_000); // asked for at 60, decided at 62, tried again at 64.125
    await time.advance(180_000 - 64_225);
    // Prolonged by 57.825 and by 60: until 179.775 at the earliest, so again at 168.775.
    expect(times.slice(1)).toEqual([60, 64.125, 168.775]);
    await guard.release();
  });

  test("tried several times, and not told what is left: half a life from the first try on", async () => {
    const { time, times, guard } = await openOverLosses(2, { isTold: false });
    await time.advance(60_000 - 8_475);
    expect(times).toEqual([30]);
    await guard.release();
  });

  test("neither the wall clock nor the authority's clock has a say", async () => {
    const { time, times, open, figures } = rig();
    const guard = await open();
    // The authority is asked at its own time; the client's wall clock is put back while the call runs.
    await time.advance(30_000);
    time.nowMs -= 3_600_000;
    await time.advance(30_000);
    expect(times()).toEqual([57]);
    expect(await figures()).toBe("0 spent, 100 reserved");
    await guard.release();
  });

  test("the machine slept: it beats as soon as it looks, and not for the smaller steps of a clock that is set", async () => {
    const { time, times, open } = rig();
    await using guard = await open();
    await time.advance(12_000);
    time.sleep(1_999);
    await time.advance(5_000);
    expect(times()).toEqual([]);
    time.sleep(40_000);
    await time.advance(5_000);
    expect(times()).toEqual([20]);
    const lastsMs = guard.expiresAtMs - time.nowMs;
    await time.advance(lastsMs - 1);
    expect(await guard.commit({ actual: 1 })).toMatchObject({ ok: true });
  });

  test("slept beyond the end: it stops and says so, and the spend is an event", async () => {
    const { time, failures, open, figures } = rig();
    const guard = await open();
    await time.advance(1_000);
    time.sleep(3_600_000);
    await time.advance(5_000);
    expect(failures).toEqual([
      {
        reservationId: guard.reservationId,
        disposition: "stopped",
        error: expect.objectContaining({ code: "RESERVATION_EXPIRED" }),
      },
    ]);
    expect(time.timers).toBe(0);
    expect(await guard.commit({ actual: 70 })).toMatchObject({
      ok: true,
      charged: tokens(70),
      released: tokens(0),
      eventId: expect.any(String),
    });
    expect(await figures()).toBe("70 spent, 0 reserved");
  });

  test("what it slept is gone: a beat that fails after it is not made again later than there is time", async () => {
    const { time, times, faults, failures, open } = rig();
    await using _guard = await open();
    await time.advance(2_000);
    time.sleep(52_000);
    faults.push("lost request");
    await time.advance(5_000);
    // Of the 60 s, 5 on the clock and 52 in sleep are gone: of the 3 that are left a quarter is waited.
    expect(failures).toMatchObject([{ disposition: "retrying" }]);
    await time.advance(750);
    expect(times()).toEqual([5, 5.75]);
  });

  test("slept while the reservation's answer was on its way: that is gone from it", async () => {
    const { time, times, failures, open, figures } = rig({}, 50_000);
    await using guard = await open();
    // Of the 60 s 10 are left: less two tries of 1 s and as much distance.
    await time.advance(7_000);
    expect(times()).toEqual([7]);
    await time.advance(60_000);
    expect(await figures()).toBe("0 spent, 100 reserved");
    expect(failures).toEqual([]);
    expect(await guard.commit({ actual: 70 })).toMatchObject({ ok: true, charged: tokens(70) });
  });

  test("slept while a beat was on its way, answered or lost: that is gone as well", async () => {
    const { time, times, faults, open, figures } = rig();
    await using _guard = await open();
    faults.push({ sleepsMs: 50_000 });
    await time.advance(57_000);
    // The 63 s that were left of it by then are 13.
    await time.advance(10_000);
    expect(times()).toEqual([57, 67]);
    expect(await figures()).toBe("0 spent, 100 reserved");
  });

  test("an authority that does not tell what is left: after half the life that was asked for, each time", async () => {
    const { time, authority, times, open } = rig();
    const [reserve, extend] = [authority.reserve.bind(authority), authority.extend.bind(authority)];
    authority.reserve = async (...args) => {
      const answer = await reserve(...args);
      if (answer.ok) Reflect.deleteProperty(answer, "remainingTtlMs");
      return answer;
    };
    authority.extend = async (...args) => {
      const answer = await extend(...args);
      if (answer.ok) Reflect.deleteProperty(answer, "remainingTtlMs");
      return answer;
    };
    await using _guard = await open({ ttlMs: 20_000 });
    await time.advance(35_000);
    expect(times()).toEqual([10, 20, 30]);
  });

  test("an extension by hand moves the next beat", async () => {
    const { time, times, open } = rig();
    await using guard = await open();
    await time.advance(10_000);
    await guard.extend(30_000);
    await time.advance(76_999);
    expect(times()).toEqual([10]);
    await time.advance(1);
    expect(times()).toEqual([10, 87]);
  });
});

describe("a beat that fails", () => {
  test("is made again with the same key while there is time, is told of, and counts once", async () => {
    const { time, beats, faults, failures, open } = rig();
    const guard = await open();
    const endMs = guard.expiresAtMs;
    faults.push("lost request", "lost reply");
    await time.advance(60_000);
    expect(beats.map(({ key }) => key)).toEqual(Array(3).fill(beats[0]?.key));
    expect(guard.expiresAtMs).toBe(endMs + 60_000);
    const failure = { reservationId: guard.reservationId, disposition: "retrying" };
    expect(failures).toMatchObject([
      { ...failure, error: { code: "AUTHORITY_UNAVAILABLE" } },
      { ...failure, error: { code: "AUTHORITY_UNAVAILABLE" } },
    ]);
    await time.advance(60_000);
    expect(beats[3]?.key).not.toBe(beats[0]?.key);
    await guard.release();
  });

  test("to the last: it stops while there still is time to commit, and the call's commit is made", async () => {
    const { time, beats, times, faults, failures, open, figures } = rig();
    const guard = await open();
    faults.push(...Array<Fault>(100).fill("lost request"));
    await time.advance(60_000);
    expect(failures.at(-1)).toMatchObject({ disposition: "stopped" });
    expect(failures).toHaveLength(beats.length);
    expect(times().at(-1)).toBeLessThan(59);
    expect(time.timers).toBe(0);
    expect(await guard.commit({ actual: 70 })).toMatchObject({ ok: true });
    expect(await figures()).toBe("70 spent, 0 reserved");
  });

  const throttled = (afterMs: number | undefined) => ({
    answer: {
      ok: false,
      denial: {
        code: "LIMIT_EXCEEDED",
        message: "slow down",
        retry: afterMs === undefined ? "when-released" : { afterMs },
      },
    },
  });

  test.each([
    [900, [57, 57.9], "retrying"],
    [undefined, [57, 58], "retrying"],
    [30_000, [57], "stopped"],
  ])("throttled for %s ms", async (afterMs, expected, disposition) => {
    const { time, times, faults, failures, open } = rig();
    await using guard = await open();
    faults.push(throttled(afterMs));
    await time.advance(59_000);
    expect(times()).toEqual(expected);
    expect(failures).toMatchObject([
      { reservationId: guard.reservationId, disposition, error: { code: "LIMIT_EXCEEDED" } },
    ]);
  });

  test.each([
    ["RESERVATION_EXPIRED", 410],
    ["RESERVATION_FINALIZED", 409],
    ["NOT_FOUND", 404],
    ["FORBIDDEN", 403],
    ["INVALID_REQUEST", 400],
  ] as const)("%s: stops at once, and nothing else", async (code, status) => {
    const { time, times, faults, failures, open } = rig();
    const guard = await open();
    faults.push({ answer: new AuthorityError(code, "no", { outcome: "refused", status }) });
    await time.advance(59_000);
    expect(times()).toEqual([57]);
    expect(failures).toMatchObject([{ disposition: "stopped", error: { code } }]);
    expect(time.timers).toBe(0);
    expect(guard.isOver).toBe(false);
    await guard.commit({ actual: 1 });
  });

  test("what has stopped it for good stops it also after a commit that was denied", async () => {
    const { time, times, faults, open } = rig();
    const guard = await open({ overagePolicy: "REJECT" });
    faults.push({ answer: new AuthorityError("NOT_FOUND", "no", { outcome: "refused", status: 404 }) });
    await time.advance(57_000);
    expect(await guard.commit({ actual: 101 })).toMatchObject({ ok: false });
    expect(time.timers).toBe(0);
    expect(times()).toEqual([57]);
    await guard.commit({ actual: 100 });
  });

  test("the authority's own limits: extended ten times, then it stops and the rest of the time is left", async () => {
    const { time, times, failures, open, figures } = rig();
    const guard = await open();
    await time.advance(11 * 60_000 - 1);
    expect(times()).toHaveLength(11);
    expect(failures).toMatchObject([
      { disposition: "stopped", error: { code: "MAX_EXTENSIONS_EXCEEDED", retry: "never" } },
    ]);
    expect(await guard.commit({ actual: 70 })).toMatchObject({ ok: true });
    expect(await figures()).toBe("70 spent, 0 reserved");
  });

  test("an authority that leaves no time is asked once, and no more", async () => {
    const { time, authority, times, faults, failures, open } = rig();
    const none = { ok: true as const, expiresAtMs: 0, remainingTtlMs: 0 };
    faults.push({ answer: none }, { answer: none }, { answer: none });
    const reserve = authority.reserve.bind(authority);
    authority.reserve = async (...args) => {
      const answer = await reserve(...args);
      return answer.ok ? { ...answer, remainingTtlMs: 0 } : answer;
    };
    await using _guard = await open();
    await time.advance(1_000);
    expect(times()).toEqual([0]);
    expect(failures).toMatchObject([{ disposition: "stopped", error: { code: "AUTHORITY_TIMEOUT" } }]);
  });

  test.each([
    [
      "throws",
      () => {
        throw new Error("from the listener");
      },
    ],
    [
      "rejects",
      async () => {
        throw new Error("from the listener");
      },
    ],
  ])("nobody listens, or who listens %s: the call goes on", async (_, onHeartbeatError) => {
    const { time, authority, times, faults, open, figures } = rig();
    const deaf = await authority.guard(REQUEST);
    if (!deaf.ok) throw new Error(deaf.denial.message);
    const angry = await open({}, { onHeartbeatError });
    faults.push("lost request", "lost request");
    await time.advance(59_000);
    expect(times()).toEqual([57, 57, 57.75, 57.75]);
    await deaf.commit({ actual: 1 });
    await angry.commit({ actual: 2 });
    expect(await figures()).toBe("3 spent, 0 reserved");
  });
});

describe("nothing of it is left", () => {
  test.each(["commit", "release", "dispose"] as const)("after %s", async (end) => {
    const { time, beats, open } = rig();
    const guard = await open();
    expect(time.timers).toBe(1);
    if (end === "commit") await guard.commit({ actual: 1 });
    else await guard[end]();
    expect(time.timers).toBe(0);
    await time.advance(600_000);
    expect(beats).toEqual([]);
  });

  test("where it was not wanted", async () => {
    const { time, open, figures } = rig();
    await open({}, { heartbeat: false });
    expect(time.timers).toBe(0);
    await time.advance(65_001);
    expect(await figures()).toBe("0 spent, 0 reserved");
  });

  test("after a settlement whose answer was lost: it is the recovery's now", async () => {
    const { time, authority, beats, open } = rig();
    const commit = authority.commit.bind(authority);
    let isFirst = true;
    authority.commit = async (...args) => {
      if (!isFirst) return commit(...args);
      isFirst = false;
      throw unavailable();
    };
    const guard = await open();
    await expect(guard.commit({ actual: 1 })).rejects.toMatchObject({ code: "AUTHORITY_UNAVAILABLE" });
    await time.advance(58_000);
    expect(beats).toEqual([]);
    expect(time.timers).toBe(0);
  });

  test("a beat that is under way is given up", async () => {
    const { time, authority, failures, open } = rig();
    const signals: (AbortSignal | undefined)[] = [];
    authority.extend = (_id, _request, options) => {
      signals.push(options?.signal);
      return new Promise((_, reject) =>
        options?.signal?.addEventListener("abort", () => reject(options.signal?.reason)),
      );
    };
    const guard = await open();
    await time.advance(58_000);
    await guard.commit({ actual: 1 });
    await time.advance(1_000);
    expect(signals.map((it) => it?.aborted)).toEqual([true]);
    expect(failures).toEqual([]);
    expect(time.timers).toBe(0);
  });

  test("but a commit that is denied leaves the guard open, and it beats on", async () => {
    const { time, times, open } = rig();
    const guard = await open({ overagePolicy: "REJECT" });
    await time.advance(10_000);
    expect(await guard.commit({ actual: 101 })).toMatchObject({ ok: false });
    await time.advance(47_000);
    expect(times()).toEqual([57]);
    await guard.commit({ actual: 100 });
    expect(time.timers).toBe(0);
  });
});

describe("a guard that is forgotten", () => {
  test("is counted and warned of once, its heartbeat ends, and its time frees the budget", async () => {
    const collect = new Set<() => void>();
    const warnings: string[] = [];
    const { time, authority, beats, open, figures } = rig({
      warn: (message) => void warnings.push(message),
      watch: (_target, onCollected) => {
        collect.add(onCollected);
        return () => void collect.delete(onCollected);
      },
    });
    const first = await open();
    await open();
    await (await open()).release();
    await (await open()).commit({ actual: 1 });
    await (await open()).dispose();
    const denied = await open({ overagePolicy: "REJECT" });
    await denied.commit({ actual: 101 });
    await denied.commit({ actual: 1 });
    expect(collect.size).toBe(2); // those that ended are watched no more
    for (const run of collect) run();
    expect(authority.leakedGuards).toBe(2);
    expect(warnings).toEqual([expect.stringContaining(first.reservationId)]);
    expect(time.timers).toBe(0);
    expect(await figures()).toBe("2 spent, 200 reserved");
    await time.advance(65_001);
    expect(beats).toEqual([]);
    expect(await figures()).toBe("2 spent, 0 reserved");
  });
});

test("a guard that is forgotten after a denied commit is counted too, and beats no more", async () => {
  const collect = new Set<() => void>();
  const { time, authority, open, figures } = rig({
    warn: () => undefined,
    watch: (_target, onCollected) => {
      collect.add(onCollected);
      return () => void collect.delete(onCollected);
    },
  });
  const guard = await open({ overagePolicy: "REJECT" });
  expect(await guard.commit({ actual: 101 })).toMatchObject({ denial: { code: "BUDGET_EXCEEDED" } });
  expect(collect.size).toBe(1);
  for (const run of collect) run();
  expect(authority.leakedGuards).toBe(1);
  expect(time.timers).toBe(0);
  await time.advance(65_001);
  expect(await figures()).toBe("0 spent, 0 reserved");
});

test("a guard that is forgotten where no timer may be touched any more is counted, and beats no more", async () => {
  const collect = new Set<() => void>();
  const { time, authority, beats, open } = rig({
    watch: (_target, onCollected) => {
      collect.add(onCollected);
      return () => void collect.delete(onCollected);
    },
    setTimer: (run, delayMs) => {
      time.surroundings.setTimer(run, delayMs);
      return () => {
        throw new Error("outside of any request");
      };
    },
  });
  await open();
  for (const run of collect) run();
  expect(authority.leakedGuards).toBe(1);
  await time.advance(600_000);
  expect(beats).toEqual([]);
  expect(time.timers).toBe(0);
});

test("with the platform's own clocks and timers it beats as well", async () => {
  const ledger = new LocalLedger({ tenant: "acme", now: Date.now });
  ledger.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated: tokens(1_000) });
  const authority = new LocalAuthority({ ledger });
  const extend = authority.extend.bind(authority);
  const extended = new Promise<number>((resolve) => {
    authority.extend = async (...args) => {
      const answer = await extend(...args);
      if (answer.ok) resolve(answer.expiresAtMs);
      return answer;
    };
  });
  const guard = await authority.guard({ ...REQUEST, ttlMs: 1_000 });
  if (!guard.ok) throw new Error(guard.denial.message);
  const endMs = guard.expiresAtMs;
  expect(await extended).toBe(endMs + 1_000);
  await guard.release();
});
