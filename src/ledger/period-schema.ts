// The wire shapes of budgets' periods, which are Purser's own: what may be sent, and how a budget's windows are shown.
// Invariant: as in schema.ts, bodies are closed objects; a time zone is kept by its canonical name.
// Who may call: the operations on periods.

import * as v from "valibot";
import { LIMITS } from "./limits.ts";
import { CALENDAR_PERIODS, canonicalTimeZone, type Period } from "./periods.ts";
import { type Amount, amount, closed, instant, integer, type Unit } from "./schema.ts";
import type { AccountRecord, WindowRecord } from "./store.ts";
import { isoTime } from "./wire.ts";

const periodMs = integer(LIMITS.periodMsMin, LIMITS.periodMsMax);
/** By its canonical name, so that one zone is one text however it was spelt. An offset has no daylight saving to keep. */
const timeZone = v.pipe(
  v.string("must be a string"),
  v.rawTransform<string, string>(({ dataset, addIssue, NEVER }) => {
    const text = dataset.value;
    const name = text.length <= LIMITS.timeZoneLengthMax ? canonicalTimeZone(text) : undefined;
    if (name !== undefined) return name;
    addIssue({ message: "must be the name of an IANA time zone like Europe/Berlin, not an offset" });
    return NEVER;
  }),
);

export const periodSchema = v.pipe(
  closed({
    kind: v.picklist([...CALENDAR_PERIODS, "every"], `must be ${CALENDAR_PERIODS.join(", ")} or every`),
    time_zone: v.optional(timeZone),
    every_ms: v.optional(periodMs),
    starts_at: v.optional(instant),
    allocated: v.optional(amount),
  }),
  v.check(
    ({ kind, every_ms: everyMs }) => (kind === "every") === (everyMs !== undefined),
    "must give every_ms with kind every, and only then",
  ),
  v.check(
    ({ kind, starts_at: startsAt }) => kind === "every" || startsAt === undefined,
    "must give starts_at only with kind every",
  ),
  v.check(
    ({ kind, time_zone: zone }) => kind !== "every" || zone === undefined,
    "must not give time_zone with kind every",
  ),
);

export type PeriodRequest = v.InferOutput<typeof periodSchema>;

export function periodOf({
  kind,
  time_zone: zone,
  every_ms: everyMs,
  starts_at: startsAt,
}: PeriodRequest): Period {
  return kind === "every"
    ? { kind, everyMs: everyMs ?? LIMITS.periodMsMax, anchorMs: startsAt ?? 0 }
    : { kind, timeZone: zone ?? "UTC" };
}

/** A window of a budget. `carried_debt` is what it took over from others; it is part of its own spent and debt. */
export interface WindowBody {
  readonly starts_at: string;
  readonly ends_at?: string;
  readonly allocated: Amount;
  readonly remaining: Amount;
  readonly reserved: Amount;
  readonly spent: Amount;
  readonly debt: Amount;
  readonly carried_debt: Amount;
}

export interface PeriodBody {
  readonly scope: string;
  readonly unit: Unit;
  /** Absent where the budget has no period. */
  readonly period?: {
    readonly kind: Period["kind"];
    readonly time_zone?: string;
    readonly every_ms?: number;
    readonly starts_at?: string;
    readonly allocated: Amount;
  };
  readonly window: WindowBody;
  /** The latest first. */
  readonly passed_windows: readonly WindowBody[];
}

export function periodBody(account: AccountRecord, passed: readonly WindowRecord[]): PeriodBody {
  const { scope, unit, period, window, createdAtMs } = account;
  const amountOf = (value: bigint): Amount => ({ unit, amount: value });
  const windowBody = (
    figures: Pick<WindowRecord, "allocated" | "spent" | "reserved" | "debt">,
    { startMs, endMs, carriedDebt }: NonNullable<AccountRecord["window"]>,
  ): WindowBody => ({
    starts_at: isoTime(startMs),
    ...(endMs !== undefined && { ends_at: isoTime(endMs) }),
    allocated: amountOf(figures.allocated),
    remaining: amountOf(figures.allocated - figures.spent - figures.reserved - figures.debt),
    reserved: amountOf(figures.reserved),
    spent: amountOf(figures.spent),
    debt: amountOf(figures.debt),
    carried_debt: amountOf(carriedDebt),
  });
  return {
    scope,
    unit,
    ...(period !== undefined && {
      period: { ...ruleBody(period.rule), allocated: amountOf(period.allocated) },
    }),
    window: windowBody(account, window ?? { startMs: createdAtMs, carriedDebt: 0n }),
    passed_windows: passed.map((each) => windowBody(each, each)),
  };
}

function ruleBody(rule: Period) {
  return rule.kind === "every"
    ? { kind: rule.kind, every_ms: rule.everyMs, starts_at: isoTime(rule.anchorMs) }
    : { kind: rule.kind, time_zone: rule.timeZone };
}
