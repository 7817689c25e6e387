// Tokens by their rules: who may make which, what a holder can do and what it cannot, whose cap a spend counts in, and how
// they end. Everything here asks the ledger; what their text is worth is asked over HTTP.

import type { Caller } from "purser/ledger";
import { describe, expect, test } from "vitest";
import {
  bodyOf,
  budget,
  eventRequest,
  reserveRequest,
  tokens,
  verdictOf,
} from "../../support/ledger-fixtures.ts";
import { KEY, LIFE_MS, LIFECYCLE, PAGE, SCOPE, SUBJECT, world } from "../../support/token-world.ts";

describe("issuing", () => {
  test("a key with the permission makes a token with all it was asked for, and the list shows it", () => {
    const { ledger, as, issue, clock } = world();
    const body = bodyOf(
      issue({
        scope: "tenant:ACME/agent:A",
        max_per_operation: tokens(10),
        permissions: ["reservations:create", "balances:read"],
        allowed_origins: [PAGE],
        ttl_ms: 60_000,
        name: "page",
      }),
    );
    expect(body).toEqual({
      token_id: `acme_${"01".repeat(16)}`,
      tenant_id: "acme",
      status: "ACTIVE",
      scope: SCOPE,
      permissions: ["reservations:create", "balances:read"],
      cap: tokens(100n),
      spent: tokens(0n),
      reserved: tokens(0n),
      remaining: tokens(100n),
      max_per_operation: tokens(10n),
      allowed_origins: [PAGE],
      name: "page",
      ancestors: [],
      key_id: "acme_0123456789ab",
      created_at_ms: clock.now(),
      expires_at_ms: clock.now() + 60_000,
    });
    expect(bodyOf(ledger.listTokens({}, as()))).toEqual({ tokens: [body], has_more: false });
    const [row] = bodyOf(ledger.listAudit({ operation: "issueToken" }, as())).logs;
    expect(row).toMatchObject({
      actor_type: "api_key",
      key_id: "acme_0123456789ab",
      resource_type: "token",
      resource_id: body.token_id,
      amount: tokens(100n),
    });
  });

  test("without a word it lives a quarter of an hour and may do what its key may", () => {
    const { issue, clock } = world({}, { permissions: ["reservations:create", "budgets:write"] });
    expect(bodyOf(issue())).toMatchObject({
      permissions: ["reservations:create"],
      expires_at_ms: clock.now() + LIFE_MS,
    });
  });

  test("a key that may not is refused, and so is one that may no longer", () => {
    const { ledger, as, issue } = world();
    bodyOf(ledger.changeApiKeySettings(KEY.keyId, { may_issue_tokens: false }, as()));
    expect(issue()).toMatchObject({ status: 403, message: "The API key may not issue tokens" });
  });

  test("a trusted Worker needs no key", () => {
    const { ledger, as, random } = world();
    const body = bodyOf(ledger.issueToken({ scope: "tenant:acme", cap: tokens(1) }, random(), as()));
    expect(body).toMatchObject({ status: "ACTIVE", permissions: LIFECYCLE });
    expect(body).not.toHaveProperty("key_id");
  });

  test.each<[string, object, string]>([
    ["no cap", { cap: undefined }, "400 INVALID_REQUEST cap must be a JSON object"],
    ["a cap that is no amount", { cap: 5 }, "400 INVALID_REQUEST cap must be a JSON object"],
    ["a negative cap", { cap: { unit: "TOKENS", amount: -1 } }, "400 INVALID_REQUEST cap.amount must be"],
    ["another tenant's scope", { scope: "tenant:other" }, "403 FORBIDDEN scope must belong to tenant acme"],
    ["no scope", { scope: "agent:a" }, "400 INVALID_REQUEST scope: must start with tenant:"],
    [
      "a longer life",
      { ttl_ms: LIFE_MS + 1 },
      "400 INVALID_REQUEST ttl_ms must be an integer from 1000 to 900000",
    ],
    ["no life", { ttl_ms: 0 }, "400 INVALID_REQUEST ttl_ms must be"],
    [
      "a right that no token has",
      { permissions: ["budgets:write"] },
      "400 INVALID_REQUEST permissions.0 must be one",
    ],
    ["no rights", { permissions: [] }, "400 INVALID_REQUEST permissions must have 1 to 6 entries"],
    ["no origin at all", { allowed_origins: [] }, "400 INVALID_REQUEST allowed_origins must have 1 to 4"],
    [
      "an origin that is none",
      { allowed_origins: ["*"] },
      "400 INVALID_REQUEST allowed_origins.0 must be an origin",
    ],
    [
      "two units",
      { max_per_operation: { unit: "CREDITS", amount: 1 } },
      "400 UNIT_MISMATCH max_per_operation.unit must be TOKENS",
    ],
    ["a field too many", { budget: 1 }, "400 INVALID_REQUEST budget is not a known field"],
  ])("%s: refused, and nothing is made", (_, rest, fault) => {
    const { issue, store } = world();
    const reply = issue(rest);
    if (reply.ok) throw new Error("expected a refusal");
    expect(`${reply.status} ${reply.error} ${reply.message}`).toContain(fault);
    expect(store.countTokens()).toBe(0);
  });

  test.each<[string, object, object, string]>([
    [
      "a right that the key lacks",
      { permissions: ["reservations:create"] },
      { permissions: ["balances:read"] },
      "permissions",
    ],
    ["a scope outside the key's filter", { scope_filter: ["agent:b"] }, {}, "scope"],
    ["a scope above the key's filter", { scope_filter: ["agent:a"] }, { scope: "tenant:acme" }, "scope"],
  ])("%s: 403", (_, key, rest, field) => {
    const { issue } = world({}, key);
    expect(issue(rest)).toMatchObject({ status: 403, error: "FORBIDDEN", details: { field } });
  });

  test("a key bound to origins gives tokens for these alone", () => {
    const { ledger, as, issue } = world();
    bodyOf(ledger.changeApiKeySettings(KEY.keyId, { allowed_origins: [PAGE] }, as()));
    const here = { ...KEY, origin: PAGE };
    expect(issue({}, here)).toMatchObject({ status: 403, details: { field: "allowed_origins" } });
    expect(issue({ allowed_origins: ["https://b.example"] }, here)).toMatchObject({ status: 403 });
    expect(verdictOf(issue({ allowed_origins: [PAGE] }, here))).toBe("201");
  });
});

describe("a holder", () => {
  test("spends within its cap, from every budget above and the cap alike", () => {
    const { issue, callerOf, hold, reserve, commit, figures } = world();
    const token = callerOf(issue());
    const id = hold(token, "a", 60);
    expect([figures(token), figures(SCOPE), figures("tenant:acme")]).toEqual([
      "0/60→40",
      "0/60→9940",
      "0/60→9940",
    ]);
    expect(reserve(token, "b", 41)).toMatchObject({
      status: 409,
      error: "BUDGET_EXCEEDED",
      message: `Budget exceeded for the token's cap: x-token:${token.tokenId}`,
      details: { requested: 41n, remaining: 40n, allocated: 100n, reserved: 60n },
    });
    expect(bodyOf(commit(token, id, 25))).toMatchObject({ charged: tokens(25n), released: tokens(35n) });
    expect([figures(token), figures(SCOPE)]).toEqual(["25/0→75", "25/0→9975"]);
    expect(verdictOf(reserve(token, "c", 76))).toBe("409 BUDGET_EXCEEDED");
    expect(verdictOf(reserve(token, "d", 75))).toBe("200");
  });

  test("0 is zero: not one unit, by no operation; only nothing is granted", () => {
    const { ledger, as, issue, callerOf, reserve, hold, commit, figures } = world();
    for (const rest of [{ cap: tokens(0) }, { max_per_operation: tokens(0) }]) {
      const token = callerOf(issue(rest));
      expect(reserve(token, "one", 1).ok).toBe(false);
      const { estimate: _, ...asking } = reserveRequest("e", 1, { subject: SUBJECT });
      const event = ledger.event({ ...asking, actual: tokens(1) }, as(token));
      expect(event.ok ? event.body.charged : event.error).toEqual("cap" in rest ? tokens(0n) : "FORBIDDEN");
      const other = callerOf(issue(rest));
      expect(bodyOf(commit(other, hold(other, "none", 0), 5)).charged).toEqual(tokens(0n));
      expect([figures(token), figures(other)]).toEqual(
        "cap" in rest ? ["0/0→0", "0/0→0"] : ["0/0→100", "0/0→100"],
      );
    }
    expect(figures("tenant:acme")).toBe("0/0→10000");
  });

  test("asks for no more at once than its most per operation, and is charged no more", () => {
    const { ledger, as, issue, callerOf, reserve, hold, commit, figures } = world();
    const token = callerOf(issue({ max_per_operation: tokens(10) }));
    const refusal = { status: 403, message: "The token allows at most 10 per operation, got 11" };
    expect(reserve(token, "a", 11)).toMatchObject(refusal);
    expect(reserve(token, "b", 11, { dry_run: true })).toMatchObject(refusal);
    expect(ledger.decide(reserveRequest("c", 11, { subject: SUBJECT }), as(token))).toMatchObject(refusal);
    expect(ledger.event(eventRequest("d", 11, { subject: SUBJECT }), as(token))).toMatchObject(refusal);
    expect(bodyOf(commit(token, hold(token, "e", 4), 50)).charged).toEqual(tokens(10n));
    expect(figures(token)).toBe("10/0→90");
    const strict = hold(token, "f", 10, { overage_policy: "REJECT" });
    expect(verdictOf(commit(token, strict, 11))).toBe("409 BUDGET_EXCEEDED");
  });

  test("acts in its scope and below, in its unit, and nowhere else", () => {
    const { ledger, as, issue, callerOf, reserve } = world();
    bodyOf(ledger.createBudget(budget("tenant:acme", 5, { unit: "CREDITS" }), as()));
    const token = callerOf(issue());
    const of = (subject: object) => verdictOf(reserve(token, JSON.stringify(subject), 1, { subject }));
    expect(of({ tenant: "acme", agent: "A" })).toBe("200");
    expect(of({ tenant: "acme", agent: "a", toolset: "t" })).toBe("200");
    for (const subject of [
      { tenant: "acme" },
      { tenant: "acme", agent: "ab" },
      { tenant: "acme", workspace: "w", agent: "a" },
      { agent: "a" },
      { tenant: "other", agent: "a" },
    ]) {
      expect(of(subject)).toBe("403 FORBIDDEN");
    }
    const estimate = { unit: "CREDITS", amount: 1 } as const;
    expect(verdictOf(reserve(token, "credits", 1, { estimate }))).toBe("400 UNIT_MISMATCH");
    const balances = bodyOf(ledger.balances({ tenant: "acme" }, as(token))).balances;
    expect(balances.map(({ scope_path }) => scope_path)).toEqual([SCOPE]);
  });

  test("does what it has the permission for, and what its key still has", () => {
    const { ledger, as, issue, callerOf, reserve } = world();
    const token = callerOf(issue({ permissions: ["reservations:create"] }));
    expect(verdictOf(reserve(token, "a", 1))).toBe("200");
    expect(ledger.balances({ tenant: "acme" }, as(token))).toMatchObject({
      status: 403,
      message: "The token lacks the permission balances:read",
    });
    for (const refused of [
      ledger.createBudget(budget(`${SCOPE}/toolset:t`, 1), as(token)),
      ledger.createPolicy({ name: "p", scope_pattern: SCOPE }, as(token)),
      ledger.issueToken({ scope: SCOPE, cap: tokens(1) }, new Uint8Array(16), as(token)),
    ]) {
      expect(refused).toMatchObject({ status: 403 });
    }
    expect(bodyOf(ledger.introspect(as(token)))).toMatchObject({
      auth_type: "tenant",
      permissions: ["reservations:create"],
    });
    bodyOf(ledger.updateApiKey(KEY.keyId, { permissions: ["balances:read"] }, as()));
    expect(verdictOf(reserve(token, "b", 1))).toBe("403 FORBIDDEN");
  });

  test("from another origin, or from none: 403", () => {
    const { issue, callerOf, reserve } = world();
    const token = callerOf(issue({ allowed_origins: [PAGE] }));
    expect(verdictOf(reserve(token, "a", 1))).toBe("403 FORBIDDEN");
    expect(verdictOf(reserve({ ...token, origin: "https://evil.example" }, "a", 1))).toBe("403 FORBIDDEN");
    expect(verdictOf(reserve({ ...token, origin: PAGE }, "a", 1))).toBe("200");
  });

  test("sees and settles what it made, and nobody else's; the tenant's key settles all", () => {
    const { ledger, as, issue, callerOf, hold, commit, release } = world();
    const [mine, yours] = [callerOf(issue()), callerOf(issue())];
    const own = hold(mine, "mine", 1);
    const others = [hold(yours, "yours", 1), hold(KEY, "the key's", 1), hold(undefined, "trusted", 1)];
    for (const id of others) {
      const { nowMs, caller } = as(mine);
      const turn = { nowMs, caller };
      for (const refused of [
        commit(mine, id, 1),
        release(mine, id),
        ledger.extend(id, { idempotency_key: "x", extend_by_ms: 1 }, turn),
        ledger.getReservation(id, turn),
      ]) {
        expect(verdictOf(refused)).toBe("403 FORBIDDEN");
      }
    }
    // The others' are the newer ones, and a page of one must get past them.
    const listed = bodyOf(ledger.listReservations({ limit: 1 }, as(mine))).reservations;
    expect(listed.map(({ reservation_id }) => reservation_id)).toEqual([own]);
    expect(bodyOf(ledger.listReservations({}, as(KEY))).reservations).toHaveLength(4);
    expect(bodyOf(ledger.listReservations({ idempotency_key: "mine" }, as(mine))).reservations).toHaveLength(
      1,
    );
    expect(bodyOf(ledger.listReservations({ idempotency_key: "yours" }, as(mine))).reservations).toEqual([]);
    expect(verdictOf(commit(KEY, own, 1))).toBe("200");
  });

  test("has idempotency keys of its own: nobody's call is answered with another's, or blocked by it", () => {
    const { ledger, as, issue, callerOf, hold, reserve, figures } = world();
    const [mine, yours] = [callerOf(issue()), callerOf(issue())];
    const first = hold(mine, "call-1", 5);
    expect(hold(mine, "call-1", 5)).toBe(first);
    expect(verdictOf(reserve(mine, "call-1", 6))).toBe("409 IDEMPOTENCY_MISMATCH");
    expect(hold(yours, "call-1", 5)).not.toBe(first);
    expect(hold(KEY, "call-1", 7)).not.toBe(first);
    const charge = (caller: Caller) => ledger.event(eventRequest("e", 3, { subject: SUBJECT }), as(caller));
    for (const caller of [mine, yours, mine, KEY]) expect(verdictOf(charge(caller))).toBe("201");
    expect([figures(mine), figures(yours), figures(SCOPE)]).toEqual(["3/5→92", "3/5→92", "9/17→9974"]);
    expect(bodyOf(ledger.getReservation(first, as(mine))).idempotency_key).toBe("call-1");
  });

  test("that says it used an absurd amount stops itself, and nobody else", () => {
    const { ledger, as, issue, narrow, callerOf, hold, commit, reserve, figures } = world();
    bodyOf(ledger.createBudget(budget(`${SCOPE}/toolset:t`, 50), as()));
    const parent = callerOf(issue());
    const child = callerOf(narrow(parent));
    const subject = { ...SUBJECT, toolset: "t" };
    const id = hold(child, "a", 1, { subject });
    // Its cap would pay for 100, the budget for 50.
    expect(bodyOf(commit(child, id, 2n ** 62n)).charged).toEqual(tokens(50n));
    expect([figures(child), figures(parent), figures(`${SCOPE}/toolset:t`)]).toEqual([
      "50/0→50",
      "50/0→50",
      "50/0→0",
    ]);
    const over = bodyOf(ledger.balances({ tenant: "acme" }, as())).balances.filter((it) => it.is_over_limit);
    expect(over).toEqual([]);
    expect(verdictOf(reserve(child, "b", 1))).toBe("409 OVERDRAFT_LIMIT_EXCEEDED");
    expect(verdictOf(reserve(parent, "c", 1))).toBe("200");
    const event = ledger.event(eventRequest("e", 2n ** 62n, { subject: SUBJECT }), as(parent));
    expect(bodyOf(event).charged).toEqual(tokens(49n));
    expect(verdictOf(reserve(KEY, "d", 1))).toBe("200");
  });

  test("can choose no debt; what the operator allows to be owed ends at its cap as well", () => {
    const { ledger, as, issue, callerOf, reserve, hold, commit, figures } = world();
    const limit = { overdraft_limit: tokens(1000), commit_overage_policy: "ALLOW_WITH_OVERDRAFT" };
    bodyOf(ledger.createBudget({ ...budget(`${SCOPE}/toolset:t`, 10), ...limit } as never, as()));
    const token = callerOf(issue());
    const subject = { ...SUBJECT, toolset: "t" };
    const asked = { overage_policy: "ALLOW_WITH_OVERDRAFT", subject };
    expect(verdictOf(reserve(token, "a", 1, asked))).toBe("403 FORBIDDEN");
    expect(ledger.event({ ...eventRequest("e", 1), ...asked } as never, as(token))).toMatchObject({
      status: 403,
    });
    expect(bodyOf(commit(token, hold(token, "b", 10, { subject }), 500)).charged).toEqual(tokens(100n));
    expect(figures(token)).toBe("100/0→0");
    expect(figures(`${SCOPE}/toolset:t`)).toBe("10/0→-90");
  });

  test("has its expired holds back before it is decided, however many others are due", () => {
    const { ledger, store, as, clock, issue, callerOf, hold, reserve } = world();
    store.deleteAccount({ scope: "tenant:acme", unit: "TOKENS" });
    bodyOf(ledger.createBudget(budget("tenant:acme/agent:b", 1000), as()));
    bodyOf(ledger.createBudget(budget("tenant:acme/agent:c", 1000), as()));
    // No budget is on two of the paths; only the cap is on those of the token's.
    const token = callerOf(issue({ scope: "tenant:acme" }));
    for (let n = 0; n < 200; n++) hold(KEY, `b${n}`, 1, { ttl_ms: 1000 });
    clock.advance(1);
    hold(token, "mine", 100, { ttl_ms: 1000, subject: { tenant: "acme", agent: "b" } });
    clock.advance(60_000);
    expect(verdictOf(reserve(token, "again", 100, { subject: { tenant: "acme", agent: "c" } }))).toBe("200");
  });

  test("holds at most so many reservations, its children's included", () => {
    const { issue, narrow, callerOf, hold, reserve, release } = world({
      limits: { activeReservationsPerTokenMax: 3 },
    });
    const parent = callerOf(issue());
    const child = callerOf(narrow(parent));
    const first = hold(parent, "a", 0);
    for (const key of ["b", "c"]) hold(child, key, 0);
    expect(verdictOf(reserve(child, "d", 0))).toBe("429 LIMIT_EXCEEDED");
    expect(verdictOf(reserve(parent, "d", 0))).toBe("429 LIMIT_EXCEEDED");
    expect(verdictOf(reserve(KEY, "d", 0))).toBe("200");
    bodyOf(release(parent, first));
    expect(verdictOf(reserve(child, "d", 0))).toBe("200");
  });
});

describe("nothing shows a cap as a budget", () => {
  test("not in replies, balances, budgets, reservations or the audit log's budgets", () => {
    const { ledger, as, issue, callerOf, hold, commit } = world();
    const token = callerOf(issue());
    const id = hold(token, "a", 5);
    const shown = [
      ledger.reserve(reserveRequest("b", 5, { subject: SUBJECT }), as(token)),
      ledger.decide(reserveRequest("c", 5, { subject: SUBJECT }), as(token)),
      ledger.reserve(reserveRequest("d", 5, { subject: SUBJECT, dry_run: true }), as(token)),
      ledger.extend(id, { idempotency_key: "x", extend_by_ms: 1 }, as(token)),
      ledger.event(eventRequest("e", 5, { subject: SUBJECT }), as(token)),
      ledger.getReservation(id, as()),
      commit(token, id, 5),
      ledger.listReservations({}, as()),
      ledger.balances({ tenant: "acme" }, as()),
      ledger.listBudgets({}, as()),
    ].map((reply) => bodyOf<object>(reply));
    expect(
      JSON.stringify(shown, (_, value) => (typeof value === "bigint" ? String(value) : value)),
    ).not.toContain("x-token");
    expect(shown[0]).toMatchObject({ affected_scopes: ["tenant:acme", SCOPE] });
    expect(ledger.lookupBudget({ scope: `x-token:${token.tokenId}`, unit: "TOKENS" }, as())).toMatchObject({
      ok: false,
    });
  });

  test("and caps take no place among a tenant's budgets", () => {
    const { ledger, as, issue } = world({ limits: { budgetsMax: 3 } });
    for (let n = 0; n < 3; n++) bodyOf(issue());
    expect(verdictOf(ledger.createBudget(budget(`${SCOPE}/toolset:t`, 1), as()))).toBe("201");
    expect(verdictOf(ledger.createBudget(budget(`${SCOPE}/toolset:u`, 1), as()))).toBe("429 LIMIT_EXCEEDED");
  });
});

describe("narrowing", () => {
  const terms = {
    permissions: ["reservations:create", "reservations:commit"],
    max_per_operation: tokens(50),
    allowed_origins: [PAGE, "https://b.example"],
    ttl_ms: 60_000,
  };
  const here = { origin: PAGE };

  test("what is left out is as the parent's; the family shows in the id", () => {
    const { issue, narrow, callerOf, clock } = world();
    const parent = callerOf(issue(terms));
    clock.advance(10_000);
    const child = bodyOf(narrow({ ...parent, ...here }, { cap: tokens(30) }));
    expect(child).toMatchObject({
      scope: SCOPE,
      permissions: terms.permissions,
      cap: tokens(30n),
      max_per_operation: tokens(50n),
      allowed_origins: terms.allowed_origins,
      expires_at_ms: clock.now() + 50_000,
      ancestors: [`acme_${parent.tokenId}`],
      key_id: "acme_0123456789ab",
    });
    expect(child.token_id.slice(0, 21)).toBe(`acme_${parent.tokenId}`.slice(0, 21));
  });

  test.each<[string, object, string]>([
    ["a scope above", { scope: "tenant:acme" }, "scope"],
    ["a scope beside it", { scope: "tenant:acme/agent:b" }, "scope"],
    ["a scope that only begins like it", { scope: `${SCOPE}b` }, "scope"],
    ["more budget", { cap: tokens(101) }, "cap"],
    [
      "another unit",
      { cap: { unit: "CREDITS", amount: 1 }, max_per_operation: { unit: "CREDITS", amount: 1 } },
      "cap",
    ],
    ["more at once", { max_per_operation: tokens(51) }, "max_per_operation"],
    ["another right", { permissions: ["reservations:create", "balances:read"] }, "permissions"],
    ["another origin", { allowed_origins: ["https://c.example"] }, "allowed_origins"],
    ["a longer life", { ttl_ms: 60_001 }, "ttl_ms"],
  ])("%s is refused, not cut", (_, rest, field) => {
    const { store, issue, narrow, callerOf } = world();
    const parent = callerOf(issue(terms));
    const reply = narrow({ ...parent, ...here }, rest);
    expect(reply).toMatchObject({ status: 403, error: "FORBIDDEN", details: { field } });
    expect(store.countTokens()).toBe(1);
    const tight = {
      ...terms,
      scope: `${SCOPE}/toolset:t`,
      cap: tokens(100),
      permissions: ["reservations:create"],
    };
    expect(verdictOf(narrow({ ...parent, ...here }, tight))).toBe("201");
  });

  test("cap and most per operation are required where the parent's are narrower than nothing: 0 stays 0", () => {
    const { issue, narrow, callerOf } = world();
    const parent = callerOf(issue({ cap: tokens(0), max_per_operation: tokens(0) }));
    expect(verdictOf(narrow(parent, { cap: tokens(1) }))).toBe("403 FORBIDDEN");
    expect(verdictOf(narrow(parent, { cap: tokens(0), max_per_operation: tokens(1) }))).toBe("403 FORBIDDEN");
    expect(bodyOf(narrow(parent, { cap: tokens(0) }))).toMatchObject({ max_per_operation: tokens(0n) });
    expect(verdictOf(narrow(parent, { cap: undefined }))).toBe("400 INVALID_REQUEST");
  });

  test("four deep, not five; and a key narrows nothing", () => {
    const { issue, narrow, callerOf } = world();
    let holder = callerOf(issue());
    for (let depth = 2; depth <= 4; depth++) holder = callerOf(narrow(holder));
    expect(narrow(holder)).toMatchObject({ status: 403, message: "Tokens are narrowed at most 3 times" });
    expect(verdictOf(narrow(KEY))).toBe("403 FORBIDDEN");
  });

  test("a family makes so many, and a tenant so many", () => {
    const { issue, narrow, callerOf } = world({ limits: { tokensPerFamilyMax: 3, tokensMax: 5 } });
    const parent = callerOf(issue());
    for (let n = 0; n < 2; n++) bodyOf(narrow(parent));
    expect(verdictOf(narrow(parent))).toBe("429 LIMIT_EXCEEDED");
    bodyOf(issue());
    bodyOf(issue());
    expect(verdictOf(issue())).toBe("429 LIMIT_EXCEEDED");
  });
});

describe("a spend counts once in every cap above it", () => {
  test("through reserve, commit, release, expiry and event", () => {
    const { ledger, as, clock, issue, narrow, callerOf, hold, commit, release, figures } = world();
    const root = callerOf(issue({ cap: tokens(1000) }));
    const left = callerOf(narrow(root, { cap: tokens(600) }));
    const leaf = callerOf(narrow(left, { cap: tokens(600) }));
    const right = callerOf(narrow(root, { cap: tokens(600) }));
    const all = () => [root, left, leaf, right, SCOPE].map(figures);

    const kept = hold(leaf, "a", 100);
    const given = hold(leaf, "b", 50);
    hold(right, "c", 30, { ttl_ms: 1000 });
    expect(all()).toEqual(["0/180→820", "0/150→450", "0/150→450", "0/30→570", "0/180→9820"]);
    bodyOf(commit(leaf, kept, 120));
    expect(all()).toEqual(["120/80→800", "120/50→430", "120/50→430", "0/30→570", "120/80→9800"]);
    bodyOf(release(left, given));
    expect(all()).toEqual(["120/30→850", "120/0→480", "120/0→480", "0/30→570", "120/30→9850"]);
    clock.advance(60_000);
    expect(bodyOf(ledger.listTokens({}, as(right))).tokens[0]).toMatchObject({ reserved: tokens(0n) });
    expect(all()).toEqual(["120/0→880", "120/0→480", "120/0→480", "0/0→600", "120/0→9880"]);
    bodyOf(ledger.event(eventRequest("e", 500, { subject: SUBJECT }), as(right)));
    expect(all()).toEqual(["620/0→380", "120/0→480", "120/0→480", "500/0→100", "620/0→9380"]);
    // Left has 480 of its own, and what it came from has 380.
    const refused = ledger.reserve(reserveRequest("f", 381, { subject: SUBJECT }), as(leaf));
    expect(refused).toMatchObject({ status: 409, details: { scope: `x-token:${root.tokenId}` } });
    expect(figures(leaf)).toBe("120/0→480");
  });
});

describe("the end of a token", () => {
  test("expired: 401, to the millisecond, and renewed by its key it stands where its cap stood", () => {
    const { ledger, as, clock, issue, callerOf, hold, commit, reserve, figures } = world();
    const token = callerOf(issue({ ttl_ms: 1000 }));
    bodyOf(commit(token, hold(token, "a", 40), 40));
    clock.advance(999);
    expect(verdictOf(reserve(token, "b", 1))).toBe("200");
    clock.advance(1);
    expect(reserve(token, "c", 1)).toMatchObject({ status: 401, message: "KEY_EXPIRED" });
    clock.advance(65_001);
    const renewed = bodyOf(ledger.renewToken(token.tokenId, {}, as(KEY)));
    expect(renewed).toMatchObject({ status: "ACTIVE", expires_at_ms: clock.now() + LIFE_MS });
    expect(verdictOf(reserve(token, "d", 60))).toBe("200");
    expect(figures(token)).toBe("40/60→0");
  });

  test("a key that may issue no more tokens renews none that it made", () => {
    const { ledger, as, issue, callerOf } = world();
    const token = callerOf(issue());
    bodyOf(ledger.changeApiKeySettings(KEY.keyId, { may_issue_tokens: false }, as()));
    expect(ledger.renewToken(token.tokenId, {}, as(KEY))).toMatchObject({
      status: 403,
      message: "The API key may not issue tokens",
    });
    bodyOf(ledger.changeApiKeySettings(KEY.keyId, { may_issue_tokens: true }, as()));
    bodyOf(ledger.renewToken(token.tokenId, {}, as(KEY)));
  });

  test("a narrower one is renewed by the holder of its parent, within the parent's life", () => {
    const { ledger, as, clock, issue, narrow, callerOf } = world();
    const parent = callerOf(issue({ ttl_ms: 60_000 }));
    const child = callerOf(narrow(parent, { ttl_ms: 1000 }));
    clock.advance(5000);
    const renew = (caller: Caller | undefined, request: object = {}) =>
      ledger.renewToken(child.tokenId, request, as(caller));
    expect(renew(KEY)).toMatchObject({ status: 403, message: "Only who issued the token may renew it" });
    expect(verdictOf(renew(callerOf(issue())))).toBe("403 FORBIDDEN");
    expect(renew(parent, { ttl_ms: 55_001 })).toMatchObject({ status: 403, details: { field: "ttl_ms" } });
    expect(bodyOf(renew(parent)).expires_at_ms).toBe(clock.now() + 55_000);
    expect(bodyOf(renew(parent, { ttl_ms: 2000 })).expires_at_ms).toBe(clock.now() + 2000);
    expect(verdictOf(ledger.renewToken(parent.tokenId, {}, as(parent)))).toBe("403 FORBIDDEN");
    const grandchild = callerOf(narrow(child));
    expect(verdictOf(ledger.renewToken(grandchild.tokenId, {}, as(parent)))).toBe("403 FORBIDDEN");
    expect(verdictOf(ledger.renewToken(grandchild.tokenId, {}, as(child)))).toBe("200");
    clock.advance(60_000);
    expect(verdictOf(renew(undefined))).toBe("409 KEY_EXPIRED");
  });

  test("revoking a parent stops all its children at their next call, and what they held goes back", () => {
    const { ledger, as, clock, issue, narrow, callerOf, hold, commit, release, reserve, figures } = world();
    const root = callerOf(issue());
    const child = callerOf(narrow(root));
    const grandchild = callerOf(narrow(child));
    const sibling = callerOf(narrow(root));
    const id = hold(grandchild, "a", 10);
    const body = bodyOf(ledger.revokeToken(child.tokenId, { reason: "odd" }, as(root)));
    expect(body).toMatchObject({ status: "REVOKED", revoked_at_ms: clock.now() });
    expect(bodyOf(ledger.revokeToken(child.tokenId, {}, as(KEY)))).toEqual(body);
    for (const ended of [child, grandchild]) {
      for (const refused of [
        reserve(ended, "a", 10),
        reserve(ended, "b", 1),
        commit(ended, id, 1),
        release(ended, id),
        ledger.attenuateToken({ cap: tokens(1) }, new Uint8Array(16), as(ended)),
        ledger.listTokens({}, as(ended)),
      ]) {
        expect(refused).toMatchObject({ status: 401, message: "KEY_REVOKED" });
      }
    }
    expect(verdictOf(ledger.renewToken(grandchild.tokenId, {}, as()))).toBe("409 KEY_REVOKED");
    expect(verdictOf(reserve(sibling, "c", 1))).toBe("200");
    const status = (caller: { tokenId: string }) =>
      bodyOf(ledger.listTokens({}, as())).tokens.find((it) => it.token_id === `acme_${caller.tokenId}`)
        ?.status;
    expect([root, child, grandchild, sibling].map(status)).toEqual([
      "ACTIVE",
      "REVOKED",
      "REVOKED",
      "ACTIVE",
    ]);
    expect(figures(grandchild)).toBe("0/10→90");
    bodyOf(release(KEY, id));
    expect([figures(grandchild), figures(root)]).toEqual(["0/0→100", "0/1→99"]);
    const rows = bodyOf(ledger.listAudit({ operation: "revokeToken" }, as())).logs;
    expect(rows).toMatchObject([{ resource_id: `acme_${child.tokenId}`, metadata: { reason: "odd" } }]);
  });

  test("only who made it may revoke it: not a stranger, not a sibling, not a child", () => {
    const { ledger, as, issue, narrow, callerOf } = world();
    const other = { keyId: "bbbbbbbbbbbb", digest: "e" };
    const request = { tenant_id: "acme", name: "other", permissions: LIFECYCLE };
    bodyOf(ledger.createApiKey(request, { ...other, prefix: "p" }, as()));
    const root = callerOf(issue());
    const [child, sibling] = [callerOf(narrow(root)), callerOf(narrow(root))];
    for (const [caller, { tokenId }] of [
      [other, root],
      [sibling, child],
      [child, root],
      [callerOf(issue()), root],
    ] as const) {
      expect(verdictOf(ledger.revokeToken(tokenId, {}, as(caller)))).toBe("403 FORBIDDEN");
    }
    expect(bodyOf(ledger.listTokens({}, as(other))).tokens).toEqual([]);
    expect(bodyOf(ledger.listTokens({}, as(child))).tokens).toHaveLength(1);
    expect(bodyOf(ledger.listTokens({}, as(root))).tokens).toHaveLength(3);
    expect(verdictOf(ledger.revokeToken("f".repeat(32), {}, as()))).toBe("404 NOT_FOUND");
    expect(verdictOf(ledger.revokeToken(child.tokenId, {}, as(child)))).toBe("200");
    expect(verdictOf(ledger.revokeToken(root.tokenId, {}, as()))).toBe("200");
  });

  test("a key that is revoked or expired takes its tokens with it", () => {
    const { ledger, as, issue, narrow, callerOf, reserve, clock } = world(
      {},
      { expires_at: "2027-01-15T08:00:10Z" },
    );
    const token = callerOf(narrow(callerOf(issue())));
    expect(verdictOf(reserve(token, "a", 1))).toBe("200");
    clock.advance(10_000);
    expect(reserve(token, "b", 1)).toMatchObject({ status: 401, message: "KEY_EXPIRED" });
    bodyOf(ledger.revokeApiKey(KEY.keyId, {}, as()));
    expect(reserve(token, "b", 1)).toMatchObject({ status: 401, message: "KEY_REVOKED" });
  });

  test("a suspended tenant makes and renews none; a closed one has none", () => {
    const { ledger, as, store, issue, narrow, callerOf, hold, reserve, figures } = world();
    const token = callerOf(issue());
    hold(token, "a", 10);
    bodyOf(ledger.updateTenant({ status: "SUSPENDED" }, as()));
    for (const refused of [
      issue(),
      narrow(token),
      ledger.renewToken(token.tokenId, {}, as(KEY)),
      reserve(token, "b", 1),
    ]) {
      expect(refused).toMatchObject({ status: 401, message: "TENANT_SUSPENDED" });
    }
    bodyOf(ledger.updateTenant({ status: "CLOSED" }, as()));
    expect([store.countTokens(), figures(token), figures(SCOPE)]).toEqual([0, "none", "0/0→10000"]);
    expect(verdictOf(reserve(token, "c", 1))).toBe("401 UNAUTHORIZED");
  });

  test("one that ended long ago is forgotten with its cap, but not while it holds anything", () => {
    const { ledger, as, store, clock, issue, narrow, callerOf, hold, figures } = world();
    bodyOf(ledger.updateTenant({ max_reservation_ttl_ms: 86_400_000 }, as()));
    const old = callerOf(issue());
    const holding = callerOf(issue());
    const child = callerOf(narrow(holding));
    hold(child, "a", 5, { ttl_ms: 7_200_000 });
    clock.advance(LIFE_MS + 3_600_001);
    bodyOf(issue());
    expect([old, holding, child].map(figures)).toEqual(["none", "0/5→95", "0/5→95"]);
    clock.advance(7_200_000);
    ledger.sweep(as());
    ledger.sweep(as());
    expect([old, holding, child].map(figures)).toEqual(["none", "none", "none"]);
    expect(store.countTokens()).toBe(0);
    expect(figures(SCOPE)).toBe("0/0→10000");
    expect(verdictOf(ledger.checkKey(as(old)))).toBe("401 UNAUTHORIZED");
  });

  test("an hour after its end it can still be renewed, a moment later it is forgotten", () => {
    const { ledger, as, clock, issue, callerOf, figures } = world();
    const [slept, gone] = [callerOf(issue()), callerOf(issue())];
    clock.advance(LIFE_MS + 3_600_000);
    ledger.sweep(as());
    expect(verdictOf(ledger.renewToken(slept.tokenId, {}, as(KEY)))).toBe("200");
    expect([slept, gone].map(figures)).toEqual(["0/0→100", "0/0→100"]);
    clock.advance(1);
    ledger.sweep(as());
    expect([slept, gone].map(figures)).toEqual(["0/0→100", "none"]);
    expect(verdictOf(ledger.renewToken(gone.tokenId, {}, as(KEY)))).toBe("404 NOT_FOUND");
  });

  test("a sweep looks at five hundred, and the next one at those behind", () => {
    const { ledger, store, as, clock, issue } = world();
    bodyOf(issue());
    const [token] = store.readTokensAfter("", 1);
    const [cap] = store.readAccounts([`x-token:${token?.tokenId}`]);
    if (token === undefined || cap === undefined) throw new Error("no token");
    for (let n = 0; n < 1_100; n++) {
      const tokenId = `ff${n.toString(16).padStart(30, "0")}`;
      store.insertToken({ ...token, tokenId });
      store.insertAccount({ ...cap, scope: `x-token:${tokenId}` });
    }
    clock.advance(LIFE_MS + 3_600_001);
    const left = [1, 2, 3].map(() => {
      ledger.sweep(as());
      return store.countTokens();
    });
    expect(left).toEqual([601, 101, 0]);
  });

  test("many are looked at in turns, and all that can be are forgotten", () => {
    const { store, clock, issue } = world();
    for (let n = 0; n < 30; n++) bodyOf(issue());
    clock.advance(LIFE_MS + 3_600_001);
    for (let n = 0; n < 8; n++) bodyOf(issue());
    expect(store.countTokens()).toBeLessThanOrEqual(8 + 2);
  });

  test("a holder's list is its family's, however many others there are; a page looks at so many", () => {
    const { ledger, store, as, issue, narrow, callerOf } = world();
    const mine = callerOf(issue());
    const child = bodyOf(narrow(mine)).token_id;
    const [token] = store.readTokensAfter("", 1);
    if (token === undefined) throw new Error("no token");
    const others = 2_500;
    // Before the family and behind it.
    for (let n = 0; n < others; n++) {
      const tokenId = (n % 2 === 0 ? "00" : "ff") + n.toString(16).padStart(30, "0");
      store.insertToken({ ...token, tokenId, keyId: undefined });
      store.insertAccount({
        ...store.readAccounts([`x-token:${token.tokenId}`])[0],
        scope: `x-token:${tokenId}`,
      } as never);
    }
    const own = bodyOf(ledger.listTokens({}, as(mine)));
    expect([own.tokens.map((it) => it.token_id), own.has_more]).toEqual([
      [`acme_${mine.tokenId}`, child],
      false,
    ]);
    // The key's two lie within the first 2,000 rows, and what follows has to be asked for.
    const first = bodyOf(ledger.listTokens({}, as(KEY)));
    expect([first.tokens.length, first.has_more]).toEqual([2, true]);
    const second = bodyOf(ledger.listTokens({ cursor: first.next_cursor }, as(KEY)));
    expect([second.tokens.length, second.has_more]).toEqual([0, false]);
  });

  test("a list in pages, by status", () => {
    const { ledger, as, issue, callerOf } = world();
    const made = Array.from({ length: 5 }, () => bodyOf(issue()).token_id);
    bodyOf(ledger.revokeToken(callerOf(issue()).tokenId, {}, as()));
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const query = { status: "ACTIVE", limit: "2", ...(cursor !== undefined && { cursor }) };
      const page = bodyOf(ledger.listTokens(query, as(KEY)));
      expect(page.has_more).toBe(page.next_cursor !== undefined);
      seen.push(...page.tokens.map(({ token_id }) => token_id));
      cursor = page.next_cursor;
    } while (cursor !== undefined);
    expect(seen).toEqual(made);
    expect(verdictOf(ledger.listTokens({ status: "DEAD" }, as()))).toBe("400 INVALID_REQUEST");
  });
});
