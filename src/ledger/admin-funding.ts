// Funding: an operator's or a tenant's change of what a budget has. Invariant: one operation per (budget, idempotency key),
// whole or not at all; the figures before and after are told. Who may call: the Ledger, as for admin-budgets.

import { ownScope, recordBudget, wrongUnit } from "./admin-budgets.ts";
import { budgetNameSchema, fundSchema } from "./admin-schema.ts";
import type { FundBody } from "./admin-wire.ts";
import { answerAgain, answerDays, answerOf, printOf } from "./answers.ts";
import { type Reply, refuse, succeed } from "./codes.ts";
import { accountsOn, type LedgerCore, refusePath, type Turn } from "./core.ts";
import { changeRefusal } from "./evaluation.ts";
import { RETENTION } from "./limits.ts";
import { type Amount, validate } from "./schema.ts";
import type { AccountRecord } from "./store.ts";
import { isoTime } from "./wire.ts";

/** One funding operation on one budget; a key used before answers with the first result. */
export function fund(core: LedgerCore, query: unknown, input: unknown, turn: Turn): Reply<FundBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, { schema: fundSchema, input, permission: "budgets:write" });
    if (!admitted.ok) return admitted;
    const { request } = admitted;
    if (request.spent !== undefined && request.operation !== "RESET_SPENT") {
      return refuse(
        "INVALID_REQUEST",
        `spent must only be given with RESET_SPENT, got ${request.operation}`,
        {
          field: "spent",
        },
      );
    }
    const target = validate(budgetNameSchema, query);
    if (!target.ok) return target;
    const { unit } = target.value;
    const place = ownScope(core, target.value.scope, admitted);
    if (!place.ok) return place;
    const { scope } = place;
    for (const [field, amount] of [
      ["amount", request.amount],
      ["spent", request.spent],
    ] as const) {
      if (amount !== undefined && amount.unit !== unit) return wrongUnit(field, amount, unit);
    }

    const namespace = `fund:${scope}:${unit}`;
    const print = printOf(request);
    const days = answerDays(nowMs, RETENTION.fundDays);
    const earlier = core.store.readAnswer({ namespace, key: request.idempotency_key, ...days });
    if (earlier !== undefined) return answerAgain<FundBody>(earlier, print);
    const halted = changeRefusal(core, admitted.tenant, turn);
    if (halted !== undefined) return halted;

    const { unfinished } = core.settleDue(nowMs, accountsOn(unit, [scope]));
    if (unfinished !== undefined) return unfinished;
    const [before] = core.readAccounts([scope], unit, nowMs);
    if (before === undefined) return refuse("BUDGET_NOT_FOUND", `Budget not found: ${scope} ${unit}`);
    const { operation } = request;
    if (before.status !== "ACTIVE") {
      const reason = before.status === "FROZEN" ? "frozen" : "closed";
      return refusePath(core, [before], { ok: false, reason, index: 0 }, request.amount.amount);
    }
    const result = core.arithmetic.fund(before, operation, request.amount.amount, request.spent?.amount);
    if (!result.ok) return refusePath(core, [before], result, request.amount.amount);
    const [after] = core.writeFigures([before], result.accounts, nowMs);
    if (after === undefined) throw new Error("ledger: funding wrote no account");
    const body = fundBody(core, operation, before, after);
    const lastDay = days.fromDay + RETENTION.fundDays;
    core.store.insertAnswer(namespace, lastDay, answerOf(request.idempotency_key, print, body));
    recordBudget(core, turn, after, nowMs, {
      operation: "fundBudget",
      tenantMay: true,
      amount: request.amount,
      metadata: {
        operation,
        idempotency_key: request.idempotency_key,
        ...(request.spent !== undefined && { spent: request.spent.amount }),
        ...(request.reason !== undefined && { reason: request.reason }),
      },
    });
    return succeed(body);
  });
}

function fundBody(
  core: LedgerCore,
  operation: string,
  before: AccountRecord,
  after: AccountRecord,
): FundBody {
  const amount = (value: bigint): Amount => ({ unit: before.unit, amount: value });
  return {
    operation,
    previous_allocated: amount(before.allocated),
    new_allocated: amount(after.allocated),
    previous_remaining: amount(core.arithmetic.remaining(before)),
    new_remaining: amount(core.arithmetic.remaining(after)),
    previous_debt: amount(before.debt),
    new_debt: amount(after.debt),
    previous_spent: amount(before.spent),
    new_spent: amount(after.spent),
    timestamp: isoTime(after.updatedAtMs),
  };
}
