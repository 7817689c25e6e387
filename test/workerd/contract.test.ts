// The contract of the authority, met by the real Durable Object: by RPC, and through the HTTP front.

import { env, exports } from "cloudflare:workers";
import { tenantStub } from "../../worker/http/tenant-stub.ts";
import { answerOf, authorityContract } from "../support/authority-contract.ts";
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

authorityContract("by RPC", () => {
  const advance = clocksFrom(() => START_MS);
  return {
    int64: true,
    open: async () => {
      const tenant = freshTenantName();
      const stub = tenantStub(env, tenant);
      await advance(tenant, 0);
      await stub.createTenant({ tenant_id: tenant, name: tenant });
      return {
        tenant,
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
        advance: (ms) => advance(tenant, ms),
      };
    },
  };
});

authorityContract("over HTTP", () =>
  httpWay({
    adminKey: env.PURSER_ADMIN_KEY,
    int64: true,
    send: (path, init) => exports.default.fetch(new Request(`https://purser.test${path}`, init)),
    // Keys are minted by the front, whose clock is the real one.
    advance: clocksFrom(Date.now),
  }),
);
