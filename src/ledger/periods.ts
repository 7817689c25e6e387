// Periods: the arithmetic of a budget's windows. A period cuts all of time into numbered windows; a day, week or month
// begins at the first moment whose local date has been reached in its time zone, daylight saving included. Invariant:
// the windows tile time, each ends where the next begins, and every moment lies in exactly one. Pure; nothing here knows
// a budget, and no time is read. Who may call: the operations on budgets, and the core when a window has ended.

import { LIMITS, MS_PER_DAY } from "./limits.ts";

export const CALENDAR_PERIODS = ["daily", "weekly", "monthly"] as const;

/** Days, ISO weeks (from Monday) or months of an IANA time zone; or every so many milliseconds, counted from an anchor. */
export type Period =
  | { readonly kind: (typeof CALENDAR_PERIODS)[number]; readonly timeZone: string }
  | { readonly kind: "every"; readonly everyMs: number; readonly anchorMs: number };

/** Half-open: `startMs` belongs to it, `endMs` to the next one. */
export interface PeriodWindow {
  readonly startMs: number;
  readonly endMs: number;
}

/** The window that `timeMs` lies in. */
export function windowAt(period: Period, timeMs: number): PeriodWindow {
  const number = numberAt(period, timeMs);
  return { startMs: boundaryOf(period, number), endMs: boundaryOf(period, number + 1) };
}

/** How many windows lie between two moments that each begin one. */
export function windowsBetween(period: Period, startMs: number, laterStartMs: number): number {
  return numberAt(period, laterStartMs) - numberAt(period, startMs);
}

/**
 * The platform's own name of an IANA time zone, which it takes in any letter case; `undefined` for one it does not know,
 * and for an offset like "+01:00", which it would take too.
 */
export function canonicalTimeZone(text: string): string | undefined {
  if (!/^[A-Za-z]/.test(text)) return undefined;
  try {
    return new Intl.DateTimeFormat("en-US", { timeZone: text }).resolvedOptions().timeZone;
  } catch {
    return undefined;
  }
}

function numberAt(period: Period, timeMs: number): number {
  if (period.kind === "every") return Math.floor((timeMs - period.anchorMs) / period.everyMs);
  let number = numberOfDay(period.kind, Math.floor(wallTimeAt(period.timeZone, timeMs) / MS_PER_DAY));
  // Where clocks went back over midnight, the evening's date came twice. The boundaries decide, not the date.
  while (timeMs >= boundaryOf(period, number + 1)) number += 1;
  while (timeMs < boundaryOf(period, number)) number -= 1;
  return number;
}

/** The moment at which window `number` begins. */
function boundaryOf(period: Period, number: number): number {
  if (period.kind === "every") return period.anchorMs + number * period.everyMs;
  return firstMomentAt(period.timeZone, firstDayOf(period.kind, number) * MS_PER_DAY);
}

// Days are counted from 1970-01-01, a Thursday, as the local calendar shows them; the Monday before it is day −3.

function numberOfDay(kind: (typeof CALENDAR_PERIODS)[number], day: number): number {
  if (kind === "daily") return day;
  if (kind === "weekly") return Math.floor((day + 3) / 7);
  const date = new Date(day * MS_PER_DAY);
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
}

function firstDayOf(kind: (typeof CALENDAR_PERIODS)[number], number: number): number {
  if (kind === "daily") return number;
  if (kind === "weekly") return number * 7 - 3;
  return Date.UTC(Math.floor(number / 12), number % 12) / MS_PER_DAY;
}

/**
 * The first moment at which the zone's clocks show `wallMs` or later. A wall time is what the clocks show, written as
 * if it were UTC. Where the clocks skip it, that is the moment of the skip; where they show it twice, the first time.
 */
function firstMomentAt(timeZone: string, wallMs: number): number {
  // No zone is further than 16 hours from UTC, and none changes its offset twice within two days.
  let early = wallMs - MS_PER_DAY;
  let late = wallMs + MS_PER_DAY;
  const offsetsMs = [early, late].map((timeMs) => wallTimeAt(timeZone, timeMs) - timeMs);
  const moments = offsetsMs.map((offsetMs) => wallMs - offsetMs).sort((a, b) => a - b);
  const shown = moments.find((timeMs) => wallTimeAt(timeZone, timeMs) === wallMs);
  if (shown !== undefined) return shown;
  while (late - early > 1) {
    const middle = Math.floor((early + late) / 2);
    if (wallTimeAt(timeZone, middle) >= wallMs) late = middle;
    else early = middle;
  }
  return late;
}

function wallTimeAt(timeZone: string, timeMs: number): number {
  const shown: Record<string, number> = {};
  for (const { type, value } of wallClockOf(timeZone).formatToParts(timeMs)) shown[type] = Number(value);
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = shown;
  // The clock shows whole seconds; every offset since 1970 is whole seconds too.
  const fractionMs = timeMs - Math.floor(timeMs / 1000) * 1000;
  return Date.UTC(year, month - 1, day, hour, minute, second) + fractionMs;
}

/** One formatter a zone: making one costs more than everything else here. */
const wallClocks = new Map<string, Intl.DateTimeFormat>();

/** @throws RangeError for a time zone that the platform does not know */
function wallClockOf(timeZone: string): Intl.DateTimeFormat {
  let clock = wallClocks.get(timeZone);
  if (clock === undefined) {
    clock = new Intl.DateTimeFormat("en-US", {
      timeZone,
      calendar: "gregory",
      numberingSystem: "latn",
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
    // There are some 600 names. Periods kept by an earlier version may spell them in more ways than that.
    if (wallClocks.size >= LIMITS.timeZonesKept) wallClocks.clear();
    wallClocks.set(timeZone, clock);
  }
  return clock;
}
