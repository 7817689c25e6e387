// examples/worker.ts in workerd, against a real tenant's object.

import { env } from "cloudflare:workers";
import type { TenantNamespace } from "purser/client";
import { expect, test } from "vitest";
import example from "../../examples/worker.ts";
import { tenantStub } from "../../worker/http/tenant-stub.ts";

test("the Worker reserves, calls the model and commits; without budget the model is not called", async () => {
  const tenant = tenantStub(env, "acme");
  await tenant.createTenant({ tenant_id: "acme", name: "Acme" });
  const scope = { scope: "tenant:acme", unit: "TOKENS" } as const;
  await tenant.createBudget({ tenant_id: "acme", ...scope, allocated: { unit: "TOKENS", amount: 2_000 } });
  let calls = 0;
  const model = async () => {
    calls++;
    return new Response("hello", calls === 1 ? { headers: { "x-tokens-used": "300" } } : {});
  };
  const bindings = {
    TENANT_BUDGET: env.TENANT_BUDGET as unknown as TenantNamespace,
    MODEL: { fetch: model } as unknown as Fetcher,
  };
  const ask = () => example.fetch(new Request("https://agent.test/"), bindings);

  expect(await (await ask()).text()).toBe("hello");
  expect(await (await ask()).text()).toBe("hello"); // does not say what it used: what was held is charged
  const denied = await ask();
  expect(denied.status).toBe(402);
  expect(await denied.text()).toBe("Budget exceeded for: tenant:acme");
  expect(calls).toBe(2);
  const balances = await tenant.balances({ tenant: "acme" });
  expect(balances).toMatchObject({
    ok: true,
    body: {
      balances: [{ spent: { amount: 1_500n }, reserved: { amount: 0n }, remaining: { amount: 500n } }],
    },
  });
});
