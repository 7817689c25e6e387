// How long answers are kept: replays within their days get the first body, after them the rows are gone. Other work goes
// on meanwhile, so that pruning has had every chance.

import { Ledger, MemoryStore } from "purser/ledger";
import { describe, expect, test, vi } from "vitest";
import { MS_PER_DAY } from "../../../src/ledger/limits.ts";
import {
  bodyOf,
  budget,
  reserveRequest,
  TENANT,
  testClock,
  tokens,
  verdictOf,
} from "../../support/ledger-fixtures.ts";

function setUp() {
  const clock = testClock(Date.UTC(2030, 0, 1, 12));
  const store = new MemoryStore();
  const ledger = new Ledger({ tenant: TENANT, store, secrets: ["s"] });
  const turn = () => ({ nowMs: clock.now() });
  bodyOf(
    ledger.createTenant(
      {
        tenant_id: TENANT,
        name: TENANT,
        max_reservation_ttl_ms: MS_PER_DAY,
        max_reservation_extensions: 100,
      },
      turn(),
    ),
  );
  bodyOf(ledger.createBudget(budget("tenant:acme", 1000), turn()));
  /** Moves on, and lets a sweep prune what may go. */
  const advance = (ms: number) => {
    clock.advance(ms);
    ledger.sweep(turn());
  };
  return { ledger, store, clock, turn, advance };
}

describe.each(["commit", "release"] as const)("a %s", (verb) => {
  const settle = ({ ledger, turn }: ReturnType<typeof setUp>, id: string) =>
    verb === "commit"
      ? ledger.commit(id, { idempotency_key: "s", actual: tokens(3) }, turn())
      : ledger.release(id, { idempotency_key: "s" }, turn());

  test("is replayed for 30 days, also of a reservation that lived long, and forgotten after", () => {
    const world = setUp();
    const { ledger, turn, advance } = world;
    const request = reserveRequest("k", 10, { ttl_ms: MS_PER_DAY });
    const id = bodyOf(ledger.reserve(request, turn())).reservation_id ?? "";
    // Held for five days, so that its age alone would let it go before its answer may.
    for (let day = 0; day < 5; day += 1) {
      advance(MS_PER_DAY - 1000);
      bodyOf(ledger.extend(id, { idempotency_key: `e${day}`, extend_by_ms: MS_PER_DAY }, turn()));
    }
    const first = settle(world, id);
    expect(verdictOf(first)).toBe("200");
    advance(30 * MS_PER_DAY);
    expect(settle(world, id)).toEqual(first);
    advance(3 * MS_PER_DAY);
    expect(verdictOf(settle(world, id))).toBe("404 NOT_FOUND");
  });

  test("that came at once is replayed until the reservation is 32 days old, and forgotten after", () => {
    const world = setUp();
    const id = bodyOf(world.ledger.reserve(reserveRequest("k", 10), world.turn())).reservation_id ?? "";
    const first = settle(world, id);
    world.advance(32 * MS_PER_DAY);
    expect(settle(world, id)).toEqual(first);
    world.advance(MS_PER_DAY);
    expect(verdictOf(settle(world, id))).toBe("404 NOT_FOUND");
  });
});

test("a funding is replayed for 7 days and is new on the eighth", () => {
  const { ledger, turn, advance } = setUp();
  const credit = { operation: "CREDIT", amount: tokens(5), idempotency_key: "f" };
  const fund = () => ledger.fund({ scope: "tenant:acme", unit: "TOKENS" }, credit, turn());
  const first = fund();
  advance(7 * MS_PER_DAY);
  expect(fund()).toEqual(first);
  advance(MS_PER_DAY);
  expect(bodyOf(fund()).new_allocated).toEqual(tokens(1010n));
});

describe("what has outlived its retention goes in slices of four, so that no call waits for all of it", () => {
  /** How many of these are there still. */
  const finished = (store: MemoryStore, ids: readonly string[]) =>
    ids.filter((id) => store.readReservation(id) !== undefined).length;

  test.each([
    ["commit", 12],
    ["release", 12],
  ] as const)("with each %s", (verb, count) => {
    const { ledger, store, turn, clock } = setUp();
    const hold = (key: string) => bodyOf(ledger.reserve(reserveRequest(key, 1), turn())).reservation_id ?? "";
    const settle = (id: string) =>
      verb === "commit"
        ? ledger.commit(id, { idempotency_key: "s", actual: tokens(1) }, turn())
        : ledger.release(id, { idempotency_key: "s" }, turn());
    const old = Array.from({ length: count }, (_, index) => hold(`old ${index}`));
    for (const id of old) expect(settle(id).ok).toBe(true);
    clock.advance(40 * MS_PER_DAY);
    const left: number[] = [];
    for (let call = 0; call < 5; call += 1) {
      const id = hold(`new ${call}`);
      // A reserve prunes nothing: it is what somebody waits for.
      expect(finished(store, old)).toBe(left.at(-1) ?? count);
      expect(settle(id).ok).toBe(true);
      left.push(finished(store, old));
    }
    expect(left).toEqual([8, 4, 0, 0, 0]);
  });

  test("and once nothing is left nobody looks again before the next day", () => {
    const { ledger, store, turn, clock } = setUp();
    const looks = vi.spyOn(store, "pruneFinished");
    const settleOne = (key: string) => {
      const id = bodyOf(ledger.reserve(reserveRequest(key, 1), turn())).reservation_id ?? "";
      bodyOf(ledger.release(id, { idempotency_key: "s" }, turn()));
      return looks.mock.calls.length;
    };
    expect([settleOne("a"), settleOne("b")]).toEqual([1, 1]);
    clock.advance(MS_PER_DAY);
    expect([settleOne("c"), settleOne("d")]).toEqual([2, 2]);
  });

  const QUESTION = { subject: { tenant: TENANT }, action: { kind: "k", name: "n" } };
  test.each<[string, number, (world: ReturnType<typeof setUp>, key: string) => { ok: boolean }]>([
    [
      "decide",
      1,
      ({ ledger, turn }, key) =>
        ledger.decide({ ...QUESTION, idempotency_key: key, estimate: tokens(1) }, turn()),
    ],
    [
      "dry run",
      1,
      ({ ledger, turn }, key) => ledger.reserve(reserveRequest(key, 1, { dry_run: true }), turn()),
    ],
    [
      "event",
      7,
      ({ ledger, turn }, key) =>
        ledger.event({ ...QUESTION, idempotency_key: key, actual: tokens(1) }, turn()),
    ],
  ])("with each %s, whose answers stand for %i days more", (_, days, ask) => {
    const world = setUp();
    const { store, clock } = world;
    for (let index = 0; index < 10; index += 1) expect(ask(world, `old ${index}`).ok).toBe(true);
    const left = () =>
      ["reserve", "decide", "event"]
        .flatMap((namespace) =>
          Array.from({ length: 10 }, (_, index) => ({ namespace, key: `old ${index}` })),
        )
        .filter((at) => store.readAnswer({ ...at, fromDay: 0, toDay: Number.MAX_SAFE_INTEGER }) !== undefined)
        .length;
    clock.advance(days * MS_PER_DAY);
    expect(ask(world, "young").ok).toBe(true);
    expect(left()).toBe(10);
    clock.advance(MS_PER_DAY);
    const seen = [1, 2, 3].map((call) => {
      expect(ask(world, `new ${call}`).ok).toBe(true);
      return left();
    });
    expect(seen).toEqual([6, 2, 0]);
  });
});

test("a commit's metrics and metadata are kept with the reservation", () => {
  const clock = testClock();
  const store = new MemoryStore();
  const ledger = new Ledger({ tenant: TENANT, store, secrets: ["s"] });
  const turn = { nowMs: clock.now() };
  bodyOf(ledger.createTenant({ tenant_id: TENANT, name: TENANT }, turn));
  bodyOf(ledger.createBudget(budget("tenant:acme", 1000), turn));
  const id = bodyOf(ledger.reserve(reserveRequest("k", 10), turn)).reservation_id ?? "";
  const metrics = {
    tokens_input: 7,
    tokens_output: 2,
    latency_ms: 40,
    model_version: "m-1",
    custom: { cached: true },
  };
  bodyOf(ledger.commit(id, { idempotency_key: "c", actual: tokens(9), metrics, metadata: { run: 1 } }, turn));
  expect(store.readReservation(id)).toMatchObject({ report: { metrics, metadata: { run: 1 } } });
});
