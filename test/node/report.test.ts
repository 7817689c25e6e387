// The comparison that decides whether `npm start` succeeds: it has to notice every figure that is off by one.
import { describe, test } from "vitest";
import type { HolderRecord } from "../../scripts/lib/holders.ts";
import { differences, type Figures, footnotes, overspendOf, renderTable } from "../../scripts/lib/report.ts";
import { emptyRow } from "../../scripts/lib/tally.ts";

const LEASE = {
  leaseId: "l1",
  epoch: 1,
  status: "RETURNED",
  scopePath: "tenant:demo",
  unit: "TOKENS",
  granted: 950,
  returned: 50,
  held: 0,
  outstanding: 0,
  charged: 0,
  sequence: 3,
  createdAtMs: 1,
  renewedAtMs: 2,
  expiresAtMs: 3,
} as const;

const ROW = { ...emptyRow(), decided: 10, admitted: 7, denied: 3, settled: 7, spentTokens: 900 };
const KERNEL = { consumed: 900, held: 0, available: 0 };
const HOLDER: HolderRecord = { name: "a", seat: 0, done: ROW, kernel: KERNEL, openHolds: 0, elapsedMs: 5 };
const BALANCE = { scopePath: "tenant:demo", unit: "TOKENS", overdraftLimit: 0, isOverLimit: false } as const;

/** A run of 10 calls that agrees, in an account that had seen an earlier run and a reservation it never settled. */
const AGREED: Figures = {
  calls: 10,
  elapsedMs: 5,
  budgetTokens: 1000,
  holders: [HOLDER],
  leases: [{ ...LEASE, holder: "a", spent: 900 }],
  authorityCalls: 3,
  exposurePeak: 400,
  before: { ...BALANCE, allocated: 1300, spent: 200, reserved: 100, remaining: 1000, debt: 0 },
  after: { ...BALANCE, allocated: 1300, spent: 1100, reserved: 100, remaining: 100, debt: 0 },
};

/** The same, with a holder that was killed after 100 tokens; 40 more were out then. */
const WITH_DEAD: Figures = {
  ...AGREED,
  calls: 12,
  holders: [
    HOLDER,
    {
      name: "b",
      seat: 1,
      done: { ...emptyRow(), decided: 2, admitted: 2, settled: 1, spentTokens: 50 },
      openHolds: 0,
      elapsedMs: 0,
    },
  ],
  leases: [...AGREED.leases, { ...LEASE, holder: "b", status: "EXPIRED", spent: 30, charged: 60 }],
  after: { ...AGREED.after, spent: 1190, remaining: 10 },
};

function holder(change: Partial<HolderRecord>): Partial<Figures> {
  return { holders: [{ ...HOLDER, ...change }] };
}

describe("differences", () => {
  test("finds none when everything agrees", ({ expect }) => {
    expect(differences(AGREED)).toEqual([]);
    expect(renderTable(AGREED)).not.toContain("✗");
  });

  // What differs by one, and exactly the sentences that say so: each comparison is missed here if it is not made.
  const off: readonly (readonly [string, Partial<Figures>, readonly string[]])[] = [
    [
      "a call that was never decided",
      holder({ done: { ...ROW, denied: 2 } }),
      ["calls admitted + denied: 9, expected 10"],
    ],
    [
      "a call decided twice",
      holder({ done: { ...ROW, admitted: 8 } }),
      ["calls admitted + denied: 11, expected 10"],
    ],
    [
      "threads that spent more than anyone knows",
      holder({ done: { ...ROW, spentTokens: 901 } }),
      [
        "tokens spent by the authority's count: 900, expected 901",
        "tokens spent by a, by its kernel's count: 900, expected 901",
        "tokens charged to a's leases: 900, expected 901",
        "tokens remaining at the authority: 100, expected 99",
      ],
    ],
    [
      "a kernel that counted more than the threads",
      holder({ kernel: { ...KERNEL, consumed: 901 } }),
      ["tokens spent by a, by its kernel's count: 901, expected 900"],
    ],
    [
      "tokens still held",
      holder({ kernel: { ...KERNEL, held: 1 } }),
      ["tokens still held in a's kernel: 1, expected 0"],
    ],
    [
      "tokens kept back",
      holder({ kernel: { ...KERNEL, available: 1 } }),
      ["tokens that a did not give back: 1, expected 0"],
    ],
    ["an open hold", holder({ openHolds: 1 }), ["open holds: 1, expected 0"]],
    [
      "an authority whose balance shows less spent",
      { after: { ...AGREED.after, spent: 1099 } },
      ["tokens spent by the authority's count: 899, expected 900"],
    ],
    [
      "an authority that charged less",
      { leases: [{ ...LEASE, holder: "a", spent: 899 }] },
      ["tokens charged to a's leases: 899, expected 900"],
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
    expect(footnotes(figures).join("\n")).toContain("60 tokens came back during this run");
    expect(footnotes(figures).join("\n")).toContain("left 40 tokens reserved");
    expect(differences({ ...figures, after: { ...figures.after, remaining: 100 } })).toEqual([
      "tokens remaining at the authority: 40, expected 100",
    ]);
  });

  test("what a killed holder had out is charged, and a row of its own", ({ expect }) => {
    expect(differences(WITH_DEAD)).toEqual([]);
    expect(overspendOf(WITH_DEAD)).toBe(0);
    expect(renderTable(WITH_DEAD)).toMatch(/charged for killed holders\s*│\s*│\s*40 /);
    expect(renderTable(WITH_DEAD)).toMatch(/cut short by a kill\s*│\s*1 /);
    const [live, ...dead] = WITH_DEAD.leases;
    const tooLittle = dead.map((it) => ({ ...it, charged: 10 }));
    const uncharged = { ...WITH_DEAD, leases: live === undefined ? [] : [live, ...tooLittle] };
    expect(differences(uncharged)).toContain(
      "tokens that b spent before it was killed, and was not charged for: 10, expected 0",
    );
  });

  test("overspend that all agree on is shown, and no disagreement", ({ expect }) => {
    const figures: Figures = {
      ...AGREED,
      ...holder({
        done: { ...ROW, spentTokens: 1060 },
        kernel: { consumed: 1060, held: 0, available: 0 },
      }),
      leases: [{ ...LEASE, holder: "a", spent: 1060 }],
      after: { ...AGREED.after, allocated: 1300, spent: 1200, remaining: -60, debt: 60 },
    };
    expect(differences(figures)).toEqual([]);
    expect(overspendOf(figures)).toBe(60);
    expect(renderTable(figures)).toMatch(/overspend\s*│\s*60 .*✗/);
    expect(footnotes(figures)).toContain("The authority has recorded 60 of the tokens spent as debt.");
  });
});
