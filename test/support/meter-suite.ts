// How a metered stream ends, each way against an authority, whichever way leads to it and in whichever runtime: it is
// settled once, what is charged adds up to what was used, and nothing stays reserved. Called with the ways to the real
// authority: in the process, by RPC, over HTTP, and from a page of another origin.

import type {
  Authority,
  Meter,
  MeterOptions,
  ReservationGuard,
  ReservationState,
  ReserveRequest,
} from "purser/client";
import { describe, expect, test } from "vitest";
import type { ClientWay } from "./client-contract.ts";

const tokens = (amount: number) => ({ unit: "TOKENS" as const, amount });
export const ACTION = { kind: "llm.completion", name: "model" };

export async function guardOf(
  authority: Authority,
  estimate: number,
  rest: Partial<ReserveRequest> = {},
): Promise<ReservationGuard> {
  const guard = await authority.guard({ action: ACTION, estimate: tokens(estimate), ...rest });
  if (!guard.ok) throw new Error(guard.denial.message);
  return guard;
}

export interface Chunk {
  readonly text: number;
  /** What the provider's last chunk says. */
  readonly total?: number;
  readonly failed?: boolean;
}

/** A provider's stream of these chunks, made one by one as they are asked for; it ends at once when it is aborted. */
export async function* provider(
  script: readonly (Chunk | Error)[],
  signal: AbortSignal,
  seen: { sent: number; closed: boolean } = { sent: 0, closed: false },
): AsyncGenerator<Chunk> {
  try {
    for (const chunk of script) {
      signal.throwIfAborted();
      if (chunk instanceof Error) throw chunk;
      seen.sent += chunk.text;
      yield chunk;
    }
  } finally {
    seen.closed = true;
  }
}

export function readable<T>(source: AsyncGenerator<T>): ReadableStream<T> {
  return new ReadableStream<T>(
    {
      pull: async (controller) => {
        const { done, value } = await source.next();
        if (done === true) controller.close();
        else controller.enqueue(value);
      },
      cancel: async () => {
        await source.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
}

/** What a provider's chunk comes to; a part that says "error" fails the meter, one with a total tells the usage. */
export const countOn =
  (meter: Meter) =>
  ({ text, total, failed }: Chunk): number => {
    if (total !== undefined) {
      meter.usage(total, { tokensOutput: total });
      return 0;
    }
    if (failed === true) void meter.fail(new Error("overloaded"));
    return text;
  };

/** Chunks of 10. */
const chunks = (count: number): Chunk[] => Array.from({ length: count }, () => ({ text: 10 }));
const FINAL: Chunk = { text: 0, total: 47 };

/** Kept, so that none is collected and warned of: workerd's test runner hangs at a warning that comes outside of a test. */
const gone: unknown[] = [];

interface Scene {
  readonly meter: Meter;
  readonly controller: AbortController;
  readonly page: EventTarget;
  /** Reads `count` chunks, or all; rejects as the stream does. */
  read(script: readonly (Chunk | Error)[], count?: number): Promise<number>;
}

/** How a stream of an estimate of 100 ends, and what becomes of the budget. */
const ENDINGS: readonly {
  readonly name: string;
  readonly play: (scene: Scene) => Promise<unknown>;
  readonly settled: object;
  readonly spent: number;
  readonly options?: MeterOptions;
}[] = [
  {
    name: "finish with the provider's usage",
    play: (it) => it.read([...chunks(4), FINAL]),
    settled: { ending: "finish", source: "provider", actual: 47 },
    spent: 47,
  },
  {
    name: "finish without it",
    play: (it) => it.read(chunks(4)),
    settled: { ending: "finish", source: "local", actual: 40 },
    spent: 40,
  },
  {
    name: "finish without anything that could be counted",
    play: (it) => it.read([{ text: 0 }, { text: 0 }]),
    settled: { ending: "finish", source: "estimate", actual: 100 },
    spent: 100,
  },
  {
    name: "an error part",
    play: (it) => expect(it.read([...chunks(3), { text: 0, failed: true }])).rejects.toThrow("overloaded"),
    settled: { ending: "error", source: "local", actual: 30 },
    spent: 30,
  },
  {
    name: "an error",
    play: (it) => expect(it.read([...chunks(3), new Error("lost")])).rejects.toThrow("lost"),
    settled: { ending: "error", source: "local", actual: 30 },
    spent: 30,
  },
  {
    name: "an error behind the provider's running total",
    play: (it) => {
      const script = [...chunks(2), { text: 0, total: 23 }, { text: 10 }, new Error("lost")];
      return expect(it.read(script)).rejects.toThrow("lost");
    },
    settled: { ending: "error", source: "local", actual: 33 },
    spent: 33,
  },
  {
    name: "an error behind chunks that nobody could count",
    play: (it) => expect(it.read([{ text: 0 }, new Error("lost")])).rejects.toThrow("lost"),
    settled: { ending: "error", source: "estimate", actual: 100 },
    spent: 100,
  },
  {
    name: "an error before the first chunk",
    play: (it) => expect(it.read([new Error("refused")])).rejects.toThrow("refused"),
    settled: { ending: "error", actual: 0 },
    spent: 0,
  },
  {
    name: "an error before the first chunk, with a prompt that was sent",
    play: (it) => {
      void it.meter.add(25);
      return expect(it.read([new Error("refused")])).rejects.toThrow("refused");
    },
    settled: { ending: "error", source: "local", actual: 25 },
    spent: 25,
  },
  {
    name: "an abort",
    play: async (it) => {
      await it.read(chunks(9), 3).catch(() => expect.fail("too early"));
    },
    settled: { ending: "abort", source: "local", actual: 30 },
    spent: 30,
  },
  {
    name: "a budget that is used up",
    play: (it) => expect(it.read(chunks(1_000))).rejects.toMatchObject({ code: "BUDGET_EXHAUSTED" }),
    settled: { ending: "exhausted", source: "local", actual: 1_010 },
    // Nothing beyond the budget can be charged where it may not owe.
    spent: 1_000,
  },
  {
    name: "a page that closes",
    play: async (it) => {
      await it.read(chunks(9), 2);
      it.page.dispatchEvent(new Event("pagehide"));
    },
    settled: { ending: "page-closed", source: "local", actual: 20 },
    spent: 20,
  },
  {
    name: "a page that is frozen",
    play: async (it) => {
      await it.read(chunks(9), 2);
      it.page.dispatchEvent(new Event("freeze"));
    },
    settled: { ending: "page-closed", source: "local", actual: 20 },
    spent: 20,
  },
  {
    name: "a page that is only hidden, and shown again",
    play: async (it) => {
      await it.read([...chunks(2)], 2);
      it.page.dispatchEvent(new Event("visibilitychange"));
      await it.meter.add(10);
      await it.meter.settle();
    },
    settled: { ending: "finish", source: "local", actual: 30 },
    spent: 30,
  },
  {
    name: "a reader that stops reading",
    play: (it) => it.read(chunks(9), 2),
    options: { idleTimeoutMs: 1 },
    settled: { ending: "idle", source: "local", actual: 20 },
    spent: 20,
  },
  {
    name: "a reader that never begins",
    play: async () => undefined,
    options: { idleTimeoutMs: 1 },
    settled: { ending: "idle", source: "estimate", actual: 100 },
    spent: 100,
  },
];

export function meterSuite(name: string, open: () => Promise<ClientWay>): void {
  async function openWith(allocated = 1_000) {
    const way = await open();
    const scope = `tenant:${way.tenant.tenant}`;
    await way.tenant.createBudget({ scope, unit: "TOKENS", allocated: tokens(allocated) });
    return way;
  }

  /** The balance's figures, and every reservation that was made. */
  async function ledger({ numbers }: ClientWay) {
    const [row] = await numbers.balances();
    const rows: ReservationState[] = [];
    const query = { sortBy: "createdAtMs", sortDirection: "asc", include: ["committedMetadata"] } as const;
    for await (const it of numbers.reservations(query)) rows.push(it);
    return { spent: row?.spent, reserved: row?.reserved, rows };
  }

  describe(`a metered stream, ${name}`, () => {
    describe.each(["ReadableStream", "async iterable"] as const)("%s", (shape) => {
      test.each(ENDINGS)("$name", async ({ name, play, options, settled, spent }) => {
        const way = await openWith();
        const guard = await guardOf(way.numbers, 100);
        const controller = new AbortController();
        const page = new EventTarget();
        const meter = guard.meter({ controller, page, metadata: { run: 7 }, ...options });
        const seen = { sent: 0, closed: false };
        const scene: Scene = {
          meter,
          controller,
          page,
          read: async (script, count = Number.POSITIVE_INFINITY) => {
            const source = provider(script, meter.signal, seen);
            const reader =
              shape === "ReadableStream"
                ? meter.wrap(readable(source), countOn(meter)).getReader()
                : meter.wrap(source, countOn(meter))[Symbol.asyncIterator]();
            const next = () => ("read" in reader ? reader.read() : reader.next());
            let read = 0;
            for (let nth = 0; nth < count; nth++) {
              const { done, value } = await next();
              if (done === true) break;
              read += value.text;
            }
            if (name !== "an abort") return read;
            // Aborted by somebody else: it is settled before the reader hears of it.
            controller.abort(new Error("enough"));
            await meter.settled;
            await expect(next()).rejects.toThrow("enough");
            return read;
          },
        };
        if (name.endsWith("never begins")) {
          const source = provider(chunks(3), meter.signal, seen);
          if (shape === "ReadableStream") meter.wrap(readable(source), countOn(meter));
          else meter.wrap(source, countOn(meter));
        }
        await play(scene);
        expect(await meter.settled).toEqual({ charged: spent, ...settled });
        const told = { ...settled } as { ending: string; source?: string };
        expect(meter.isOver).toBe(true);
        expect(controller.signal.aborted).toBe(told.ending !== "finish");

        // Again, whichever way: nothing happens, and everybody hears the same.
        page.dispatchEvent(new Event("pagehide"));
        controller.abort();
        await meter.dispose();
        await guard.dispose();
        expect(await meter.settle()).toEqual({ charged: spent, ...settled });

        const { rows, ...figures } = await ledger(way);
        expect(figures).toEqual({ spent, reserved: 0 });
        expect(rows.filter(({ status }) => status === "ACTIVE")).toEqual([]);
        const charged = rows.filter(({ status }) => status === "COMMITTED");
        expect(charged.reduce((sum, it) => sum + (it.committed?.amount ?? 0), 0)).toBe(spent);
        for (const { committedMetadata } of charged) {
          expect(committedMetadata).toEqual({ run: 7, source: told.source, ending: told.ending });
        }
      });

      test("cancelled by its reader: settled by then, and the provider is told", async () => {
        const way = await openWith();
        const guard = await guardOf(way.numbers, 100);
        const meter = guard.meter();
        const seen = { sent: 0, closed: false };
        const source = provider(chunks(9), meter.signal, seen);
        if (shape === "ReadableStream") {
          const reader = meter.wrap(readable(source), countOn(meter)).getReader();
          await reader.read();
          await reader.read();
          await reader.cancel();
        } else {
          let read = 0;
          for await (const { text } of meter.wrap(source, countOn(meter))) {
            read += text;
            if (read === 20) break;
          }
        }
        expect(meter.isOver).toBe(true);
        expect(meter.signal.aborted).toBe(true);
        expect(seen).toEqual({ sent: 20, closed: true });
        expect(await ledger(way)).toMatchObject({ spent: 20, reserved: 0, rows: [{ status: "COMMITTED" }] });
        expect(await meter.settled).toEqual({ ending: "cancel", source: "local", actual: 20, charged: 20 });
      });
    });

    test("return() before the first chunk: what was sent is charged, and nothing is read", async () => {
      const way = await openWith();
      const meter = (await guardOf(way.numbers, 100)).meter();
      void meter.add(25);
      const seen = { sent: 0, closed: false };
      const iterator = meter.wrap(provider(chunks(9), meter.signal, seen), countOn(meter));
      expect(await iterator.return?.()).toEqual({ done: true, value: undefined });
      expect(await iterator.next()).toEqual({ done: true, value: undefined });
      expect(seen.sent).toBe(0);
      expect(await meter.settled).toMatchObject({ ending: "cancel", source: "local", charged: 25 });
    });

    test("as long as the budget allows, further reservations are made; their charges add up to the usage", async () => {
      const way = await openWith(1_000);
      const guard = await guardOf(way.numbers, 100, { metadata: { step: 1 }, idempotencyKey: "first" });
      const meter = guard.meter({ lowWater: 20 });
      let read = 0;
      const script = [...chunks(24), { text: 0, total: 251 }];
      for await (const { text } of meter.wrap(provider(script, meter.signal), countOn(meter))) {
        read += text;
        expect(meter.counted).toBeLessThanOrEqual(meter.held + 10);
      }
      expect(read).toBe(240);
      expect(await meter.settled).toEqual({
        ending: "finish",
        source: "provider",
        actual: 251,
        charged: 251,
      });
      const { rows, ...figures } = await ledger(way);
      expect(figures).toEqual({ spent: 251, reserved: 0 });
      const charged = rows.map((it) => [it.status, it.reserved.amount, it.committed?.amount ?? 0] as const);
      expect(charged.sort(([, , a], [, , b]) => b - a)).toEqual([
        ["COMMITTED", 100, 100],
        ["COMMITTED", 100, 100],
        ["COMMITTED", 100, 51],
      ]);
      for (const { action, subject } of rows) {
        expect({ action, subject }).toEqual({ action: ACTION, subject: { tenant: way.tenant.tenant } });
      }
    });

    test("a runaway stream stops within one chunk of what is held, and says why", async () => {
      const way = await openWith(250);
      const meter = (await guardOf(way.numbers, 100)).meter();
      const seen = { sent: 0, closed: false };
      const stream = meter.wrap(readable(provider(chunks(1_000), meter.signal, seen)), countOn(meter));
      const reader = stream.getReader();
      let read = 0;
      const whole = (async () => {
        for (;;) {
          const { done, value } = await reader.read();
          if (done) return;
          read += value.text;
        }
      })();
      await expect(whole).rejects.toMatchObject({
        code: "BUDGET_EXHAUSTED",
        message: expect.stringContaining("260 TOKENS used, 250 held"),
        denial: { code: "BUDGET_EXCEEDED", figures: { requested: 100, available: 0 } },
      });
      expect(read).toBe(260);
      expect(seen).toEqual({ sent: 260, closed: true });
      expect(meter.signal.reason).toMatchObject({ code: "BUDGET_EXHAUSTED" });
      expect(await meter.settled).toMatchObject({ ending: "exhausted", actual: 260, charged: 250 });
      expect(await ledger(way)).toMatchObject({ spent: 250, reserved: 0 });
    });

    test("an isolate that is gone: what is held comes back with its time", async ({ skip }) => {
      const way = await openWith();
      if (way.tenant.advance === undefined) return skip("this way has a clock that nobody sets");
      await (async () => {
        const guard = await guardOf(way.numbers, 100, { ttlMs: 1_000, gracePeriodMs: 0 });
        const meter = guard.meter({ page: null });
        await meter.add(30); // and nothing of it is heard of again
        gone.push(guard);
      })();
      expect(await ledger(way)).toMatchObject({ spent: 0, reserved: 100 });
      await way.tenant.advance(1_001);
      expect(await ledger(way)).toMatchObject({ spent: 0, reserved: 0, rows: [{ status: "EXPIRED" }] });
    });
  });
}
