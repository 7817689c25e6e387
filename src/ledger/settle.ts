// Commit, release and extend: what can be done with a reservation that stands.
// Invariant: a reservation is settled at most once, on exactly the accounts it was reserved on; a frozen or closed
// budget never stops work that was already reserved, nor does a backlog of expired holds, unless more is charged than was
// reserved; refusals change nothing but what had expired anyway.
// Who may call: the Ledger.

import { mayTouch, outsideScope, owns, type Principal } from "./access.ts";
import { answerAgain, answerOf, forKey, printOf } from "./answers.ts";
import { recordAudit } from "./audit.ts";
import { type Refusal, type Reply, refuse, succeed, unauthorized } from "./codes.ts";
import { accountsOn, deadlineOf, type LedgerCore, refusePath, statusAt, type Turn } from "./core.ts";
import { closedTenant } from "./evaluation.ts";
import { LIMITS } from "./limits.ts";
import { type Action, commitSchema, extendSchema, releaseSchema } from "./schema.ts";
import { scopePathOf, scopesOf } from "./scope.ts";
import type { ActiveReservation, Answer, Reservation, TenantRecord } from "./store.ts";
import { hasAtMostCharacters } from "./text.ts";
import { chargeable, ownMarksOnly } from "./token-charges.ts";
import { balancesMember, type CommitBody, type ExtendBody, type ReleaseBody } from "./wire.ts";

export function commit(core: LedgerCore, id: string, input: unknown, turn: Turn): Reply<CommitBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, {
      schema: commitSchema,
      input,
      permission: "reservations:commit",
    });
    if (!admitted.ok) return admitted;
    const { request, principal } = admitted;
    const located = locate(core, id, principal);
    if (!located.ok) return located;
    const print = printOf(request);
    const earlier = located.reservation.status === "COMMITTED" ? located.reservation.settled : undefined;
    if (earlier?.key === request.idempotency_key) return answerAgain<CommitBody>(earlier, print);
    const standing = requireActive(core, located.reservation, admitted.tenant, nowMs);
    if (!standing.ok) return standing;

    const { reservation, unfinished } = standing;
    const { unit, amount: estimate } = reservation;
    if (request.actual.unit !== unit) {
      const message = `actual.unit must be ${unit}, the reservation's unit, got ${request.actual.unit}`;
      return refuse("UNIT_MISMATCH", message, {
        requested_unit: request.actual.unit,
        expected_units: [unit],
      });
    }
    if (unfinished !== undefined && request.actual.amount > estimate) return unfinished;
    const { commits } = core.governing(scopesOf(reservation.details.subject), nowMs).rates;
    const throttled = core.rates.refusal(commits, nowMs);
    if (throttled !== undefined) return throttled;
    const accounts = core.accountsOf(reservation, nowMs);
    const actual = request.actual.amount;
    const result = core.commitPath(accounts, {
      estimate,
      actual: chargeable(principal, reservation, actual),
      policy: reservation.overagePolicy,
    });
    if (!result.ok) {
      core.counters.commitsRefused += 1;
      return refusePath(core, accounts, result, actual);
    }

    const { charged } = result;
    const figures = ownMarksOnly(principal, accounts, result.accounts);
    const written = core.writeFigures(accounts, figures, nowMs);
    const body: CommitBody = {
      status: "COMMITTED",
      charged: { unit, amount: charged },
      ...(charged < estimate && { released: { unit, amount: estimate - charged } }),
      ...(unfinished === undefined && balancesMember(written, core.arithmetic)),
    };
    core.finish(
      {
        ...reservation,
        status: "COMMITTED",
        finishedAtMs: nowMs,
        charged,
        settled: answerOf(request.idempotency_key, print, body),
        report: { metrics: request.metrics, metadata: request.metadata },
      },
      nowMs,
    );
    core.rates.count(commits, nowMs);
    return succeed(body);
  });
}

export function release(core: LedgerCore, id: string, input: unknown, turn: Turn): Reply<ReleaseBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, {
      schema: releaseSchema,
      input,
      permission: "reservations:release",
    });
    if (!admitted.ok) return admitted;
    const { request } = admitted;
    const located = locate(core, id, admitted.principal);
    if (!located.ok) return located;
    const print = printOf(request);
    const earlier = located.reservation.status === "RELEASED" ? located.reservation.settled : undefined;
    if (earlier?.key === request.idempotency_key) return answerAgain<ReleaseBody>(earlier, print);
    const standing = requireActive(core, located.reservation, admitted.tenant, nowMs);
    if (!standing.ok) return standing;

    const { reservation, unfinished } = standing;
    const accounts = core.accountsOf(reservation, nowMs);
    const written = core.writeFigures(accounts, core.releasePath(accounts, reservation.amount), nowMs);
    const body: ReleaseBody = {
      status: "RELEASED",
      released: { unit: reservation.unit, amount: reservation.amount },
      ...(unfinished === undefined && balancesMember(written, core.arithmetic)),
    };
    const settled = answerOf(request.idempotency_key, print, body);
    core.finish({ ...reservation, status: "RELEASED", finishedAtMs: nowMs, settled }, nowMs);
    if (turn.source?.operator) recordRelease(core, turn, nowMs, reservation, request);
    return succeed(body);
  });
}

/** What an operator releases in a tenant's place is written down, with the reason that was given. */
function recordRelease(
  core: LedgerCore,
  turn: Turn,
  nowMs: number,
  { id, details, unit, amount }: ActiveReservation,
  { idempotency_key, reason }: { readonly idempotency_key: string; readonly reason?: string | undefined },
): void {
  recordAudit(core, turn, nowMs, {
    operation: "releaseReservation",
    resourceType: "reservation",
    resourceId: id,
    tenantMay: true,
    subject: details.subject,
    action: details.action as Action,
    amount: { unit, amount },
    metadata: { idempotency_key, ...(reason !== undefined && { reason }) },
  });
}

/** Moves the expiry outward from where it stands, never beyond the longest life from now, never inward. */
export function extend(core: LedgerCore, id: string, input: unknown, turn: Turn): Reply<ExtendBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, {
      schema: extendSchema,
      input,
      permission: "reservations:extend",
    });
    if (!admitted.ok) return admitted;
    const { request, principal, tenant } = admitted;
    const located = locate(core, id, principal);
    if (!located.ok) return located;
    const print = printOf(request);
    const earlier = located.reservation.extensions.find((answer) => answer.key === request.idempotency_key);
    if (earlier !== undefined)
      return forKey(replayExtend(located.reservation, earlier, print, nowMs), principal);
    const standing = requireActive(core, located.reservation, tenant, nowMs);
    if (!standing.ok) return standing;

    const { reservation, unfinished } = standing;
    if (tenant.status === "SUSPENDED") return unauthorized("TENANT_SUSPENDED");
    // The grace is for settling what was done, not for keeping on: extend ends with the expiry itself.
    if (nowMs > reservation.expiresAtMs) return expired(reservation);
    if (reservation.extensions.length >= reservation.extensionsMax) {
      return refuse(
        "MAX_EXTENSIONS_EXCEEDED",
        `At most ${reservation.extensionsMax} extensions: ${reservation.id}`,
      );
    }
    const { ttl } = core.governing(scopesOf(reservation.details.subject), nowMs);
    const lifeMs = Math.min(ttl.maxMs ?? tenant.maxReservationTtlMs, tenant.maxReservationTtlMs);
    const latestMs = Math.max(reservation.expiresAtMs, nowMs + lifeMs);
    const expiresAtMs = Math.min(reservation.expiresAtMs + request.extend_by_ms, latestMs);
    const accounts = core.readAccounts(reservation.scopes, reservation.unit, nowMs);
    const body: ExtendBody = {
      status: "ACTIVE",
      expires_at_ms: expiresAtMs,
      remaining_ttl_ms: expiresAtMs - nowMs,
      ...(unfinished === undefined && balancesMember(accounts, core.arithmetic)),
    };
    const extensions = [...reservation.extensions, answerOf(request.idempotency_key, print, body)];
    const extended = { ...reservation, expiresAtMs, extensions };
    core.store.updateReservation(extended);
    core.deadlines.set(deadlineOf(extended));
    return forKey(succeed(body), principal);
  });
}

/** What is wrong with the form of an id; nothing is said about whether it was ever issued. */
export function checkReservationId(id: unknown): Refusal | undefined {
  return checkHoldId("reservation_id", id);
}

/** The same for whatever has an id of this form. */
export function checkHoldId(field: string, id: unknown): Refusal | undefined {
  const lengthMax = LIMITS.reservationIdLengthMax;
  if (typeof id === "string" && id !== "" && hasAtMostCharacters(id, lengthMax)) return undefined;
  return refuse("INVALID_REQUEST", `${field} must be 1 to ${lengthMax} characters long`);
}

type Located = { readonly ok: true; readonly reservation: Reservation } | Refusal;

/** Finds a reservation the caller may touch: 404 if it was never issued, 403 if it is another tenant's or out of scope. */
export function locate(core: LedgerCore, id: string, principal: Principal): Located {
  const fault = checkReservationId(id);
  if (fault !== undefined) return fault;
  const reservation = core.store.readReservation(id);
  if (reservation === undefined) {
    const verdict = core.ids.judge(id);
    return verdict.issued && verdict.tenant !== core.tenant
      ? refuse("FORBIDDEN", "The reservation belongs to another tenant")
      : refuse("NOT_FOUND", `Resource not found: ${id}`);
  }
  if (!owns(principal, reservation)) {
    return refuse("FORBIDDEN", "The reservation was not made with this token, nor with one narrowed from it");
  }
  const scopePath = scopePathOf(reservation.details.subject);
  return mayTouch(principal, scopePath) ? { ok: true, reservation } : outsideScope(principal, scopePath);
}

export function expired(reservation: Reservation): Refusal {
  return refuse("RESERVATION_EXPIRED", `Reservation expired: ${reservation.id}`);
}

type Standing =
  /** `unfinished`: the budgets' figures still hold what has expired, so they decide nothing and are shown to nobody. */
  | { readonly ok: true; readonly reservation: ActiveReservation; readonly unfinished: Refusal | undefined }
  | Refusal;

/** The order after a replay: tenant closed, then the state, with everything due on its accounts settled first. */
function requireActive(
  core: LedgerCore,
  located: Reservation,
  tenant: TenantRecord,
  nowMs: number,
): Standing {
  if (tenant.status === "CLOSED") return closedTenant(core);
  const { unfinished } = core.settleDue(nowMs, accountsOn(located.unit, located.scopes));
  // Its time is over whether or not there was room to settle it.
  const status = statusAt(located, nowMs);
  if (status === "EXPIRED") return expired(located);
  return located.status === "ACTIVE"
    ? { ok: true, reservation: located, unfinished }
    : refuse("RESERVATION_FINALIZED", `Reservation already ${status.toLowerCase()}: ${located.id}`);
}

function replayExtend(
  reservation: Reservation,
  earlier: Answer,
  print: string,
  nowMs: number,
): Reply<ExtendBody> {
  const reply = answerAgain<ExtendBody>(earlier, print);
  if (!reply.ok) return reply;
  const active = statusAt(reservation, nowMs) === "ACTIVE";
  const remaining = active ? Math.max(0, reply.body.expires_at_ms - nowMs) : 0;
  return succeed({ ...reply.body, remaining_ttl_ms: remaining });
}
