// The request for a reservation of as much as fits, which is Purser's own: the protocol's request and the least that is of
// use. Who may call: reserve.

import * as v from "valibot";
import { closed, int64, type ReserveRequest, reserveEntries } from "./schema.ts";

export const reserveFitSchema = v.pipe(
  closed({ ...reserveEntries, estimate_min: int64 }),
  v.check(
    ({ estimate, estimate_min }) => estimate_min <= estimate.amount,
    "must have an estimate_min that is at most estimate.amount",
  ),
);

/** Either kind of request; the protocol's own has no least. */
export type AnyReserveRequest = ReserveRequest & { readonly estimate_min?: bigint };
