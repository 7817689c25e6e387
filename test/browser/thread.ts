// One hammering thread in a page: a dedicated Web Worker.

import { type HammerJob, hammer } from "../support/hammer.ts";

self.addEventListener("message", (event: MessageEvent<HammerJob>) => {
  self.postMessage(hammer(event.data));
});
