// What the threads of all holders have done, in a file that outlives whoever is killed: a row a thread, written by that
// thread alone after each decision and each settlement. Invariant: a row only ever grows, and never tells of a token that
// was not spent. Written by replay-thread.ts and holder-process.ts, read by start.ts.
import { closeSync, openSync, readSync, writeFileSync, writeSync } from "node:fs";

/** One row's figures; a thread's own, or for a holder's first row its calls to the authority. */
export interface TallyRow {
  readonly decided: number;
  readonly admitted: number;
  readonly denied: number;
  readonly settled: number;
  readonly spentTokens: number;
  /** Calls that generated more than the cap, and so more than was reserved for them. */
  readonly overCap: number;
  readonly authorityCalls: number;
}

const FIELDS = [
  "decided",
  "admitted",
  "denied",
  "settled",
  "spentTokens",
  "overCap",
  "authorityCalls",
] as const satisfies readonly (keyof TallyRow)[];
const ROW_BYTES = 8 * Float64Array.BYTES_PER_ELEMENT;

export type MutableRow = { -readonly [Field in keyof TallyRow]: number };

export function emptyRow(): MutableRow {
  return { decided: 0, admitted: 0, denied: 0, settled: 0, spentTokens: 0, overCap: 0, authorityCalls: 0 };
}

/** Makes the file, all zeros. */
export function createTally(path: string): void {
  writeFileSync(path, "");
}

/** Writes one row, whole: the system keeps it when the process is killed. */
export function tallyWriter(path: string, row: number): (figures: TallyRow) => void {
  const file = openSync(path, "r+");
  const words = new Float64Array(8);
  return (figures) => {
    for (const [index, field] of FIELDS.entries()) words[index] = figures[field];
    writeSync(file, words, 0, ROW_BYTES, row * ROW_BYTES);
  };
}

/** The rows as they are; zeros where nobody has written. */
export function readTally(path: string, rows: number): TallyRow[] {
  const words = new Float64Array((rows * ROW_BYTES) / Float64Array.BYTES_PER_ELEMENT);
  const file = openSync(path, "r");
  try {
    readSync(file, words, 0, words.byteLength, 0);
  } finally {
    closeSync(file);
  }
  return Array.from({ length: rows }, (_, row) => {
    const figures = emptyRow();
    for (const [index, field] of FIELDS.entries()) figures[field] = words[row * 8 + index] ?? 0;
    return figures;
  });
}

export function sumRows(rows: readonly TallyRow[]): TallyRow {
  const total = emptyRow();
  for (const row of rows) for (const field of FIELDS) total[field] += row[field];
  return total;
}
