// Leases with nothing simulated: pages of a real Chromium, processes, and workerd over its files, killed in the middle of their work.
// Whatever dies, the tenant's limit is kept to the token, and what was lent is back by the end of ttl and grace.

import { setTimeout as delay } from "node:timers/promises";
import type { Page } from "playwright";
import { HttpAuthority } from "purser/client";
import { expect, test } from "vitest";
import type { LeaseState } from "../../../src/authority/leases.ts";
import { COMMAND_TIMEOUT_MS } from "../support/commands.ts";
import type { HandOver, HolderInPage } from "./page.ts";
import { type Holder, Rig } from "./rig.ts";

const TTL_MS = 2_000;
const GRACE_MS = 500;
const POLL_MS = 50;

/** Resolves each time that the holders together are known to have spent a share of the budget. */
function shares(rig: Rig, allocated: number, holders: readonly Holder[]) {
  const waiting = new Set<() => void>();
  rig.onSpent = () => {
    for (const look of waiting) look();
  };
  return (share: number): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        const spent = holders.reduce((sum, holder) => sum + holder.spent(), 0);
        if (spent < share * allocated) return;
        waiting.delete(look);
        resolve();
      };
      waiting.add(look);
      look();
    });
}

/** What was lent is settled by itself: the authority's own answer says when. */
async function untilReclaimed(rig: Rig): Promise<void> {
  while ((await rig.balance()).reserved > 0) await delay(POLL_MS);
}

/** How the page came to lead, once it does and has been answered. */
async function handOverTo(page: Page): Promise<HandOver> {
  const handle = await page.waitForFunction(
    () => (globalThis as unknown as HolderInPage).handOver(),
    undefined,
    { polling: 10 },
  );
  return (await handle.jsonValue()) as HandOver;
}

function authorityOf(rig: Rig): HttpAuthority {
  return new HttpAuthority({ baseUrl: rig.url, apiKey: rig.apiKey, subject: { tenant: "acme" } });
}

async function leasesOf(rig: Rig): Promise<readonly LeaseState[]> {
  const rows: LeaseState[] = [];
  for await (const row of authorityOf(rig).leases()) rows.push(row);
  return rows;
}

/**
 * One look at the first moment after `dueAtMs`, by the clock of this machine, which is the authority's as well: how many leases
 * have something out, and what became of each. (The list settles what it shows; the sum before it tells what was settled already.)
 */
async function lookAfter(rig: Rig, dueAtMs: number) {
  while (Date.now() <= dueAtMs) await delay(dueAtMs + 1 - Date.now());
  const [sum] = await authorityOf(rig).exposure();
  return { open: sum?.leases ?? 0, leases: await leasesOf(rig) };
}

test("five pages and two processes lease from one tenant; two pages, a process and workerd are killed", {
  timeout: COMMAND_TIMEOUT_MS,
}, async () => {
  const allocated = 200_000;
  await using rig = await Rig.open(allocated);
  await rig.setLeases({ on_expiry: "charge", ttl_ms_max: TTL_MS, grace_ms: GRACE_MS });
  const pages = await Promise.all(
    Array.from({ length: 5 }, (_, index) =>
      rig.openPage(`page-${index}`, { doomed: index < 2, tabs: false }),
    ),
  );
  const processes = [
    rig.openProcess("process-0", { doomed: true }),
    rig.openProcess("process-1", { doomed: false }),
  ];
  const [firstPage, secondPage, ...livePages] = pages;
  const [firstProcess, ...liveProcesses] = processes;
  if (firstPage === undefined || secondPage === undefined || firstProcess === undefined) throw new Error();
  const reached = shares(rig, allocated, [...pages, ...processes]);

  await reached(0.15);
  await firstPage.kill();
  await reached(0.25);
  await rig.restartAuthority();
  await reached(0.4);
  await secondPage.kill();
  await reached(0.5);
  await firstProcess.kill();
  // What the dead had sent has come by the answer to this.
  await rig.balance();
  const killedAtMs = Date.now();
  const look = lookAfter(rig, killedAtMs + TTL_MS + GRACE_MS);
  const living = [...livePages, ...liveProcesses];
  const worked = await Promise.all(living.map((holder) => holder.worked));

  const workedMs = Date.now() - killedAtMs;
  const dead = [firstPage, secondPage, firstProcess];
  // Nothing of the dead is out at ttl + grace after the last of them died, whatever the living do.
  const looked = await look;
  expect(looked.open).toBeLessThanOrEqual(living.length);
  const atDeadline = looked.leases.filter(({ holder }) => dead.some(({ name }) => name === holder));
  expect(atDeadline.length).toBeGreaterThanOrEqual(dead.length);
  for (const { status, outstanding } of atDeadline) {
    expect({ isActive: status === "ACTIVE", outstanding }).toEqual({ isActive: false, outstanding: 0 });
  }
  const balance = await rig.balance();
  const leases = await leasesOf(rig);
  const decisions = worked.reduce((sum, each) => sum + each.decisions, 0);
  const expired = leases.filter(({ status }) => status === "EXPIRED");
  const lateByMs = Math.max(...expired.map(({ expiresAtMs }) => expiresAtMs - killedAtMs - TTL_MS));
  console.log("real leases:", {
    ...balance,
    leases: leases.length,
    decisions,
    workedMs,
    lateByMs,
    open: looked.open,
  });
  // By the authority's own clock as well: no lease of the dead lasted longer.
  expect(lateByMs).toBeLessThanOrEqual(0);
  for (const { expiresAtMs, renewedAtMs } of expired)
    expect(expiresAtMs - renewedAtMs).toBeLessThanOrEqual(TTL_MS);
  expect(balance).toMatchObject({ reserved: 0, debt: 0 });
  expect(balance.spent).toBeLessThanOrEqual(allocated);
  // To the token: what the living spent is what their leases were charged; the rest was charged to the dead.
  const chargedTo = (name: string): number =>
    leases.reduce((sum, { holder, spent, charged }) => (holder === name ? sum + spent + charged : sum), 0);
  for (const [index, holder] of living.entries()) expect(chargedTo(holder.name)).toBe(worked[index]?.spent);
  for (const holder of dead) {
    expect(chargedTo(holder.name)).toBeGreaterThanOrEqual(holder.spent());
  }
  expect(leases.reduce((sum, { spent, charged }) => sum + spent + charged, 0)).toBe(balance.spent);
  // Where everything was lent already, one of the dead may have had nothing left to lose.
  expect(expired.length).toBeGreaterThanOrEqual(1);
  expect(leases.filter(({ status }) => status === "ACTIVE")).toEqual([]);
});

test("three tabs share one lease; the leading one is killed, the next one leads, and the limit is kept", {
  timeout: COMMAND_TIMEOUT_MS,
}, async () => {
  const allocated = 50_000;
  await using rig = await Rig.open(allocated);
  await rig.setLeases({ on_expiry: "charge", ttl_ms_max: TTL_MS, grace_ms: GRACE_MS });
  const tabs = await Promise.all(
    Array.from({ length: 3 }, (_, index) => rig.openPage(`tab-${index}`, { doomed: false, tabs: true })),
  );
  const reached = shares(rig, allocated, tabs);
  const leading = async () => {
    const leads = await Promise.all(tabs.map(({ page }) => page.evaluate("leads()")));
    return leads.indexOf(true);
  };

  await reached(0.2);
  const leader = tabs[await leading()];
  if (leader === undefined) throw new Error("no tab leads");
  const others = tabs.filter((tab) => tab !== leader);
  await leader.kill();
  const handOver = await Promise.race(others.map(({ page }) => handOverTo(page)));
  const worked = await Promise.all(others.map((tab) => tab.worked));

  await untilReclaimed(rig);
  const balance = await rig.balance();
  const leases = await leasesOf(rig);
  const decisions = worked.reduce((sum, each) => sum + each.decisions, 0);
  console.log("real tabs:", { ...balance, leases: leases.length, handOver, decisions });
  expect(balance).toMatchObject({ reserved: 0, debt: 0 });
  expect(balance.spent).toBeLessThanOrEqual(allocated);
  const spent = worked.reduce((sum, each) => sum + each.spent, 0);
  expect(balance.spent).toBeGreaterThanOrEqual(spent + leader.spent());
  expect(balance.spent).toBe(leases.reduce((sum, each) => sum + each.spent + each.charged, 0));
});
