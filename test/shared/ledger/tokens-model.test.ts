// Tokens against a model: any sequence of issuing, narrowing, reserving, settling, charging, ending and time passing. The
// model knows of a token only who its parent is and what was done with it; each figure of a cap is a sum over all that was
// done with the token or below it. After every step, for every token and budget: figures equal the model's, no cap is
// exceeded, nothing is counted twice. A failure prints its seed.

import fc from "fast-check";
import { type Caller, Ledger, MemoryStore } from "purser/ledger";
import { expect, test } from "vitest";
import { bodyOf, budget, reserveRequest, testClock, tokens } from "../../support/ledger-fixtures.ts";

const KEY = { keyId: "0123456789ab", digest: "d" };
const BUDGET = 400n;
const SCOPES = ["tenant:acme/agent:a", "tenant:acme/agent:a/toolset:t"];
const SUBJECTS = [
  { tenant: "acme", agent: "a" },
  { tenant: "acme", agent: "a", toolset: "t" },
  { tenant: "acme", agent: "b" },
];
const PATHS = ["tenant:acme/agent:a", "tenant:acme/agent:a/toolset:t", "tenant:acme/agent:b"];
const POLICIES = ["REJECT", "ALLOW_IF_AVAILABLE"] as const;
const GRACE_MS = 500;

const amount = fc.oneof(
  { weight: 8, arbitrary: fc.bigInt({ min: 0n, max: 120n }) },
  { weight: 1, arbitrary: fc.constantFrom(0n, 2n ** 62n) },
);
const small = fc.bigInt({ min: 0n, max: 150n });
const step = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("issue" as const),
      scope: fc.nat(SCOPES.length - 1),
      cap: small,
      most: fc.option(small),
      ttlMs: fc.constantFrom(2000, 900_000),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("narrow" as const),
      by: fc.nat(),
      scope: fc.option(fc.nat(SCOPES.length - 1)),
      cap: small,
      most: fc.option(small),
      ttlMs: fc.option(fc.constantFrom(1000, 2000, 900_000)),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("reserve" as const),
      by: fc.nat(),
      subject: fc.nat(SUBJECTS.length - 1),
      amount,
      policy: fc.constantFrom(...POLICIES),
      ttlMs: fc.constantFrom(1000, 60_000),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("commit" as const), by: fc.nat(), pick: fc.nat(), amount }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("release" as const), by: fc.nat(), pick: fc.nat() }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("event" as const),
      by: fc.nat(),
      subject: fc.nat(SUBJECTS.length - 1),
      amount,
      policy: fc.constantFrom(...POLICIES),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("revoke" as const), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("renew" as const), pick: fc.nat() }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("advance" as const), ms: fc.constantFrom(1, 1000, 5000) }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
type Of<Kind extends Step["kind"]> = Extract<Step, { kind: Kind }>;

interface Token {
  readonly id: string;
  readonly parent: Token | undefined;
  readonly scope: string;
  readonly cap: bigint;
  readonly most: bigint | undefined;
  endsAtMs: number;
  revoked: boolean;
  /** It said it used more than could be charged. */
  marked: boolean;
}

interface Spend {
  readonly id: string;
  /** Absent where the key did it. */
  readonly token: Token | undefined;
  readonly policy: (typeof POLICIES)[number];
  readonly expiresAtMs: number;
  held: bigint;
  charged: bigint;
  isOpen: boolean;
}

const lesser = (a: bigint, b: bigint) => (a < b ? a : b);
const least = (...values: bigint[]) => values.reduce(lesser);
const isWithin = (scope: string, top: string) => scope === top || scope.startsWith(`${top}/`);

class World {
  readonly clock = testClock();
  readonly store = new MemoryStore();
  readonly ledger = new Ledger({ tenant: "acme", store: this.store, secrets: ["s"] });
  readonly tokens: Token[] = [];
  readonly spends: Spend[] = [];
  budgetMarked = false;
  #calls = 0;

  constructor() {
    bodyOf(this.ledger.createTenant({ tenant_id: "acme", name: "Acme" }, this.as()));
    bodyOf(this.ledger.createBudget(budget("tenant:acme", BUDGET), this.as()));
    const request = { tenant_id: "acme", name: "server" };
    bodyOf(this.ledger.createApiKey(request, { ...KEY, prefix: "p" }, this.as()));
    bodyOf(this.ledger.changeApiKeySettings(KEY.keyId, { may_issue_tokens: true }, this.as()));
  }

  as(caller?: Caller) {
    return { nowMs: this.clock.now(), caller };
  }

  /** The key, or one of the tokens. */
  who(by: number): { readonly caller: Caller; readonly token: Token | undefined } {
    const token = this.tokens[by % (this.tokens.length + 1)];
    return token === undefined ? { caller: KEY, token } : { caller: { tokenId: token.id }, token };
  }

  chain(token: Token | undefined): Token[] {
    return token === undefined ? [] : [...this.chain(token.parent), token];
  }

  /** Why a token does not stand, if so. */
  end(token: Token | undefined): string | undefined {
    const chain = this.chain(token);
    if (chain.some(({ revoked }) => revoked)) return "401 KEY_REVOKED";
    return chain.some(({ endsAtMs }) => this.clock.now() >= endsAtMs) ? "401 KEY_EXPIRED" : undefined;
  }

  spentOf(token: Token | undefined): bigint {
    return this.#sum(token, ({ charged }) => charged);
  }

  heldOf(token: Token | undefined): bigint {
    return this.#sum(token, (spend) => (this.#isHeld(spend) ? spend.held : 0n));
  }

  #isHeld({ isOpen, expiresAtMs }: Spend): boolean {
    return isOpen && this.clock.now() <= expiresAtMs + GRACE_MS;
  }

  /** Over all that was done with a token or below it; without a token over everything. */
  #sum(token: Token | undefined, figure: (spend: Spend) => bigint): bigint {
    return this.spends
      .filter((spend) => token === undefined || this.chain(spend.token).includes(token))
      .reduce((sum, spend) => sum + figure(spend), 0n);
  }

  leftOf(token: Token | undefined): bigint {
    return (token === undefined ? BUDGET : token.cap) - this.spentOf(token) - this.heldOf(token);
  }

  /** What is left on the whole path. */
  leftFor(token: Token | undefined): bigint {
    return least(this.leftOf(undefined), ...this.chain(token).map((each) => this.leftOf(each)));
  }

  nextKey(): string {
    this.#calls += 1;
    return `k${this.#calls}`;
  }

  nextRandom(): Uint8Array {
    this.#calls += 1;
    return new Uint8Array(16).fill(this.#calls % 256).fill(this.#calls >> 8, 0, 2);
  }

  check(): void {
    const read = (scope: string) => this.store.readAccounts([scope], "TOKENS")[0];
    // What is due has been settled by whoever looked last; looking settles the rest.
    bodyOf(this.ledger.balances({ tenant: "acme" }, this.as()));
    bodyOf(this.ledger.listTokens({ limit: 100 }, this.as()));
    for (const token of [undefined, ...this.tokens]) {
      const account = read(token === undefined ? "tenant:acme" : `x-token:${token.id}`);
      if (account === undefined) throw new Error("an account is gone");
      const { spent, reserved, debt, allocated } = account;
      expect([spent, reserved, debt]).toEqual([this.spentOf(token), this.heldOf(token), 0n]);
      expect(spent + reserved).toBeLessThanOrEqual(allocated);
      expect(account.overLimitMark).toBe(token?.marked ?? this.budgetMarked);
    }
    expect(this.ledger.counters.figureFaults).toBe(0);
  }
}

/** The verdict the model expects, and what the step does to it where that is a success. */
function play(world: World, what: Step): void {
  if (what.kind === "issue") make(world, what, undefined, KEY);
  else if (what.kind === "narrow") make(world, what, world.who(what.by).token, world.who(what.by).caller);
  else if (what.kind === "reserve") reserve(world, what);
  else if (what.kind === "commit") commit(world, what);
  else if (what.kind === "release") release(world, what);
  else if (what.kind === "event") event(world, what);
  else if (what.kind === "advance") world.clock.advance(what.ms);
  else endOrRenew(world, what);
}

function make(
  world: World,
  what: Of<"issue"> | Of<"narrow">,
  parent: Token | undefined,
  caller: Caller,
): void {
  const nowMs = world.clock.now();
  const scope = what.scope === null ? undefined : SCOPES[what.scope];
  const request = {
    ...(scope !== undefined && { scope }),
    cap: tokens(what.cap),
    ...(what.most !== null && { max_per_operation: tokens(what.most) }),
    ...(what.ttlMs !== null && { ttl_ms: what.ttlMs }),
  };
  const own = scope ?? parent?.scope ?? "";
  const most = what.most ?? parent?.most;
  const endsAtMs =
    what.ttlMs === null ? Math.min(nowMs + 900_000, parent?.endsAtMs ?? Infinity) : nowMs + what.ttlMs;
  const isWider =
    parent !== undefined &&
    (!isWithin(own, parent.scope) ||
      what.cap > parent.cap ||
      (parent.most !== undefined && (most ?? 2n ** 63n) > parent.most) ||
      endsAtMs > parent.endsAtMs ||
      world.chain(parent).length === 4);
  const expected =
    world.end(parent) ??
    ((what.kind === "narrow" && parent === undefined) || isWider ? "403 FORBIDDEN" : "201");
  const random = world.nextRandom();
  const reply =
    what.kind === "issue"
      ? world.ledger.issueToken(request, random, world.as(caller))
      : world.ledger.attenuateToken(request, random, world.as(caller));
  expect(verdict(reply)).toBe(expected);
  if (!reply.ok) return;
  const id = reply.body.token_id.split("_")[1] ?? "";
  world.tokens.push({ id, parent, scope: own, cap: what.cap, most, endsAtMs, revoked: false, marked: false });
}

/** What a token lets be asked for at all. */
function judgeAsk(
  world: World,
  token: Token | undefined,
  subject: number,
  amount: bigint,
): string | undefined {
  const ended = world.end(token);
  if (ended !== undefined) return ended;
  if (token !== undefined && !isWithin(PATHS[subject] ?? "", token.scope)) return "403 FORBIDDEN";
  return token?.most !== undefined && amount > token.most ? "403 FORBIDDEN" : undefined;
}

function reserve(world: World, what: Of<"reserve">): void {
  const { token, caller } = world.who(what.by);
  const isMarked = world.budgetMarked || world.chain(token).some(({ marked }) => marked);
  const expected =
    judgeAsk(world, token, what.subject, what.amount) ??
    (isMarked
      ? "409 OVERDRAFT_LIMIT_EXCEEDED"
      : what.amount > world.leftFor(token)
        ? "409 BUDGET_EXCEEDED"
        : "200");
  const request = reserveRequest(world.nextKey(), what.amount, {
    subject: SUBJECTS[what.subject] ?? {},
    overage_policy: what.policy,
    ttl_ms: what.ttlMs,
    grace_period_ms: GRACE_MS,
  });
  const reply = world.ledger.reserve(request, world.as(caller));
  expect(verdict(reply)).toBe(expected);
  if (!reply.ok) return;
  world.spends.push({
    id: reply.body.reservation_id ?? "",
    token,
    policy: what.policy,
    expiresAtMs: world.clock.now() + what.ttlMs,
    held: what.amount,
    charged: 0n,
    isOpen: true,
  });
}

/** Whether the caller may settle a reservation, and whether that still stands. */
function judgeSettle(world: World, token: Token | undefined, spend: Spend): string | undefined {
  const ended = world.end(token);
  if (ended !== undefined) return ended;
  if (token !== undefined && !world.chain(spend.token).includes(token)) return "403 FORBIDDEN";
  if (!spend.isOpen) return "409 RESERVATION_FINALIZED";
  return world.clock.now() > spend.expiresAtMs + GRACE_MS ? "410 RESERVATION_EXPIRED" : undefined;
}

function commit(world: World, what: Of<"commit">): void {
  const { token, caller } = world.who(what.by);
  const holds = world.spends.filter(({ id }) => id !== "");
  const spend = holds[what.pick % Math.max(1, holds.length)];
  if (spend === undefined) return;
  const beyond = what.amount - spend.held;
  const expected =
    judgeSettle(world, token, spend) ??
    (spend.policy === "REJECT" && beyond > 0n ? "409 BUDGET_EXCEEDED" : "200");
  const request = { idempotency_key: world.nextKey(), actual: tokens(what.amount) };
  const reply = world.ledger.commit(spend.id, request, world.as(caller));
  expect(verdict(reply)).toBe(expected);
  if (!reply.ok) return;
  const asked =
    token?.most === undefined || spend.policy === "REJECT" ? what.amount : least(what.amount, token.most);
  const extra = asked > spend.held ? asked - spend.held : 0n;
  const paid = charge(world, spend.token, token, extra);
  spend.charged = least(asked, spend.held) + paid;
  spend.isOpen = false;
  spend.held = 0n;
  expect(reply.body.charged.amount).toBe(spend.charged);
}

/** Charges what no hold covers, as far as the whole path has it; who is short is marked, by the key's word or its own. */
function charge(world: World, made: Token | undefined, by: Token | undefined, extra: bigint): bigint {
  const paid = least(extra, world.leftFor(made));
  if (paid === extra) return paid;
  const isShort = (token: Token | undefined) => world.leftOf(token) < extra;
  const short = world.chain(made).filter((token) => isShort(token) && (by === undefined || token === by));
  if (by === undefined && isShort(undefined)) world.budgetMarked = true;
  for (const token of short) token.marked = true;
  return paid;
}

function release(world: World, what: Of<"release">): void {
  const { token, caller } = world.who(what.by);
  const holds = world.spends.filter(({ id }) => id !== "");
  const spend = holds[what.pick % Math.max(1, holds.length)];
  if (spend === undefined) return;
  const expected = judgeSettle(world, token, spend) ?? "200";
  const reply = world.ledger.release(spend.id, { idempotency_key: world.nextKey() }, world.as(caller));
  expect(verdict(reply)).toBe(expected);
  if (!reply.ok) return;
  spend.isOpen = false;
  spend.held = 0n;
}

function event(world: World, what: Of<"event">): void {
  const { token, caller } = world.who(what.by);
  const left = world.leftFor(token);
  const expected =
    judgeAsk(world, token, what.subject, what.amount) ??
    (what.policy === "REJECT" && what.amount > left ? "409 BUDGET_EXCEEDED" : "201");
  const { estimate: _, ...asking } = reserveRequest(world.nextKey(), 0, {
    subject: SUBJECTS[what.subject] ?? {},
  });
  const request = { ...asking, actual: tokens(what.amount), overage_policy: what.policy };
  const reply = world.ledger.event(request, world.as(caller));
  expect(verdict(reply)).toBe(expected);
  if (!reply.ok) return;
  const charged = charge(world, token, token, what.amount);
  world.spends.push({
    id: "",
    token,
    policy: what.policy,
    expiresAtMs: 0,
    held: 0n,
    charged,
    isOpen: false,
  });
}

function endOrRenew(world: World, what: Of<"revoke"> | Of<"renew">): void {
  const token = world.tokens[what.pick % Math.max(1, world.tokens.length)];
  if (token === undefined) return;
  if (what.kind === "revoke") {
    expect(verdict(world.ledger.revokeToken(token.id, {}, world.as(KEY)))).toBe("200");
    token.revoked = true;
    return;
  }
  const isRevoked = world.chain(token).some(({ revoked }) => revoked);
  const expected = token.parent !== undefined ? "403 FORBIDDEN" : isRevoked ? "409 KEY_REVOKED" : "200";
  expect(verdict(world.ledger.renewToken(token.id, {}, world.as(KEY)))).toBe(expected);
  if (expected === "200") token.endsAtMs = world.clock.now() + 900_000;
}

function verdict(reply: { ok: boolean; status: number; error?: string; message?: string }): string {
  if (reply.ok) return String(reply.status);
  return `${reply.status} ${reply.status === 401 ? reply.message : reply.error}`;
}

test("caps, roll-up and ends are the model's, whatever is done in whatever order", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 60 }), (steps) => {
      const world = new World();
      for (const each of steps) {
        play(world, each);
        world.check();
      }
    }),
    { numRuns: 300 },
  );
});
