// The HTTP front: routes, and the one place where answers get their headers and faults become error bodies.
// Invariant: every answer carries X-Request-Id and X-Cycles-Trace-Id, and X-Cycles-Tenant once a key was accepted; every
// answer that is not 2xx has the closed error body; nothing here decides about a budget. Who may call: the platform.

import { Hono } from "hono";
import { type Reply, refuse } from "purser/ledger";
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

/** What a handler gets. `asTenant` names the tenant that the answer's header tells. */
export interface RouteCall {
  readonly request: Request;
  readonly env: Env;
  readonly param: (name: string) => string;
  readonly query: Readonly<Record<string, string>>;
  readonly asTenant: (tenant: string) => void;
}

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
    if (tenant !== undefined && context.res.status !== 401)
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
        : errorResponse(reply, context.get("correlation"), retryHeaders(reply.status));
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
      refuse("NOT_FOUND", `No such route: ${context.req.path.slice(0, 200)}`),
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
      retryHeaders(429),
    );
  }
  console.error("purser: unexpected failure", error);
  return { refusal: refuse("INTERNAL_ERROR", "Internal error"), headers: {} };
}

function retryHeaders(status: number): Record<string, string> {
  return status === 429 ? { "Retry-After": "1" } : {};
}
