// Guards that are really collected: neither the heartbeat nor the watch keeps one alive, and one that is in use is kept.

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { LocalAuthority, LocalLedger } from "purser/ledger";
import { expect, test } from "vitest";
import { until } from "../support/test-time.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const tokens = (amount: number) => ({ unit: "TOKENS" as const, amount });
const REQUEST = { action: { kind: "llm", name: "chat" }, estimate: tokens(100) };

test("a forgotten guard is collected, counted, and its heartbeat ends; one that is in use is not", async () => {
  const ledger = new LocalLedger({ tenant: "acme", now: Date.now });
  ledger.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated: tokens(1_000) });
  const timers = new Set<symbol>();
  const warnings: string[] = [];
  const authority = new LocalAuthority({
    ledger,
    warn: (message) => void warnings.push(message),
    setTimer: () => {
      const timer = Symbol();
      timers.add(timer);
      return () => void timers.delete(timer);
    },
  });
  const kept = await authority.guard(REQUEST);
  await (async () => {
    await authority.guard(REQUEST);
    await authority.guard(REQUEST);
  })();
  expect(timers.size).toBe(3);
  await until(() => {
    collectGarbage();
    return authority.leakedGuards === 2;
  });
  expect(timers.size).toBe(1);
  expect(warnings).toHaveLength(1);
  if (kept.ok) await kept.release();
  expect(timers.size).toBe(0);
});

test("a forgotten meter does not keep its guard, nor does the page that it listens to", async () => {
  const ledger = new LocalLedger({ tenant: "acme", now: Date.now });
  ledger.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated: tokens(1_000) });
  const authority = new LocalAuthority({ ledger, warn: () => undefined });
  const page = new EventTarget();
  const meterOf = async () => {
    const guard = await authority.guard(REQUEST);
    if (!guard.ok) throw new Error(guard.denial.message);
    return guard.meter({ page });
  };
  const kept = await meterOf();
  await (async () => {
    await (await meterOf()).add(30);
  })();
  await until(() => {
    collectGarbage();
    return authority.leakedGuards === 1;
  });
  page.dispatchEvent(new Event("pagehide"));
  expect(await kept.settled).toMatchObject({ ending: "page-closed", source: "estimate", charged: 100 });
  expect(await authority.balances()).toMatchObject([{ spent: 100, reserved: 100 }]);
});
