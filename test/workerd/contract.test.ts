// The contracts of the authority, met by the real Durable Object: by RPC, and through the HTTP front; in the wire's
// shapes, and at the interface that clients have.

import { env } from "cloudflare:workers";
import { HttpAuthority, RpcAuthority, type TenantNamespace } from "purser/client";
import { authorityContract } from "../support/authority-contract.ts";
import { type ClientWay, clientContract } from "../support/client-contract.ts";
import { meterSuite } from "../support/meter-suite.ts";
import { FRONT_URL, frontFetch, frontWay, rpcWay } from "./ways.ts";

authorityContract("by RPC", () => rpcWay);
authorityContract("over HTTP", () => frontWay);

async function openByRpc(): Promise<ClientWay> {
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
}

async function openOverHttp(): Promise<ClientWay> {
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
}

clientContract("by RPC", openByRpc);
clientContract("over HTTP", openOverHttp);
meterSuite("by RPC", openByRpc);
meterSuite("over HTTP", openOverHttp);
