// The authority over HTTP: any Cycles server, from a page, a Worker or Node, with nothing but `fetch`. Invariant: what goes out
// and comes back is http-transport.ts's; what comes of it is an answer or an AuthorityError. Who may call: anyone with an
// API key or a token.

import { type HttpOptions, httpTransport, queryText } from "./http-transport.ts";
import { CLIENT_LIMITS } from "./limits.ts";
import { type RemoteOptions, WireAuthority } from "./wire-authority.ts";
import type { WireCall } from "./wire-call.ts";

export interface HttpAuthorityOptions<Exact extends boolean = false>
  extends RemoteOptions<Exact>,
    HttpOptions {}

/**
 * @throws TypeError or RangeError for a base URL that is none, or without exactly one of `apiKey` and `getToken`
 * @example
 * const authority = new HttpAuthority({ baseUrl: "https://budgets.example.com", apiKey, subject: { tenant: "acme" } });
 */
export class HttpAuthority<Exact extends boolean = false> extends WireAuthority<Exact> {
  constructor(options: HttpAuthorityOptions<Exact>) {
    const { timeoutMs = CLIENT_LIMITS.timeoutMs, retry } = options;
    const { base, transport } = httpTransport(options);
    super(options, {
      timeoutMs,
      retry,
      place: base,
      send: (call, how) => transport({ path: pathOf(call), ...("body" in call && { body: call.body }) }, how),
    });
  }
}

function pathOf(call: WireCall): string {
  switch (call.operation) {
    case "reserve":
      return "/v1/reservations";
    case "reserveFit":
      return "/v1/x-purser/reservations";
    case "decide":
      return "/v1/decide";
    case "event":
      return "/v1/events";
    case "commit":
    case "release":
    case "extend":
      return `/v1/reservations/${encodeURIComponent(call.id)}/${call.operation}`;
    case "openLease":
      return "/v1/x-purser/leases";
    case "renewLease":
      return `/v1/x-purser/leases/${encodeURIComponent(call.id)}/renew`;
    case "returnLease":
      return `/v1/x-purser/leases/${encodeURIComponent(call.id)}/return`;
    case "listLeases":
      return `/v1/x-purser/leases${queryText(call.query)}`;
    case "exposure":
      return "/v1/x-purser/exposure";
    case "getReservation":
      return `/v1/reservations/${encodeURIComponent(call.id)}`;
    case "listReservations":
      return `/v1/reservations${queryText(call.query)}`;
    case "balances":
      return `/v1/balances${queryText(call.query)}`;
  }
}
