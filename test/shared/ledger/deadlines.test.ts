// The heap of deadlines against a plain map: whatever was set, moved and deleted, the earliest is first.

import fc from "fast-check";
import { expect, test } from "vitest";
import { Deadlines } from "../../../src/ledger/deadlines.ts";

const step = fc.record({ id: fc.nat(30).map(String), deadlineMs: fc.option(fc.nat(50)) });

test("the earliest of what is set is always first, and sizes agree", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const deadlines = new Deadlines();
      const model = new Map<string, number>();
      const checkFirst = () => {
        expect(deadlines.size).toBe(model.size);
        expect(deadlines.first?.deadlineMs).toBe(model.size === 0 ? undefined : Math.min(...model.values()));
      };
      for (const { id, deadlineMs } of steps) {
        if (deadlineMs === null) {
          deadlines.delete(id);
          model.delete(id);
        } else {
          deadlines.set({ id, deadlineMs, unit: "TOKENS", scopes: ["tenant:acme"] });
          model.set(id, deadlineMs);
        }
        checkFirst();
      }
      // Drained, it gives every entry once, in order.
      for (let first = deadlines.first; first !== undefined; first = deadlines.first) {
        checkFirst();
        expect(model.get(first.id)).toBe(first.deadlineMs);
        deadlines.delete(first.id);
        model.delete(first.id);
      }
      checkFirst();
    }),
  );
});
