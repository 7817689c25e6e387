// What the validator must not let through or let fall: keys with a meaning of their own in JavaScript, arrays in the place
// of objects, days that do not exist.

import { describe, expect, test } from "vitest";
import { parseJson } from "../../../src/ledger/json.ts";
import {
  bodyOf,
  budget,
  openLedger,
  reserveRequest,
  TENANT,
  verdictOf,
} from "../../support/ledger-fixtures.ts";

function setUp() {
  const { ledger, store, turn } = openLedger(100);
  const reserve = (dimensions: unknown, key = "k") =>
    ledger.reserve({ ...reserveRequest(key, 1), subject: { tenant: TENANT, dimensions } }, turn());
  return { ledger, store, turn, reserve };
}

/** JSON as it comes in from the wire. */
function wire(text: string): unknown {
  const parsed = parseJson(text);
  if (!parsed.ok) throw new Error(parsed.message);
  return parsed.value;
}

const ODD_KEYS = ["constructor", "prototype", "toString", "hasOwnProperty", "valueOf", ""];

describe.each(ODD_KEYS)("a key called %j", (key) => {
  test("is kept in dimensions, shown, and counts for what a request is", () => {
    const { ledger, turn, reserve } = setUp();
    const dimensions = wire(JSON.stringify({ [key]: "x" }));
    const id = bodyOf(reserve(dimensions)).reservation_id ?? "";
    expect(bodyOf(ledger.getReservation(id, turn())).subject.dimensions).toEqual({ [key]: "x" });
    expect(verdictOf(reserve(dimensions))).toBe("200");
    expect(verdictOf(reserve({ [key]: "y" }))).toBe("409 IDEMPOTENCY_MISMATCH");
    expect(verdictOf(reserve({}))).toBe("409 IDEMPOTENCY_MISMATCH");
  });

  test("must hold a text like any other, and counts among the entries", () => {
    const { reserve } = setUp();
    const field = `subject.dimensions.${key}`;
    expect(reserve({ [key]: 5 })).toMatchObject({
      message: `${field} must be a string, got 5`,
      details: { field },
    });
    expect(reserve({ [key]: "x".repeat(257) })).toMatchObject({ details: { field } });
    const fifteen = Object.fromEntries(Array.from({ length: 15 }, (_, index) => [`d${index}`, "x"]));
    expect(verdictOf(reserve({ ...fifteen, [key]: "x" }))).toBe("200");
    expect(reserve({ ...fifteen, [key]: "x", more: "x" })).toMatchObject({
      status: 400,
      message: "subject.dimensions must have at most 16 entries, got an object",
    });
  });

  test("is kept in a tenant's metadata and in a budget's", () => {
    const { ledger, store, turn } = setUp();
    const metadata = { [key]: "x" };
    expect(bodyOf(ledger.updateTenant({ metadata }, turn())).metadata).toEqual(metadata);
    expect(verdictOf(ledger.updateTenant({ metadata: { [key]: 1 } }, turn()))).toBe("400 INVALID_REQUEST");
    const name = { scope: "tenant:acme", unit: "TOKENS" };
    bodyOf(ledger.updateBudget(name, { metadata: { [key]: 1 } }, turn()));
    expect(store.readAccounts(["tenant:acme"])[0]?.settings.metadata).toEqual({ [key]: 1 });
  });

  test("is an unknown field of a closed object", () => {
    const { ledger, turn } = setUp();
    for (const request of [{ ...reserveRequest("k", 1), [key]: 1 }]) {
      expect(ledger.reserve(request, turn())).toMatchObject({ message: `${key} is not a known field` });
    }
  });
});

test('"__proto__" is refused in dimensions, also where it comes over RPC and not as text', () => {
  const { reserve } = setUp();
  const dimensions = Object.defineProperty({}, "__proto__", { value: "x", enumerable: true });
  expect(reserve(dimensions)).toMatchObject({ status: 400, details: { field: "subject.dimensions" } });
});

describe("an array in the place of an object", () => {
  test("is said to be one, whatever the object's fields are", () => {
    const { ledger, turn } = setUp();
    const name = { scope: "tenant:acme", unit: "TOKENS" };
    const policy = { name: "p", scope_pattern: "tenant:acme" };
    const fault = (field: string) => ({
      status: 400,
      message: `${field} must be a JSON object, got an array`,
      details: { field },
    });
    expect(ledger.reserve([], turn())).toMatchObject(fault("request"));
    expect(ledger.commit("id", [reserveRequest("k", 1)], turn())).toMatchObject(fault("request"));
    expect(ledger.updateBudget(name, [], turn())).toMatchObject(fault("request"));
    expect(ledger.createPolicy([], turn())).toMatchObject(fault("request"));
    expect(ledger.reserve({ ...reserveRequest("k", 1), subject: [] }, turn())).toMatchObject(
      fault("subject"),
    );
    expect(ledger.createPolicy({ ...policy, caps: [] }, turn())).toMatchObject(fault("caps"));
    expect(ledger.setPeriod(name, [], turn())).toMatchObject(fault("request"));
  });
});

describe("a point in time", () => {
  const create = (period_start: string) => {
    const { ledger, turn } = setUp();
    return ledger.createBudget(budget("tenant:acme/agent:a", 1, { period_start }), turn());
  };

  test.each([
    "2026-02-31T00:00:00Z",
    "2026-02-29T00:00:00Z",
    "2026-04-31T10:00:00+02:00",
    "2100-02-29T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-01-01T24:00:00Z",
    "2026-01-01T00:00:00",
    "2026-01-01",
    "yesterday",
  ])("%s is none: 400 that shows it", (text) => {
    expect(create(text)).toMatchObject({
      status: 400,
      message: expect.stringContaining(`got "${text}"`),
      details: { field: "period_start" },
    });
  });

  test.each([
    ["2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z"],
    ["2000-02-29T23:59:59.999Z", "2000-02-29T23:59:59.999Z"],
    ["2026-12-31T23:00:00-02:00", "2027-01-01T01:00:00.000Z"],
  ])("%s is one", (text, shown) => {
    expect(bodyOf(create(text)).period_start).toBe(shown);
  });
});
