// An agent, as badly behaved as agents are: it reserves, works, settles; it also settles twice, too late, both ways at
// once, extends, forgets, uses keys again for something else, and touches what is not its own. Invariant: what it asks
// depends on chance and on answers alone. Who may call: simulate.ts plays it.

import type { EventInput, ExtendInput, ReserveInput } from "purser/ledger";
import type { AnyReply, Call } from "./calls.ts";
import type { Chance } from "./engine/chance.ts";
import { ask, type Part, type Script, send, sleep } from "./engine/script.ts";
import { drawAmount, type Plan, SUBJECTS, UNITS } from "./plan.ts";

type AgentScript = Script<Call, AnyReply>;
type AgentPart<Result> = Part<Call, AnyReply, Result>;

const TRIES = 4;
/** What agents ask for; debt is where most can go wrong. */
const OVERAGE = ["REJECT", "ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT", "ALLOW_WITH_OVERDRAFT"] as const;

/** What all agents of a run share: the plan, chance, and the reservations and keys that anyone has seen. */
export interface AgentWorld {
  readonly plan: Plan;
  readonly chance: Chance;
  readonly seenIds: string[];
  readonly foreignIds: readonly string[];
  readonly usedReserves: ReserveInput[];
}

export function* agent(world: AgentWorld, name: string): AgentScript {
  const { chance, plan } = world;
  for (let round = 0; round < plan.rounds; round += 1) {
    yield* sleep(chance.between(0, 2_000));
    if (chance.happens(plan.mischief)) yield* mischief(world, `${name}/${round}/odd`);
    if (chance.happens(0.15)) yield* spend(world, `${name}/${round}/spend`);
    if (chance.happens(0.25)) yield* look(world, `${name}/${round}/look`);
    yield* life(world, `${name}/${round}`);
  }
}

/** One reservation from its making to its end, whatever that is. */
function* life(world: AgentWorld, key: string): AgentPart<void> {
  const { chance } = world;
  const body = reserveBody(world, key);
  world.usedReserves.push(body);
  const reply = yield* ask<Call, AnyReply>({ op: "reserve", body }, TRIES);
  const id = idIn(reply);
  if (id === undefined) return;
  world.seenIds.push(id);
  const { unit, amount: estimate } = body.estimate;
  const ttlMs = body.ttl_ms ?? 60_000;
  const actual = usage(world, BigInt(estimate));
  const commit = {
    op: "commit" as const,
    id,
    body: { idempotency_key: `${key}/c`, actual: { unit, amount: actual } },
  };
  const release: Call = { op: "release", id, body: { idempotency_key: `${key}/r` } };

  const course = chance.weighted({
    commit: 6,
    release: 3,
    extend: 3,
    forget: 2,
    late: 3,
    inGrace: 2,
    both: 1,
    twice: 1,
    otherBody: 1,
  });
  switch (course) {
    case "commit":
      yield* sleep(chance.between(0, 1_500));
      yield* ask<Call, AnyReply>(commit, TRIES);
      return;
    case "release":
      yield* sleep(chance.between(0, 1_500));
      yield* ask<Call, AnyReply>(release, TRIES);
      return;
    case "extend":
      yield* extendForAWhile(world, id, key);
      yield* ask<Call, AnyReply>(chance.happens(0.5) ? commit : release, TRIES);
      return;
    case "forget":
      return;
    case "late": {
      yield* sleep(ttlMs + (body.grace_period_ms ?? 5_000) + chance.between(-1, 400));
      const settled = yield* ask<Call, AnyReply>(commit, TRIES);
      if (settled?.ok !== false || settled.error !== "RESERVATION_EXPIRED") return;
      // As the protocol's clients recover: the same key, and no policy of their own.
      const { subject, action } = body;
      yield* ask<Call, AnyReply>({ op: "event", body: { subject, action, ...commit.body } }, TRIES);
      return;
    }
    case "inGrace":
      yield* sleep(ttlMs + chance.between(-1, 10));
      if (chance.happens(0.5)) yield* send<Call, AnyReply>(extendCall(world, id, `${key}/x`));
      yield* ask<Call, AnyReply>(chance.happens(0.5) ? commit : release, TRIES);
      return;
    case "both":
      yield* send<Call, AnyReply>(commit);
      yield* ask<Call, AnyReply>(release, TRIES);
      yield* ask<Call, AnyReply>(commit, TRIES);
      return;
    case "twice":
      yield* ask<Call, AnyReply>(commit, TRIES);
      yield* ask<Call, AnyReply>({ ...commit, body: { ...commit.body, idempotency_key: `${key}/c2` } }, 1);
      return;
    case "otherBody":
      yield* ask<Call, AnyReply>(commit, TRIES);
      yield* ask<Call, AnyReply>({ ...commit, body: { ...commit.body, metadata: { note: "another" } } }, 1);
      yield* ask<Call, AnyReply>({ op: "reserve", body: { ...body, dry_run: true } }, 1);
      return;
  }
}

function* extendForAWhile(world: AgentWorld, id: string, key: string): AgentPart<void> {
  const { chance } = world;
  const times = chance.between(1, 3);
  for (let time = 0; time < times; time += 1) {
    yield* sleep(chance.between(0, 1_500));
    yield* ask<Call, AnyReply>(extendCall(world, id, `${key}/x${chance.happens(0.2) ? 0 : time}`), TRIES);
  }
}

/** Spending that was never reserved. */
function* spend(world: AgentWorld, key: string): AgentPart<void> {
  const { chance } = world;
  const { subject, action, estimate } = reserveBody(world, key);
  const body: EventInput = {
    idempotency_key: key,
    subject,
    action,
    actual: estimate,
    ...(chance.happens(0.7) && { overage_policy: chance.pick(OVERAGE) }),
  };
  yield* ask<Call, AnyReply>({ op: "event", body }, TRIES);
  if (!chance.happens(world.plan.mischief)) return;
  const more = { ...body, actual: { ...body.actual, amount: BigInt(body.actual.amount) / 2n + 1n } };
  yield* send<Call, AnyReply>({ op: "event", body: more });
  yield* send<Call, AnyReply>({ op: "event", body });
}

/** Reads and dry runs: they must tell the truth and change nothing. */
function* look(world: AgentWorld, key: string): AgentPart<void> {
  const { chance } = world;
  const what = chance.weighted({ balances: 2, dry: 2, get: 2, decide: 2 });
  if (what === "balances") {
    const { tenant = "acme", workspace } = chance.pick(SUBJECTS);
    const query = chance.happens(0.5)
      ? { tenant }
      : { tenant, ...(workspace !== undefined && { workspace }) };
    yield* ask<Call, AnyReply>({ op: "balances", query }, 1);
  }
  if (what === "dry") {
    yield* ask<Call, AnyReply>({ op: "reserve", body: { ...reserveBody(world, key), dry_run: true } }, TRIES);
  }
  if (what === "decide") {
    const { subject, action, estimate } = reserveBody(world, key);
    const body = { idempotency_key: key, subject, action, estimate };
    yield* ask<Call, AnyReply>({ op: "decide", body }, TRIES);
  }
  if (what === "get") yield* ask<Call, AnyReply>({ op: "get", id: anyId(world) }, 1);
}

/** What no careful client would ask: each must be refused or be a harmless replay. */
function* mischief(world: AgentWorld, key: string): AgentPart<void> {
  const { chance } = world;
  const used = world.usedReserves.length === 0 ? undefined : chance.pick(world.usedReserves);
  const actual = { unit: chance.pick(UNITS), amount: drawAmount(chance, world.plan.sizes) };
  const what = chance.weighted({ sameKey: 3, replay: 3, commit: 3, release: 2, extend: 1, stranger: 1 });
  if (what === "sameKey" && used !== undefined) {
    const other = { ...used, estimate: { ...used.estimate, amount: BigInt(used.estimate.amount) / 2n + 1n } };
    yield* send<Call, AnyReply>({ op: "reserve", body: other });
  }
  // Written differently, but the same request: the defaults spelled out.
  if (what === "replay" && used !== undefined) {
    const spelled = {
      ...used,
      grace_period_ms: used.grace_period_ms ?? 5_000,
      dry_run: used.dry_run ?? false,
    };
    yield* send<Call, AnyReply>({ op: "reserve", body: spelled });
  }
  const id = anyId(world);
  if (what === "commit") {
    yield* send<Call, AnyReply>({ op: "commit", id, body: { idempotency_key: key, actual } });
  }
  if (what === "release") yield* send<Call, AnyReply>({ op: "release", id, body: { idempotency_key: key } });
  if (what === "extend") yield* send<Call, AnyReply>(extendCall(world, id, key));
  if (what === "stranger") {
    const subject = chance.pick([{ tenant: "ACME" }, { tenant: "other" }, { workspace: "w" }]);
    yield* send<Call, AnyReply>({ op: "reserve", body: { ...reserveBody(world, key), subject } });
  }
}

function reserveBody({ chance, plan }: AgentWorld, key: string): ReserveInput {
  const unit = chance.happens(0.93) ? "TOKENS" : "USD_MICROCENTS";
  return {
    idempotency_key: key,
    subject: chance.pick(SUBJECTS),
    action: { kind: "llm.completion", name: "model" },
    estimate: {
      unit,
      amount: drawAmount(chance, chance.happens(0.6) ? "small" : plan.sizes) / chance.pick([1n, 3n]),
    },
    ...(chance.happens(0.8) && { ttl_ms: chance.pick([1_000, 2_000, 5_000, 60_000, 86_400_000]) }),
    ...(chance.happens(0.6) && { grace_period_ms: chance.pick([0, 500, 60_000]) }),
    ...(chance.happens(0.7) && { overage_policy: chance.pick(OVERAGE) }),
    ...(chance.happens(0.1) && { metadata: { key } }),
  };
}

function extendCall({ chance }: AgentWorld, id: string, key: string): Call {
  const body: ExtendInput = {
    idempotency_key: key,
    extend_by_ms: chance.pick([1, 1_000, 60_000, 86_400_000]),
  };
  return { op: "extend", id, body };
}

/** Less than was reserved, exactly that, or more. */
function usage({ chance, plan }: AgentWorld, estimate: bigint): bigint {
  const how = chance.weighted({ less: 4, exactly: 2, more: 4, nothing: 1 });
  if (how === "less") return estimate / 2n;
  if (how === "exactly") return estimate;
  if (how === "nothing") return 0n;
  const more = estimate + drawAmount(chance, plan.sizes);
  return more > 2n ** 63n - 1n ? estimate : more;
}

function anyId({ chance, seenIds, foreignIds }: AgentWorld): string {
  const choice = chance.weighted({ seen: 8, foreign: 1, unknown: 1, long: 0.2 });
  if (choice === "seen" && seenIds.length > 0) return chance.pick(seenIds);
  if (choice === "foreign") return chance.pick(foreignIds);
  return choice === "long" ? "r".repeat(129) : "never-issued";
}

function idIn(reply: AnyReply | undefined): string | undefined {
  const body = reply?.ok ? (reply.body as { reservation_id?: string }) : undefined;
  return body?.reservation_id;
}
