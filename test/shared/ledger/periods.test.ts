// The arithmetic of windows: they tile time whatever the zone does to its clocks, and begin where people expect.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalTimeZone, type Period, windowAt, windowsBetween } from "../../../src/ledger/periods.ts";

const DAY = 86_400_000;
const HOUR = 3_600_000;

// Daylight saving north and south, at midnight, by half an hour, over midnight; a skipped day; odd and no offsets.
const ZONES = [
  "UTC",
  "Europe/Berlin",
  "America/New_York",
  "America/Sao_Paulo",
  "America/Havana",
  "America/St_Johns",
  "Africa/Cairo",
  "Africa/Casablanca",
  "Asia/Beirut",
  "Asia/Kathmandu",
  "Asia/Tokyo",
  "Australia/Lord_Howe",
  "Pacific/Apia",
  "Pacific/Chatham",
  "Pacific/Kiritimati",
];

const period: fc.Arbitrary<Period> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom("daily" as const, "weekly" as const, "monthly" as const),
      timeZone: fc.constantFrom(...ZONES),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("every" as const),
      everyMs: fc.integer({ min: 60_000, max: 400 * DAY }),
      anchorMs: fc.integer({ min: 0, max: 4_102_444_800_000 }),
    }),
  },
);
/** 1975 to 2100, half of it near now. */
const time = fc.oneof(
  fc.integer({ min: 157_766_400_000, max: 4_102_444_800_000 }),
  fc.integer({ min: 1_700_000_000_000, max: 1_900_000_000_000 }),
);

const iso = ({ startMs, endMs }: { startMs: number; endMs: number }) =>
  [startMs, endMs].map((ms) => new Date(ms).toISOString().replace(":00.000Z", "Z"));
const at = (kind: "daily" | "weekly" | "monthly", timeZone: string, moment: string) =>
  iso(windowAt({ kind, timeZone }, Date.parse(moment)));

describe("windows", () => {
  test("tile time: each moment lies in one, and each ends where the next begins", () => {
    fc.assert(
      fc.property(period, time, (each, timeMs) => {
        const window = windowAt(each, timeMs);
        expect(window.startMs).toBeLessThanOrEqual(timeMs);
        expect(window.endMs).toBeGreaterThan(timeMs);
        expect(windowAt(each, window.startMs)).toEqual(window);
        expect(windowAt(each, window.endMs - 1)).toEqual(window);
        expect(windowAt(each, window.endMs).startMs).toBe(window.endMs);
        expect(windowAt(each, window.startMs - 1).endMs).toBe(window.startMs);
        expect(windowsBetween(each, window.startMs, window.endMs)).toBeGreaterThanOrEqual(1);
      }),
      { numRuns: 600 },
    );
  });

  test("begin when the zone's own calendar turns", () => {
    const calendar = fc.constantFrom("daily" as const, "weekly" as const, "monthly" as const);
    fc.assert(
      fc.property(calendar, fc.constantFrom(...ZONES), time, (kind, timeZone, timeMs) => {
        const { startMs } = windowAt({ kind, timeZone }, timeMs);
        const shown = new Intl.DateTimeFormat("en-GB", {
          timeZone,
          dateStyle: "short",
        });
        const weekday = new Intl.DateTimeFormat("en-GB", { timeZone, weekday: "short" }).format(startMs);
        expect(shown.format(startMs)).not.toBe(shown.format(startMs - 1));
        if (kind === "weekly") expect(weekday).toBe("Mon");
        if (kind === "monthly") expect(shown.format(startMs)).toMatch(/^01\//);
      }),
      { numRuns: 300 },
    );
  });

  test("last as long as their day did", () => {
    const hours = (timeZone: string, moment: string) => {
      const { startMs, endMs } = windowAt({ kind: "daily", timeZone }, Date.parse(moment));
      return (endMs - startMs) / HOUR;
    };
    expect(hours("Europe/Berlin", "2026-03-29T12:00:00Z")).toBe(23);
    expect(hours("Europe/Berlin", "2026-10-25T12:00:00Z")).toBe(25);
    expect(hours("Europe/Berlin", "2026-10-26T12:00:00Z")).toBe(24);
    expect(hours("America/New_York", "2026-03-08T12:00:00Z")).toBe(23);
    expect(hours("Australia/Lord_Howe", "2026-04-05T00:00:00Z")).toBe(24.5);
    expect(hours("UTC", "2026-03-29T12:00:00Z")).toBe(24);
  });

  test("begin at the skip where clocks skip midnight", () => {
    // From 00:00 to 01:00 on 2018-11-04: the day begins at 01:00 local time.
    expect(at("daily", "America/Sao_Paulo", "2018-11-04T12:00:00Z")).toEqual([
      "2018-11-04T03:00Z",
      "2018-11-05T02:00Z",
    ]);
  });

  test("begin at the first of two midnights", () => {
    // Havana goes from 01:00 back to 00:00 on 2025-11-02.
    expect(at("daily", "America/Havana", "2025-11-02T12:00:00Z")).toEqual([
      "2025-11-02T04:00Z",
      "2025-11-03T05:00Z",
    ]);
    // St John's went from 00:01 on the 7th back to 23:01 on the 6th in 2010: the 7th had begun for a minute already.
    expect(at("daily", "America/St_Johns", "2010-11-07T03:00:00Z")).toEqual([
      "2010-11-07T02:30Z",
      "2010-11-08T03:30Z",
    ]);
    expect(at("daily", "America/St_Johns", "2010-11-07T02:29:59Z")[1]).toBe("2010-11-07T02:30Z");
  });

  test("leave out a day that a zone left out", () => {
    // Samoa went from 29 December 2011 straight to the 31st.
    expect(at("daily", "Pacific/Apia", "2011-12-30T09:59:59Z")[1]).toBe("2011-12-30T10:00Z");
    expect(at("daily", "Pacific/Apia", "2011-12-30T10:00:00Z")).toEqual([
      "2011-12-30T10:00Z",
      "2011-12-31T10:00Z",
    ]);
  });

  test("follow months and leap years", () => {
    expect(at("monthly", "UTC", "2028-02-29T23:59:59Z")).toEqual(["2028-02-01T00:00Z", "2028-03-01T00:00Z"]);
    expect(at("monthly", "UTC", "2027-02-28T23:59:59Z")).toEqual(["2027-02-01T00:00Z", "2027-03-01T00:00Z"]);
    expect(at("monthly", "UTC", "2100-02-28T12:00:00Z")).toEqual(["2100-02-01T00:00Z", "2100-03-01T00:00Z"]);
    expect(at("monthly", "Asia/Kathmandu", "2026-12-31T18:15:00Z")).toEqual([
      "2026-12-31T18:15Z",
      "2027-01-31T18:15Z",
    ]);
    expect(at("monthly", "America/New_York", "2026-11-30T00:00:00Z")).toEqual([
      "2026-11-01T04:00Z",
      "2026-12-01T05:00Z",
    ]);
  });

  test("of weeks begin on Monday", () => {
    expect(at("weekly", "UTC", "2026-01-01T00:00:00Z")).toEqual(["2025-12-29T00:00Z", "2026-01-05T00:00Z"]);
    expect(at("weekly", "Pacific/Kiritimati", "2026-01-04T10:00:00Z")[0]).toBe("2026-01-04T10:00Z");
  });

  test("of fixed length count from their anchor, also backwards", () => {
    const every: Period = { kind: "every", everyMs: 1000, anchorMs: 10_500 };
    expect(windowAt(every, 10_500)).toEqual({ startMs: 10_500, endMs: 11_500 });
    expect(windowAt(every, 10_499)).toEqual({ startMs: 9_500, endMs: 10_500 });
    expect(windowsBetween(every, 10_500, 15_500)).toBe(5);
  });
});

test("windows between two beginnings are counted", () => {
  const month: Period = { kind: "monthly", timeZone: "Europe/Berlin" };
  const from = windowAt(month, Date.parse("2026-01-15T00:00:00Z")).startMs;
  const to = windowAt(month, Date.parse("2028-03-15T00:00:00Z")).startMs;
  expect(windowsBetween(month, from, to)).toBe(26);
});

test("time zones are those of the platform, by one name each", () => {
  expect(["Europe/Berlin", "UTC", "eUROPE/bERLIN", "utc"].map(canonicalTimeZone)).toEqual([
    "Europe/Berlin",
    "UTC",
    "Europe/Berlin",
    "UTC",
  ]);
  const none = ["Mars/Olympus", "", "Europe/Berlin ", "__proto__", "+01:00", "-08", "+0530"];
  expect(none.map(canonicalTimeZone)).toEqual(none.map(() => undefined));
});
