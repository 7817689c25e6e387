// The package's entry for Node, browsers and bundlers. Differs from index.workerd.ts only in how the wasm arrives.

import { inlineArtefacts } from "./kernel/artefacts.inline.ts";
import { installArtefacts } from "./kernel/artefacts.ts";

installArtefacts(inlineArtefacts);

export * from "./api.ts";
