// The authority in this process, as the contracts ask it.

import { LocalLedger } from "purser/ledger";
import { answerOf, type TenantWay } from "./authority-contract.ts";
import { testClock } from "./ledger-fixtures.ts";

/** A tenant of its own, its ledger, and a clock that only moves when told to. */
export function localWay(tenant: string): TenantWay & { readonly ledger: LocalLedger } {
  const clock = testClock();
  const local = new LocalLedger({ tenant, now: clock.now });
  return {
    tenant,
    ledger: local,
    reserveFit: async (request) => answerOf(local.reserveFit(request as never)),
    reserve: async (request) => answerOf(local.reserve(request as never)),
    commit: async (id, request) => answerOf(local.commit(id, request as never)),
    release: async (id, request) => answerOf(local.release(id, request as never)),
    extend: async (id, request) => answerOf(local.extend(id, request as never)),
    decide: async (request) => answerOf(local.decide(request as never)),
    event: async (request) => answerOf(local.event(request as never)),
    reservation: async (id) => answerOf(local.getReservation(id)),
    reservations: async (query) => answerOf(local.listReservations(query)),
    balances: async (query) => answerOf(local.balances(query)),
    createBudget: async (request) => answerOf(local.createBudget(request)),
    fund: async (budget, request) => answerOf(local.fund(budget, request)),
    freeze: async (budget) => answerOf(local.freezeBudget(budget)),
    unfreeze: async (budget) => answerOf(local.unfreezeBudget(budget)),
    createPolicy: async (request) => answerOf(local.createPolicy(request)),
    openLease: async (request) => answerOf(local.openLease(request as never)),
    renewLease: async (id, request) => answerOf(local.renewLease(id, request as never)),
    returnLease: async (id, request) => answerOf(local.returnLease(id, request as never)),
    leases: async (query) => answerOf(local.listLeases(query as never)),
    exposure: async () => answerOf(local.exposure()),
    leaseSettings: async () => answerOf(local.readLeaseSettings()),
    setLeaseSettings: async (request) => answerOf(local.changeLeaseSettings(request as never)),
    raiseLeaseEpoch: async () => answerOf(local.raiseLeaseEpoch()),
    advance: async (ms) => clock.advance(ms),
  };
}
