// Reserve, live and dry: takes an estimate out of every budgeted scope of a subject, all or none.
// Invariant: a live ALLOW writes the reservation and every account in one transaction; a refusal and a dry run leave
// all figures as they were; the same key and body get the first answer again. Who may call: the Ledger.

import type { GenericSchema } from "valibot";
import type { Principal } from "./access.ts";
import { answerOf, findAnswer, forKey, keepAnswer, mismatch, printOf, replayStems } from "./answers.ts";
import { type Refusal, type Reply, refuse, succeed } from "./codes.ts";
import { type Admitted, dayOf, deadlineOf, type LedgerCore, statusAt, type Turn } from "./core.ts";
import { decisionOf, denialOf, evaluate, scopesFor } from "./evaluation.ts";
import { largestFit } from "./fit.ts";
import { type AnyReserveRequest, reserveFitSchema } from "./fit-schema.ts";
import { tightestOf } from "./lease-shares.ts";
import { TENANT_DEFAULTS } from "./limits.ts";
import type { Governance } from "./policies.ts";
import { type Amount, reserveSchema } from "./schema.ts";
import type { AccountRecord, ActiveReservation, Answer, TenantRecord } from "./store.ts";
import { refuseOverdraft } from "./token-charges.ts";
import { capScopesOf, ownKey } from "./tokens.ts";
import { windowsOf } from "./windows.ts";
import { balancesMember, type ReserveBody, reviveReply } from "./wire.ts";

export function reserve(core: LedgerCore, input: unknown, turn: Turn): Reply<ReserveBody> {
  return reserveBy(core, reserveSchema, input, turn);
}

/** The same for as much of the estimate as there is, and no less than `estimate_min`. */
export function reserveFit(core: LedgerCore, input: unknown, turn: Turn): Reply<ReserveBody> {
  return reserveBy(core, reserveFitSchema, input, turn);
}

function reserveBy(
  core: LedgerCore,
  schema: GenericSchema<unknown, AnyReserveRequest>,
  input: unknown,
  turn: Turn,
): Reply<ReserveBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, {
      schema,
      input,
      permission: "reservations:create",
    });
    if (!admitted.ok) return admitted;
    const { request, principal } = admitted;
    const place = scopesFor(core, request.subject, principal);
    if (!place.ok) return place;
    const { scopes } = place;
    const overdraft = refuseOverdraft(principal, request.overage_policy);
    if (overdraft !== undefined) return overdraft;

    const print = printOf(request);
    const key = ownKey(principal.token, request.idempotency_key);
    const earlier = findEarlier(core, key, nowMs);
    if (earlier !== undefined) {
      return earlier.fingerprint === print ? forKey(succeed(replay(earlier, nowMs)), principal) : mismatch();
    }
    return request.dry_run
      ? dryRun(core, admitted, scopes, { key, print }, nowMs)
      : forKey(reserveLive(core, admitted, scopes, { key, print }, nowMs), principal);
  });
}

function reserveLive(
  core: LedgerCore,
  { request, principal, tenant }: Admitted<AnyReserveRequest>,
  scopes: readonly string[],
  { key, print }: KeyAndPrint,
  nowMs: number,
): Reply<ReserveBody> {
  const grant = new Grant(core, request);
  const context = { tenant, scopes, principal, nowMs, amountOf: grant.amountOf };
  const evaluation = evaluate(core, request, { ...context, isLive: true });
  if (!evaluation.ok) return evaluation.refusal;
  const crowded = limitReached(core, principal);
  if (crowded !== undefined) return crowded;

  const { accounts, figures, governance } = evaluation;
  const id = core.ids.issue(core.tenant, key, dayOf(nowMs));
  const ttlMs = Math.min(
    request.ttl_ms ?? governance.ttl.defaultMs ?? tenant.defaultReservationTtlMs,
    governance.ttl.maxMs ?? tenant.maxReservationTtlMs,
    tenant.maxReservationTtlMs,
  );
  const body: ReserveBody = {
    ...decisionOf(governance),
    reservation_id: id,
    affected_scopes: scopes,
    expires_at_ms: nowMs + ttlMs,
    remaining_ttl_ms: ttlMs,
    scope_path: scopes[scopes.length - 1] ?? "",
    reserved: grant.amount,
    ...balancesMember(core.writeFigures(accounts, figures, nowMs), core.arithmetic),
  };
  const reservation: ActiveReservation = {
    id,
    status: "ACTIVE",
    created: answerOf(request.idempotency_key, print, body),
    ...grant.amount,
    scopes: accounts.map((account) => account.scope),
    windows: windowsOf(accounts),
    overagePolicy: overagePolicyOf(request, governance, accounts, tenant),
    createdAtMs: nowMs,
    expiresAtMs: nowMs + ttlMs,
    gracePeriodMs: request.grace_period_ms,
    extensionsMax: Math.min(
      governance.ttl.extensionsMax ?? tenant.maxReservationExtensions,
      tenant.maxReservationExtensions,
    ),
    extensions: [],
    details: { subject: request.subject, action: request.action, metadata: request.metadata },
    keyId: principal.keyId,
  };
  core.store.insertReservation(reservation);
  core.deadlines.set(deadlineOf(reservation));
  core.rates.count(governance.rates.reservations, nowMs);
  return succeed(body);
}

/** How much a request gets: its estimate, or what there is of it. Known once its budgets were looked at. */
class Grant {
  readonly #core: LedgerCore;
  readonly #request: AnyReserveRequest;
  #amount: bigint;

  constructor(core: LedgerCore, request: AnyReserveRequest) {
    this.#core = core;
    this.#request = request;
    this.#amount = request.estimate.amount;
  }

  get amount(): Amount {
    return { unit: this.#request.estimate.unit, amount: this.#amount };
  }

  readonly amountOf = (accounts: readonly AccountRecord[]): bigint => {
    const { estimate, estimate_min: min } = this.#request;
    if (min !== undefined) {
      const { remaining } = tightestOf(this.#core, accounts);
      // Where not even the least fits, it is what the refusal is about.
      this.#amount = largestFit({ want: estimate.amount, min }, remaining) ?? min;
    }
    return this.#amount;
  };
}

/** Under which key an answer is kept, and what equal requests share. */
interface KeyAndPrint {
  readonly key: string;
  readonly print: string;
}

/** Whether the tenant, or the API key or token that asks, holds as many reservations as it may. */
function limitReached(core: LedgerCore, { keyId, token }: Principal): Refusal | undefined {
  const { activeReservationsMax: max, activeReservationsPerKeyMax: perKeyMax } = core.limits;
  const { activeReservationsPerTokenMax: perTokenMax } = core.limits;
  if (core.deadlines.size >= max) {
    return refuse("LIMIT_EXCEEDED", `At most ${max} reservations may be active at once`);
  }
  const isFull = capScopesOf(token).some(
    (scope) => token !== undefined && core.deadlines.countOn({ scope, unit: token.unit }) >= perTokenMax,
  );
  if (isFull) {
    return refuse("LIMIT_EXCEEDED", `At most ${perTokenMax} reservations of one token may be active at once`);
  }
  return keyId !== undefined && core.deadlines.countOf(keyId) >= perKeyMax
    ? refuse("LIMIT_EXCEEDED", `At most ${perKeyMax} reservations of one API key may be active at once`)
    : undefined;
}

/** The same evaluation with nothing taken: refusals by budgets are a DENY, faults of the request stay errors. */
function dryRun(
  core: LedgerCore,
  { request, principal, tenant }: Admitted<AnyReserveRequest>,
  scopes: readonly string[],
  { key, print }: KeyAndPrint,
  nowMs: number,
): Reply<ReserveBody> {
  const grant = new Grant(core, request);
  const context = { tenant, scopes, principal, nowMs, amountOf: grant.amountOf };
  const evaluation = evaluate(core, request, context);
  let body: ReserveBody;
  if (evaluation.ok) {
    body = {
      ...decisionOf(evaluation.governance),
      affected_scopes: scopes,
      scope_path: scopes[scopes.length - 1] ?? "",
      reserved: grant.amount,
      ...balancesMember(evaluation.accounts, core.arithmetic),
    };
  } else {
    if (evaluation.denies === undefined) return evaluation.refusal;
    body = { ...denialOf(evaluation), affected_scopes: scopes };
  }
  keepAnswer(core, "dryRun", answerOf(key, print, body), nowMs);
  return succeed(body);
}

/** Request, else policy, else the deepest budget that sets one, else the tenant, else the protocol's default. */
function overagePolicyOf(
  request: AnyReserveRequest,
  governance: Governance,
  accounts: readonly AccountRecord[],
  tenant: TenantRecord,
) {
  const budget = accounts.findLast((account) => account.commitOveragePolicy !== undefined);
  return (
    request.overage_policy ??
    governance.commitOveragePolicy ??
    budget?.commitOveragePolicy ??
    tenant.defaultCommitOveragePolicy ??
    TENANT_DEFAULTS.commitOveragePolicy
  );
}

interface EarlierAnswer extends Answer {
  /** False once the reservation is settled or past its grace: then nothing of its time remains. */
  readonly active: boolean;
}

function findEarlier(core: LedgerCore, key: string, nowMs: number): EarlierAnswer | undefined {
  const found = core.store.findReservation(replayStems(core.ids, core.tenant, key, nowMs));
  if (found !== undefined) {
    return { ...found.created, active: statusAt(found, nowMs) === "ACTIVE" };
  }
  const dry = findAnswer(core, "dryRun", key, nowMs);
  return dry === undefined ? undefined : { ...dry, active: false };
}

/** The first answer again, word for word; only the time that remains is today's. */
function replay(answer: EarlierAnswer, nowMs: number): ReserveBody {
  const body = reviveReply<ReserveBody>(answer.reply);
  if (body.expires_at_ms === undefined) return body;
  return { ...body, remaining_ttl_ms: answer.active ? Math.max(0, body.expires_at_ms - nowMs) : 0 };
}
