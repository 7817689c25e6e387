// Periods of budgets: given, taken away, shown with the windows that have passed. Not part of the protocol, so its paths
// lie under /v1/x-purser/. Invariant: giving, changing or removing a period moves no figure; it only says when the
// window that stands now will end, and what the next one begins with. Who may call: the Ledger.

import { findBudget, recordBudget, wrongUnit } from "./admin-budgets.ts";
import { budgetNameSchema } from "./admin-schema.ts";
import { changesOf } from "./admin-tenants.ts";
import { type Reply, refuse, succeed } from "./codes.ts";
import type { Admitted, LedgerCore, Turn } from "./core.ts";
import { changeRefusal } from "./evaluation.ts";
import { RETENTION } from "./limits.ts";
import { type PeriodBody, periodBody, periodOf, periodSchema } from "./period-schema.ts";
import { windowAt } from "./periods.ts";
import { validate } from "./schema.ts";
import type { AccountKey, AccountRecord } from "./store.ts";
import { windowStartOf } from "./windows.ts";

/** Gives a budget a period, or another one: the window that stands now lasts until the period's next boundary. */
export function setPeriod(core: LedgerCore, query: unknown, input: unknown, turn: Turn): Reply<PeriodBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, {
      schema: budgetNameSchema,
      input: query,
      permission: "budgets:write",
    });
    if (!admitted.ok) return admitted;
    const checked = validate(periodSchema, input);
    if (!checked.ok) return checked;
    const request = checked.value;
    const found = changeable(core, admitted, turn, nowMs);
    if (!found.ok) return found;
    const { account } = found;
    if (request.allocated !== undefined && request.allocated.unit !== account.unit) {
      return wrongUnit("allocated", request.allocated, account.unit);
    }
    if (account.settings.rolloverPolicy === "CARRY_FORWARD") {
      const rule = "a budget with rollover_policy CARRY_FORWARD can have no period";
      return refuse("INVALID_REQUEST", `${rule}: what is unused ends with its window`);
    }
    const rule = periodOf(request);
    const allocated = request.allocated?.amount ?? account.period?.allocated ?? account.allocated;
    const { carriedDebt = 0n } = account.window ?? {};
    const window = { startMs: windowStartOf(account), endMs: windowAt(rule, nowMs).endMs, carriedDebt };
    return write(core, turn, nowMs, { ...account, period: { rule, allocated }, window }, "setBudgetPeriod");
  });
}

/** Takes the period away: the window that stands now has no end any more. */
export function removePeriod(core: LedgerCore, query: unknown, turn: Turn): Reply<PeriodBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, {
      schema: budgetNameSchema,
      input: query,
      permission: "budgets:write",
    });
    if (!admitted.ok) return admitted;
    const found = changeable(core, admitted, turn, nowMs);
    if (!found.ok) return found;
    const { period, window, ...account } = found.account;
    if (period === undefined || window === undefined) return succeed(shown(core, found.account));
    const endless = { startMs: window.startMs, carriedDebt: window.carriedDebt };
    return write(core, turn, nowMs, { ...account, window: endless }, "removeBudgetPeriod");
  });
}

export function getPeriod(core: LedgerCore, query: unknown, turn: Turn): Reply<PeriodBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, {
      schema: budgetNameSchema,
      input: query,
      permission: "budgets:read",
    });
    if (!admitted.ok) return admitted;
    const found = findBudget(core, admitted, nowMs);
    return found.ok ? succeed(shown(core, found.account)) : found;
  });
}

function write(
  core: LedgerCore,
  turn: Turn,
  nowMs: number,
  account: AccountRecord,
  operation: string,
): Reply<PeriodBody> {
  const written = { ...account, updatedAtMs: nowMs };
  core.store.rewriteAccount(written);
  const body = shown(core, written);
  const metadata = changesOf({ period: body.period });
  recordBudget(core, turn, written, nowMs, { operation, tenantMay: true, metadata });
  return succeed(body);
}

function shown(core: LedgerCore, account: AccountRecord): PeriodBody {
  return periodBody(account, core.store.readWindows(account, RETENTION.windowsPerBudget));
}

/** The budget that a query names, if it may still change. */
function changeable(core: LedgerCore, admitted: Admitted<AccountKey>, turn: Turn, nowMs: number) {
  const halted = changeRefusal(core, admitted.tenant, turn);
  if (halted !== undefined) return halted;
  const found = findBudget(core, admitted, nowMs);
  if (!found.ok || found.account.status !== "CLOSED") return found;
  const { scope, unit } = found.account;
  return refuse("BUDGET_CLOSED", `Budget closed: ${scope} ${unit}`);
}
