// The far end of allocations.ts: does the operations, reads the heap, sends the figures.

import process from "node:process";
import { GCProfiler } from "node:v8";
import { AtomicBudget, AtomicTokenBudget, type TokenReservation } from "purser";
import type { Allocations } from "./allocations.ts";
import type { Loop } from "./contender.ts";
import { reserveAndRelease } from "./groups/counter.ts";
import { reserveAndRecord } from "./groups/tokens.ts";
import { ALLOCATION_LIVE_RESERVATIONS, ALLOCATION_OPERATIONS } from "./settings.ts";

const collect = globalThis.gc;
if (collect === undefined) throw new Error("this needs --expose-gc");

const heapBytes = (): number => process.memoryUsage().heapUsed;

/** The second run is the one that counts: by then everything is compiled. */
async function count(what: string, loop: Loop): Promise<Allocations> {
  const operations = ALLOCATION_OPERATIONS;
  if ((await loop(operations)) !== operations) throw new Error("an operation was refused");
  await collected();
  const profiler = new GCProfiler();
  const heapBeforeBytes = heapBytes();
  profiler.start();
  await loop(operations);
  const heapBeforeCollectionBytes = heapBytes();
  const collections = profiler.stop().statistics.length;
  if (collections > 0) throw new Error(`${collections} collections came between the two readings`);
  await collected();
  return {
    what,
    operations,
    heapBeforeBytes,
    heapAfterBytes: heapBytes(),
    bytesPerOperation: (heapBeforeCollectionBytes - heapBeforeBytes) / operations,
  };
}

/** Once for what is unreachable, once more for what the first collection's finalizers let go. */
async function collected(): Promise<void> {
  for (let i = 0; i < 2; i++) {
    collect?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** The newest reservation pushes the oldest out, which is settled: the same number is always open. */
function reserveAmongLive(budget: AtomicTokenBudget): Loop {
  const live: TokenReservation[] = [];
  return (operations) => {
    for (let i = 0; i < operations; i++) {
      const reservation = budget.tryReserveTokens(100 + (i & 7));
      if (reservation === null) return i;
      const place = i % ALLOCATION_LIVE_RESERVATIONS;
      const oldest = live[place];
      if (oldest !== undefined) budget.recordUsage(oldest, 60, 10 + (i & 7));
      live[place] = reservation;
    }
    return operations;
  };
}

const forms = [
  { form: "private", rows: {}, tokens: {} },
  { form: "shared by name", rows: { name: "rows" }, tokens: { name: "tokens" } },
];
const counted: Allocations[] = [];
for (const { form, ...options } of forms) {
  const rows = new AtomicBudget(1_000_000, options.rows);
  const tokens = new AtomicTokenBudget(Number.MAX_SAFE_INTEGER, options.tokens);
  const open = `with ${ALLOCATION_LIVE_RESERVATIONS} reservations always open`;
  counted.push(
    await count(`AtomicBudget, ${form}: tryReserve + release`, reserveAndRelease(rows)),
    await count(`AtomicTokenBudget, ${form}: tryReserveTokens → recordUsage`, reserveAndRecord(tokens)),
    await count(`the same ${open}`, reserveAmongLive(tokens)),
  );
}
process.send?.(counted);
