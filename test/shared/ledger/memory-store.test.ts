// The in-memory store against the store's contract.

import { MemoryStore } from "purser/ledger";
import { describeStoreContract } from "../../support/ledger-store-contract.ts";

describeStoreContract("MemoryStore", async (check) => check(new MemoryStore()));
