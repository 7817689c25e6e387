// The governance plane's API keys: recorded, listed, changed, revoked. Invariant: a key's text never comes here, and its
// digest never leaves; a revoked or expired key never works again. Who may call: the Ledger, for the front, which has
// checked the operator's key.

import { apiKeyListSchema, apiKeyPatchSchema, apiKeySchema, revokeSchema } from "./admin-schema.ts";
import { changesOf, tenantNotFound } from "./admin-tenants.ts";
import {
  type ApiKeyBody,
  type ApiKeyDetailBody,
  type ApiKeyListBody,
  apiKeyBody,
  apiKeyDetailBody,
  pageBody,
  statusOfKey,
} from "./admin-wire.ts";
import { apiKeyIdOf, type MintedKey } from "./api-keys.ts";
import { contains, recordAudit } from "./audit.ts";
import { type Refusal, type Reply, refuse, succeed } from "./codes.ts";
import type { LedgerCore, Turn } from "./core.ts";
import { readCursor, refuseCursor, writeCursor } from "./cursor.ts";
import { closedTenant } from "./evaluation.ts";
import { TENANT_DEFAULTS } from "./limits.ts";
import { DEFAULT_PERMISSIONS } from "./permissions.ts";
import { takeRows } from "./reads.ts";
import { validate } from "./schema.ts";
import type { ApiKeyRecord } from "./store.ts";

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
    if (tenant.status === "CLOSED") return closedTenant(core);
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
      mayIssueTokens: false,
    };
    core.store.insertApiKey(key);
    recordAudit(core, turn, nowMs, {
      operation: "createApiKey",
      resourceType: "api_key",
      resourceId: apiKeyIdOf(core.tenant, key.keyId),
      status: 201,
      metadata: {
        name: key.name,
        permissions: [...key.permissions],
        ...(key.scopeFilter !== undefined && { scope_filter: [...key.scopeFilter] }),
      },
    });
    return succeed(apiKeyBody(core.tenant, key), 201);
  });
}

export function listApiKeys(core: LedgerCore, query: unknown, turn: Turn): Reply<ApiKeyListBody> {
  return core.run(turn, (nowMs) => {
    const checked = validate(apiKeyListSchema, query);
    if (!checked.ok) return checked;
    const { limit, cursor, ...filters } = checked.value;
    const position = readCursor(cursor, filters);
    if (position === null) return refuseCursor();
    const isWanted = (key: ApiKeyRecord) =>
      (filters.status ?? statusOfKey(key, nowMs)) === statusOfKey(key, nowMs) &&
      contains([apiKeyIdOf(core.tenant, key.keyId), key.name], filters.search);
    const rows = takeRows(core.store.scanApiKeys(position?.[0]), isWanted, limit + 1);
    const shown = rows.slice(0, limit);
    const last = rows.length > limit ? shown[shown.length - 1] : undefined;
    return succeed(
      pageBody(
        "keys",
        shown.map((key) => apiKeyDetailBody(core.tenant, key, nowMs)),
        last && writeCursor([last.keyId], filters),
      ),
    );
  });
}

/** Changes what is given; a key's life and tenant are for ever. Takes effect with the key's next call. */
export function updateApiKey(
  core: LedgerCore,
  keyId: string,
  input: unknown,
  turn: Turn,
): Reply<ApiKeyDetailBody> {
  return core.run(turn, (nowMs) => {
    const checked = validate(apiKeyPatchSchema, input);
    if (!checked.ok) return checked;
    const patch = checked.value;
    const found = findActive(core, keyId, nowMs);
    if (!found.ok) return found;
    const key: ApiKeyRecord = {
      ...found.key,
      name: patch.name ?? found.key.name,
      description: patch.description ?? found.key.description,
      permissions: patch.permissions ?? found.key.permissions,
      scopeFilter: patch.scope_filter ?? found.key.scopeFilter,
      metadata: patch.metadata ?? found.key.metadata,
    };
    core.store.updateApiKey(key);
    recordAudit(core, turn, nowMs, {
      operation: "updateApiKey",
      resourceType: "api_key",
      resourceId: apiKeyIdOf(core.tenant, keyId),
      metadata: { changes: changesOf(patch) },
    });
    return succeed(apiKeyDetailBody(core.tenant, key, nowMs));
  });
}

/** Ends a key at once and for ever. What it reserved can be settled with any other key, or released by an operator. */
export function revokeApiKey(
  core: LedgerCore,
  keyId: string,
  query: unknown,
  turn: Turn,
): Reply<ApiKeyDetailBody> {
  return core.run(turn, (nowMs) => {
    const checked = validate(revokeSchema, query);
    if (!checked.ok) return checked;
    const { reason } = checked.value;
    const found = findKey(core, keyId);
    if (!found.ok) return found;
    if (found.key.revokedAtMs !== undefined) return keyRevoked(core, keyId);
    const key: ApiKeyRecord = { ...found.key, revokedAtMs: nowMs, revokedReason: reason };
    core.store.updateApiKey(key);
    recordAudit(core, turn, nowMs, {
      operation: "revokeApiKey",
      resourceType: "api_key",
      resourceId: apiKeyIdOf(core.tenant, keyId),
      metadata: { name: key.name, ...(reason !== undefined && { reason }) },
    });
    return succeed(apiKeyDetailBody(core.tenant, key, nowMs));
  });
}

type Found = { readonly ok: true; readonly key: ApiKeyRecord } | Refusal;

function findKey(core: LedgerCore, keyId: string): Found {
  const tenant = core.store.readTenant();
  if (tenant === undefined) return tenantNotFound(core);
  if (tenant.status === "CLOSED") return closedTenant(core);
  const key = core.store.readApiKey(keyId);
  return key === undefined
    ? refuse("NOT_FOUND", `API key not found: ${apiKeyIdOf(core.tenant, keyId)}`)
    : { ok: true, key };
}

function findActive(core: LedgerCore, keyId: string, nowMs: number): Found {
  const found = findKey(core, keyId);
  if (!found.ok) return found;
  const status = statusOfKey(found.key, nowMs);
  if (status === "REVOKED") return keyRevoked(core, keyId);
  if (status === "EXPIRED")
    return refuse("KEY_EXPIRED", `API key expired: ${apiKeyIdOf(core.tenant, keyId)}`);
  return found;
}

function keyRevoked(core: LedgerCore, keyId: string): Refusal {
  return refuse("KEY_REVOKED", `API key already revoked: ${apiKeyIdOf(core.tenant, keyId)}`);
}
