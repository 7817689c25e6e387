// What every simulation owes whoever wants to see a failure again. Called by the tests of the simulations.

import { expect } from "vitest";
import type { Outcome } from "../../simulation/simulate.ts";

/** Some seeds play the same twice, to the letter of their traces. */
export function expectRepeatable(
  simulate: (seed: number, options: { readonly trace: (line: string) => void }) => Outcome,
): void {
  for (const seed of [3, 14, 159]) {
    const [first, second] = [1, 2].map(() => {
      const lines: string[] = [];
      simulate(seed, { trace: (line) => lines.push(line) });
      return lines.join("\n");
    });
    expect(first).toBe(second);
    expect(first?.length).toBeGreaterThan(1_000);
  }
}
