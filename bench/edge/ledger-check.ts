// After the load: does the ledger hold what the answers said? Invariant: with no unanswered request, a tenant's spent and
// reserved follow exactly from the numbers of its answers. Called by edge.ts.

import { type Balance, tenantClient } from "../../scripts/lib/authority-client.ts";
import { type Account, COMMIT_TOKENS, EVENT_TOKENS, RESERVE_TOKENS } from "./flows.ts";
import type { Outcome, Tally } from "./load.ts";

export class Expectation {
  readonly #tallies = new Map<string, Tally>();

  add(outcome: Outcome): void {
    for (const [tenant, tally] of Object.entries(outcome.tallies)) {
      const sum = this.of(tenant);
      for (const name of ["reserve", "commit", "event"] as const) sum[name] += tally[name];
    }
  }

  of(tenant: string): Tally {
    const tally = this.#tallies.get(tenant) ?? { reserve: 0, commit: 0, event: 0, nothing: 0 };
    this.#tallies.set(tenant, tally);
    return tally;
  }
}

/** One sentence on every account: that all agree, or which do not. `before` is what a tenant had already. */
export async function checkLedger(
  url: string,
  accounts: readonly Account[],
  expectation: Expectation,
  before: Pick<Balance, "spent" | "reserved"> = { spent: 0, reserved: 0 },
): Promise<string> {
  let operations = 0;
  const faults: string[] = [];
  for (const { tenant, apiKey } of accounts) {
    const tally = expectation.of(tenant);
    operations += tally.reserve + tally.commit + tally.event;
    const spent = before.spent + tally.commit * COMMIT_TOKENS + tally.event * EVENT_TOKENS;
    const reserved = before.reserved + (tally.reserve - tally.commit) * RESERVE_TOKENS;
    const balance = await tenantClient(url, apiKey, {
      tenant,
      scope: `tenant:${tenant}`,
      unit: "TOKENS",
    }).balance();
    const identity = balance.allocated - balance.spent - balance.reserved - balance.debt;
    const agrees = balance.spent === spent && balance.reserved === reserved && balance.remaining === identity;
    if (!agrees)
      faults.push(
        `${tenant}: spent ${balance.spent} of ${spent}, reserved ${balance.reserved} of ${reserved}`,
      );
  }
  const what = `${operations.toLocaleString("en")} operations on ${accounts.length} tenants`;
  return faults.length === 0
    ? `ledger check: ${what}, every balance agrees`
    : `LEDGER CHECK FAILED: ${faults.join("; ")}`;
}
