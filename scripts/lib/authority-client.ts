// The few requests that `start` makes of the authority, over HTTP and in the wire shapes of the Cycles protocol, as any
// client would. Counts its requests. A refusal for want of budget is a value; every other refusal ends the command.
import { randomUUID } from "node:crypto";
import { errorCode } from "./errors.ts";
import { UserError } from "./user-error.ts";

export interface Balance {
  readonly allocated: number;
  readonly spent: number;
  readonly reserved: number;
  readonly remaining: number;
  readonly debt: number;
}

export interface BudgetName {
  readonly tenant: string;
  readonly scope: string;
  readonly unit: string;
}

/** What an operator does: needs the admin key. */
export interface AdminClient {
  /** Makes the tenant unless it exists. */
  ensureTenant(tenant: string): Promise<void>;
  /** Makes the budget; false if it exists, and then it is left as it is. Without an overdraft limit it has none. */
  createBudget(budget: BudgetName, allocated: number, overdraftLimit?: number): Promise<boolean>;
  /** Sets what a budget may owe. */
  setOverdraftLimit(budget: BudgetName, overdraftLimit: number): Promise<void>;
  /** Sets what is allocated, keeping what was spent. */
  resetBudget(budget: BudgetName, allocated: number): Promise<void>;
  /** How the tenant's leases end: how long after their time the authority reclaims what nobody gave back. */
  setLeaseGrace(tenant: string, graceMs: number): Promise<void>;
  /** A new API key for the tenant. Shown this once. */
  createKey(tenant: string): Promise<string>;
}

/** What a tenant's process does: needs the tenant's API key. */
export interface TenantClient {
  /** Requests made so far, by operation. */
  readonly requests: ReadonlyMap<string, number>;
  balance(): Promise<Balance>;
  /** A reservation's id, or null when the budget has not that much left. */
  reserve(tokens: number, ttlMs: number): Promise<string | null>;
  /**
   * Settles a reservation with what was really spent and says what was charged. What was not spent is returned to the
   * budget; what was spent beyond the reservation is taken from it, and beyond that from its overdraft.
   */
  commit(reservationId: string, tokens: number): Promise<number>;
}

const TENANT_PERMISSIONS = [
  "reservations:create",
  "reservations:commit",
  "reservations:release",
  "reservations:list",
  "balances:read",
];

type Json = Readonly<Record<string, unknown>>;
interface Answer {
  readonly status: number;
  readonly body: Json;
}

export function adminClient(url: string, adminKey: string): AdminClient {
  const post = (path: string, body: Json): Promise<Answer> =>
    send(url, "POST", path, { "X-Admin-API-Key": adminKey }, body);
  return {
    ensureTenant: async (tenant) => {
      expect(
        await post("/v1/admin/tenants", { tenant_id: tenant, name: "Demo of npm start" }),
        "create the tenant",
      );
    },
    createBudget: async ({ tenant, scope, unit }, allocated, overdraftLimit = 0) => {
      const body = {
        tenant_id: tenant,
        scope,
        unit,
        allocated: { unit, amount: allocated },
        overdraft_limit: { unit, amount: overdraftLimit },
      };
      const answer = await post("/v1/admin/budgets", body);
      if (answer.status === 409 && answer.body.error === "DUPLICATE_RESOURCE") return false;
      expect(answer, "create the budget");
      return true;
    },
    setOverdraftLimit: async ({ scope, unit }, overdraftLimit) => {
      const path = `/v1/admin/budgets?${new URLSearchParams({ scope, unit })}`;
      const body = { overdraft_limit: { unit, amount: overdraftLimit } };
      expect(
        await send(url, "PATCH", path, { "X-Admin-API-Key": adminKey }, body),
        "set the budget's overdraft limit",
      );
    },
    resetBudget: async ({ tenant, scope, unit }, allocated) => {
      const query = new URLSearchParams({ tenant_id: tenant, scope, unit });
      const body = { operation: "RESET", amount: { unit, amount: allocated }, idempotency_key: randomUUID() };
      expect(await post(`/v1/admin/budgets/fund?${query}`, body), "fund the budget");
    },
    setLeaseGrace: async (tenant, graceMs) => {
      const path = `/v1/x-purser/leases/settings?${new URLSearchParams({ tenant_id: tenant })}`;
      expect(
        await send(url, "PUT", path, { "X-Admin-API-Key": adminKey }, { grace_ms: graceMs }),
        "set the leases' grace",
      );
    },
    createKey: async (tenant) => {
      const body = { tenant_id: tenant, name: "npm start", permissions: TENANT_PERMISSIONS };
      const { key_secret: secret } = expect(await post("/v1/admin/api-keys", body), "create an API key");
      if (typeof secret === "string") return secret;
      throw new UserError("the authority created an API key without telling its secret.");
    },
  };
}

export function tenantClient(url: string, apiKey: string, { tenant, scope, unit }: BudgetName): TenantClient {
  const headers = { "X-Cycles-API-Key": apiKey };
  const requests = new Map<string, number>();
  const request = (operation: string, method: "GET" | "POST", path: string, body?: Json): Promise<Answer> => {
    requests.set(operation, (requests.get(operation) ?? 0) + 1);
    return send(url, method, path, headers, body);
  };
  return {
    requests,
    balance: async () => {
      const query = new URLSearchParams({ tenant });
      const { balances } = expect(
        await request("balance", "GET", `/v1/balances?${query}`),
        "read the balance",
      );
      const rows: readonly unknown[] = Array.isArray(balances) ? balances : [];
      const row = rows.find((it) => isJson(it) && it.scope_path === scope && unitOf(it.remaining) === unit);
      if (!isJson(row)) throw new UserError(`the authority shows no balance for ${scope} in ${unit}.`);
      return {
        allocated: amountOf(row.allocated, "allocated"),
        spent: amountOf(row.spent, "spent"),
        reserved: amountOf(row.reserved, "reserved"),
        remaining: amountOf(row.remaining, "remaining"),
        debt: row.debt === undefined ? 0 : amountOf(row.debt, "debt"),
      };
    },
    reserve: async (tokens, ttlMs) => {
      const answer = await request("reserve", "POST", "/v1/reservations", {
        idempotency_key: randomUUID(),
        subject: { tenant },
        action: { kind: "budget.slice", name: "npm-start" },
        estimate: { unit, amount: tokens },
        ttl_ms: ttlMs,
        // What was spent was spent: a refused commit would only lose the record of it.
        overage_policy: "ALLOW_WITH_OVERDRAFT",
      });
      if (answer.status === 409 && answer.body.error === "BUDGET_EXCEEDED") return null;
      const { reservation_id: id } = expect(answer, "reserve a slice");
      if (typeof id === "string") return id;
      throw new UserError("the authority granted a slice without naming its reservation.");
    },
    commit: async (reservationId, tokens) => {
      // The same key for the same settlement: a repeat can never be charged twice.
      const body = { idempotency_key: `commit-${reservationId}`, actual: { unit, amount: tokens } };
      const path = `/v1/reservations/${reservationId}/commit`;
      const { charged } = expect(await request("commit", "POST", path, body), "commit a slice");
      if (amountOf(charged, "charged") === tokens) return tokens;
      throw new UserError(
        `the authority charged ${amountOf(charged, "charged")} tokens for a slice that used ${tokens}.`,
      );
    },
  };
}

async function send(
  url: string,
  method: "GET" | "POST" | "PATCH" | "PUT",
  path: string,
  headers: Readonly<Record<string, string>>,
  body?: Json,
): Promise<Answer> {
  try {
    const response = await fetch(url + path, {
      method,
      headers: { ...headers, ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer: unknown = await response.json();
    return { status: response.status, body: isJson(answer) ? answer : {} };
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
    throw new UserError(`no answer from the authority to ${method} ${path} (${errorCode(cause)}).`);
  }
}

/** The body of a successful answer. */
function expect(answer: Answer, what: string): Json {
  if (answer.status >= 200 && answer.status < 300) return answer.body;
  const { error, message } = answer.body;
  throw new UserError(
    `the authority refused to ${what}: ${answer.status} ${String(error)}, ${String(message)}`,
  );
}

function isJson(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function unitOf(amount: unknown): unknown {
  return isJson(amount) ? amount.unit : undefined;
}

/** Amounts above 2^53−1 are legal on the wire but would be rounded here, and a check to the token must not be. */
function amountOf(amount: unknown, field: string): number {
  const value = isJson(amount) ? amount.amount : undefined;
  if (typeof value === "number" && Number.isSafeInteger(value)) return value;
  throw new UserError(
    `the authority's "${field}" is no whole number within 2^53−1: ${JSON.stringify(amount)}.`,
  );
}
