// What a holder does in the real runs, in a page or a process: it spends small amounts from a LeasedBudget until the authority has
// no more; who is to be killed asks on even then. Invariant: what it says it has spent is what it has taken and settled.
// Called by page.ts and process.ts.

import { LeasedBudget } from "purser";
import type { LeaseAuthority } from "purser/client";

export interface Worked {
  readonly spent: number;
  readonly decisions: number;
}

const FIRST_SLICE = 2_000;
const STEP_MAX = 20;
const DECISIONS_PER_TASK = 4;
const WAIT_MS_MAX = 2_000;
/** It says what it has spent after so much of it: each word costs the test more than a decision costs here. */
const SAID_EVERY = 1_000;

export interface WorkOptions {
  /** Its name in the list of leases. */
  readonly holder: string;
  /** Whether it goes on until it is killed: a busy machine may have lent everything before the test gets to it. */
  readonly doomed: boolean;
}

export async function work(
  authority: LeaseAuthority,
  { holder, doomed, onSpent }: WorkOptions & { onSpent: (total: number) => void },
): Promise<Worked> {
  let [spent, said, decisions] = [0, 0, 0];
  const slice = { first: FIRST_SLICE };
  await using budget = await LeasedBudget.open(authority, { unit: "TOKENS", holder, slice });
  for (;;) {
    const estimate = 1 + Math.floor(Math.random() * STEP_MAX);
    const held = await budget.reserve(estimate, { maxWaitMs: WAIT_MS_MAX });
    if (!held.ok) {
      if (held.denial.reason === "authority-exhausted" && !doomed) break;
      await nextTask();
      continue;
    }
    const used = Math.ceil(estimate * Math.random());
    budget.recordUsage(held.reservation, used, 0);
    spent += used;
    decisions += 1;
    if (spent - said >= SAID_EVERY) {
      said = spent;
      onSpent(spent);
    }
    if (decisions % DECISIONS_PER_TASK === 0) await nextTask();
  }
  return { spent, decisions };
}

function nextTask(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
