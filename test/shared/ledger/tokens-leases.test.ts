// Leases drawn with a token: a slice is held by every cap above it like any reservation, its holder is believed no further
// than its caps go, and it ends by its policy whatever has become of the token.

import type { Caller, LeaseBody, Reply } from "purser/ledger";
import { describe, expect, test } from "vitest";
import { bodyOf, tokens, verdictOf } from "../../support/ledger-fixtures.ts";
import { KEY, SCOPE, SUBJECT, world } from "../../support/token-world.ts";

/** The token world, with leases. */
function lender(...options: Parameters<typeof world>) {
  const base = world(...options);
  const { ledger, as } = base;
  let opened = 0;
  const open = (caller: Caller, want: number, rest: object = {}): Reply<LeaseBody> => {
    opened += 1;
    const request = { idempotency_key: `lease-${opened}`, subject: SUBJECT, unit: "TOKENS", want, ...rest };
    return ledger.openLease(request, as(caller));
  };
  const report = (lease: LeaseBody, sequence: number, spent: number | bigint, rest: object = {}) => {
    const { epoch } = lease;
    return { epoch, unit: "TOKENS", sequence, spent, held: 0, returned: 0, subject: SUBJECT, ...rest };
  };
  const renew = (caller: Caller, lease: LeaseBody, ...told: [number, number | bigint, object]) =>
    ledger.renewLease(lease.lease_id, report(lease, ...told), as(caller));
  const giveBack = (caller: Caller, lease: LeaseBody, ...told: [number, number | bigint]) =>
    ledger.returnLease(lease.lease_id, report(lease, ...told), as(caller));
  return { ...base, open, renew, giveBack };
}

const granted = (reply: Reply<LeaseBody>) => bodyOf(reply).granted.amount;

describe("a lease drawn with a token", () => {
  test("is held and spent in every cap above it, once, and what is returned goes back to all", () => {
    const { issue, narrow, callerOf, open, renew, giveBack, figures } = lender();
    const root = callerOf(issue({ cap: tokens(1000) }));
    const leaf = callerOf(narrow(root, { cap: tokens(300) }));
    const all = () => [root, leaf, SCOPE, "tenant:acme"].map(figures);
    const lease = bodyOf(open(leaf, 200));
    expect(lease.granted.amount).toBe(200n);
    expect(all()).toEqual(["0/200→800", "0/200→100", "0/200→9800", "0/200→9800"]);
    bodyOf(renew(leaf, lease, 1, 150, { want: 100 }));
    expect(all()).toEqual(["150/100→750", "150/100→50", "150/100→9750", "150/100→9750"]);
    bodyOf(giveBack(leaf, lease, 2, 180));
    expect(all()).toEqual(["180/0→820", "180/0→120", "180/0→9820", "180/0→9820"]);
  });

  test("is no larger than the tightest cap, beside reservations and other leases", () => {
    const { issue, narrow, callerOf, hold, open, reserve, figures } = lender();
    const root = callerOf(issue({ cap: tokens(100) }));
    const left = callerOf(narrow(root));
    const right = callerOf(narrow(root));
    hold(right, "a", 30);
    expect(granted(open(left, 1000))).toBe(70n);
    expect(figures(root)).toBe("0/100→0");
    expect(open(right, 1)).toMatchObject({ status: 409, error: "BUDGET_EXCEEDED" });
    expect(verdictOf(reserve(right, "b", 1))).toBe("409 BUDGET_EXCEEDED");
    const zero = callerOf(issue({ cap: tokens(0) }));
    expect(verdictOf(open(zero, 1))).toBe("409 BUDGET_EXCEEDED");
  });

  test("is no larger than its most per operation, neither opened nor grown", () => {
    const { issue, callerOf, open, renew } = lender();
    const token = callerOf(issue({ max_per_operation: tokens(10) }));
    expect(verdictOf(open(token, 50, { min: 11 }))).toBe("403 FORBIDDEN");
    const lease = bodyOf(open(token, 50));
    expect(lease.granted).toMatchObject({ amount: 10n });
    expect(granted(renew(token, lease, 1, 4, { want: 50 }))).toBe(14n);
  });

  test("belongs to its token and those above it: nobody else reports on it or sees it", () => {
    const { ledger, as, issue, narrow, callerOf, open, renew } = lender();
    const root = callerOf(issue());
    const child = callerOf(narrow(root));
    const other = callerOf(issue());
    const lease = bodyOf(open(child, 10));
    expect(verdictOf(renew(other, lease, 1, 1, { want: 10 }))).toBe("403 FORBIDDEN");
    expect(bodyOf(ledger.listLeases({}, as(other))).leases).toEqual([]);
    expect(bodyOf(ledger.listLeases({}, as(root))).leases).toHaveLength(1);
    expect(verdictOf(renew(KEY, lease, 1, 1, { want: 10 }))).toBe("200");
  });

  test("reports no debt into anybody's budget: an absurd spend is charged as far as the caps have it", () => {
    const { ledger, as, issue, callerOf, open, renew, figures } = lender();
    const token = callerOf(issue({ cap: tokens(100) }));
    const lease = bodyOf(open(token, 10));
    bodyOf(renew(token, lease, 1, 2n ** 62n, { want: 10 }));
    expect([figures(token), figures(SCOPE), figures("tenant:acme")]).toEqual([
      "100/0→0",
      "100/0→9900",
      "100/0→9900",
    ]);
    const rows = bodyOf(ledger.balances({ tenant: "acme" }, as())).balances;
    expect(rows.filter((row) => row.is_over_limit || row.debt !== undefined)).toEqual([]);
  });

  test("nor on a lease that a backup does not know: as much is charged as the cap has, used and held together", () => {
    const before = lender();
    const lease = bodyOf(before.open(before.callerOf(before.issue()), 50));
    const { issue, callerOf, renew, giveBack, hold, figures } = lender();
    const token = callerOf(issue({ cap: tokens(100) }));
    hold(token, "a", 30);
    const all = () => [token, SCOPE, "tenant:acme"].map(figures);
    bodyOf(renew(token, lease, 1, 60, { held: 2n ** 62n, want: 10 }));
    expect(all()).toEqual(["70/30→0", "70/30→9900", "70/30→9900"]);
    bodyOf(giveBack(token, lease, 2, 2n ** 62n));
    expect(all()).toEqual(["70/30→0", "70/30→9900", "70/30→9900"]);
  });

  test("of a revoked token hears no report any more, and ends by its policy: charged, in every cap", () => {
    const { ledger, as, clock, issue, callerOf, open, renew, figures } = lender();
    const token = callerOf(issue());
    const lease = bodyOf(open(token, 60, { ttl_ms: 10_000 }));
    bodyOf(renew(token, lease, 1, 20, { want: 40 }));
    bodyOf(ledger.revokeToken(token.tokenId, {}, as()));
    expect(renew(token, lease, 2, 25, { want: 40 })).toMatchObject({ status: 401, message: "KEY_REVOKED" });
    expect(figures(token)).toBe("20/40→40");
    clock.advance(60_000);
    ledger.sweep(as());
    expect([figures(token), figures(SCOPE)]).toEqual(["60/0→40", "60/0→9940"]);
  });

  test("keeps its token's cap as long as it holds anything; a late report finds the budgets without it", () => {
    const { ledger, as, clock, store, issue, callerOf, open, renew, figures } = lender();
    const token = callerOf(issue({ ttl_ms: 1000 }));
    const lease = bodyOf(open(token, 60, { ttl_ms: 600_000 }));
    for (let n = 0; n < 15; n++) {
      clock.advance(300_000);
      bodyOf(renew(KEY, lease, n + 1, n, { want: 60, ttl_ms: 600_000 }));
      ledger.sweep(as());
    }
    expect(figures(token)).toBe("14/60→26");
    clock.advance(700_000);
    ledger.sweep(as());
    ledger.sweep(as());
    expect([figures(token), store.countTokens(), figures(SCOPE)]).toEqual(["none", 0, "74/0→9926"]);
    bodyOf(ledger.returnLease(lease.lease_id, { ...lateReport(lease), spent: 20 }, as(KEY)));
    expect(figures(SCOPE)).toBe("20/0→9980");
  });

  test("counts among those of its token and of all above it, which may hold so many", () => {
    const { issue, narrow, callerOf, open, giveBack } = lender({ limits: { leasesPerTokenMax: 2 } });
    const root = callerOf(issue({ cap: tokens(1000) }));
    const leaf = callerOf(narrow(root));
    const first = bodyOf(open(leaf, 1));
    bodyOf(open(root, 1));
    for (const holder of [root, leaf]) {
      expect(open(holder, 1)).toMatchObject({
        status: 429,
        message: "At most 2 leases of one token may be held at once",
      });
    }
    // Others of the same key have places of their own, and what is given back makes room.
    bodyOf(open(callerOf(issue()), 1));
    bodyOf(giveBack(leaf, first, 1, 0));
    bodyOf(open(leaf, 1));
    expect(verdictOf(open(root, 1))).toBe("429 LIMIT_EXCEEDED");
  });

  test("many at once on one cap: never more than it has, and each holder something", () => {
    const { issue, narrow, callerOf, open, figures } = lender();
    const root = callerOf(issue({ cap: tokens(1000) }));
    const holders = Array.from({ length: 5 }, () => callerOf(narrow(root)));
    const grants = holders.map((holder) => granted(open(holder, 100)));
    expect(grants.every((each) => each > 0n)).toBe(true);
    const sum = grants.reduce((a, b) => a + b);
    expect(figures(root)).toBe(`0/${sum}→${1000n - sum}`);
  });
});

function lateReport({ epoch }: LeaseBody) {
  return { epoch, unit: "TOKENS", sequence: 99, held: 0, returned: 0, subject: SUBJECT };
}
