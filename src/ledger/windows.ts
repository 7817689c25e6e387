// A budget in time: which window its figures are for, and what passes from one window to the next. Invariant: the
// current figures are those of the window that the present lies in, so no reset is ever run or missed; each window
// keeps remaining = allocated − spent − reserved − debt; unused budget never moves, debt always does, and the next
// allocation repays it first. Over all windows of a budget: Σ spent + debt − Σ carried debt = what was ever charged.
// Pure. Who may call: the core, which reads and writes what these functions compute.

import { INT64_MAX, INT64_MIN } from "./int64.ts";
import { windowAt, windowsBetween } from "./periods.ts";
import type { AccountRecord, AccountWindow, WindowRecord } from "./store.ts";

type Figures = Pick<WindowRecord, "allocated" | "spent" | "reserved" | "debt">;

/** Whether a budget's figures are for the window that `nowMs` lies in. A closed one's time stands still. */
export function isCurrentAt({ window, status }: AccountRecord, nowMs: number): boolean {
  if (window?.endMs === undefined || status === "CLOSED") return true;
  return nowMs >= window.startMs && nowMs < window.endMs;
}

/** The name of the window that a hold made now belongs to: a budget's first one begins with the budget. */
export function windowStartOf({ window, createdAtMs }: AccountRecord): number {
  return window?.startMs ?? createdAtMs;
}

/** The windows to remember with a hold on these budgets; nothing where none of them ever had a period. */
export function windowsOf(accounts: readonly AccountRecord[]): number[] | undefined {
  return accounts.some(({ window }) => window !== undefined) ? accounts.map(windowStartOf) : undefined;
}

/** Whether a window must be kept: something happened in it. */
export function isUsed({ spent, reserved, debt, allocated, period, overLimitMark }: AccountRecord): boolean {
  return spent > 0n || reserved > 0n || debt > 0n || overLimitMark || allocated !== period?.allocated;
}

/** What is kept of a budget's window when it passes. Its debt is handed on, so here it is spent like everything else. */
export function passedWindow({ window, ...account }: AccountRecord): WindowRecord {
  if (window?.endMs === undefined) throw new Error("ledger: a window without an end has not passed");
  const { allocated, reserved, overLimitMark } = account;
  const { startMs, endMs, carriedDebt } = window;
  return { startMs, endMs, allocated, reserved, overLimitMark, carriedDebt, ...handedOn(account) };
}

/** A budget as it stood in a window that has passed; settling what that window still holds changes it. */
export function accountInWindow(current: AccountRecord, window: WindowRecord): AccountRecord {
  return { ...inWindow(current, window), current };
}

/**
 * The budget in the window that `nowMs` lies in: the one that is kept, if there is one (the host's clock was put back),
 * else a new one. `latest` is the latest kept window that began at `nowMs` or before.
 */
export function turnWindow(
  account: AccountRecord,
  nowMs: number,
  latest: WindowRecord | undefined,
): { readonly account: AccountRecord; readonly reopened: boolean } {
  const updated = { ...account, updatedAtMs: nowMs };
  if (latest !== undefined && nowMs < latest.endMs) {
    return { account: withDebt(inWindow(updated, latest), account.debt), reopened: true };
  }
  const { window, owed } = beginWindow(account, nowMs, latest);
  const { allocated = account.allocated } = account.period ?? {};
  const fresh = { allocated, spent: 0n, reserved: 0n, debt: 0n, overLimitMark: false };
  return { account: withDebt({ ...updated, ...fresh, window }, owed), reopened: false };
}

/** The new window's place in time, and what is still owed when it begins. */
function beginWindow(
  { period, window: left, debt }: AccountRecord,
  nowMs: number,
  latest: WindowRecord | undefined,
): { window: AccountWindow; owed: bigint } {
  if (period === undefined || left?.endMs === undefined) {
    throw new Error("ledger: a budget without a period has one window");
  }
  const { startMs, endMs } = windowAt(period.rule, nowMs);
  const begin = Math.max(startMs, latest?.endMs ?? startMs);
  if (nowMs < left.startMs) {
    return { window: { startMs: begin, endMs: Math.min(endMs, left.startMs), carriedDebt: 0n }, owed: debt };
  }
  // Windows in which nobody asked for anything repaid their share too, or the debt would depend on who looks when.
  const skipped = BigInt(Math.max(0, windowsBetween(period.rule, left.endMs, startMs)));
  const owed = debt - period.allocated * skipped;
  return {
    window: { startMs: Math.max(begin, left.endMs), endMs, carriedDebt: 0n },
    owed: owed > 0n ? owed : 0n,
  };
}

/** Takes over a debt: what remains repays it at once, the rest stays owed. */
function withDebt(account: AccountRecord, owed: bigint): AccountRecord {
  const { window } = account;
  if (owed === 0n || window === undefined) return account;
  const paid = least(owed, atLeastZero(remainingOf(account)));
  return {
    ...account,
    spent: account.spent + paid,
    debt: account.debt + owed - paid,
    window: { ...window, carriedDebt: window.carriedDebt + owed },
  };
}

export type LateDebt =
  | { readonly ok: true; readonly account: AccountRecord }
  | { readonly ok: false; readonly reason: "overdraft_limit_exceeded" | "overflow" };

/**
 * What a passed window's hold used beyond all cover, taken over by the window that stands now: within its overdraft limit,
 * or whatever that says.
 */
export function takeLateDebt(current: AccountRecord, owed: bigint, isLimited: boolean): LateDebt {
  const account = withDebt(current, owed);
  if (isLimited && account.debt > current.debt && account.debt > current.overdraftLimit) {
    return { ok: false, reason: "overdraft_limit_exceeded" };
  }
  const fits = account.debt <= INT64_MAX && remainingOf(account) >= INT64_MIN;
  return fits && (account.window?.carriedDebt ?? 0n) <= INT64_MAX
    ? { ok: true, account }
    : { ok: false, reason: "overflow" };
}

/**
 * How long until these budgets have begun new windows that cover `amount`; `undefined` if one that lacks it never will
 * by itself.
 */
export function coveredAfterMs(
  accounts: readonly AccountRecord[],
  amount: bigint,
  nowMs: number,
): number | undefined {
  let afterMs: number | undefined;
  for (const account of accounts) {
    if (remainingOf(account) >= amount) continue;
    const { period, window, debt } = account;
    if (period === undefined || window?.endMs === undefined || period.allocated - debt < amount)
      return undefined;
    afterMs = Math.max(afterMs ?? 0, window.endMs - nowMs);
  }
  return afterMs;
}

function inWindow(account: AccountRecord, passed: WindowRecord): AccountRecord {
  const { startMs, endMs, carriedDebt, ...figures } = passed;
  return { ...account, ...figures, window: { startMs, endMs, carriedDebt } };
}

/** Debt as spent. Where one int64 cannot hold both, the rest stays what it was. */
function handedOn({ spent, debt }: Pick<Figures, "spent" | "debt">): Pick<Figures, "spent" | "debt"> {
  const sum = spent + debt;
  return sum <= INT64_MAX ? { spent: sum, debt: 0n } : { spent: INT64_MAX, debt: sum - INT64_MAX };
}

function remainingOf({ allocated, spent, reserved, debt }: Figures): bigint {
  return allocated - spent - reserved - debt;
}

function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function atLeastZero(value: bigint): bigint {
  return value > 0n ? value : 0n;
}
