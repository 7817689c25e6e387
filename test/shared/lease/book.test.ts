// The holder's book by itself: its equation after each step of any history, and what comes back to a past lease.

import fc from "fast-check";
import { expect, test } from "vitest";
import { LeaseBook } from "../../../src/lease/book.ts";

const NAME = { leaseId: "first", epoch: 1, unit: "TOKENS" } as const;

function checkEquation(book: LeaseBook): void {
  expect(book.within).toBe(book.paid + book.granted - book.returned + book.lent);
  expect(book.paid).toBe(book.past.reduce((sum, { spent, held }) => sum + spent + held, 0));
}

test("what a call gives back after its lease is corrected, and what is spent from then on is told", () => {
  const book = new LeaseBook();
  book.grantedInAll(100);
  // 30 are spent and 20 are under way when the lease ends.
  book.takenBack(50, { spent: 30, idle: 50 });
  const told = book.tell({ spent: 30, idle: 0 });
  expect(told).toEqual({ spent: 30, held: 20, returned: 50 });
  book.ended(NAME, 1, told);
  expect(book.paid).toBe(50);
  // The call gives all of it back, and it is taken out of reach: the authority is to hear that.
  book.takenBack(20, { spent: 30, idle: 20 });
  expect(book.past).toMatchObject([{ spent: 30, held: 0, isDue: true }]);
  checkEquation(book);
  // What the next lease spends is all its own.
  book.grantedInAll(40);
  expect(book.tell({ spent: 45, idle: 25 })).toEqual({ spent: 15, held: 0, returned: 0 });
  checkEquation(book);
});

const step = fc.oneof(
  fc.record({ op: fc.constant("grant" as const), amount: fc.nat({ max: 60 }) }),
  fc.record({ op: fc.constant("reserve" as const), amount: fc.nat({ max: 40 }) }),
  fc.record({ op: fc.constant("settle" as const), amount: fc.nat({ max: 60 }) }),
  fc.record({ op: fc.constant("takeBack" as const), amount: fc.nat({ max: 200 }) }),
  fc.record({ op: fc.constant("lend" as const), amount: fc.nat({ max: 30 }) }),
  fc.record({ op: fc.constant("end" as const), amount: fc.constant(0) }),
);

test("the equation holds after each step, and no report takes back what was told", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const book = new LeaseBook();
      const open: number[] = [];
      let spent = 0;
      let told = { spent: 0, returned: 0 };
      const out = () => spent + open.reduce((sum, estimate) => sum + estimate, 0);
      const idle = () => Math.max(0, book.within - out());
      for (const [index, { op, amount }] of steps.entries()) {
        const reading = { spent, idle: idle() };
        if (op === "grant") book.grantedInAll(book.granted + amount);
        else if (op === "lend") book.lend(amount);
        else if (op === "reserve" && amount <= idle()) open.push(amount);
        else if (op === "settle" && open.length > 0) {
          open.shift();
          spent += amount;
        } else if (op === "takeBack") book.takenBack(Math.min(amount, reading.idle), reading);
        else if (op === "end") {
          book.takenBack(reading.idle, reading);
          book.ended({ ...NAME, leaseId: `lease ${index}` }, 1, book.tell({ spent, idle: 0 }));
          told = { spent: 0, returned: 0 };
        }
        checkEquation(book);
        const next = book.tell({ spent, idle: idle() });
        expect(next.spent).toBeGreaterThanOrEqual(told.spent);
        expect(next.returned).toBeGreaterThanOrEqual(told.returned);
        expect(next.held).toBeGreaterThanOrEqual(0);
        book.heard(next);
        told = next;
      }
    }),
    { numRuns: 500 },
  );
});
