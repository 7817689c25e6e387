// What the model foretells for a reserve, live and dry, and for a decide: order of checks, which budgets are held, the
// reply's body. Invariant: a refusal, a dry run and a decide change no budget. Who may call: the model.

import type { DecideInput, ReserveInput } from "purser/ledger";
import type { AnyReply } from "../calls.ts";
import { AHEAD_DAYS, findReplay, KEPT_DAYS, keepAnswer, replayed, timeLeft } from "./answers.ts";
import { refuseToReserve } from "./money.ts";
import { countCall, decisionUnder, governorsOf, livesUnder, overageUnder, refuseByRate } from "./policies.ts";
import { freshId, isForeign, refuseUnbudgeted } from "./requests.ts";
import {
  activeAt,
  budgetsOn,
  dayOf,
  type Expected,
  granted,
  type ModelBudget,
  type ModelReservation,
  type ModelState,
  type Policy,
  refused,
} from "./state.ts";
import { amountOf, balancesMember, canonical, exact, type Members, scopesOf, subjectOf } from "./wire.ts";

export function foretellReserve(
  state: ModelState,
  body: ReserveInput,
  nowMs: number,
  reply: AnyReply,
): Expected {
  const scopes = scopesOf({ ...body.subject });
  if (isForeign(state, body.subject.tenant)) return refused("403 FORBIDDEN");
  const key = body.idempotency_key;
  const dry = body.dry_run ?? false;
  const print = canonical({
    ...body,
    subject: subjectOf({ ...body.subject }),
    grace_period_ms: body.grace_period_ms ?? 5000,
    dry_run: dry,
  });
  const earlier = earlierReserve(state, key, nowMs);
  if (earlier !== undefined)
    return replayed(earlier.created, print, timeLeft(earlier.created, earlier, nowMs));
  const request = { namespace: "reserve", keptDays: KEPT_DAYS.dryRun, key, print };
  const replay = findReplay(state, request, nowMs, reply);
  if (replay !== undefined) return replay;

  const governors = governorsOf(state, scopes, nowMs);
  const verdict = judgeEstimate(state, body.estimate, scopes, nowMs, dry ? [] : governors);
  if (dry) {
    const dryBody = verdict.ok
      ? {
          ...decisionUnder(governors),
          affected_scopes: scopes,
          scope_path: scopes.at(-1),
          reserved: amountOf(body.estimate.unit, exact(body.estimate.amount)),
          ...balancesMember(state, verdict.budgets, nowMs),
        }
      : { decision: "DENY", affected_scopes: scopes, reason_code: reasonOf(verdict.refusal.verdict) };
    if (!verdict.ok && verdict.isFault) return verdict.refusal;
    keepAnswer(state, request, dryBody, nowMs);
    return granted(dryBody);
  }
  if (!verdict.ok) return verdict.refusal;
  if (activeAt(state, nowMs).length >= state.activeMax) return refused("429 LIMIT_EXCEEDED");
  countCall(state, governors, "reservations", nowMs);
  return reserveNow(
    state,
    body,
    { key, print, scopes, budgets: verdict.budgets, governors, id: freshId(state, reply, "reservation_id") },
    nowMs,
  );
}

function reserveNow(
  state: ModelState,
  body: ReserveInput,
  made: {
    key: string;
    print: string;
    scopes: string[];
    budgets: ModelBudget[];
    governors: ReturnType<typeof governorsOf>;
    id: string;
  },
  nowMs: number,
): Expected {
  const { tenant } = state;
  const { unit } = body.estimate;
  const amount = exact(body.estimate.amount);
  const lives = livesUnder(made.governors);
  const wantedMs = body.ttl_ms ?? lives.defaultTtlMs ?? tenant.defaultTtlMs;
  const ttlMs = Math.min(wantedMs, lives.maxTtlMs ?? tenant.maxTtlMs, tenant.maxTtlMs);
  const answer: { key: string; print: string; body: Members } = {
    key: made.key,
    print: made.print,
    body: {},
  };
  const reservation: ModelReservation = {
    id: made.id,
    created: answer,
    details: {
      subject: subjectOf({ ...body.subject }),
      action: body.action,
      metadata: body.metadata,
      affected: made.scopes,
    },
    unit,
    amount,
    scopes: made.budgets.map(({ scope }) => scope),
    policy: policyOf(state, body, made),
    createdAtMs: nowMs,
    expiresAtMs: nowMs + ttlMs,
    graceMs: body.grace_period_ms ?? 5000,
    maxExtensions: Math.min(lives.maxExtensions ?? tenant.maxExtensions, tenant.maxExtensions),
    extensions: [],
    state: "ACTIVE",
  };
  state.reservations.set(made.id, reservation);
  for (const budget of made.budgets) budget.updatedAtMs = nowMs;
  answer.body = {
    ...decisionUnder(made.governors),
    reservation_id: made.id,
    affected_scopes: made.scopes,
    expires_at_ms: nowMs + ttlMs,
    remaining_ttl_ms: ttlMs,
    scope_path: made.scopes.at(-1),
    reserved: amountOf(unit, amount),
    ...balancesMember(state, made.budgets, nowMs),
  };
  return granted(answer.body);
}

type Verdict =
  | { readonly ok: true; readonly budgets: ModelBudget[] }
  | { readonly ok: false; readonly refusal: Expected & { ok: false }; readonly isFault: boolean };

/** The evaluation of a reserve as a question: nothing is taken, what budgets say is a decision. */
export function foretellDecide(
  state: ModelState,
  body: DecideInput,
  nowMs: number,
  reply: AnyReply,
): Expected {
  if (isForeign(state, body.subject.tenant)) return refused("403 FORBIDDEN");
  const request = {
    namespace: "decide",
    keptDays: KEPT_DAYS.decide,
    key: body.idempotency_key,
    print: canonical({ ...body, subject: subjectOf({ ...body.subject }) }),
  };
  const replay = findReplay(state, request, nowMs, reply);
  if (replay !== undefined) return replay;
  const scopes = scopesOf({ ...body.subject });
  const verdict = judgeEstimate(state, body.estimate, scopes, nowMs);
  if (!verdict.ok && verdict.isFault) return verdict.refusal;
  const decided = verdict.ok
    ? { ...decisionUnder(governorsOf(state, scopes, nowMs)), affected_scopes: scopes }
    : { decision: "DENY", affected_scopes: scopes, reason_code: reasonOf(verdict.refusal.verdict) };
  keepAnswer(state, request, decided, nowMs);
  return granted(decided);
}

/** The order of checks after the replay. A fault is an error even of a dry run, everything else is its DENY. */
function judgeEstimate(
  state: ModelState,
  { unit, amount }: ReserveInput["estimate"],
  scopes: string[],
  nowMs: number,
  /** Whose rates count; nobody's for a question. */
  throttling: ReturnType<typeof governorsOf> = [],
): Verdict {
  const { status } = state.tenant;
  const deny = (refusal: Expected & { ok: false }, isFault = false): Verdict => ({
    ok: false,
    refusal,
    isFault,
  });
  if (status === "CLOSED") return deny(refused("409 TENANT_CLOSED"));
  if (status === "SUSPENDED") return deny(refused("401 UNAUTHORIZED"), true);
  const throttled = refuseByRate(state, throttling, "reservations", nowMs);
  if (throttled !== undefined) return deny(throttled, true);
  const budgets = budgetsOn(state, scopes, unit);
  if (budgets.length === 0) {
    const refusal = refuseUnbudgeted(state, scopes);
    return deny(refusal, refusal.verdict === "400 UNIT_MISMATCH");
  }
  const refusal = refuseToReserve(state, budgets, exact(amount), nowMs);
  return refusal === undefined ? { ok: true, budgets } : deny(refusal);
}

function reasonOf(verdict: string): string {
  const code = verdict.slice(4);
  return code === "NOT_FOUND" ? "BUDGET_NOT_FOUND" : code;
}

function policyOf(
  state: ModelState,
  body: ReserveInput,
  { budgets, governors }: { budgets: readonly ModelBudget[]; governors: ReturnType<typeof governorsOf> },
): Policy {
  const onBudget = budgets.filter(({ policy }) => policy !== undefined).at(-1)?.policy;
  return (
    body.overage_policy ?? overageUnder(governors) ?? onBudget ?? state.tenant.policy ?? "ALLOW_IF_AVAILABLE"
  );
}

/** The reservation that this key made today or on the two days before, the newest if clocks made several. */
function earlierReserve(state: ModelState, key: string, nowMs: number): ModelReservation | undefined {
  const today = dayOf(nowMs);
  const candidates = [...state.reservations.values()].filter((each) => {
    const daysAgo = today - dayOf(each.createdAtMs);
    return each.created.key === key && daysAgo >= -AHEAD_DAYS && daysAgo <= KEPT_DAYS.reserve;
  });
  return candidates.sort((a, b) => dayOf(b.createdAtMs) - dayOf(a.createdAtMs))[0];
}
