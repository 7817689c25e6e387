// Refusals on the wire: the closed error body on every answer that is not 2xx, whoever refused. Pure.
// Who may call: the front, for the ledger's refusals and for its own.

import { type ErrorCode, type Refusal, refuse } from "purser/ledger";
import type { Correlation } from "./correlation.ts";

/** A refusal of the front itself. Thrown inside a handler, turned into an answer in one place. */
export class HttpRefusal extends Error {
  readonly refusal: Refusal;
  readonly headers: Readonly<Record<string, string>>;

  constructor(refusal: Refusal, headers: Readonly<Record<string, string>> = {}) {
    super(refusal.message);
    this.name = "HttpRefusal";
    this.refusal = refusal;
    this.headers = headers;
  }
}

/** A refusal whose status is HTTP's business (404 of a route, 405, 413, 415, 503), not the code's own. */
export function httpRefusal(
  status: number,
  error: ErrorCode,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): HttpRefusal {
  return new HttpRefusal({ ...refuse(error, message), status }, headers);
}

/** @see Cycles protocol, ErrorResponse: these keys and no other */
export function errorBody({ error, message, details }: Refusal, { requestId, traceId }: Correlation) {
  return {
    error,
    message,
    request_id: requestId,
    trace_id: traceId,
    ...(details !== undefined && { details }),
  };
}
