// The contracts of the authority, met by the real Durable Object: by RPC, and through the HTTP front; in the wire's
// shapes, and at the interface that clients have.

import { env } from "cloudflare:workers";
import { HttpAuthority, RpcAuthority, type TenantNamespace } from "purser/client";
import { authorityContract } from "../support/authority-contract.ts";
import { clientContract } from "../support/client-contract.ts";
import { FRONT_URL, frontFetch, frontWay, rpcWay } from "./ways.ts";

authorityContract("by RPC", () => rpcWay);
authorityContract("over HTTP", () => frontWay);

clientContract("by RPC", async () => {
  const way = await rpcWay.open();
  const options = {
    namespace: env.TENANT_BUDGET as unknown as TenantNamespace,
    tenant: way.tenant,
  };
  return {
    tenant: way,
    numbers: new RpcAuthority(options),
    exact: new RpcAuthority({ ...options, exact: true }),
  };
});

clientContract("over HTTP", async () => {
  const way = await frontWay.open();
  const options = {
    baseUrl: FRONT_URL,
    apiKey: way.apiKey,
    subject: { tenant: way.tenant },
    fetch: frontFetch,
  };
  return {
    tenant: way,
    numbers: new HttpAuthority(options),
    exact: new HttpAuthority({ ...options, exact: true }),
  };
});
