// Reads: one reservation, and balances. Invariant: what has expired is never shown as held, whether or not a sweep has
// come by; a row outside the caller's scope filter is not shown at all. Who may call: the Ledger.

import { object, unknown } from "valibot";
import { mayTouch } from "./access.ts";
import { type Refusal, type Reply, refuse, succeed } from "./codes.ts";
import { type LedgerCore, statusAt, type Turn } from "./core.ts";
import { balancesSchema } from "./schema.ts";
import { hasSegments, segmentsOf } from "./scope.ts";
import { expired, locate } from "./settle.ts";
import type { AccountRecord } from "./store.ts";
import { type BalancesBody, balanceOf, type ReservationBody, reservationBody } from "./wire.ts";

const NO_INPUT = object({ id: unknown() });

export function getReservation(core: LedgerCore, id: string, turn: Turn): Reply<ReservationBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, {
      schema: NO_INPUT,
      input: { id },
      permission: "reservations:list",
    });
    if (!admitted.ok) return admitted;
    const located = locate(core, id, admitted.principal);
    if (!located.ok) return located;
    const { reservation } = located;
    if (statusAt(reservation, nowMs) !== "EXPIRED") return succeed(reservationBody(reservation));
    core.keepExpiry(reservation, nowMs);
    return expired(reservation);
  });
}

/** Every budget whose path has all the given segments, children included, one row per (scope, unit). */
export function balances(core: LedgerCore, query: unknown, turn: Turn): Reply<BalancesBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, {
      schema: balancesSchema,
      input: query,
      permission: "balances:read",
    });
    if (!admitted.ok) return admitted;
    const { request, principal } = admitted;
    if (request.tenant !== undefined && request.tenant !== core.tenant) {
      return refuse("FORBIDDEN", `tenant must be the key's own tenant, got ${request.tenant}`);
    }
    const after = request.cursor === undefined ? undefined : readCursor(request.cursor);
    if (after === null)
      return refuse("INVALID_REQUEST", "cursor must come from a previous reply", { field: "cursor" });

    const segments = segmentsOf(request);
    const isWanted = ({ scope }: AccountRecord) => hasSegments(scope, segments) && mayTouch(principal, scope);
    const rows = takeRows(core.store.scanAccounts(after), isWanted, request.limit + 1);
    const settled = settledRows(core, rows.slice(0, request.limit), nowMs);
    if (!settled.ok) return settled;
    const { rows: page } = settled;
    const last = page[page.length - 1];
    const more = rows.length > page.length && last !== undefined;
    return succeed({
      balances: page.map((account) => balanceOf(account, core.arithmetic)),
      ...(more && { next_cursor: cursorOf(last) }),
      has_more: more,
    });
  });
}

/** The same accounts as they stand now: with what is due on them settled, and in the windows that `nowMs` lies in. */
export function settledRows(
  core: LedgerCore,
  rows: readonly AccountRecord[],
  nowMs: number,
): { readonly ok: true; readonly rows: readonly AccountRecord[] } | Refusal {
  const { settled, unfinished } = core.settleDue(nowMs, rows);
  if (unfinished !== undefined) return unfinished;
  const now =
    settled === 0
      ? rows.map((row) => core.atTime(row, nowMs))
      : rows.flatMap(({ scope, unit }) => core.readAccounts([scope], unit, nowMs));
  return { ok: true, rows: now };
}

/** The first rows that are wanted. */
export function takeRows<Row>(rows: Iterable<Row>, isWanted: (row: Row) => boolean, rowsMax: number): Row[] {
  const taken: Row[] = [];
  for (const row of rows) {
    if (isWanted(row)) taken.push(row);
    if (taken.length === rowsMax) break;
  }
  return taken;
}

/** The position after a row. Scopes and units are ASCII, so base64 needs no further encoding. */
function cursorOf({ scope, unit }: AccountRecord): string {
  return btoa(`${unit}|${scope}`).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function readCursor(cursor: string): { scope: string; unit: string } | null {
  try {
    const [unit, scope] = atob(cursor.replaceAll("-", "+").replaceAll("_", "/")).split("|");
    return unit === undefined || scope === undefined ? null : { unit, scope };
  } catch {
    return null;
  }
}
