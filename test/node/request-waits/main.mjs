// A Worker whose requests wait for each other's permits. A path is a line, which is private or has a name in a kernel,
// and what to do there; what it returns is what the test reads.

import { ConcurrencyGovernor, createKernel } from "purser";

const kernel = createKernel();
const LIMITS = { total: 1, categories: { calls: 1 } };
const governors = {};
const permits = {};

export default {
  async fetch(request) {
    const [, line, action] = new URL(request.url).pathname.split("/");
    governors[line] ??= line.startsWith("private")
      ? new ConcurrencyGovernor(LIMITS)
      : new ConcurrencyGovernor(LIMITS, { kernel, name: line });
    const governor = governors[line];
    switch (action) {
      case "take": // held beyond this request
        permits[line] = governor.tryAcquire("calls");
        return new Response(permits[line] === null ? "none" : "taken");
      case "give":
        permits[line].release();
        return new Response("given");
      case "call": // waits as long as it takes, and gives back at once
        return new Response(await governor.withPermit("calls", () => "called"));
      case "forget": // its answer goes out, which ends the request, and nobody hears of the wait any more
        void governor.withPermit("calls", () => "never");
        return new Response("gone");
      default:
        return Response.json(governor.stats().categories.calls);
    }
  },
};
