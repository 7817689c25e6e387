// The far end of node.ts: opens the contender that it is started with, then does a round for each number it is sent.

import { once } from "node:events";
import process from "node:process";
import { Worker } from "node:worker_threads";
import { openContender } from "../session.ts";
import type { Member, Membership, Work } from "../team.ts";
import type { Answer } from "./node.ts";

function startMember(membership: Membership): Member {
  const thread = new Worker(new URL("node-thread.ts", import.meta.url), { workerData: membership });
  return {
    async work(roundMs) {
      thread.postMessage(roundMs);
      const [work] = (await once(thread, "message")) as [Work];
      return work;
    },
  };
}

function send(answer: Answer): void {
  process.send?.(answer);
}

function fail(error: unknown): void {
  send({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
}

const [contender = "", warmUpMs = ""] = process.argv.slice(2);
try {
  const meter = await openContender(contender, Number(warmUpMs), startMember);
  process.on("message", (roundMs) => {
    meter.round(Number(roundMs)).then((nanoseconds) => send({ nanoseconds }), fail);
  });
  process.once("disconnect", () => process.exit());
  send({ nanoseconds: 0 });
} catch (error) {
  fail(error);
}
