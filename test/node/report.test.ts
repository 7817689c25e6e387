// The comparison that decides whether `npm start` succeeds: it has to notice every figure that is off by one.
import { describe, test } from "vitest";
import { differences, type Figures, renderTable } from "../../scripts/lib/report.ts";

/** A run of 10 calls that agrees, in an account that had seen an earlier run and a reservation it never settled. */
const AGREED: Figures = {
  calls: 10,
  admitted: 7,
  denied: 3,
  overCap: 0,
  openHolds: 0,
  elapsedMs: 5,
  budgetTokens: 1000,
  threadsSpentTokens: 900,
  kernel: { consumed: 900, held: 0, debt: 0, available: 50, capacity: 950 },
  drawnTokens: 950,
  before: { allocated: 1300, spent: 200, reserved: 100, remaining: 1000, debt: 0 },
  after: { allocated: 1300, spent: 1100, reserved: 100, remaining: 100, debt: 0 },
  requests: new Map([["reserve", 3]]),
};

describe("differences", () => {
  test("finds none when everything agrees", ({ expect }) => {
    expect(differences(AGREED)).toEqual([]);
    expect(renderTable(AGREED)).not.toContain("✗");
  });

  const off: readonly (readonly [string, Partial<Figures>])[] = [
    ["a call that was never decided", { denied: 2 }],
    ["a call decided twice", { admitted: 8 }],
    ["threads that spent more than the kernel knows", { threadsSpentTokens: 901 }],
    [
      "a kernel that counted more than the threads",
      { kernel: { ...AGREED.kernel, consumed: 901, available: 49 } },
    ],
    ["tokens still held", { kernel: { ...AGREED.kernel, held: 1, available: 49 } }],
    ["tokens lost in the kernel", { kernel: { ...AGREED.kernel, available: 49 } }],
    ["debt that is not covered", { kernel: { ...AGREED.kernel, debt: 1 } }],
    ["a slice drawn and not granted", { drawnTokens: 951 }],
    ["an open hold", { openHolds: 1 }],
    ["an authority that charged less", { after: { ...AGREED.after, spent: 1099, remaining: 101 } }],
    ["an authority that kept a slice", { after: { ...AGREED.after, reserved: 101, remaining: 99 } }],
    ["an allocation that changed", { after: { ...AGREED.after, allocated: 1301, remaining: 101 } }],
    ["a remainder that is wrong", { after: { ...AGREED.after, remaining: 99 } }],
    ["a budget that was smaller", { budgetTokens: 899 }],
  ];
  test.for(off)("names %s", ([, change], { expect }) => {
    const figures = { ...AGREED, ...change };
    expect(differences(figures)).not.toEqual([]);
    expect(renderTable(figures)).toContain("✗");
  });
});
