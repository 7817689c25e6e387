// Rate limits under faults: a call that was undone has not been counted, in memory either.

import { LocalLedger, MemoryStore } from "purser/ledger";
import { expect, test } from "vitest";
import { faultyStore, InjectedFault } from "../../simulation/engine/faulty-store.ts";
import { bodyOf, reserveRequest, TENANT, tokens, verdictOf } from "../../support/ledger-fixtures.ts";

test("a call that was undone at any of its writes takes nothing from the minute's limit", () => {
  // The writes of a first reserve: the lot, the figures, the reservation.
  for (const write of [1, 2, 3]) {
    const faulty = faultyStore(new MemoryStore());
    const ledger = new LocalLedger({ tenant: TENANT, now: () => 1_800_000_000_000, store: faulty.store });
    bodyOf(ledger.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated: tokens(100) }));
    const rate_limits = { max_reservations_per_minute: 2 };
    bodyOf(ledger.createPolicy({ name: "p", scope_pattern: "tenant:acme", rate_limits }));
    faulty.arm({ write, when: "after" });
    expect(() => ledger.reserve(reserveRequest("undone", 1))).toThrow(InjectedFault);
    const verdicts = ["a", "b", "c"].map((key) => verdictOf(ledger.reserve(reserveRequest(key, 1))));
    expect(verdicts, `write ${write}`).toEqual(["200", "200", "429 LIMIT_EXCEEDED"]);
  }
});
