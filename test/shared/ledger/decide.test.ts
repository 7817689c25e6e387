// Decide: the same evaluation as a reserve's, with nothing taken and nothing written but the answer.

import type { DecideInput } from "purser/ledger";
import { describe, expect, test } from "vitest";
import {
  authorityWith,
  bodyOf,
  budget,
  reserveRequest,
  tokens,
  verdictOf,
} from "../../support/ledger-fixtures.ts";

const ask = (key: string, estimate: number, rest: Partial<DecideInput> = {}): DecideInput => ({
  idempotency_key: key,
  subject: { tenant: "acme" },
  action: { kind: "llm.completion", name: "test-model" },
  estimate: tokens(estimate),
  ...rest,
});

describe("decide", () => {
  test("allows what a reserve would take, in the protocol's shape, and takes nothing", () => {
    const { authority, figures } = authorityWith(budget("tenant:acme", 100));
    const subject = { tenant: "acme", agent: "Bot" };
    const reply = authority.decide(ask("k", 100, { subject, metadata: { a: 1 } }));
    expect(reply).toEqual({
      ok: true,
      status: 200,
      body: { decision: "ALLOW", affected_scopes: ["tenant:acme", "tenant:acme/agent:bot"] },
    });
    expect(figures()).toBe("100/0/0/0→100");
    expect(bodyOf(authority.decide(ask("other", 100))).decision).toBe("ALLOW");
  });

  test.each<[string, Partial<DecideInput>, string]>([
    ["more than there is", { estimate: tokens(101) }, "BUDGET_EXCEEDED"],
    ["a subject without any budget", { subject: { agent: "x" } }, "BUDGET_NOT_FOUND"],
  ])("%s is a DENY with its reason, not an error", (_, rest, reason_code) => {
    const { authority } = authorityWith(budget("tenant:acme", 100));
    const body = bodyOf(authority.decide(ask("k", 1, rest)));
    expect(body).toMatchObject({ decision: "DENY", reason_code });
    expect(Object.keys(body).sort()).toEqual(["affected_scopes", "decision", "reason_code"]);
  });

  test("a budget over its limit, frozen work aside, is a DENY with the reserve's own reason", () => {
    const { authority, reserve, reserveId } = authorityWith(budget("tenant:acme", 60));
    bodyOf(authority.commit(reserveId("k", 50), { idempotency_key: "c", actual: tokens(90) }));
    expect(bodyOf(authority.decide(ask("k", 0))).reason_code).toBe("OVERDRAFT_LIMIT_EXCEEDED");
    expect(verdictOf(reserve("again", 0))).toBe("409 OVERDRAFT_LIMIT_EXCEEDED");
  });

  test.each<[string, Partial<DecideInput>, string]>([
    ["a wrong unit", { estimate: { unit: "CREDITS", amount: 1 } }, "400 UNIT_MISMATCH"],
    ["another tenant", { subject: { tenant: "other" } }, "403 FORBIDDEN"],
    ["a field of reserve's own", { ttl_ms: 1000 } as Partial<DecideInput>, "400 INVALID_REQUEST"],
    ["an empty subject", { subject: {} }, "400 INVALID_REQUEST"],
  ])("%s is an error", (_, rest, verdict) => {
    const { authority } = authorityWith(budget("tenant:acme", 100));
    expect(verdictOf(authority.decide(ask("k", 1, rest)))).toBe(verdict);
  });

  test("is replayed though the budget changed, a denial too, for this day and the next", () => {
    const { authority, clock, reserveId } = authorityWith(budget("tenant:acme", 100));
    const allowed = authority.decide(ask("allowed", 100));
    const denied = authority.decide(ask("denied", 101));
    bodyOf(
      authority.fund(
        { scope: "tenant:acme", unit: "TOKENS" },
        { operation: "CREDIT", amount: tokens(1), idempotency_key: "f" },
      ),
    );
    reserveId("r", 50);
    clock.advance(86_400_000);
    expect(authority.decide(ask("allowed", 100))).toEqual(allowed);
    expect(authority.decide(ask("denied", 101))).toEqual(denied);
    expect(verdictOf(authority.decide(ask("allowed", 99)))).toBe("409 IDEMPOTENCY_MISMATCH");
    clock.advance(86_400_000);
    expect(bodyOf(authority.decide(ask("denied", 101))).decision).toBe("ALLOW");
  });

  test("has keys of its own, and an error keeps none", () => {
    const { authority, reserve } = authorityWith(budget("tenant:acme", 100));
    bodyOf(reserve("k", 10));
    bodyOf(authority.decide(ask("k", 10)));
    bodyOf(reserve("d", 10, { dry_run: true }));
    bodyOf(authority.decide(ask("d", 20)));
    expect(verdictOf(authority.decide(ask("u", 1, { estimate: { unit: "CREDITS", amount: 1 } })))).toBe(
      "400 UNIT_MISMATCH",
    );
    expect(verdictOf(authority.decide(ask("u", 1)))).toBe("200");
  });

  test("agrees with a reserve and a dry run of the same request, whatever the state", () => {
    const { authority, reserve } = authorityWith(
      budget("tenant:acme", 100),
      budget("tenant:acme/agent:a", 30),
    );
    const subjects = [{ tenant: "acme" }, { tenant: "acme", agent: "a" }, { agent: "a" }];
    let calls = 0;
    for (const estimate of [0, 10, 25, 31, 60, 101]) {
      for (const subject of subjects) {
        calls += 1;
        const decided = bodyOf(authority.decide(ask(`d${calls}`, estimate, { subject })));
        const dry = bodyOf(reserve(`y${calls}`, estimate, { subject, dry_run: true }));
        const live = authority.reserve(reserveRequest(`l${calls}`, estimate, { subject }));
        expect([dry.decision, dry.reason_code]).toEqual([decided.decision, decided.reason_code]);
        expect(live.ok).toBe(decided.decision === "ALLOW");
        const reason = !live.ok && live.error === "NOT_FOUND" ? "BUDGET_NOT_FOUND" : !live.ok && live.error;
        expect(decided.reason_code ?? false).toBe(reason);
      }
    }
  });
});
