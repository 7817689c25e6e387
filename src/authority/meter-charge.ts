// Charges what a stream used to the reservations that were made for it. Invariant: the shares add up to what was used, but
// for a page that closes, which asks for nothing that may be refused; no reservation but the last is charged beyond its
// hold; all are sent before the first answer is waited for.
// Who may call: Meter, once.

import type { JsonObject } from "../ledger/json.ts";
import type { Figure, Metrics } from "./authority.ts";
import { AuthorityDeniedError } from "./errors.ts";
import type { ReservationGuard } from "./reservation-guard.ts";

export interface Charging {
  readonly metadata: JsonObject;
  readonly metrics: Metrics | undefined;
  readonly keepalive: boolean;
}

/** The reason of releasing a further reservation that was not used. */
export const NOT_NEEDED = "stream_ended";

/** The reason of releasing what was held for a call of which nothing was seen. */
const NOT_BEGUN = "stream_not_begun";

/**
 * @param actual - what was used; undefined where nothing began, and all is released
 * @returns what the budgets were charged
 * @throws what kept the first of the failed charges from being made, after all of them were tried
 */
export async function charge<F extends Figure>(
  guards: readonly ReservationGuard<F>[],
  actual: bigint | undefined,
  { metrics, ...rest }: Charging,
): Promise<bigint> {
  const charges = sharesOf(guards, actual ?? 0n).map(async ([guard, share], index) => {
    if (actual === undefined || (share === 0n && index > 0)) {
      await guard.release(actual === undefined ? NOT_BEGUN : NOT_NEEDED, { keepalive: rest.keepalive });
      return 0n;
    }
    // Of one call there is one set of figures.
    return commit(guard, share, { ...rest, metrics: index === 0 ? metrics : undefined });
  });
  let charged = 0n;
  const failures: unknown[] = [];
  for (const result of await Promise.allSettled(charges)) {
    if (result.status === "fulfilled") charged += result.value;
    else failures.push(result.reason);
  }
  if (failures.length === 0) return charged;
  // Nobody else holds these guards: what is left to do for them is done here.
  for (const guard of guards) void guard.endSoon();
  throw failures[0];
}

/** Notes what each would be charged by now, should nobody be left to say more. */
export function count<F extends Figure>(
  guards: readonly ReservationGuard<F>[],
  actual: bigint,
  metadata: JsonObject,
): void {
  for (const [guard, share] of sharesOf(guards, actual)) guard.count(payable(guard, share), metadata);
}

/** Who is not there to send the hold after a refusal asks for no more. */
function payable<F extends Figure>(guard: ReservationGuard<F>, share: bigint): bigint {
  const held = BigInt(guard.reserved.amount);
  return share > held && !guard.takesBeyond ? held : share;
}

/** Fills one hold after the other; what is beyond all of them is the last one's. */
function sharesOf<F extends Figure>(guards: readonly ReservationGuard<F>[], actual: bigint) {
  let rest = actual;
  return guards.map((guard, index) => {
    const held = BigInt(guard.reserved.amount);
    const share = index === guards.length - 1 || rest < held ? rest : held;
    rest -= share;
    return [guard, share] as const;
  });
}

async function commit<F extends Figure>(
  guard: ReservationGuard<F>,
  share: bigint,
  { metadata, metrics, keepalive }: Charging,
): Promise<bigint> {
  const rest = { metadata, ...(metrics !== undefined && { metrics }) };
  const held = BigInt(guard.reserved.amount);
  const actual = keepalive ? payable(guard, share) : share;
  const answer = await guard.commit({ actual, ...rest }, { keepalive });
  if (answer.ok) return BigInt(answer.charged.amount);
  // A budget that takes nothing beyond the hold takes the hold: it was used.
  if (actual > held && answer.denial.code !== "LIMIT_EXCEEDED") {
    const again = await guard.commit({ actual: held, ...rest }, { keepalive });
    if (again.ok) return BigInt(again.charged.amount);
  }
  throw new AuthorityDeniedError(answer.denial);
}
