// Decide: the answer that a reserve would get, and nothing taken. Invariant: nothing is written but the answer, so that
// a retry hears the same; what budgets say is a decision, never an error. Who may call: the Ledger.

import { answerAgain, answerOf, findAnswer, keepAnswer, printOf } from "./answers.ts";
import { type Reply, succeed } from "./codes.ts";
import type { LedgerCore, Turn } from "./core.ts";
import { decisionOf, denialOf, evaluate, scopesFor } from "./evaluation.ts";
import { decideSchema } from "./schema.ts";
import { ownKey } from "./tokens.ts";
import type { DecideBody } from "./wire.ts";

export function decide(core: LedgerCore, input: unknown, turn: Turn): Reply<DecideBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, {
      schema: decideSchema,
      input,
      permission: "reservations:create",
    });
    if (!admitted.ok) return admitted;
    const { request, principal, tenant } = admitted;
    const place = scopesFor(core, request.subject, principal);
    if (!place.ok) return place;
    const { scopes } = place;

    const key = ownKey(principal.token, request.idempotency_key);
    const print = printOf(request);
    const earlier = findAnswer(core, "decide", key, nowMs);
    if (earlier !== undefined) return answerAgain<DecideBody>(earlier, print);

    const evaluation = evaluate(core, request, { tenant, scopes, principal, nowMs });
    if (!evaluation.ok && evaluation.denies === undefined) return evaluation.refusal;
    const body: DecideBody = evaluation.ok
      ? { ...decisionOf(evaluation.governance), affected_scopes: scopes }
      : { ...denialOf(evaluation), affected_scopes: scopes };
    keepAnswer(core, "decide", answerOf(key, print, body), nowMs);
    return succeed(body);
  });
}
