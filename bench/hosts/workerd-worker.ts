// The far end of workerd.ts: `/open` makes the contender ready, `/round` runs it; both answer with a number.

import type { Meter } from "../meter.ts";
import { openContender } from "../session.ts";

let meter: Meter | undefined;

async function answer(request: Request): Promise<number> {
  const { pathname, searchParams } = new URL(request.url);
  const ms = Number(searchParams.get("ms"));
  if (pathname === "/open") {
    meter = await openContender(searchParams.get("contender") ?? "", ms);
    return 0;
  }
  if (meter === undefined) throw new Error("no contender is open");
  return meter.round(ms);
}

// biome-ignore lint/style/noDefaultExport: workerd takes a Worker's handlers from the default export.
export default {
  async fetch(request: Request): Promise<Response> {
    try {
      return new Response(String(await answer(request)));
    } catch (error) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      return new Response(text, { status: 500 });
    }
  },
};
