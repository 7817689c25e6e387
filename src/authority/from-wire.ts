// Answers on their way in: the protocol's bodies become the interface's shapes. Members that nobody asked for are ignored,
// since servers may add some. Invariant: as in members.ts: nothing is trusted, and no amount is ever rounded. Pure; who may
// call: WireAuthority.

import type { JsonObject } from "../ledger/json.ts";
import type { Subject } from "../ledger/scope.ts";
import type {
  Action,
  AmountOf,
  Balance,
  Caps,
  Committed,
  Extended,
  Figure,
  Granted,
  Permitted,
  Recorded,
  Released,
  ReservationState,
} from "./authority.ts";
import { AuthorityError } from "./errors.ts";
import {
  amountBy,
  amountIn,
  fieldsOf,
  givenOf,
  integerOf,
  isFields,
  membersOf,
  objectBy,
  oneOf,
  type ReadFigure,
  type ReadMember,
  rowsBy,
  textOf,
  textsOf,
  unexpected,
} from "./members.ts";
import type { WireFields } from "./wire-call.ts";

const decisionOf = oneOf(["ALLOW", "ALLOW_WITH_CAPS"]);
const statusOf = oneOf(["ACTIVE", "COMMITTED", "RELEASED", "EXPIRED"]);

export function grantedOf<F extends Figure>(body: WireFields, figure: ReadFigure<F>): Granted<F> {
  return {
    ...permittedOf(body),
    ...membersOf(body, { reservationId: textOf, reserved: amountBy(figure), expiresAtMs: integerOf }),
    ...givenOf(body, { remainingTtlMs: integerOf }),
    ...balancesMember(body, figure),
  };
}

/** A decision that is no DENY. Caps belong to ALLOW_WITH_CAPS and to nothing else. */
export function permittedOf(body: WireFields): Permitted {
  const permitted = membersOf(body, { decision: decisionOf, affectedScopes: textsOf });
  const { caps } = body;
  if ((permitted.decision === "ALLOW_WITH_CAPS") !== (caps !== undefined)) {
    throw unexpected("caps", "there with ALLOW_WITH_CAPS alone", caps);
  }
  return { ok: true, ...permitted, ...givenOf(body, { caps: capsOf }) };
}

export function committedOf<F extends Figure>(body: WireFields, figure: ReadFigure<F>): Committed<F> {
  expectStatus(body, "COMMITTED");
  const { charged } = membersOf(body, { charged: amountBy(figure) });
  const { released = { unit: charged.unit, amount: figure(0, "released.amount") } } = givenOf(body, {
    released: amountBy(figure),
  });
  return { ok: true, charged, released, ...balancesMember(body, figure) };
}

export function releasedOf<F extends Figure>(body: WireFields, figure: ReadFigure<F>): Released<F> {
  expectStatus(body, "RELEASED");
  return { ok: true, ...membersOf(body, { released: amountBy(figure) }), ...balancesMember(body, figure) };
}

export function extendedOf(body: WireFields): Extended {
  expectStatus(body, "ACTIVE");
  return {
    ok: true,
    ...membersOf(body, { expiresAtMs: integerOf }),
    ...givenOf(body, { remainingTtlMs: integerOf }),
  };
}

/** `actual` is what was asked to be booked: the wire names the charge only where it is less. */
export function recordedOf<F extends Figure>(
  body: WireFields,
  figure: ReadFigure<F>,
  actual: AmountOf<Figure>,
): Recorded<F> {
  expectStatus(body, "APPLIED");
  const { charged = { unit: actual.unit, amount: figure(actual.amount, "charged.amount") } } = givenOf(body, {
    charged: amountBy(figure),
  });
  return { ok: true, ...membersOf(body, { eventId: textOf }), charged, ...balancesMember(body, figure) };
}

export function reservationOf<F extends Figure>(
  body: WireFields,
  figure: ReadFigure<F>,
): ReservationState<F> {
  return {
    ...membersOf(body, {
      reservationId: textOf,
      status: statusOf,
      subject: objectBy<Subject>(),
      action: actionOf,
      reserved: amountBy(figure),
      createdAtMs: integerOf,
      expiresAtMs: integerOf,
      scopePath: textOf,
      affectedScopes: textsOf,
    }),
    ...givenOf(body, {
      idempotencyKey: textOf,
      committed: amountBy(figure),
      finalizedAtMs: integerOf,
      metadata: objectBy<JsonObject>(),
      committedMetadata: objectBy<JsonObject>(),
    }),
  };
}

/** One page of rows, and where the next one begins. */
export function pageOf<Row>(
  body: WireFields,
  member: string,
  row: (fields: WireFields) => Row,
): { readonly rows: readonly Row[]; readonly next: string | undefined } {
  const rows = rowsBy(row)(body, member);
  return { rows, next: body.has_more === true ? textOf(body, "next_cursor") : undefined };
}

export function balanceOf<F extends Figure>(body: WireFields, figure: ReadFigure<F>): Balance<F> {
  const { scopePath, remaining } = membersOf(body, { scopePath: textOf, remaining: amountBy(figure) });
  const { unit, amount } = remaining;
  const inUnit = amountIn(unit, figure);
  return {
    scopePath,
    unit,
    remaining: amount,
    debt: figure(0, "debt"),
    overdraftLimit: figure(0, "overdraft_limit"),
    ...givenOf(body, {
      allocated: inUnit,
      spent: inUnit,
      reserved: inUnit,
      debt: inUnit,
      overdraftLimit: inUnit,
    }),
    isOverLimit: body.is_over_limit === true,
  };
}

/**
 * The balances beside a decision. They are only told along the way, so one that is no plain number leaves them out: as an
 * error it would hide the decision, and strand the reservation that was just made.
 */
export function balancesMember<F extends Figure>(
  body: WireFields,
  figure: ReadFigure<F>,
): { balances?: readonly Balance<F>[] } {
  try {
    return givenOf(body, { balances: rowsBy((row) => balanceOf(row, figure)) });
  } catch (error) {
    if (error instanceof AuthorityError && error.code === "AMOUNT_UNSAFE") return {};
    throw error;
  }
}

const capsOf: ReadMember<Caps> = (body, member) =>
  givenOf(fieldsOf(body[member], member), {
    maxTokens: integerOf,
    maxStepsRemaining: integerOf,
    cooldownMs: integerOf,
    toolAllowlist: textsOf,
    toolDenylist: textsOf,
  });

const actionOf: ReadMember<Action> = (body, member) => {
  const action = fieldsOf(body[member], member);
  return { ...membersOf(action, { kind: textOf, name: textOf }), ...givenOf(action, { tags: textsOf }) };
};

/** An amount in another unit than was asked in is no answer to that. */
export function checkUnit(answer: WireFields, asked: WireFields): void {
  const { unit } = (asked.actual ?? asked.estimate ?? asked) as WireFields;
  for (const member of ["reserved", "charged", "released", "granted"]) {
    const amount = answer[member];
    if (unit !== undefined && isFields(amount) && amount.unit !== unit) {
      throw unexpected(`${member}.unit`, unit as string, amount.unit);
    }
  }
}

function expectStatus(body: WireFields, expected: string): void {
  oneOf([expected])(body, "status");
}
