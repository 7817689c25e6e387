// The package's entry for Workers, which may not compile bytes: the runtime hands over the compiled module.
// Workers have no threads, so only the kernel for unshared memory is here.

import unsharedKernel from "../build/kernel.wasm";
import { installArtefacts } from "./kernel/artefacts.ts";

installArtefacts({ unshared: () => unsharedKernel });

export * from "./api.ts";
