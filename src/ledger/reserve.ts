// Reserve, live and dry: takes an estimate out of every budgeted scope of a subject, all or none.
// Invariant: a live ALLOW writes the reservation and every account in one transaction; a refusal and a dry run leave
// all figures as they were; the same key and body get the first answer again. Who may call: the Ledger.

import { type Refusal, type Reply, refuse, succeed, unauthorized } from "./codes.ts";
import {
  type Admitted,
  accountsOn,
  dayOf,
  deadlineOf,
  type LedgerCore,
  refusePath,
  type Turn,
} from "./core.ts";
import { fingerprint } from "./digest.ts";
import { canonicalJson, stringifyJson } from "./json.ts";
import { RETENTION, TENANT_DEFAULTS } from "./limits.ts";
import { type ReserveRequest, reserveSchema } from "./schema.ts";
import { passesScopeFilter, scopesOf } from "./scope.ts";
import type { AccountRecord, ActiveReservation, Answer, TenantRecord } from "./store.ts";
import { balancesMember, type ReserveBody, reviveReply } from "./wire.ts";

/** Dry runs share the reserve's namespace, so a key is either the one or the other. */
const DRY_RUN_NAMESPACE = "reserve";

export function reserve(core: LedgerCore, input: unknown, turn: Turn): Reply<ReserveBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, {
      schema: reserveSchema,
      input,
      permission: "reservations:create",
    });
    if (!admitted.ok) return admitted;
    const { request, principal } = admitted;
    const scopes = scopesOf(request.subject);
    const scopePath = scopes[scopes.length - 1] ?? "";
    if (request.subject.tenant !== undefined && request.subject.tenant !== core.tenant) {
      return refuse(
        "FORBIDDEN",
        `subject.tenant must be the key's own tenant, got ${request.subject.tenant}`,
      );
    }
    if (!passesScopeFilter(scopePath, principal.scopeFilter)) {
      return refuse("FORBIDDEN", `The API key's scope filter does not include ${scopePath}`);
    }

    const answer = findAnswer(core, request.idempotency_key, nowMs);
    const print = fingerprint(canonicalJson(request));
    if (answer !== undefined) {
      return answer.fingerprint === print
        ? succeed(replay(answer, nowMs))
        : refuse("IDEMPOTENCY_MISMATCH", "The idempotency key was used with a different request");
    }
    return request.dry_run
      ? dryRun(core, admitted, scopes, print, nowMs)
      : reserveLive(core, admitted, scopes, print, nowMs);
  });
}

function reserveLive(
  core: LedgerCore,
  { request, principal, tenant }: Admitted<ReserveRequest>,
  scopes: readonly string[],
  print: string,
  nowMs: number,
): Reply<ReserveBody> {
  if (tenant.status === "CLOSED") return closedTenant(core).refusal;
  const evaluation = evaluate(core, request, tenant, scopes, nowMs);
  if (!evaluation.ok) return evaluation.refusal;
  const { activeReservationsMax } = core.limits;
  if (core.deadlines.size >= activeReservationsMax) {
    return refuse("LIMIT_EXCEEDED", `At most ${activeReservationsMax} reservations may be active at once`);
  }

  const { accounts, figures } = evaluation;
  const id = core.ids.issue(core.tenant, request.idempotency_key, dayOf(nowMs));
  const ttlMs = Math.min(request.ttl_ms ?? tenant.defaultReservationTtlMs, tenant.maxReservationTtlMs);
  const body: ReserveBody = {
    decision: "ALLOW",
    reservation_id: id,
    affected_scopes: scopes,
    expires_at_ms: nowMs + ttlMs,
    remaining_ttl_ms: ttlMs,
    scope_path: scopes[scopes.length - 1] ?? "",
    reserved: request.estimate,
    ...balancesMember(core.writeFigures(accounts, figures, nowMs), core.arithmetic),
  };
  const reservation: ActiveReservation = {
    id,
    status: "ACTIVE",
    created: { key: request.idempotency_key, fingerprint: print, reply: stringifyJson(body) },
    unit: request.estimate.unit,
    amount: request.estimate.amount,
    scopes: accounts.map((account) => account.scope),
    overagePolicy: overagePolicyOf(request, accounts, tenant),
    createdAtMs: nowMs,
    expiresAtMs: nowMs + ttlMs,
    gracePeriodMs: request.grace_period_ms,
    extensionsMax: tenant.maxReservationExtensions,
    extensions: [],
    details: { subject: request.subject, action: request.action, metadata: request.metadata },
    keyId: principal.keyId,
  };
  core.store.insertReservation(reservation);
  core.deadlines.set(deadlineOf(reservation));
  return succeed(body);
}

/** The same evaluation with nothing taken: refusals by budgets are a DENY, faults of the request stay errors. */
function dryRun(
  core: LedgerCore,
  { request, tenant }: Admitted<ReserveRequest>,
  scopes: readonly string[],
  print: string,
  nowMs: number,
): Reply<ReserveBody> {
  const evaluation =
    tenant.status === "CLOSED" ? closedTenant(core) : evaluate(core, request, tenant, scopes, nowMs);
  let body: ReserveBody;
  if (evaluation.ok) {
    body = {
      decision: "ALLOW",
      affected_scopes: scopes,
      scope_path: scopes[scopes.length - 1] ?? "",
      reserved: request.estimate,
      ...balancesMember(evaluation.accounts, core.arithmetic),
    };
  } else {
    if (evaluation.denies === undefined) return evaluation.refusal;
    body = { decision: "DENY", affected_scopes: scopes, reason_code: evaluation.denies };
  }
  core.store.insertAnswer(DRY_RUN_NAMESPACE, dayOf(nowMs) + RETENTION.dryRunDays, {
    key: request.idempotency_key,
    fingerprint: print,
    reply: stringifyJson(body),
  });
  return succeed(body);
}

type Evaluation =
  | {
      readonly ok: true;
      readonly accounts: readonly AccountRecord[];
      readonly figures: Parameters<LedgerCore["writeFigures"]>[1];
    }
  /** `denies` is the reason code of a DENY; absent where even a dry run is an error. */
  | { readonly ok: false; readonly refusal: Refusal; readonly denies?: string };

/** The order of refusals: tenant, budgets there at all, then the kernel's precedence over the whole path. */
function evaluate(
  core: LedgerCore,
  request: ReserveRequest,
  tenant: TenantRecord,
  scopes: readonly string[],
  nowMs: number,
): Evaluation {
  if (tenant.status === "SUSPENDED") return { ok: false, refusal: unauthorized("TENANT_SUSPENDED") };
  const { unit, amount } = request.estimate;
  core.settleDue(nowMs, accountsOn(unit, scopes));
  const accounts = core.store.readAccounts(scopes, unit);
  if (accounts.length === 0) return refuseUnbudgeted(core, unit, scopes);
  const result = core.arithmetic.reserve(accounts, amount);
  if (result.ok) return { ok: true, accounts, figures: result.accounts };
  const refusal = refusePath(core, accounts, result, amount);
  return { ok: false, refusal, denies: refusal.error };
}

function closedTenant(core: LedgerCore): Evaluation & { ok: false } {
  const refusal = refuse("TENANT_CLOSED", `Tenant closed: ${core.tenant}`);
  return { ok: false, refusal, denies: refusal.error };
}

/** No budget in this unit: a wrong unit where some other unit is budgeted, otherwise nothing to take from. */
function refuseUnbudgeted(
  core: LedgerCore,
  unit: string,
  scopes: readonly string[],
): Evaluation & { ok: false } {
  const others = core.store.readAccounts(scopes);
  const deepest = scopes[scopes.length - 1] ?? "";
  const [first] = others;
  if (first === undefined) {
    const refusal = refuse("NOT_FOUND", `Budget not found for provided scope: ${deepest}`);
    return { ok: false, refusal, denies: "BUDGET_NOT_FOUND" };
  }
  const expected = [...new Set(others.map((account) => account.unit))].sort();
  const message = `estimate.unit must be one of ${expected.join(", ")} for ${first.scope}, got ${unit}`;
  return {
    ok: false,
    refusal: refuse("UNIT_MISMATCH", message, {
      scope: first.scope,
      requested_unit: unit,
      expected_units: expected,
    }),
  };
}

/** Request, else the deepest budget that sets one, else the tenant, else the protocol's default. */
function overagePolicyOf(request: ReserveRequest, accounts: readonly AccountRecord[], tenant: TenantRecord) {
  const budget = accounts.findLast((account) => account.commitOveragePolicy !== undefined);
  return (
    request.overage_policy ??
    budget?.commitOveragePolicy ??
    tenant.defaultCommitOveragePolicy ??
    TENANT_DEFAULTS.commitOveragePolicy
  );
}

interface EarlierAnswer extends Answer {
  /** False once the reservation is settled or past its grace: then nothing of its time remains. */
  readonly active: boolean;
}

function findAnswer(core: LedgerCore, key: string, nowMs: number): EarlierAnswer | undefined {
  const today = dayOf(nowMs);
  const stems = core.ids.stems(core.tenant, key, today, RETENTION.reserveReplayDays);
  const found = core.store.findReservation(stems);
  if (found !== undefined) {
    const active = found.status === "ACTIVE" && nowMs <= found.expiresAtMs + found.gracePeriodMs;
    return { ...found.created, active };
  }
  const toDay = today + RETENTION.dryRunDays;
  const dry = core.store.readAnswer({ namespace: DRY_RUN_NAMESPACE, key, fromDay: today, toDay });
  return dry === undefined ? undefined : { ...dry, active: false };
}

/** The first answer again, word for word; only the time that remains is today's. */
function replay(answer: EarlierAnswer, nowMs: number): ReserveBody {
  const body = reviveReply<ReserveBody>(answer.reply);
  if (body.expires_at_ms === undefined) return body;
  return { ...body, remaining_ttl_ms: answer.active ? Math.max(0, body.expires_at_ms - nowMs) : 0 };
}
