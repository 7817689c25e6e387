// The package's entry for Workers, which may not compile bytes: the runtime hands over the compiled module.
// Workers have no threads, so only the kernel for unshared memory is here; and their requests end without a word.

import unsharedKernel from "../build/kernel.wasm";
import { watchRequests } from "./execution/request-waits.ts";
import { installArtefacts } from "./kernel/artefacts.ts";

installArtefacts({ unshared: () => unsharedKernel });
watchRequests(() => Date.now());

export * from "./api.ts";
