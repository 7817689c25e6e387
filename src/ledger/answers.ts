// Idempotency: what an operation answered is answered again to the same key and request, word for word, and refused to
// the same key with another one. Invariant: an answer is written in the transaction of what it reports; only successes
// are kept; the caller's API key is no part of it, so that a new key finds what the old one did (a token's is: see tokens.ts).
// Who may call: the operations of this folder.

import type { Principal } from "./access.ts";
import { type Refusal, type Reply, refuse, succeed } from "./codes.ts";
import { dayOf, type LedgerCore } from "./core.ts";
import { fingerprint } from "./digest.ts";
import type { HoldIds } from "./ids.ts";
import { canonicalJson, stringifyJson } from "./json.ts";
import { LIMITS, RETENTION } from "./limits.ts";
import type { Answer } from "./store.ts";
import { reviveReply } from "./wire.ts";

/** Answers that belong to no reservation, by operation: their namespace, and for how many days after today they stand. */
const KEPT = {
  /** A dry run shares the reserve's namespace, so a key is either the one or the other. */
  dryRun: { namespace: "reserve", days: RETENTION.dryRunDays },
  decide: { namespace: "decide", days: RETENTION.decideDays },
  event: { namespace: "event", days: RETENTION.eventDays },
} as const;
export type KeptOperation = keyof typeof KEPT;

/** What equal requests share and different ones don't, whatever the order of their keys. */
export function printOf(request: unknown): string {
  return fingerprint(canonicalJson(request));
}

export function findAnswer(
  core: LedgerCore,
  operation: KeptOperation,
  key: string,
  nowMs: number,
): Answer | undefined {
  const { namespace, days } = KEPT[operation];
  return core.store.readAnswer({ namespace, key, ...answerDays(nowMs, days) });
}

/** The last days of the answers that stand for so many, given at any time up to now, or by a clock that ran ahead. */
export function answerDays(
  nowMs: number,
  days: number,
): { readonly fromDay: number; readonly toDay: number } {
  const fromDay = dayOf(nowMs);
  return { fromDay, toDay: fromDay + days + RETENTION.aheadDays };
}

/** Where an earlier reserve or lease with this key may lie. */
export function replayStems(ids: HoldIds, tenant: string, key: string, nowMs: number): string[] {
  const { reserveReplayDays, aheadDays } = RETENTION;
  return ids.stems(tenant, key, dayOf(nowMs) + aheadDays, reserveReplayDays + aheadDays);
}

/** Writes one row, and prunes a few whose days have passed. */
export function keepAnswer(core: LedgerCore, operation: KeptOperation, answer: Answer, nowMs: number): void {
  const { namespace, days } = KEPT[operation];
  core.store.insertAnswer(namespace, dayOf(nowMs) + days, answer);
  core.prune(nowMs, LIMITS.pruneRowsPerTurn);
}

export function answerOf(key: string, print: string, body: unknown): Answer {
  return { key, fingerprint: print, reply: stringifyJson(body) };
}

/** The first answer again, if it was given to this very request. */
export function answerAgain<Body>(earlier: Answer, print: string, status: 200 | 201 = 200): Reply<Body> {
  return earlier.fingerprint === print ? succeed(reviveReply<Body>(earlier.reply), status) : mismatch();
}

export function mismatch(): Refusal {
  return refuse("IDEMPOTENCY_MISMATCH", "The idempotency key was used with a different request");
}

/** The reply as the caller's key wants it. What is kept is the whole one, so that another key of the tenant may see more. */
export function forKey<Body extends { readonly remaining_ttl_ms?: number }>(
  reply: Reply<Body>,
  { remainingTtl }: Principal,
): Reply<Body> {
  if (!reply.ok || remainingTtl !== false) return reply;
  const { remaining_ttl_ms: _left, ...body } = reply.body;
  return { ...reply, body: body as Body };
}
