// Tenants that are opened while others open, forget or replace them: one name is one tenant, and nobody gets another's.

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { Figure, Kind, Status } from "../../../src/kernel/generated/abi.ts";
import type { KernelExports } from "../../../src/kernel/instance.ts";
import type { Call, Program } from "./explore.ts";
import { type Build, ME, prepared, THEM, type Worlds, YOU } from "./worlds.ts";

const CAP = 10;
const GROUP = 7n;
const TRIES = 2;

const openTenant = (call: Call, who: number, name = 1n, cap = CAP, group = GROUP): Promise<number> =>
  call("tenantOpen", name, name, cap, group, who);

/**
 * As a tracker reserves: opens the tenant, and opens it anew if it was forgotten in between. A tracker does so until it is
 * told something else than Stale; a tenant that is just being forgotten says Stale until its forgetter goes on.
 */
async function reserve(call: Call, who: number, amount: number): Promise<number> {
  let slot = -1;
  for (let ticket = 1; ticket <= TRIES; ticket++) {
    const handle = await openTenant(call, who);
    if (handle < 0) return handle;
    slot = await call("holdReserve", handle, amount, who, ticket, 0, who);
    if (slot !== -Status.Stale) return slot;
  }
  return slot;
}

/** The one tenant of this name, and that there is no other budget. */
function theTenant(kernel: KernelExports): number {
  strictEqual(kernel.budgetCount(), 1);
  const handle = kernel.budgetFind(1n, 1n, Kind.Tokens);
  strictEqual(handle > 0, true);
  return handle;
}

export const TENANTS: Worlds = {
  "two threads that open a new tenant at once have one and the same": {
    preemptions: 1,
    build: (kernel) => {
      prepared(kernel);
      const handles: number[] = [];
      const opening =
        (who: number): Program =>
        async (call) =>
          void handles.push(await openTenant(call, who));
      return {
        kernel,
        programs: [opening(ME), opening(YOU)],
        check() {
          const tenant = theTenant(kernel);
          deepStrictEqual(handles, [tenant, tenant]);
        },
      };
    },
  },

  "two threads that reserve for a new tenant, with room for one: one is granted": {
    preemptions: 1,
    build: (kernel) => {
      prepared(kernel);
      const slots: number[] = [];
      const reserving =
        (who: number): Program =>
        async (call) =>
          void slots.push(await reserve(call, who, 6));
      return {
        kernel,
        programs: [reserving(ME), reserving(YOU)],
        check() {
          strictEqual(slots.filter((slot) => slot >= 0).length, 1);
          strictEqual(slots.filter((slot) => slot === -Status.Exceeds).length, 1);
          strictEqual(kernel.heldAmount(theTenant(kernel)), 6);
        },
      };
    },
  },

  "a reservation beside one that forgets the idle tenant: it is held where the name leads": {
    preemptions: 2,
    build: (kernel) => {
      prepared(kernel);
      const old = kernel.tenantOpen(1n, 1n, CAP, GROUP, THEM);
      let slot = -1;
      let forgotten = -1;
      return {
        kernel,
        programs: [
          async (call) => {
            slot = await reserve(call, ME, 4);
          },
          async (call) => {
            forgotten = await call("budgetRemoveIdle", old, YOU);
          },
        ],
        check() {
          if (slot === -Status.Stale) {
            strictEqual(forgotten, Status.Ok);
            strictEqual(kernel.budgetCount(), 0);
            return;
          }
          strictEqual(slot >= 0, true);
          strictEqual(forgotten === Status.Ok || forgotten === Status.NotIdle, true);
          const tenant = theTenant(kernel);
          strictEqual(kernel.heldAmount(tenant), 4);
          strictEqual(kernel.budgetFigure(tenant, Figure.Available), CAP - 4);
          strictEqual(tenant === old, forgotten === Status.NotIdle);
        },
      };
    },
  },

  "who opens a tenant whose slot passes to another one never gets that one, and is told no mismatch": {
    preemptions: 2,
    build: (kernel) => {
      prepared(kernel);
      const old = kernel.tenantOpen(1n, 1n, CAP, GROUP, THEM);
      let opened = 0;
      let other = 0;
      return {
        kernel,
        programs: [
          async (call) => {
            opened = await openTenant(call, ME);
          },
          async (call) => {
            strictEqual(await call("budgetRemove", old, YOU), Status.Ok);
            other = await openTenant(call, YOU, 3n, 20, 8n); // begins to look for a slot where the first one was
          },
        ],
        check() {
          strictEqual(opened > 0, true, `${opened}`);
          strictEqual(other > 0 && other !== opened, true);
          strictEqual(kernel.budgetFigure(other, Figure.Capacity), 20);
          if (opened !== old) strictEqual(kernel.budgetFigure(opened, Figure.Capacity), CAP);
          else strictEqual(kernel.budgetFigure(opened, Figure.Capacity), -Status.Stale);
        },
      };
    },
  },
};

export const TENANT_DEATHS: Readonly<Record<string, Build>> = {
  "while it opens a tenant": (kernel) => {
    prepared(kernel);
    return {
      kernel,
      programs: [async (call) => void (await openTenant(call, ME))],
      check() {
        kernel.holdReclaim(ME, THEM);
        const handle = kernel.tenantOpen(1n, 1n, CAP, GROUP, YOU);
        strictEqual(handle, theTenant(kernel));
        strictEqual(kernel.holdReserve(handle, CAP, YOU, 1, 0, 0), 0);
      },
    };
  },
};
