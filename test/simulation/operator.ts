// An operator: makes budgets, some of them late, and funds them in all five ways, retrying with the same key like
// everyone else. Invariant: what it asks depends on chance alone. Who may call: simulate.ts plays it.

import type { FundInput } from "purser/ledger";
import type { AnyReply, Call } from "./calls.ts";
import type { Chance } from "./engine/chance.ts";
import { ask, type Script, send, sleep } from "./engine/script.ts";
import { drawAmount, drawBudget, type Plan, SCOPES, UNITS } from "./plan.ts";

const TRIES = 4;
const FUNDING: readonly FundInput["operation"][] = ["CREDIT", "DEBIT", "RESET", "RESET_SPENT", "REPAY_DEBT"];

export function* operator(plan: Plan, chance: Chance): Script<Call, AnyReply> {
  for (let number = 0; number < plan.operations; number += 1) {
    yield* sleep(chance.between(0, 4_000));
    const scope = chance.pick(SCOPES);
    const unit = chance.happens(0.9) ? "TOKENS" : chance.pick(UNITS);
    if (chance.happens(0.15)) {
      yield* ask<Call, AnyReply>(
        { op: "createBudget", body: drawBudget(chance, plan.sizes, scope, unit) },
        TRIES,
      );
      continue;
    }
    const operation = chance.pick(FUNDING);
    const amount = { unit, amount: drawAmount(chance, plan.sizes) };
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
