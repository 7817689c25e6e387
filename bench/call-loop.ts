// The one place that calls loops, kept from being inlined. V8's quick compiler (Maglev) would copy a loop into what calls
// it and go on running that copy: the same loop was seen to take five times as long after two seconds as before. A call
// site that has seen different functions inlines none, and the loop keeps code of its own, compiled with full effort.

import type { Loop } from "./contender.ts";

export function callLoop(loop: Loop, operations: number): number | Promise<number> {
  return loop(operations);
}

const DECOYS: readonly Loop[] = [(operations) => operations, (operations) => operations + 1];

/** Engines begin to note what a call site sees only after some calls. */
const DECOY_CALLS = 1_000;

for (let i = 0; i < DECOY_CALLS; i++) {
  for (const decoy of DECOYS) callLoop(decoy, i);
}
