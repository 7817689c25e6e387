// HttpAuthority against the real front and the real object, over a transport that a script breaks. Invariant of every
// test: however often a call is sent, it counts once, and what the client believes is what the ledger says.

import * as fc from "fast-check";
import {
  type AuthorityError,
  HttpAuthority,
  type HttpAuthorityOptions,
  MemoryJournal,
  RpcAuthority,
} from "purser/client";
import { describe, expect, test } from "vitest";
import { granted } from "../support/client-contract.ts";
import { FRONT_URL, frontFetch, frontWay } from "./ways.ts";

/** One request, and what a fault can do with it. */
interface Sent {
  readonly forward: () => Promise<Response>;
  readonly signal: AbortSignal | null | undefined;
  /** Lets the try's time be over. */
  readonly expire: () => void;
  /** Resolves when the next request is sent. */
  readonly next: Promise<void>;
  /** The next request is answered with this, and seen by nobody. */
  readonly answerNext: (response: Response) => void;
  /** What the last request of another kind was answered. */
  readonly before: Response;
}
const json = (status: number, body: unknown, headers: Record<string, string> = {}): Response =>
  new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json", ...headers } });
const html = (status: number): Response =>
  new Response("<html><h1>Sorry</h1></html>", { status, headers: { "content-type": "text/html" } });
const reset = (): never => {
  throw new TypeError("connection reset");
};

/** What can happen to one request. Each says whether the authority saw it: those that forward have decided. */
const FAULTS = {
  "lost request": async () => reset(),
  "lost reply": async ({ forward }) => {
    await forward();
    return reset();
  },
  "duplicated request": async ({ forward }) => {
    await forward();
    return forward();
  },
  "reply after the try was given up and made again": async ({ forward, expire, next }) => {
    const response = await forward();
    expire();
    await next;
    return response;
  },
  "reply that comes twice: too late, and to the next try": async ({ forward, expire, answerNext, next }) => {
    const response = await forward();
    answerNext(response.clone());
    expire();
    await next;
    return response;
  },
  "reply to the call before": async ({ before }) => before.clone(),
  "connection reset within the body": async ({ forward }) => {
    const { status } = await forward();
    return new Response(new ReadableStream({ pull: (it) => it.error(new TypeError("reset")) }), { status });
  },
  "body cut short": async ({ forward }) => {
    const response = await forward();
    const text = await response.text();
    return new Response(text.slice(0, text.length / 2), { status: response.status });
  },
  "member missing": async ({ forward }) => json((await forward()).status, { surprise: true }),
  "HTML instead of an answer": async () => html(200),
  "HTML error page": async () => html(502),
  overloaded: async () => json(503, { error: "INTERNAL_ERROR", message: "later", request_id: "r" }),
  throttled: async () =>
    json(429, { error: "LIMIT_EXCEEDED", message: "slow down", request_id: "r" }, { "retry-after": "2" }),
  "no answer": async ({ forward, signal, expire }) => {
    await forward();
    return new Promise<never>((_, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason));
      expire();
    });
  },
} satisfies Record<string, (sent: Sent) => Promise<Response>>;
type Fault = keyof typeof FAULTS;
const NAMES = Object.keys(FAULTS) as Fault[];
/** Those that no further try meets: the next one is answered. */
const ONCE: readonly Fault[] = [
  "duplicated request",
  "reply that comes twice: too late, and to the next try",
];

const ACTION = { kind: "llm.completion", name: "model" };
const tokens = (amount: number) => ({ unit: "TOKENS" as const, amount });

/** No other timer has this length. */
const TIMEOUT_MS = 4_321;

/**
 * A tenant with 1,000 tokens, and a client whose next requests meet `script`; `sent` has the keys that went out. A try's
 * time is over when a fault says so; no other timer is ever heard, so nothing goes on by itself.
 */
async function rig(options: Partial<HttpAuthorityOptions> = {}) {
  const tenant = await frontWay.open();
  const scope = `tenant:${tenant.tenant}`;
  await tenant.createBudget({ scope, unit: "TOKENS", allocated: tokens(1_000) });
  const script: (Fault | "fine" | Response)[] = [];
  const sent: string[] = [];
  const waits: number[] = [];
  const deadlines = new Set<() => void>();
  let begin: () => void = () => undefined;
  /** By kind, the last one last. Of the same kind it could be taken for its own: the protocol's replies name no request. */
  const answers = new Map([["balances", json(200, { balances: [], has_more: false })]]);
  const carry = async (url: string, init: RequestInit): Promise<Response> => {
    const body: unknown = JSON.parse(String(init.body ?? "{}"));
    const kind = url.slice(url.lastIndexOf("/") + 1);
    sent.push(String((body as { idempotency_key?: string }).idempotency_key));
    begin();
    const next = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const forward = () => frontFetch(url, { ...init, signal: null });
    const fault = script.shift() ?? "fine";
    if (fault instanceof Response) return fault;
    if (fault !== "fine") {
      const expire = () => {
        for (const run of deadlines) run();
      };
      const answerNext = (response: Response) => void script.unshift(response);
      const before = [...answers].findLast(([other]) => other !== kind)?.[1] ?? html(200);
      return FAULTS[fault]({ forward, signal: init.signal, expire, next, answerNext, before });
    }
    const response = await forward();
    answers.delete(kind);
    answers.set(kind, response.clone());
    return response;
  };
  const open = (rest: Partial<HttpAuthorityOptions>) =>
    new HttpAuthority({
      baseUrl: FRONT_URL,
      apiKey: tenant.apiKey,
      subject: { tenant: tenant.tenant },
      timeoutMs: TIMEOUT_MS,
      random: () => 0.5,
      sleep: async (ms) => void waits.push(ms),
      setTimer: (run, delayMs) => {
        if (delayMs === TIMEOUT_MS) deadlines.add(run);
        return () => void deadlines.delete(run);
      },
      warn: () => undefined,
      fetch: carry,
      ...options,
      ...rest,
    });
  const ledger = async () => {
    const { body } = await tenant.balances({ tenant: tenant.tenant });
    const [row] = body.balances as Record<string, { amount: number }>[];
    return { spent: row?.spent?.amount, reserved: row?.reserved?.amount };
  };
  /** Does something with one request that meets the fault: it is sent again with its key, and nothing else is. */
  const step = async <T>(fault: Fault, work: () => Promise<T>): Promise<T> => {
    sent.length = 0;
    script.push(fault);
    const answer = await work();
    expect(new Set(sent).size).toBe(1);
    expect(sent).toHaveLength(fault === "duplicated request" ? 1 : 2);
    return answer;
  };
  return { authority: open({}), open, script, sent, waits, ledger, step };
}

describe.each(NAMES)("%s", (fault) => {
  test("once, at each step: sent again with the same key, and counted once", async () => {
    const { authority, ledger, step } = await rig();
    const asked = { action: ACTION, estimate: tokens(100) };
    expect(await step(fault, () => authority.decide(asked))).toMatchObject({ ok: true, decision: "ALLOW" });
    expect(await ledger()).toEqual({ spent: 0, reserved: 0 });
    const { reservationId: id } = granted(await step(fault, () => authority.reserve(asked)));
    expect(await ledger()).toEqual({ spent: 0, reserved: 100 });
    await step(fault, () => authority.extend(id, { extendByMs: 1_000 }));
    await step(fault, () => authority.commit(id, { actual: tokens(70) }));
    expect(await ledger()).toEqual({ spent: 70, reserved: 0 });
    await step(fault, () => authority.recordEvent({ action: ACTION, actual: tokens(5) }));
    expect(await ledger()).toEqual({ spent: 75, reserved: 0 });
    const second = granted(await authority.reserve({ action: ACTION, estimate: tokens(10) }));
    await step(fault, () => authority.release(second.reservationId));
    expect(await ledger()).toEqual({ spent: 75, reserved: 0 });
  });

  test("once, at each step of a guard and of its meter", async () => {
    const { authority, ledger, step } = await rig();
    const open = async () => {
      const guard = await authority.guard({ action: ACTION, estimate: tokens(100) });
      if (!guard.ok) throw new Error(guard.denial.message);
      return guard;
    };
    const guard = await step(fault, open);
    expect(await ledger()).toEqual({ spent: 0, reserved: 100 });
    const lastsMs = guard.expiresAtMs;
    await step(fault, () => guard.extend(1_000));
    expect(guard.expiresAtMs).toBe(lastsMs + 1_000);
    expect(await step(fault, () => guard.commit({ actual: 70 }))).toMatchObject({ charged: tokens(70) });
    expect(guard.isOver).toBe(true);
    expect(await ledger()).toEqual({ spent: 70, reserved: 0 });
    const released = await step(fault, open);
    await step(fault, () => released.release());
    expect(await ledger()).toEqual({ spent: 70, reserved: 0 });
    const dropped = await open();
    dropped.spent(5);
    await step(fault, () => dropped.dispose());
    expect(await ledger()).toEqual({ spent: 75, reserved: 0 });
    const meter = (await open()).meter({ lowWater: 0, extendBy: 50 });
    await step(fault, () => meter.add(120));
    expect(await ledger()).toEqual({ spent: 75, reserved: 150 });
    meter.usage(90); // the further reservation is released, after the charge
    await meter.settle();
    expect(await ledger()).toEqual({ spent: 165, reserved: 0 });
  });

  test("every time: an error with a code that says what is known, and the key that settles it later", async () => {
    if (ONCE.includes(fault) || fault === "throttled") return; // the ones succeed, the other is denied: below
    const { authority, script, sent, waits, ledger } = await rig();
    script.push(fault, fault, fault);
    const request = { action: ACTION, estimate: tokens(100) };
    const failed = await authority.reserve(request).then(
      () => expect.fail("expected an error"),
      (error: AuthorityError) => error,
    );
    expect(failed.code).toBe(
      {
        "lost request": "AUTHORITY_UNAVAILABLE",
        "lost reply": "AUTHORITY_UNAVAILABLE",
        "reply after the try was given up and made again": "AUTHORITY_TIMEOUT",
        "reply to the call before": "AUTHORITY_ANSWER_INVALID",
        "connection reset within the body": "AUTHORITY_UNAVAILABLE",
        "body cut short": "AUTHORITY_ANSWER_INVALID",
        "member missing": "AUTHORITY_ANSWER_INVALID",
        "HTML instead of an answer": "AUTHORITY_ANSWER_INVALID",
        "HTML error page": "AUTHORITY_UNAVAILABLE",
        overloaded: "AUTHORITY_UNAVAILABLE",
        "no answer": "AUTHORITY_TIMEOUT",
      }[fault as string],
    );
    expect(failed.outcome).toBe("unknown");
    expect(sent).toEqual([failed.idempotencyKey, failed.idempotencyKey, failed.idempotencyKey]);
    expect(waits).toEqual([125, 250]);
    granted(await authority.reserve({ ...request, idempotencyKey: String(failed.idempotencyKey) }));
    expect(await ledger()).toEqual({ spent: 0, reserved: 100 });
  });
});

test("throttled: waits as long as it is asked to, then says no with that advice; a long wait is the caller's", async () => {
  const { authority, script, sent, waits, ledger } = await rig();
  script.push("throttled", "throttled", "throttled");
  const request = { action: ACTION, estimate: tokens(100) };
  expect(await authority.reserve(request)).toMatchObject({
    ok: false,
    denial: { code: "LIMIT_EXCEEDED", message: "slow down", retry: { afterMs: 2_000 } },
  });
  expect(waits).toEqual([2_125, 2_250]);
  expect(sent).toHaveLength(3);
  expect(await ledger()).toEqual({ spent: 0, reserved: 0 });

  const patient = await rig({
    fetch: async () => json(429, { error: "LIMIT_EXCEEDED", message: "later" }, { "retry-after": "60" }),
  });
  expect(await patient.authority.reserve(request)).toMatchObject({ denial: { retry: { afterMs: 60_000 } } });
  expect(patient.waits).toEqual([]);
});

test.each([
  ["86401", 86_400_000],
  ["999999999", 86_400_000],
  ["9".repeat(400), 86_400_000],
  ["86399", 86_399_000],
])("a Retry-After of %s seconds is believed up to a day", async (after, afterMs) => {
  const { authority } = await rig({
    fetch: async () => json(429, { error: "LIMIT_EXCEEDED", message: "later" }, { "retry-after": after }),
  });
  const asked = await authority.reserve({ action: ACTION, estimate: tokens(100) });
  expect(asked).toMatchObject({ denial: { code: "LIMIT_EXCEEDED", retry: { afterMs } } });
});

describe("an answer in another unit than was asked in", () => {
  const cents = { unit: "USD_MICROCENTS", amount: 70 };
  const INVALID = { code: "AUTHORITY_ANSWER_INVALID", outcome: "unknown" };

  test("is none: the commit is made again with its key, and its spend stays in the journal", async () => {
    const journal = new MemoryJournal();
    const { authority, script, sent, ledger } = await rig({ journal });
    const guard = await authority.guard({ action: ACTION, estimate: tokens(100) });
    if (!guard.ok) throw new Error(guard.denial.message);
    const none = () => json(200, { status: "COMMITTED", charged: cents });
    const half = () => json(200, { status: "COMMITTED", charged: tokens(70), released: cents });
    sent.length = 0;
    script.push(none(), half(), none());
    await expect(guard.commit({ actual: 70 })).rejects.toMatchObject({
      ...INVALID,
      message: expect.stringContaining("charged.unit must be TOKENS, got USD_MICROCENTS"),
    });
    expect(sent).toEqual(Array(3).fill(`commit-${guard.reservationId}`));
    expect(guard.isOver).toBe(false);
    expect(journal.list().records).toMatchObject([{ actual: tokens(70) }]);
    expect(await ledger()).toEqual({ spent: 0, reserved: 100 });
    expect(await authority.flush()).toEqual({ outstanding: 0 });
    expect(await ledger()).toEqual({ spent: 70, reserved: 0 });
  });

  test("is none to a reserve, an event or a lease either", async () => {
    const { authority, script } = await rig({ retry: { attempts: 1 } });
    const reserved = { decision: "ALLOW", reservation_id: "r", expires_at_ms: 1, affected_scopes: ["s"] };
    script.push(json(200, { ...reserved, reserved: cents }));
    await expect(authority.reserve({ action: ACTION, estimate: tokens(100) })).rejects.toMatchObject(INVALID);
    script.push(json(201, { status: "APPLIED", event_id: "e", charged: cents }));
    await expect(authority.recordEvent({ action: ACTION, actual: tokens(7) })).rejects.toMatchObject(INVALID);
    script.push(json(200, { granted: cents }));
    const lease = authority.lease({ unit: "TOKENS", want: 10, min: 1, ttlMs: 60_000 });
    await expect(lease).rejects.toMatchObject({
      ...INVALID,
      message: expect.stringContaining("granted.unit"),
    });
  });
});

test("a guard's commit that is throttled: how long is written down before it is waited", async () => {
  const journal = new MemoryJournal();
  const floors: (number | undefined)[] = [];
  const { authority, script, ledger } = await rig({
    journal,
    now: () => 1_000_000,
    sleep: async () => void floors.push(journal.list().records[0]?.notBeforeMs),
  });
  const guard = await authority.guard({ action: ACTION, estimate: tokens(100) });
  if (!guard.ok) throw new Error(guard.denial.message);
  script.push("throttled", "lost reply");
  expect(await guard.commit({ actual: 70 })).toMatchObject({ ok: true });
  expect(floors).toEqual([1_002_000, 1_002_000]);
  expect(journal.list().records).toEqual([]);
  expect(await ledger()).toEqual({ spent: 70, reserved: 0 });
});

test("what another try would not change is not tried again, and a redirect is not followed", async () => {
  const answers: [() => Response, string, string][] = [
    [() => html(404), "AUTHORITY_ANSWER_INVALID", "unknown"],
    [() => html(403), "FORBIDDEN", "refused"],
    [() => html(410), "AUTHORITY_ANSWER_INVALID", "unknown"],
    [() => new Response(null, { status: 410 }), "RESERVATION_EXPIRED", "refused"],
    [() => json(410, { message: "late" }), "RESERVATION_EXPIRED", "refused"],
    [() => json(410, { error: "NEW_CODE", message: "late" }), "AUTHORITY_ANSWER_INVALID", "unknown"],
    [() => json(410, { error: "RESERVATION_EXPIRED", message: "late" }), "RESERVATION_EXPIRED", "refused"],
    [() => json(202, {}), "AUTHORITY_ANSWER_INVALID", "unknown"],
    [() => Response.redirect("https://elsewhere.test/", 302), "AUTHORITY_ANSWER_INVALID", "unknown"],
    [() => json(409, { error: "NEW_CODE", message: "?" }), "AUTHORITY_ANSWER_INVALID", "unknown"],
  ];
  for (const [answer, code, outcome] of answers) {
    const urls: string[] = [];
    const { authority } = await rig({
      retry: { attempts: 3 },
      fetch: async (url, init) => {
        urls.push(`${url} ${init.redirect}`);
        return answer();
      },
    });
    await expect(authority.commit("id", { actual: tokens(1) })).rejects.toMatchObject({ code, outcome });
    const tries = answer().status === 202 ? 3 : 1;
    expect(urls).toEqual(Array(tries).fill(`${FRONT_URL}/v1/reservations/id/commit manual`));
  }
});

test("aborting ends the wait between two tries with the signal's reason", async () => {
  const stop = new AbortController();
  const { authority, script, sent } = await rig({
    sleep: (_, signal) =>
      new Promise((_resolve, reject) => {
        signal?.addEventListener("abort", () => reject(signal.reason));
        stop.abort(new Error("page closed"));
      }),
  });
  script.push("lost request");
  const call = authority.reserve({ action: ACTION, estimate: tokens(1) }, { signal: stop.signal });
  await expect(call).rejects.toThrow("page closed");
  expect(sent).toHaveLength(1);
});

test("keepalive is asked of the transport for the call that wants it, at each of its tries, and for no other", async () => {
  const asked: (boolean | undefined)[] = [];
  const { open, script, ledger } = await rig();
  const authority = open({
    fetch: async (url, init) => {
      asked.push((init as { keepalive?: boolean }).keepalive); // Workers do not know it
      if (script.shift() !== undefined) return reset();
      return frontFetch(url, init);
    },
  });
  const guard = await authority.guard({ action: ACTION, estimate: tokens(100) });
  if (!guard.ok) throw new Error(guard.denial.message);
  script.push("lost request");
  await guard.commit({ actual: 70 }, { keepalive: true });
  expect(asked).toEqual([undefined, true, true]);
  expect(await ledger()).toEqual({ spent: 70, reserved: 0 });
});

test("getToken is asked before every try", async () => {
  const { tenant, apiKey } = await frontWay.open();
  const keys = [apiKey, apiKey];
  let isFirst = true;
  const authority = new HttpAuthority({
    baseUrl: `${FRONT_URL}/`,
    subject: { tenant },
    getToken: () => keys.pop() ?? "",
    sleep: async () => undefined,
    fetch: (url, init) => {
      if (!isFirst) return frontFetch(url, init);
      isFirst = false;
      return reset();
    },
  });
  expect(await authority.balances()).toEqual([]);
  expect(keys).toEqual([]);
});

test("what goes as a page closes waits for no new key: it goes with the one given last", async () => {
  const tenant = await frontWay.open();
  await tenant.createBudget({ scope: `tenant:${tenant.tenant}`, unit: "TOKENS", allocated: tokens(1_000) });
  const keys = [tenant.apiKey];
  const authority = new HttpAuthority({
    baseUrl: FRONT_URL,
    subject: { tenant: tenant.tenant },
    // A page that is closing never hears of another one.
    getToken: () => keys.pop() ?? new Promise(() => undefined),
    fetch: frontFetch,
  });
  const guard = await authority.guard({ action: ACTION, estimate: tokens(100) });
  if (!guard.ok) throw new Error(guard.denial.message);
  expect(await guard.commit({ actual: 70 }, { keepalive: true })).toMatchObject({ ok: true });
});

test("a getToken that fails is no answer: asked again within the call, and told with what it threw", async () => {
  const { tenant, apiKey } = await frontWay.open();
  const answers: (Error | string)[] = [new Error("offline"), "no key\n", apiKey];
  const authority = new HttpAuthority({
    baseUrl: FRONT_URL,
    subject: { tenant },
    getToken: () => {
      const answer = answers.shift() ?? new Error("offline");
      if (answer instanceof Error) throw answer;
      return answer;
    },
    sleep: async () => undefined,
    fetch: frontFetch,
  });
  expect(await authority.balances()).toEqual([]);
  expect(answers).toEqual([]);
  await expect(authority.balances()).rejects.toMatchObject({
    code: "AUTHORITY_UNAVAILABLE",
    outcome: "unknown",
    cause: new Error("offline"),
  });
});

test("a binding that throws is no answer", async () => {
  const namespace = {
    getByName: () => {
      throw new Error("no such object");
    },
  };
  const authority = new RpcAuthority({ namespace, tenant: "acme", retry: { attempts: 1 } });
  await expect(authority.balances()).rejects.toMatchObject({
    code: "AUTHORITY_UNAVAILABLE",
    outcome: "unknown",
    cause: new Error("no such object"),
  });
});

test.each([
  ["baseUrl", { baseUrl: "ftp://host", apiKey: "k" }],
  ["baseUrl", { baseUrl: "not a url", apiKey: "k" }],
  ["baseUrl", { baseUrl: "https://user:secret@host", apiKey: "k" }],
  ["apiKey", { baseUrl: FRONT_URL }],
  ["apiKey", { baseUrl: FRONT_URL, apiKey: "a key\n" }],
  ["apiKey", { baseUrl: FRONT_URL, apiKey: "k", getToken: () => "k" }],
  ["timeoutMs", { baseUrl: FRONT_URL, apiKey: "k", timeoutMs: 0 }],
  ["retry.attempts", { baseUrl: FRONT_URL, apiKey: "k", retry: { attempts: 0 } }],
])("%s: opening with it wrong is an error that names it and hides secrets", (argument, options) => {
  expect(() => new HttpAuthority(options)).toThrow(
    expect.objectContaining({ code: "ARGUMENT_INVALID", message: expect.stringContaining(argument) }),
  );
  expect(() => new HttpAuthority(options)).not.toThrow(/secret|a key/);
});

test("in every schedule of faults the ledger ends where the client believes it is", async () => {
  const anyFault = fc.constantFrom<Fault | "fine">("fine", ...NAMES);
  const anyCall = fc.record({
    estimate: fc.integer({ min: 0, max: 40 }),
    actual: fc.integer({ min: 0, max: 40 }),
    end: fc.constantFrom("commit", "release"),
    faults: fc.array(anyFault, { maxLength: 10 }),
  });
  const property = fc.asyncProperty(fc.array(anyCall, { maxLength: 6 }), async (calls) => {
    const { authority, script, ledger } = await rig();
    let spent = 0;
    /** As an application does it: the same call with the same key, until its outcome is known. */
    const until = async <T>(call: () => Promise<T | { ok: false; denial: { code: string } }>): Promise<T> => {
      for (;;) {
        try {
          const answer = await call();
          if (typeof answer === "object" && answer !== null && "denial" in answer) {
            expect(answer.denial.code).toBe("LIMIT_EXCEEDED");
          } else {
            return answer as T;
          }
        } catch (error) {
          expect(error).toMatchObject({ outcome: "unknown" });
        }
      }
    };
    for (const [index, { estimate, actual, end, faults }] of calls.entries()) {
      script.push(...faults);
      const request = { idempotencyKey: `r${index}`, action: ACTION, estimate: tokens(estimate) };
      const held = granted(await until(() => authority.reserve(request)));
      const id = held.reservationId;
      if (end === "commit") {
        const commit = { idempotencyKey: `c${index}`, actual: tokens(actual) };
        const done = await until(() => authority.commit(id, commit));
        if (!done.ok) throw new Error("unreachable");
        spent += done.charged.amount;
      } else {
        await until(() => authority.release(id, { idempotencyKey: `x${index}` }));
      }
      script.length = 0;
    }
    expect(await ledger()).toEqual({ spent, reserved: 0 });
  });
  await fc.assert(property, { numRuns: 20 });
});

test("in every schedule of faults the ledger has what guards were told, also if processes end in between", async () => {
  const anyFault = fc.constantFrom<Fault | "fine">("fine", ...NAMES);
  const anyCall = fc.record({
    actual: fc.integer({ min: 0, max: 40 }),
    faults: fc.array(anyFault, { maxLength: 8 }),
    ends: fc.boolean(),
  });
  const property = fc.asyncProperty(fc.array(anyCall, { maxLength: 5 }), async (calls) => {
    const { open, script, ledger } = await rig();
    const journal = new MemoryJournal();
    const start = () => open({ journal });
    let authority = start();
    let spent = 0;
    for (const { actual, faults, ends } of calls) {
      const guard = await authority.guard({ action: ACTION, estimate: tokens(40) });
      if (!guard.ok) throw new Error(guard.denial.message);
      script.push(...faults);
      const known = await guard.commit({ actual }).catch((error: AuthorityError) => error.outcome);
      expect(known === "unknown" || typeof known === "object").toBe(true);
      // What it believes to be settled is not in the journal, and the other way round.
      expect(journal.list().records.some((it) => it.reservationId === guard.reservationId)).toBe(
        !guard.isOver,
      );
      spent += actual;
      script.length = 0;
      if (ends) authority = start();
    }
    expect(await start().flush()).toEqual({ outstanding: 0 });
    expect(journal.list().records).toEqual([]);
    expect(await ledger()).toEqual({ spent, reserved: 0 });
  });
  await fc.assert(property, { numRuns: 15 });
});
