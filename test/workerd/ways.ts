// The two ways to the real Durable Object, as the contracts ask them: RPC, and the HTTP front.

import { env, exports } from "cloudflare:workers";
import { tenantStub } from "../../worker/http/tenant-stub.ts";
import { answerOf, type TenantWay, type Way } from "../support/authority-contract.ts";
import { httpWay } from "../support/http-way.ts";
import { freshTenantName, START_MS, stubOf, within } from "./support.ts";

/** Puts tenants' clocks further, from `startMs` on. */
function clocksFrom(startMs: () => number) {
  const times = new Map<string, number>();
  return async (tenant: string, ms: number): Promise<void> => {
    const timeMs = (times.get(tenant) ?? startMs()) + ms;
    times.set(tenant, timeMs);
    await within(stubOf(tenant), timeMs, () => undefined);
  };
}

const advanceByRpc = clocksFrom(() => START_MS);

async function openByRpc(): Promise<TenantWay> {
  const tenant = freshTenantName();
  const stub = tenantStub(env, tenant);
  await advanceByRpc(tenant, 0);
  await stub.createTenant({ tenant_id: tenant, name: tenant });
  return {
    tenant,
    reserveFit: async (request) => answerOf(await stub.reserveFit(request as never)),
    reserve: async (request) => answerOf(await stub.reserve(request as never)),
    commit: async (id, request) => answerOf(await stub.commit(id, request as never)),
    release: async (id, request) => answerOf(await stub.release(id, request as never)),
    extend: async (id, request) => answerOf(await stub.extend(id, request as never)),
    decide: async (request) => answerOf(await stub.decide(request as never)),
    event: async (request) => answerOf(await stub.event(request as never)),
    reservation: async (id) => answerOf(await stub.getReservation(id)),
    reservations: async (query) => answerOf(await stub.listReservations(query)),
    balances: async (query) => answerOf(await stub.balances(query)),
    createBudget: async (request) => answerOf(await stub.createBudget(request)),
    fund: async (budget, request) => answerOf(await stub.fund(budget, request)),
    freeze: async (budget) => answerOf(await stub.freezeBudget(budget, {})),
    unfreeze: async (budget) => answerOf(await stub.unfreezeBudget(budget, {})),
    createPolicy: async (request) => answerOf(await stub.createPolicy(request)),
    openLease: async (request) => answerOf(await stub.openLease(request as never)),
    renewLease: async (id, request) => answerOf(await stub.renewLease(id, request as never)),
    returnLease: async (id, request) => answerOf(await stub.returnLease(id, request as never)),
    leases: async (query) => answerOf(await stub.listLeases(query as never)),
    exposure: async () => answerOf(await stub.exposure()),
    leaseSettings: async () => answerOf(await stub.readLeaseSettings()),
    setLeaseSettings: async (request) => answerOf(await stub.changeLeaseSettings(request as never)),
    raiseLeaseEpoch: async () => answerOf(await stub.raiseLeaseEpoch()),
    advance: (ms) => advanceByRpc(tenant, ms),
  };
}

export const rpcWay: Way = { int64: true, open: openByRpc };

/** The front as a `fetch`: for clients that are given one. */
export function frontFetch(url: string, init: RequestInit): Promise<Response> {
  return exports.default.fetch(new Request(url, init));
}

export const FRONT_URL = "https://purser.test";

export const frontWay = httpWay({
  adminKey: env.PURSER_ADMIN_KEY,
  int64: true,
  send: (path, init) => frontFetch(FRONT_URL + path, init),
  // Keys are minted by the front, whose clock is the real one.
  advance: clocksFrom(Date.now),
});
