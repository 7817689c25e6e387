// The periods of budgets, which are Purser's own and so lie under /v1/x-purser/. Invariant: they are open to an operator,
// whose scope says which tenant is meant, and to a tenant's key with the permission. Who may call: app.ts, through
// admin-routes.ts.

import type { PeriodBody, PeriodInput, Reply } from "purser/ledger";
import { type Access, bodyOf, namedBudget, open, withBudgetNotFound } from "./admin-access.ts";
import type { Route, RouteCall } from "./app.ts";
import type { TenantStub } from "./tenant-stub.ts";

const PERIODS = "/v1/x-purser/budgets/periods";

function periodRoute(
  method: Route["method"],
  act: (
    stub: TenantStub,
    budget: Parameters<TenantStub["getPeriod"]>[0],
    access: Access,
    call: RouteCall,
  ) => Promise<Reply<PeriodBody>>,
): Route {
  return {
    method,
    path: PERIODS,
    handle: async (call) => {
      const access = await open(call);
      const { stub, budget } = namedBudget(call, access);
      return withBudgetNotFound(await act(stub, budget, access, call), budget);
    },
  };
}

export const periodRoutes: readonly Route[] = [
  periodRoute("GET", (stub, budget, { caller }) => stub.getPeriod(budget, caller)),
  periodRoute("PUT", async (stub, budget, access, call) => {
    const body = (await bodyOf(call, access, stub)) as PeriodInput;
    return stub.setPeriod(budget, body, access.caller, access.source);
  }),
  periodRoute("DELETE", (stub, budget, { caller, source }) => stub.removePeriod(budget, caller, source)),
];
