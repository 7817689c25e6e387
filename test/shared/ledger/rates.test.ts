// Policies and their rates under faults: a call that was undone has not been counted, in memory or in the store, and a policy
// that was undone governs nobody.

import { LocalLedger, MemoryStore } from "purser/ledger";
import { expect, test } from "vitest";
import { type FaultPoint, faultyStore, InjectedFault } from "../../simulation/engine/faulty-store.ts";
import { bodyOf, reserveRequest, TENANT, tokens, verdictOf } from "../../support/ledger-fixtures.ts";

/** A first reserve writes the figures, the reservation and the lot; then it is kept. */
const FAULTS: readonly FaultPoint[] = [
  { write: 1, when: "after" },
  { write: 2, when: "after" },
  { write: 3, when: "after" },
  { write: "keep", when: "before" },
];

test.each(FAULTS)("a call undone at $write counts for nothing, and no other is given for it", (fault) => {
  const faulty = faultyStore(new MemoryStore());
  const open = () => new LocalLedger({ tenant: TENANT, now: () => 1_800_000_000_000, store: faulty.store });
  const ledger = open();
  bodyOf(ledger.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated: tokens(100) }));
  const rate_limits = { max_reservations_per_minute: 2 };
  bodyOf(ledger.createPolicy({ name: "p", scope_pattern: "tenant:acme", rate_limits }));
  faulty.arm(fault);
  expect(() => ledger.reserve(reserveRequest("undone", 1))).toThrow(InjectedFault);
  expect(verdictOf(ledger.reserve(reserveRequest("a", 1)))).toBe("200");
  // On the same memory, and on a memory that knows the store alone.
  const [same, fresh] = [ledger, open()];
  expect(verdictOf(fresh.reserve(reserveRequest("b", 1)))).toBe("200");
  expect(verdictOf(fresh.reserve(reserveRequest("c", 1)))).toBe("429 LIMIT_EXCEEDED");
  expect(verdictOf(same.reserve(reserveRequest("d", 1)))).toBe("200");
  expect(verdictOf(same.reserve(reserveRequest("e", 1)))).toBe("429 LIMIT_EXCEEDED");
});

test("a policy that was undone with later calls of its transaction governs nobody", () => {
  const faulty = faultyStore(new MemoryStore());
  const ledger = new LocalLedger({ tenant: TENANT, now: () => 1_800_000_000_000, store: faulty.store });
  bodyOf(ledger.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated: tokens(100) }));
  const capped = { name: "p", scope_pattern: "tenant:acme", caps: { max_tokens: 1 } };
  const group = () =>
    faulty.store.transact(() => {
      bodyOf(ledger.createPolicy(capped));
      expect(bodyOf(ledger.reserve(reserveRequest("a", 1))).decision).toBe("ALLOW_WITH_CAPS");
      faulty.arm({ write: 1, when: "before" });
      ledger.reserve(reserveRequest("b", 1));
    });
  expect(group).toThrow(InjectedFault);
  expect(bodyOf(ledger.reserve(reserveRequest("a", 1))).decision).toBe("ALLOW");
  expect(bodyOf(ledger.createPolicy(capped)).policy_id).toBe("pol_acme_1");
});
