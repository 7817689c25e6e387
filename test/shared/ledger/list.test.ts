// Listing reservations: every filter, window and order against a plain filter-and-sort of the same rows, page by page;
// cursors that go on where they should and nowhere else; work that is bounded.

import fc from "fast-check";
import { LocalLedger, MemoryStore, type ReservationBody, type ReservationsQuery } from "purser/ledger";
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../../src/ledger/limits.ts";
import {
  authorityWith,
  bodyOf,
  budget,
  reserveRequest,
  testClock,
  tokens,
  verdictOf,
} from "../../support/ledger-fixtures.ts";

const AGENTS = ["a", "B", "c"];

/** Thirty reservations over three days, in every state; the last that are due have not been swept. */
function world() {
  const made = authorityWith(budget("tenant:acme", 1_000_000));
  const { authority, clock, reserveId } = made;
  for (let index = 0; index < 30; index += 1) {
    const id = reserveId(`k${index}`, (index * 7) % 11, {
      subject: { tenant: "acme", agent: AGENTS[index % 3], ...(index % 5 !== 1 && { workspace: "w" }) },
      ttl_ms: 1000 + 997 * (index % 4),
      grace_period_ms: 0,
      ...(index % 2 === 0 && { metadata: { index } }),
    });
    if (index % 5 === 0) continue;
    if (index % 4 === 0) {
      const commit = { idempotency_key: "c", actual: tokens(1), metadata: { run: index } };
      bodyOf(authority.commit(id, commit));
    }
    if (index % 4 === 1) bodyOf(authority.release(id, { idempotency_key: "r" }));
    clock.advance(index % 3 === 0 ? 0 : 9_000_000 - index);
  }
  reserveId("last", 3, { subject: { tenant: "acme", agent: "a" }, ttl_ms: 60_000 });
  return made;
}

const idsOf = (rows: readonly ReservationBody[]) => rows.map((row) => row.reservation_id);

/** All pages of a query. */
function all(authority: LocalLedger, query: ReservationsQuery): ReservationBody[] {
  const rows: ReservationBody[] = [];
  let cursor: string | undefined;
  do {
    const page = bodyOf(authority.listReservations(cursor === undefined ? query : { ...query, cursor }));
    expect(page.has_more).toBe(page.next_cursor !== undefined);
    expect(page.reservations.length).toBeLessThanOrEqual(Number(query.limit ?? 50));
    rows.push(...page.reservations);
    cursor = page.next_cursor;
  } while (cursor !== undefined);
  return rows;
}

describe("a listing", () => {
  test("has the protocol's rows, newest first, without metadata unless asked for", () => {
    const { authority, clock, reserveId } = authorityWith(budget("tenant:acme", 100));
    const first = reserveId("k1", 10, { metadata: { a: 1 } });
    bodyOf(authority.commit(first, { idempotency_key: "c", actual: tokens(7), metadata: { b: 2 } }));
    clock.advance(1);
    const second = reserveId("k2", 20);
    const row = {
      subject: { tenant: "acme" },
      action: { kind: "llm.completion", name: "test-model" },
      expires_at_ms: expect.any(Number),
      scope_path: "tenant:acme",
      affected_scopes: ["tenant:acme"],
    };
    const rows = [
      {
        ...row,
        reservation_id: second,
        status: "ACTIVE",
        idempotency_key: "k2",
        reserved: tokens(20n),
        created_at_ms: clock.now(),
      },
      {
        ...row,
        reservation_id: first,
        status: "COMMITTED",
        idempotency_key: "k1",
        reserved: tokens(10n),
        committed: tokens(7n),
        created_at_ms: clock.now() - 1,
        finalized_at_ms: clock.now() - 1,
      },
    ];
    expect(bodyOf(authority.listReservations())).toEqual({ reservations: rows, has_more: false });
    const include = " metadata ,unknown,,committed_metadata, evidence";
    expect(bodyOf(authority.listReservations({ include })).reservations[1]).toEqual({
      ...rows[1],
      metadata: { a: 1 },
      committed_metadata: { b: 2 },
    });
  });

  test("shows as expired what is past its grace, swept or not, and never as finalized", () => {
    const { authority, clock, reserveId } = authorityWith(budget("tenant:acme", 100));
    const id = reserveId("k", 10, { ttl_ms: 1000, grace_period_ms: 500 });
    const statuses = () => [
      idsOf(bodyOf(authority.listReservations({ status: "ACTIVE" })).reservations).length,
      idsOf(bodyOf(authority.listReservations({ status: "EXPIRED" })).reservations).length,
      bodyOf(authority.listReservations()).reservations[0]?.status,
    ];
    clock.advance(1500);
    expect(statuses()).toEqual([1, 0, "ACTIVE"]);
    clock.advance(1);
    expect(statuses()).toEqual([0, 1, "EXPIRED"]);
    bodyOf(authority.balances());
    expect(statuses()).toEqual([0, 1, "EXPIRED"]);
    expect(bodyOf(authority.listReservations()).reservations[0]).not.toHaveProperty("finalized_at_ms");
    expect(verdictOf(authority.getReservation(id))).toBe("410 RESERVATION_EXPIRED");
    expect(
      bodyOf(authority.listReservations({ finalized_from: "2000-01-01T00:00:00Z" })).reservations,
    ).toEqual([]);
  });
});

describe("against a plain filter and sort of the same rows", () => {
  const { authority } = world();
  const everything = all(authority, { limit: 200 });
  const times = everything.flatMap((row) => [row.created_at_ms, row.expires_at_ms, row.finalized_at_ms ?? 0]);
  const bound = fc.option(
    fc.tuple(fc.constantFrom(...times), fc.constantFrom(-1, 0, 1)).map(([ms, by]) => ms + by),
    { nil: undefined },
  );

  const value = (row: ReservationBody, by: NonNullable<ReservationsQuery["sort_by"]>) => {
    if (by === "tenant") return row.subject.tenant ?? "";
    return by === "reserved" ? row.reserved.amount : row[by];
  };

  test("there are rows of every state", () => {
    expect(everything.length).toBe(31);
    expect(new Set(everything.map(({ status }) => status)).size).toBe(4);
  });

  test("any query gives exactly its rows in order, however they are cut into pages", () => {
    fc.assert(
      fc.property(
        fc.record({
          status: fc.option(fc.constantFrom("ACTIVE", "COMMITTED", "RELEASED", "EXPIRED"), {
            nil: undefined,
          }),
          agent: fc.option(fc.constantFrom("A", "b", "c", "nobody"), { nil: undefined }),
          workspace: fc.option(fc.constantFrom("w", " "), { nil: undefined }),
          windows: fc.tuple(bound, bound, bound, bound, bound, bound),
          sort_by: fc.constantFrom(
            undefined,
            "reservation_id",
            "tenant",
            "scope_path",
            "status",
            "reserved",
            "created_at_ms",
            "expires_at_ms",
          ),
          sort_dir: fc.constantFrom(undefined, "asc", "desc"),
          limit: fc.constantFrom(1, 2, 5, 200),
        }),
        ({ status, agent, workspace, windows, sort_by, sort_dir, limit }) => {
          const iso = (ms: number | undefined) => (ms === undefined ? "" : new Date(ms).toISOString());
          // Each pair in its order; a bound that is not given is sent blank.
          const [from, to, expiresFrom, expiresTo, finalizedFrom, finalizedTo] = [0, 2, 4].flatMap((at) => {
            const [a, b] = [windows[at], windows[at + 1]];
            return a !== undefined && b !== undefined && a > b ? [b, a] : [a, b];
          });
          const query = {
            ...(status && { status }),
            ...(agent && { agent }),
            ...(workspace && { workspace }),
            ...(sort_by && { sort_by }),
            ...(sort_dir && { sort_dir }),
            limit,
            from: iso(from),
            to: iso(to),
            expires_from: iso(expiresFrom),
            expires_to: iso(expiresTo),
            finalized_from: iso(finalizedFrom),
            finalized_to: iso(finalizedTo),
          } as ReservationsQuery;
          const within = (ms: number | undefined, low: number | undefined, high: number | undefined) =>
            (low === undefined && high === undefined) ||
            (ms !== undefined && ms >= (low ?? ms) && ms <= (high ?? ms));
          const by = sort_by ?? "created_at_ms";
          const sign = sort_dir === "asc" ? 1 : -1;
          const expected = everything
            .filter((row) => status === undefined || row.status === status)
            .filter((row) => agent === undefined || row.subject.agent?.toLowerCase() === agent.toLowerCase())
            .filter((row) => workspace !== "w" || row.subject.workspace === "w")
            .filter((row) => within(row.created_at_ms, from, to))
            .filter((row) => within(row.expires_at_ms, expiresFrom, expiresTo))
            .filter((row) => within(row.finalized_at_ms, finalizedFrom, finalizedTo))
            .sort((a, b) => {
              const [x, y] = [value(a, by), value(b, by)];
              if (x !== y) return x < y ? -sign : sign;
              return a.reservation_id < b.reservation_id ? -sign : sign;
            });
          expect(idsOf(all(authority, query))).toEqual(idsOf(expected));
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("a lost id", () => {
  test("is found by its key, at most once, with the other filters in force", () => {
    const { authority, clock, reserveId } = authorityWith(budget("tenant:acme", 100));
    const old = reserveId("k", 1);
    expect(idsOf(all(authority, { idempotency_key: "k" }))).toEqual([old]);
    clock.advance(4 * 86_400_000);
    // The key is free again by now, and this is another reservation.
    const fresh = reserveId("k", 2);
    expect(fresh).not.toBe(old);
    expect(idsOf(all(authority, { idempotency_key: "k" }))).toEqual([fresh]);
    expect(idsOf(all(authority, { idempotency_key: "k", status: "EXPIRED" }))).toEqual([old]);
    expect(idsOf(all(authority, { idempotency_key: "k", status: "COMMITTED" }))).toEqual([]);
    expect(idsOf(all(authority, { idempotency_key: "none" }))).toEqual([]);
  });
});

describe("a cursor", () => {
  const { authority } = world();
  const first = bodyOf(authority.listReservations({ limit: 5, agent: "a" }));
  const cursor = first.next_cursor ?? "";

  test("is opaque, URL-safe, and goes on under another limit and include", () => {
    expect(cursor).toMatch(/^[-\w]+$/);
    const rest = bodyOf(authority.listReservations({ agent: "a", limit: 200, include: "metadata", cursor }));
    const whole = bodyOf(authority.listReservations({ agent: "a", limit: 200 }));
    expect([...idsOf(first.reservations), ...idsOf(rest.reservations)]).toEqual(idsOf(whole.reservations));
  });

  test.each<[string, ReservationsQuery]>([
    ["no filter", {}],
    ["another filter", { agent: "b" }],
    ["a filter more", { agent: "a", status: "EXPIRED" }],
    ["a window", { agent: "a", from: "2020-01-01T00:00:00Z" }],
    ["another order", { agent: "a", sort_by: "reserved" }],
    ["another direction", { agent: "a", sort_dir: "asc" }],
  ])("is refused with %s", (_, query) => {
    expect(verdictOf(authority.listReservations({ ...query, cursor }))).toBe("400 INVALID_REQUEST");
  });

  test.each(["", "x", "!!", `${cursor}A`, "fHx8", btoa("a|b|c|d")])("%j is refused", (text) => {
    expect(verdictOf(authority.listReservations({ agent: "a", cursor: text }))).toBe("400 INVALID_REQUEST");
  });

  test("still goes on after new reservations came in before it and its own row was settled", () => {
    const { authority, clock, reserveId } = authorityWith(budget("tenant:acme", 1000));
    const ids = [1, 2, 3, 4].map((index) => {
      clock.advance(1);
      return reserveId(`k${index}`, index);
    });
    const page = bodyOf(authority.listReservations({ limit: 2 }));
    expect(idsOf(page.reservations)).toEqual([ids[3], ids[2]]);
    bodyOf(authority.release(ids[2] ?? "", { idempotency_key: "r" }));
    clock.advance(1);
    reserveId("new", 1);
    const next = bodyOf(authority.listReservations({ limit: 2, cursor: page.next_cursor ?? "" }));
    expect(idsOf(next.reservations)).toEqual([ids[1], ids[0]]);
  });
});

test.each<[Record<string, unknown>, string]>([
  [{ status: "DONE" }, "status must be one of ACTIVE"],
  [{ status: "" }, "status must be one of ACTIVE"],
  [{ sort_by: "spent" }, "sort_by must be one of reservation_id"],
  [{ sort_dir: "up" }, "sort_dir must be asc or desc"],
  [{ limit: "0" }, "limit must be an integer from 1 to 200"],
  [{ limit: "201" }, "limit must be an integer from 1 to 200"],
  [{ limit: "1e2" }, "limit must be an integer from 1 to 200"],
  [{ from: "yesterday" }, "from must be an ISO 8601 time"],
  [{ from: "2030-01-02T00:00:00Z", to: "2030-01-01T00:00:00Z" }, "from must not be later than to"],
  [
    { expires_from: "2030-01-02T00:00:00Z", expires_to: "2030-01-01T00:00:00Z" },
    "expires_from must not be later",
  ],
  [
    { finalized_from: "2030-01-02T00:00:00Z", finalized_to: "2030-01-01T00:00:00Z" },
    "finalized_from must not be later",
  ],
])("%j is refused", (query, message) => {
  const { authority } = authorityWith(budget("tenant:acme", 1));
  const reply = authority.listReservations(query as ReservationsQuery);
  expect(verdictOf(reply)).toBe("400 INVALID_REQUEST");
  expect(reply.ok ? "" : reply.message).toContain(message);
});

test("another tenant is forbidden, unknown parameters are ignored", () => {
  const { authority } = authorityWith(budget("tenant:acme", 1));
  expect(verdictOf(authority.listReservations({ tenant: "other" }))).toBe("403 FORBIDDEN");
  expect(verdictOf(authority.listReservations({ tenant: "acme", colour: "red" } as ReservationsQuery))).toBe(
    "200",
  );
});

describe("bounded work", () => {
  /** `count` finished reservations, straight into a store; only the oldest is agent z's. */
  function filled(count: number) {
    const clock = testClock();
    const store = new MemoryStore();
    let looked = 0;
    const counting = new Proxy(store, {
      get(target, name) {
        if (name !== "scanReservations") {
          const method: unknown = Reflect.get(target, name, target);
          return typeof method === "function" ? method.bind(target) : method;
        }
        return function* (...args: Parameters<MemoryStore["scanReservations"]>) {
          for (const row of target.scanReservations(...args)) {
            looked += 1;
            yield row;
          }
        };
      },
    });
    const authority = new LocalLedger({ tenant: "acme", now: clock.now, store: counting });
    bodyOf(authority.createBudget(budget("tenant:acme", 1)));
    const made = bodyOf(authority.reserve(reserveRequest("k", 0)));
    const row = store.readReservation(made.reservation_id ?? "");
    if (row?.status !== "ACTIVE") throw new Error("no row");
    for (let index = 0; index < count; index += 1) {
      const stem = `rZZZ${String(index).padStart(16, "0")}`;
      const subject = { tenant: "acme", agent: index === 0 ? "z" : "a" };
      const copy = {
        ...row,
        id: `${stem}sealsealsealmask`,
        createdAtMs: index,
        details: { ...row.details, subject },
      };
      store.insertReservation(copy);
      store.finishReservation({ ...copy, status: "RELEASED", finishedAtMs: index });
    }
    return { authority, lookedAt: () => looked };
  }
  const count = 2 * LIMITS.listRowsMax + 10;
  const { authority, lookedAt } = filled(count);

  test("a plain page looks at one row more than it shows", () => {
    const before = lookedAt();
    expect(bodyOf(authority.listReservations({ limit: 20 })).reservations.length).toBe(20);
    expect(lookedAt() - before).toBe(21);
  });

  test("a filter that finds nothing ends its page early and goes on", () => {
    let cursor: string | undefined;
    const pages: number[] = [];
    do {
      const before = lookedAt();
      const query = { agent: "z", ...(cursor !== undefined && { cursor }) };
      const page = bodyOf(authority.listReservations(query));
      expect(lookedAt() - before).toBeLessThanOrEqual(LIMITS.listRowsMax + 1);
      pages.push(page.reservations.length);
      cursor = page.next_cursor;
    } while (cursor !== undefined);
    expect(pages).toEqual([0, 0, 1]);
  });

  test("an order without an index is refused beyond the bound, and works within a window", () => {
    const reply = authority.listReservations({ sort_by: "reserved" });
    expect(verdictOf(reply)).toBe("400 INVALID_REQUEST");
    expect(reply.ok ? "" : reply.message).toContain("narrow from, to or status");
    const to = new Date(99).toISOString();
    expect(
      bodyOf(authority.listReservations({ sort_by: "reserved", to, limit: 200 })).reservations.length,
    ).toBe(100);
  });
});
