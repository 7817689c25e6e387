// Answers on their way in: the protocol's bodies become the interface's shapes. Nothing that came over a wire is trusted:
// each member is looked at, and what does not fit is an error that names member, rule and value. Members that nobody
// asked for are ignored, since servers may add some. Invariant: no amount is ever rounded. Pure; who may call: WireAuthority.

import type { JsonObject } from "../ledger/json.ts";
import type { Unit } from "../ledger/schema.ts";
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
import { AuthorityError, invalidAnswer } from "./errors.ts";
import { CLIENT_LIMITS } from "./limits.ts";

/** Turns a wire integer into a figure, or throws. */
export type ReadFigure<F extends Figure> = (value: unknown, path: string) => F;

type Fields = Readonly<Record<string, unknown>>;

const UNIT_NAMES: ReadonlySet<unknown> = new Set<Unit>([
  "USD_MICROCENTS",
  "TOKENS",
  "CREDITS",
  "RISK_POINTS",
]);
const STATUS_NAMES: ReadonlySet<unknown> = new Set(["ACTIVE", "COMMITTED", "RELEASED", "EXPIRED"]);

// ---- figures -----------------------------------------------------------------------------------------------------

export const exactFigure: ReadFigure<bigint> = (value, path) => {
  if (typeof value === "bigint") return value;
  if (Number.isSafeInteger(value)) return BigInt(value as number);
  throw unexpected(path, "an integer", value);
};

export const safeFigure: ReadFigure<number> = (value, path) => {
  const number = Number(exactFigure(value, path));
  if (Number.isSafeInteger(number)) return number;
  throw new AuthorityError(
    "AMOUNT_UNSAFE",
    `${path} must be within ±9007199254740991 to be a plain number, got ${String(value)}; open the authority with exact: true`,
    { outcome: "done" },
  );
};

// ---- bodies ------------------------------------------------------------------------------------------------------

export function grantedOf<F extends Figure>(body: Fields, figure: ReadFigure<F>): Granted<F> {
  return {
    ...permittedOf(body),
    reservationId: textOf(body, "reservation_id"),
    reserved: amountOf(body, "reserved", figure),
    expiresAtMs: integerOf(body, "expires_at_ms"),
    ...remainingOf(body),
    ...balancesMember(body, figure),
  };
}

/** A decision that is no DENY. Caps belong to ALLOW_WITH_CAPS and to nothing else. */
export function permittedOf(body: Fields): Permitted {
  const { decision, caps } = body;
  if (decision !== "ALLOW" && decision !== "ALLOW_WITH_CAPS") {
    throw unexpected("decision", "ALLOW or ALLOW_WITH_CAPS", decision);
  }
  if ((decision === "ALLOW_WITH_CAPS") !== (caps !== undefined)) {
    throw unexpected("caps", "there if and only if the decision is ALLOW_WITH_CAPS", caps);
  }
  const affectedScopes = textsOf(body, "affected_scopes");
  return {
    ok: true,
    decision,
    affectedScopes,
    ...(caps !== undefined && { caps: capsOf(fieldsOf(caps, "caps")) }),
  };
}

export function committedOf<F extends Figure>(body: Fields, figure: ReadFigure<F>): Committed<F> {
  expectStatus(body, "COMMITTED");
  const charged = amountOf(body, "charged", figure);
  const released = body.released === undefined ? zeroOf(charged, figure) : amountOf(body, "released", figure);
  return { ok: true, charged, released, ...balancesMember(body, figure) };
}

export function releasedOf<F extends Figure>(body: Fields, figure: ReadFigure<F>): Released<F> {
  expectStatus(body, "RELEASED");
  return { ok: true, released: amountOf(body, "released", figure), ...balancesMember(body, figure) };
}

export function extendedOf(body: Fields): Extended {
  expectStatus(body, "ACTIVE");
  return { ok: true, expiresAtMs: integerOf(body, "expires_at_ms"), ...remainingOf(body) };
}

/** `actual` is what was asked to be booked: the wire names the charge only where it is less. */
export function recordedOf<F extends Figure>(
  body: Fields,
  figure: ReadFigure<F>,
  actual: AmountOf<Figure>,
): Recorded<F> {
  expectStatus(body, "APPLIED");
  const charged =
    body.charged === undefined
      ? { unit: actual.unit, amount: figure(actual.amount, "charged.amount") }
      : amountOf(body, "charged", figure);
  return { ok: true, eventId: textOf(body, "event_id"), charged, ...balancesMember(body, figure) };
}

export function reservationOf<F extends Figure>(body: Fields, figure: ReadFigure<F>): ReservationState<F> {
  const { status, committed, idempotency_key: key, finalized_at_ms: finalizedAtMs } = body;
  if (!STATUS_NAMES.has(status)) throw unexpected("status", "a reservation's status", status);
  const { kind, name, tags } = fieldsOf(body.action, "action");
  return {
    reservationId: textOf(body, "reservation_id"),
    status: status as ReservationState["status"],
    ...(key !== undefined && { idempotencyKey: textOf(body, "idempotency_key") }),
    subject: fieldsOf(body.subject, "subject") as Subject,
    action: {
      kind: textOf({ kind }, "kind"),
      name: textOf({ name }, "name"),
      ...(tags !== undefined && { tags: textsOf({ tags }, "tags") }),
    } satisfies Action,
    reserved: amountOf(body, "reserved", figure),
    ...(committed !== undefined && { committed: amountOf(body, "committed", figure) }),
    createdAtMs: integerOf(body, "created_at_ms"),
    expiresAtMs: integerOf(body, "expires_at_ms"),
    ...(finalizedAtMs !== undefined && { finalizedAtMs: integerOf(body, "finalized_at_ms") }),
    scopePath: textOf(body, "scope_path"),
    affectedScopes: textsOf(body, "affected_scopes"),
    ...(body.metadata !== undefined && { metadata: fieldsOf(body.metadata, "metadata") as JsonObject }),
    ...(body.committed_metadata !== undefined && {
      committedMetadata: fieldsOf(body.committed_metadata, "committed_metadata") as JsonObject,
    }),
  };
}

/** One page of rows, and where the next one begins. */
export function pageOf<Row>(
  body: Fields,
  member: string,
  row: (fields: Fields) => Row,
): { readonly rows: readonly Row[]; readonly next: string | undefined } {
  const rows = arrayOf(body, member).map((it, index) => row(fieldsOf(it, `${member}.${index}`)));
  if (body.has_more !== true) return { rows, next: undefined };
  return { rows, next: textOf(body, "next_cursor") };
}

export function balanceOf<F extends Figure>(body: Fields, figure: ReadFigure<F>): Balance<F> {
  const remaining = amountOf(body, "remaining", figure);
  const { unit } = remaining;
  const optional = (member: string): F | undefined =>
    body[member] === undefined ? undefined : amountOf(body, member, figure, unit).amount;
  const [allocated, spent, reserved] = ["allocated", "spent", "reserved"].map(optional);
  return {
    scopePath: textOf(body, "scope_path"),
    unit,
    remaining: remaining.amount,
    ...(allocated !== undefined && { allocated }),
    ...(spent !== undefined && { spent }),
    ...(reserved !== undefined && { reserved }),
    debt: optional("debt") ?? figure(0, "debt"),
    overdraftLimit: optional("overdraft_limit") ?? figure(0, "overdraft_limit"),
    isOverLimit: body.is_over_limit === true,
  };
}

/**
 * The balances beside a decision. They are only told along the way, so one that is no plain number leaves them out: as an
 * error it would hide the decision, and strand the reservation that was just made.
 */
export function balancesMember<F extends Figure>(
  body: Fields,
  figure: ReadFigure<F>,
): { balances?: readonly Balance<F>[] } {
  if (body.balances === undefined) return {};
  try {
    return {
      balances: arrayOf(body, "balances").map((it, index) =>
        balanceOf(fieldsOf(it, `balances.${index}`), figure),
      ),
    };
  } catch (error) {
    if (error instanceof AuthorityError && error.code === "AMOUNT_UNSAFE") return {};
    throw error;
  }
}

function capsOf(caps: Fields): Caps {
  return {
    ...(caps.max_tokens !== undefined && { maxTokens: integerOf(caps, "max_tokens") }),
    ...(caps.max_steps_remaining !== undefined && {
      maxStepsRemaining: integerOf(caps, "max_steps_remaining"),
    }),
    ...(caps.cooldown_ms !== undefined && { cooldownMs: integerOf(caps, "cooldown_ms") }),
    ...(caps.tool_allowlist !== undefined && { toolAllowlist: textsOf(caps, "tool_allowlist") }),
    ...(caps.tool_denylist !== undefined && { toolDenylist: textsOf(caps, "tool_denylist") }),
  };
}

// ---- members -----------------------------------------------------------------------------------------------------

export function fieldsOf(value: unknown, path: string): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw unexpected(path, "an object", value);
}

export function amountOf<F extends Figure>(
  body: Fields,
  member: string,
  figure: ReadFigure<F>,
  unitWanted?: Unit,
): AmountOf<F> {
  const { unit, amount } = fieldsOf(body[member], member);
  const known = unitOf(unit, `${member}.unit`);
  if (unitWanted !== undefined && unit !== unitWanted) throw unexpected(`${member}.unit`, unitWanted, unit);
  return { unit: known, amount: figure(amount, `${member}.amount`) };
}

export function unitOf(unit: unknown, path: string): Unit {
  if (UNIT_NAMES.has(unit)) return unit as Unit;
  throw unexpected(path, "a unit of the protocol", unit);
}

function remainingOf(body: Fields): { remainingTtlMs?: number } {
  return body.remaining_ttl_ms === undefined ? {} : { remainingTtlMs: integerOf(body, "remaining_ttl_ms") };
}

function zeroOf<F extends Figure>({ unit }: AmountOf<F>, figure: ReadFigure<F>): AmountOf<F> {
  return { unit, amount: figure(0, "released.amount") };
}

function expectStatus({ status }: Fields, expected: string): void {
  if (status !== expected) throw unexpected("status", expected, status);
}

export function integerOf(body: Fields, member: string): number {
  const value = body[member];
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw unexpected(member, "an integer from 0 to 9007199254740991", value);
}

export function textOf(body: Fields, member: string): string {
  const value = body[member];
  if (typeof value === "string" && value !== "") return value;
  throw unexpected(member, "a text that is not empty", value);
}

export function arrayOf(body: Fields, member: string): readonly unknown[] {
  const value = body[member];
  if (Array.isArray(value)) return value;
  throw unexpected(member, "an array", value);
}

export function textsOf(body: Fields, member: string): readonly string[] {
  const values = arrayOf(body, member);
  const wrong = values.find((it) => typeof it !== "string");
  if (wrong !== undefined) throw unexpected(member, "an array of texts", wrong);
  return values as readonly string[];
}

export function unexpected(path: string, rule: string, value: unknown): AuthorityError {
  const shown = typeof value === "object" && value !== null ? "an object" : String(value);
  return invalidAnswer(`${path} must be ${rule}, got ${shown.slice(0, CLIENT_LIMITS.quoteLengthMax)}`, {
    outcome: "unknown",
  });
}
