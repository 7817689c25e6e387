// The governance plane's budgets. Making, showing and funding them is open to a tenant's key too; changing and freezing
// is the operators' alone. Who may call: app.ts, through admin-routes.ts.

import type { BudgetBody, BudgetInput, BudgetName, CallSource, FundInput, Reply } from "purser/ledger";
import { budgetListSchema } from "purser/ledger";
import {
  listAsOperator,
  memberOf,
  namedBudget,
  open,
  openAsOperator,
  openChange,
  withBudgetNotFound,
  withTenantNotFound,
} from "./admin-access.ts";
import type { Route } from "./app.ts";
import { readBody, readOptionalBody } from "./body.ts";
import { type TenantStub, tenantStub } from "./tenant-stub.ts";

/** An operator's change of one budget, named by the query. */
function changeRoute(
  method: Route["method"],
  path: string,
  read: (request: Request) => Promise<unknown>,
  act: (
    stub: TenantStub,
    budget: BudgetName,
    body: unknown,
    source: CallSource,
  ) => Promise<Reply<BudgetBody>>,
): Route {
  return {
    method,
    path,
    handle: async (call) => {
      const access = await openAsOperator(call);
      const body = await read(call.request);
      const { stub, budget } = namedBudget(call, access);
      return withBudgetNotFound(await act(stub, budget, body, access.source), budget);
    },
  };
}

export const budgetRoutes: readonly Route[] = [
  {
    method: "POST",
    path: "/v1/admin/budgets",
    handle: async (call) => {
      const { stub, body, caller, source } = await openChange(call, (it) => memberOf(it, "tenant_id"));
      return withTenantNotFound(await stub.createBudget(body as BudgetInput, caller, source));
    },
  },
  {
    method: "GET",
    path: "/v1/admin/budgets",
    handle: async (call) => {
      const { tenant, caller } = await open(call);
      return tenant === undefined
        ? listAsOperator(call, "ledgers", budgetListSchema, (stub, query) => stub.listBudgets(query))
        : tenantStub(call.env, tenant).listBudgets(call.query(), caller);
    },
  },
  {
    method: "GET",
    path: "/v1/admin/budgets/lookup",
    handle: async (call) => {
      const access = await open(call);
      const { stub, budget } = namedBudget(call, access);
      return withBudgetNotFound(await stub.lookupBudget(budget, access.caller), budget);
    },
  },
  changeRoute("PATCH", "/v1/admin/budgets", readBody, (stub, budget, body, source) =>
    stub.updateBudget(budget, body, source),
  ),
  changeRoute("POST", "/v1/admin/budgets/freeze", readOptionalBody, (stub, budget, body, source) =>
    stub.freezeBudget(budget, body, source),
  ),
  changeRoute("POST", "/v1/admin/budgets/unfreeze", readOptionalBody, (stub, budget, body, source) =>
    stub.unfreezeBudget(budget, body, source),
  ),
  {
    method: "POST",
    path: "/v1/admin/budgets/fund",
    handle: async (call) => {
      const query = call.query();
      const { stub, body, caller, source } = await openChange(call, () => query.tenant_id);
      const budget = { scope: query.scope ?? "", unit: query.unit ?? "" } as BudgetName;
      return withTenantNotFound(await stub.fund(budget, body as FundInput, caller, source));
    },
  },
];
