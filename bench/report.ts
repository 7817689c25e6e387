// The closing table: figures in, text out. Pure. Called by run.ts.

import Table from "cli-table3";
import type { Allocations } from "./allocations.ts";
import { type Contender, type Group, type Runtime, runtimesOf, SCRIPT_RUNTIMES } from "./contender.ts";
import { type Measured, median, ratio, spread } from "./statistics.ts";

export interface Report {
  readonly groups: readonly Group[];
  readonly measured: readonly Measured[];
  readonly allocations: readonly Allocations[];
}

const HEAD = [
  "ns per operation",
  "Node",
  "workerd",
  "Chromium",
  "native = 1",
  "BigInt64 = 1",
  "1 thread = 1",
];
const NONE = "–";

/** Titles of groups are rows of one cell. */
export interface ClosingTable {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly notes: readonly string[];
}

export function closingTable({ groups, measured, allocations }: Report): ClosingTable {
  const rows: string[][] = [];
  const notes: string[] = [];
  for (const group of groups) {
    const contenders = group.contenders.filter((it) => measured.some((one) => one.contender === it.id));
    if (contenders.length > 0) rows.push([group.title]);
    for (const contender of contenders) {
      const note = contender.note === undefined ? "" : ` [${notes.push(contender.note)}]`;
      rows.push([`${contender.who}${note}`, ...cellsOf(group, contender, measured)]);
    }
  }
  if (allocations.length > 0) rows.push(["Heap after a million operations (before them)"]);
  for (const it of allocations) {
    const growth = it.heapAfterBytes - it.heapBeforeBytes;
    rows.push([
      `${it.what} (${kib(it.heapBeforeBytes)})`,
      `${growth < 0 ? "−" : "+"}${kib(Math.abs(growth))}`,
    ]);
    rows.push(["garbage per operation, collected since", `${it.bytesPerOperation.toFixed(1)} B`]);
  }
  return { head: HEAD, rows, notes };
}

export function renderText({ head, rows, notes }: ClosingTable): string {
  const table = new Table({
    head: [...head],
    colAligns: ["left", ...head.slice(1).map(() => "right" as const)],
    style: { head: [], border: [] },
    // No lines between the rows: the groups' titles part them.
    chars: { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" },
  });
  for (const [what = "", ...cells] of rows) {
    const isTitle = cells.length === 0;
    const padding = head.slice(1 + cells.length).map(() => "");
    table.push([isTitle ? what.toUpperCase() : `  ${what}`, ...cells, ...padding]);
  }
  return [table.toString(), ...numbered(notes)].join("\n");
}

export function renderMarkdown({ head, rows, notes }: ClosingTable): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  const lines = rows.map(([what = "", ...cells]) => {
    const padding = head.slice(1 + cells.length).map(() => "");
    return line([cells.length === 0 ? `**${what}**` : what, ...cells, ...padding]);
  });
  const ruler = line(head.map((_, column) => (column === 0 ? "---" : "---:")));
  return [line(head), ruler, ...lines, "", ...numbered(notes).map((note) => `- ${note}`)].join("\n");
}

function numbered(notes: readonly string[]): string[] {
  return notes.map((note, index) => `[${index + 1}] ${note}`);
}

function cellsOf(group: Group, contender: Contender, measured: readonly Measured[]): string[] {
  const find = (id: string | undefined, runtime: Runtime): Measured | undefined =>
    measured.find((it) => it.contender === id && it.runtime === runtime);
  const runtimes = runtimesOf(contender);
  const isNative = contender.kind === "native";

  // The native program has no column of its own: its figure is the unit of one.
  const own = isNative ? find(contender.id, "native") : undefined;
  const figures = SCRIPT_RUNTIMES.map((runtime) => figureOf(find(contender.id, runtime)));
  const slower = eachRuntime(runtimes, (runtime) =>
    quotient(find(contender.id, runtime), find(group.native, "native")),
  );
  const faster = eachRuntime(runtimes, (runtime) =>
    quotient(find(group.bigIntAtomics, isNative ? "node" : runtime), find(contender.id, runtime)),
  );
  const threads = eachRuntime(runtimes, (runtime) =>
    quotient(
      contender.kind === "loop" ? undefined : find(contender.oneThread, runtime),
      find(contender.id, runtime),
    ),
  );
  return own === undefined
    ? [...figures, slower, faster, threads]
    : [figureOf(own), NONE, NONE, slower, faster, threads];
}

function figureOf(one: Measured | undefined): string {
  if (one === undefined) return NONE;
  const percent = (100 * spread(one.rounds)).toFixed(0);
  return `${nanoseconds(median(one.rounds))} ±${percent} % (${nanoseconds(Math.min(...one.rounds))})`;
}

/** One figure per runtime, in the order of the columns. */
function eachRuntime(runtimes: readonly Runtime[], cell: (runtime: Runtime) => string | null): string {
  const cells = runtimes.map((runtime) => cell(runtime));
  return cells.every((it) => it === null) ? "" : cells.map((it) => it ?? NONE).join(" · ");
}

function quotient(a: Measured | undefined, b: Measured | undefined): string | null {
  if (a === undefined || b === undefined) return null;
  const value = ratio(a, b);
  return value.toFixed(value < 10 ? 2 : 0);
}

function nanoseconds(value: number): string {
  return value.toFixed(value < 100 ? 1 : 0);
}

function kib(bytes: number): string {
  return `${(bytes / 1024).toFixed(1)} KiB`;
}
