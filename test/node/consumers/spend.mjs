// What each consumer of the package does, with the names that a user imports: a guard, a stream and a denial against a real
// authority, and a budget of its own in wasm. Plain JavaScript, copied beside each consumer. Called by all three.

import { AtomicTokenBudget, createKernel } from "purser";
import { HttpAuthority, withReservation } from "purser/client";
import { LocalAuthority } from "purser/ledger";
import { TokenIssuer } from "purser/tokens";

const action = { kind: "llm", name: "chat" };
const tokens = (amount) => ({ unit: "TOKENS", amount });

async function* model() {
  for (const text of ["to", "ken", "s"]) yield { text };
  yield { text: "", total: 42 };
}

async function throughAuthority(authority) {
  const text = await withReservation(authority, { action, estimate: tokens(100) }, async (guard) => ({
    result: `held ${guard.reserved.amount}`,
    actual: 70,
  }));
  const guard = await authority.guard({ action, estimate: tokens(50) });
  const meter = guard.meter();
  let streamed = "";
  const counted = meter.wrap(model(), ({ text, total }) => {
    if (total !== undefined) meter.usage(total);
    return text.length;
  });
  for await (const chunk of counted) streamed += chunk.text;
  const { ending, source, charged } = await meter.settled;
  const denied = await authority.guard({ action, estimate: tokens(1_000) });
  const [{ spent, reserved, remaining }] = await authority.balances();
  const stream = `${streamed}: ${ending}, ${charged} by ${source}`;
  return { text, stream, denied: denied.denial.code, spent, reserved, remaining };
}

/** `tenant` has a budget of 500 tokens at `baseUrl`. */
export async function spend({ baseUrl, apiKey, tenant }) {
  const remote = await throughAuthority(new HttpAuthority({ baseUrl, apiKey, subject: { tenant } }));
  let tokensIssued = 0;
  for await (const _ of new TokenIssuer({ baseUrl, apiKey }).tokens()) tokensIssued += 1;
  const own = new LocalAuthority({ tenant, now: Date.now });
  own.ledger.createBudget({ scope: `tenant:${tenant}`, unit: "TOKENS", allocated: tokens(500) });
  const local = await throughAuthority(own);
  const kernel = createKernel();
  const budget = new AtomicTokenBudget(1_000, { kernel, name: "own" });
  budget.recordUsage(budget.tryReserveTokens(100), 60, 25);
  kernel.close();
  return { remote, local, tokensIssued, available: budget.available };
}
