// The public face of the ledger: what an authority is built from. Everything else in this folder is private to it.

export { tenantOfPolicy } from "./admin-policies.ts";
export {
  apiKeyListSchema,
  auditListSchema,
  budgetListSchema,
  type TenantListQuery,
  tenantListSchema,
} from "./admin-schema.ts";
export { checkTenantRequest } from "./admin-tenants.ts";
export type * from "./admin-wire.ts";
export { pageBody, tenantBody } from "./admin-wire.ts";
export {
  API_KEY_RANDOM_BYTES,
  ApiKeys,
  type Caller,
  type KeyCaller,
  type MintedKey,
  parseApiKeyId,
  type TokenCaller,
} from "./api-keys.ts";
export type { ActorType, AuditRecord } from "./audit.ts";
export {
  busy,
  type ErrorCode,
  type Refusal,
  type Reply,
  refuse,
  STATUS_OF_ERROR,
  type Success,
  succeed,
  unauthorized,
} from "./codes.ts";
export type { CallSource, LedgerOptions, TenantLimits, Turn } from "./core.ts";
export { type LedgerCounters, newCounters } from "./counters.ts";
export { readCursor, refuseCursor, writeCursor } from "./cursor.ts";
export type { Deadline } from "./deadlines.ts";
export { LeaseIds, ReservationIds } from "./ids.ts";
export type * from "./inputs.ts";
export { INT64_MAX, int64Text, parseInt64 } from "./int64.ts";
export { OPERATOR_INTROSPECTION } from "./introspect.ts";
export {
  type JsonObject,
  type JsonResult,
  type JsonValue,
  parseJson,
  readStoredJson,
  stringifyJson,
} from "./json.ts";
export type * from "./lease-record.ts";
export { outstandingOf, unreportedOf, updatedLeaseMembers } from "./lease-record.ts";
export type {
  LeaseInput,
  LeaseRenewalInput,
  LeaseReturnInput,
  LeaseSettingsInput,
  LeasesQuery,
} from "./lease-schema.ts";
export type * from "./lease-wire.ts";
export { Ledger } from "./ledger.ts";
export { LIMITS as LEDGER_LIMITS } from "./limits.ts";
export { MemoryStore } from "./memory-store.ts";
export { isWebOrigin } from "./origins.ts";
export type { PeriodBody, WindowBody } from "./period-schema.ts";
export { PERMISSIONS, type Permission } from "./permissions.ts";
export type { Caps, PolicyRecord } from "./policies.ts";
export type { PolicyBody, PolicyListBody } from "./policy-schema.ts";
export { type Amount, type AmountInput, UNITS, type Unit, validate } from "./schema.ts";
export { isTenantId, parseScope, type Subject } from "./scope.ts";
export { checkReservationId } from "./settle.ts";
export type * from "./store.ts";
export { updatedMembers } from "./store.ts";
export { shorten } from "./text.ts";
export type {
  AttenuateInput,
  IssuedTokenBody,
  TokenBody,
  TokenInput,
  TokenListBody,
  TokenQuery,
} from "./token-schema.ts";
export { CAP_SCOPES, parseTokenName, TOKEN_RANDOM_BYTES, tokenNameOf } from "./tokens.ts";
export type * from "./wire.ts";
export { reviveReply } from "./wire.ts";
