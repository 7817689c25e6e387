// Leases on their way out and in: the interface's shapes become the wire's, and answers the interface's. Invariant: as in
// to-wire.ts and from-wire.ts: nothing that cannot be is sent, nothing that came is trusted, no amount is rounded. Pure;
// who may call: WireAuthority.

import { checkInteger, checkName, invalidArgument } from "../arguments.ts";
import type { Subject } from "../ledger/scope.ts";
import type { Figure } from "./authority.ts";
import {
  amountOf,
  arrayOf,
  balancesMember,
  fieldsOf,
  integerOf,
  type ReadFigure,
  textOf,
  textsOf,
  unexpected,
  unitOf,
} from "./from-wire.ts";
import type {
  Leased,
  LeaseExpiryPolicy,
  LeaseName,
  LeaseRenewal,
  LeaseReport,
  LeaseRequest,
  LeaseState,
  UnitExposure,
} from "./leases.ts";
import { CLIENT_LIMITS } from "./limits.ts";
import { explainedBy } from "./refusals.ts";
import { checkFigure, subjectOf } from "./to-wire.ts";
import type { WireFields } from "./wire-call.ts";

const STATES: ReadonlySet<unknown> = new Set(["active", "ended"]);
const STATUSES: ReadonlySet<unknown> = new Set(["ACTIVE", "RETURNED", "EXPIRED"]);
const POLICIES: ReadonlySet<unknown> = new Set(["charge", "refund"]);

export function leaseBody(key: string, request: LeaseRequest, base: Subject | undefined): WireFields {
  const { unit, want, min, ttlMs, holder } = request;
  checkFigure("want", want);
  if (min !== undefined) checkFigure("min", min);
  if (holder !== undefined) checkName("holder", holder, CLIENT_LIMITS.leaseHolderLengthMax);
  const subject = subjectOf(request.subject, base);
  return { idempotency_key: key, subject, unit, want, min, ttl_ms: lifeOf(ttlMs), holder };
}

export function renewalBody(lease: LeaseName, renewal: LeaseRenewal, base: Subject | undefined): WireFields {
  const { want, min, ttlMs } = renewal;
  checkFigure("want", want);
  if (min !== undefined) checkFigure("min", min);
  return { ...reportBody(lease, renewal, base), want, min, ttl_ms: lifeOf(ttlMs) };
}

export function reportBody(
  { epoch, subject, unit }: LeaseName,
  { sequence, spent, held, returned }: LeaseReport,
  base: Subject | undefined,
): WireFields {
  checkInteger("epoch", epoch, 1, Number.MAX_SAFE_INTEGER);
  checkInteger("sequence", sequence, 1, Number.MAX_SAFE_INTEGER);
  for (const [name, figure] of Object.entries({ spent, held, returned })) checkFigure(name, figure);
  return { epoch, subject: subjectOf(subject, base), unit, sequence, spent, held, returned };
}

export function leasesQuery({
  status,
  pageRows,
}: {
  readonly status?: LeaseState["status"];
  readonly pageRows?: number;
}): WireFields {
  return { status, limit: pageRows };
}

/** An id that can stand in a path. */
export function checkLeaseId(id: string): void {
  checkName("leaseId", id, CLIENT_LIMITS.reservationIdLengthMax);
  if (id === "." || id === "..") throw invalidArgument("leaseId", "a lease's id", id);
}

export function leasedOf<F extends Figure>(body: WireFields, figure: ReadFigure<F>): Leased<F> {
  const { state, on_expiry: onExpiry } = body;
  if (!STATES.has(state)) throw unexpected("state", "active or ended", state);
  if (!POLICIES.has(onExpiry)) throw unexpected("on_expiry", "charge or refund", onExpiry);
  const shortage =
    body.shortage === undefined ? undefined : explainedBy({ operation: "openLease" }, body.shortage, figure);
  return {
    ok: true,
    leaseId: textOf(body, "lease_id"),
    epoch: integerOf(body, "epoch"),
    sequence: integerOf(body, "sequence"),
    state: state as Leased["state"],
    granted: amountOf(body, "granted", figure),
    outstanding: figure(body.outstanding, "outstanding"),
    recall: figure(body.recall, "recall"),
    remainingTtlMs: integerOf(body, "remaining_ttl_ms"),
    graceMs: integerOf(body, "grace_ms"),
    expiresAtMs: integerOf(body, "expires_at_ms"),
    onExpiry: onExpiry as LeaseExpiryPolicy,
    ...(shortage !== undefined && { shortage }),
    affectedScopes: textsOf(body, "affected_scopes"),
    ...balancesMember(body, figure),
  };
}

export function leaseStateOf<F extends Figure>(body: WireFields, figure: ReadFigure<F>): LeaseState<F> {
  const { status, holder } = body;
  if (!STATUSES.has(status)) throw unexpected("status", "a lease's status", status);
  return {
    leaseId: textOf(body, "lease_id"),
    epoch: integerOf(body, "epoch"),
    status: status as LeaseState["status"],
    ...(holder !== undefined && { holder: textOf(body, "holder") }),
    scopePath: textOf(body, "scope_path"),
    unit: unitOf(body.unit, "unit"),
    granted: figure(body.granted, "granted"),
    spent: figure(body.spent, "spent"),
    returned: figure(body.returned, "returned"),
    held: figure(body.held, "held"),
    outstanding: figure(body.outstanding, "outstanding"),
    charged: figure(body.charged, "charged"),
    sequence: integerOf(body, "sequence"),
    createdAtMs: integerOf(body, "created_at_ms"),
    renewedAtMs: integerOf(body, "renewed_at_ms"),
    expiresAtMs: integerOf(body, "expires_at_ms"),
  };
}

export function exposureOf<F extends Figure>(
  body: WireFields,
  figure: ReadFigure<F>,
): readonly UnitExposure<F>[] {
  return arrayOf(body, "exposure").map((row, index) => {
    const fields = fieldsOf(row, `exposure.${index}`);
    return {
      unit: unitOf(fields.unit, "unit"),
      leases: integerOf(fields, "leases"),
      outstanding: figure(fields.outstanding, "outstanding"),
      beyond: figure(fields.beyond, "beyond"),
    };
  });
}

function lifeOf(ttlMs: number | undefined): number | undefined {
  if (ttlMs !== undefined) checkInteger("ttlMs", ttlMs, 0, Number.MAX_SAFE_INTEGER);
  return ttlMs;
}
