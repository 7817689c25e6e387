// examples/worker-lease.ts in workerd: one isolate's lease, on a real tenant's object.

import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import type { TenantNamespace } from "purser/client";
import { expect, test } from "vitest";
import leasing from "../../examples/worker-lease.ts";
import { tenantStub } from "../../worker/http/tenant-stub.ts";

test("an isolate decides on its own lease, tries again where it could not be opened, and says why it says no", async () => {
  const tenant = tenantStub(env, "acme");
  const scope = { scope: "tenant:acme", unit: "TOKENS" } as const;
  const model = async () => new Response("hello", { headers: { "x-tokens-used": "1000" } });
  const bindings = {
    TENANT_BUDGET: env.TENANT_BUDGET as unknown as TenantNamespace,
    MODEL: { fetch: model } as unknown as Fetcher,
  };
  const ask = async () => {
    const context = createExecutionContext();
    const answer = await leasing.fetch(new Request("https://agent.test/"), bindings, context);
    await waitOnExecutionContext(context);
    return `${answer.status} ${await answer.text()}`;
  };

  // No tenant yet: that an opening failed does not break the isolate.
  await expect(ask()).rejects.toThrow();
  await tenant.createTenant({ tenant_id: "acme", name: "Acme" });
  await tenant.createBudget({ tenant_id: "acme", ...scope, allocated: { unit: "TOKENS", amount: 3_000 } });
  for (let call = 0; call < 2; call++) expect(await ask()).toBe("200 hello");
  expect(await ask()).toBe("402 slice-short");
  expect(await ask()).toBe("402 authority-exhausted");
  expect(await tenant.balances({ tenant: "acme" })).toMatchObject({
    body: { balances: [{ spent: { amount: 2_000n }, reserved: { amount: 1_000n } }] },
  });
});
