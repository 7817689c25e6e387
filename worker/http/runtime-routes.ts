// The runtime plane: each route checks the key's MAC or the token's signature, reads the body, and asks the tenant's object. The object checks
// the rest (the key's row, the shape of the request, permissions). An operator's key opens the reads of reservations and
// their release (an id carries its tenant, a listing must name it), the balances and the introspection. Who may call: app.ts.

import type {
  BalancesQuery,
  Caller,
  CommitInput,
  DecideInput,
  EventInput,
  ExtendInput,
  ReleaseBody,
  ReleaseInput,
  Reply,
  ReservationBody,
  ReservationListBody,
  ReservationsQuery,
  ReserveFitInput,
  ReserveInput,
} from "purser/ledger";
import {
  budgetListSchema,
  checkReservationId,
  isTenantId,
  OPERATOR_INTROSPECTION,
  refuse,
  succeed,
} from "purser/ledger";
import { isNotFound, listAsOperator, namedTenant } from "./admin-access.ts";
import type { Route, RouteCall } from "./app.ts";
import { isOperator, requireAdmin, requireTenant, reservationIds } from "./auth.ts";
import { readBody, readBodyFor } from "./body.ts";
import { sourceOf } from "./correlation.ts";
import { HttpRefusal } from "./errors.ts";
import { type TenantStub, tenantStub } from "./tenant-stub.ts";

/** The object of the tenant that the key belongs to, and the caller to hand it. */
export async function open({ request, env, asTenant }: RouteCall) {
  const { tenant, caller } = await requireTenant(request.headers, env);
  asTenant(tenant);
  return { budget: tenantStub(env, tenant), caller };
}

type Act<Input> = (budget: TenantStub, body: Input, caller: Caller, id: string) => Promise<Reply<unknown>>;

/** A route by a tenant's key with a body. `id` is the path's, where it has one. */
export function postRoute<Input>(path: string, act: Act<Input>): Route {
  return {
    method: "POST",
    path,
    handle: async (call) => {
      const { budget, caller } = await open(call);
      // The object validates the shape; the type only says what it should be.
      const body = (await readBodyFor(budget, caller, call.request)) as Input;
      return act(budget, body, caller, call.param("id"));
    },
  };
}

/** The object that an operator's id leads to: this deployment issued it and knows its tenant. Any other wakes none. */
function openById({ env, param, asTenant }: RouteCall): TenantStub {
  const id = param("id");
  const fault = checkReservationId(id);
  if (fault !== undefined) throw new HttpRefusal(fault);
  const verdict = reservationIds(env).judge(id);
  if (!verdict.issued) throw new HttpRefusal(refuse("NOT_FOUND", `Resource not found: ${id}`));
  asTenant(verdict.tenant);
  return tenantStub(env, verdict.tenant);
}

async function getAsOperator(call: RouteCall): Promise<Reply<ReservationBody>> {
  await requireAdmin(call.request.headers, call.env);
  return openById(call).getReservation(call.param("id"));
}

/** An operator says whose reservations; a tenant that does not exist has none. */
async function listReservationsAsOperator({
  request,
  env,
  query,
  asTenant,
}: RouteCall): Promise<Reply<ReservationListBody>> {
  await requireAdmin(request.headers, env);
  const tenant = query().tenant ?? "";
  if (tenant.trim() === "") {
    const message = "tenant query parameter is required when using admin key authentication";
    return refuse("INVALID_REQUEST", message, { field: "tenant" });
  }
  const nothing: Reply<ReservationListBody> = {
    ok: true,
    status: 200,
    body: { reservations: [], has_more: false },
  };
  if (!isTenantId(tenant)) return nothing;
  const reply = await tenantStub(env, tenant).listReservations(query() as ReservationsQuery);
  if (!reply.ok && reply.error === "NOT_FOUND") return nothing;
  asTenant(tenant);
  return reply;
}

const LEVELS = ["tenant", "workspace", "app", "workflow", "agent", "toolset"] as const;

/**
 * An operator's question for balances is either plane's: with a level it is the runtime plane's, for the tenant that is
 * named; else with `tenant_id`, `scope_prefix` or `unit` the governance plane's, whose rows are whole budgets.
 */
async function balancesAsOperator(call: RouteCall): Promise<Reply<unknown>> {
  await requireAdmin(call.request.headers, call.env);
  const query = call.query();
  const isGiven = (name: string) => (query[name] ?? "").trim() !== "";
  if (LEVELS.some(isGiven)) {
    const field = isGiven("tenant") ? "tenant" : "tenant_id";
    const tenant = namedTenant(query[field], field);
    const reply = await tenantStub(call.env, tenant).balances(query as BalancesQuery);
    if (isNotFound(reply)) return succeed({ balances: [], has_more: false });
    call.asTenant(tenant);
    return reply;
  }
  if (!["tenant_id", "scope_prefix", "unit"].some(isGiven)) {
    const message = `request must give a level (${LEVELS.join(", ")}), or tenant_id, scope_prefix or unit`;
    return refuse("INVALID_REQUEST", message, { field: "request" });
  }
  const { tenant_id = "", scope_prefix = "", unit = "", limit = "", cursor = "" } = query;
  const page = {
    tenant_id,
    scope_prefix,
    unit,
    ...(limit !== "" && { limit }),
    ...(cursor !== "" && { cursor }),
  };
  const reply = await listAsOperator(
    { ...call, query: () => page },
    "ledgers",
    budgetListSchema,
    (stub, filters) => stub.listBudgets(filters),
  );
  if (!reply.ok) return reply;
  const { ledgers, ...rest } = reply.body;
  return succeed({ balances: ledgers, ...rest });
}

/** Releases in the tenant's place; the ledger writes down that it was an operator. */
async function releaseAsOperator(call: RouteCall): Promise<Reply<ReleaseBody>> {
  const { request, env, correlation } = call;
  await requireAdmin(request.headers, env);
  const body = (await readBody(request)) as ReleaseInput;
  const source = sourceOf(request.headers, correlation(), true);
  return openById(call).release(call.param("id"), body, undefined, source);
}

const releaseRoute = postRoute<ReleaseInput>("/v1/reservations/:id/release", (budget, body, caller, id) =>
  budget.release(id, body, caller),
);

export const runtimeRoutes: readonly Route[] = [
  postRoute<ReserveInput>("/v1/reservations", (budget, body, caller) => budget.reserve(body, caller)),
  postRoute<ReserveFitInput>("/v1/x-purser/reservations", (budget, body, caller) =>
    budget.reserveFit(body, caller),
  ),
  {
    method: "GET",
    path: "/v1/reservations",
    handle: async (call) => {
      if (isOperator(call.request.headers)) return listReservationsAsOperator(call);
      const { budget, caller } = await open(call);
      return budget.listReservations(call.query() as ReservationsQuery, caller);
    },
  },
  postRoute<DecideInput>("/v1/decide", (budget, body, caller) => budget.decide(body, caller)),
  postRoute<EventInput>("/v1/events", (budget, body, caller) => budget.event(body, caller)),
  {
    method: "GET",
    path: "/v1/reservations/:id",
    handle: async (call) => {
      if (isOperator(call.request.headers)) return getAsOperator(call);
      const { budget, caller } = await open(call);
      return budget.getReservation(call.param("id"), caller);
    },
  },
  postRoute<CommitInput>("/v1/reservations/:id/commit", (budget, body, caller, id) =>
    budget.commit(id, body, caller),
  ),
  {
    ...releaseRoute,
    handle: (call) =>
      isOperator(call.request.headers) ? releaseAsOperator(call) : releaseRoute.handle(call),
  },
  postRoute<ExtendInput>("/v1/reservations/:id/extend", (budget, body, caller, id) =>
    budget.extend(id, body, caller),
  ),
  {
    method: "GET",
    path: "/v1/auth/introspect",
    handle: async (call) => {
      if (isOperator(call.request.headers)) {
        await requireAdmin(call.request.headers, call.env);
        return { ok: true, status: 200, body: OPERATOR_INTROSPECTION };
      }
      const { budget, caller } = await open(call);
      return budget.introspect(caller);
    },
  },
  {
    method: "GET",
    path: "/v1/balances",
    handle: async (call) => {
      if (isOperator(call.request.headers)) return balancesAsOperator(call);
      const { budget, caller } = await open(call);
      return budget.balances(call.query() as BalancesQuery, caller);
    },
  },
];
