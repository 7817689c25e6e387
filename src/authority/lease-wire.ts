// Leases on their way out and in: the interface's shapes become the wire's, and answers the interface's. Invariant: as in
// to-wire.ts and from-wire.ts: nothing that cannot be is sent, nothing that came is trusted, no amount is rounded. Pure;
// who may call: WireAuthority.

import { checkInteger, checkName } from "../arguments.ts";
import type { Subject } from "../ledger/scope.ts";
import type { Figure } from "./authority.ts";
import { balancesMember } from "./from-wire.ts";
import type {
  Leased,
  LeaseName,
  LeaseRenewal,
  LeaseReport,
  LeaseRequest,
  LeaseState,
  UnitExposure,
} from "./leases.ts";
import * as CLIENT_LIMITS from "./limits/client.ts";
import {
  amountBy,
  figureBy,
  givenOf,
  integerOf,
  membersOf,
  oneOf,
  type ReadFigure,
  rowsBy,
  textOf,
  textsOf,
  unitOf,
} from "./members.ts";
import { explainedBy } from "./refusals.ts";
import { checkFigure, durationsOf, subjectOf } from "./to-wire.ts";
import type { WireFields } from "./wire-call.ts";

const stateOf = oneOf(["active", "ended"]);
const statusOf = oneOf(["ACTIVE", "RETURNED", "EXPIRED"]);
const policyOf = oneOf(["charge", "refund"]);

export function leaseBody(key: string, request: LeaseRequest, base: Subject | undefined): WireFields {
  const { unit, want, min, holder } = request;
  checkFigure("want", want);
  if (min !== undefined) checkFigure("min", min);
  if (holder !== undefined) checkName("holder", holder, CLIENT_LIMITS.leaseHolderLengthMax);
  const subject = subjectOf(request.subject, base);
  return { idempotency_key: key, subject, unit, want, min, ...durationsOf(request, ["ttlMs"]), holder };
}

export function renewalBody(lease: LeaseName, renewal: LeaseRenewal, base: Subject | undefined): WireFields {
  const { want, min } = renewal;
  checkFigure("want", want);
  if (min !== undefined) checkFigure("min", min);
  return { ...reportBody(lease, renewal, base), want, min, ...durationsOf(renewal, ["ttlMs"]) };
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

export function leasedOf<F extends Figure>(body: WireFields, figure: ReadFigure<F>): Leased<F> {
  const shortage =
    body.shortage === undefined ? undefined : explainedBy({ operation: "openLease" }, body.shortage, figure);
  return {
    ok: true,
    ...membersOf(body, {
      leaseId: textOf,
      epoch: integerOf,
      sequence: integerOf,
      state: stateOf,
      granted: amountBy(figure),
      outstanding: figureBy(figure),
      recall: figureBy(figure),
      remainingTtlMs: integerOf,
      graceMs: integerOf,
      expiresAtMs: integerOf,
      onExpiry: policyOf,
      affectedScopes: textsOf,
    }),
    ...(shortage !== undefined && { shortage }),
    ...balancesMember(body, figure),
  };
}

export function leaseStateOf<F extends Figure>(body: WireFields, figure: ReadFigure<F>): LeaseState<F> {
  const figureOf = figureBy(figure);
  return {
    ...membersOf(body, {
      leaseId: textOf,
      epoch: integerOf,
      status: statusOf,
      scopePath: textOf,
      unit: unitOf,
      granted: figureOf,
      spent: figureOf,
      returned: figureOf,
      held: figureOf,
      outstanding: figureOf,
      charged: figureOf,
      sequence: integerOf,
      createdAtMs: integerOf,
      renewedAtMs: integerOf,
      expiresAtMs: integerOf,
    }),
    ...givenOf(body, { holder: textOf }),
  };
}

export function exposureOf<F extends Figure>(
  body: WireFields,
  figure: ReadFigure<F>,
): readonly UnitExposure<F>[] {
  const figureOf = figureBy(figure);
  const row = (fields: WireFields) =>
    membersOf(fields, { unit: unitOf, leases: integerOf, outstanding: figureOf, beyond: figureOf });
  return rowsBy(row)(body, "exposure");
}
