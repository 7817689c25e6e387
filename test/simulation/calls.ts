// The operations that a simulation asks for, as values: what a request is, and how a ledger is asked for it.
// Invariant: a call is never changed once made, so a retry is the same call. Who may call: actors make calls, the host
// performs them, the judge foretells their replies.

import type {
  BalancesQuery,
  BudgetInput,
  CommitInput,
  DecideInput,
  EventInput,
  ExtendInput,
  FundInput,
  Ledger,
  ReleaseInput,
  Reply,
  ReserveInput,
  Turn,
  Unit,
} from "purser/ledger";

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
  | {
      readonly op: "fund";
      readonly query: { readonly scope: string; readonly unit: Unit };
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
      return ledger.createBudget(call.body, turn);
    case "fund":
      return ledger.fund(call.query, call.body, turn);
  }
}
