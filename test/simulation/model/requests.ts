// Questions that several operations ask of a request before anything else. Who may call: the model.

import type { AnyReply } from "../calls.ts";
import { type Expected, type ModelState, refused } from "./state.ts";

/** Another tenant's subject, or this one's in another case. */
export function isForeign(state: ModelState, tenant: string | undefined): boolean {
  return tenant !== undefined && tenant !== state.tenant.tenantId;
}

/** No budget in this unit: a wrong unit where another one is budgeted on the path, otherwise nothing to take from. */
export function refuseUnbudgeted(state: ModelState, scopes: readonly string[]): Expected & { ok: false } {
  const inOtherUnits = [...state.budgets.values()].some(({ scope }) => scopes.includes(scope));
  return refused(inOtherUnits ? "400 UNIT_MISMATCH" : "404 NOT_FOUND");
}

/** The id that the ledger chose: opaque, but fit for a path and never given twice. */
export function freshId(state: ModelState, reply: AnyReply, member: "reservation_id" | "event_id"): string {
  const id = reply.ok ? (reply.body as Record<string, unknown>)[member] : undefined;
  if (typeof id !== "string") return "an id that the ledger chose";
  if (!/^[-\w.~]{1,128}$/.test(id)) throw new Error(`the id ${id} needs escaping in a path`);
  // Given again only where the answer may have been pruned, and the request is a new one for the ledger.
  const isKnown = state.answers.some(({ body, doubtful }) => body.event_id === id && !doubtful);
  if (isKnown || state.reservations.has(id)) throw new Error(`the id ${id} was given before`);
  return id;
}
