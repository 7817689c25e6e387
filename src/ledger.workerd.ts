// `purser/ledger` for Workers; see index.workerd.ts.

import unsharedKernel from "../build/kernel.wasm";
import { installArtefacts } from "./kernel/artefacts.ts";

installArtefacts({ unshared: () => unsharedKernel });

export * from "./authority/index.ts";
export * from "./ledger/index.ts";
