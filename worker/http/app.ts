// The HTTP front: routes, and the one place where answers get their headers and faults become error bodies.
// Invariant: every answer carries X-Request-Id and X-Cycles-Trace-Id; X-Cycles-Tenant where the tenant's object has
// accepted the key, so neither on a 401 nor on a failure that left it unasked; every answer that is not 2xx has the closed
// error body; nothing here decides about a budget. Who may call: the platform.

import { type Context, Hono } from "hono";
import { TrieRouter } from "hono/router/trie-router";
import { type Refusal, type Reply, refuse, shorten, stringifyJson, succeed } from "purser/ledger";
import { ConfigError, type Env } from "../env.ts";
import { adminRoutes } from "./admin-routes.ts";
import { type Correlation, correlate } from "./correlation.ts";
import { corsFields, isPreflight, preflightFields } from "./cors.ts";
import { errorBody, HttpRefusal, httpRefusal } from "./errors.ts";
import { leaseRoutes } from "./lease-routes.ts";
import { purserRoutes } from "./purser-routes.ts";
import { runtimeRoutes } from "./runtime-routes.ts";
import { tokenRoutes } from "./token-routes.ts";

export interface AppTypes {
  Bindings: Env;
  Variables: { correlation?: Correlation; tenant?: string };
}

/** One route: its handler answers with the ledger's reply. */
export interface Route {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly handle: (call: RouteCall) => Promise<Reply<unknown>>;
}

/** What a handler gets. `asTenant` names the tenant whose object is asked; the answer's header then tells it. */
export interface RouteCall {
  readonly request: Request;
  readonly env: Env;
  readonly param: (name: string) => string;
  readonly query: () => Readonly<Record<string, string>>;
  readonly correlation: () => Correlation;
  readonly asTenant: (tenant: string) => void;
}

/** Our limits end when something is settled or removed, which nobody can foretell; a second keeps clients from spinning. */
const RETRY_AFTER_S = 1;

const HEALTH_ROUTES: readonly Route[] = ["/healthz", "/actuator/health", "/actuator/health/readiness"].map(
  (path) => ({ method: "GET", path, handle: async () => succeed({ status: "UP" }) }),
);

export function createApp(): Hono<AppTypes> {
  const app = new Hono<AppTypes>();
  const routes = [
    ...HEALTH_ROUTES,
    ...runtimeRoutes,
    ...adminRoutes,
    ...purserRoutes,
    ...tokenRoutes,
    ...leaseRoutes,
  ];
  const methods = new TrieRouter<string>();
  for (const { method, path, handle } of routes) {
    methods.add("ALL", path, method);
    app.on(method, path, async (context) => {
      const reply = await handle({
        request: context.req.raw,
        env: context.env,
        param: (name) => context.req.param(name) ?? "",
        // A plain object: one without a prototype would not cross RPC.
        query: () => ({ ...context.req.query() }),
        correlation: () => correlationOf(context),
        asTenant: (tenant) => context.set("tenant", tenant),
      });
      return reply.ok
        ? respond(context, reply.status, reply.body)
        : respondError(context, reply, retryHeaders(reply.status, Date.now(), reply.retryAfterMs));
    });
  }

  // Whatever fits no route, so that the ones that do pass through nothing else.
  app.notFound((context) => {
    const { raw, path } = context.req;
    if (isPreflight(raw)) return new Response(null, { status: 204, headers: headersOf(context, true) });
    const allow = methods.match("ALL", path)[0].map(([method]) => method);
    if (allow.length === 0)
      return respondError(context, refuse("NOT_FOUND", `No such route: ${shorten(path, 200)}`));
    const list = allow.join(", ");
    const { refusal } = httpRefusal(405, "INVALID_REQUEST", `The method must be ${list}`);
    return respondError(context, refusal, { Allow: list });
  });
  app.onError((error, context) => {
    const { refusal, headers } = asRefusal(error);
    return respondError(context, refusal, headers);
  });
  return app;
}

type AppContext = Context<AppTypes>;
type Fields = Readonly<Record<string, string>>;

/** Exact: BigInt amounts are plain JSON integers. */
function respond(context: AppContext, status: number, body: unknown, fields?: Fields): Response {
  const headers = { ...headersOf(context), ...fields, "Content-Type": "application/json" };
  const tenant = context.get("tenant");
  const named = tenant === undefined || status === 401 || status >= 500 ? {} : { "X-Cycles-Tenant": tenant };
  return new Response(stringifyJson(body), { status, headers: { ...headers, ...named } });
}

function respondError(context: AppContext, refusal: Refusal, fields?: Fields): Response {
  return respond(context, refusal.status, errorBody(refusal, correlationOf(context)), fields);
}

/** What every answer carries, whatever became of the request. */
function headersOf(context: AppContext, preflight = false): Fields {
  const { requestId, traceId } = correlationOf(context);
  const { headers } = context.req.raw;
  const cors = preflight ? preflightFields(headers, context.env) : corsFields(headers, context.env);
  return { "X-Request-Id": requestId, "X-Cycles-Trace-Id": traceId, ...cors };
}

/** One correlation a request, made when it is first asked for. */
function correlationOf(context: AppContext): Correlation {
  const known = context.get("correlation");
  if (known !== undefined) return known;
  const correlation = correlate(context.req.raw.headers);
  context.set("correlation", correlation);
  return correlation;
}

/** What a throw means to a client. A bug says nothing about itself on the wire and everything in the log. */
function asRefusal(error: Error): Pick<HttpRefusal, "refusal" | "headers"> {
  if (error instanceof HttpRefusal) return error;
  if (error instanceof ConfigError) return { refusal: refuse("INTERNAL_ERROR", error.message), headers: {} };
  if (Reflect.get(error, "overloaded") === true) {
    return httpRefusal(
      503,
      "INTERNAL_ERROR",
      "The tenant's object is overloaded, retry later",
      retryHeaders(503, Date.now()),
    );
  }
  console.error("purser: unexpected failure", error);
  return { refusal: refuse("INTERNAL_ERROR", "Internal error"), headers: {} };
}

/** When to come back: in whole seconds, and for throttling also as the Unix second at which the limit is looked at anew. */
function retryHeaders(
  status: number,
  nowMs: number,
  retryAfterMs = RETRY_AFTER_S * 1000,
): Record<string, string> {
  // Rounded up: a second too early would be throttled again.
  const seconds = Math.ceil(retryAfterMs / 1000);
  const retryAfter = { "Retry-After": String(seconds) };
  if (status === 503) return retryAfter;
  if (status !== 429) return {};
  return { ...retryAfter, "X-RateLimit-Reset": String(Math.ceil(nowMs / 1000) + seconds) };
}
