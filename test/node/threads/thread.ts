// One hammering thread under Node. It loads the library as it ships, from dist/, through the package's own name.

import { parentPort, workerData } from "node:worker_threads";
import { type HammerJob, hammer } from "../../support/hammer.ts";

parentPort?.postMessage(await hammer(workerData as HammerJob));
