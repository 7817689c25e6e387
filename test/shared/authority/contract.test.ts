// The contract of the authority's wire shapes, met by the ledger in this process.

import { authorityContract } from "../../support/authority-contract.ts";
import { localWay } from "../../support/local-way.ts";

authorityContract("in this process", () => {
  let made = 0;
  return {
    int64: true,
    open: async () => {
      made += 1;
      return localWay(`tenant-${made}`);
    },
  };
});
