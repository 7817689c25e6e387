// The HTTP front: routes, and the one place where answers get their headers and faults become error bodies.
// Invariant: every answer carries X-Request-Id and X-Cycles-Trace-Id; X-Cycles-Tenant where the tenant's object has
// accepted the key, so neither on a 401 nor on a failure that left it unasked; every answer that is not 2xx has the closed
// error body; nothing here decides about a budget. Who may call: the platform.

import { Hono } from "hono";
import { type Reply, refuse, shorten } from "purser/ledger";
import { ConfigError, type Env } from "../env.ts";
import { adminRoutes } from "./admin-routes.ts";
import { type Correlation, correlate } from "./correlation.ts";
import { errorResponse, HttpRefusal, httpRefusal, jsonResponse } from "./errors.ts";
import { runtimeRoutes } from "./runtime-routes.ts";

export interface AppTypes {
  Bindings: Env;
  Variables: { correlation: Correlation; tenant?: string };
}

/** One route: its handler answers with the ledger's reply. */
export interface Route {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly handle: (call: RouteCall) => Promise<Reply<unknown>>;
}

/** What a handler gets. `asTenant` names the tenant whose object is asked; the answer's header then tells it. */
export interface RouteCall {
  readonly request: Request;
  readonly env: Env;
  readonly param: (name: string) => string;
  readonly query: Readonly<Record<string, string>>;
  readonly asTenant: (tenant: string) => void;
}

/** Our limits end when something is settled or removed, which nobody can foretell; a second keeps clients from spinning. */
const RETRY_AFTER_S = 1;

const HEALTH_PATHS = ["/healthz", "/actuator/health", "/actuator/health/readiness"];

export function createApp(): Hono<AppTypes> {
  const app = new Hono<AppTypes>();

  app.use(async (context, next) => {
    const correlation = correlate(context.req.raw.headers);
    context.set("correlation", correlation);
    await next();
    context.res.headers.set("X-Request-Id", correlation.requestId);
    context.res.headers.set("X-Cycles-Trace-Id", correlation.traceId);
    const tenant = context.get("tenant");
    const { status } = context.res;
    if (tenant !== undefined && status !== 401 && status < 500)
      context.res.headers.set("X-Cycles-Tenant", tenant);
  });

  for (const path of HEALTH_PATHS) app.get(path, () => jsonResponse({ status: "UP" }, 200));
  const routes = [...runtimeRoutes, ...adminRoutes];
  for (const { method, path, handle } of routes) {
    app.on(method, path, async (context) => {
      const reply = await handle({
        request: context.req.raw,
        env: context.env,
        param: (name) => context.req.param(name) ?? "",
        // A plain object: one without a prototype would not cross RPC.
        query: { ...context.req.query() },
        asTenant: (tenant) => context.set("tenant", tenant),
      });
      return reply.ok
        ? jsonResponse(reply.body, reply.status)
        : errorResponse(reply, context.get("correlation"), retryHeaders(reply.status, Date.now()));
    });
  }

  const methods = Map.groupBy(
    [...routes, ...HEALTH_PATHS.map((path) => ({ path, method: "GET" }))],
    ({ path }) => path,
  );
  for (const [path, known] of methods) {
    app.all(path, () => {
      const allow = known.map(({ method }) => method).join(", ");
      throw httpRefusal(405, "INVALID_REQUEST", `The method must be ${allow}`, { Allow: allow });
    });
  }
  app.notFound((context) =>
    errorResponse(
      refuse("NOT_FOUND", `No such route: ${shorten(context.req.path, 200)}`),
      context.get("correlation"),
    ),
  );
  app.onError((error, context) => {
    const { refusal, headers } = asRefusal(error);
    return errorResponse(refusal, context.get("correlation"), headers);
  });
  return app;
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
function retryHeaders(status: number, nowMs: number): Record<string, string> {
  const retryAfter = { "Retry-After": String(RETRY_AFTER_S) };
  if (status === 503) return retryAfter;
  if (status !== 429) return {};
  return { ...retryAfter, "X-RateLimit-Reset": String(Math.ceil(nowMs / 1000) + RETRY_AFTER_S) };
}
