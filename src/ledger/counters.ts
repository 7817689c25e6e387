// What an operator should hear of and no reply says: counted in memory, from zero whenever the host starts.
// Invariant: counting decides nothing. `figureFaults` counts budgets whose written figures break the ledger's identity;
// it stays 0 unless the arithmetic or the memory below it is broken, and is checked on every write all the same.
// Who may call: the core and the operations; hosts read.

import type { AccountFigures } from "../kernel/accounts.ts";
import { fitsInt64 } from "./int64.ts";

export interface LedgerCounters {
  /** Budgets written with figures that contradict each other. Anything but 0 is a bug. */
  figureFaults: number;
  /** Commits refused by an overage policy: official clients then drop the spend, and the hold expires. */
  commitsRefused: number;
  /** Events refused by a policy, or by a frozen or closed budget: official clients then drop the spend. */
  eventsRefused: number;
}

export function newCounters(): LedgerCounters {
  return { figureFaults: 0, commitsRefused: 0, eventsRefused: 0 };
}

/** Whether `remaining`, as the kernel computed it, is allocated − spent − reserved − debt, and no figure is below zero. */
export function figuresAgree(figures: AccountFigures, remaining: bigint): boolean {
  const { allocated, spent, reserved, debt } = figures;
  return (
    [allocated, spent, reserved, debt].every((figure) => figure >= 0n && fitsInt64(figure)) &&
    remaining === allocated - spent - reserved - debt
  );
}
