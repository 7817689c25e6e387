// The limits of one tenant, each at the limit and one past it, and the lengths of texts, counted in characters.

import { type BudgetInput, LEDGER_LIMITS, Ledger, MemoryStore, type TenantLimits } from "purser/ledger";
import { describe, expect, test } from "vitest";
import { hasAtMostCharacters, shorten } from "../../../src/ledger/text.ts";
import {
  bodyOf,
  budget,
  openLedger,
  reserveRequest,
  TENANT,
  testClock,
  tokens,
  verdictOf,
} from "../../support/ledger-fixtures.ts";

const setUp = (limits: Partial<TenantLimits>) => openLedger(undefined, { limits });

describe("what one tenant may keep", () => {
  test("active reservations: the last is granted, the next is not, and a settled one makes room", () => {
    const { ledger, turn } = setUp({ activeReservationsMax: 2 });
    bodyOf(ledger.createBudget(budget("tenant:acme", 100), turn()));
    const reserve = (key: string) => ledger.reserve(reserveRequest(key, 1), turn());
    const first = bodyOf(reserve("a")).reservation_id ?? "";
    expect(verdictOf(reserve("b"))).toBe("200");
    expect(reserve("c")).toMatchObject({
      status: 429,
      error: "LIMIT_EXCEEDED",
      message: "At most 2 reservations may be active at once",
    });
    // Neither a replay nor a dry run takes a place.
    expect(verdictOf(reserve("b"))).toBe("200");
    expect(verdictOf(ledger.reserve(reserveRequest("d", 1, { dry_run: true }), turn()))).toBe("200");
    expect(bodyOf(ledger.balances({ tenant: TENANT }, turn())).balances[0]?.reserved).toEqual(tokens(2n));
    bodyOf(ledger.release(first, { idempotency_key: "r" }, turn()));
    expect(verdictOf(reserve("c"))).toBe("200");
  });

  test("active reservations of one API key: another key goes on, and what is settled or expires makes room", () => {
    const limits = { activeReservationsPerKeyMax: 2 };
    const store = new MemoryStore();
    const clock = testClock();
    const open = () => new Ledger({ tenant: TENANT, store, secrets: ["s"], limits });
    let ledger = open();
    const turn = (keyId?: string) => ({
      nowMs: clock.now(),
      ...(keyId !== undefined && { caller: { keyId, digest: "d" } }),
    });
    bodyOf(ledger.createTenant({ tenant_id: TENANT, name: TENANT }, turn()));
    bodyOf(ledger.createBudget(budget("tenant:acme", 100), turn()));
    const make = (keyId: string) =>
      bodyOf(
        ledger.createApiKey(
          { tenant_id: TENANT, name: keyId },
          { keyId, digest: "d", prefix: keyId },
          turn(),
        ),
      );
    make("one");
    make("two");
    const reserve = (key: string, keyId?: string) =>
      ledger.reserve(reserveRequest(key, 1, { ttl_ms: 1000, grace_period_ms: 0 }), turn(keyId));
    const first = bodyOf(reserve("a", "one")).reservation_id ?? "";
    bodyOf(reserve("b", "one"));
    const refused = {
      status: 429,
      error: "LIMIT_EXCEEDED",
      message: "At most 2 reservations of one API key may be active at once",
    };
    expect(reserve("c", "one")).toMatchObject(refused);
    // A replay takes no place; a call without a key and another key have places of their own.
    expect([reserve("b", "one"), reserve("d"), reserve("e", "two")].map(verdictOf)).toEqual([
      "200",
      "200",
      "200",
    ]);
    bodyOf(ledger.extend(first, { idempotency_key: "x", extend_by_ms: 1000 }, turn("one")));
    expect(reserve("c", "one")).toMatchObject(refused);
    // Who opens the store anew counts the same.
    ledger = open();
    expect(reserve("c", "one")).toMatchObject(refused);
    bodyOf(ledger.release(first, { idempotency_key: "r" }, turn("one")));
    bodyOf(reserve("c", "one"));
    expect(reserve("f", "one")).toMatchObject(refused);
    clock.advance(1001);
    expect([reserve("f", "one"), reserve("g", "one")].map(verdictOf)).toEqual(["200", "200"]);
    expect(reserve("h", "one")).toMatchObject(refused);
  });

  test("budgets", () => {
    const { ledger, turn } = setUp({ budgetsMax: 2 });
    const make = (scope: string, rest: Partial<BudgetInput> = {}) =>
      verdictOf(ledger.createBudget(budget(scope, 1, rest), turn()));
    expect(make("tenant:acme")).toBe("201");
    expect(make("tenant:acme", { unit: "CREDITS" })).toBe("201");
    expect(make("tenant:acme/agent:a")).toBe("429 LIMIT_EXCEEDED");
    expect(make("tenant:acme")).toBe("409 DUPLICATE_RESOURCE");
  });

  test("API keys", () => {
    const { ledger, turn } = setUp({ apiKeysMax: 2 });
    const make = (keyId: string) =>
      verdictOf(
        ledger.createApiKey({ tenant_id: TENANT, name: "k" }, { keyId, digest: "d", prefix: "p" }, turn()),
      );
    expect([make("1"), make("2"), make("3")]).toEqual(["201", "201", "429 LIMIT_EXCEEDED"]);
  });

  describe("bytes of its store", () => {
    class SizedStore extends MemoryStore {
      bytes = 0;
      override storedBytes(): number {
        return this.bytes;
      }
    }
    const setUpSized = () => {
      const clock = testClock();
      const store = new SizedStore();
      const ledger = new Ledger({ tenant: TENANT, store, secrets: ["s"], limits: { storedBytesMax: 100 } });
      const turn = () => ({ nowMs: clock.now() });
      bodyOf(ledger.createTenant({ tenant_id: TENANT, name: TENANT }, turn()));
      bodyOf(ledger.createBudget(budget("tenant:acme", 100), turn()));
      const reserve = (key: string, rest = {}) => ledger.reserve(reserveRequest(key, 10, rest), turn());
      const ask = reserveRequest("x", 10);
      const { subject, action, estimate } = ask;
      /** Whatever begins something. */
      const beginnings = (key: string) => [
        reserve(key),
        ledger.reserveFit({ ...ask, idempotency_key: `${key} fit`, estimate_min: 1 }, turn()),
        reserve(`${key} dry`, { dry_run: true }),
        ledger.decide({ idempotency_key: key, subject, action, estimate }, turn()),
        ledger.event({ idempotency_key: key, subject, action, actual: tokens(1) }, turn()),
        ledger.openLease({ idempotency_key: key, subject, unit: "TOKENS", want: 1 }, turn()),
      ];
      const figures = () => {
        const [row] = bodyOf(ledger.balances({ tenant: TENANT }, turn())).balances;
        return [row?.allocated, row?.spent, row?.reserved].map((each) => Number(each?.amount));
      };
      return { clock, store, ledger, turn, reserve, beginnings, figures };
    };

    test("beyond them nothing begins; what is there is answered again, settled and funded", () => {
      const { store, ledger, turn, reserve, beginnings, figures } = setUpSized();
      const [a = "", b = "", c = ""] = ["a", "b", "c"].map((key) => bodyOf(reserve(key)).reservation_id);
      store.bytes = 99;
      expect(beginnings("last").map(verdictOf)).toEqual(["200", "200", "200", "200", "201", "200"]);
      expect(figures()).toEqual([100, 1, 51]);
      store.bytes = 100;
      for (const refused of beginnings("new")) {
        expect(refused).toMatchObject({
          status: 429,
          error: "LIMIT_EXCEEDED",
          message: "At most 100 bytes may be stored; what has finished goes once its time is over",
        });
      }
      expect(beginnings("last").map(verdictOf)).toEqual(["200", "200", "200", "200", "201", "200"]);
      expect(figures()).toEqual([100, 1, 51]);
      bodyOf(ledger.extend(a, { idempotency_key: "x", extend_by_ms: 1 }, turn()));
      bodyOf(ledger.commit(a, { idempotency_key: "c", actual: tokens(12) }, turn()));
      bodyOf(ledger.release(b, { idempotency_key: "r" }, turn()));
      const credit = { operation: "CREDIT", amount: tokens(50), idempotency_key: "f" };
      bodyOf(ledger.fund({ scope: "tenant:acme", unit: "TOKENS" }, credit, turn()));
      expect(bodyOf(ledger.getReservation(c, turn())).status).toBe("ACTIVE");
      expect(figures()).toEqual([150, 13, 31]);
      // Refused is not answered: with room again the same keys are new.
      store.bytes = 99;
      expect(beginnings("new").map(verdictOf)).toEqual(["200", "200", "200", "200", "201", "200"]);
    });

    test("and each refusal forgets a little of what has had its time", () => {
      const { clock, store, ledger, turn, reserve } = setUpSized();
      const old = Array.from(
        { length: 10 },
        (_, index) => bodyOf(reserve(`old ${index}`)).reservation_id ?? "",
      );
      for (const id of old) bodyOf(ledger.release(id, { idempotency_key: "r" }, turn()));
      clock.advance(40 * 86_400_000);
      store.bytes = 100;
      const left = [1, 2, 3].map((call) => {
        expect(verdictOf(reserve(`new ${call}`))).toBe("429 LIMIT_EXCEEDED");
        return old.filter((id) => store.readReservation(id) !== undefined).length;
      });
      expect(left).toEqual([6, 2, 0]);
    });
  });

  test("the usual ones hold where none are given", () => {
    const { activeReservationsMax, activeReservationsPerKeyMax, budgetsMax, apiKeysMax } = LEDGER_LIMITS;
    expect([activeReservationsMax, activeReservationsPerKeyMax]).toEqual([120_000, 40_000]);
    expect([budgetsMax, apiKeysMax]).toEqual([10_000, 10_000]);
    expect(LEDGER_LIMITS.storedBytesMax).toBe(8_000_000_000);
  });
});

describe("lengths count characters, not UTF-16 units", () => {
  const PURSE = "\u{1f45b}";
  const CASES: [string, (text: string) => Record<string, unknown>, number][] = [
    ["idempotency_key", (text) => ({ idempotency_key: text }), 256],
    ["action.name", (text) => ({ action: { kind: "k", name: text } }), 256],
    ["action.kind", (text) => ({ action: { kind: text, name: "n" } }), 64],
    ["action.tags.0", (text) => ({ action: { kind: "k", name: "n", tags: [text] } }), 64],
    ["subject.dimensions.d", (text) => ({ subject: { tenant: TENANT, dimensions: { d: text } } }), 256],
  ];
  test.each(CASES)("%s", (field, change, lengthMax) => {
    const { ledger, turn } = setUp({});
    bodyOf(ledger.createBudget(budget("tenant:acme", 100), turn()));
    const reserve = (text: string) => ledger.reserve({ ...reserveRequest("k", 1), ...change(text) }, turn());
    expect(verdictOf(reserve(PURSE.repeat(lengthMax)))).toBe("200");
    const refused = reserve(PURSE.repeat(lengthMax + 1));
    expect(refused).toMatchObject({ status: 400, details: { field } });
    const message = refused.ok ? "" : refused.message;
    expect(message).toContain(`${lengthMax} characters long`);
    expect(message.isWellFormed()).toBe(true);
  });

  test.each([0, 1, 2, 3])("a text cut after %i characters keeps them whole", (max) => {
    const text = `a${PURSE}b${PURSE}`;
    expect(shorten(text, max)).toBe(`${[...text].slice(0, max).join("")}…`);
    expect(shorten(text, max).isWellFormed()).toBe(true);
    expect([hasAtMostCharacters(text, max), hasAtMostCharacters(text, 4)]).toEqual([false, true]);
  });

  test("a text that fits is not touched", () => {
    expect(shorten(PURSE.repeat(4), 4)).toBe(PURSE.repeat(4));
  });
});

describe("a tenant's lives", () => {
  test.each([
    [{ default_reservation_ttl_ms: 5001, max_reservation_ttl_ms: 5000 }, "400 INVALID_REQUEST", undefined],
    [{ default_reservation_ttl_ms: 3_600_001 }, "400 INVALID_REQUEST", undefined],
    [{ default_reservation_ttl_ms: 5000, max_reservation_ttl_ms: 5000 }, "201", 5000],
    [{ max_reservation_ttl_ms: 5000 }, "201", 5000],
    [{ default_reservation_ttl_ms: 3_600_000 }, "201", 3_600_000],
    [{}, "201", 60_000],
  ])("%j: %s", (request, verdict, defaultMs) => {
    const ledger = new Ledger({ tenant: TENANT, store: new MemoryStore(), secrets: ["s"] });
    const reply = ledger.createTenant({ tenant_id: TENANT, name: "x", ...request }, { nowMs: 1 });
    expect(verdictOf(reply)).toBe(verdict);
    expect(reply.ok ? reply.body.default_reservation_ttl_ms : undefined).toBe(defaultMs);
  });
});

test.each(["CREDIT", "DEBIT", "RESET", "REPAY_DEBT"])(
  "spent with %s is refused and changes nothing",
  (operation) => {
    const { ledger, turn } = setUp({});
    bodyOf(ledger.createBudget(budget("tenant:acme", 100), turn()));
    const request = { operation, amount: tokens(50), spent: tokens(1), idempotency_key: "f" };
    expect(ledger.fund({ scope: "tenant:acme", unit: "TOKENS" }, request, turn())).toMatchObject({
      status: 400,
      error: "INVALID_REQUEST",
      message: `spent must only be given with RESET_SPENT, got ${operation}`,
    });
    expect(bodyOf(ledger.balances({ tenant: TENANT }, turn())).balances[0]?.allocated).toEqual(tokens(100n));
  },
);
