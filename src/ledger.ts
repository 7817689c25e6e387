// The package's second entry, `purser/ledger`: the authority's rules, for whoever runs an authority of their own. Apart
// from the first, so that a page that only spends does not carry the rules by which budgets are kept, nor this the kernel.

import { inlineAccounts } from "./kernel/artefacts.inline.ts";
import { installAccounts } from "./kernel/artefacts.ts";

installAccounts(inlineAccounts);

export * from "./authority/index.ts";
export * from "./ledger/index.ts";
