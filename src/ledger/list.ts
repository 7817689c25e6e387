// Listing reservations: filters, three time windows, seven orders, pages. Invariant: a call looks at a bounded number of
// rows whatever it finds; a cursor only goes on with the filters and order it came from; what has expired is listed as
// such, whether or not a sweep has come by. By creation and by id a page continues from its place; the other orders
// have no index and sort all candidates of the window. Who may call: the Ledger.

import { mayTouch, owns, type Principal } from "./access.ts";
import { type Refusal, type Reply, refuse, succeed } from "./codes.ts";
import { dayOf, type LedgerCore, statusAt, type Turn } from "./core.ts";
import { readCursor, refuseCursor, writeCursor } from "./cursor.ts";
import { dayPrefix } from "./ids.ts";
import { parseInt64 } from "./int64.ts";
import { LIMITS, RETENTION } from "./limits.ts";
import { type ListRequest, listSchema } from "./schema.ts";
import { hasSegments, scopePathOf, segmentsOf } from "./scope.ts";
import type { Reservation, ReservationScan } from "./store.ts";
import { ownKey } from "./tokens.ts";
import { type ReservationBody, type ReservationListBody, reservationBody } from "./wire.ts";

type Value = string | number | bigint;

/** Where a page ended: the last row's value in its order, and its id. */
interface Place {
  readonly value: Value;
  readonly id: string;
}

interface Page {
  readonly rows: readonly Reservation[];
  /** Where to go on; absent at the end. */
  readonly next?: Place | undefined;
}

/** One listing, as its helpers see it. */
interface Listing {
  readonly core: LedgerCore;
  readonly request: ListRequest;
  readonly principal: Principal;
  readonly nowMs: number;
  readonly after: Place | undefined;
}

const WINDOWS = [
  ["from", "to"],
  ["expires_from", "expires_to"],
  ["finalized_from", "finalized_to"],
] as const;

/** Sorts after every id. */
const LAST_ID = "~";
const PLACE_ID = /^[-\w]+$/;
/** The last day that an id can name. */
const DAYS_MAX = 2 ** 18 - 1;

export function listReservations(core: LedgerCore, query: unknown, turn: Turn): Reply<ReservationListBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, {
      schema: listSchema,
      input: query,
      permission: "reservations:list",
    });
    if (!admitted.ok) return admitted;
    const { request, principal } = admitted;
    if (request.tenant !== undefined && request.tenant !== core.tenant) {
      return refuse("FORBIDDEN", `tenant must be the key's own tenant, got ${request.tenant}`);
    }
    const windowFault = checkWindows(request);
    if (windowFault !== undefined) return windowFault;
    const after = readPlace(core, request);
    if (after === null) return refuseCursor();

    const listing: Listing = { core, request, principal, nowMs, after };
    const page = pageOf(listing);
    if ("ok" in page) return page;
    for (const row of page.rows) core.keepExpiry(row, nowMs);
    const include = new Set(request.include.split(",").map((token) => token.trim()));
    return succeed({
      reservations: page.rows.map((row) => rowBody(row, include, nowMs)),
      ...(page.next !== undefined && {
        next_cursor: writeCursor([String(page.next.value), page.next.id], boundTo(core, request)),
      }),
      has_more: page.next !== undefined,
    });
  });
}

function pageOf(listing: Listing): Page | Refusal {
  const { idempotency_key } = listing.request;
  if (idempotency_key !== undefined) return pageByKey(listing, idempotency_key);
  return isStoreOrder(listing.request) ? pageInOrder(listing) : pageSorted(listing);
}

/** The newest reservation made with this key, if it passes the other filters. At most one. */
function pageByKey(listing: Listing, key: string): Page {
  const { core, principal, nowMs } = listing;
  const today = dayOf(nowMs);
  const kept = ownKey(principal.token, key);
  for (let day = today + RETENTION.aheadDays; day > today - LIMITS.listKeyDays; day -= 1) {
    const found = core.store.findReservation(core.ids.stems(core.tenant, kept, day, 0));
    if (found !== undefined && matches(listing, found)) return { rows: [found] };
  }
  return { rows: [] };
}

/** Walks an order that the store has, until the page is full and it is known whether more follows. */
function pageInOrder(listing: Listing): Page {
  const { core, request, nowMs } = listing;
  const rows: Reservation[] = [];
  let looked = 0;
  let last: Reservation | undefined;
  for (const row of core.store.scanReservations(scanOf(listing))) {
    if (looked === LIMITS.listRowsMax) return { rows, next: last && placeOf(last, request, nowMs) };
    const isWanted = matches(listing, row);
    if (isWanted && rows.length === request.limit) {
      const end = rows[rows.length - 1];
      return { rows, next: end && placeOf(end, request, nowMs) };
    }
    if (isWanted) rows.push(row);
    looked += 1;
    last = row;
  }
  return { rows };
}

/** Sorts every candidate; refused where there are more than one call may look at. */
function pageSorted(listing: Listing): Page | Refusal {
  const { core, request, nowMs, after } = listing;
  const candidates = [...core.store.scanReservations(scanOf({ ...listing, after: undefined }))];
  if (candidates.length > LIMITS.listRowsMax) {
    return refuse(
      "INVALID_REQUEST",
      `sort_by ${request.sort_by} orders at most ${LIMITS.listRowsMax} reservations; narrow from, to or status`,
      { field: "sort_by" },
    );
  }
  const sign = request.sort_dir === "desc" ? -1 : 1;
  const sorted = candidates
    .filter((row) => matches(listing, row))
    .map((row) => ({ row, place: placeOf(row, request, nowMs) }))
    .sort((a, b) => sign * comparePlaces(a.place, b.place))
    .filter(({ place }) => after === undefined || sign * comparePlaces(place, after) > 0);
  const page = sorted.slice(0, request.limit);
  return {
    rows: page.map(({ row }) => row),
    next: sorted.length > page.length ? page[page.length - 1]?.place : undefined,
  };
}

/** The stretch of the store's order that can hold the page. */
function scanOf({ request, principal, after }: Listing): ReservationScan {
  const byId = isById(request);
  const descending = request.sort_dir === "desc";
  const fromMs = Math.max(0, request.from ?? 0);
  const toMs = request.to ?? Number.MAX_SAFE_INTEGER;
  // Ids begin with the day of their creation.
  let above = { createdAtMs: fromMs, id: byId ? dayPrefix(Math.min(dayOf(fromMs), DAYS_MAX)) : "" };
  let below = {
    createdAtMs: toMs,
    id: byId && dayOf(toMs) < DAYS_MAX ? dayPrefix(dayOf(toMs) + 1) : LAST_ID,
  };
  if (after !== undefined) {
    const place = { createdAtMs: byId ? 0 : Number(after.value), id: after.id };
    if (descending) below = place;
    else above = place;
  }
  const seesAll = principal.scopeFilter === undefined && principal.token === undefined;
  const everyRowIsWanted = seesAll && !hasFilters(request);
  return {
    order: byId ? "id" : "created",
    descending,
    halves: halvesOf(request),
    above,
    below,
    rowsMax: everyRowIsWanted && isStoreOrder(request) ? request.limit + 1 : LIMITS.listRowsMax + 1,
  };
}

/** By tenant too: a reservation without the tenant in its subject has no budget, so all are of one and tie. */
function isById({ sort_by }: ListRequest): boolean {
  return sort_by === "reservation_id" || sort_by === "tenant";
}

function isStoreOrder(request: ListRequest): boolean {
  return request.sort_by === "created_at_ms" || isById(request);
}

function hasFilters(request: ListRequest): boolean {
  const { status, from, to, expires_from, expires_to, finalized_from, finalized_to } = request;
  const filters = [status, from, to, expires_from, expires_to, finalized_from, finalized_to];
  return filters.some((filter) => filter !== undefined) || levelsOf(request).length > 0;
}

/** Which reservations can match at all. One that is due and not yet swept is still among the active ones. */
function halvesOf({ status, finalized_from, finalized_to }: ListRequest): ReservationScan["halves"] {
  if (status === "ACTIVE") return ["active"];
  const wantsFinalized = finalized_from !== undefined || finalized_to !== undefined;
  return status === "COMMITTED" || status === "RELEASED" || wantsFinalized
    ? ["finished"]
    : ["active", "finished"];
}

function matches({ request, principal, nowMs }: Listing, row: Reservation): boolean {
  const status = statusAt(row, nowMs);
  if (request.status !== undefined && request.status !== status) return false;
  if (!isWithin(row.createdAtMs, request.from, request.to)) return false;
  if (!isWithin(row.expiresAtMs, request.expires_from, request.expires_to)) return false;
  if (request.finalized_from !== undefined || request.finalized_to !== undefined) {
    if (row.status !== "COMMITTED" && row.status !== "RELEASED") return false;
    if (!isWithin(row.finishedAtMs, request.finalized_from, request.finalized_to)) return false;
  }
  const scopePath = scopePathOf(row.details.subject);
  return hasSegments(scopePath, levelsOf(request)) && owns(principal, row) && mayTouch(principal, scopePath);
}

/** The wanted levels. The tenant is no filter: every reservation here is its own, whatever its subject left out. */
function levelsOf(request: ListRequest): string[] {
  const { workspace, app, workflow, agent, toolset } = request;
  return segmentsOf({ workspace, app, workflow, agent, toolset });
}

function isWithin(timeMs: number, fromMs: number | undefined, toMs: number | undefined): boolean {
  return timeMs >= (fromMs ?? timeMs) && timeMs <= (toMs ?? timeMs);
}

function checkWindows(request: ListRequest): Refusal | undefined {
  for (const [from, to] of WINDOWS) {
    const [fromMs, toMs] = [request[from], request[to]];
    if (fromMs !== undefined && toMs !== undefined && fromMs > toMs) {
      return refuse("INVALID_REQUEST", `${from} must not be later than ${to}`, { field: from });
    }
  }
  return undefined;
}

// ---- places and cursors ----------------------------------------------------------------------------------------

function placeOf(row: Reservation, request: ListRequest, nowMs: number): Place {
  return { value: sortValueOf(row, request.sort_by, nowMs), id: row.id };
}

function sortValueOf(row: Reservation, sortBy: ListRequest["sort_by"], nowMs: number): Value {
  switch (sortBy) {
    case "reservation_id":
    case "tenant":
      return row.id;
    case "scope_path":
      return scopePathOf(row.details.subject);
    case "status":
      return statusAt(row, nowMs);
    case "reserved":
      return row.amount;
    case "created_at_ms":
      return row.createdAtMs;
    case "expires_at_ms":
      return row.expiresAtMs;
  }
}

/** By value, ties by id; texts by their characters, which are ASCII. */
function comparePlaces(a: Place, b: Place): number {
  if (a.value !== b.value) return a.value < b.value ? -1 : 1;
  return a.id === b.id ? 0 : a.id < b.id ? -1 : 1;
}

/** What a cursor is bound to: everything but `include` and `limit`, which choose no rows and no order. */
function boundTo(core: LedgerCore, request: ListRequest): object {
  const { include: _include, limit: _limit, cursor: _cursor, ...bound } = request;
  return { ...bound, tenant: core.tenant };
}

/** The place that a cursor names; `undefined` without one, `null` for another listing's. */
function readPlace(core: LedgerCore, request: ListRequest): Place | null | undefined {
  const position = readCursor(request.cursor, boundTo(core, request));
  if (position === null || position === undefined) return position;
  const [text = "", id = ""] = position;
  return PLACE_ID.test(id) ? { value: readValue(text, request.sort_by), id } : null;
}

/** A value as it stands in a cursor. What is no number where one is due was not written here, and means the beginning. */
function readValue(text: string, sortBy: ListRequest["sort_by"]): Value {
  if (sortBy === "reserved") return parseInt64(text) ?? 0n;
  return sortBy === "created_at_ms" || sortBy === "expires_at_ms" ? Number(parseInt64(text) ?? 0n) : text;
}

function rowBody(row: Reservation, include: ReadonlySet<string>, nowMs: number): ReservationBody {
  const { metadata, committed_metadata, ...body } = reservationBody(row);
  return {
    ...body,
    status: statusAt(row, nowMs),
    ...(include.has("metadata") && metadata !== undefined && { metadata }),
    ...(include.has("committed_metadata") && committed_metadata !== undefined && { committed_metadata }),
  };
}
