// Looking at leases: the list, and the sum of what they could spend. Invariant: what has expired is listed as such, whether
// or not a sweep has come by; a lease outside the caller's scope filter is not shown, and sums are shown to nobody who has
// one. Who may call: the Ledger.

import { object } from "valibot";
import { mayTouch, owns } from "./access.ts";
import { type Reply, refuse, succeed } from "./codes.ts";
import type { LedgerCore, Turn } from "./core.ts";
import { readCursor, refuseCursor, writeCursor } from "./cursor.ts";
import type { LentOfUnit } from "./lease-book.ts";
import type { LeasePlace, LeaseRecord } from "./lease-record.ts";
import { leaseListSchema } from "./lease-schema.ts";
import { type ExposureBody, type LeaseListBody, leaseStateBody } from "./lease-wire.ts";
import { leaseAt } from "./leases.ts";
import { LIMITS } from "./limits.ts";
import { UNITS } from "./schema.ts";
import { scopePathOf } from "./scope.ts";

const NO_INPUT = object({});
const NEWEST: LeasePlace = { createdAtMs: Number.MAX_SAFE_INTEGER, id: "~" };

/** The newest first. A call looks at a bounded number, so a page may be short and yet have a next one. */
export function listLeases(core: LedgerCore, query: unknown, turn: Turn): Reply<LeaseListBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, {
      schema: leaseListSchema,
      input: query,
      permission: "reservations:list",
    });
    if (!admitted.ok) return admitted;
    const { limit, cursor, ...filters } = admitted.request;
    const position = readCursor(cursor, filters);
    const below = position === undefined ? NEWEST : placeOf(position);
    if (below === null) return refuseCursor();

    const { principal } = admitted;
    const rows: LeaseRecord[] = [];
    let last: LeaseRecord | undefined;
    let looked = 0;
    let hasMore = false;
    for (const row of [...core.store.scanLeases({ below, rowsMax: LIMITS.listRowsMax + 1 })]) {
      hasMore = rows.length === limit || looked === LIMITS.listRowsMax;
      if (hasMore) break;
      const { lease } = leaseAt(core, row, nowMs);
      const isWanted = filters.status === undefined || lease.status === filters.status;
      const isSeen = owns(principal, lease) && mayTouch(principal, scopePathOf(lease.subject));
      if (isWanted && isSeen) rows.push(lease);
      last = row;
      looked += 1;
    }
    return succeed({
      leases: rows.map(leaseStateBody),
      ...(hasMore &&
        last !== undefined && {
          next_cursor: writeCursor([String(last.createdAtMs), last.id], filters),
        }),
      has_more: hasMore,
    });
  });
}

function placeOf(position: readonly string[] | null): LeasePlace | null {
  const [time = "", id = ""] = position ?? [];
  return /^[0-9]{1,16}$/.test(time) && /^[-\w]+$/.test(id) ? { createdAtMs: Number(time), id } : null;
}

const NOTHING_LENT: LentOfUnit = { leases: 0, outstanding: 0n, refundable: 0n };

/** What all holders together could spend without the authority knowing it, one row a unit that there is anything of. */
export function exposure(core: LedgerCore, turn: Turn): Reply<ExposureBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, { schema: NO_INPUT, input: {}, permission: "balances:read" });
    if (!admitted.ok) return admitted;
    const { scopeFilter, token } = admitted.principal;
    if (scopeFilter !== undefined || token !== undefined) {
      return refuse("FORBIDDEN", "The exposure is the whole tenant's, and not for a scope filter or a token");
    }
    const { unfinished } = core.settleDue(nowMs, []);
    if (unfinished !== undefined) return unfinished;
    const sums = core.leases.sums();
    const unreported = new Map(core.store.readUnreported().map(({ unit, amount }) => [unit, amount]));
    const rows = UNITS.map((unit) => {
      const { leases, outstanding, refundable } = sums.get(unit) ?? NOTHING_LENT;
      return { unit, leases, outstanding, beyond: refundable + (unreported.get(unit) ?? 0n) };
    });
    return succeed({ exposure: rows.filter(({ leases, beyond }) => leases > 0 || beyond > 0n) });
  });
}
