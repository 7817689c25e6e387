// The end of a replay: one table, and the comparison of what the threads counted, what the shared kernel says and what
// the authority says. Pure: figures in, text and differences out. Called by start.ts.
import Table from "cli-table3";
import type { Balance } from "./authority-client.ts";

export interface Figures {
  /** Calls of the trace, or those decided before the run was cut short. */
  readonly calls: number;
  readonly admitted: number;
  readonly denied: number;
  readonly overCap: number;
  readonly elapsedMs: number;
  readonly budgetTokens: number;
  /** What the threads added up themselves from the calls they settled. */
  readonly threadsSpentTokens: number;
  readonly kernel: {
    readonly consumed: number;
    readonly held: number;
    readonly debt: number;
    readonly available: number;
    readonly capacity: number;
  };
  /** Holds that were still there when the threads had ended. */
  readonly openHolds: number;
  readonly drawnTokens: number;
  /** What the authority answered to this run's own settlements: the tokens it charged, and slices it never confirmed. */
  readonly chargedTokens: number;
  readonly openSlices: number;
  /** The authority's balance that this run's allocation was put on top of, and the one after the last settlement. */
  readonly before: Balance;
  readonly after: Balance;
  readonly requests: ReadonlyMap<string, number>;
}

/** Two figures that have to be the same number, in words for the person who has to find out why they are not. */
interface Comparison {
  readonly row: string;
  readonly what: string;
  readonly found: number;
  readonly expected: number;
}

/** Tokens that calls used beyond what they had reserved, when the budget had nothing left to cover them. */
export function overspendOf(figures: Figures): number {
  return Math.max(0, figures.kernel.consumed - figures.budgetTokens);
}

/** Everything that does not agree, one sentence each; empty when all is well. Overspend is no disagreement. */
export function differences(figures: Figures): string[] {
  return comparisons(figures)
    .filter((it) => it.found !== it.expected)
    .map((it) => `${it.what}: ${count(it.found)}, expected ${count(it.expected)}`);
}

export function renderTable(figures: Figures): string {
  const { kernel, before, after } = figures;
  const wrongRows = new Set(
    comparisons(figures)
      .filter((it) => it.found !== it.expected)
      .map((it) => it.row),
  );
  const table = new Table({
    head: ["", "this process", "authority", "agree"],
    colAligns: ["left", "right", "right", "center"],
    style: { head: [], border: [] },
    // No line between the rows: a dozen of them are read as one block.
    chars: { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" },
  });
  const compared = (row: string, here: number, there: number): void => {
    table.push([row, count(here), count(there), wrongRows.has(row) ? "✗" : "✓"]);
  };
  const own = (row: string, here: string): void => {
    table.push([row, here, "", wrongRows.has(row) ? "✗" : ""]);
  };

  own("calls", count(figures.calls));
  own("admitted", count(figures.admitted));
  own("denied", count(figures.denied));
  if (figures.overCap > 0) own("above the output cap", count(figures.overCap));
  compared("budget (allocated)", figures.budgetTokens, allocatedForThisRun(figures));
  compared("tokens spent", kernel.consumed, spentOf(after) - spentOf(before));
  compared("tokens reserved", kernel.held, Math.max(0, after.reserved - before.reserved));
  compared("tokens remaining", figures.budgetTokens - kernel.consumed, after.remaining - returnedOf(figures));
  const overspend = overspendOf(figures);
  table.push(["overspend", count(overspend), "", overspend > 0 ? "✗" : ""]);
  own("open holds at the end", count(figures.openHolds));
  own(
    "decisions per second",
    count(Math.round(((figures.admitted + figures.denied) * 1000) / figures.elapsedMs)),
  );
  own("authority calls", count(sum(figures.requests.values())));
  return table.toString();
}

/** What the table has no room for: how the calls to the authority divide, and what earlier runs left in the account. */
export function footnotes(figures: Figures): string[] {
  const notes = [
    `Authority calls: ${[...figures.requests].map(([operation, times]) => `${count(times)} ${operation}`).join(", ")}.`,
  ];
  const { before, after } = figures;
  if (spentOf(before) > 0) {
    notes.push(
      `The authority's account is older than this run: ${count(spentOf(before))} tokens were spent before, ` +
        `${count(spentOf(after))} of ${count(after.allocated)} in all; the table shows this run's part.`,
    );
  }
  const returned = returnedOf(figures);
  if (returned > 0) {
    notes.push(
      `An earlier run's reservation of ${count(returned)} tokens expired during this run; they are back in the account ` +
        "and no part of the table.",
    );
  }
  const left = Math.min(before.reserved, after.reserved);
  if (left > 0) {
    notes.push(
      `An earlier run left ${count(left)} tokens reserved; they return when the reservation expires.`,
    );
  }
  const indebted = after.debt - before.debt;
  if (indebted > 0) notes.push(`The authority has recorded ${count(indebted)} of the tokens spent as debt.`);
  return notes;
}

function comparisons(figures: Figures): Comparison[] {
  const { kernel, before, after } = figures;
  const spent = figures.threadsSpentTokens;
  return [
    {
      row: "calls",
      what: "calls admitted + denied",
      found: figures.admitted + figures.denied,
      expected: figures.calls,
    },
    {
      row: "budget (allocated)",
      what: "the authority's allocation for this run",
      found: allocatedForThisRun(figures),
      expected: figures.budgetTokens,
    },
    {
      row: "tokens spent",
      what: "tokens spent by the kernel's count",
      found: kernel.consumed,
      expected: spent,
    },
    {
      row: "tokens spent",
      what: "tokens spent by the authority's count",
      found: spentOf(after) - spentOf(before),
      expected: spent,
    },
    {
      row: "tokens spent",
      what: "tokens charged for this run's slices",
      found: figures.chargedTokens,
      expected: spent,
    },
    { row: "tokens reserved", what: "tokens still held in the kernel", found: kernel.held, expected: 0 },
    {
      row: "tokens reserved",
      what: "slices this run left unsettled at the authority",
      found: figures.openSlices,
      expected: 0,
    },
    // Less than before is an earlier run's reservation that expired; more can only be ours.
    {
      row: "tokens reserved",
      what: "tokens reserved at the authority beyond those of earlier runs",
      found: Math.max(0, after.reserved - before.reserved),
      expected: 0,
    },
    {
      row: "tokens remaining",
      what: "tokens remaining at the authority",
      found: after.remaining - returnedOf(figures),
      expected: figures.budgetTokens - spent,
    },
    { row: "open holds at the end", what: "open holds", found: figures.openHolds, expected: 0 },
    {
      row: "tokens spent",
      what: "capacity drawn into the kernel",
      found: kernel.capacity,
      expected: figures.drawnTokens,
    },
    {
      row: "tokens spent",
      what: "available + held + consumed − debt in the kernel",
      found: kernel.available + kernel.held + kernel.consumed - kernel.debt,
      expected: kernel.capacity,
    },
  ];
}

/** What the account's allocation leaves beyond what earlier runs spent, owe or still have reserved. */
function allocatedForThisRun({ before, after }: Figures): number {
  return after.allocated - before.spent - before.reserved - before.debt;
}

/** All that was spent: what the budget covered, and what it owes. */
function spentOf({ spent, debt }: Balance): number {
  return spent + debt;
}

/** Tokens that earlier runs had reserved and never settled, returned by expiry since this run's allocation was made. */
function returnedOf({ before, after }: Figures): number {
  return Math.max(0, before.reserved - after.reserved);
}

export function count(value: number): string {
  return value.toLocaleString("en-US");
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
