// The real authority from a page of another origin: its runtime plane over the page's own `fetch` and CORS, its operators'
// calls through Node. One for each test file that asks for it.

import { HttpAuthority } from "purser/client";
import { afterAll, beforeAll } from "vitest";
import { commands } from "vitest/browser";
import type { ClientWay } from "../support/client-contract.ts";
import { type HttpTenantWay, httpWay } from "../support/http-way.ts";

/** What test/node/support/browser-commands.ts offers. */
interface AuthorityCommands {
  startAuthorityFor(origin: string): Promise<{ url: string; relayUrl: string; adminKey: string }>;
  stopAuthority(url: string): Promise<void>;
  askAsOperator(url: string, path: string, init: object): Promise<{ status: number; body: string }>;
  untilAnswered(url: string, pathEnd: string): Promise<string>;
}

const { startAuthorityFor, stopAuthority, askAsOperator, untilAnswered } =
  commands as unknown as AuthorityCommands;

export function authorityOfThese() {
  let url = "";
  let relayUrl = "";
  let adminKey = "";
  beforeAll(async () => {
    ({ url, relayUrl, adminKey } = await startAuthorityFor(location.origin));
  });
  afterAll(() => stopAuthority(url));

  const openTenant = (): Promise<HttpTenantWay> =>
    httpWay({
      adminKey,
      int64: true,
      send: async (path, init) => {
        if (!("x-admin-api-key" in init.headers)) return fetch(url + path, init);
        const { status, body } = await askAsOperator(url, path, init);
        return new Response(body, { status });
      },
    }).open();

  return {
    openTenant,
    relayUrl: () => relayUrl,
    untilAnswered: (pathEnd: string) => untilAnswered(url, pathEnd),
    open: async (): Promise<ClientWay> => {
      const tenant = await openTenant();
      const options = { baseUrl: url, apiKey: tenant.apiKey, subject: { tenant: tenant.tenant } };
      return {
        tenant,
        numbers: new HttpAuthority(options),
        exact: new HttpAuthority({ ...options, exact: true }),
      };
    },
  };
}
