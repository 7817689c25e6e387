// What a Worker with the TENANT_BUDGET binding may call on a tenant's Durable Object. Types only: the object implements
// them (worker/tenant), and whoever calls needs nothing else of it.

import type { Reply } from "../ledger/codes.ts";
import type {
  BalancesQuery,
  CommitInput,
  DecideInput,
  EventInput,
  ExtendInput,
  ReleaseInput,
  ReservationsQuery,
  ReserveInput,
} from "../ledger/inputs.ts";
import type {
  BalancesBody,
  CommitBody,
  DecideBody,
  EventBody,
  ExtendBody,
  ReleaseBody,
  ReservationBody,
  ReservationListBody,
  ReserveBody,
} from "../ledger/wire.ts";

/** The operations of one tenant. Refusals are values; a throw means that the object could not be asked. */
export interface TenantRpc {
  reserve(request: ReserveInput): Promise<Reply<ReserveBody>>;
  commit(reservationId: string, request: CommitInput): Promise<Reply<CommitBody>>;
  release(reservationId: string, request: ReleaseInput): Promise<Reply<ReleaseBody>>;
  extend(reservationId: string, request: ExtendInput): Promise<Reply<ExtendBody>>;
  decide(request: DecideInput): Promise<Reply<DecideBody>>;
  event(request: EventInput): Promise<Reply<EventBody>>;
  getReservation(reservationId: string): Promise<Reply<ReservationBody>>;
  listReservations(query: ReservationsQuery): Promise<Reply<ReservationListBody>>;
  balances(query: BalancesQuery): Promise<Reply<BalancesBody>>;
}

/** The binding, as the type of `env.TENANT_BUDGET`. The tenant's id is the object's name. */
export interface TenantNamespace {
  getByName(tenant: string): TenantRpc;
}
