// What Purser adds to an API key beyond the protocol: whether replies say `remaining_ttl_ms`, the origins it is bound to,
// and whether it may issue tokens. Invariant: what a request leaves out stays as it is. Who may call: the Ledger, for operators.

import { changesOf } from "./admin-tenants.ts";
import { apiKeyIdOf } from "./api-keys.ts";
import { recordAudit } from "./audit.ts";
import { type Refusal, type Reply, refuse, succeed } from "./codes.ts";
import type { LedgerCore, Turn } from "./core.ts";
import { apiKeySettingsSchema, validate } from "./schema.ts";
import type { ApiKeyRecord } from "./store.ts";
import type { ApiKeySettingsBody } from "./wire.ts";

export function readApiKeySettings(core: LedgerCore, keyId: string, turn: Turn): Reply<ApiKeySettingsBody> {
  return core.run(turn, () => {
    const found = find(core, keyId);
    return found.ok ? succeed(bodyOf(core, found.key)) : found;
  });
}

export function changeApiKeySettings(
  core: LedgerCore,
  keyId: string,
  input: unknown,
  turn: Turn,
): Reply<ApiKeySettingsBody> {
  return core.run(turn, (nowMs) => {
    const checked = validate(apiKeySettingsSchema, input);
    if (!checked.ok) return checked;
    const found = find(core, keyId);
    if (!found.ok) return found;
    const {
      remaining_ttl_ms = found.key.remainingTtl,
      allowed_origins = found.key.allowedOrigins,
      may_issue_tokens = found.key.mayIssueTokens,
    } = checked.value;
    const changed: ApiKeyRecord = {
      ...found.key,
      remainingTtl: remaining_ttl_ms,
      mayIssueTokens: may_issue_tokens,
      allowedOrigins: allowed_origins?.length === 0 ? undefined : allowed_origins,
    };
    core.store.updateApiKey(changed);
    recordAudit(core, turn, nowMs, {
      operation: "updateApiKeySettings",
      resourceType: "api_key",
      resourceId: apiKeyIdOf(core.tenant, keyId),
      metadata: { changes: changesOf(checked.value) },
    });
    return succeed(bodyOf(core, changed));
  });
}

function find(core: LedgerCore, keyId: string): { readonly ok: true; readonly key: ApiKeyRecord } | Refusal {
  const key = core.store.readApiKey(keyId);
  return key === undefined
    ? refuse("NOT_FOUND", `API key not found: ${apiKeyIdOf(core.tenant, keyId)}`)
    : { ok: true, key };
}

function bodyOf(core: LedgerCore, key: ApiKeyRecord): ApiKeySettingsBody {
  return {
    key_id: apiKeyIdOf(core.tenant, key.keyId),
    tenant_id: core.tenant,
    remaining_ttl_ms: key.remainingTtl,
    may_issue_tokens: key.mayIssueTokens,
    ...(key.allowedOrigins !== undefined && { allowed_origins: key.allowedOrigins }),
  };
}
