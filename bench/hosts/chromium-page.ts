// The far end of chromium.ts, in the page: two functions that the benchmark's process calls.

import type { Meter } from "../meter.ts";
import { openContender } from "../session.ts";
import type { Member, Membership, Work } from "../team.ts";

export interface ContenderInPage {
  openContender(id: string, warmUpMs: number): Promise<void>;
  round(roundMs: number): Promise<number>;
}

function startMember(membership: Membership): Member {
  const thread = new Worker("/chromium-thread.js", { type: "module" });
  thread.postMessage(membership);
  return {
    work: (roundMs) =>
      new Promise<Work>((resolve, reject) => {
        thread.onmessage = ({ data }) => resolve(data);
        thread.onerror = ({ message }) => reject(new Error(message));
        thread.postMessage(roundMs);
      }),
  };
}

let meter: Meter | undefined;

const inPage: ContenderInPage = {
  async openContender(id, warmUpMs) {
    meter = await openContender(id, warmUpMs, startMember);
  },
  async round(roundMs) {
    if (meter === undefined) throw new Error("no contender is open");
    return meter.round(roundMs);
  },
};

Object.assign(globalThis, inPage);
