// What the model foretells for commit, release and extend, and for reading one reservation. Invariant: a reservation is
// settled at most once, on exactly the budgets it was reserved on. Who may call: the model.

import type { CommitInput, ExtendInput, ReleaseInput } from "purser/ledger";
import { replayed, timeLeft } from "./answers.ts";
import { charge } from "./money.ts";
import { countCall, governorsOf, livesUnder, refuseByRate } from "./policies.ts";
import {
  budgetsOn,
  type Expected,
  granted,
  type ModelAnswer,
  type ModelReservation,
  type ModelState,
  refused,
  stateAt,
} from "./state.ts";
import { amountOf, balancesMember, canonical, exact } from "./wire.ts";

export function foretellCommit(state: ModelState, id: string, body: CommitInput, nowMs: number): Expected {
  const reservation = state.reservations.get(id);
  if (reservation === undefined) return unknown(id, state);
  const print = canonical(body);
  const earlier = sameSettlement(reservation, "COMMITTED", body.idempotency_key);
  if (earlier !== undefined) return replayed(earlier, print);
  const refusal = refuseToTouch(state, reservation, nowMs);
  if (refusal !== undefined) return refusal;
  const { unit, amount: estimate, policy } = reservation;
  if (body.actual.unit !== unit) return refused("400 UNIT_MISMATCH");

  const governors = governorsOf(state, affectedBy(reservation), nowMs);
  const throttled = refuseByRate(state, governors, "commits", nowMs);
  if (throttled !== undefined) return throttled;
  const budgets = budgetsOn(state, reservation.scopes, unit);
  const booked = charge(state, budgets, { estimate, actual: exact(body.actual.amount), policy }, nowMs);
  if (!booked.ok) return booked;
  const { charged } = booked;
  countCall(state, governors, "commits", nowMs);
  Object.assign(reservation, {
    state: "COMMITTED",
    finishedAtMs: nowMs,
    charged,
    committedMetadata: body.metadata,
  });
  const reply = {
    status: "COMMITTED",
    charged: amountOf(unit, charged),
    released: charged < estimate ? amountOf(unit, estimate - charged) : undefined,
    ...balancesMember(state, budgets, nowMs),
  };
  reservation.settled = { key: body.idempotency_key, print, body: reply };
  return granted(reply);
}

export function foretellRelease(state: ModelState, id: string, body: ReleaseInput, nowMs: number): Expected {
  const reservation = state.reservations.get(id);
  if (reservation === undefined) return unknown(id, state);
  const print = canonical(body);
  const earlier = sameSettlement(reservation, "RELEASED", body.idempotency_key);
  if (earlier !== undefined) return replayed(earlier, print);
  const refusal = refuseToTouch(state, reservation, nowMs);
  if (refusal !== undefined) return refusal;
  const { unit, amount } = reservation;
  const budgets = budgetsOn(state, reservation.scopes, unit);
  Object.assign(reservation, { state: "RELEASED", finishedAtMs: nowMs });
  for (const budget of budgets) budget.updatedAtMs = nowMs;
  const reply = {
    status: "RELEASED",
    released: amountOf(unit, amount),
    ...balancesMember(state, budgets, nowMs),
  };
  reservation.settled = { key: body.idempotency_key, print, body: reply };
  return granted(reply);
}

/** Adds to the expiry as it stands; never beyond the tenant's longest life from now, never inward; no grace. */
export function foretellExtend(state: ModelState, id: string, body: ExtendInput, nowMs: number): Expected {
  const reservation = state.reservations.get(id);
  if (reservation === undefined) return unknown(id, state);
  const print = canonical(body);
  const earlier = reservation.extensions.find(({ key }) => key === body.idempotency_key);
  if (earlier !== undefined) return replayed(earlier, print, timeLeft(earlier, reservation, nowMs));
  const refusal = refuseToTouch(state, reservation, nowMs);
  if (refusal !== undefined) return refusal;
  if (state.tenant.status === "SUSPENDED") return refused("401 UNAUTHORIZED");
  if (nowMs > reservation.expiresAtMs) return refused("410 RESERVATION_EXPIRED");
  if (reservation.extensions.length >= reservation.maxExtensions)
    return refused("409 MAX_EXTENSIONS_EXCEEDED");
  const lives = livesUnder(governorsOf(state, affectedBy(reservation), nowMs));
  const lifeMs = Math.min(lives.maxTtlMs ?? state.tenant.maxTtlMs, state.tenant.maxTtlMs);
  const furthestMs = Math.max(reservation.expiresAtMs, nowMs + lifeMs);
  reservation.expiresAtMs = Math.min(reservation.expiresAtMs + body.extend_by_ms, furthestMs);
  const reply = {
    status: "ACTIVE",
    expires_at_ms: reservation.expiresAtMs,
    remaining_ttl_ms: reservation.expiresAtMs - nowMs,
    ...balancesMember(state, budgetsOn(state, reservation.scopes, reservation.unit), nowMs),
  };
  reservation.extensions.push({ key: body.idempotency_key, print, body: reply });
  return granted(reply);
}

export function foretellGet(state: ModelState, id: string, nowMs: number): Expected {
  const reservation = state.reservations.get(id);
  if (reservation === undefined) return unknown(id, state);
  const { details, unit } = reservation;
  const status = stateAt(reservation, nowMs);
  if (status === "EXPIRED") return refused("410 RESERVATION_EXPIRED");
  const affected = affectedBy(reservation);
  return granted({
    reservation_id: id,
    status,
    idempotency_key: reservation.created.key,
    subject: details.subject,
    action: details.action,
    reserved: amountOf(unit, reservation.amount),
    committed: reservation.charged === undefined ? undefined : amountOf(unit, reservation.charged),
    created_at_ms: reservation.createdAtMs,
    expires_at_ms: reservation.expiresAtMs,
    finalized_at_ms: reservation.finishedAtMs,
    scope_path: affected.at(-1),
    affected_scopes: affected,
    metadata: details.metadata,
    committed_metadata: reservation.committedMetadata,
  });
}

/** All scopes of its subject, budgeted or not. */
function affectedBy({ details }: ModelReservation): string[] {
  return details.affected as string[];
}

function sameSettlement(
  reservation: ModelReservation,
  settledAs: ModelReservation["state"],
  key: string,
): ModelAnswer | undefined {
  return reservation.state === settledAs && reservation.settled?.key === key
    ? reservation.settled
    : undefined;
}

/** After the replay: the tenant, then the state, by the clock. */
function refuseToTouch(
  state: ModelState,
  reservation: ModelReservation,
  nowMs: number,
): Expected | undefined {
  if (state.tenant.status === "CLOSED") return refused("409 TENANT_CLOSED");
  const current = stateAt(reservation, nowMs);
  if (current === "ACTIVE") return undefined;
  return refused(current === "EXPIRED" ? "410 RESERVATION_EXPIRED" : "409 RESERVATION_FINALIZED");
}

function unknown(id: string, state: ModelState): Expected {
  if (id === "" || id.length > 128) return refused("400 INVALID_REQUEST");
  return refused(state.foreignIds.has(id) ? "403 FORBIDDEN" : "404 NOT_FOUND");
}
