// The end of a replay: one table, and the comparison of what the threads counted, what the holders' kernels say and what
// the authority says. Pure: figures in, text and differences out. Called by start.ts.
import Table from "cli-table3";
import type { Balance, LeaseState } from "purser/client";
import type { HolderRecord } from "./holders.ts";
import { sumRows } from "./tally.ts";

export interface Figures {
  /** Calls of the trace, or those decided before the run was cut short. */
  readonly calls: number;
  readonly elapsedMs: number;
  readonly budgetTokens: number;
  readonly holders: readonly HolderRecord[];
  /** The leases of this run, after their end. */
  readonly leases: readonly LeaseState[];
  /** Calls to the authority: the holders' own. */
  readonly authorityCalls: number;
  /** The most that was lent and not known to be spent, at any look. */
  readonly exposurePeak: number;
  /** The authority's balance that this run's allocation was put on top of, and the one after the last settlement. */
  readonly before: DemoBalance;
  readonly after: DemoBalance;
}

/** Purser's own authority leaves no figure out. */
export type DemoBalance = Required<Balance>;

/** Two figures that have to be the same number, in words for the person who has to find out why they are not. */
interface Comparison {
  readonly row: string;
  readonly what: string;
  readonly found: number;
  readonly expected: number;
}

/** What follows from the figures, each once. */
interface Sums {
  readonly admitted: number;
  readonly denied: number;
  readonly overCap: number;
  /** Calls that died with their holder: admitted, and never settled. */
  readonly cutShort: number;
  readonly openHolds: number;
  /** What the threads added up themselves from the calls they settled, also in holders that were killed. */
  readonly spent: number;
  /** What was charged to killed holders beyond that: what they had out and could have spent. */
  readonly lost: number;
  /** What the authority has charged in this run. */
  readonly charged: number;
}

function sumsOf(figures: Figures): Sums {
  const { holders, before, after } = figures;
  const done = sumRows(holders.map((it) => it.done));
  const killed = holders.filter((it) => it.kernel === undefined);
  return {
    admitted: done.admitted,
    denied: done.denied,
    overCap: done.overCap,
    cutShort: done.admitted - done.settled,
    openHolds: holders.reduce((sum, it) => sum + it.openHolds, 0),
    spent: done.spentTokens,
    lost: sum(killed.map((it) => chargedTo(figures, it.name) - it.done.spentTokens)),
    charged: spentOf(after) - spentOf(before),
  };
}

/** Tokens that calls used although the budget had nothing left to cover them. */
export function overspendOf(figures: Figures): number {
  return Math.max(0, sumsOf(figures).spent - figures.budgetTokens);
}

/** Everything that does not agree, one sentence each; empty when all is well. Overspend is no disagreement. */
export function differences(figures: Figures): string[] {
  return comparisons(figures)
    .filter((it) => it.found !== it.expected)
    .map((it) => `${it.what}: ${count(it.found)}, expected ${count(it.expected)}`);
}

export function renderTable(figures: Figures): string {
  const { before, after, budgetTokens } = figures;
  const sums = sumsOf(figures);
  const wrongRows = new Set(
    comparisons(figures)
      .filter((it) => it.found !== it.expected)
      .map((it) => it.row),
  );
  const table = new Table({
    head: ["", "holders", "authority", "agree"],
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
  own("admitted", count(sums.admitted));
  own("denied", count(sums.denied));
  if (sums.cutShort > 0) own("cut short by a kill", count(sums.cutShort));
  if (sums.overCap > 0) own("above the output cap", count(sums.overCap));
  compared("budget (allocated)", budgetTokens, allocatedForThisRun(figures));
  compared("tokens spent", sums.spent, sums.charged - sums.lost);
  if (sums.lost > 0) table.push(["charged for killed holders", "", count(sums.lost), ""]);
  compared("tokens reserved", heldOf(figures), Math.max(0, after.reserved - before.reserved));
  compared("tokens remaining", budgetTokens - sums.spent - sums.lost, after.remaining - returnedOf(figures));
  const overspend = overspendOf(figures);
  table.push(["overspend", count(overspend), "", overspend > 0 ? "✗" : ""]);
  own("open holds at the end", count(sums.openHolds));
  const decisions = sums.admitted + sums.denied;
  own("decisions per second", count(Math.round((decisions * 1000) / figures.elapsedMs)));
  own("authority calls", count(figures.authorityCalls));
  own("decisions per authority call", count(Math.round(decisions / Math.max(1, figures.authorityCalls))));
  own("most tokens out at once", count(figures.exposurePeak));
  return table.toString();
}

/** What the table has no room for: what earlier runs left in the account, and what is owed. */
export function footnotes(figures: Figures): string[] {
  const notes: string[] = [];
  const { before, after } = figures;
  const { lost } = sumsOf(figures);
  if (lost > 0) {
    notes.push(
      `Killed holders had ${count(lost)} tokens out that nobody can account for; the authority counts them as spent, so ` +
        "that no death can overspend the budget.",
    );
  }
  if (spentOf(before) > 0) {
    notes.push(
      `The authority's account is older than this run: ${count(spentOf(before))} tokens were spent before, ` +
        `${count(spentOf(after))} of ${count(after.allocated)} in all; the table shows this run's part.`,
    );
  }
  const returned = returnedOf(figures);
  if (returned > 0) {
    notes.push(
      `An earlier run's ${count(returned)} tokens came back during this run; they are back in the account and no part of ` +
        "the table.",
    );
  }
  const left = Math.min(before.reserved, after.reserved);
  if (left > 0)
    notes.push(`An earlier run left ${count(left)} tokens reserved; they return when they expire.`);
  const indebted = after.debt - before.debt;
  if (indebted > 0) notes.push(`The authority has recorded ${count(indebted)} of the tokens spent as debt.`);
  return notes;
}

function comparisons(figures: Figures): Comparison[] {
  const { before, after, budgetTokens } = figures;
  const sums = sumsOf(figures);
  return [
    {
      row: "calls",
      what: "calls admitted + denied",
      found: sums.admitted + sums.denied,
      expected: figures.calls,
    },
    {
      row: "budget (allocated)",
      what: "the authority's allocation for this run",
      found: allocatedForThisRun(figures),
      expected: budgetTokens,
    },
    {
      row: "tokens spent",
      what: "tokens spent by the authority's count",
      found: sums.charged - sums.lost,
      expected: sums.spent,
    },
    ...figures.holders.flatMap((it) => ofHolder(figures, it)),
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
      expected: budgetTokens - sums.spent - sums.lost,
    },
    { row: "open holds at the end", what: "open holds", found: sums.openHolds, expected: 0 },
  ];
}

/** One holder's own count, its kernel's and its leases'. */
function ofHolder(figures: Figures, { name, done, kernel }: HolderRecord): Comparison[] {
  const charged = chargedTo(figures, name);
  const row = "tokens spent";
  if (kernel === undefined) {
    const what = `tokens that ${name} spent before it was killed, and was not charged for`;
    return [{ row, what, found: Math.max(0, done.spentTokens - charged), expected: 0 }];
  }
  const { consumed, held, available } = kernel;
  const reserved = "tokens reserved";
  return [
    {
      row,
      what: `tokens spent by ${name}, by its kernel's count`,
      found: consumed,
      expected: done.spentTokens,
    },
    { row, what: `tokens charged to ${name}'s leases`, found: charged, expected: done.spentTokens },
    { row: reserved, what: `tokens still held in ${name}'s kernel`, found: held, expected: 0 },
    { row: reserved, what: `tokens that ${name} did not give back`, found: available, expected: 0 },
  ];
}

/** What the leases of a holder have cost: what it reported, and what was charged where it never did. */
function chargedTo({ leases }: Figures, name: string): number {
  return sum(leases.filter((it) => it.holder === name).map((it) => it.spent + it.charged));
}

function heldOf({ holders }: Figures): number {
  return sum(holders.map((it) => it.kernel?.held ?? 0));
}

/** What the account's allocation leaves beyond what earlier runs spent, owe or still have reserved. */
function allocatedForThisRun({ before, after }: Figures): number {
  return after.allocated - before.spent - before.reserved - before.debt;
}

/** All that was spent: what the budget covered, and what it owes. */
function spentOf({ spent, debt }: DemoBalance): number {
  return spent + debt;
}

/** Tokens that earlier runs had reserved and never settled, returned by expiry since this run's allocation was made. */
function returnedOf({ before, after }: Figures): number {
  return Math.max(0, before.reserved - after.reserved);
}

export function count(value: number): string {
  return value.toLocaleString("en-US");
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
