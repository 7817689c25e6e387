// The governance plane: tenants, budgets, funding, the records of API keys. Invariant: a budget belongs to the ledger's
// own tenant and is never made twice; funding is idempotent per budget. Who may call: the Ledger; the HTTP front has
// checked the operator's key, or passes a tenant key's caller where the protocol lets tenants help themselves.

import type { MintedKey } from "./api-keys.ts";
import { type Reply, refuse, succeed } from "./codes.ts";
import { type Admitted, accountsOn, dayOf, type LedgerCore, refusePath, type Turn } from "./core.ts";
import { fingerprint } from "./digest.ts";
import { canonicalJson, stringifyJson } from "./json.ts";
import { RETENTION, TENANT_DEFAULTS } from "./limits.ts";
import { DEFAULT_PERMISSIONS } from "./permissions.ts";
import {
  type Amount,
  apiKeySchema,
  budgetSchema,
  fundQuerySchema,
  fundSchema,
  type TenantRequest,
  tenantSchema,
  type Validated,
  validate,
} from "./schema.ts";
import { parseScope, passesScopeFilter } from "./scope.ts";
import type { AccountRecord, ApiKeyRecord } from "./store.ts";
import { shorten } from "./text.ts";
import {
  type ApiKeyBody,
  apiKeyBody,
  type BudgetBody,
  budgetBody,
  type FundBody,
  isoTime,
  reviveReply,
  type TenantBody,
  tenantBody,
} from "./wire.ts";

/** Judges a request to make a tenant without a ledger, so that a bad one leaves no storage behind. */
export function checkTenantRequest(input: unknown): Validated<TenantRequest> {
  const checked = validate(tenantSchema, input);
  if (!checked.ok) return checked;
  const { default_reservation_ttl_ms: ttlMs } = checked.value;
  const ttlMsMax = checked.value.max_reservation_ttl_ms ?? TENANT_DEFAULTS.reservationTtlMsMax;
  if (ttlMs === undefined || ttlMs <= ttlMsMax) return checked;
  return refuse(
    "INVALID_REQUEST",
    `default_reservation_ttl_ms must be at most ${ttlMsMax}, the tenant's maximum, got ${ttlMs}`,
    { field: "default_reservation_ttl_ms" },
  );
}

/** Makes the tenant, or answers with the one that is there: safe to retry. */
export function createTenant(core: LedgerCore, input: unknown, turn: Turn): Reply<TenantBody> {
  return core.run(turn, (nowMs) => {
    const checked = checkTenantRequest(input);
    if (!checked.ok) return checked;
    const request = checked.value;
    if (request.tenant_id !== core.tenant) {
      return refuse("INVALID_REQUEST", `tenant_id must be ${core.tenant}, got ${request.tenant_id}`);
    }
    const existing = core.store.readTenant();
    if (existing !== undefined) return succeed(tenantBody(existing));
    const maxReservationTtlMs = request.max_reservation_ttl_ms ?? TENANT_DEFAULTS.reservationTtlMsMax;
    const tenant = {
      tenantId: request.tenant_id,
      name: request.name,
      status: "ACTIVE" as const,
      parentTenantId: request.parent_tenant_id,
      metadata: request.metadata,
      defaultCommitOveragePolicy: request.default_commit_overage_policy,
      defaultReservationTtlMs:
        request.default_reservation_ttl_ms ?? Math.min(TENANT_DEFAULTS.reservationTtlMs, maxReservationTtlMs),
      maxReservationTtlMs,
      maxReservationExtensions:
        request.max_reservation_extensions ?? TENANT_DEFAULTS.reservationExtensionsMax,
      reservationExpiryPolicy: request.reservation_expiry_policy ?? ("AUTO_RELEASE" as const),
      createdAtMs: nowMs,
      updatedAtMs: nowMs,
    };
    core.store.writeTenant(tenant);
    return succeed(tenantBody(tenant), 201);
  });
}

export function createBudget(core: LedgerCore, input: unknown, turn: Turn): Reply<BudgetBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, { schema: budgetSchema, input, permission: "budgets:write" });
    if (!admitted.ok) return admitted;
    const { request, tenant } = admitted;
    if (turn.caller !== undefined && request.tenant_id !== undefined) {
      return refuse("INVALID_REQUEST", "tenant_id must not be given with a tenant's key", {
        field: "tenant_id",
      });
    }
    if (request.tenant_id !== undefined && request.tenant_id !== core.tenant) {
      return refuse("INVALID_REQUEST", `tenant_id must be ${core.tenant}, got ${request.tenant_id}`);
    }
    const place = ownScope(core, request.scope, admitted);
    if (!place.ok) return place;
    const { scope } = place;
    const { unit } = request;
    for (const [field, amount] of [
      ["allocated", request.allocated],
      ["overdraft_limit", request.overdraft_limit],
    ] as const) {
      if (amount !== undefined && amount.unit !== unit) return wrongUnit(field, amount, unit);
    }
    if (tenant.status === "CLOSED") return refuse("TENANT_CLOSED", `Tenant closed: ${core.tenant}`);
    if (tenant.status !== "ACTIVE") return refuse("INVALID_REQUEST", `Tenant not active: ${core.tenant}`);
    if (core.store.readAccounts([scope], unit).length > 0) {
      return refuse("DUPLICATE_RESOURCE", `Budget already exists: ${scope} ${unit}`);
    }
    if (core.store.countAccounts() >= core.limits.budgetsMax) {
      return refuse("LIMIT_EXCEEDED", `At most ${core.limits.budgetsMax} budgets per tenant`);
    }
    const account: AccountRecord = {
      scope,
      unit,
      allocated: request.allocated.amount,
      spent: 0n,
      reserved: 0n,
      debt: 0n,
      overdraftLimit: request.overdraft_limit?.amount ?? 0n,
      overLimitMark: false,
      status: "ACTIVE",
      commitOveragePolicy: request.commit_overage_policy,
      settings: {
        rolloverPolicy: request.rollover_policy,
        periodStartMs: request.period_start,
        periodEndMs: request.period_end,
        metadata: request.metadata,
      },
      createdAtMs: nowMs,
      updatedAtMs: nowMs,
    };
    core.store.insertAccount(account);
    return succeed(budgetBody(core.tenant, account, core.arithmetic), 201);
  });
}

/** One funding operation on one budget; a key used before answers with the first result. */
export function fund(core: LedgerCore, query: unknown, input: unknown, turn: Turn): Reply<FundBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, { schema: fundSchema, input, permission: "budgets:write" });
    if (!admitted.ok) return admitted;
    const { request } = admitted;
    if (request.spent !== undefined && request.operation !== "RESET_SPENT") {
      return refuse(
        "INVALID_REQUEST",
        `spent must only be given with RESET_SPENT, got ${request.operation}`,
        {
          field: "spent",
        },
      );
    }
    const target = validate(fundQuerySchema, query);
    if (!target.ok) return target;
    const { unit } = target.value;
    const place = ownScope(core, target.value.scope, admitted);
    if (!place.ok) return place;
    const { scope } = place;
    for (const [field, amount] of [
      ["amount", request.amount],
      ["spent", request.spent],
    ] as const) {
      if (amount !== undefined && amount.unit !== unit) return wrongUnit(field, amount, unit);
    }

    const namespace = `fund:${scope}:${unit}`;
    const print = fingerprint(canonicalJson(request));
    const today = dayOf(nowMs);
    const days = { fromDay: today, toDay: today + RETENTION.fundDays };
    const earlier = core.store.readAnswer({ namespace, key: request.idempotency_key, ...days });
    if (earlier !== undefined) {
      return earlier.fingerprint === print
        ? succeed(reviveReply<FundBody>(earlier.reply))
        : refuse("IDEMPOTENCY_MISMATCH", "The idempotency key was used with a different request");
    }
    if (admitted.tenant.status === "CLOSED") return refuse("TENANT_CLOSED", `Tenant closed: ${core.tenant}`);

    core.settleDue(nowMs, accountsOn(unit, [scope]));
    const [before] = core.store.readAccounts([scope], unit);
    if (before === undefined) return refuse("BUDGET_NOT_FOUND", `Budget not found: ${scope} ${unit}`);
    const { operation } = request;
    if (before.status !== "ACTIVE") {
      const reason = before.status === "FROZEN" ? "frozen" : "closed";
      return refusePath(core, [before], { ok: false, reason, index: 0 }, request.amount.amount);
    }
    const result = core.arithmetic.fund(before, operation, request.amount.amount, request.spent?.amount);
    if (!result.ok) return refusePath(core, [before], result, request.amount.amount);
    const [after] = core.writeFigures([before], result.accounts, nowMs);
    if (after === undefined) throw new Error("ledger: funding wrote no account");
    const body = fundBody(core, operation, before, after);
    const answer = { key: request.idempotency_key, fingerprint: print, reply: stringifyJson(body) };
    core.store.insertAnswer(namespace, days.toDay, answer);
    return succeed(body);
  });
}

/** Records a key that the front has minted; its text never comes here. */
export function createApiKey(
  core: LedgerCore,
  input: unknown,
  minted: Pick<MintedKey, "keyId" | "digest" | "prefix">,
  turn: Turn,
): Reply<ApiKeyBody> {
  return core.run(turn, (nowMs) => {
    const checked = validate(apiKeySchema, input);
    if (!checked.ok) return checked;
    const request = checked.value;
    const tenant = core.store.readTenant();
    if (tenant === undefined || request.tenant_id !== core.tenant) {
      return refuse("TENANT_NOT_FOUND", `Tenant not found: ${request.tenant_id}`);
    }
    if (tenant.status === "CLOSED") return refuse("TENANT_CLOSED", `Tenant closed: ${core.tenant}`);
    if (request.expires_at !== undefined && request.expires_at <= nowMs) {
      return refuse("INVALID_REQUEST", "expires_at must be in the future", { field: "expires_at" });
    }
    if (core.store.countApiKeys() >= core.limits.apiKeysMax) {
      return refuse("LIMIT_EXCEEDED", `At most ${core.limits.apiKeysMax} API keys per tenant`);
    }
    const key: ApiKeyRecord = {
      keyId: minted.keyId,
      digest: minted.digest,
      prefix: minted.prefix,
      name: request.name,
      description: request.description,
      permissions: request.permissions ?? DEFAULT_PERMISSIONS,
      scopeFilter: request.scope_filter,
      metadata: request.metadata,
      createdAtMs: nowMs,
      expiresAtMs: request.expires_at ?? nowMs + TENANT_DEFAULTS.apiKeyLifeMs,
      remainingTtl: true,
    };
    core.store.insertApiKey(key);
    return succeed(apiKeyBody(core.tenant, key), 201);
  });
}

/** A scope of this tenant that the caller's filter includes. */
function ownScope(core: LedgerCore, text: string, admitted: Admitted<unknown>) {
  const parsed = parseScope(text);
  if (!parsed.ok) {
    return refuse("INVALID_REQUEST", `scope: ${parsed.rule}, got ${shorten(JSON.stringify(text), 64)}`, {
      field: "scope",
    });
  }
  if (parsed.tenant !== core.tenant) {
    return refuse("FORBIDDEN", `scope must belong to tenant ${core.tenant}, got ${parsed.scope}`);
  }
  return passesScopeFilter(parsed.scope, admitted.principal.scopeFilter)
    ? parsed
    : refuse("FORBIDDEN", `The API key's scope filter does not include ${parsed.scope}`);
}

function wrongUnit(field: string, amount: Amount, unit: string) {
  return refuse("UNIT_MISMATCH", `${field}.unit must be ${unit}, the budget's unit, got ${amount.unit}`, {
    requested_unit: amount.unit,
    expected_units: [unit],
  });
}

function fundBody(
  core: LedgerCore,
  operation: string,
  before: AccountRecord,
  after: AccountRecord,
): FundBody {
  const amount = (value: bigint): Amount => ({ unit: before.unit, amount: value });
  return {
    operation,
    previous_allocated: amount(before.allocated),
    new_allocated: amount(after.allocated),
    previous_remaining: amount(core.arithmetic.remaining(before)),
    new_remaining: amount(core.arithmetic.remaining(after)),
    previous_debt: amount(before.debt),
    new_debt: amount(after.debt),
    previous_spent: amount(before.spent),
    new_spent: amount(after.spent),
    timestamp: isoTime(after.updatedAtMs),
  };
}
