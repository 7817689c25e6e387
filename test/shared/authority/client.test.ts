// The contract of the interface, met by the authority in this process.

import { LocalAuthority } from "purser/ledger";
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
