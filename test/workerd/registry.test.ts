// The registry of tenants, over real objects: how it catches up with what it was not told, whatever order it hears things
// in, and lists that go over more tenants than one call asks.

import { runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { LEDGER_LIMITS } from "purser/ledger";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { registryOf } from "../../worker/registry/registry-stub.ts";
import { callerOf } from "../support/http/front.ts";
import { front, stubOf, within } from "./support.ts";

const { ADMIN, get, makeTenant } = callerOf(front);

beforeAll(async () => {
  await makeTenant("aaa");
  await makeTenant("ccc");
});

describe("the registry", () => {
  test("that could not be told is told by an alarm, and nobody waits for it", async () => {
    const tenant = "untold";
    const stub = stubOf(tenant);
    const said = vi.spyOn(console, "error").mockImplementation(() => undefined);
    await within(stub, Date.now(), async (budget) => {
      const { announce } = budget;
      budget.announce = () => Promise.reject(new Error("registry down"));
      expect(await budget.createTenant({ tenant_id: tenant, name: "x" })).toMatchObject({ status: 201 });
      expect(await budget.createTenant({ tenant_id: tenant, name: "x" })).toMatchObject({ status: 200 });
      budget.announce = announce;
    });
    expect(said).toHaveBeenCalledTimes(2);
    said.mockRestore();
    const listed = async () => (await registryOf(env).idsFrom(tenant, 1))[0] === tenant;
    expect(await listed()).toBe(false);
    expect(await runDurableObjectAlarm(stub)).toBe(true);
    expect(await listed()).toBe(true);
    expect(await within(stub, Date.now(), (_, state) => state.storage.getAlarm())).toBeNull();
  });

  test("keeps the newest revision, whatever order it hears them in", async () => {
    const { json } = await get("/v1/admin/tenants/ccc", ADMIN);
    const registry = registryOf(env);
    const name = async () => (await get("/v1/admin/tenants?search=ccc", ADMIN)).json.tenants[0].name;
    await registry.record({ revision: 9, tenant: { ...json, name: "ninth ccc" } });
    await registry.record({ revision: 8, tenant: { ...json, name: "eighth ccc" } });
    await registry.record({ revision: 9, tenant: { ...json, name: "again ccc" } });
    expect(await name()).toBe("ninth ccc");
  });
});

test("a list over more tenants than one call asks goes on from there, and passes over those that are gone", async () => {
  const registry = registryOf(env);
  const { json: tenant } = await get("/v1/admin/tenants/aaa", ADMIN);
  // The registry alone knows them, and they come before every tenant that is there.
  for (let n = 0; n < LEDGER_LIMITS.tenantsPerCall + 5; n += 1) {
    const tenant_id = `000-${String(n).padStart(3, "0")}`;
    await registry.record({ revision: 1, tenant: { ...tenant, tenant_id } });
  }
  const first = await get("/v1/admin/budgets", ADMIN);
  expect([first.status, first.json.ledgers, first.json.has_more]).toEqual([200, [], true]);
  const second = await get(`/v1/admin/budgets?cursor=${first.json.next_cursor}`, ADMIN);
  expect(second.json.ledgers[0]).toMatchObject({ tenant_id: "aaa" });
});
