// The authority's arithmetic against an independent model in plain BigInt, written from the protocol's text.

import "purser/ledger";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  AccountArithmetic,
  type AccountFigures,
  type FundOperation,
  type OveragePolicy,
  type PathResult,
  type SettlementPolicy,
} from "../../../src/kernel/accounts.ts";
import { edgeInt64 } from "../../support/arbitraries.ts";

const INT64_MAX = 2n ** 63n - 1n;
const INT64_MIN = -(2n ** 63n);

const remaining = (account: AccountFigures): bigint =>
  account.allocated - account.spent - account.reserved - account.debt;
const avail = (account: AccountFigures): bigint => (remaining(account) > 0n ? remaining(account) : 0n);
const overLimit = (account: AccountFigures): boolean =>
  account.overLimitMark || (account.overdraftLimit > 0n && account.debt > account.overdraftLimit);
const min = (a: bigint, b: bigint): bigint => (a < b ? a : b);

const fits = (account: AccountFigures): boolean =>
  [account.allocated, account.spent, account.reserved, account.debt].every((value) => value <= INT64_MAX) &&
  remaining(account) > INT64_MIN; // the kernel keeps i64.MIN_VALUE for "no such figure"

/** An account whose remaining stays within int64, as the ledger only stores such. */
const account: fc.Arbitrary<AccountFigures> = fc
  .record({
    allocated: edgeInt64,
    spent: edgeInt64,
    reserved: edgeInt64,
    debt: fc.oneof(fc.constant(0n), edgeInt64),
    overdraftLimit: fc.oneof(fc.constant(0n), edgeInt64),
    overLimitMark: fc.oneof(
      { weight: 5, arbitrary: fc.constant(false) },
      { weight: 1, arbitrary: fc.boolean() },
    ),
    status: fc.oneof(
      { weight: 6, arbitrary: fc.constant("ACTIVE" as const) },
      { weight: 1, arbitrary: fc.constantFrom("FROZEN" as const, "CLOSED" as const) },
    ),
  })
  .filter(fits);

const path = fc.array(account, { minLength: 1, maxLength: 6 });
const policy = fc.constantFrom<OveragePolicy>("REJECT", "ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT");
const settlement = fc.oneof<fc.Arbitrary<SettlementPolicy>[]>(policy, fc.constant("OWE"));

function first(accounts: readonly AccountFigures[], broken: (account: AccountFigures) => boolean): number {
  return accounts.findIndex(broken);
}

function refusal(reason: string, index: number): PathResult {
  return { ok: false, reason, index } as PathResult;
}

/** First reason that applies to any account; each reason is tried on the whole path before the next. */
function firstRefusal(
  accounts: readonly AccountFigures[],
  reasons: readonly (readonly [string, (account: AccountFigures) => boolean])[],
): PathResult | undefined {
  for (const [reason, broken] of reasons) {
    const index = first(accounts, broken);
    if (index >= 0) return refusal(reason, index);
  }
  return undefined;
}

function modelSettle(
  accounts: readonly AccountFigures[],
  estimate: bigint,
  covered: bigint,
  beyond: bigint,
  overage: SettlementPolicy,
): PathResult {
  let charge = beyond;
  for (const one of overage === "OWE" ? [] : accounts) {
    const mayOwe = overage === "ALLOW_WITH_OVERDRAFT" && one.overdraftLimit > 0n;
    if (!mayOwe) charge = min(charge, avail(one));
  }
  if (overage === "ALLOW_WITH_OVERDRAFT") {
    const index = first(
      accounts,
      (one) =>
        one.overdraftLimit > 0n && avail(one) < charge && one.debt + charge - avail(one) > one.overdraftLimit,
    );
    if (index >= 0) return refusal("overdraft_limit_exceeded", index);
  }
  const after = accounts.map((one): AccountFigures => {
    const paid = min(charge, avail(one));
    const mayOwe = overage === "OWE" || (overage === "ALLOW_WITH_OVERDRAFT" && one.overdraftLimit > 0n);
    const marked = charge < beyond && !mayOwe && remaining(one) < beyond;
    return {
      ...one,
      reserved: one.reserved - estimate,
      spent: one.spent + covered + paid,
      debt: one.debt + charge - paid,
      overLimitMark: one.overLimitMark || marked,
    };
  });
  const index = after.findIndex((one) => !fits(one));
  if (index >= 0) return refusal("overflow", index);
  return { ok: true, accounts: after, charged: covered + charge };
}

describe("the path's arithmetic is the model's, for any figures", () => {
  const arithmetic = new AccountArithmetic();
  const copy = (accounts: readonly AccountFigures[]): AccountFigures[] => accounts.map((one) => ({ ...one }));

  test("reserve", () => {
    fc.assert(
      fc.property(path, edgeInt64, (accounts, amount) => {
        const before = copy(accounts);
        const expected = firstRefusal(accounts, [
          ["over_limit", overLimit],
          ["frozen", (one) => one.status === "FROZEN"],
          ["closed", (one) => one.status === "CLOSED"],
          ["debt_outstanding", (one) => one.debt > 0n && one.overdraftLimit === 0n],
          ["exceeds_available", (one) => remaining(one) < amount],
        ]) ?? {
          ok: true,
          accounts: accounts.map((one) => ({ ...one, reserved: one.reserved + amount })),
          charged: 0n,
        };
        expect(arithmetic.reserve(accounts, amount)).toEqual(expected);
        expect(accounts).toEqual(before);
      }),
      { numRuns: 400 },
    );
  });

  test("commit", () => {
    fc.assert(
      fc.property(path, edgeInt64, edgeInt64, settlement, (accounts, estimate, actual, overage) => {
        const reserved = accounts.map((one) => ({ ...one, reserved: one.reserved + estimate })).filter(fits);
        if (reserved.length === 0) return;
        const expected =
          actual <= estimate
            ? modelSettle(reserved, estimate, actual, 0n, overage)
            : overage === "REJECT"
              ? refusal("exceeds_available", 0)
              : modelSettle(reserved, estimate, estimate, actual - estimate, overage);
        expect(arithmetic.commit(reserved, { estimate, actual, policy: overage })).toEqual(expected);
      }),
      { numRuns: 400 },
    );
  });

  test("release", () => {
    fc.assert(
      fc.property(path, edgeInt64, (accounts, estimate) => {
        const reserved = accounts.map((one) => ({ ...one, reserved: one.reserved + estimate })).filter(fits);
        if (reserved.length === 0) return;
        const after = reserved.map((one) => ({ ...one, reserved: one.reserved - estimate }));
        expect(arithmetic.release(reserved, estimate)).toEqual({ ok: true, accounts: after, charged: 0n });
      }),
      { numRuns: 200 },
    );
  });

  test("refund", () => {
    fc.assert(
      fc.property(path, edgeInt64, (accounts, amount) => {
        const after = accounts.map((one) => {
          const repaid = min(one.debt, amount);
          const spent = one.spent - amount + repaid;
          return { ...one, debt: one.debt - repaid, spent: spent < 0n ? 0n : spent };
        });
        expect(arithmetic.refund(accounts, amount)).toEqual({ ok: true, accounts: after, charged: 0n });
      }),
      { numRuns: 200 },
    );
  });

  test("event", () => {
    fc.assert(
      fc.property(path, edgeInt64, policy, (accounts, actual, overage) => {
        const closed = firstRefusal(accounts, [
          ["frozen", (one) => one.status === "FROZEN"],
          ["closed", (one) => one.status === "CLOSED"],
        ]);
        const short = firstRefusal(accounts, [["exceeds_available", (one) => remaining(one) < actual]]);
        const expected =
          closed ??
          (overage === "REJECT" ? short : undefined) ??
          modelSettle(accounts, 0n, 0n, actual, overage);
        expect(arithmetic.event(accounts, { actual, policy: overage })).toEqual(expected);
      }),
      { numRuns: 400 },
    );
  });

  test("fund", () => {
    const operations: readonly FundOperation[] = ["CREDIT", "DEBIT", "RESET", "RESET_SPENT", "REPAY_DEBT"];
    fc.assert(
      fc.property(
        account,
        fc.constantFrom(...operations),
        edgeInt64,
        edgeInt64,
        (one, operation, a, spent) => {
          const repaid = min(one.debt, a);
          const effect: Record<FundOperation, Partial<AccountFigures>> = {
            CREDIT: { allocated: one.allocated + a },
            DEBIT: { allocated: one.allocated - a },
            RESET: { allocated: a },
            RESET_SPENT: { allocated: a, spent },
            REPAY_DEBT: { debt: one.debt - repaid, allocated: one.allocated + a - repaid },
          };
          const after = { ...one, ...effect[operation], overLimitMark: false };
          const expected =
            operation === "DEBIT" && remaining(one) < a
              ? refusal("exceeds_available", 0)
              : fits(after)
                ? { ok: true, accounts: [after], charged: 0n }
                : refusal("overflow", 0);
          expect(arithmetic.fund(one, operation, a, spent)).toEqual(expected);
        },
      ),
      { numRuns: 500 },
    );
  });

  test("remaining and over-limit", () => {
    fc.assert(
      fc.property(account, (one) => {
        expect(arithmetic.remaining(one)).toBe(remaining(one));
        expect(arithmetic.isOverLimit(one)).toBe(overLimit(one));
      }),
    );
  });
});

describe("what cannot be is an error that changes nothing", () => {
  const arithmetic = new AccountArithmetic();
  const plain: AccountFigures = {
    allocated: 100n,
    spent: 0n,
    reserved: 10n,
    debt: 0n,
    overdraftLimit: 0n,
    overLimitMark: false,
    status: "ACTIVE",
  };

  test.each([-1n, 2n ** 63n, 2n ** 64n])("amount %s is refused", (amount) => {
    expect(() => arithmetic.reserve([plain], amount)).toThrow(RangeError);
    expect(() => arithmetic.reserve([{ ...plain, spent: amount }], 1n)).toThrow(RangeError);
  });

  test("settling more than is reserved is a corrupt ledger", () => {
    expect(() => arithmetic.release([plain], 11n)).toThrow(/corrupt/);
    expect(() => arithmetic.commit([plain], { estimate: 11n, actual: 1n, policy: "REJECT" })).toThrow(
      /corrupt/,
    );
  });

  test("figures whose remaining leaves int64 are corrupt", () => {
    const impossible = { ...plain, allocated: 0n, spent: INT64_MAX, reserved: INT64_MAX };
    expect(() => arithmetic.remaining(impossible)).toThrow(/corrupt/);
  });

  test.each([0, 13])("a path of %i accounts is refused", (length) => {
    expect(() =>
      arithmetic.reserve(
        Array.from({ length }, () => plain),
        1n,
      ),
    ).toThrow(RangeError);
  });
});
