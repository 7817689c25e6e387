// How much is out over time: what the authority has lent and does not know to be spent, looked at again and again while a
// run goes on, and drawn as a small plot. Called by start.ts.
import { plot } from "asciichart";
import type { Authority } from "purser/client";
import { EXPOSURE_EVERY_MS } from "./limits.ts";

const HEIGHT_LINES = 7;
const WIDTH_COLUMNS = 64;

export interface ExposureWatch {
  /** The most that was out at any look. */
  readonly peak: number;
  /** Looks so far, each a call of its own. */
  readonly looks: number;
  end(): Promise<void>;
  /** The plot, left to right in time; empty if there was no time to look twice. */
  render(): string;
}

export function watchExposure(authority: Authority, unit: string): ExposureWatch {
  const seen: number[] = [];
  let isOver = false;
  const looking = (async () => {
    while (!isOver) {
      const rows = await authority.exposure();
      seen.push(rows.find((row) => row.unit === unit)?.outstanding ?? 0);
      await new Promise((resolve) => setTimeout(resolve, EXPOSURE_EVERY_MS));
    }
  })();
  // Told when it ends; a run must not fail earlier because of whoever looks on.
  looking.catch(() => undefined);
  return {
    get peak() {
      return Math.max(0, ...seen);
    },
    get looks() {
      return seen.length;
    },
    end: async () => {
      isOver = true;
      await looking;
    },
    render: () => {
      // From the last look before anything was lent.
      const shown = seen.slice(Math.max(0, seen.findIndex((it) => it > 0) - 1));
      if (shown.length < 2) return "";
      // Each column shows the most of its looks, so that no peak is lost.
      const columns = Math.min(WIDTH_COLUMNS, shown.length);
      const points = Array.from({ length: columns }, (_, column) => {
        const from = Math.floor((column * shown.length) / columns);
        const to = Math.max(from + 1, Math.floor(((column + 1) * shown.length) / columns));
        return Math.max(...shown.slice(from, to));
      });
      const format = (value: number): string => Math.round(value).toLocaleString("en-US").padStart(12);
      return plot(points, { height: HEIGHT_LINES, min: 0, format });
    },
  };
}
