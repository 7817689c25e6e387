// An operator: makes budgets, some of them late, funds them in all five ways, changes and freezes them, suspends and closes
// the tenant, and tries again like everyone else. Invariant: what it asks depends on chance alone.
// Who may call: simulate.ts plays it.

import type { FundInput } from "purser/ledger";
import type { AnyReply, BudgetName, Call } from "./calls.ts";
import type { Chance } from "./engine/chance.ts";
import { ask, type Script, send, sleep } from "./engine/script.ts";
import { drawAmount, drawBudget, type Plan, POLICIES, SCOPES, UNITS } from "./plan.ts";

const TRIES = 4;
const FUNDING: readonly FundInput["operation"][] = ["CREDIT", "DEBIT", "RESET", "RESET_SPENT", "REPAY_DEBT"];

export function* operator(plan: Plan, chance: Chance): Script<Call, AnyReply> {
  for (let number = 0; number < plan.operations; number += 1) {
    yield* sleep(chance.between(0, 4_000));
    const isThere = plan.budgets.length > 0 && chance.happens(0.85);
    const { scope, unit } = isThere
      ? chance.pick(plan.budgets)
      : { scope: chance.pick(SCOPES), unit: chance.pick(UNITS) };
    if (chance.happens(0.15)) {
      yield* ask<Call, AnyReply>(
        { op: "createBudget", body: drawBudget(chance, plan.sizes, scope, unit) },
        TRIES,
      );
      continue;
    }
    if (chance.happens(plan.governing)) {
      yield* ask<Call, AnyReply>(steer(plan, chance, { scope, unit }), TRIES);
      continue;
    }
    const operation = chance.pick(FUNDING);
    // Half of the resets leave little, whatever was spent: that is where figures come near the end of int64.
    const sizes = operation.startsWith("RESET") && chance.happens(0.5) ? "small" : plan.sizes;
    const amount = { unit, amount: drawAmount(chance, sizes) };
    const body: FundInput = {
      operation,
      amount,
      idempotency_key: `fund-${number}`,
      ...(operation === "RESET_SPENT" &&
        chance.happens(0.8) && { spent: { unit, amount: drawAmount(chance, plan.sizes) } }),
    };
    yield* ask<Call, AnyReply>({ op: "fund", query: { scope, unit }, body }, TRIES);
    if (!chance.happens(plan.mischief)) continue;
    const other = { ...body, amount: { unit, amount: BigInt(amount.amount) / 2n + 1n } };
    yield* send<Call, AnyReply>({ op: "fund", query: { scope, unit }, body: other });
    yield* send<Call, AnyReply>({ op: "fund", query: { scope, unit }, body });
  }
}

/** Changes what stands: a budget's limit and policy, frozen or not, the tenant's own settings, and at times its end. */
function steer(plan: Plan, chance: Chance, query: BudgetName): Call {
  const op = chance.weighted({ updateBudget: 5, freeze: 3, unfreeze: 3, updateTenant: 3 });
  if (op === "freeze" || op === "unfreeze") return { op, query };
  if (op === "updateBudget") {
    const limit = chance.happens(0.5) ? 0n : drawAmount(chance, plan.sizes);
    const policy = chance.happens(0.3) ? { commit_overage_policy: chance.pick(POLICIES) } : {};
    return { op, query, body: { overdraft_limit: { unit: query.unit, amount: limit }, ...policy } };
  }
  const what = chance.weighted({ suspend: 3, activate: 4, close: 1, life: 3 });
  if (what === "suspend") return { op, body: { status: "SUSPENDED" } };
  if (what === "activate") return { op, body: { status: "ACTIVE" } };
  if (what === "close") return { op, body: { status: "CLOSED" } };
  return {
    op,
    body: {
      max_reservation_ttl_ms: chance.pick([1_000, 5_000, 60_000]),
      max_reservation_extensions: chance.between(0, 3),
      ...(chance.happens(0.5) && { default_reservation_ttl_ms: 1_000 }),
    },
  };
}
