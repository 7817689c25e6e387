// The package's second entry, `purser/ledger`: the authority's rules, for whoever runs an authority of their own. Apart
// from the first, so that a page that only spends does not carry the rules by which budgets are kept.

import { inlineArtefacts } from "./kernel/artefacts.inline.ts";
import { installArtefacts } from "./kernel/artefacts.ts";

installArtefacts(inlineArtefacts);

export * from "./authority/index.ts";
export * from "./ledger/index.ts";
