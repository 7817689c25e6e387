// What keeps Node running: the waits between two tries of a call, and nothing else that a client starts. A timer that
// does is among the process's active resources.

import process from "node:process";
import { HttpAuthority } from "purser/client";
import { LocalAuthority, LocalLedger } from "purser/ledger";
import { TokenIssuer } from "purser/tokens";
import { expect, test } from "vitest";

const holding = (): number => process.getActiveResourcesInfo().filter((it) => it === "Timeout").length;

const never = (_url: string, { signal }: RequestInit): Promise<never> =>
  new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));

test.each([
  [
    "a call",
    HttpAuthority,
    (it: HttpAuthority | TokenIssuer, signal: AbortSignal) => (it as HttpAuthority).exposure({ signal }),
  ],
  [
    "a call for a token",
    TokenIssuer,
    (it: HttpAuthority | TokenIssuer, signal: AbortSignal) => (it as TokenIssuer).revoke("t", { signal }),
  ],
] as const)("%s that waits for its answer: its deadline does not", async (_, Client, ask) => {
  const stop = new AbortController();
  const client = new Client({ baseUrl: "https://budgets.test", apiKey: "k", fetch: never });
  const before = holding();
  const call = ask(client, stop.signal);
  expect(holding()).toBe(before);
  stop.abort(new Error("enough"));
  await expect(call).rejects.toThrow("enough");
});

test("an open guard with a heartbeat, and its meter with a stream that nobody reads, do not", async () => {
  const ledger = new LocalLedger({ tenant: "acme", now: Date.now });
  const allocated = { unit: "TOKENS", amount: 1_000 } as const;
  ledger.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated });
  const authority = new LocalAuthority({ ledger });
  const before = holding();
  const guard = await authority.guard({
    action: { kind: "llm", name: "chat" },
    estimate: { unit: "TOKENS", amount: 100 },
  });
  if (!guard.ok) throw new Error(guard.denial.message);
  guard.meter().wrap(new ReadableStream<number>(), (it) => it);
  expect(holding()).toBe(before);
  await guard.dispose();
});
