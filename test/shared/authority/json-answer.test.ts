// The clients' reader and writer, beside the ledger's own: they say the same of every text and value that both take for JSON.

import * as fc from "fast-check";
import { HttpAuthority } from "purser/client";
import { parseJson, stringifyJson } from "purser/ledger";
import { describe, expect, test } from "vitest";
import { reservationOf } from "../../../src/authority/from-wire.ts";
import { parseAnswer, requestText } from "../../../src/authority/json-answer.ts";
import { safeFigure } from "../../../src/authority/members.ts";
import { deniedBy, errorOf } from "../../../src/authority/refusals.ts";
import type { WireFields } from "../../../src/authority/wire-call.ts";

describe("numbers", () => {
  test.each([
    ["0", 0],
    ["-7", -7],
    ["999999999999999", 999_999_999_999_999],
    ["9007199254740991", Number.MAX_SAFE_INTEGER],
    ["9007199254740993", 9_007_199_254_740_993n],
    ["-9223372036854775808", -(2n ** 63n)],
    ["123456789012345678901234567890", 123_456_789_012_345_678_901_234_567_890n],
    ["0.5", 0.5],
    ["1e-3", 0.001],
    ["[1,-2 , 9007199254740993]", [1, -2, 9_007_199_254_740_993n]],
    ['{"a":{"b":9007199254740993}}', { a: { b: 9_007_199_254_740_993n } }],
  ])("%s", (text, value) => {
    expect(parseAnswer(text)).toStrictEqual(value);
  });

  test.each(["1.0", "1e3", "0.99999999999999999999", "9007199254740993.0", "-0.0", "1E+2"])(
    "%s is no integer, whatever its double is",
    (text) => {
      expect(parseAnswer(text)).toBeInstanceOf(Number);
      expect(Number.isSafeInteger(parseAnswer(text))).toBe(false);
    },
  );
});

test.each([
  '"~9007199254740993"',
  '"\\u007e9007199254740993"',
  '"\\u007E9007199254740993"',
  '"~"',
  '"~~1"',
  '"9007199254740993"',
  '"a \\" 9007199254740993 \\" b"',
  '"\\\\"',
  '["\\\\",9007199254740993,"\\\\\\"","x"]',
  '{"~9007199254740993":"~9007199254740993"}',
  '{"9007199254740993" : 1}',
  '{"\\u007e" \n: "\\u007e"}',
])("%s: a text stays what it is, and is never taken for a number", (text) => {
  const parsed = parseJson(text);
  expect(parseAnswer(text)).toStrictEqual(parsed.ok ? parsed.value : undefined);
});

test.each([
  "",
  "tru",
  "01",
  "-",
  "1.",
  ".5",
  "1e",
  "+1",
  "9007199254740993.",
  "09007199254740993",
  '"9007199254740993',
  "'1'",
  '{"a":9007199254740993',
  "[9007199254740993 9007199254740993]",
  "9007199254740993true",
  '9007199254740993"a"',
  "{9007199254740993:1}",
  '{"a" 9007199254740993:1}',
  "<html>9007199254740993</html>",
])("%s is no JSON", (text) => {
  expect(() => parseAnswer(text)).toThrow(SyntaxError);
});

test("any JSON, with any integers: as the ledger reads it", () => {
  const number = fc.oneof(
    fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }).map(String),
    fc.maxSafeInteger().map(String),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((it) => JSON.stringify(it)),
    fc.constantFrom("1.0", "1e2", "-1.50", "0.99999999999999999999"),
  );
  const text = fc
    .tuple(fc.constantFrom("", "~", "~1", '"', "\\", "9007199254740993"), fc.string())
    .map(([start, rest]) => JSON.stringify(start + rest));
  const { value } = fc.letrec<{ value: string }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      number,
      text,
      fc.constantFrom("true", "false", "null"),
      fc.array(tie("value"), { maxLength: 4 }).map((items) => `[${items.join(" , ")}]`),
      fc
        .uniqueArray(fc.tuple(text, tie("value")), { maxLength: 4, selector: ([key]) => key })
        .map((members) => `{${members.map(([key, it]) => `${key} : ${it}`).join(",")}}`),
    ),
  }));
  fc.assert(
    fc.property(value, (json) => {
      const parsed = parseJson(json);
      fc.pre(parsed.ok);
      expect(parseAnswer(json)).toStrictEqual(parsed.ok && parsed.value);
    }),
  );
});

describe("writing", () => {
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.oneof(
        fc.constantFrom(
          "~",
          "~~",
          "~1",
          '"~1"',
          '\\"~~7',
          "~-5",
          "\u2028",
          "\ud800",
          null,
          true,
          undefined,
          -0,
          1e21,
        ),
        fc.string(),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        fc.bigInt(),
      ),
      fc.array(
        tie("value").map((it) => it ?? null),
        { maxLength: 4 },
      ),
      fc.dictionary(fc.oneof(fc.string(), fc.constantFrom("~", "~1", "~~", '"~')), tie("value"), {
        maxKeys: 4,
      }),
    ),
  }));

  test("says of every value what the ledger's writer says", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), value), (body) => {
        expect(requestText(body)).toBe(stringifyJson(body));
      }),
    );
  });

  test("a boxed text or number is what is in the box", () => {
    const boxed = { a: Object("~1"), b: Object("~x"), c: Object("plain"), d: Object(1.5), e: [Object("~~")] };
    expect(requestText(boxed)).toBe('{"a":"~1","b":"~x","c":"plain","d":1.5,"e":["~~"]}');
  });

  test.each([[Number.NaN], [Object(Number.NaN)], [Number.POSITIVE_INFINITY], [() => 1], [Symbol("s")]])(
    "%o is no value of JSON: the error names its member, and nothing is sent",
    async (it) => {
      let calls = 0;
      const fetch = async () => {
        calls += 1;
        return Response.error();
      };
      const authority = new HttpAuthority({ baseUrl: "https://authority.test", apiKey: "k", fetch });
      const action = { kind: "llm", name: "chat" };
      const metadata = { deep: { here: it as number } };
      const estimate = { unit: "TOKENS", amount: 1 } as const;
      const asked = authority.reserve({ subject: { tenant: "acme" }, action, estimate, metadata });
      await expect(asked).rejects.toMatchObject({
        code: "ARGUMENT_INVALID",
        message: expect.stringMatching(/^here must be/),
      });
      expect(calls).toBe(0);
    },
  );
});

test.each([
  ["self", (it: Record<string, unknown>) => Object.assign(it, { self: it })],
  ["up", (it: Record<string, unknown>) => Object.assign(it, { a: { b: [{ up: it }] } })],
])("what contains itself is an error that names the member, %s", (name, close) => {
  const metadata = close({ first: 1 });
  expect(() => requestText({ actual: 1, metadata })).toThrow(
    expect.objectContaining({
      code: "ARGUMENT_INVALID",
      message: expect.stringMatching(new RegExp(`^${name} must be`)),
    }),
  );
});

test("the same object in two members is no circle", () => {
  const it = { n: 1 };
  expect(requestText({ a: it, b: [it, it] })).toBe('{"a":{"n":1},"b":[{"n":1},{"n":1}]}');
});

test("what an answer's metadata says comes as plain numbers, however the server wrote them", () => {
  const row =
    '{"reservation_id":"r","status":"ACTIVE","subject":{"tenant":"acme"},"action":{"kind":"a","name":"b"},' +
    '"reserved":{"unit":"TOKENS","amount":1},"created_at_ms":1,"expires_at_ms":2,"scope_path":"tenant:acme",' +
    '"affected_scopes":["tenant:acme"],"metadata":{"x":1.0,"y":[1e3,{"z":2.5}],"n":7}}';
  const { metadata } = reservationOf(parseAnswer(row) as WireFields, safeFigure);
  expect(metadata).toEqual({ x: 1, y: [1_000, { z: 2.5 }], n: 7 });
  expect(typeof metadata?.x).toBe("number");
});

test("so do an error's details; of a denial's figures none that was written with a fraction is believed", () => {
  const refusalOf = (text: string) =>
    errorOf({ operation: "reserve" }, { status: 409, body: parseAnswer(text) });
  const { details } = refusalOf(
    '{"error":"FORBIDDEN","message":"no","details":{"x":1.0,"y":[1e3,{"z":2.5}]}}',
  );
  expect(details).toEqual({ x: 1, y: [1_000, { z: 2.5 }] });
  expect(typeof details?.x).toBe("number");
  const denialOf = (requested: string) => {
    const figures = `"requested":${requested},"allocated":9,"remaining":9,"spent":0,"reserved":0,"debt":0`;
    const body = `{"error":"BUDGET_EXCEEDED","message":"no","details":{"unit":"TOKENS","scope":"s",${figures}}}`;
    return deniedBy(refusalOf(body), safeFigure)?.denial;
  };
  expect(denialOf("10")).toMatchObject({ scope: "s", figures: { requested: 10, limit: 9 } });
  expect(denialOf("10.00000000000000000001")).toMatchObject({ scope: "s", code: "BUDGET_EXCEEDED" });
  expect(denialOf("10.00000000000000000001")).not.toHaveProperty("figures");
});

test("a refusal without a budget is a denial where something was asked for; a settlement's is what it says", () => {
  const body = { error: "NOT_FOUND", message: "Budget not found for provided scope: tenant:acme" };
  const codeOf = (operation: string) => errorOf({ operation }, { status: 404, body }).code;
  expect(["reserve", "reserveFit", "event", "openLease"].map(codeOf)).toEqual(
    Array(4).fill("BUDGET_NOT_FOUND"),
  );
  expect(["commit", "release", "getReservation"].map(codeOf)).toEqual(Array(3).fill("NOT_FOUND"));
});

test("a denial names a scope only if the details' is a text", () => {
  const body = { error: "BUDGET_EXCEEDED", message: "no", details: { scope: 5 } };
  const denied = deniedBy(errorOf({ operation: "reserve" }, { status: 409, body }), safeFigure);
  expect(denied?.denial).not.toHaveProperty("scope");
});
