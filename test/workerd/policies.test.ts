// Policies and periods over real objects: what they count and keep outlives the object's memory.

import { evictDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import type { TenantBudget } from "../../worker/tenant/tenant-budget.ts";
import { bodyOf, reserveRequest, tokens, verdictOf } from "../support/ledger-fixtures.ts";
import { START_MS, tenantWith, within } from "./support.ts";

const HOUR_MS = 3_600_000;

describe("policies", () => {
  test("and their rates outlive the object's memory", async () => {
    const { tenant, stub } = await tenantWith(1000);
    const subject = { tenant };
    await within(stub, START_MS, (budget) =>
      budget.createPolicy({
        name: "p",
        scope_pattern: `tenant:${tenant}`,
        caps: { max_tokens: 5 },
        rate_limits: { max_reservations_per_minute: 3 },
      }),
    );
    const verdicts: string[] = [];
    for (let call = 0; call < 5; call += 1) {
      const reply = await within(stub, START_MS, (budget) =>
        budget.reserve(reserveRequest(`k${call}`, 1, { subject })),
      );
      verdicts.push(reply.ok ? reply.body.decision : verdictOf(reply));
      await evictDurableObject(stub);
    }
    const capped = "ALLOW_WITH_CAPS";
    expect(verdicts).toEqual([capped, capped, capped, "429 LIMIT_EXCEEDED", "429 LIMIT_EXCEEDED"]);
    await within(stub, START_MS, (_, state) => state.storage.deleteAlarm());
  });
});

describe("periods", () => {
  test("keep every window's figures through evictions, int64 exact", async () => {
    const huge = 2n ** 62n;
    const { tenant, stub } = await tenantWith(huge);
    const name = { scope: `tenant:${tenant}`, unit: "TOKENS" } as const;
    const at = async <T>(afterMs: number, work: (budget: TenantBudget) => Promise<T>): Promise<T> => {
      const result = await within(stub, START_MS + afterMs, work);
      await evictDurableObject(stub);
      return result;
    };
    await at(0, (budget) => budget.setPeriod(name, { kind: "every", every_ms: HOUR_MS }));
    const request = reserveRequest("late", huge, { subject: { tenant }, ttl_ms: HOUR_MS });
    const { reservation_id: id = "" } = bodyOf(await at(60_000, (budget) => budget.reserve(request)));
    const refused = await at(60_000, (budget) => budget.reserve({ ...request, idempotency_key: "more" }));
    expect(refused).toMatchObject({
      error: "BUDGET_EXCEEDED",
      details: { resets_at_ms: START_MS + HOUR_MS - (START_MS % HOUR_MS) },
    });
    const next = await at(HOUR_MS, (budget) => budget.reserve({ ...request, idempotency_key: "next" }));
    expect(verdictOf(next)).toBe("200");
    const settled = await at(HOUR_MS + 1, (budget) =>
      budget.commit(id, { idempotency_key: "c", actual: tokens(huge - 1n) }),
    );
    expect(bodyOf(settled)).toMatchObject({ charged: tokens(huge - 1n) });
    const shown = bodyOf(await at(HOUR_MS + 2, (budget) => budget.getPeriod(name)));
    expect(shown.window).toMatchObject({ reserved: tokens(huge), spent: tokens(0n), remaining: tokens(0n) });
    expect(shown.passed_windows).toMatchObject([
      { spent: tokens(huge - 1n), reserved: tokens(0n), remaining: tokens(1n) },
    ]);
    await within(stub, START_MS, (_, state) => state.storage.deleteAlarm());
  });
});
