// The audit log: who did what to a tenant's budgets, keys and settings, and when. Invariant: a row is written in the
// transaction of the change it tells of, so neither is ever there without the other; a change that did not happen (a
// refusal, a replay) has none; a row holds no secret. Who may call: the operations that operators have.

import { type AuditListQuery, auditListSchema } from "./admin-schema.ts";
import { type AuditBody, type AuditListBody, auditBody, pageBody } from "./admin-wire.ts";
import { type Reply, succeed } from "./codes.ts";
import type { CallSource, LedgerCore, Turn } from "./core.ts";
import { readCursor, refuseCursor, writeCursor } from "./cursor.ts";
import type { JsonObject } from "./json.ts";
import { LIMITS } from "./limits.ts";
import { type Action, type Amount, validate } from "./schema.ts";
import type { Subject } from "./scope.ts";

/**
 * Who acted: an operator on the operators' own plane, an operator where a tenant could have acted itself, a tenant's
 * API key, or nobody from outside (a Worker that holds the binding, or the process of a LocalLedger).
 */
export type ActorType = "admin" | "admin_on_behalf_of" | "api_key" | "system";

/** What an operation tells the log. */
export interface AuditEntry {
  /** The protocol's operation id, like `createBudget`. */
  readonly operation: string;
  readonly resourceType: "tenant" | "budget" | "api_key" | "token" | "reservation" | "policy" | "config";
  readonly resourceId: string;
  /** Whether a tenant's own key could have done the same. */
  readonly tenantMay?: boolean;
  /** HTTP status of the answer; 200 unless given. */
  readonly status?: number;
  readonly subject?: Subject | undefined;
  readonly action?: Action | undefined;
  readonly amount?: Amount | undefined;
  readonly metadata?: JsonObject;
}

export interface AuditRecord {
  /** Counts the rows of one tenant; never given twice. */
  readonly seq: number;
  readonly atMs: number;
  readonly actorType: ActorType;
  readonly keyId?: string | undefined;
  readonly operation: string;
  readonly resourceType: string;
  readonly resourceId: string;
  readonly status: number;
  readonly source?: Omit<CallSource, "operator"> | undefined;
  readonly subject?: Subject | undefined;
  readonly action?: Action | undefined;
  readonly amount?: Amount | undefined;
  readonly metadata?: JsonObject | undefined;
}

/** Adds one row, within the operation's own transaction, and lets a few of the oldest go. */
export function recordAudit(core: LedgerCore, turn: Turn, nowMs: number, entry: AuditEntry): void {
  appendAudit(core, turn, nowMs, entry);
  core.pruneAudit(nowMs, LIMITS.pruneRowsPerTurn);
}

/** Adds one row of many that belong to one operation, whose own row comes last. */
export function appendAudit(core: LedgerCore, turn: Turn, nowMs: number, entry: AuditEntry): void {
  const { tenantMay = false, status = 200, ...what } = entry;
  core.store.insertAudit({
    ...what,
    status,
    atMs: nowMs,
    actorType: actorTypeOf(turn, tenantMay),
    keyId: keyIdOf(core, turn),
    source: sourceOf(turn.source),
  });
}

/** The key that acted; of a token the one that it came from. */
function keyIdOf(core: LedgerCore, { caller }: Turn): string | undefined {
  if (caller === undefined || "keyId" in caller) return caller?.keyId;
  return core.store.readToken(caller.tokenId)?.keyId;
}

function actorTypeOf({ caller, source }: Turn, tenantMay: boolean): ActorType {
  if (caller !== undefined) return "api_key";
  if (source?.operator !== true) return "system";
  return tenantMay ? "admin_on_behalf_of" : "admin";
}

function sourceOf(source: CallSource | undefined): AuditRecord["source"] {
  if (source === undefined) return undefined;
  const { operator: _, ...kept } = source;
  return kept;
}

/** The log, newest row first. A call looks at a bounded number of rows, so a page may be short and yet have a next one. */
export function listAudit(core: LedgerCore, query: unknown, turn: Turn): Reply<AuditListBody> {
  return core.run(turn, () => {
    const checked = validate(auditListSchema, query);
    if (!checked.ok) return checked;
    const { limit, cursor, ...filters } = checked.value;
    const position = readCursor(cursor, filters);
    const [before = ""] = position ?? [];
    if (position === null || (position !== undefined && !/^[0-9]{1,15}$/.test(before))) return refuseCursor();

    const rows: AuditBody[] = [];
    let seen = 0;
    let lastSeq: number | undefined;
    let more = false;
    for (const row of core.store.scanAudit(position === undefined ? undefined : Number(before))) {
      if (rows.length === limit || seen === core.limits.auditRowsPerCall) {
        more = true;
        break;
      }
      const body = auditBody(core.tenant, row);
      if (passes(body, row.atMs, filters)) rows.push(body);
      lastSeq = row.seq;
      seen += 1;
    }
    const next = more && lastSeq !== undefined ? writeCursor([String(lastSeq)], filters) : undefined;
    return succeed(pageBody("logs", rows, next));
  });
}

/** The filters that an entry has to pass, all of them. Entries are successes, so none has an error code. */
function passes(entry: AuditBody, atMs: number, query: Omit<AuditListQuery, "limit" | "cursor">): boolean {
  const { key_id, resource_id, trace_id, request_id, status } = query;
  const exact = { key_id, resource_id, trace_id, request_id, status };
  return (
    Object.entries(exact).every(
      ([name, wanted]) => wanted === undefined || Reflect.get(entry, name) === wanted,
    ) &&
    (query.operation?.includes(entry.operation) ?? true) &&
    (query.resource_type?.includes(entry.resource_type) ?? true) &&
    query.error_code === undefined &&
    entry.status >= (query.status_min ?? 0) &&
    entry.status <= (query.status_max ?? 599) &&
    atMs >= (query.from ?? 0) &&
    atMs <= (query.to ?? Number.POSITIVE_INFINITY) &&
    contains([entry.resource_id, entry.log_id, entry.operation], query.search)
  );
}

/** Whether one of the texts holds the search, which is in lower case. */
export function contains(texts: readonly string[], search: string | undefined): boolean {
  return search === undefined || texts.some((text) => text.toLowerCase().includes(search));
}
