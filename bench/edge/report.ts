// The tables of `npm run bench:edge`: outcomes in, text out. Pure. Called by edge.ts.

import type { ClosingTable } from "../report.ts";
import { median } from "../statistics.ts";
import type { Outcome } from "./load.ts";
import { AIM_CONNECTIONS, PUBLISHED, PUBLISHED_NOTES } from "./settings.ts";

/** The rounds of one operation in one setting. */
export interface Measurement {
  readonly flow: string;
  /** What the load was put on: "1 tenant", "64 tenants", "the large tenant". */
  readonly on: string;
  readonly connections: number;
  readonly rounds: readonly Outcome[];
}

export const EDGE_EXPLANATION = `Each cell: completed per second, then p50 / p99 of one operation in milliseconds, over HTTP with keep-alive, one request at
a time on each connection; medians of the rounds. All operations take turns in every round. The load generator, the
authority and the empty server are a process each and share the machine's cores. "× empty object": how many times as many
calls a second as an empty method of a Durable Object answers in the same round, at ${AIM_CONNECTIONS} connections. A reserve + commit is two
requests. Errors: answers that are not 2xx, and requests without an answer.`;

export function rateOf(outcome: Outcome): number {
  return (outcome.done * 1_000) / outcome.elapsedMs;
}

/** One row per operation, one column per number of connections. */
export function edgeTable(
  measurements: readonly Measurement[],
  { connections, published }: { readonly connections: readonly number[]; readonly published: boolean },
): ClosingTable {
  const head = [
    "per second · p50 / p99 ms",
    ...connections.map((count) => `${count} connection${count === 1 ? "" : "s"}`),
    "× empty object",
    "errors",
  ];
  const rows: string[][] = [];
  for (const on of new Set(measurements.map((it) => it.on))) {
    rows.push([on]);
    const here = measurements.filter((it) => it.on === on);
    for (const flow of new Set(here.map((it) => it.flow))) {
      const find = (name: string, count: number) =>
        here.find((it) => it.flow === name && it.connections === count);
      const cells = connections.map((count) => cellOf(find(flow, count)));
      const ratio = quotient(find(flow, AIM_CONNECTIONS), find("empty object RPC", AIM_CONNECTIONS));
      rows.push([flow, ...cells, ratio, String(errorsOf(here.filter((it) => it.flow === flow)))]);
    }
  }
  if (published) {
    rows.push(["published by others, on their machines"]);
    for (const { what, cells } of PUBLISHED) rows.push([what, ...cells, "", ""]);
  }
  return { head, rows, notes: published ? PUBLISHED_NOTES : [] };
}

function cellOf(measurement: Measurement | undefined): string {
  if (measurement === undefined) return "–";
  const { rounds } = measurement;
  const rate = Math.round(median(rounds.map(rateOf))).toLocaleString("en");
  const p50 = median(rounds.map((it) => it.p50Ms));
  const p99 = median(rounds.map((it) => it.p99Ms));
  return `${rate}/s ${p50.toFixed(1)} / ${p99.toFixed(1)}`;
}

function quotient(a: Measurement | undefined, b: Measurement | undefined): string {
  if (a === undefined || b === undefined) return "";
  const quotients = a.rounds.map((round, index) => {
    const other = b.rounds[index];
    return other === undefined ? Number.NaN : rateOf(round) / rateOf(other);
  });
  return median(quotients).toFixed(2);
}

function errorsOf(measurements: readonly Measurement[]): number {
  const counts = measurements.flatMap(({ rounds }) => rounds.flatMap(({ errors }) => Object.values(errors)));
  return counts.reduce((sum, count) => sum + count, 0);
}
