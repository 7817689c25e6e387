// The heaps of deadlines against a plain map: whatever was set, moved and deleted, the earliest is first, of all and on
// every account.

import fc from "fast-check";
import { expect, test } from "vitest";
import { type Deadline, Deadlines } from "../../../src/ledger/deadlines.ts";

const SCOPES = ["tenant:acme", "tenant:acme/agent:a", "tenant:acme/agent:b", "tenant:acme/app:x/agent:a"];
const UNITS = ["TOKENS", "CREDITS"] as const;

const step = fc.record({
  id: fc.nat(30).map(String),
  deadlineMs: fc.option(fc.nat(50)),
  unit: fc.constantFrom(...UNITS),
  scopes: fc.subarray(SCOPES, { minLength: 1 }),
});

test("the earliest of what is set is always first, and sizes agree", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const deadlines = new Deadlines();
      const model = new Map<string, Deadline>();
      const earliest = (those: Deadline[]) =>
        those.length === 0 ? undefined : Math.min(...those.map(({ deadlineMs }) => deadlineMs));
      const checkFirst = () => {
        const all = [...model.values()];
        expect(deadlines.size).toBe(model.size);
        expect(deadlines.first?.deadlineMs).toBe(earliest(all));
        for (const scope of SCOPES) {
          for (const unit of UNITS) {
            const holding = all.filter((each) => each.unit === unit && each.scopes.includes(scope));
            expect(deadlines.firstOn({ scope, unit })?.deadlineMs).toBe(earliest(holding));
          }
        }
      };
      for (const { id, deadlineMs, unit, scopes } of steps) {
        if (deadlineMs === null) {
          deadlines.delete(id);
          model.delete(id);
        } else {
          deadlines.set({ id, deadlineMs, unit, scopes });
          model.set(id, { id, deadlineMs, unit, scopes });
        }
        checkFirst();
      }
      // Drained, it gives every entry once, in order.
      for (let first = deadlines.first; first !== undefined; first = deadlines.first) {
        checkFirst();
        expect(model.get(first.id)?.deadlineMs).toBe(first.deadlineMs);
        deadlines.delete(first.id);
        model.delete(first.id);
      }
      checkFirst();
    }),
  );
});
