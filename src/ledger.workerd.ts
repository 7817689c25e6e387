// `purser/ledger` for Workers; see index.workerd.ts.

import accounts from "../build/accounts.wasm";
import { installAccounts } from "./kernel/artefacts.ts";

installAccounts(() => accounts);

export * from "./authority/index.ts";
export * from "./ledger/index.ts";
