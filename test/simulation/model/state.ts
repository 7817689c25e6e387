// What the model knows: plain lists and maps, walked each time, written from the protocol's tables. It shares no code
// with the ledger. Invariant: what is held on a budget is never stored, always the sum of what is active; a reservation
// past its deadline is expired from that moment on, whether or not the ledger has come round to writing it down.
// Who may call: the model's own files; the judge reads it.

export const INT64_MAX = 2n ** 63n - 1n;
export const MS_PER_DAY = 86_400_000;

export type Policy = "REJECT" | "ALLOW_IF_AVAILABLE" | "ALLOW_WITH_OVERDRAFT";

export interface ModelTenant {
  readonly tenantId: string;
  readonly name: string;
  status: "ACTIVE" | "SUSPENDED" | "CLOSED";
  defaultTtlMs: number;
  maxTtlMs: number;
  maxExtensions: number;
  policy?: Policy | undefined;
  readonly createdAtMs: number;
  updatedAtMs: number;
  suspendedAtMs?: number | undefined;
  closedAtMs?: number | undefined;
}

export interface ModelBudget {
  readonly scope: string;
  readonly unit: string;
  allocated: bigint;
  spent: bigint;
  debt: bigint;
  limit: bigint;
  mark: boolean;
  status: "ACTIVE" | "FROZEN" | "CLOSED";
  policy?: Policy | undefined;
  readonly createdAtMs: number;
  updatedAtMs: number;
}

/** What policies ask of clients. */
export interface ModelCaps {
  readonly max_tokens?: number | undefined;
  readonly max_steps_remaining?: number | undefined;
  readonly tool_allowlist?: readonly string[] | undefined;
  readonly tool_denylist?: readonly string[] | undefined;
  readonly cooldown_ms?: number | undefined;
}

export interface ModelPolicy {
  readonly id: string;
  name: string;
  readonly pattern: string;
  priority: number;
  status: "ACTIVE" | "DISABLED";
  caps?: ModelCaps | undefined;
  overage?: Policy | undefined;
  ttl?:
    | {
        default_ttl_ms?: number | undefined;
        max_ttl_ms?: number | undefined;
        max_extensions?: number | undefined;
      }
    | undefined;
  rates?:
    | { max_reservations_per_minute?: number | undefined; max_commits_per_minute?: number | undefined }
    | undefined;
  fromMs?: number | undefined;
  untilMs?: number | undefined;
  readonly createdAtMs: number;
  updatedAtMs: number;
}

/** A success that is given again to the same request: its canonical body, and what was answered. */
export interface ModelAnswer {
  readonly key: string;
  readonly print: string;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface ModelReservation {
  readonly id: string;
  readonly created: ModelAnswer;
  readonly details: Readonly<Record<string, unknown>>;
  readonly unit: string;
  readonly amount: bigint;
  /** The budgeted scopes at the time of the reserve. */
  readonly scopes: readonly string[];
  readonly policy: Policy;
  readonly createdAtMs: number;
  readonly graceMs: number;
  readonly maxExtensions: number;
  expiresAtMs: number;
  readonly extensions: ModelAnswer[];
  state: "ACTIVE" | "COMMITTED" | "RELEASED" | "EXPIRED";
  settled?: ModelAnswer;
  charged?: bigint;
  committedMetadata?: unknown;
  finishedAtMs?: number;
}

/** An answer outside reservations. A doubtful one may have been pruned, or overtaken by a later one of the same key. */
export interface KeptAnswer extends ModelAnswer {
  readonly namespace: string;
  readonly expiresDay: number;
  doubtful: boolean;
}

export interface ModelState {
  readonly tenant: ModelTenant;
  readonly activeMax: number;
  /** Ids that the same deployment gave to another tenant. */
  readonly foreignIds: ReadonlySet<string>;
  readonly budgets: Map<string, ModelBudget>;
  readonly reservations: Map<string, ModelReservation>;
  answers: KeptAnswer[];
  readonly policies: ModelPolicy[];
  /** Calls let through in the newest minute that there were any, by policy, kind and scope. */
  readonly rates: Map<string, { readonly minute: number; readonly calls: number }>;
  /** This turn's reply is that of an earlier answer and would be that of a new decision as well: either may be true. */
  ambiguous: boolean;
  /** Rows of the audit log: one for each change that an operator made. */
  audited: number;
}

/** What the model foretells. A refusal names the first scope that refused where the protocol says so. */
export type Expected =
  | { readonly ok: true; readonly status: 200 | 201; readonly body: Readonly<Record<string, unknown>> }
  | { readonly ok: false; readonly verdict: string; readonly scope?: string | undefined };

export function refused(verdict: string, scope?: string): Expected & { ok: false } {
  return { ok: false, verdict, scope };
}

export function granted(
  body: Readonly<Record<string, unknown>>,
  status: 200 | 201 = 200,
): Expected & { ok: true } {
  return { ok: true, status, body };
}

export function dayOf(timeMs: number): number {
  return Math.floor(timeMs / MS_PER_DAY);
}

export function budgetKey(scope: string, unit: string): string {
  return `${scope} ${unit}`;
}

/** The budgets there are on these scopes, shallowest first. */
export function budgetsOn(state: ModelState, scopes: readonly string[], unit: string): ModelBudget[] {
  return scopes.flatMap((scope) => state.budgets.get(budgetKey(scope, unit)) ?? []);
}

export function deadlineOf(reservation: ModelReservation): number {
  return reservation.expiresAtMs + reservation.graceMs;
}

/** Active by the clock: an expired reservation is one whose grace is over, strictly. */
export function stateAt(reservation: ModelReservation, nowMs: number): ModelReservation["state"] {
  const isDue = reservation.state === "ACTIVE" && nowMs > deadlineOf(reservation);
  return isDue ? "EXPIRED" : reservation.state;
}

export function activeAt(state: ModelState, nowMs: number): ModelReservation[] {
  return [...state.reservations.values()].filter((each) => stateAt(each, nowMs) === "ACTIVE");
}

export function heldOn(state: ModelState, budget: ModelBudget, nowMs: number): bigint {
  let held = 0n;
  for (const each of state.reservations.values()) {
    const holds = each.unit === budget.unit && each.scopes.includes(budget.scope);
    if (holds && stateAt(each, nowMs) === "ACTIVE") held += each.amount;
  }
  return held;
}

export function remainingOf(state: ModelState, budget: ModelBudget, nowMs: number): bigint {
  return budget.allocated - budget.spent - budget.debt - heldOn(state, budget, nowMs);
}

export function isOverLimit(budget: ModelBudget): boolean {
  return budget.mark || (budget.limit > 0n && budget.debt > budget.limit);
}
