// The package's third entry, `purser/client`: authorities that are elsewhere. Carries neither kernel nor ledger, so that a
// page which asks an authority over HTTP loads no wasm, and one entry serves every runtime.

export type * from "./authority/authority.ts";
export {
  AuthorityDeniedError,
  AuthorityError,
  type AuthorityErrorCode,
  type AuthorityFailure,
  BudgetExhaustedError,
  type CallOutcome,
  MeterEndedError,
} from "./authority/errors.ts";
export type { HeartbeatFailure } from "./authority/heartbeat.ts";
export { HttpAuthority, type HttpAuthorityOptions } from "./authority/http-authority.ts";
export type { Fetch, HttpOptions } from "./authority/http-transport.ts";
export {
  type Journal,
  type JournalContents,
  type JournalRecord,
  MemoryJournal,
} from "./authority/journal.ts";
export type * from "./authority/leases.ts";
export {
  type ChargeSource,
  Meter,
  type MeterOptions,
  type MeterSettlement,
  type StreamEnding,
} from "./authority/meter.ts";
export type { PageEvents } from "./authority/meter-stream.ts";
export type { RecoveryNotice } from "./authority/recovery.ts";
export { type GuardCommit, isToolAllowed, ReservationGuard } from "./authority/reservation-guard.ts";
export type { RetryOptions } from "./authority/retry.ts";
export { RpcAuthority, type RpcAuthorityOptions } from "./authority/rpc-authority.ts";
export type { Random, Surroundings } from "./authority/surroundings.ts";
export type { RuntimeRpc, TenantNamespace, TenantRpc } from "./authority/tenant-rpc.ts";
export type { AuthorityOptions, RemoteOptions } from "./authority/wire-authority.ts";
export { type Used, withReservation } from "./authority/with-reservation.ts";
export type { RetryAdvice } from "./denial.ts";
export type { AmountInput, Unit } from "./ledger/schema.ts";
export type { Subject } from "./ledger/scope.ts";
