// What an answer other than success means: a denial (the budget says no, a value) or an error (thrown). Invariant: one
// table decides it for every operation and every way; the advice never says more than the authority's own figures do.
// Pure; who may call: WireAuthority.

import type { RetryAdvice } from "../denial.ts";
import { ERROR_CODES, type ErrorCode } from "../ledger/codes.ts";
import type { JsonObject } from "../ledger/json.ts";
import {
  type AuthorityDenial,
  type AuthorityDenialCode,
  DENIAL_CODES,
  type DenialFigures,
  type Denied,
  type Figure,
} from "./authority.ts";
import { AuthorityError, type AuthorityErrorCode, invalidAnswer } from "./errors.ts";
import { isFields, plain, type ReadFigure, unitOf } from "./members.ts";
import type { WireAnswer, WireFields } from "./wire-call.ts";

const DENIALS: ReadonlySet<string> = new Set(DENIAL_CODES);
/** The words by which clients of the protocol tell a missing budget from other 404s. */
const NO_BUDGET = "Budget not found for provided scope";

/**
 * What a status means when its body says nothing: somebody between us and the authority may have answered. That something
 * has expired is not among them, but for a commit that is answered 410 with a body that is empty or JSON: by somebody's page
 * a spend would be booked a second time.
 */
const CODE_OF_STATUS: Readonly<Record<number, ErrorCode>> = {
  401: "UNAUTHORIZED",
  403: "FORBIDDEN",
  429: "LIMIT_EXCEEDED",
};

/**
 * The details as they were written: what an error shows of them are plain numbers, of which nobody could tell whether they
 * were integers, and figures must have been.
 */
const writtenDetails = new WeakMap<AuthorityError, WireFields>();

/** The error that a refusal is; those with a denial's code become values in {@link deniedBy}. */
export function errorOf(
  { operation }: { readonly operation: string },
  { status, body, retryAfterMs }: WireAnswer,
): AuthorityError {
  const { error, message, details } = isFields(body) ? body : {};
  const said = typeof message === "string" ? message : `status ${status}`;
  if (status >= 500) {
    return new AuthorityError("AUTHORITY_UNAVAILABLE", `no answer from the authority: ${said}`, {
      outcome: "unknown",
      status,
      retryAfterMs,
    });
  }
  const isExpired = operation === "commit" && status === 410 && body !== undefined && error === undefined;
  const code = codeOf(operation, error, said) ?? (isExpired ? "RESERVATION_EXPIRED" : CODE_OF_STATUS[status]);
  if (code === undefined || status < 400) {
    return invalidAnswer(`status ${status} to ${operation} means nothing here`, {
      outcome: "unknown",
      status,
    });
  }
  const written = isFields(details) ? details : undefined;
  const shown = written && (plain(written) as JsonObject);
  const refusal = new AuthorityError(code, said, {
    outcome: "refused",
    status,
    retryAfterMs,
    details: shown,
  });
  if (written !== undefined) writtenDetails.set(refusal, written);
  return refusal;
}

/** The denial that an error is; undefined where the error is one. */
export function deniedBy<F extends Figure>(
  error: AuthorityError,
  figure: ReadFigure<F>,
): Denied<F> | undefined {
  const { code, message, retryAfterMs } = error;
  if (!isDenialCode(code)) return undefined;
  const details = writtenDetails.get(error);
  const figures = figuresOf(details, figure);
  const { scope, resets_at_ms: resetsAtMs, retry_after_ms: afterMs } = details ?? {};
  return {
    ok: false,
    denial: {
      code,
      message,
      ...(typeof scope === "string" && { scope }),
      ...(figures !== undefined && { figures }),
      ...(isTime(resetsAtMs) && { resetsAtMs }),
      retry: adviceFor(code, figures, retryAfterMs ?? (isTime(afterMs) ? afterMs : undefined)),
    },
  };
}

/** A denial that explains an answer which is none. Undefined where it says nothing that denials say. */
export function explainedBy<F extends Figure>(
  call: { readonly operation: string },
  body: unknown,
  figure: ReadFigure<F>,
): AuthorityDenial<F> | undefined {
  return deniedBy(errorOf(call, { status: 409, body }), figure)?.denial;
}

/** A DENY of the wire: an answer that carries a reason and no figures. Undefined for every other decision. */
export function deniedIn(body: Readonly<Record<string, unknown>>): Denied<never> | undefined {
  const { decision, reason_code: reason, retry_after_ms: afterMs } = body;
  if (decision !== "DENY") return undefined;
  if (!isDenialCode(reason))
    throw invalidAnswer(`reason_code must be known, got ${String(reason)}`, { outcome: "done" });
  const retryAfterMs = isTime(afterMs) ? afterMs : undefined;
  return {
    ok: false,
    denial: { code: reason, message: `denied: ${reason}`, retry: adviceFor(reason, undefined, retryAfterMs) },
  };
}

function adviceFor(
  code: AuthorityDenialCode,
  figures: DenialFigures<Figure> | undefined,
  retryAfterMs: number | undefined,
): RetryAdvice {
  if (retryAfterMs !== undefined) return { afterMs: retryAfterMs };
  if (code === "LIMIT_EXCEEDED") return "when-released";
  if (code !== "BUDGET_EXCEEDED") return "never";
  if (figures === undefined) return "when-released";
  const { requested, available, held } = figures;
  return BigInt(requested) <= BigInt(available) + BigInt(held) ? "when-released" : "never";
}

/** All of the figures or none: half of them would explain nothing. */
function figuresOf<F extends Figure>(
  details: WireFields | undefined,
  figure: ReadFigure<F>,
): DenialFigures<F> | undefined {
  if (details === undefined) return undefined;
  try {
    const unit = unitOf(details, "unit");
    const of = (member: string): F => figure(details[member], member);
    return {
      unit,
      requested: of("requested"),
      limit: of("allocated"),
      available: of("remaining"),
      spent: of("spent"),
      held: of("reserved"),
      debt: of("debt"),
    };
  } catch (error) {
    // Details are the server's to shape, and the no is the answer: without figures it is still one.
    if (error instanceof AuthorityError) return undefined;
    throw error;
  }
}

function codeOf(operation: string, error: unknown, message: string): AuthorityErrorCode | undefined {
  if (!ERROR_CODES.some((code) => code === error)) return undefined;
  const asks =
    operation === "reserve" ||
    operation === "reserveFit" ||
    operation === "event" ||
    operation === "openLease";
  if (error === "NOT_FOUND" && asks && message.startsWith(NO_BUDGET)) return "BUDGET_NOT_FOUND";
  return error as ErrorCode;
}

function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

function isDenialCode(code: unknown): code is AuthorityDenialCode {
  return typeof code === "string" && DENIALS.has(code);
}
