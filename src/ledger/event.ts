// Events: spending that no reservation stands for, charged to every budgeted scope or to none. Clients recover with one
// what a commit came too late for. Invariant: an event is charged once per key; debt and an over-limit mark never stop
// it, a frozen or closed budget does. Of the event itself only the answer is kept: no operation reads more of it.
// Who may call: the Ledger.

import { answerAgain, answerOf, findAnswer, keepAnswer, printOf } from "./answers.ts";
import { type Reply, succeed, unauthorized } from "./codes.ts";
import { dayOf, type LedgerCore, refusePath, type Turn } from "./core.ts";
import { budgetedAccounts, closedTenant, scopesFor, storeFull } from "./evaluation.ts";
import { EVENT_OVERAGE_POLICY } from "./limits.ts";
import { eventSchema } from "./schema.ts";
import { ownMarksOnly, refuseOverdraft } from "./token-charges.ts";
import { ownKey } from "./tokens.ts";
import { balancesMember, type EventBody } from "./wire.ts";

export function event(core: LedgerCore, input: unknown, turn: Turn): Reply<EventBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, {
      schema: eventSchema,
      input,
      permission: "reservations:commit",
    });
    if (!admitted.ok) return admitted;
    const { request, principal, tenant } = admitted;
    const place = scopesFor(core, request.subject, principal);
    if (!place.ok) return place;

    const overdraft = refuseOverdraft(principal, request.overage_policy);
    if (overdraft !== undefined) return overdraft;

    const key = ownKey(principal.token, request.idempotency_key);
    const print = printOf(request);
    const earlier = findAnswer(core, "event", key, nowMs);
    if (earlier !== undefined) return answerAgain<EventBody>(earlier, print, 201);

    if (tenant.status === "CLOSED") return closedTenant(core);
    if (tenant.status === "SUSPENDED") return unauthorized("TENANT_SUSPENDED");
    const full = storeFull(core, nowMs);
    if (full !== undefined) return full;
    const { unit, amount } = request.actual;
    const budgeted = budgetedAccounts(core, {
      member: "actual",
      amount: request.actual,
      scopes: place.scopes,
      principal,
      nowMs,
    });
    if (!budgeted.ok) return budgeted.refusal;
    const { accounts } = budgeted;
    const policy = request.overage_policy ?? EVENT_OVERAGE_POLICY;
    const result = core.arithmetic.event(accounts, { actual: amount, policy });
    if (!result.ok) {
      core.counters.eventsRefused += 1;
      return refusePath(core, accounts, result, amount);
    }
    const { charged } = result;
    const figures = ownMarksOnly(principal, accounts, result.accounts);
    const body: EventBody = {
      status: "APPLIED",
      event_id: core.ids.issueEvent(core.tenant, key, dayOf(nowMs)),
      ...(charged < amount && { charged: { unit, amount: charged } }),
      ...balancesMember(core.writeFigures(accounts, figures, nowMs), core.arithmetic),
    };
    keepAnswer(core, "event", answerOf(key, print, body), nowMs);
    return succeed(body, 201);
  });
}
