// Policies on the governance plane: made, listed, changed. Invariant: a policy belongs to the ledger's own tenant, its
// name is unique there, and from the moment it is written every decision sees it. There is no deletion in the protocol:
// a policy is disabled. Who may call: the Ledger, for an operator or for a tenant's key with the permission.

import { changesOf } from "./admin-tenants.ts";
import { pageBody } from "./admin-wire.ts";
import { recordAudit } from "./audit.ts";
import { type Refusal, type Reply, refuse, succeed } from "./codes.ts";
import type { LedgerCore, Turn } from "./core.ts";
import { readCursor, refuseCursor, writeCursor } from "./cursor.ts";
import { changeRefusal } from "./evaluation.ts";
import type { JsonObject } from "./json.ts";
import { type PolicyRecord, parsePattern } from "./policies.ts";
import {
  type PolicyBody,
  type PolicyListBody,
  policyBody,
  policyListSchema,
  policyPatchSchema,
  policySchema,
  rulesOf,
} from "./policy-schema.ts";
import { passesScopeFilter } from "./scope.ts";
import { shorten } from "./text.ts";

const POLICY_ID = /^pol_([a-z0-9-]{3,64})_[1-9][0-9]{0,8}$/;

/** The tenant that a policy's id carries, so that whoever holds the id needs no directory of policies. */
export function tenantOfPolicy(policyId: string): string | undefined {
  return POLICY_ID.exec(policyId)?.[1];
}

export function createPolicy(core: LedgerCore, input: unknown, turn: Turn): Reply<PolicyBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, { schema: policySchema, input, permission: "policies:write" });
    if (!admitted.ok) return admitted;
    const { request, tenant, principal } = admitted;
    if (request.tenant_id !== undefined && turn.caller !== undefined) {
      const message = "tenant_id must not be given with a tenant's key";
      return refuse("INVALID_REQUEST", message, { field: "tenant_id" });
    }
    if (request.tenant_id !== undefined && request.tenant_id !== core.tenant) {
      return refuse(
        "INVALID_REQUEST",
        `tenant_id must be ${core.tenant}, got ${shorten(request.tenant_id, 64)}`,
      );
    }
    const place = ownPattern(core, request.scope_pattern);
    if (!place.ok) return place;
    if (!passesScopeFilter(place.pattern, principal.scopeFilter)) return outsideFilter(place.pattern);
    const halted = changeRefusal(core, tenant, turn);
    if (halted !== undefined) return halted;
    const { records } = core.policies;
    if (records.length >= core.limits.policiesMax) {
      return refuse("LIMIT_EXCEEDED", `At most ${core.limits.policiesMax} policies per tenant`);
    }
    const policy: PolicyRecord = {
      // Nothing is ever deleted, so the count is a number that was never given.
      policyId: `pol_${core.tenant}_${records.length + 1}`,
      name: request.name,
      description: request.description,
      scopePattern: place.pattern,
      priority: request.priority ?? 0,
      rules: rulesOf(request),
      status: "ACTIVE",
      effectiveFromMs: request.effective_from,
      effectiveUntilMs: request.effective_until,
      createdAtMs: nowMs,
      updatedAtMs: nowMs,
    };
    const fault = faultIn(core, policy);
    if (fault !== undefined) return fault;
    core.writePolicy(policy);
    record(core, turn, nowMs, policy, { operation: "createPolicy", status: 201 });
    return succeed(policyBody(policy), 201);
  });
}

/** Changes what the request names; a member given empty (`{}`) takes back what the policy said there. */
export function updatePolicy(
  core: LedgerCore,
  policyId: string,
  input: unknown,
  turn: Turn,
): Reply<PolicyBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, {
      schema: policyPatchSchema,
      input,
      permission: "policies:write",
    });
    if (!admitted.ok) return admitted;
    const { request, tenant, principal } = admitted;
    const before = core.policies.records.find((each) => each.policyId === policyId);
    if (before === undefined) return refuse("NOT_FOUND", `Policy not found: ${shorten(policyId, 96)}`);
    if (!passesScopeFilter(before.scopePattern, principal.scopeFilter))
      return outsideFilter(before.scopePattern);
    const halted = changeRefusal(core, tenant, turn);
    if (halted !== undefined) return halted;
    const policy: PolicyRecord = {
      ...before,
      name: request.name ?? before.name,
      description: request.description ?? before.description,
      priority: request.priority ?? before.priority,
      rules: rulesOf(request, before.rules),
      status: request.status ?? before.status,
      effectiveFromMs: request.effective_from ?? before.effectiveFromMs,
      effectiveUntilMs: request.effective_until ?? before.effectiveUntilMs,
      updatedAtMs: nowMs,
    };
    const fault = faultIn(core, policy);
    if (fault !== undefined) return fault;
    core.writePolicy(policy);
    record(core, turn, nowMs, policy, {
      operation: "updatePolicy",
      metadata: { changes: changesOf(request) },
    });
    return succeed(policyBody(policy));
  });
}

/** All policies that the caller's filter includes, in the order they were made. */
export function listPolicies(core: LedgerCore, query: unknown, turn: Turn): Reply<PolicyListBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, {
      schema: policyListSchema,
      input: query,
      permission: "policies:read",
    });
    if (!admitted.ok) return admitted;
    const { limit, cursor, ...filters } = admitted.request;
    const { records } = core.policies;
    const position = readCursor(cursor, filters);
    const after =
      position === undefined ? -1 : records.findIndex(({ policyId }) => policyId === position?.[0]);
    if (position === null || (position !== undefined && after < 0)) return refuseCursor();
    const wanted = filters.scope_pattern?.toLowerCase();
    const rows = records
      .slice(after + 1)
      .filter(
        (policy) =>
          policy.scopePattern === (wanted ?? policy.scopePattern) &&
          policy.status === (filters.status ?? policy.status) &&
          passesScopeFilter(policy.scopePattern, admitted.principal.scopeFilter),
      );
    const page = rows.slice(0, limit);
    const last = rows.length > limit ? page[page.length - 1] : undefined;
    return succeed(pageBody("policies", page.map(policyBody), last && writeCursor([last.policyId], filters)));
  });
}

function record(
  core: LedgerCore,
  turn: Turn,
  nowMs: number,
  { policyId, name, scopePattern }: PolicyRecord,
  entry: { readonly operation: string; readonly status?: number; readonly metadata?: JsonObject },
): void {
  recordAudit(core, turn, nowMs, {
    ...entry,
    resourceType: "policy",
    resourceId: policyId,
    tenantMay: true,
    metadata: { name, scope_pattern: scopePattern, ...entry.metadata },
  });
}

function ownPattern(core: LedgerCore, text: string) {
  const parsed = parsePattern(text);
  if (!parsed.ok) {
    const message = `scope_pattern: ${parsed.rule}, got ${shorten(JSON.stringify(text), 64)}`;
    return refuse("INVALID_REQUEST", message, { field: "scope_pattern" });
  }
  return parsed.tenant === core.tenant
    ? parsed
    : refuse("FORBIDDEN", `scope_pattern must belong to tenant ${core.tenant}, got ${parsed.pattern}`);
}

function outsideFilter(pattern: string): Refusal {
  return refuse("FORBIDDEN", `The API key's scope filter does not include ${pattern}`);
}

/** What is wrong with a policy as a whole. */
function faultIn(core: LedgerCore, policy: PolicyRecord): Refusal | undefined {
  const { policyId, name, rules, effectiveFromMs: fromMs, effectiveUntilMs: untilMs } = policy;
  const { defaultMs, maxMs } = rules.ttl ?? {};
  if (defaultMs !== undefined && maxMs !== undefined && defaultMs > maxMs) {
    const field = "reservation_ttl_override.default_ttl_ms";
    return refuse("INVALID_REQUEST", `${field} must be at most max_ttl_ms, ${maxMs}, got ${defaultMs}`, {
      field,
    });
  }
  if (fromMs !== undefined && untilMs !== undefined && fromMs >= untilMs) {
    return refuse("INVALID_REQUEST", "effective_until must be later than effective_from", {
      field: "effective_until",
    });
  }
  return core.policies.records.some((each) => each.name === name && each.policyId !== policyId)
    ? refuse("DUPLICATE_RESOURCE", `Policy already exists: ${name}`)
    : undefined;
}
