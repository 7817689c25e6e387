// The identity of the figures, checked on every write: that it would be noticed, once in the log and each time in the
// counter, and that nothing of the kind is noticed where all is well.

import { Ledger, MemoryStore } from "purser/ledger";
import { afterEach, expect, test, vi } from "vitest";
import { AccountArithmetic } from "../../../src/kernel/accounts.ts";
import { figuresAgree } from "../../../src/ledger/counters.ts";
import { bodyOf, budget, reserveRequest, TENANT, tokens } from "../../support/ledger-fixtures.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

test.each([
  [{ allocated: 10n, spent: 3n, reserved: 2n, debt: 1n }, 4n, true],
  [{ allocated: 0n, spent: 3n, reserved: 2n, debt: 1n }, -6n, true],
  [{ allocated: 10n, spent: 3n, reserved: 2n, debt: 1n }, 5n, false],
  [{ allocated: 10n, spent: 3n, reserved: -2n, debt: 0n }, 9n, false],
  [{ allocated: 2n ** 63n, spent: 0n, reserved: 0n, debt: 0n }, 2n ** 63n, false],
])("%o with remaining %s: %s", (figures, remaining, agree) => {
  const rest = { overdraftLimit: 0n, overLimitMark: false, status: "ACTIVE" } as const;
  expect(figuresAgree({ ...figures, ...rest }, remaining)).toBe(agree);
});

test("arithmetic that is off by one is counted on every write and told once", () => {
  const said: string[] = [];
  const turn = { nowMs: 1_800_000_000_000 };
  const onFigureFault = (message: string) => said.push(message);
  const ledger = new Ledger({ tenant: TENANT, store: new MemoryStore(), secrets: ["s"], onFigureFault });
  bodyOf(ledger.createTenant({ tenant_id: TENANT, name: TENANT }, turn));
  bodyOf(ledger.createBudget(budget("tenant:acme", 100), turn));
  const id = bodyOf(ledger.reserve(reserveRequest("k", 10), turn)).reservation_id ?? "";
  expect(ledger.counters.figureFaults).toBe(0);

  const real = AccountArithmetic.prototype.remaining;
  vi.spyOn(AccountArithmetic.prototype, "remaining").mockImplementation(function (
    this: AccountArithmetic,
    account,
  ) {
    return real.call(this, account) + 1n;
  });
  bodyOf(ledger.reserve(reserveRequest("k2", 10), turn));
  bodyOf(ledger.commit(id, { idempotency_key: "c", actual: tokens(3) }, turn));
  expect(ledger.counters.figureFaults).toBe(2);
  expect(said).toEqual([
    "the figures of tenant:acme in TOKENS contradict each other: allocated 100, spent 0, reserved 20, debt 0",
  ]);
});
