// The governance plane's budgets: made, shown, changed, frozen. Invariant: a budget belongs to the ledger's own tenant and
// is never made twice; a closed budget never changes again. Who may call: the Ledger; the HTTP front has checked the
// operator's key, or passes a tenant key's caller where the protocol lets tenants help themselves.

import type { GenericSchema } from "valibot";
import {
  type BudgetListQuery,
  budgetListSchema,
  budgetNameSchema,
  budgetPatchSchema,
  budgetSchema,
  transitionSchema,
} from "./admin-schema.ts";
import { changesOf } from "./admin-tenants.ts";
import { type BudgetBody, type BudgetListBody, budgetBody, ledgerIdOf, pageBody } from "./admin-wire.ts";
import { type AuditEntry, contains, recordAudit } from "./audit.ts";
import { type Refusal, type Reply, refuse, succeed } from "./codes.ts";
import { type Admitted, accountsOn, type LedgerCore, type Turn } from "./core.ts";
import { readCursor, refuseCursor, writeCursor } from "./cursor.ts";
import { changeRefusal, closedTenant } from "./evaluation.ts";
import type { JsonObject } from "./json.ts";
import { settledRows, takeRows } from "./reads.ts";
import { type Amount, validate } from "./schema.ts";
import { parseScope, passesScopeFilter } from "./scope.ts";
import type { AccountKey, AccountRecord } from "./store.ts";
import { shorten } from "./text.ts";

export function createBudget(core: LedgerCore, input: unknown, turn: Turn): Reply<BudgetBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, { schema: budgetSchema, input, permission: "budgets:write" });
    if (!admitted.ok) return admitted;
    const { request, tenant } = admitted;
    if (turn.caller !== undefined && request.tenant_id !== undefined) {
      return refuse("INVALID_REQUEST", "tenant_id must not be given with a tenant's key", {
        field: "tenant_id",
      });
    }
    if (request.tenant_id !== undefined && request.tenant_id !== core.tenant) {
      return refuse("INVALID_REQUEST", `tenant_id must be ${core.tenant}, got ${request.tenant_id}`);
    }
    const place = ownScope(core, request.scope, admitted);
    if (!place.ok) return place;
    const { scope } = place;
    const { unit } = request;
    for (const [field, amount] of [
      ["allocated", request.allocated],
      ["overdraft_limit", request.overdraft_limit],
    ] as const) {
      if (amount !== undefined && amount.unit !== unit) return wrongUnit(field, amount, unit);
    }
    const halted = changeRefusal(core, tenant, turn);
    if (halted !== undefined) return halted;
    if (tenant.status !== "ACTIVE") return refuse("INVALID_REQUEST", `Tenant not active: ${core.tenant}`);
    if (core.store.readAccounts([scope], unit).length > 0) {
      return refuse("DUPLICATE_RESOURCE", `Budget already exists: ${scope} ${unit}`);
    }
    if (core.store.countAccounts() >= core.limits.budgetsMax) {
      return refuse("LIMIT_EXCEEDED", `At most ${core.limits.budgetsMax} budgets per tenant`);
    }
    const account: AccountRecord = {
      scope,
      unit,
      allocated: request.allocated.amount,
      spent: 0n,
      reserved: 0n,
      debt: 0n,
      overdraftLimit: request.overdraft_limit?.amount ?? 0n,
      overLimitMark: false,
      status: "ACTIVE",
      commitOveragePolicy: request.commit_overage_policy,
      settings: {
        rolloverPolicy: request.rollover_policy,
        periodStartMs: request.period_start,
        periodEndMs: request.period_end,
        metadata: request.metadata,
      },
      createdAtMs: nowMs,
      updatedAtMs: nowMs,
    };
    core.store.insertAccount(account);
    recordBudget(core, turn, account, nowMs, {
      operation: "createBudget",
      tenantMay: true,
      status: 201,
      amount: request.allocated,
    });
    return succeed(budgetBody(core.tenant, account, core.arithmetic), 201);
  });
}

/** One budget by its exact scope and unit. */
export function lookupBudget(core: LedgerCore, query: unknown, turn: Turn): Reply<BudgetBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, {
      schema: budgetNameSchema,
      input: query,
      permission: "budgets:read",
    });
    if (!admitted.ok) return admitted;
    const found = findBudget(core, admitted, nowMs);
    return found.ok ? succeed(budgetBody(core.tenant, found.account, core.arithmetic)) : found;
  });
}

/** The tenant's budgets by scope and unit, those that the filters and the key's own filter let through. */
export function listBudgets(core: LedgerCore, query: unknown, turn: Turn): Reply<BudgetListBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, {
      schema: budgetListSchema,
      input: query,
      permission: "budgets:read",
    });
    if (!admitted.ok) return admitted;
    const { limit, cursor, ...filters } = admitted.request;
    const position = readCursor(cursor, filters);
    if (position === null) return refuseCursor();
    const after = position && { scope: position[0] ?? "", unit: position[1] ?? "" };
    const isWanted = (account: AccountRecord) =>
      passesScopeFilter(account.scope, admitted.principal.scopeFilter) &&
      passes(core, account, filters, nowMs);
    const rows = takeRows(core.store.scanAccounts(after), isWanted, limit + 1);
    const settled = settledRows(core, rows.slice(0, limit), nowMs);
    if (!settled.ok) return settled;
    const { rows: shown } = settled;
    const last = rows.length > limit ? shown[shown.length - 1] : undefined;
    return succeed(
      pageBody(
        "ledgers",
        shown.map((account) => budgetBody(core.tenant, account, core.arithmetic)),
        last && writeCursor([last.scope, last.unit], filters),
      ),
    );
  });
}

/** Changes what is given, also while frozen. A new overdraft limit lifts the mark of a capped charge. */
export function updateBudget(
  core: LedgerCore,
  query: unknown,
  input: unknown,
  turn: Turn,
): Reply<BudgetBody> {
  return changeBudget(core, query, { schema: budgetPatchSchema, input }, turn, (account, patch) => {
    const limit = patch.overdraft_limit;
    if (limit !== undefined && limit.unit !== account.unit) {
      return wrongUnit("overdraft_limit", limit, account.unit);
    }
    const after: AccountRecord = {
      ...account,
      overdraftLimit: limit?.amount ?? account.overdraftLimit,
      overLimitMark: limit === undefined && account.overLimitMark,
      commitOveragePolicy: patch.commit_overage_policy ?? account.commitOveragePolicy,
      settings: { ...account.settings, metadata: patch.metadata ?? account.settings.metadata },
    };
    return { ok: true, after, entry: { operation: "updateBudget", metadata: { changes: changesOf(patch) } } };
  });
}

/** ACTIVE to FROZEN: no reserve, no event, no funding; what is reserved can still be settled. */
export function freezeBudget(
  core: LedgerCore,
  query: unknown,
  input: unknown,
  turn: Turn,
): Reply<BudgetBody> {
  return moveBudget(core, query, input, turn, { operation: "freezeBudget", to: "FROZEN" });
}

/** FROZEN to ACTIVE. */
export function unfreezeBudget(
  core: LedgerCore,
  query: unknown,
  input: unknown,
  turn: Turn,
): Reply<BudgetBody> {
  return moveBudget(core, query, input, turn, { operation: "unfreezeBudget", to: "ACTIVE" });
}

function moveBudget(
  core: LedgerCore,
  query: unknown,
  input: unknown,
  turn: Turn,
  { operation, to }: { readonly operation: string; readonly to: "ACTIVE" | "FROZEN" },
): Reply<BudgetBody> {
  return changeBudget(core, query, { schema: transitionSchema, input }, turn, (account, { reason }) => {
    if (account.status === to) {
      const message = `Budget already ${to.toLowerCase()}: ${account.scope} ${account.unit}`;
      // The protocol has a code for the one, and for both the status.
      const error = to === "FROZEN" ? "BUDGET_FROZEN" : "INVALID_REQUEST";
      return { ...refuse(error, message), status: 409 };
    }
    const metadata = reason === undefined ? {} : { reason };
    return { ok: true, after: { ...account, status: to }, entry: { operation, metadata } };
  });
}

type Change = { readonly ok: true; readonly after: AccountRecord; readonly entry: BudgetEntry } | Refusal;

/** What the operators' changes of one budget share: found, not closed, written with its audit row. */
function changeBudget<Request>(
  core: LedgerCore,
  query: unknown,
  { schema, input }: { readonly schema: GenericSchema<unknown, Request>; readonly input: unknown },
  turn: Turn,
  change: (account: AccountRecord, request: Request) => Change,
): Reply<BudgetBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, {
      schema: budgetNameSchema,
      input: query,
      permission: "admin:budgets:write",
    });
    if (!admitted.ok) return admitted;
    const checked = validate(schema, input);
    if (!checked.ok) return checked;
    if (admitted.tenant.status === "CLOSED") return closedTenant(core);
    const found = findBudget(core, admitted, nowMs);
    if (!found.ok) return found;
    const { scope, unit, status } = found.account;
    if (status === "CLOSED") return refuse("BUDGET_CLOSED", `Budget closed: ${scope} ${unit}`);
    const changed = change(found.account, checked.value);
    if (!changed.ok) return changed;
    const account = { ...changed.after, updatedAtMs: nowMs };
    core.store.rewriteAccount(account);
    recordBudget(core, turn, account, nowMs, changed.entry);
    return succeed(budgetBody(core.tenant, account, core.arithmetic));
  });
}

/** The budget that a query names, as it stands now. */
export function findBudget(
  core: LedgerCore,
  admitted: Admitted<AccountKey>,
  nowMs: number,
): { readonly ok: true; readonly account: AccountRecord } | Refusal {
  const { unit } = admitted.request;
  const place = ownScope(core, admitted.request.scope, admitted);
  if (!place.ok) return place;
  const { unfinished } = core.settleDue(nowMs, accountsOn(unit, [place.scope]));
  if (unfinished !== undefined) return unfinished;
  const [account] = core.readAccounts([place.scope], unit, nowMs);
  return account === undefined
    ? refuse("BUDGET_NOT_FOUND", `Budget not found: ${place.scope} ${unit}`)
    : { ok: true, account };
}

/** What is said of a change of one budget; which one is added here. */
export type BudgetEntry = Omit<AuditEntry, "resourceType" | "resourceId" | "metadata"> & {
  readonly metadata?: JsonObject;
};

export function recordBudget(
  core: LedgerCore,
  turn: Turn,
  account: AccountRecord,
  nowMs: number,
  entry: BudgetEntry,
): void {
  recordAudit(core, turn, nowMs, {
    ...entry,
    resourceType: "budget",
    resourceId: ledgerIdOf(core.tenant, account),
    metadata: { scope: account.scope, unit: account.unit, ...entry.metadata },
  });
}

type BudgetFilters = Omit<BudgetListQuery, "limit" | "cursor">;

/** Whether a budget passes a list's filters: first those on its name and status, then those on its figures. */
function passes(core: LedgerCore, account: AccountRecord, filters: BudgetFilters, nowMs: number): boolean {
  return (
    account.scope.startsWith(filters.scope_prefix ?? "") &&
    account.unit === (filters.unit ?? account.unit) &&
    account.status === (filters.status ?? account.status) &&
    contains([core.tenant, account.scope], filters.search) &&
    // The figures that will be shown. Settling what is due changes `reserved` alone, which no filter looks at.
    figuresPass(core, core.viewAt(account, nowMs), filters)
  );
}

/** Utilization is spent ÷ allocated, 0 where nothing is allocated. */
function figuresPass(core: LedgerCore, account: AccountRecord, filters: BudgetFilters): boolean {
  const allocated = Number(account.allocated);
  const utilization = allocated === 0 ? 0 : Number(account.spent) / allocated;
  const { utilization_min: min = 0, utilization_max: max = Number.POSITIVE_INFINITY } = filters;
  return (
    (filters.over_limit === undefined || core.arithmetic.isOverLimit(account) === filters.over_limit) &&
    (filters.has_debt === undefined || account.debt > 0n === filters.has_debt) &&
    utilization >= min &&
    utilization <= max
  );
}

/** A scope of this tenant that the caller's filter includes. */
export function ownScope(core: LedgerCore, text: string, admitted: Admitted<unknown>) {
  const parsed = parseScope(text);
  if (!parsed.ok) {
    return refuse("INVALID_REQUEST", `scope: ${parsed.rule}, got ${shorten(JSON.stringify(text), 64)}`, {
      field: "scope",
    });
  }
  if (parsed.tenant !== core.tenant) {
    return refuse("FORBIDDEN", `scope must belong to tenant ${core.tenant}, got ${parsed.scope}`);
  }
  return passesScopeFilter(parsed.scope, admitted.principal.scopeFilter)
    ? parsed
    : refuse("FORBIDDEN", `The API key's scope filter does not include ${parsed.scope}`);
}

export function wrongUnit(field: string, amount: Amount, unit: string) {
  return refuse("UNIT_MISMATCH", `${field}.unit must be ${unit}, the budget's unit, got ${amount.unit}`, {
    requested_unit: amount.unit,
    expected_units: [unit],
  });
}
