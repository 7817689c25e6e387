// The contract of the interface, met by the authority in this process.

import { HttpAuthority } from "purser/client";
import { LocalAuthority } from "purser/ledger";
import { expect, test } from "vitest";
import { clientContract } from "../../support/client-contract.ts";
import { localWay } from "../../support/local-way.ts";

let made = 0;

clientContract("in this process", async () => {
  made += 1;
  const tenant = localWay(`tenant-${made}`);
  const { ledger } = tenant;
  return {
    tenant,
    numbers: new LocalAuthority({ ledger }),
    exact: new LocalAuthority({ ledger, exact: true }),
  };
});

test("a redirect as a page sees it, with status 0, is not asked for again", async () => {
  let calls = 0;
  const fetch = async () => {
    calls += 1;
    return Response.error(); // what has no status; `opaqueredirect` cannot be made by hand
  };
  const authority = new HttpAuthority({ baseUrl: "https://authority.test", apiKey: "k", fetch });
  await expect(authority.balances({ tenant: "acme" })).rejects.toMatchObject({
    status: 0,
    outcome: "unknown",
  });
  expect(calls).toBe(1);
});
