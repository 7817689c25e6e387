// One thread of a team in Node.

import { parentPort, workerData } from "node:worker_threads";
import { createTeamMember, type Membership } from "../team.ts";

const work = createTeamMember(workerData as Membership);
parentPort?.on("message", (roundMs: number) => parentPort?.postMessage(work(roundMs)));
