// The operations that a simulation asks for, as values: what a request is, and how a ledger is asked for it.
// Invariant: a call is never changed once made, so a retry is the same call. Who may call: actors make calls, the host
// performs them, the judge foretells their replies.

import type {
  BalancesQuery,
  BudgetBody,
  BudgetInput,
  CommitInput,
  DecideInput,
  EventInput,
  ExtendInput,
  FundInput,
  Ledger,
  PolicyInput,
  PolicyPatchInput,
  ReleaseInput,
  Reply,
  ReserveInput,
  Turn,
  Unit,
} from "purser/ledger";
import type { BudgetPatch, TenantPatch } from "./model/governing.ts";

export interface BudgetName {
  readonly scope: string;
  readonly unit: Unit;
}

export type Call =
  | { readonly op: "reserve"; readonly body: ReserveInput }
  | { readonly op: "decide"; readonly body: DecideInput }
  | { readonly op: "event"; readonly body: EventInput }
  | { readonly op: "commit"; readonly id: string; readonly body: CommitInput }
  | { readonly op: "release"; readonly id: string; readonly body: ReleaseInput }
  | { readonly op: "extend"; readonly id: string; readonly body: ExtendInput }
  | { readonly op: "get"; readonly id: string }
  | { readonly op: "balances"; readonly query: BalancesQuery }
  | { readonly op: "createBudget"; readonly body: BudgetInput }
  | { readonly op: "updateBudget"; readonly query: BudgetName; readonly body: BudgetPatch }
  | { readonly op: "freeze" | "unfreeze"; readonly query: BudgetName }
  | { readonly op: "updateTenant"; readonly body: TenantPatch }
  | { readonly op: "createPolicy"; readonly body: PolicyInput }
  | { readonly op: "updatePolicy"; readonly policyId: string; readonly body: PolicyPatchInput }
  | {
      readonly op: "fund";
      readonly query: BudgetName;
      readonly body: FundInput;
    };

export type AnyReply = Reply<unknown>;

export function perform(ledger: Ledger, call: Call, turn: Turn): AnyReply {
  switch (call.op) {
    case "reserve":
      return ledger.reserve(call.body, turn);
    case "decide":
      return ledger.decide(call.body, turn);
    case "event":
      return ledger.event(call.body, turn);
    case "commit":
      return ledger.commit(call.id, call.body, turn);
    case "release":
      return ledger.release(call.id, call.body, turn);
    case "extend":
      return ledger.extend(call.id, call.body, turn);
    case "get":
      return ledger.getReservation(call.id, turn);
    case "balances":
      return ledger.balances(call.query, turn);
    case "createBudget":
      return withoutLedgerId(ledger.createBudget(call.body, turn));
    case "updateBudget":
      return withoutLedgerId(ledger.updateBudget(call.query, call.body, turn));
    case "freeze":
      return withoutLedgerId(ledger.freezeBudget(call.query, {}, turn));
    case "unfreeze":
      return withoutLedgerId(ledger.unfreezeBudget(call.query, {}, turn));
    case "updateTenant":
      return ledger.updateTenant(call.body, turn);
    case "createPolicy":
      return ledger.createPolicy(call.body, turn);
    case "updatePolicy":
      return ledger.updatePolicy(call.policyId, call.body, turn);
    case "fund":
      return ledger.fund(call.query, call.body, turn);
  }
}

/** The budget's reply without the member that names it: opaque, and nothing depends on it. */
function withoutLedgerId(reply: Reply<BudgetBody>): AnyReply {
  if (!reply.ok) return reply;
  const { ledger_id: _, ...body } = reply.body;
  return { ...reply, body };
}
