// What is suggested of an estimate, against the calls themselves kept in a list; that old calls fade, routes are bounded, and
// what is no argument is refused.

import fc from "fast-check";
import { EstimateAdvisor } from "purser/estimates";
import { describe, expect, test } from "vitest";
import { BAD_AMOUNTS, edgeAmount } from "../../support/arbitraries.ts";

const ROUTE = { model: "m", route: "r" };
const amount = fc.oneof(fc.nat({ max: 5_000 }), edgeAmount);

describe("what is suggested", () => {
  test("is enough for the asked share of the calls, and at most a sixteenth more than the least that is", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 99 }),
        fc.array(fc.record({ estimate: amount, actual: amount }), { minLength: 1, maxLength: 200 }),
        fc.integer({ min: 1, max: 100_000 }),
        (percent, calls, estimate) => {
          const quantile = percent / 100;
          const advisor = new EstimateAdvisor({ quantile, callsMin: 1, callsRemembered: 200 });
          for (const call of calls) advisor.observe(ROUTE, call.estimate, call.actual);
          const ratios = calls
            .filter((call) => call.estimate > 0)
            .map((call) => Math.min(call.actual / call.estimate, 16))
            .sort((a, b) => a - b);
          const suggested = advisor.suggest(ROUTE, estimate);
          expect(Number.isSafeInteger(suggested)).toBe(true);
          const needed = ratios[Math.max(0, Math.ceil(ratios.length * quantile) - 1)];
          if (needed === undefined) expect(suggested).toBe(estimate);
          else {
            expect(suggested).toBeGreaterThanOrEqual(Math.floor(estimate * needed));
            expect(suggested).toBeLessThanOrEqual(Math.ceil(estimate * needed * (1 + 1 / 16)) + 1);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  test("is the estimate itself while the route is new, and where its calls use all of it", () => {
    const advisor = new EstimateAdvisor({ callsMin: 3 });
    for (const estimate of [0, 1, 1_000, Number.MAX_SAFE_INTEGER]) {
      expect(advisor.suggest(ROUTE, estimate)).toBe(estimate);
    }
    for (let call = 0; call < 3; call++) {
      expect(advisor.suggest(ROUTE, 1_000)).toBe(1_000);
      advisor.observe(ROUTE, 7_777, 7_777);
    }
    for (const estimate of [0, 1, 1_000, 2 ** 33 + 1, Number.MAX_SAFE_INTEGER]) {
      expect(advisor.suggest(ROUTE, estimate)).toBe(estimate);
    }
  });

  test("is exact for amounts whose product no number can hold, and never more than an amount", () => {
    const advisor = new EstimateAdvisor({ callsMin: 1 });
    advisor.observe(ROUTE, 2, 1);
    expect(advisor.suggest(ROUTE, Number.MAX_SAFE_INTEGER)).toBe(2 ** 52);
    advisor.observe({ model: "m", route: "twice" }, 1, 2);
    expect(advisor.suggest({ model: "m", route: "twice" }, Number.MAX_SAFE_INTEGER)).toBe(
      Number.MAX_SAFE_INTEGER,
    );
    expect(advisor.suggest({ model: "m", route: "twice" }, 100)).toBe(200);
  });

  test("follows a route that has changed, and remembers a rare long answer for a while", () => {
    const advisor = new EstimateAdvisor({ callsRemembered: 100, quantile: 0.95 });
    for (let call = 0; call < 1_000; call++) advisor.observe(ROUTE, 1_000, 900);
    expect(advisor.suggest(ROUTE, 1_000)).toBeGreaterThanOrEqual(900);
    for (let call = 0; call < 100; call++) advisor.observe(ROUTE, 1_000, 10);
    expect(advisor.suggest(ROUTE, 1_000)).toBeGreaterThanOrEqual(900);
    for (let call = 0; call < 400; call++) advisor.observe(ROUTE, 1_000, 10);
    expect(advisor.suggest(ROUTE, 1_000)).toBeLessThanOrEqual(12);
    // Six in a hundred are more than one in twenty.
    for (let call = 0; call < 100; call++) advisor.observe(ROUTE, 1_000, call % 16 === 0 ? 500 : 10);
    expect(advisor.suggest(ROUTE, 1_000)).toBeLessThanOrEqual(12);
    for (let call = 0; call < 400; call++) advisor.observe(ROUTE, 1_000, call % 16 === 0 ? 500 : 10);
    expect(advisor.suggest(ROUTE, 1_000)).toBeGreaterThanOrEqual(500);
  });

  test("hangs on nothing but the calls: the same ones lead to the same advice", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ route: fc.nat({ max: 5 }), estimate: amount, actual: amount })),
        (calls) => {
          const advice = [0, 1].map(() => {
            const advisor = new EstimateAdvisor({ callsMin: 2, routesMax: 3, callsRemembered: 4 });
            return calls.map(({ route, estimate, actual }) => {
              advisor.observe({ model: "m", route: `r${route}` }, estimate, actual);
              expect(advisor.routes).toBeLessThanOrEqual(3);
              return advisor.suggest({ model: "m", route: `r${route}` }, 1_000);
            });
          });
          expect(advice[0]).toEqual(advice[1]);
        },
      ),
    );
  });
});

test("the route that was used longest ago is forgotten first; models and routes are not mixed up", () => {
  const advisor = new EstimateAdvisor({ callsMin: 1, routesMax: 2 });
  const learn = (model: string, route: string) => advisor.observe({ model, route }, 1_000, 100);
  const knows = (model: string, route: string) => advisor.suggest({ model, route }, 1_000) < 1_000;
  learn("a", "1");
  learn("a", "2");
  expect(knows("a", "1")).toBe(true); // used again
  learn("b", "1");
  expect([knows("a", "1"), knows("a", "2"), knows("b", "1"), advisor.routes]).toEqual([true, false, true, 2]);
  learn("x y", "z");
  expect(knows("x", "y z")).toBe(false);
});

describe("bad input", () => {
  test.each(BAD_AMOUNTS)("%s is no amount, and nothing is learnt", (value, errorClass) => {
    const advisor = new EstimateAdvisor({ callsMin: 1 });
    expect(() => advisor.suggest(ROUTE, value as number)).toThrow(errorClass);
    expect(() => advisor.observe(ROUTE, value as number, 1)).toThrow(errorClass);
    expect(() => advisor.observe(ROUTE, 1, value as number)).toThrow(errorClass);
    expect(advisor.routes).toBe(0);
  });

  test.each([
    [{ quantile: 0 }, "quantile must be above 0 and below 1, got 0"],
    [{ quantile: 1 }, "quantile must be above 0 and below 1, got 1"],
    [{ quantile: Number.NaN }, "quantile must be above 0 and below 1, got NaN"],
    [{ quantile: "0.5" as never }, 'quantile must be a number, got string "0.5"'],
    [{ callsRemembered: 0 }, "callsRemembered must be an integer from 1 to 1000000, got 0"],
    [{ callsMin: 0.5 }, "callsMin must be an integer from 1 to 1000000, got 0.5"],
    [{ routesMax: 65_537 }, "routesMax must be an integer from 1 to 65536, got 65537"],
  ])("%o", (options, message) => {
    expect(() => new EstimateAdvisor(options)).toThrow(message);
  });

  const lone = String.fromCharCode(0xd800); // half a character, which no test's title may have
  test.each([
    ["an empty model", { model: "" }],
    ["an empty route", { route: "" }],
    ["a number", { model: 7 as never }],
    ["a text of 257", { route: "x".repeat(257) }],
    ["half a character", { model: lone }],
  ])("%s names no route", (_, part) => {
    const advisor = new EstimateAdvisor();
    const refusal = expect.objectContaining({ code: "ARGUMENT_INVALID" });
    expect(() => advisor.suggest({ ...ROUTE, ...part }, 1)).toThrow(refusal);
    expect(() => advisor.observe({ ...ROUTE, ...part }, 1, 1)).toThrow(refusal);
  });
});
