// The authority over HTTP: any Cycles server, from a page, a Worker or Node, with nothing but `fetch`. Invariant: what goes out
// and comes back is http-transport.ts's; what comes of it is an answer or an AuthorityError. Who may call: anyone with an
// API key or a token.

import { type HttpOptions, httpTransport, queryText } from "./http-transport.ts";
import * as CLIENT_LIMITS from "./limits/client.ts";
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

const PATHS: Readonly<Record<WireCall["operation"], string>> = {
  reserve: "/v1/reservations",
  reserveFit: "/v1/x-purser/reservations",
  decide: "/v1/decide",
  event: "/v1/events",
  commit: "/v1/reservations/:id/commit",
  release: "/v1/reservations/:id/release",
  extend: "/v1/reservations/:id/extend",
  getReservation: "/v1/reservations/:id",
  listReservations: "/v1/reservations",
  balances: "/v1/balances",
  openLease: "/v1/x-purser/leases",
  renewLease: "/v1/x-purser/leases/:id/renew",
  returnLease: "/v1/x-purser/leases/:id/return",
  listLeases: "/v1/x-purser/leases",
  exposure: "/v1/x-purser/exposure",
};

function pathOf(call: WireCall): string {
  const path = PATHS[call.operation];
  if ("query" in call) return path + queryText(call.query);
  return "id" in call ? path.replace(":id", () => encodeURIComponent(call.id)) : path;
}
