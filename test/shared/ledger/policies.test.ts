// Policies: which of them govern a request, what they come to, and that decisions obey them: caps, overage policy, lives
// of reservations, rates per minute.

import { Ledger, LocalLedger, MemoryStore, type PolicyInput, type ReserveInput } from "purser/ledger";
import { describe, expect, test } from "vitest";
import { parsePattern, patternsOf } from "../../../src/ledger/policies.ts";
import {
  bodyOf,
  budget,
  reserveRequest,
  testClock,
  tokens,
  verdictOf,
} from "../../support/ledger-fixtures.ts";

const MINUTE = 60_000;

function world(scopes: readonly string[] = ["tenant:acme"]) {
  const clock = testClock(1_800_000_000_000);
  const store = new MemoryStore();
  const authority = new LocalLedger({ tenant: "acme", now: clock.now, store });
  for (const scope of scopes) bodyOf(authority.createBudget(budget(scope, 1_000_000)));
  let calls = 0;
  const policy = (rest: Partial<PolicyInput> = {}, name = `policy ${calls}`) => {
    calls += 1;
    return bodyOf(authority.createPolicy({ name, scope_pattern: "tenant:acme", ...rest }));
  };
  const reserve = (rest: Partial<ReserveInput> = {}) => {
    calls += 1;
    return authority.reserve(reserveRequest(`key ${calls}`, 10, rest));
  };
  return { clock, store, authority, policy, reserve };
}

describe("patterns", () => {
  test.each([
    ["tenant:acme", "tenant:acme"],
    ["tenant:acme/*", "tenant:acme/*"],
    ["tenant:Acme/workspace:Eng/*", "tenant:acme/workspace:eng/*"],
    ["tenant:acme/agent:*", "tenant:acme/agent:*"],
    ["tenant:acme/workspace:eng/agent:Bot", "tenant:acme/workspace:eng/agent:bot"],
  ])("%s is read", (text, pattern) => {
    expect(parsePattern(text)).toEqual({ ok: true, tenant: "acme", pattern });
  });

  test.each([
    "agent:*",
    "*/agent:x",
    "*",
    "/*",
    "tenant:*",
    "tenant:*/agent:a",
    "tenant:acme/agent:b*",
    "tenant:acme/*/agent:x",
    "",
  ])("%s is refused", (text) => {
    expect(parsePattern(text).ok).toBe(false);
  });

  test("that fit a request are its scopes, their siblings' star and what is above", () => {
    const scopes = ["tenant:acme", "tenant:acme/workspace:w", "tenant:acme/workspace:w/agent:a"];
    expect(patternsOf(scopes)).toEqual([
      { pattern: "tenant:acme", scope: "tenant:acme" },
      { pattern: "tenant:*", scope: "tenant:acme" },
      { pattern: "tenant:acme/*", scope: "tenant:acme/workspace:w" },
      { pattern: "tenant:acme/workspace:w", scope: "tenant:acme/workspace:w" },
      { pattern: "tenant:acme/workspace:*", scope: "tenant:acme/workspace:w" },
      { pattern: "tenant:acme/workspace:w/*", scope: "tenant:acme/workspace:w/agent:a" },
      { pattern: "tenant:acme/workspace:w/agent:a", scope: "tenant:acme/workspace:w/agent:a" },
      { pattern: "tenant:acme/workspace:w/agent:*", scope: "tenant:acme/workspace:w/agent:a" },
    ]);
  });
});

describe("caps", () => {
  const decisions = ({ authority, reserve }: ReturnType<typeof world>, subject: ReserveInput["subject"]) => {
    const { estimate, action } = reserveRequest("x", 10);
    const decided = authority.decide({
      idempotency_key: `decide ${subject.agent} ${subject.workspace}`,
      subject,
      action,
      estimate,
    });
    return [reserve({ subject }), reserve({ subject, dry_run: true }), decided].map((reply) => {
      const { decision, caps } = bodyOf<{ decision: string; caps?: unknown }>(reply);
      return { decision, caps };
    });
  };

  test("come with reserve, dry run and decide where a policy fits, and nowhere else", () => {
    const here = world();
    here.policy({
      scope_pattern: "tenant:acme/agent:bot",
      caps: { max_tokens: 4096, tool_denylist: ["rm"] },
    });
    const capped = { decision: "ALLOW_WITH_CAPS", caps: { max_tokens: 4096, tool_denylist: ["rm"] } };
    const plain = { decision: "ALLOW", caps: undefined };
    expect(decisions(here, { tenant: "acme", agent: "Bot" })).toEqual([capped, capped, capped]);
    expect(decisions(here, { tenant: "acme", agent: "bots" })).toEqual([plain, plain, plain]);
    expect(decisions(here, { tenant: "acme", workspace: "w", agent: "bot" })).toEqual([plain, plain, plain]);
  });

  test("that constrain nothing leave a plain ALLOW", () => {
    const here = world();
    here.policy({ caps: { tool_allowlist: [], tool_denylist: [] } });
    here.policy({ caps: {} });
    expect(bodyOf(here.reserve()).decision).toBe("ALLOW");
  });

  test("are replayed as they were, whatever the policies say meanwhile", () => {
    const { authority, policy } = world();
    const made = policy({ caps: { max_tokens: 5 } });
    const first = bodyOf(authority.reserve(reserveRequest("same", 10)));
    bodyOf(authority.updatePolicy(made.policy_id, { caps: {} }));
    expect(bodyOf(authority.reserve(reserveRequest("same", 10)))).toEqual(first);
    expect(bodyOf(authority.reserve(reserveRequest("other", 10))).decision).toBe("ALLOW");
  });

  test("of equal priority are combined to the tightest of each", () => {
    const here = world();
    here.policy({ priority: 5, caps: { max_tokens: 100, cooldown_ms: 10, tool_allowlist: ["a", "b", "c"] } });
    here.policy({
      priority: 5,
      caps: { max_tokens: 200, cooldown_ms: 30, tool_allowlist: ["b", "c"], tool_denylist: ["c"] },
    });
    here.policy({ priority: 5, caps: { max_steps_remaining: 3, tool_denylist: ["b"] } });
    here.policy({ priority: 4, caps: { max_tokens: 1 } });
    expect(bodyOf(here.reserve()).caps).toEqual({
      max_tokens: 100,
      max_steps_remaining: 3,
      cooldown_ms: 30,
      tool_allowlist: ["c"],
    });
  });

  test("that leave no tool say so in a list that is not empty", () => {
    const here = world();
    here.policy({ caps: { tool_allowlist: ["a"] } });
    here.policy({ caps: { tool_allowlist: ["b"] } });
    expect(bodyOf(here.reserve()).caps).toEqual({ tool_allowlist: [""] });
  });
});

describe("priority and time", () => {
  test("the highest priority wins whole", () => {
    const { authority, policy, reserve } = world();
    policy({ priority: 1, caps: { max_tokens: 1 }, commit_overage_policy: "REJECT" });
    policy({ priority: 2, caps: { max_steps_remaining: 7 } });
    const { reservation_id: id = "", caps } = bodyOf(reserve());
    expect(caps).toEqual({ max_steps_remaining: 7 });
    const late = authority.commit(id, { idempotency_key: "c", actual: tokens(20) });
    expect(verdictOf(late)).toBe("200");
  });

  test("a policy counts from its first moment to the one before its end, unless disabled", () => {
    const { authority, clock, policy, reserve } = world();
    const from = clock.now() + 1000;
    const made = policy({
      caps: { max_tokens: 1 },
      effective_from: new Date(from).toISOString(),
      effective_until: new Date(from + 1000).toISOString(),
    });
    const at = (ms: number) => {
      clock.set(ms);
      return bodyOf(reserve()).decision;
    };
    expect([at(from - 1), at(from)]).toEqual(["ALLOW", "ALLOW_WITH_CAPS"]);
    bodyOf(authority.updatePolicy(made.policy_id, { status: "DISABLED" }));
    expect(at(from + 1)).toBe("ALLOW");
    bodyOf(authority.updatePolicy(made.policy_id, { status: "ACTIVE" }));
    expect([at(from + 999), at(from + 1000)]).toEqual(["ALLOW_WITH_CAPS", "ALLOW"]);
  });
});

describe("the overage policy", () => {
  /** What a commit of 20 on an estimate of 10 answers when these say so, from the strongest to the weakest. */
  function verdict(says: { request?: boolean; policy?: boolean; budget?: boolean }): string {
    const clock = testClock();
    const authority = new LocalLedger({ tenant: "acme", now: clock.now });
    const named = (which: boolean) => (which ? ("ALLOW_IF_AVAILABLE" as const) : ("REJECT" as const));
    bodyOf(
      authority.createBudget(
        budget(
          "tenant:acme",
          100,
          says.budget === undefined ? {} : { commit_overage_policy: named(says.budget) },
        ),
      ),
    );
    if (says.policy !== undefined) {
      bodyOf(
        authority.createPolicy({
          name: "p",
          scope_pattern: "tenant:acme",
          commit_overage_policy: named(says.policy),
        }),
      );
    }
    const rest = says.request === undefined ? {} : { overage_policy: named(says.request) };
    const { reservation_id: id = "" } = bodyOf(authority.reserve(reserveRequest("k", 10, rest)));
    return verdictOf(authority.commit(id, { idempotency_key: "c", actual: tokens(20) }));
  }

  test("is the request's, else the policy's, else the budget's", () => {
    expect(verdict({ request: true, policy: false, budget: false })).toBe("200");
    expect(verdict({ request: false, policy: true, budget: true })).toBe("409 BUDGET_EXCEEDED");
    expect(verdict({ policy: true, budget: false })).toBe("200");
    expect(verdict({ policy: false, budget: true })).toBe("409 BUDGET_EXCEEDED");
    expect(verdict({ budget: false })).toBe("409 BUDGET_EXCEEDED");
    expect(verdict({})).toBe("200");
  });
});

describe("lives of reservations", () => {
  test("take the policy's default, its maximum and its number of extensions, never more than the tenant's", () => {
    const { authority, policy, reserve } = world();
    policy({
      scope_pattern: "tenant:acme/*",
      reservation_ttl_override: { default_ttl_ms: 5000, max_ttl_ms: 8000, max_extensions: 1 },
    });
    policy({
      scope_pattern: "tenant:acme/app:long",
      priority: 9,
      reservation_ttl_override: { max_ttl_ms: 86_400_000, max_extensions: 100 },
    });
    const life = (subject: ReserveInput["subject"], ttl_ms?: number) =>
      bodyOf(reserve({ subject, ...(ttl_ms !== undefined && { ttl_ms }) })).remaining_ttl_ms;
    const agent = { tenant: "acme", agent: "a" };
    expect([life({ tenant: "acme" }), life(agent), life(agent, 60_000), life(agent, 2000)]).toEqual([
      60_000, 5000, 8000, 2000,
    ]);
    expect(life({ tenant: "acme", app: "long" }, 86_400_000)).toBe(3_600_000);

    const { reservation_id: id = "" } = bodyOf(reserve({ subject: agent }));
    const first = authority.extend(id, { idempotency_key: "e1", extend_by_ms: 60_000 });
    expect(bodyOf(first).remaining_ttl_ms).toBe(8000);
    const second = authority.extend(id, { idempotency_key: "e2", extend_by_ms: 1 });
    expect(verdictOf(second)).toBe("409 MAX_EXTENSIONS_EXCEEDED");
  });
});

describe("rates", () => {
  const start = 30_000_000 * MINUTE;

  test("let so many reservations through in each minute of the clock, and say when to come back", () => {
    const { clock, policy, reserve } = world();
    policy({ rate_limits: { max_reservations_per_minute: 3 } });
    clock.set(start + 10_000);
    const verdicts = () => [1, 2, 3, 4].map(() => verdictOf(reserve()));
    expect(verdicts()).toEqual(["200", "200", "200", "429 LIMIT_EXCEEDED"]);
    expect(reserve()).toMatchObject({
      retryAfterMs: 50_000,
      details: { limit_per_minute: 3, scope: "tenant:acme" },
    });
    clock.set(start + MINUTE - 1);
    expect(reserve()).toMatchObject({ ok: false, retryAfterMs: 1 });
    clock.set(start + MINUTE);
    expect(verdicts()).toEqual(["200", "200", "200", "429 LIMIT_EXCEEDED"]);
  });

  test("never limit a replay, a dry run or a decide, and count no refusal", () => {
    const { authority, clock, policy, reserve } = world();
    policy({ rate_limits: { max_reservations_per_minute: 2 } });
    clock.set(start);
    const first = authority.reserve(reserveRequest("first", 10));
    expect(verdictOf(reserve({ estimate: tokens(2_000_000) }))).toBe("409 BUDGET_EXCEEDED");
    expect(verdictOf(reserve({ dry_run: true }))).toBe("200");
    expect([verdictOf(reserve()), verdictOf(reserve())]).toEqual(["200", "429 LIMIT_EXCEEDED"]);
    expect(authority.reserve(reserveRequest("first", 10))).toEqual(first);
    const { subject, action, estimate } = reserveRequest("x", 10);
    expect(bodyOf(authority.decide({ idempotency_key: "d", subject, action, estimate })).decision).toBe(
      "ALLOW",
    );
    expect(bodyOf(reserve({ dry_run: true })).decision).toBe("ALLOW");
  });

  test("count for each scope that the pattern fits by itself, with everything below it", () => {
    const { clock, policy, reserve } = world();
    policy({ scope_pattern: "tenant:acme/*", rate_limits: { max_reservations_per_minute: 2 } });
    clock.set(start);
    const ask = (workspace?: string, agent?: string) =>
      verdictOf(
        reserve({ subject: { tenant: "acme", ...(workspace && { workspace }), ...(agent && { agent }) } }),
      );
    expect([ask("w", "a"), ask("w", "b"), ask("w", "c")]).toEqual(["200", "200", "429 LIMIT_EXCEEDED"]);
    expect([ask("v"), ask("v"), ask("v")]).toEqual(["200", "200", "429 LIMIT_EXCEEDED"]);
    expect([ask(), ask(), ask()]).toEqual(["200", "200", "200"]);
  });

  test("of two policies of the same priority both bind", () => {
    const { clock, policy, reserve } = world();
    policy({ rate_limits: { max_reservations_per_minute: 3 } });
    policy({ scope_pattern: "tenant:acme/agent:*", rate_limits: { max_reservations_per_minute: 1 } });
    clock.set(start);
    const ask = (agent: string) => verdictOf(reserve({ subject: { tenant: "acme", agent } }));
    expect([ask("a"), ask("a"), ask("b"), ask("c"), ask("d")]).toEqual([
      "200",
      "429 LIMIT_EXCEEDED",
      "200",
      "200",
      "429 LIMIT_EXCEEDED",
    ]);
  });

  test("limit commits likewise; a throttled commit stays possible", () => {
    const { authority, clock, policy, reserve } = world();
    policy({ rate_limits: { max_commits_per_minute: 1 } });
    clock.set(start);
    const ids = [1, 2].map(() => bodyOf(reserve({ ttl_ms: 600_000 })).reservation_id ?? "");
    const commit = (index: number) =>
      authority.commit(ids[index] ?? "", { idempotency_key: `c${index}`, actual: tokens(5) });
    const first = commit(0);
    expect([verdictOf(first), verdictOf(commit(1))]).toEqual(["200", "429 LIMIT_EXCEEDED"]);
    expect(commit(0)).toEqual(first);
    clock.advance(MINUTE);
    expect(verdictOf(commit(1))).toBe("200");
  });

  test("outlive the ledger's memory: no minute admits more, and little is lost", () => {
    for (const perMinute of [1, 5, 16, 17, 100]) {
      const clock = testClock(start);
      const store = new MemoryStore();
      const open = () => new Ledger({ tenant: "acme", store, secrets: ["s"] });
      let ledger = open();
      const turn = () => ({ nowMs: clock.now() });
      bodyOf(ledger.createTenant({ tenant_id: "acme", name: "Acme" }, turn()));
      bodyOf(ledger.createBudget(budget("tenant:acme", 1_000_000), turn()));
      const rate_limits = { max_reservations_per_minute: perMinute };
      bodyOf(ledger.createPolicy({ name: "p", scope_pattern: "tenant:acme", rate_limits }, turn()));
      let admitted = 0;
      const crashes = 3;
      for (let call = 0; call < perMinute + 20; call += 1) {
        if (call > 0 && call % Math.ceil((perMinute + 20) / (crashes + 1)) === 0) ledger = open();
        const reply = ledger.reserve(reserveRequest(`k${call}`, 1), turn());
        if (reply.ok) admitted += 1;
        else expect(reply.error).toBe("LIMIT_EXCEEDED");
      }
      expect(admitted).toBeLessThanOrEqual(perMinute);
      expect(admitted).toBeGreaterThanOrEqual(perMinute - crashes * (Math.ceil(perMinute / 16) - 1));
    }
  });

  test("are not used twice where the clock is put back: an older minute has no room, until the later one is over", () => {
    const { clock, policy, reserve, store } = world();
    policy({ rate_limits: { max_reservations_per_minute: 2 } });
    clock.set(start);
    const verdicts = () => [reserve(), reserve(), reserve()].map(verdictOf);
    expect(verdicts()).toEqual(["200", "200", "429 LIMIT_EXCEEDED"]);
    clock.set(start + 10 * MINUTE);
    expect(verdictOf(reserve())).toBe("200");
    clock.set(start + 30_000);
    for (const authority of [undefined, new LocalLedger({ tenant: "acme", now: clock.now, store })]) {
      const ask = reserveRequest("back", 1);
      const refused = authority === undefined ? reserve() : authority.reserve(ask);
      expect(refused).toMatchObject({ error: "LIMIT_EXCEEDED", retryAfterMs: 10 * MINUTE - 30_000 });
    }
    clock.set(start + 9 * MINUTE);
    expect(verdictOf(reserve())).toBe("429 LIMIT_EXCEEDED");
    clock.set(start + 10 * MINUTE);
    expect(verdicts()).toEqual(["200", "429 LIMIT_EXCEEDED", "429 LIMIT_EXCEEDED"]);
    clock.set(start + 11 * MINUTE);
    expect(verdicts()).toEqual(["200", "200", "429 LIMIT_EXCEEDED"]);
  });

  test("cost at most 16 written rows a minute", () => {
    const { clock, policy, reserve, store } = world();
    policy({ rate_limits: { max_reservations_per_minute: 100 } });
    clock.set(start);
    let rows = 0;
    const { writeRate } = store;
    store.writeRate = (rate) => {
      rows += 1;
      writeRate.call(store, rate);
    };
    const verdicts = Array.from({ length: 110 }, () => verdictOf(reserve()));
    expect(verdicts.filter((verdict) => verdict === "200").length).toBe(100);
    expect(rows).toBe(15);
  });
});

describe("policies are made, changed and listed", () => {
  test("a policy comes back as it was said, and a member given empty is taken back", () => {
    const { authority, clock } = world();
    const said = {
      name: "Engineering",
      description: "soft landing",
      scope_pattern: "tenant:acme/workspace:eng/*",
      priority: 10,
      caps: { max_tokens: 4096, tool_allowlist: ["search"] },
      commit_overage_policy: "REJECT" as const,
      reservation_ttl_override: { default_ttl_ms: 5000, max_ttl_ms: 6000, max_extensions: 0 },
      rate_limits: { max_reservations_per_minute: 6, max_commits_per_minute: 7 },
      effective_from: "2026-01-01T00:00:00.000Z",
      effective_until: "2126-01-01T00:00:00.000Z",
    };
    const made = bodyOf(authority.createPolicy(said));
    const stamps = {
      created_at: new Date(clock.now()).toISOString(),
      updated_at: new Date(clock.now()).toISOString(),
    };
    expect(made).toEqual({ ...said, policy_id: "pol_acme_1", status: "ACTIVE", ...stamps });
    clock.advance(5);
    const changed = bodyOf(
      authority.updatePolicy(made.policy_id, { name: "Eng", caps: {}, rate_limits: {} }),
    );
    const { caps: _, rate_limits: __, ...rest } = made;
    expect(changed).toEqual({ ...rest, name: "Eng", updated_at: new Date(clock.now()).toISOString() });
    expect(bodyOf(authority.listPolicies()).policies).toEqual([changed]);
  });

  test.each<[string, Partial<PolicyInput>, string]>([
    ["a name that is taken", { name: "taken" }, "409 DUPLICATE_RESOURCE"],
    ["another tenant's scope", { scope_pattern: "tenant:other/*" }, "403 FORBIDDEN"],
    ["a pattern without a tenant", { scope_pattern: "agent:*" }, "400 INVALID_REQUEST"],
    ["another tenant_id", { tenant_id: "other" }, "400 INVALID_REQUEST"],
    ["a negative priority", { priority: -1 }, "400 INVALID_REQUEST"],
    ["caps that are a list", { caps: [] as never }, "400 INVALID_REQUEST"],
    ["rates that are a list", { rate_limits: [] as never }, "400 INVALID_REQUEST"],
    ["a rate of 0", { rate_limits: { max_commits_per_minute: 0 } }, "400 INVALID_REQUEST"],
    [
      "a default above the maximum",
      { reservation_ttl_override: { default_ttl_ms: 5000, max_ttl_ms: 4000 } },
      "400 INVALID_REQUEST",
    ],
    [
      "a window that ends before it begins",
      { effective_from: "2026-01-02T00:00:00Z", effective_until: "2026-01-01T00:00:00Z" },
      "400 INVALID_REQUEST",
    ],
    [
      "caps that do not exist",
      { caps: { max_usd: 5 } as PolicyInput["caps"] & object },
      "400 INVALID_REQUEST",
    ],
    [
      "too many tools",
      { caps: { tool_denylist: Array.from({ length: 65 }, String) } },
      "400 INVALID_REQUEST",
    ],
  ])("%s is refused and nothing is made", (_, rest, verdict) => {
    const { authority, policy } = world();
    policy({}, "taken");
    const reply = authority.createPolicy({ name: "n", scope_pattern: "tenant:acme", ...rest });
    expect(verdictOf(reply)).toBe(verdict);
    expect(bodyOf(authority.listPolicies()).policies.length).toBe(1);
  });

  test("a change that is refused changes nothing", () => {
    const { authority, policy } = world();
    const made = policy({ reservation_ttl_override: { max_ttl_ms: 5000 } }, "a");
    policy({}, "b");
    const patch = (change: object) => verdictOf(authority.updatePolicy(made.policy_id, change));
    expect(patch({ name: "b" })).toBe("409 DUPLICATE_RESOURCE");
    expect(patch({ scope_pattern: "tenant:acme/*" })).toBe("400 INVALID_REQUEST");
    expect(verdictOf(authority.updatePolicy("pol_acme_9", {}))).toBe("404 NOT_FOUND");
    expect(bodyOf(authority.listPolicies()).policies[0]).toEqual(made);
  });

  test("lists are filtered and paged", () => {
    const { authority, policy } = world();
    for (const name of ["a", "b", "c", "d"])
      policy({ scope_pattern: name === "b" ? "tenant:acme/*" : "tenant:acme" }, name);
    bodyOf(authority.updatePolicy("pol_acme_3", { status: "DISABLED" }));
    const names = (query: object) => {
      const { policies, next_cursor: cursor } = bodyOf(authority.listPolicies(query));
      return { names: policies.map(({ name }) => name).join(""), cursor };
    };
    expect(names({}).names).toBe("abcd");
    expect(names({ status: "ACTIVE", scope_pattern: "tenant:ACME" }).names).toBe("ad");
    const first = names({ limit: "2", scope_pattern: "tenant:acme" });
    expect(first.names).toBe("ac");
    expect(names({ limit: 2, scope_pattern: "tenant:acme", cursor: first.cursor }).names).toBe("d");
    expect(verdictOf(authority.listPolicies({ cursor: "nonsense" }))).toBe("400 INVALID_REQUEST");
    expect(verdictOf(authority.listPolicies({ limit: 0 }))).toBe("400 INVALID_REQUEST");
  });

  test("beyond the tenant's limit none is made", () => {
    const store = new MemoryStore();
    const ledger = new Ledger({ tenant: "acme", store, secrets: ["s"], limits: { policiesMax: 2 } });
    const turn = { nowMs: 1 };
    bodyOf(ledger.createTenant({ tenant_id: "acme", name: "Acme" }, turn));
    const verdicts = ["a", "b", "c"].map((name) =>
      verdictOf(ledger.createPolicy({ name, scope_pattern: "tenant:acme" }, turn)),
    );
    expect(verdicts).toEqual(["201", "201", "429 LIMIT_EXCEEDED"]);
  });
});
