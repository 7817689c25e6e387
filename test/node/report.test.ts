// The comparison that decides whether `npm start` succeeds: it has to notice every figure that is off by one.
import { describe, test } from "vitest";
import { differences, type Figures, footnotes, overspendOf, renderTable } from "../../scripts/lib/report.ts";

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
  chargedTokens: 900,
  openSlices: 0,
  before: { allocated: 1300, spent: 200, reserved: 100, remaining: 1000, debt: 0 },
  after: { allocated: 1300, spent: 1100, reserved: 100, remaining: 100, debt: 0 },
  requests: new Map([["reserve", 3]]),
};

describe("differences", () => {
  test("finds none when everything agrees", ({ expect }) => {
    expect(differences(AGREED)).toEqual([]);
    expect(renderTable(AGREED)).not.toContain("✗");
  });

  // What differs by one, and exactly the sentences that say so: each comparison is missed here if it is not made.
  const off: readonly (readonly [string, Partial<Figures>, readonly string[]])[] = [
    ["a call that was never decided", { denied: 2 }, ["calls admitted + denied: 9, expected 10"]],
    ["a call decided twice", { admitted: 8 }, ["calls admitted + denied: 11, expected 10"]],
    [
      "threads that spent more than anyone knows",
      { threadsSpentTokens: 901 },
      [
        "tokens spent by the kernel's count: 900, expected 901",
        "tokens spent by the authority's count: 900, expected 901",
        "tokens charged for this run's slices: 900, expected 901",
        "tokens remaining at the authority: 100, expected 99",
      ],
    ],
    [
      "a kernel that counted more than the threads",
      { kernel: { ...AGREED.kernel, consumed: 901, available: 49 } },
      ["tokens spent by the kernel's count: 901, expected 900"],
    ],
    [
      "tokens still held",
      { kernel: { ...AGREED.kernel, held: 1, available: 49 } },
      ["tokens still held in the kernel: 1, expected 0"],
    ],
    [
      "tokens lost in the kernel",
      { kernel: { ...AGREED.kernel, available: 49 } },
      ["available + held + consumed − debt in the kernel: 949, expected 950"],
    ],
    [
      "debt that is not covered",
      { kernel: { ...AGREED.kernel, debt: 1 } },
      ["available + held + consumed − debt in the kernel: 949, expected 950"],
    ],
    [
      "a slice drawn and not granted",
      { drawnTokens: 951 },
      ["capacity drawn into the kernel: 950, expected 951"],
    ],
    ["an open hold", { openHolds: 1 }, ["open holds: 1, expected 0"]],
    [
      "an authority whose balance shows less spent",
      { after: { ...AGREED.after, spent: 1099 } },
      ["tokens spent by the authority's count: 899, expected 900"],
    ],
    [
      "an authority that charged less",
      { chargedTokens: 899 },
      ["tokens charged for this run's slices: 899, expected 900"],
    ],
    [
      "a slice that was never settled, hidden behind a reservation that expired",
      { openSlices: 1 },
      ["slices this run left unsettled at the authority: 1, expected 0"],
    ],
    [
      "an authority that kept a token reserved",
      { after: { ...AGREED.after, reserved: 101 } },
      ["tokens reserved at the authority beyond those of earlier runs: 1, expected 0"],
    ],
    [
      "an allocation that changed",
      { after: { ...AGREED.after, allocated: 1301 } },
      ["the authority's allocation for this run: 1,001, expected 1,000"],
    ],
    [
      "a remainder that is wrong",
      { after: { ...AGREED.after, remaining: 99 } },
      ["tokens remaining at the authority: 99, expected 100"],
    ],
  ];
  test.for(off)("names %s", ([, change, sentences], { expect }) => {
    const figures = { ...AGREED, ...change };
    expect(differences(figures)).toEqual(sentences);
    expect(renderTable(figures)).toContain("✗");
  });

  test("takes an earlier run's reservation that expires meanwhile for what it is", ({ expect }) => {
    // 60 of the 100 tokens that stood reserved have come back to the account during this run.
    const figures = { ...AGREED, after: { ...AGREED.after, reserved: 40, remaining: 160 } };
    expect(differences(figures)).toEqual([]);
    expect(renderTable(figures)).not.toContain("✗");
    expect(footnotes(figures).join("\n")).toContain("reservation of 60 tokens expired during this run");
    expect(footnotes(figures).join("\n")).toContain("left 40 tokens reserved");
    expect(differences({ ...figures, after: { ...figures.after, remaining: 100 } })).toEqual([
      "tokens remaining at the authority: 40, expected 100",
    ]);
  });

  test("overspend that all agree on is shown, and no disagreement", ({ expect }) => {
    const figures: Figures = {
      ...AGREED,
      threadsSpentTokens: 1060,
      kernel: { consumed: 1060, held: 0, debt: 60, available: 0, capacity: 1000 },
      drawnTokens: 1000,
      chargedTokens: 1060,
      after: { allocated: 1300, spent: 1200, reserved: 100, remaining: -60, debt: 60 },
    };
    expect(differences(figures)).toEqual([]);
    expect(overspendOf(figures)).toBe(60);
    expect(renderTable(figures)).toMatch(/overspend\s*│\s*60 .*✗/);
    expect(footnotes(figures)).toContain("The authority has recorded 60 of the tokens spent as debt.");
  });
});
