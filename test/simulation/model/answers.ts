// Idempotency as the protocol has it: a success is given again to the same key and body, word for word but for the time
// that remains; another body is a mismatch. Answers outside reservations live for a number of days; one that may have
// been pruned, because the ledger's clock once stood beyond its days, may be given again or not. Who may call: the model.

import type { AnyReply } from "../calls.ts";
import { difference } from "../engine/difference.ts";
import {
  dayOf,
  type Expected,
  granted,
  type KeptAnswer,
  type ModelAnswer,
  type ModelReservation,
  type ModelState,
  refused,
  stateAt,
} from "./state.ts";
import type { Members } from "./wire.ts";

export const MISMATCH = refused("409 IDEMPOTENCY_MISMATCH");

/** Days for which answers outside reservations can be replayed, and days back for which reserves can. */
export const KEPT_DAYS = { fund: 7, event: 7, dryRun: 1, decide: 1, reserve: 2 } as const;

/** Days ahead in which an answer is found that was given while the clock ran ahead. */
export const AHEAD_DAYS = 2;

export function replayed(
  answer: ModelAnswer,
  print: string,
  change: Members = {},
  status: 200 | 201 = 200,
): Expected {
  return answer.print === print ? granted({ ...answer.body, ...change }, status) : MISMATCH;
}

/** The time that remains of a first answer's expiry; nothing once the reservation is no longer active. */
export function timeLeft(answer: ModelAnswer, reservation: ModelReservation, nowMs: number): Members {
  const expiresAtMs = Number(answer.body.expires_at_ms);
  const isActive = stateAt(reservation, nowMs) === "ACTIVE";
  return { remaining_ttl_ms: isActive ? Math.max(0, expiresAtMs - nowMs) : 0 };
}

export function keepAnswer(
  state: ModelState,
  { namespace, keptDays, key, print }: KeptRequest,
  body: Members,
  nowMs: number,
): void {
  for (const each of state.answers) {
    if (each.namespace === namespace && each.key === key) each.doubtful = true;
  }
  const expiresDay = dayOf(nowMs) + keptDays;
  state.answers.push({ namespace, key, print, body, expiresDay, doubtful: false });
}

/** A request that is kept outside reservations: where its answer lies, for how long, and what it is told by. */
export interface KeptRequest {
  readonly namespace: string;
  readonly keptDays: number;
  readonly key: string;
  readonly print: string;
  readonly status?: 200 | 201;
}

/** What an earlier answer makes of this request; `undefined` where there is none and the request is a new one. */
export function findReplay(
  state: ModelState,
  { namespace, keptDays, key, print, status }: KeptRequest,
  nowMs: number,
  reply: AnyReply,
): Expected | undefined {
  const today = dayOf(nowMs);
  const isVisible = ({ expiresDay }: KeptAnswer): boolean =>
    expiresDay >= today && expiresDay <= today + keptDays + AHEAD_DAYS;
  const found = state.answers
    .filter((each) => each.namespace === namespace && each.key === key && isVisible(each))
    .reverse();
  for (const answer of found) {
    const expected = replayed(answer, print, {}, status);
    if (answer.doubtful && judge(expected, reply) !== undefined) continue;
    state.ambiguous ||= answer.doubtful;
    return expected;
  }
  return undefined;
}

/** After every turn: an answer whose days are over at this moment may be gone for good. */
export function ageAnswers(state: ModelState, nowMs: number): void {
  const today = dayOf(nowMs);
  for (const answer of state.answers) if (answer.expiresDay < today) answer.doubtful = true;
}

/** How a reply differs from what was foretold; `undefined` if it does not. */
export function judge(expected: Expected, reply: AnyReply): string | undefined {
  if (expected.ok) {
    if (!reply.ok) return `expected ${expected.status}, got ${reply.status} ${reply.error}: ${reply.message}`;
    return difference(
      { status: expected.status, body: expected.body },
      { status: reply.status, body: reply.body },
    );
  }
  const verdict = reply.ok ? `${reply.status}` : `${reply.status} ${reply.error}`;
  if (verdict !== expected.verdict) return `expected ${expected.verdict}, got ${verdict}`;
  if (expected.scope === undefined || reply.ok) return undefined;
  return difference(expected.scope, reply.details?.scope, "reply.details.scope");
}
