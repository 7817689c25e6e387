// The contract of the authority, met by the one in this process.

import { LocalAuthority } from "purser/ledger";
import { answerOf, authorityContract } from "../../support/authority-contract.ts";
import { testClock } from "../../support/ledger-fixtures.ts";

authorityContract("in this process", () => {
  let made = 0;
  return {
    int64: true,
    open: async () => {
      made += 1;
      const tenant = `tenant-${made}`;
      const clock = testClock();
      const local = new LocalAuthority({ tenant, now: clock.now });
      return {
        tenant,
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
        advance: async (ms) => clock.advance(ms),
      };
    },
  };
});
