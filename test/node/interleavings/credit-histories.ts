// Random short histories on a budget with thread credit: two or three threads with one or two operations each, after a
// random past. In every order of their steps the answers and figures must be those that some order of whole operations
// gives in which nothing that ended before another began comes after it (linearizability).

import { strictEqual } from "node:assert/strict";
import { seededRandom } from "../../../scripts/lib/seeded-random.ts";
import { ALL_INDEX, Figure, NO_CELL, Status } from "../../../src/kernel/generated/abi.ts";
import type { KernelExports } from "../../../src/kernel/instance.ts";
import type { Call, World } from "./explore.ts";
import { ME, prepared, THEM, YOU } from "./worlds.ts";

type Kind = "take" | "give" | "all" | "grant" | "refill";

interface Operation {
  readonly kind: Kind;
  readonly amount: number;
}

/** What a budget without credit is. */
interface Books {
  readonly capacity: number;
  readonly out: number;
  readonly overReleased: number;
  readonly denied: number;
}

/** An operation as it ran: when it began and ended, and whether it was granted. */
interface Run extends Operation {
  readonly began: number;
  ended: number;
  granted: boolean;
}

function after(books: Books, { kind, amount }: Operation): { books: Books; granted: boolean } {
  const { capacity, out, overReleased, denied } = books;
  if (kind === "refill") return { books: { ...books, out: 0 }, granted: true };
  if (kind === "grant") return { books: { ...books, capacity: capacity + amount }, granted: true };
  if (kind === "give") {
    const given = Math.min(amount, out);
    return {
      books: { ...books, out: out - given, overReleased: overReleased + amount - given },
      granted: true,
    };
  }
  if (out + amount <= capacity) return { books: { ...books, out: out + amount }, granted: true };
  return { books: { ...books, denied: denied + 1 }, granted: false };
}

/** Whether some order of the whole operations explains what was seen. */
function isExplained(books: Books, open: readonly Run[], seen: Books): boolean {
  if (open.length === 0) return JSON.stringify(books) === JSON.stringify(seen);
  return open.some((run) => {
    if (open.some((other) => other.ended < run.began)) return false;
    const next = after(books, run);
    if (next.granted !== run.granted) return false;
    return isExplained(
      next.books,
      open.filter((other) => other !== run),
      seen,
    );
  });
}

function booksOf(kernel: KernelExports, rows: number): Books {
  const capacity = kernel.budgetFigure(rows, Figure.Capacity);
  return {
    capacity,
    out: capacity - kernel.budgetFigure(rows, Figure.Available),
    overReleased: kernel.budgetFigure(rows, Figure.OverReleased),
    denied: kernel.budgetFigure(rows, Figure.Denied),
  };
}

export function historyWorld(kernel: KernelExports, seed: number): World {
  const next = seededRandom(seed);
  const between = (low: number, high: number): number => low + Math.floor(next() * (high - low + 1));
  const pick = <T>(from: readonly [T, ...T[]]): T => from[between(0, from.length - 1)] ?? from[0];

  prepared(kernel, 2, 8);
  const capacity = between(4, 16);
  const rows = kernel.creditOpen(1n, 1n, capacity, between(1, 6), THEM);
  const owners = [ME, YOU, THEM].sort(() => next() - 0.5);
  const cells = owners.map((owner, index) => kernel.creditJoin(rows, owner, index + 1, 0));
  const cellFor = (thread: number): number => cells[thread] ?? NO_CELL;

  let before: Books = { capacity, out: 0, overReleased: 0, denied: 0 };
  for (let count = between(2, 8); count > 0; count--) {
    const past: Operation = { kind: next() < 0.65 ? "take" : "give", amount: between(1, 5) };
    const expected = after(before, past);
    const delta = past.kind === "take" ? -past.amount : past.amount;
    strictEqual(kernel.creditMove(rows, delta, cellFor(between(0, 2))) === Status.Ok, expected.granted);
    before = expected.books;
  }

  let clock = 0;
  let claimed = 0;
  const runs: Run[] = [];
  const plans = Array.from({ length: next() < 0.8 ? 2 : 3 }, (_, thread) => {
    const owner = owners[thread] ?? ME;
    // Now and then a thread that found every hold taken.
    const cell = next() < 0.1 ? NO_CELL : cellFor(thread);
    return Array.from({ length: thread === 1 ? between(1, 2) : 1 }, () => {
      const kind = pick<Kind>(["take", "take", "take", "take", "give", "give", "all", "grant", "refill"]);
      const operation: Operation = { kind, amount: between(1, 6) };
      const ticket = 100 + claimed++;
      const slot = kind === "all" ? kernel.allClaim(-1, rows, operation.amount, 0, owner, ticket, 4) : -1;
      return { operation, cell, slot, owner, ticket };
    });
  });
  type Plan = (typeof plans)[number][number];

  const ask = (
    { operation: { kind, amount }, cell, slot, owner, ticket }: Plan,
    call: Call,
  ): Promise<number> => {
    if (kind === "take") return call("creditMove", rows, -amount, cell);
    if (kind === "give") return call("creditMove", rows, amount, cell);
    if (kind === "all") return call("allTake", slot, owner, ticket);
    return kind === "grant" ? call("counterGrant", rows, amount) : call("counterRefill", rows);
  };

  return {
    kernel,
    programs: plans.map((plan) => async (call) => {
      for (const step of plan) {
        const run: Run = {
          ...step.operation,
          began: clock++,
          ended: Number.POSITIVE_INFINITY,
          granted: false,
        };
        runs.push(run);
        const answer = (await ask(step, call)) % ALL_INDEX;
        if (answer !== Status.Exceeds) strictEqual(answer, Status.Ok);
        run.granted = answer === Status.Ok;
        run.ended = clock++;
      }
    }),
    check() {
      const seen = booksOf(kernel, rows);
      if (!isExplained(before, runs, seen)) {
        throw new Error(`no order explains ${JSON.stringify({ before, runs, seen })}`);
      }
      // And what is available can be had, to the last unit, and given back.
      const available = seen.capacity - seen.out;
      strictEqual(kernel.creditMove(rows, -available, cellFor(0)), Status.Ok);
      strictEqual(kernel.creditMove(rows, -1, cellFor(1)), Status.Exceeds);
      strictEqual(kernel.creditMove(rows, seen.capacity, cellFor(2)), Status.Ok);
      strictEqual(kernel.budgetFigure(rows, Figure.OverReleased), seen.overReleased);
    },
  };
}
