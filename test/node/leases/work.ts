// What a holder does in the real runs, in a page or a process: it spends small amounts from its slice, reports and asks for more
// when that is used up, and stops when there is no more. Invariant: what it says it has spent is what it has taken from
// slices that were granted to it. Called by page.ts and process.ts.

import type { LeaseAuthority } from "../../../src/authority/leases.ts";
import { TabSpender } from "../../support/tab-spender.ts";

export interface Worked {
  /** What was really spent under each lease. */
  readonly leases: readonly { readonly leaseId: string; readonly spent: number }[];
  readonly decisions: number;
}

const WANT = 2_000;
const STEP_MAX = 20;
const DECISIONS_PER_TASK = 4;
/** It says what it has spent after so much of it: each word costs the test more than a decision costs here. */
const SAID_EVERY = 1_000;
/** So often in a row it must hear that there is no more. */
const DENIALS = 3;

export async function work(authority: LeaseAuthority, onSpent: (total: number) => void): Promise<Worked> {
  const spenders: TabSpender[] = [];
  let decisions = 0;
  let denials = 0;
  let said = 0;
  const say = (): void => {
    const total = spenders.reduce((sum, { spent }) => sum + spent, 0);
    if (total - said < SAID_EVERY) return;
    said = total;
    onSpent(total);
  };
  while (denials < DENIALS) {
    const spender = new TabSpender(authority);
    const opened = await untilAnswered(() => spender.open(WANT));
    if (!opened.ok) {
      denials += 1;
      await pause();
      continue;
    }
    spenders.push(spender);
    while (!spender.stopped) {
      for (let each = 0; each < DECISIONS_PER_TASK && spender.idle > 0; each += 1) {
        spender.spend(1 + Math.floor(Math.random() * STEP_MAX));
        decisions += 1;
      }
      say();
      await pause();
      if (spender.idle > 0) continue;
      await untilAnswered(() => spender.renew(WANT));
      denials = spender.idle > 0 ? 0 : denials + 1;
      if (denials >= DENIALS) break;
    }
    await untilAnswered(() => spender.return());
  }
  const leases = spenders.map(({ lease, spent }) => ({ leaseId: lease?.leaseId ?? "", spent }));
  return { leases, decisions };
}

/** The authority is killed and comes back: every call is made until it is answered. */
async function untilAnswered<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      const { code } = error as { code?: unknown };
      if (code !== "AUTHORITY_UNAVAILABLE" && code !== "AUTHORITY_TIMEOUT") throw error;
    }
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
