// What the model foretells for an event: spending that nothing was reserved for, on every budgeted scope or on none.
// Who may call: the model.

import type { EventInput } from "purser/ledger";
import type { AnyReply } from "../calls.ts";
import { findReplay, KEPT_DAYS, keepAnswer } from "./answers.ts";
import { chargeEvent } from "./money.ts";
import { freshId, isForeign, refuseUnbudgeted } from "./requests.ts";
import { budgetsOn, type Expected, granted, type ModelState, refused } from "./state.ts";
import { amountOf, balancesMember, canonical, exact, scopesOf, subjectOf } from "./wire.ts";

export function foretellEvent(state: ModelState, body: EventInput, nowMs: number, reply: AnyReply): Expected {
  if (isForeign(state, body.subject.tenant)) return refused("403 FORBIDDEN");
  const request = {
    namespace: "event",
    keptDays: KEPT_DAYS.event,
    key: body.idempotency_key,
    print: canonical({ ...body, subject: subjectOf({ ...body.subject }) }),
    status: 201 as const,
  };
  const replay = findReplay(state, request, nowMs, reply);
  if (replay !== undefined) return replay;
  if (state.tenant.status === "CLOSED") return refused("409 TENANT_CLOSED");
  if (state.tenant.status === "SUSPENDED") return refused("401 UNAUTHORIZED");
  const scopes = scopesOf({ ...body.subject });
  const { unit } = body.actual;
  const budgets = budgetsOn(state, scopes, unit);
  if (budgets.length === 0) return refuseUnbudgeted(state, scopes);
  const actual = exact(body.actual.amount);
  // A tenant's or a budget's own policy is not asked: it could refuse the very spend that recovery writes down.
  const policy = body.overage_policy ?? "ALLOW_IF_AVAILABLE";
  const booked = chargeEvent(state, budgets, { actual, policy }, nowMs);
  if (!booked.ok) return booked;
  const applied = {
    status: "APPLIED",
    event_id: freshId(state, reply, "event_id"),
    charged: booked.charged < actual ? amountOf(unit, booked.charged) : undefined,
    ...balancesMember(state, budgets, nowMs),
  };
  keepAnswer(state, request, applied, nowMs);
  return granted(applied, 201);
}
