// Who else is at a tenant's budgets while leases are out: callers who reserve, commit, release and report, and an operator who
// funds, freezes, suspends, changes what becomes of expired leases and raises the epoch. Invariant: callers here never
// spend beyond what they reserved, so that all debt there is was made by leases. Who may call: simulate.ts plays them.

import type { AnyReply } from "../calls.ts";
import type { Chance } from "../engine/chance.ts";
import { ask, type Script, sleep } from "../engine/script.ts";
import { SUBJECTS } from "../plan.ts";
import type { LeaseCall } from "./calls.ts";
import type { LeasePlan } from "./plan.ts";

type OtherScript = Script<LeaseCall, AnyReply>;

const TRIES = 3;
const ACTION = { kind: "llm.completion", name: "model" };

export function* bystander(plan: LeasePlan, chance: Chance, name: string): OtherScript {
  for (let round = 0; round < 6; round += 1) {
    yield* sleep(chance.between(0, 3_000));
    const key = `${name}/${round}`;
    const subject = chance.pick(SUBJECTS);
    const amount = BigInt(chance.between(0, plan.wantMax));
    const money = { unit: "TOKENS", amount } as const;
    if (chance.happens(plan.events)) {
      const body = { idempotency_key: key, subject, action: ACTION, actual: money };
      yield* ask<LeaseCall, AnyReply>({ op: "event", body: { ...body, overage_policy: "REJECT" } }, TRIES);
      continue;
    }
    const body = { idempotency_key: key, subject, action: ACTION, estimate: money, ttl_ms: 2_000 };
    const reply = yield* ask<LeaseCall, AnyReply>({ op: "reserve", body }, TRIES);
    const id = reply?.ok ? (reply.body as { reservation_id?: string }).reservation_id : undefined;
    if (id === undefined || chance.happens(0.15)) continue;
    yield* sleep(chance.between(0, 2_500));
    const actual = { unit: "TOKENS", amount: amount / chance.pick([1n, 2n]) } as const;
    const settlement: LeaseCall = chance.happens(0.7)
      ? { op: "commit", id, body: { idempotency_key: `${key}/c`, actual } }
      : { op: "release", id, body: { idempotency_key: `${key}/r` } };
    yield* ask<LeaseCall, AnyReply>(settlement, TRIES);
  }
}

export function* operator(plan: LeasePlan, chance: Chance): OtherScript {
  for (let number = 0; number < plan.operations; number += 1) {
    yield* sleep(chance.between(0, 4_000));
    yield* ask<LeaseCall, AnyReply>(operation(plan, chance, number), TRIES);
  }
}

function operation(plan: LeasePlan, chance: Chance, number: number): LeaseCall {
  const what = chance.weighted({
    fund: 4,
    freeze: 1,
    unfreeze: 2,
    suspend: 1,
    activate: 2,
    epoch: 1,
    settings: 2,
  });
  if (what === "suspend") return { op: "updateTenant", body: { status: "SUSPENDED" } };
  if (what === "activate" || plan.budgets.length === 0)
    return { op: "updateTenant", body: { status: "ACTIVE" } };
  if (what === "epoch") return { op: "raiseEpoch" };
  if (what === "settings" && plan.expiryChanges) {
    return { op: "setLeases", body: { on_expiry: chance.pick(["charge", "refund"]) } };
  }
  const { scope, unit } = chance.pick(plan.budgets);
  if (what === "freeze" || what === "unfreeze") return { op: what, query: { scope, unit } };
  const amount = { unit, amount: BigInt(chance.between(1, 100)) };
  const body = { operation: "CREDIT", amount, idempotency_key: `fund-${number}` } as const;
  return { op: "fund", query: { scope, unit }, body };
}
