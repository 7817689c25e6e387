// The runtime plane: each route checks the key's MAC, reads the body, and asks the tenant's object. The object checks
// the rest (the key's row, the shape of the request, permissions). Who may call: app.ts.

import type {
  BalancesQuery,
  CommitInput,
  ExtendInput,
  ReleaseInput,
  Reply,
  ReserveInput,
} from "purser/ledger";
import type { Route, RouteCall } from "./app.ts";
import { requireTenant } from "./auth.ts";
import { readBody } from "./body.ts";
import { type TenantStub, tenantStub } from "./tenant-stub.ts";

/** The object of the tenant that the key belongs to, and the caller to hand it. */
function open({ request, env, asTenant }: RouteCall) {
  const { tenant, caller } = requireTenant(request.headers, env);
  asTenant(tenant);
  return { budget: tenantStub(env, tenant), caller };
}

type OfReservation<Input> = (
  budget: TenantStub,
  id: string,
  body: Input,
  caller: ReturnType<typeof open>["caller"],
) => Promise<Reply<unknown>>;

/** POST /v1/reservations/{reservation_id}/<verb> */
function reservationRoute<Input>(verb: string, act: OfReservation<Input>): Route {
  return {
    method: "POST",
    path: `/v1/reservations/:id/${verb}`,
    handle: async (call) => {
      const { budget, caller } = open(call);
      // The object validates the shape; the type only says what it should be.
      return act(budget, call.param("id"), (await readBody(call.request)) as Input, caller);
    },
  };
}

export const runtimeRoutes: readonly Route[] = [
  {
    method: "POST",
    path: "/v1/reservations",
    handle: async (call) => {
      const { budget, caller } = open(call);
      return budget.reserve((await readBody(call.request)) as ReserveInput, caller);
    },
  },
  {
    method: "GET",
    path: "/v1/reservations/:id",
    handle: async (call) => {
      const { budget, caller } = open(call);
      return budget.getReservation(call.param("id"), caller);
    },
  },
  reservationRoute<CommitInput>("commit", (budget, id, body, caller) => budget.commit(id, body, caller)),
  reservationRoute<ReleaseInput>("release", (budget, id, body, caller) => budget.release(id, body, caller)),
  reservationRoute<ExtendInput>("extend", (budget, id, body, caller) => budget.extend(id, body, caller)),
  {
    method: "GET",
    path: "/v1/balances",
    handle: async (call) => {
      const { budget, caller } = open(call);
      return budget.balances(call.query as BalancesQuery, caller);
    },
  },
];
