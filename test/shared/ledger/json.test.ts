// Exact JSON and int64 text: tables in both directions, and a differential test against JSON.parse.

import fc from "fast-check";
import { INT64_MAX, int64Text, parseInt64, parseJson, readStoredJson, stringifyJson } from "purser/ledger";
import { describe, expect, test } from "vitest";
import { canonicalJson, toJsonValue } from "../../../src/ledger/json.ts";

describe("int64 text", () => {
  test.each([
    ["0", 0n],
    ["7", 7n],
    ["-1", -1n],
    ["9007199254740993", 9007199254740993n],
    ["9223372036854775807", INT64_MAX],
    ["-9223372036854775808", -INT64_MAX - 1n],
  ])("%s is read and written exactly", (text, value) => {
    expect(parseInt64(text)).toBe(value);
    expect(int64Text(value)).toBe(text);
  });

  test.each([
    "",
    "-0",
    "00",
    "01",
    "+1",
    "1.0",
    "1e3",
    " 1",
    "1 ",
    "12abc",
    "9223372036854775808",
    "-9223372036854775809",
  ])("%j is refused", (text) => {
    expect(parseInt64(text)).toBeUndefined();
  });

  test("a value outside int64 is never written", () => {
    expect(() => int64Text(INT64_MAX + 1n)).toThrow(RangeError);
  });
});

describe("parseJson", () => {
  test.each([
    ["9007199254740991", 9007199254740991],
    ["9007199254740992", 9007199254740992n],
    ["9007199254740993", 9007199254740993n],
    ["-9007199254740993", -9007199254740993n],
    ["1.5", 1.5],
    ["1e-2", 0.01],
    ['"a\\u0000\\n😀"', "a\u0000\n😀"],
    [' { "a" : [ 1 , true , null ] } ', { a: [1, true, null] }],
    ["{}", {}],
    ["[]", []],
  ])("reads %s", (text, value) => {
    expect(parseJson(text)).toEqual({ ok: true, value });
  });

  test.each(["1.0", "1e3", "-0", "0.99999999999999999999", "9007199254740993.0"])(
    "boxes %s, whose double is an integer",
    (text) => {
      expect(parseJson(text)).toStrictEqual({ ok: true, value: Object(Number(text)) });
    },
  );

  test.each([
    ["", "expected a JSON value"],
    ["{", "expected a key"],
    ["[1", "expected a comma or the end of the array"],
    ['{"a":1,}', "expected a key"],
    ["[1,]", "expected a JSON value"],
    ["01", "unexpected text"],
    ["+1", "expected a JSON value"],
    ["NaN", "expected a JSON value"],
    ["1e400", "too large"],
    ["nul", "expected a JSON value"],
    ["1 2", "unexpected text"],
    ['"a', "does not end"],
    ['"\u0001"', "control character"],
    ['"\\x"', "bad escape"],
    ['"\\ud800"', "surrogate"],
    ['{"\\udc00":1}', "surrogate"],
    ['{"__proto__":1}', "__proto__"],
    ['{"a":1,"a":2}', "twice"],
    ["[".repeat(33) + "]".repeat(33), "nested more than 32"],
    ["[".repeat(1_000_000), "nested more than 32"],
  ])("refuses %.40j", (text, rule) => {
    const result = parseJson(text);
    expect(result.ok ? "accepted" : result.message).toContain(rule);
  });

  test("depth at the limit is accepted", () => {
    expect(parseJson("[".repeat(32) + "]".repeat(32)).ok).toBe(true);
  });

  test("agrees with JSON.parse on everything that both accept, and accepts no more", () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string(), jsonish), (text) => {
        const mine = parseJson(text, Number.POSITIVE_INFINITY);
        let theirs: unknown;
        try {
          theirs = JSON.parse(text);
        } catch {
          expect(mine.ok).toBe(false);
          return;
        }
        if (!mine.ok) {
          expect(mine.message).toMatch(/__proto__|twice|surrogate|too large/);
          return;
        }
        expect(asDoubles(toJsonValue(mine.value, Number.POSITIVE_INFINITY))).toEqual(asDoubles(theirs));
      }),
      { numRuns: 2_000 },
    );
  });
});

/** Text that is nearly JSON: fragments of the grammar in any order. */
const jsonish = fc
  .array(
    fc.constantFrom(
      "{",
      "}",
      "[",
      "]",
      ",",
      ":",
      '"',
      "a",
      "\\",
      "1",
      "-",
      ".",
      "e",
      "0",
      " ",
      "true",
      "null",
    ),
    {
      maxLength: 12,
    },
  )
  .map((parts) => parts.join(""));

function asDoubles(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (value === 0) return 0;
  if (Array.isArray(value)) return value.map(asDoubles);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, asDoubles(item)]));
}

describe("writing", () => {
  test("BigInt is a plain integer, undefined members are left out, keys keep their order", () => {
    expect(stringifyJson({ b: INT64_MAX, a: [1n, 1.5, "x"], none: undefined })).toBe(
      '{"b":9223372036854775807,"a":[1,1.5,"x"]}',
    );
  });

  test("canonical text sorts keys by UTF-16 units at every depth", () => {
    expect(canonicalJson({ "\u{1f600}": 1, "\ufb33": 2, b: { d: 1, c: 2n }, a: 3 })).toBe(
      '{"a":3,"b":{"c":2,"d":1},"\u{1f600}":1,"\ufb33":2}',
    );
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])("%s has no JSON form", (value) => {
    expect(() => stringifyJson({ value })).toThrow(TypeError);
  });

  test("what was stored is read back word for word", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.bigInt(), (value, big) => {
        // What the door refuses never gets stored: a key "__proto__", for one.
        fc.pre(toJsonValue(value) !== undefined);
        const text = stringifyJson([value, big]);
        expect(stringifyJson(readStoredJson(text))).toBe(text);
      }),
    );
  });

  test("only plain data becomes JSON", () => {
    for (const value of [
      () => 1,
      Symbol("x"),
      new Date(),
      new Map(),
      { a: undefined },
      [Number.NaN],
      "\ud800",
    ]) {
      expect(toJsonValue(value)).toBeUndefined();
    }
    const circle: Record<string, unknown> = {};
    circle.self = circle;
    expect(toJsonValue(circle)).toBeUndefined();
    expect(toJsonValue({ a: Object(1) })).toEqual({ a: 1 });
  });
});
