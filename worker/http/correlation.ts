// Request and trace ids. Invariant: every request gets both; a malformed header counts as absent and never fails a
// request; an all-zero trace id never leaves here. Who may call: the front, once a request.

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
