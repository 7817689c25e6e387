// What the simulation of leases asks for, as values. Invariant: a call is never changed once made, so a retry is the same
// call. Who may call: actors make calls, the host performs them, the judge looks at their replies.

import type {
  BudgetInput,
  CommitInput,
  EventInput,
  FundInput,
  LeaseBody,
  LeaseInput,
  LeaseRenewalInput,
  LeaseReturnInput,
  LeaseSettingsInput,
  Ledger,
  ReleaseInput,
  ReserveInput,
  Turn,
} from "purser/ledger";
import type { AnyReply, BudgetName } from "../calls.ts";

export type LeaseCall =
  | { readonly op: "openLease"; readonly body: LeaseInput }
  | { readonly op: "renewLease"; readonly id: string; readonly body: LeaseRenewalInput }
  | { readonly op: "returnLease"; readonly id: string; readonly body: LeaseReturnInput }
  | { readonly op: "raiseEpoch" }
  | { readonly op: "setLeases"; readonly body: LeaseSettingsInput }
  | { readonly op: "reserve"; readonly body: ReserveInput }
  | { readonly op: "commit"; readonly id: string; readonly body: CommitInput }
  | { readonly op: "release"; readonly id: string; readonly body: ReleaseInput }
  | { readonly op: "event"; readonly body: EventInput }
  | { readonly op: "createBudget"; readonly body: BudgetInput }
  | { readonly op: "freeze" | "unfreeze"; readonly query: BudgetName }
  | { readonly op: "updateTenant"; readonly body: { readonly status: "ACTIVE" | "SUSPENDED" } }
  | { readonly op: "fund"; readonly query: BudgetName; readonly body: FundInput };

export function perform(ledger: Ledger, call: LeaseCall, turn: Turn): AnyReply {
  switch (call.op) {
    case "openLease":
      return ledger.openLease(call.body, turn);
    case "renewLease":
      return ledger.renewLease(call.id, call.body, turn);
    case "returnLease":
      return ledger.returnLease(call.id, call.body, turn);
    case "raiseEpoch":
      return ledger.raiseLeaseEpoch(turn);
    case "setLeases":
      return ledger.changeLeaseSettings(call.body, turn);
    case "reserve":
      return ledger.reserve(call.body, turn);
    case "commit":
      return ledger.commit(call.id, call.body, turn);
    case "release":
      return ledger.release(call.id, call.body, turn);
    case "event":
      return ledger.event(call.body, turn);
    case "createBudget":
      return ledger.createBudget(call.body, turn);
    case "freeze":
      return ledger.freezeBudget(call.query, {}, turn);
    case "unfreeze":
      return ledger.unfreezeBudget(call.query, {}, turn);
    case "updateTenant":
      return ledger.updateTenant(call.body, turn);
    case "fund":
      return ledger.fund(call.query, call.body, turn);
  }
}

/** The lease in a reply, where there is one. */
export function leaseIn(reply: AnyReply | undefined): LeaseBody | undefined {
  return reply?.ok ? (reply.body as LeaseBody) : undefined;
}
