// Requests on their way out: the interface's shapes become the protocol's. Invariant: nothing is sent that names no
// subject, or whose amounts, times or ids cannot be what they claim; everything else is the authority's to judge. Members
// that are undefined mean nothing and are never sent (the writer and the ledger drop them). Pure; who may call: WireAuthority.

import { checkInteger, checkName, invalidArgument, invalidType } from "../arguments.ts";
import { INT64_MAX } from "../ledger/int64.ts";
import type { AmountInput } from "../ledger/schema.ts";
import type { Subject } from "../ledger/scope.ts";
import type {
  Ask,
  CommitRequest,
  DecideRequest,
  EventRequest,
  ExtendRequest,
  Figure,
  Levels,
  ReleaseRequest,
  ReservationQuery,
  ReserveRequest,
} from "./authority.ts";
import * as CLIENT_LIMITS from "./limits/client.ts";
import { wireNameOf } from "./members.ts";
import type { WireFields } from "./wire-call.ts";

const LEVELS = ["tenant", "workspace", "app", "workflow", "agent", "toolset"] as const;
const METRICS = ["tokensInput", "tokensOutput", "latencyMs", "modelVersion", "custom"] as const;
/** The ends of a query's time windows, by the wire's names. */
const INSTANTS = {
  from: "createdFromMs",
  to: "createdToMs",
  expires_from: "expiresFromMs",
  expires_to: "expiresToMs",
  finalized_from: "finalizedFromMs",
  finalized_to: "finalizedToMs",
} as const;

export function decideBody(key: string, request: DecideRequest, base: Subject | undefined): WireFields {
  checkAmount("estimate", request.estimate);
  return { idempotency_key: key, ...askFields(request, base), estimate: request.estimate };
}

export function reserveBody(key: string, request: ReserveRequest, base: Subject | undefined): WireFields {
  return {
    ...decideBody(key, request, base),
    ...durationsOf(request, ["ttlMs", "gracePeriodMs"]),
    overage_policy: request.overagePolicy,
  };
}

/** The same with the least that is of use. */
export function reserveFitBody(
  key: string,
  request: ReserveRequest,
  min: Figure,
  base: Subject | undefined,
): WireFields {
  const body = reserveBody(key, request, base);
  const { unit, amount } = request.estimate;
  checkAmount("min", { unit, amount: min });
  if (min > amount) throw invalidArgument("min", `at most estimate.amount, ${amount}`, Number(min));
  return { ...body, estimate_min: min };
}

export function commitBody(key: string, request: CommitRequest): WireFields {
  checkAmount("actual", request.actual);
  return {
    idempotency_key: key,
    actual: request.actual,
    metrics: request.metrics && wireFieldsOf(request.metrics, METRICS),
    metadata: request.metadata,
  };
}

export function eventBody(key: string, request: EventRequest, base: Subject | undefined): WireFields {
  return {
    ...commitBody(key, request),
    ...askFields(request, base),
    ...durationsOf(request, ["clientTimeMs"]),
    overage_policy: request.overagePolicy,
  };
}

export function releaseBody(key: string, { reason }: ReleaseRequest): WireFields {
  return { idempotency_key: key, reason };
}

export function extendBody(key: string, { extendByMs, metadata }: ExtendRequest): WireFields {
  checkInteger("extendByMs", extendByMs, 1, Number.MAX_SAFE_INTEGER);
  return { idempotency_key: key, extend_by_ms: extendByMs, metadata };
}

export function balancesQuery(levels: Levels): WireFields {
  return { ...wireFieldsOf(levels, LEVELS), limit: CLIENT_LIMITS.pageRowsMax };
}

export function reservationsQuery(query: ReservationQuery): WireFields {
  const instants = Object.entries(INSTANTS).map(([member, name]) => [member, instant(name, query[name])]);
  return {
    ...wireFieldsOf(query.levels ?? {}, LEVELS),
    ...wireFieldsOf(query, ["idempotencyKey", "status"]),
    ...Object.fromEntries(instants),
    sort_by: query.sortBy && wireNameOf(query.sortBy),
    sort_dir: query.sortDirection,
    include: query.include?.map(wireNameOf).join(","),
    limit: query.pageRows,
  };
}

/** An id that can stand in a path: a text of its own, and no step to another one. */
export function checkId(argument: "reservationId" | "leaseId", id: string): void {
  checkName(argument, id, CLIENT_LIMITS.reservationIdLengthMax);
  if (id === "." || id === "..") throw invalidArgument(argument, "an id, and no step in a path", id);
}

/** An amount as callers give it: an integer from 0 to 2^63−1, as a safe number or a BigInt. */
export function checkAmount(argument: string, value: AmountInput): void {
  if (typeof value !== "object" || value === null) {
    throw invalidType(argument, "an amount like { unit: TOKENS, amount: 1200 }", value);
  }
  checkFigure(`${argument}.amount`, value.amount);
}

export function checkFigure(argument: string, figure: Figure): void {
  if (typeof figure === "bigint") {
    if (figure >= 0n && figure <= INT64_MAX) return;
    throw invalidArgument(argument, `an integer from 0 to ${INT64_MAX}`, figure);
  }
  checkInteger(argument, figure, 0, Number.MAX_SAFE_INTEGER);
}

function askFields({ subject, action, metadata }: Ask, base: Subject | undefined): WireFields {
  return { subject: subjectOf(subject, base), action, metadata };
}

/** A request's own levels, and those that the authority was opened with. */
export function subjectOf(subject: Subject | undefined, base: Subject | undefined): Subject {
  if (subject === undefined && base === undefined) {
    throw invalidType("subject", "given here or when the authority is opened", subject);
  }
  return { ...base, ...subject };
}

/** These of the members, by the wire's names of them. */
export function wireFieldsOf<T extends object>(from: T, names: readonly (keyof T & string)[]): WireFields {
  return Object.fromEntries(names.map((name) => [wireNameOf(name), from[name]]));
}

/** The same, each of which must be a length of time where it is given. */
export function durationsOf<Name extends string>(
  from: { readonly [N in Name]?: number },
  names: readonly Name[],
): WireFields {
  for (const name of names) {
    if (from[name] !== undefined) checkInteger(name, from[name], 0, Number.MAX_SAFE_INTEGER);
  }
  return wireFieldsOf(from, names);
}

function instant(argument: string, timeMs: number | undefined): string | undefined {
  if (timeMs === undefined) return undefined;
  checkInteger(argument, timeMs, 0, 8_640_000_000_000_000);
  return new Date(timeMs).toISOString();
}
