// The guard and its scoped form over the real rules: settled once, released by nobody who spent, and never thought to be
// settled before the authority has said so. Answers are lost after the ledger has decided, or before it is asked.

import { AuthorityError, isToolAllowed, type ReservationGuard, withReservation } from "purser/client";
import { LocalAuthority, LocalLedger, stringifyJson } from "purser/ledger";
import { describe, expect, test } from "vitest";
import { testClock } from "../../support/ledger-fixtures.ts";
import { settled, TestTime } from "../../support/test-time.ts";

const tokens = (amount: number) => ({ unit: "TOKENS" as const, amount });
const REQUEST = { action: { kind: "llm.completion", name: "model" }, estimate: tokens(100), ttlMs: 10_000 };
const OPERATIONS = ["commit", "release", "extend"] as const;

function rig(time?: TestTime) {
  const clock = testClock();
  const ledger = new LocalLedger({ tenant: "acme", now: clock.now });
  ledger.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated: tokens(1_000) });
  // Some guards are forgotten here, since what becomes of them is not the test's subject.
  const authority = new LocalAuthority({
    ledger,
    warn: () => undefined,
    // What goes on by itself waits first. Drawn as 0 it would be asked before the test looks.
    random: () => 0.5,
    ...time?.surroundings,
  });
  /** What the guard asked for, in order: operation, and what tells one call from another. */
  const asked: string[] = [];
  /** What becomes of the next calls. */
  const faults: ("lost request" | "lost reply")[] = [];
  for (const operation of OPERATIONS) {
    const ask = authority[operation].bind(authority) as (...args: never[]) => Promise<unknown>;
    Reflect.set(authority, operation, async (id: string, request: object, options?: object) => {
      const { idempotencyKey: _, ...shown } = request as Record<string, unknown>;
      asked.push(`${operation} ${stringifyJson(shown)}`);
      const fault = faults.shift();
      if (fault !== "lost request") {
        const answer = await ask(...([id, request, options] as never[]));
        if (fault === undefined) return answer;
      }
      throw new AuthorityError("AUTHORITY_UNAVAILABLE", fault ?? "", { outcome: "unknown" });
    });
  }
  const figures = async () => {
    const [row] = await authority.balances();
    return `${row?.spent} spent, ${row?.reserved} reserved`;
  };
  const open = async (
    rest: Partial<Parameters<LocalAuthority["guard"]>[0]> = {},
  ): Promise<ReservationGuard> => {
    const guard = await authority.guard({ ...REQUEST, ...rest });
    if (!guard.ok) throw new Error(guard.denial.message);
    return guard;
  };
  return { clock, ledger, authority, asked, faults, figures, open };
}

const code = (expected: string) => expect.objectContaining({ code: expected });
const SETTLED = "RESERVATION_SETTLED";

describe("a guard", () => {
  test("shows what was granted; a denial is no guard", async () => {
    const { authority, clock, open, figures } = rig();
    const guard = await open();
    expect(guard).toMatchObject({
      ok: true,
      reservationId: expect.any(String),
      decision: "ALLOW",
      isCapped: false,
      caps: undefined,
      reserved: tokens(100),
      expiresAtMs: clock.now() + 10_000,
      affectedScopes: ["tenant:acme"],
      isOver: false,
    });
    expect(await authority.guard({ ...REQUEST, estimate: tokens(901) })).toMatchObject({
      ok: false,
      denial: { code: "BUDGET_EXCEEDED", retry: "when-released" },
    });
    expect(await figures()).toBe("0 spent, 100 reserved");
  });

  test("carries the caps of the tenant's policy", async () => {
    const { ledger, open } = rig();
    const caps = { max_tokens: 50, tool_allowlist: ["search"] };
    const made = ledger.createPolicy({ name: "careful", scope_pattern: "tenant:acme", caps });
    expect(made).toMatchObject({ ok: true });
    const guard = await open();
    expect(guard).toMatchObject({
      decision: "ALLOW_WITH_CAPS",
      isCapped: true,
      caps: { maxTokens: 50, toolAllowlist: ["search"] },
    });
    expect([isToolAllowed(guard.caps, "search"), isToolAllowed(guard.caps, "shell")]).toEqual([true, false]);
  });

  test.each(["commit", "release"] as const)(
    "after a %s a second settlement is an error and sends nothing",
    async (end) => {
      const { asked, open, figures } = rig();
      const guard = await open();
      await (end === "commit" ? guard.commit({ actual: 70 }) : guard.release("done"));
      const left = end === "commit" ? "70 spent, 0 reserved" : "0 spent, 0 reserved";
      expect(await figures()).toBe(left);
      expect(guard.isOver).toBe(true);
      const before = asked.length;
      await expect(guard.commit({ actual: 70 })).rejects.toEqual(code(SETTLED));
      await expect(guard.release()).rejects.toEqual(code(SETTLED));
      await expect(guard.extend(1)).rejects.toEqual(code(SETTLED));
      await guard.dispose();
      expect(asked).toHaveLength(before);
      expect(await figures()).toBe(left);
    },
  );

  test("two settlements at once: the second is an error", async () => {
    const { open, figures } = rig();
    const guard = await open();
    const [first, second] = await Promise.allSettled([guard.commit({ actual: 70 }), guard.release()]);
    expect(first).toMatchObject({ status: "fulfilled", value: { ok: true } });
    expect(second).toEqual({ status: "rejected", reason: code(SETTLED) });
    expect(await figures()).toBe("70 spent, 0 reserved");
  });

  test("dropped by its scope: released as guard_dropped, or committed with what was spent so far", async () => {
    const { asked, open, figures } = rig();
    {
      await using guard = await open();
      expect(guard.isOver).toBe(false);
    }
    expect(asked).toEqual(['release {"reason":"guard_dropped"}']);
    expect(await figures()).toBe("0 spent, 0 reserved");
    {
      await using guard = await open();
      guard.spent(30);
      guard.spent(12n);
    }
    expect(await figures()).toBe("42 spent, 0 reserved");
  });

  test("dropped while a commit is under way: it waits, and releases nothing", async () => {
    const { asked, open, figures } = rig();
    {
      await using guard = await open();
      void guard.commit({ actual: 70 });
    }
    expect(asked).toHaveLength(1);
    expect(await figures()).toBe("70 spent, 0 reserved");
  });

  describe.each(["lost request", "lost reply"] as const)("a commit with a %s", (fault) => {
    test("is not over: only the same one can be made again, and it counts once", async () => {
      const { faults, asked, open, figures } = rig(new TestTime());
      const guard = await open();
      faults.push(fault);
      await expect(guard.commit({ actual: 70 })).rejects.toEqual(code("AUTHORITY_UNAVAILABLE"));
      expect(guard.isOver).toBe(false);
      await expect(guard.commit({ actual: 71 })).rejects.toEqual(code("SETTLEMENT_PENDING"));
      await expect(guard.release()).rejects.toEqual(code("SETTLEMENT_PENDING"));
      expect(asked).toHaveLength(1);
      expect(await guard.commit({ actual: 70 })).toMatchObject({ ok: true, charged: tokens(70) });
      expect(await figures()).toBe("70 spent, 0 reserved");
    });

    test("is made once more when the guard is dropped, and never turned into a release", async () => {
      const { faults, asked, open, figures } = rig(new TestTime());
      faults.push(fault);
      const work = async (): Promise<void> => {
        await using guard = await open();
        await guard.commit({ actual: 70 });
      };
      await expect(work()).rejects.toEqual(code("AUTHORITY_UNAVAILABLE"));
      expect(asked).toHaveLength(2);
      expect(asked[1]).toBe(asked[0]);
      expect(await figures()).toBe("70 spent, 0 reserved");
    });
  });

  test("nothing can be reached: dropping it does not throw, and its TTL gives the budget back", async () => {
    const { faults, clock, open, figures } = rig();
    faults.push("lost request");
    {
      await using guard = await open();
      expect(guard.isOver).toBe(false);
    }
    expect(await figures()).toBe("0 spent, 100 reserved");
    clock.advance(15_001);
    expect(await figures()).toBe("0 spent, 0 reserved");
  });

  test("dropped twice at once, and by its scope while its meter fails: the second waits for the first", async () => {
    const { asked, faults, open, figures } = rig(new TestTime());
    faults.push("lost request", "lost request");
    {
      await using metered = await open();
      await metered.meter().add(10);
    }
    await settled(); // what is rejected and heard by nobody fails the run
    expect(await figures()).toBe("0 spent, 100 reserved");
    asked.length = 0;
    const guard = await open();
    await Promise.all([guard.dispose(), guard.dispose()]);
    expect(asked).toHaveLength(1);
    expect(guard.isOver).toBe(true);
    expect(await figures()).toBe("0 spent, 100 reserved");
  });

  test("what `spent` was told is committed by a release, too, and nothing can be told afterwards", async () => {
    const { open, figures } = rig();
    const guard = await open();
    guard.spent(30);
    expect(await guard.release()).toMatchObject({ ok: true, released: tokens(70) });
    expect(() => guard.spent(1)).toThrow(code(SETTLED));
    expect(await figures()).toBe("30 spent, 0 reserved");
    const denied = await open({ overagePolicy: "REJECT" });
    await denied.commit({ actual: 101 });
    await expect(denied.release()).rejects.toEqual(code("SPEND_KNOWN"));
    expect(await figures()).toBe("30 spent, 100 reserved");
  });

  test("a commit that is denied leaves it open, and dropping it charges as far as the hold goes", async () => {
    const { asked, open, figures } = rig();
    {
      await using guard = await open({ overagePolicy: "REJECT" });
      expect(await guard.commit({ actual: 101 })).toMatchObject({ denial: { code: "BUDGET_EXCEEDED" } });
      expect(guard.isOver).toBe(false);
    }
    expect(asked).toHaveLength(3);
    expect(await figures()).toBe("100 spent, 0 reserved");
    const guard = await open({ overagePolicy: "REJECT" });
    await guard.commit({ actual: 101 });
    expect(await guard.commit({ actual: 100 })).toMatchObject({ ok: true });
  });

  test("expired: the commit becomes an event of the same key, once", async () => {
    const { clock, ledger, asked, open, figures } = rig();
    const guard = await open({ subject: { agent: "writer" } });
    clock.advance(15_001);
    const metrics = { tokensOutput: 20 };
    const booked = await guard.commit({ actual: 70, metrics, metadata: { run: 7 } });
    expect(booked).toMatchObject({ ok: true, charged: tokens(70), released: tokens(0) });
    expect(guard.isOver).toBe(true);
    await guard.dispose();
    expect(asked).toHaveLength(1);
    expect(await figures()).toBe("70 spent, 0 reserved");
    // The same event, as anybody would send it, is known: its key, subject, action, amount, metrics and metadata.
    const id = guard.reservationId;
    const again = ledger.event({
      idempotency_key: `commit-${id}`,
      subject: { tenant: "acme", agent: "writer" },
      action: REQUEST.action,
      actual: tokens(70),
      metrics: { tokens_output: 20 },
      metadata: {
        run: 7,
        recovered_reservation_id: id,
        recovery_reason: "commit_after_reservation_expired",
      },
    });
    expect(again).toMatchObject({ ok: true, body: { event_id: booked.ok && booked.eventId } });
    expect(await figures()).toBe("70 spent, 0 reserved");
  });

  test("expired: a release says so, and the guard is over", async () => {
    const { clock, asked, open } = rig();
    const guard = await open();
    clock.advance(15_001);
    await expect(guard.release()).rejects.toEqual(code("RESERVATION_EXPIRED"));
    expect(guard.isOver).toBe(true);
    await guard.dispose();
    expect(asked).toHaveLength(1);
  });

  test("a bad amount is an error that names it, changes nothing and sends nothing", async () => {
    const { asked, open } = rig();
    const guard = await open();
    for (const bad of [-1, 0.5, Number.NaN, 2 ** 53]) {
      await expect(guard.commit({ actual: bad })).rejects.toEqual(code("ARGUMENT_INVALID"));
      expect(() => guard.spent(bad)).toThrow(code("ARGUMENT_INVALID"));
    }
    await expect(guard.extend(0)).rejects.toEqual(code("ARGUMENT_INVALID"));
    expect(asked).toEqual([]);
    await guard.dispose();
    expect(asked).toEqual(['release {"reason":"guard_dropped"}']);
  });

  test("extended: lasts longer; the same extension after a lost reply is one", async () => {
    const { faults, clock, open } = rig();
    const guard = await open();
    const firstEndMs = clock.now() + 10_000;
    await guard.extend(5_000);
    expect(guard.expiresAtMs).toBe(firstEndMs + 5_000);
    faults.push("lost reply");
    await expect(guard.extend(5_000)).rejects.toEqual(code("AUTHORITY_UNAVAILABLE"));
    await guard.extend(5_000);
    expect(guard.expiresAtMs).toBe(firstEndMs + 10_000);
    await guard.extend(5_000);
    expect(guard.expiresAtMs).toBe(firstEndMs + 15_000);
  });

  test("extended twice at once by as much: each is its own, also while one that was lost is made again", async () => {
    const { faults, clock, open } = rig();
    const guard = await open();
    const firstEndMs = clock.now() + 10_000;
    await Promise.all([guard.extend(5_000), guard.extend(5_000)]);
    expect(guard.expiresAtMs).toBe(firstEndMs + 10_000);
    faults.push("lost reply");
    await expect(guard.extend(5_000)).rejects.toEqual(code("AUTHORITY_UNAVAILABLE"));
    await Promise.all([guard.extend(5_000), guard.extend(5_000)]);
    expect(guard.expiresAtMs).toBe(firstEndMs + 20_000);
    await guard.release();
  });

  test("an extension that was lost is forgotten once another one was answered: by then it is a new one", async () => {
    const { faults, clock, open } = rig();
    const guard = await open();
    const firstEndMs = clock.now() + 10_000;
    faults.push("lost reply");
    await expect(guard.extend(5_000)).rejects.toEqual(code("AUTHORITY_UNAVAILABLE"));
    await guard.extend(1_000);
    await guard.extend(5_000);
    expect(guard.expiresAtMs).toBe(firstEndMs + 11_000);
    await guard.release();
  });
});

test("a denial says when the budget's period ends, and when that alone will cover the estimate", async () => {
  const { authority, ledger, clock } = rig();
  const hourMs = 3_600_000;
  const budget = { scope: "tenant:acme", unit: "TOKENS" as const };
  ledger.setPeriod(budget, {
    kind: "every",
    every_ms: hourMs,
    starts_at: new Date(clock.now()).toISOString(),
  });
  await authority.recordEvent({ action: REQUEST.action, actual: tokens(990) });
  clock.advance(1_000);
  const asked = await authority.reserve(REQUEST);
  if (asked.ok) throw new Error("there are 10 left");
  expect(asked.denial).toMatchObject({
    code: "BUDGET_EXCEEDED",
    resetsAtMs: clock.now() + hourMs - 1_000,
    retry: { afterMs: hourMs - 1_000 },
  });
  const { action, estimate } = REQUEST;
  expect(await authority.decide({ action, estimate })).toMatchObject({
    denial: { retry: asked.denial.retry },
  });
});

describe("what its caller aborted", () => {
  test.each([
    [
      "a commit",
      "70 spent, 0 reserved",
      (guard: ReservationGuard, how: object) => guard.commit({ actual: 70 }, how),
    ],
    [
      "a release",
      "0 spent, 0 reserved",
      (guard: ReservationGuard, how: object) => guard.release("done", how),
    ],
  ] as const)(
    "%s is made by the end of the scope, which hears nothing of the abort",
    async (_, left, settle) => {
      const { open, figures } = rig();
      const guard = await open();
      const signal = AbortSignal.abort(new Error("user left"));
      await expect(settle(guard, { signal })).rejects.toThrow("user left");
      await guard.dispose();
      expect(await figures()).toBe(left);
    },
  );

  test("within a scoped form that was aborted too: nothing is rejected that nobody hears", async () => {
    const { authority, figures } = rig();
    const stop = new AbortController();
    const { signal } = stop;
    const work = withReservation(
      authority,
      REQUEST,
      async (guard) => {
        stop.abort(new Error("stop"));
        await guard.release("done", { signal });
        return { result: 1, actual: 0 };
      },
      { signal },
    );
    await expect(work).rejects.toThrow("stop");
    await settled();
    expect(await figures()).toBe("0 spent, 0 reserved");
  });
});

describe("what is said beside a spend, and cannot be taken", () => {
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  test.each([
    ["a metric that is no integer", { metrics: { latencyMs: 12.34 } }],
    ["a name that is too long", { metrics: { modelVersion: "m".repeat(200) } }],
    ["a metric that is no number", { metrics: { latencyMs: Number.NaN } }],
    ["metadata that contains itself", { metadata: circle }],
  ])("%s: told to the caller, and the spend is charged", async (_, beside) => {
    const { authority, figures } = rig();
    const used = { result: 1, actual: 70, ...beside } as { result: number; actual: number };
    await expect(withReservation(authority, REQUEST, () => used)).rejects.toMatchObject({
      code: expect.stringMatching(/^(INVALID_REQUEST|ARGUMENT_INVALID)$/),
    });
    expect(await figures()).toBe("70 spent, 0 reserved");
  });
});

describe("withReservation", () => {
  test("commits what the callback says it used", async () => {
    const { authority, figures } = rig();
    const text = await withReservation(authority, REQUEST, async (guard) => {
      expect(guard.reserved).toEqual(tokens(100));
      return { result: "hello", actual: 70, metrics: { tokensOutput: 20 } };
    });
    expect(text).toBe("hello");
    expect(await figures()).toBe("70 spent, 0 reserved");
  });

  test.each([
    ["commits", "70 spent, 0 reserved", (guard: ReservationGuard) => guard.commit({ actual: 70 })],
    ["releases", "0 spent, 0 reserved", (guard: ReservationGuard) => guard.release("not needed")],
  ] as const)(
    "whose callback %s by itself: its result, and nothing more is sent",
    async (_, left, settle) => {
      const { authority, asked, figures } = rig();
      const work = withReservation(authority, REQUEST, async (guard) => {
        await settle(guard);
        return { result: "hello", actual: 50 };
      });
      expect(await work).toBe("hello");
      expect(asked).toHaveLength(1);
      expect(await figures()).toBe(left);
    },
  );

  test("whose callback is still committing as it returns: its result, and that commit is waited for", async () => {
    const { authority, asked, figures } = rig();
    const work = withReservation(authority, REQUEST, (guard) => {
      void guard.commit({ actual: 70 });
      return { result: "hello", actual: 70 };
    });
    expect(await work).toBe("hello");
    expect(asked).toHaveLength(1);
    expect(await figures()).toBe("70 spent, 0 reserved");
  });

  test.each(["lost request", "lost reply"] as const)(
    "whose callback's own commit met a %s: its result, and that commit is made again",
    async (fault) => {
      const { authority, asked, faults, figures } = rig(new TestTime());
      const work = withReservation(authority, REQUEST, async (guard) => {
        faults.push(fault);
        await guard.commit({ actual: 70 }).catch(() => undefined);
        return { result: "hello", actual: 50 };
      });
      expect(await work).toBe("hello");
      expect(asked).toEqual(Array(2).fill(asked[0]));
      expect(await figures()).toBe("70 spent, 0 reserved");
    },
  );

  test("whose callback commits around its meter: it hears of it, and what was counted is charged", async () => {
    const { authority, figures } = rig();
    const work = withReservation(authority, REQUEST, async (guard) => {
      await guard.meter().add(30);
      await guard.commit({ actual: 70 });
      return { result: "hello", actual: 30 };
    });
    await expect(work).rejects.toMatchObject({ code: "METER_OPEN" });
    expect(await figures()).toBe("30 spent, 0 reserved");
  });

  test("denied: the callback is not called", async () => {
    const { authority } = rig();
    const work = withReservation(authority, { ...REQUEST, estimate: tokens(1_001) }, () =>
      expect.fail("called"),
    );
    await expect(work).rejects.toMatchObject({
      code: "BUDGET_DENIED",
      denial: { code: "BUDGET_EXCEEDED", retry: "never" },
    });
  });

  test.each([
    [0, "0 spent, 0 reserved"],
    [30, "30 spent, 0 reserved"],
  ])("a throw after %i were spent", async (spent, left) => {
    const { authority, figures } = rig();
    const work = withReservation(authority, REQUEST, (guard) => {
      guard.spent(spent);
      throw new Error("no model");
    });
    await expect(work).rejects.toThrow("no model");
    expect(await figures()).toBe(left);
  });

  test.each([
    ["returns what it used", { result: 1, actual: 70 }, "70 spent, 0 reserved"],
    ["throws", new Error("aborted"), "40 spent, 0 reserved"],
    ["never ends", undefined, "40 spent, 0 reserved"],
  ])("aborted: rejects at once, and is settled once the callback %s", async (_, end, left) => {
    const time = new TestTime();
    const { authority, figures } = rig(time);
    const stop = new AbortController();
    let finish: (end: { result: number; actual: number } | Error) => void = () => undefined;
    const work = withReservation(
      authority,
      REQUEST,
      async (guard) => {
        stop.abort(new Error("page closed"));
        const late = await new Promise<{ result: number; actual: number } | Error>((resolve) => {
          finish = resolve;
          queueMicrotask(() => guard.spent(40));
        });
        if (late instanceof Error) throw late;
        return late;
      },
      { signal: stop.signal, heartbeat: false },
    );
    await expect(work).rejects.toThrow("page closed");
    expect(await figures()).toBe("0 spent, 100 reserved");
    if (end !== undefined) finish(end);
    await time.advance(end === undefined ? 30_000 : 0);
    expect(await figures()).toBe(left);
    expect(time.timers).toBe(0);
  });

  test("aborted, and answers that at once with what it used: that is committed", async () => {
    const { authority, figures } = rig(new TestTime());
    const stop = new AbortController();
    const work = withReservation(
      authority,
      REQUEST,
      () =>
        new Promise<{ result: number; actual: number }>((resolve) => {
          stop.signal.addEventListener("abort", () => resolve({ result: 1, actual: 7 }));
          queueMicrotask(() => stop.abort(new Error("page closed")));
        }),
      { signal: stop.signal },
    );
    await expect(work).rejects.toThrow("page closed");
    await settled();
    expect(await figures()).toBe("7 spent, 0 reserved");
  });

  test.each([0, 1, 2, 3, 4, 8])(
    "aborted %i microtasks after it has returned: what it used is committed",
    async (turns) => {
      const time = new TestTime();
      const { authority, figures } = rig(time);
      const stop = new AbortController();
      const work = withReservation(
        authority,
        REQUEST,
        async () => {
          queueMicrotask(async () => {
            for (let turn = 0; turn < turns; turn++) await undefined;
            stop.abort(new Error("page closed"));
          });
          return { result: 1, actual: 7 };
        },
        { signal: stop.signal },
      );
      await work.catch((error) => expect(error.message).toBe("page closed"));
      await settled();
      expect(await figures()).toBe("7 spent, 0 reserved");
      expect(time.timers).toBe(0);
    },
  );

  test("aborted before it: nothing is reserved", async () => {
    const { authority, figures } = rig();
    const signal = AbortSignal.abort(new Error("page closed"));
    await expect(
      withReservation(authority, REQUEST, () => expect.fail("called"), { signal }),
    ).rejects.toThrow("page closed");
    expect(await figures()).toBe("0 spent, 0 reserved");
  });

  test("aborted: what was spent before is committed", async () => {
    const time = new TestTime();
    const { authority, figures } = rig(time);
    const stop = new AbortController();
    const work = withReservation(
      authority,
      REQUEST,
      (guard) => {
        guard.spent(30);
        stop.abort(new Error("page closed"));
        return new Promise<never>(() => undefined);
      },
      { signal: stop.signal },
    );
    await expect(work).rejects.toThrow("page closed");
    await time.advance(30_000);
    expect(await figures()).toBe("30 spent, 0 reserved");
  });

  test.each(["lost request", "lost reply"] as const)(
    "a commit with a %s is made once more on the way out, and does not cost the result",
    async (fault) => {
      const { authority, asked, faults, figures } = rig(new TestTime());
      faults.push(fault);
      const work = withReservation(authority, REQUEST, async () => ({ result: "hello", actual: 70 }));
      expect(await work).toBe("hello");
      expect(asked).toHaveLength(2);
      expect(await figures()).toBe("70 spent, 0 reserved");
    },
  );

  test("a commit that is denied does: nobody will make it again", async () => {
    const { authority, figures } = rig();
    const work = withReservation(authority, { ...REQUEST, overagePolicy: "REJECT" }, async () => ({
      result: "hello",
      actual: 101,
    }));
    await expect(work).rejects.toMatchObject({ code: "BUDGET_DENIED", denial: { code: "BUDGET_EXCEEDED" } });
    expect(await figures()).toBe("100 spent, 0 reserved");
  });

  test("aborted while it is reserved: what is granted then goes back", async () => {
    const { authority, figures } = rig();
    const stop = new AbortController();
    const reserve = authority.reserve.bind(authority);
    authority.reserve = async (...args) => {
      const answer = await reserve(...args);
      stop.abort(new Error("page closed"));
      return answer;
    };
    const work = withReservation(authority, REQUEST, () => expect.fail("called"), { signal: stop.signal });
    await expect(work).rejects.toThrow("page closed");
    await settled();
    expect(await figures()).toBe("0 spent, 0 reserved");
  });

  test("leaves no listener on a signal that outlives it", async () => {
    const { authority } = rig();
    const { signal } = new AbortController();
    const listeners = new Set<unknown>();
    signal.addEventListener = (_: string, it: unknown) => void listeners.add(it);
    signal.removeEventListener = (_: string, it: unknown) => void listeners.delete(it);
    await withReservation(
      authority,
      REQUEST,
      async () => {
        await settled();
        expect(listeners.size).toBe(1);
        return { result: "hello", actual: 1 };
      },
      { signal },
    );
    expect(listeners.size).toBe(0);
  });
});

test.each([
  [undefined, "search", true],
  [{}, "search", true],
  [{ toolDenylist: ["search"] }, "search", false],
  [{ toolDenylist: ["search"] }, "Search", true],
  [{ toolAllowlist: ["search"], toolDenylist: ["search"] }, "search", true],
  [{ toolAllowlist: ["search"] }, "shell", false],
  [{ toolAllowlist: [], toolDenylist: ["shell"] }, "shell", false],
])("isToolAllowed(%o, %s) is %s", (caps, name, expected) => {
  expect(isToolAllowed(caps, name)).toBe(expected);
});
