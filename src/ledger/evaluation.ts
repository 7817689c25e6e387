// Would this estimate be granted now? The one evaluation that reserve, dry run and decide share, and the two questions
// before it that events ask as well: whose scopes are these, and which of them are budgeted.
// Invariant: evaluating writes nothing but what has expired or had its time anyway, so asking and taking always agree.
// Who may call: reserve, decide, events, opening a lease.

import { mayTouch, outsideScope, type Principal } from "./access.ts";
import { type Refusal, refuse, unauthorized } from "./codes.ts";
import { accountsOn, type LedgerCore, refusePath, type Turn } from "./core.ts";
import { NO_HOLDER } from "./lease-book.ts";
import { LIMITS } from "./limits.ts";
import type { Caps, Governance } from "./policies.ts";
import type { Action, Amount } from "./schema.ts";
import { type Subject, scopesOf } from "./scope.ts";
import type { AccountRecord, TenantRecord } from "./store.ts";
import { type AmountMember, capScopesOf, isCapScope, refuseAmount, unitFieldOf } from "./tokens.ts";
import { coveredAfterMs } from "./windows.ts";

/** What every evaluated request carries. */
export interface Ask {
  readonly subject: Subject;
  readonly action: Action;
  readonly estimate: Amount;
}

export type Evaluation =
  | {
      readonly ok: true;
      readonly accounts: readonly AccountRecord[];
      /** The accounts' figures with the estimate taken out, not yet written. */
      readonly figures: Parameters<LedgerCore["writeFigures"]>[1];
      /** What the operator's policies say about these scopes. */
      readonly governance: Governance;
    }
  /**
   * `denies` is the reason code of a DENY; absent where even a question is answered with an error. `retryAfterMs` is
   * there where the budgets' own periods will have lifted the denial by then.
   */
  | {
      readonly ok: false;
      readonly refusal: Refusal;
      readonly denies?: string;
      readonly retryAfterMs?: number | undefined;
    };

export interface EvaluationContext {
  readonly tenant: TenantRecord;
  readonly scopes: readonly string[];
  readonly principal: Principal;
  readonly nowMs: number;
  /** Something will be taken. Only then do rate limits count: a question uses nothing of them. */
  readonly isLive?: boolean;
  /** How much is to be taken, for whoever takes what fits; the estimate by default. */
  readonly amountOf?: (accounts: readonly AccountRecord[]) => bigint;
  /** Who would hold it, where it is a lease: refused, he is left a share of his own. */
  readonly asker?: string;
  /** What the request calls its amount; `estimate` by default. */
  readonly member?: AmountMember;
}

/** The order of refusals: tenant, room, rates, budgets there at all, then the kernel's precedence over the whole path. */
export function evaluate(
  core: LedgerCore,
  { estimate }: Pick<Ask, "estimate">,
  context: EvaluationContext,
): Evaluation {
  const { tenant, scopes, principal, nowMs, isLive = false, amountOf } = context;
  const { asker = NO_HOLDER, member = "estimate" } = context;
  if (tenant.status === "CLOSED") return denied(closedTenant(core));
  if (tenant.status === "SUSPENDED") return { ok: false, refusal: unauthorized("TENANT_SUSPENDED") };
  const full = storeFull(core, nowMs);
  if (full !== undefined) return { ok: false, refusal: full };
  const governance = core.governing(scopes, nowMs);
  const throttled = isLive ? core.rates.refusal(governance.rates.reservations, nowMs) : undefined;
  if (throttled !== undefined) return { ok: false, refusal: throttled };
  const budgeted = budgetedAccounts(core, { member, amount: estimate, scopes, principal, nowMs });
  if (!budgeted.ok) return budgeted;
  const { accounts } = budgeted;
  const amount = amountOf?.(accounts) ?? estimate.amount;
  const result = core.arithmetic.reserve(accounts, amount);
  if (result.ok) return { ok: true, accounts, figures: result.accounts, governance };
  const refusal = refusePath(core, accounts, result, amount);
  if (result.reason !== "exceeds_available") return denied(refusal);
  const refused = accounts[result.index];
  if (isLive && refused !== undefined) core.leases.noteRefused(refused, asker, nowMs);
  const retryAfterMs = coveredAfterMs(accounts, amount, nowMs);
  if (retryAfterMs === undefined) return denied(refusal);
  const details = { ...refusal.details, retry_after_ms: retryAfterMs };
  return { ...denied({ ...refusal, details }), retryAfterMs };
}

/** The decision's members in a reply: caps if and only if a policy has some. */
export function decisionOf({
  caps,
}: Governance): { decision: "ALLOW" } | { decision: "ALLOW_WITH_CAPS"; caps: Caps } {
  return caps === undefined ? { decision: "ALLOW" } : { decision: "ALLOW_WITH_CAPS", caps };
}

/** The denial's members in a reply, with when to ask again where that is known. */
export function denialOf({ denies, refusal, retryAfterMs }: Evaluation & { ok: false }) {
  return {
    decision: "DENY" as const,
    reason_code: denies ?? refusal.error,
    ...(retryAfterMs !== undefined && { retry_after_ms: retryAfterMs }),
  };
}

/** The scopes of a subject that the caller may act for, shallowest first. */
export function scopesFor(
  core: LedgerCore,
  subject: Subject,
  principal: Principal,
): { readonly ok: true; readonly scopes: readonly string[]; readonly scopePath: string } | Refusal {
  const scopes = scopesOf(subject);
  const scopePath = scopes[scopes.length - 1] ?? "";
  if (subject.tenant !== undefined && subject.tenant !== core.tenant) {
    return refuse("FORBIDDEN", `subject.tenant must be the key's own tenant, got ${subject.tenant}`);
  }
  return mayTouch(principal, scopePath)
    ? { ok: true, scopes, scopePath }
    : outsideScope(principal, scopePath);
}

/**
 * The budgets of these scopes in the amount's unit, with everything that is due on them settled; with a token its caps as
 * well, behind them: whatever is taken from the budgets is then taken from each cap.
 */
export function budgetedAccounts(
  core: LedgerCore,
  {
    member,
    amount,
    scopes,
    principal: { token },
    nowMs,
  }: { member: AmountMember; amount: Amount } & Pick<EvaluationContext, "scopes" | "principal" | "nowMs">,
): { readonly ok: true; readonly accounts: readonly AccountRecord[] } | (Evaluation & { ok: false }) {
  const beyond = refuseAmount(token, member, amount);
  if (beyond !== undefined) return { ok: false, refusal: beyond };
  const caps = capScopesOf(token);
  const { unit } = amount;
  const { unfinished } = core.settleDue(nowMs, accountsOn(unit, [...scopes, ...caps]));
  if (unfinished !== undefined) return { ok: false, refusal: unfinished };
  const accounts = core.readAccounts([...scopes, ...caps], unit, nowMs);
  const capsFound = accounts.filter(({ scope }) => isCapScope(scope)).length;
  if (capsFound !== caps.length) throw new Error(`ledger: ${caps.length} caps, ${capsFound} accounts`);
  if (accounts.length > capsFound) return { ok: true, accounts };

  // A wrong unit where some other unit is budgeted, otherwise nothing to take from.
  const others = core.store.readAccounts(scopes);
  const [first] = others;
  if (first === undefined) {
    const deepest = scopes[scopes.length - 1] ?? "";
    const refusal = refuse("NOT_FOUND", `Budget not found for provided scope: ${deepest}`);
    return { ok: false, refusal, denies: "BUDGET_NOT_FOUND" };
  }
  const expected = [...new Set(others.map((account) => account.unit))].sort();
  const message = `${unitFieldOf(member)} must be one of ${expected.join(", ")} for ${first.scope}, got ${unit}`;
  const details = { scope: first.scope, requested_unit: unit, expected_units: expected };
  return { ok: false, refusal: refuse("UNIT_MISMATCH", message, details) };
}

/**
 * Why nothing new may begin, if so: the store is as large as it may be. What is held can be settled all the same, and budgets
 * funded. Each refusal prunes a little, since nothing else might happen any more that does.
 */
export function storeFull(core: LedgerCore, nowMs: number): Refusal | undefined {
  const { storedBytesMax } = core.limits;
  if (core.store.storedBytes() < storedBytesMax) return undefined;
  core.prune(nowMs, LIMITS.pruneRowsPerTurn);
  const message = `At most ${storedBytesMax} bytes may be stored; what has finished goes once its time is over`;
  return refuse("LIMIT_EXCEEDED", message);
}

export function closedTenant(core: LedgerCore): Refusal {
  return refuse("TENANT_CLOSED", `Tenant closed: ${core.tenant}`);
}

/**
 * Why a tenant's budgets, periods and policies may not be changed, if so: it is closed; or it is suspended, and its own
 * key asks. An operator may set a suspended tenant to rights; the tenant cannot fund or unbind itself meanwhile.
 */
export function changeRefusal(core: LedgerCore, tenant: TenantRecord, turn: Turn): Refusal | undefined {
  if (tenant.status === "CLOSED") return closedTenant(core);
  const isOwnKey = turn.caller !== undefined;
  return tenant.status === "SUSPENDED" && isOwnKey ? unauthorized("TENANT_SUSPENDED") : undefined;
}

function denied(refusal: Refusal): Evaluation & { ok: false } {
  return { ok: false, refusal, denies: refusal.error };
}
