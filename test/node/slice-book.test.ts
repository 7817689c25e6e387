// The bookkeeping of slices against its invariants: what is settled adds up to what was spent, slice by slice.
import fc from "fast-check";
import { describe, test } from "vitest";
import { nextSliceTokens, SliceBook } from "../../scripts/lib/slice-book.ts";

describe("SliceBook", () => {
  test("settles each slice once, oldest first, and to the token", ({ expect }) => {
    const steps = fc.array(
      fc.oneof(
        fc.record({ kind: fc.constant("draw" as const), tokens: fc.integer({ min: 1, max: 50 }) }),
        fc.record({ kind: fc.constant("spend" as const), percent: fc.integer({ min: 0, max: 100 }) }),
        fc.record({ kind: fc.constant("settle" as const) }),
      ),
    );
    fc.assert(
      fc.property(steps, (plan) => {
        const book = new SliceBook();
        const drawn: number[] = [];
        const settled: { reservationId: string; actualTokens: number }[] = [];
        let spent = 0;
        for (const step of plan) {
          const total = drawn.reduce((sum, tokens) => sum + tokens, 0);
          if (step.kind === "draw") {
            book.add(String(drawn.length), step.tokens);
            drawn.push(step.tokens);
          } else if (step.kind === "spend") {
            // Beyond what was drawn too: calls may use more than they reserved.
            if (drawn.length > 0) spent += Math.floor(((total + 20) * step.percent) / 100);
          } else {
            const used = book.takeUsed(spent);
            // Only slices that are used up to the last token are settled early, and never the newest.
            for (const it of used) expect(it.actualTokens).toBe(drawn[Number(it.reservationId)]);
            expect(used.map((it) => it.reservationId)).not.toContain(String(drawn.length - 1));
            settled.push(...used);
          }
        }
        settled.push(...book.takeAll(spent));
        expect(settled.map((it) => it.reservationId)).toEqual(drawn.map((_, index) => String(index)));
        expect(settled.reduce((sum, it) => sum + it.actualTokens, 0)).toBe(spent);
        // Only the last may hold more than was drawn for it.
        for (const it of settled.slice(0, -1))
          expect(it.actualTokens).toBeLessThanOrEqual(drawn[Number(it.reservationId)] ?? 0);
        expect(book.takeAll(spent)).toEqual([]);
        expect(book.drawnTokens).toBe(drawn.reduce((sum, tokens) => sum + tokens, 0));
      }),
    );
  });

  test("settles what was spent beyond all slices with the last one", ({ expect }) => {
    const book = new SliceBook();
    book.add("a", 10);
    book.add("b", 5);
    // Both are used up, and the newest is kept all the same: what comes on top has to go somewhere.
    expect(book.takeUsed(15)).toEqual([{ reservationId: "a", actualTokens: 10 }]);
    expect(book.takeAll(100)).toEqual([{ reservationId: "b", actualTokens: 90 }]);
  });
});

describe("nextSliceTokens", () => {
  test.for([
    // Plenty is left: the standard slice, or what the call needs if that is more.
    [{ lendableTokens: 1600, shortfallTokens: 10, standardTokens: 100 }, 100],
    [{ lendableTokens: 1600, shortfallTokens: 250, standardTokens: 100 }, 250],
    // Near the end: half of the rest, but enough for the call.
    [{ lendableTokens: 150, shortfallTokens: 10, standardTokens: 100 }, 75],
    [{ lendableTokens: 150, shortfallTokens: 90, standardTokens: 100 }, 90],
    // Not enough for the call any more: all of it, for smaller calls.
    [{ lendableTokens: 80, shortfallTokens: 90, standardTokens: 100 }, 80],
    [{ lendableTokens: 1, shortfallTokens: 0, standardTokens: 100 }, 1],
    [{ lendableTokens: 0, shortfallTokens: 90, standardTokens: 100 }, 0],
  ] as const)("%o gives %i", ([left, tokens], { expect }) => {
    expect(nextSliceTokens(left)).toBe(tokens);
  });
});
