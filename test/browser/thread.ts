// One hammering thread in a page: a dedicated Web Worker. It holds a lock as long as it lives, because that is how a
// page learns that a terminated thread has really stopped.

import { type HammerJob, hammer } from "../support/hammer.ts";

export interface LockedJob {
  readonly job: HammerJob;
  readonly lock: string;
}

self.addEventListener("message", (event: MessageEvent<LockedJob>) => {
  void navigator.locks.request(event.data.lock, async () => {
    self.postMessage(await hammer(event.data.job));
    return new Promise(() => {}); // the lock ends with the thread
  });
});
