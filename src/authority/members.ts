// How the members of an answer are read: a function for each kind of value, and tables of those for what a body is made of.
// Nothing that came over a wire is trusted: what does not fit is an error that names member, rule and value. Invariant: no
// amount is ever rounded. Pure; who may call: from-wire.ts, lease-wire.ts, refusals.ts, token-issuer.ts.

import { isAmount } from "../arguments.ts";
import { isBoxedNumber } from "../ledger/json.ts";
import { UNITS, type Unit } from "../ledger/units.ts";
import type { AmountOf, Figure } from "./authority.ts";
import { AuthorityError, invalidAnswer } from "./errors.ts";
import * as CLIENT_LIMITS from "./limits/client.ts";
import type { WireFields } from "./wire-call.ts";

/** Turns a wire integer into a figure, or throws. */
export type ReadFigure<F extends Figure> = (value: unknown, path: string) => F;

/** Reads one member, by the wire's name of it, or throws. */
export type ReadMember<T> = (body: WireFields, member: string) => T;

/** By the interface's names: `expiresAtMs` is the wire's `expires_at_ms`. */
type Readers = Readonly<Record<string, ReadMember<unknown>>>;
type Read<R extends Readers> = { readonly [Name in keyof R]: ReturnType<R[Name]> };

// ---- tables ------------------------------------------------------------------------------------------------------

/** Members that must be there. */
export function membersOf<R extends Readers>(body: WireFields, readers: R): Read<R> {
  return Object.fromEntries(
    Object.entries(readers).map(([name, read]) => [name, read(body, wireNameOf(name))]),
  ) as Read<R>;
}

/** Members that a server may leave out, and that are then left out here. */
export function givenOf<R extends Readers>(body: WireFields, readers: R): Partial<Read<R>> {
  const given = Object.entries(readers).filter(([name]) => body[wireNameOf(name)] !== undefined);
  return membersOf(body, Object.fromEntries(given)) as Partial<Read<R>>;
}

/** The interface's names are the wire's, but for the way of writing them. */
export function wireNameOf(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

// ---- kinds of values ---------------------------------------------------------------------------------------------

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
    `${path} must be within ±9007199254740991, got ${String(value)}; open the authority with exact: true`,
    { outcome: "done" },
  );
};

/** A figure that stands alone, its unit being known. */
export function figureBy<F extends Figure>(figure: ReadFigure<F>): ReadMember<F> {
  return (body, member) => figure(body[member], member);
}

export function amountBy<F extends Figure>(figure: ReadFigure<F>): ReadMember<AmountOf<F>> {
  return (body, member) => {
    const { unit, amount } = fieldsOf(body[member], member);
    return {
      unit: unitOf({ [`${member}.unit`]: unit }, `${member}.unit`),
      amount: figure(amount, `${member}.amount`),
    };
  };
}

/** The figure of an amount that must be in this unit. */
export function amountIn<F extends Figure>(unit: Unit, figure: ReadFigure<F>): ReadMember<F> {
  return (body, member) => {
    const read = amountBy(figure)(body, member);
    if (read.unit !== unit) throw unexpected(`${member}.unit`, unit, read.unit);
    return read.amount;
  };
}

export function oneOf<T extends string>(names: readonly T[]): ReadMember<T> {
  return (body, member) => {
    const value = body[member];
    if (names.some((name) => name === value)) return value as T;
    throw unexpected(member, names.join(" or "), value);
  };
}

export const unitOf: ReadMember<Unit> = oneOf(UNITS);

export function isFields(value: unknown): value is WireFields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function fieldsOf(value: unknown, path: string): WireFields {
  if (isFields(value)) return value;
  throw unexpected(path, "an object", value);
}

/** An object whose own members are somebody else's to understand: plain JSON, whichever way its numbers were written. */
export function objectBy<T extends object>(): ReadMember<T> {
  return (body, member) => plain(fieldsOf(body[member], member)) as T;
}

/** As `toJsonValue` of the ledger unboxes, but that it refuses nothing: that is a third of the size, and this was JSON. */
export function plain(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (isBoxedNumber(value)) return value.valueOf();
  if (Array.isArray(value)) return value.map(plain);
  return Object.fromEntries(Object.entries(value).map(([key, it]) => [key, plain(it)]));
}

export const integerOf: ReadMember<number> = (body, member) => {
  const value = body[member];
  if (isAmount(value)) return value;
  throw unexpected(member, "an integer from 0 to 9007199254740991", value);
};

export const textOf: ReadMember<string> = (body, member) => {
  const value = body[member];
  if (typeof value === "string" && value !== "") return value;
  throw unexpected(member, "a text that is not empty", value);
};

export const textsOf: ReadMember<readonly string[]> = (body, member) => {
  const values = arrayOf(body, member);
  const wrong = values.find((it) => typeof it !== "string");
  if (wrong !== undefined) throw unexpected(member, "an array of texts", wrong);
  return values as readonly string[];
};

/** An array of objects, each read by `row`. */
export function rowsBy<Row>(row: (fields: WireFields) => Row): ReadMember<readonly Row[]> {
  return (body, member) => arrayOf(body, member).map((it, index) => row(fieldsOf(it, `${member}.${index}`)));
}

function arrayOf(body: WireFields, member: string): readonly unknown[] {
  const value = body[member];
  if (Array.isArray(value)) return value;
  throw unexpected(member, "an array", value);
}

export function unexpected(path: string, rule: string, value: unknown): AuthorityError {
  const shown = typeof value === "object" && value !== null ? "an object" : String(value);
  return invalidAnswer(`${path} must be ${rule}, got ${shown.slice(0, CLIENT_LIMITS.quoteLengthMax)}`, {
    outcome: "unknown",
  });
}
