import { ConcurrencyGovernor, RateBudget } from "purser";

const governor = new ConcurrencyGovernor({ streams: 4, tools: 8, total: 16 });
const requests = new RateBudget({ limit: 500, windowMs: 60_000, burst: 20 }, { now: Date.now });

export async function runTool<T>(tool: () => Promise<T>): Promise<T | { retryAfterMs: number | null }> {
  if (!requests.tryReserve(1)) return { retryAfterMs: requests.retryAfterMs(1) };
  return governor.withTool(tool, { timeoutMs: 30_000 }); // waits its turn; never holds a slot that a stream could use
}
