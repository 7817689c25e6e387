// Request and trace ids. Invariant: every request gets both; a malformed header counts as absent and never fails a
// request; an all-zero trace id never leaves here. Who may call: the front, once a request.

import { type CallSource, LEDGER_LIMITS, shorten } from "purser/ledger";

export interface Correlation {
  readonly requestId: string;
  /** 32 lower-case hex characters. @see W3C Trace Context */
  readonly traceId: string;
}

const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/;
const TRACE_ID = /^[0-9a-f]{32}$/;
const ZEROS = /^0+$/;

/** A valid `traceparent` wins, then a valid `X-Cycles-Trace-Id`, then chance. */
export function correlate(headers: Headers): Correlation {
  return {
    requestId: `req_${randomHex()}`,
    traceId: parentTraceId(headers) ?? ownTraceId(headers) ?? randomHex(),
  };
}

/** What the audit log keeps of a request. The address is the platform's word; nothing else that a client says of it counts. */
export function sourceOf(headers: Headers, correlation: Correlation, operator: boolean): CallSource {
  const userAgent = headers.get("user-agent");
  const sourceIp = headers.get("cf-connecting-ip");
  return {
    ...correlation,
    operator,
    ...(userAgent !== null && { userAgent: shorten(userAgent, LEDGER_LIMITS.userAgentLengthMax) }),
    ...(sourceIp !== null && { sourceIp: shorten(sourceIp, LEDGER_LIMITS.userAgentLengthMax) }),
  };
}

function parentTraceId(headers: Headers): string | undefined {
  const header = headers.get("traceparent");
  if (header === null) return undefined;
  const [, traceId = "", spanId = ""] = TRACEPARENT.exec(header) ?? [];
  return traceId === "" || ZEROS.test(traceId) || ZEROS.test(spanId) ? undefined : traceId;
}

function ownTraceId(headers: Headers): string | undefined {
  const traceId = headers.get("x-cycles-trace-id") ?? "";
  return TRACE_ID.test(traceId) && !ZEROS.test(traceId) ? traceId : undefined;
}

/** 122 random bits in 32 hex digits; never all zeros, since a random UUID names its version. */
function randomHex(): string {
  return crypto.randomUUID().replaceAll("-", "");
}
