// What the routes of the governance plane share: who may come in, and which tenant they mean. Invariant: the operator's
// key opens everything, and then the request itself says which tenant it is for (a parameter, a scope, or the id of a
// key); a tenant's own key opens what the protocol grants it, of that tenant alone. Who may call: the admin routes.

import {
  type BudgetName,
  type Caller,
  type CallSource,
  isTenantId,
  LEDGER_LIMITS,
  type PageBody,
  pageBody,
  parseApiKeyId,
  parseScope,
  type Refusal,
  type Reply,
  readCursor,
  refuse,
  refuseCursor,
  shorten,
  succeed,
  validate,
  writeCursor,
} from "purser/ledger";
import { registryOf } from "../registry/registry-stub.ts";
import type { RouteCall } from "./app.ts";
import { isOperator, requireAdmin, requireTenant } from "./auth.ts";
import { readBody, readBodyFor } from "./body.ts";
import { sourceOf } from "./correlation.ts";
import { HttpRefusal } from "./errors.ts";
import { type TenantStub, tenantStub } from "./tenant-stub.ts";

/** A caller who was let in. */
export interface Access {
  /** The tenant of the key; an operator has none. */
  readonly tenant: string | undefined;
  readonly caller: Caller | undefined;
  readonly source: CallSource;
}

/** Lets an operator in. Throws a 401. */
export async function openAsOperator({ request, env, correlation }: RouteCall): Promise<Access> {
  await requireAdmin(request.headers, env);
  return { tenant: undefined, caller: undefined, source: sourceOf(request.headers, correlation(), true) };
}

/** Lets an operator or a tenant's key in. Throws a 401. */
export async function open(call: RouteCall): Promise<Access> {
  const { headers } = call.request;
  if (isOperator(headers) || headers.get("x-cycles-api-key") === null) return openAsOperator(call);
  const { tenant, caller } = await requireTenant(headers, call.env);
  call.asTenant(tenant);
  return { tenant, caller, source: sourceOf(headers, call.correlation(), false) };
}

/** The tenant that an operator's request names. Throws a 400. */
export function namedTenant(value: unknown, field = "tenant_id"): string {
  if (isTenantId(value)) return value;
  const message = `${field} must be 3 to 64 lower-case letters, digits or '-'`;
  throw new HttpRefusal(refuse("INVALID_REQUEST", message, { field }));
}

/** The budget that a query names, and the object of the tenant it belongs to. Throws a 400. */
export function namedBudget(
  call: RouteCall,
  access: Access,
): { readonly budget: BudgetName; readonly stub: TenantStub } {
  const { env } = call;
  const query = call.query();
  // The object judges both; here only the tenant in the scope counts, and a tenant's key brings its own.
  const budget = { scope: query.scope ?? "", unit: query.unit ?? "" } as BudgetName;
  if (access.tenant !== undefined) return { budget, stub: tenantStub(env, access.tenant) };
  const parsed = parseScope(budget.scope);
  if (parsed.ok) return { budget, stub: tenantStub(env, namedTenant(parsed.tenant, "scope")) };
  throw new HttpRefusal(refuse("INVALID_REQUEST", `scope: ${parsed.rule}`, { field: "scope" }));
}

/** A key's id leads to its tenant's object; one that is none wakes no object. */
export async function onKey<Body>(
  call: RouteCall,
  act: (stub: TenantStub, keyId: string) => Promise<Reply<Body>>,
): Promise<Reply<Body>> {
  const text = call.param("key_id");
  const parsed = parseApiKeyId(text);
  return parsed === undefined
    ? refuse("NOT_FOUND", `API key not found: ${shorten(text, 128)}`)
    : act(tenantStub(call.env, parsed.tenant), parsed.keyId);
}

export function memberOf(body: unknown, name: string): unknown {
  return typeof body === "object" && body !== null && Object.hasOwn(body, name)
    ? Reflect.get(body, name)
    : undefined;
}

/** The plane's own word for a tenant that does not exist: 400 where the request names it beside something else. */
export function withTenantNotFound<Body>(reply: Reply<Body>, status = 400): Reply<Body> {
  return isNotFound(reply) ? { ...refuse("TENANT_NOT_FOUND", reply.message), status } : reply;
}

/** A change that a body asks for: the object of the key's tenant, or of the one that an operator names. */
export async function openChange(call: RouteCall, named: (body: unknown) => unknown) {
  const access = await open(call);
  const { tenant, caller } = access;
  if (tenant !== undefined && caller !== undefined) {
    const stub = tenantStub(call.env, tenant);
    return { ...access, stub, body: await readBodyFor(stub, caller, call.request) };
  }
  const body = await readBody(call.request);
  return { ...access, stub: tenantStub(call.env, namedTenant(named(body))), body };
}

/** The JSON of a change, by whoever was let in. */
export function bodyOf({ request }: RouteCall, { caller }: Access, stub: TenantStub): Promise<unknown> {
  return caller === undefined ? readBody(request) : readBodyFor(stub, caller, request);
}

/** A budget of a tenant that does not exist is a budget that does not exist. */
export function withBudgetNotFound<Body>(reply: Reply<Body>, { scope, unit }: BudgetName): Reply<Body> {
  return isNotFound(reply) ? refuse("BUDGET_NOT_FOUND", `Budget not found: ${scope} ${unit}`) : reply;
}

export function isNotFound<Body>(reply: Reply<Body>): reply is Refusal {
  return !reply.ok && reply.error === "NOT_FOUND";
}

/** What every list's query holds beside its own filters. */
interface ListQuery {
  readonly limit: number;
  readonly cursor?: string | undefined;
}

/**
 * A list of an operator: of the tenant it names, or over all tenants in the order of their ids. One call asks a bounded
 * number of tenants, so a page may be short and yet have a next one.
 */
export async function listAsOperator<Name extends string, Row>(
  call: RouteCall,
  name: Name,
  schema: Parameters<typeof validate<ListQuery>>[0],
  list: (stub: TenantStub, query: Readonly<Record<string, string>>) => Promise<Reply<PageBody<Name, Row>>>,
): Promise<Reply<PageBody<Name, Row>>> {
  const { env } = call;
  const query = call.query();
  if (query.tenant_id !== undefined && query.tenant_id !== "") {
    const reply = await list(tenantStub(env, namedTenant(query.tenant_id)), query);
    return isNotFound(reply) ? succeed(pageBody<Name, Row>(name, [], undefined)) : reply;
  }
  const checked = validate(schema, query);
  if (!checked.ok) return checked;
  const { limit, cursor: outer, ...filters } = checked.value;
  const position = readCursor(outer, filters);
  if (position === null) return refuseCursor();
  const [start = "", within = ""] = position ?? [];

  const rows: Row[] = [];
  const pageUpTo = (tenant?: string, cursor = "") =>
    succeed(pageBody(name, rows, tenant === undefined ? undefined : writeCursor([tenant, cursor], filters)));
  const tenants = await registryOf(env).idsFrom(start, LEDGER_LIMITS.tenantsPerCall + 1);
  for (const [index, tenant] of tenants.entries()) {
    const rowsLeft = limit - rows.length;
    if (rowsLeft === 0 || index === LEDGER_LIMITS.tenantsPerCall) return pageUpTo(tenant);
    const cursor = tenant === start ? within : "";
    const reply = await list(tenantStub(env, tenant), { ...query, limit: String(rowsLeft), cursor });
    // Known to the registry and not there: an object that was deleted from outside. It has no rows.
    if (isNotFound(reply)) continue;
    if (!reply.ok) return reply;
    rows.push(...reply.body[name]);
    if (reply.body.next_cursor !== undefined) return pageUpTo(tenant, reply.body.next_cursor);
  }
  return pageUpTo();
}
