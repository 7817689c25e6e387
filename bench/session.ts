// One contender, alive in the runtime that this is running in. Each has a process, page or isolate of its own, so that
// what the engine learns from one of them never colours another. Who may call: the far ends in hosts/.

import { findContender } from "./catalogue.ts";
import { createMeter, type Meter } from "./meter.ts";
import { createTeam, type Member, type Membership } from "./team.ts";

/** Makes a contender ready and warm. `startMember` is missing where there are no threads. */
export async function openContender(
  id: string,
  warmUpMs: number,
  startMember?: (membership: Membership) => Member,
): Promise<Meter> {
  const contender = findContender(id);
  if (contender.kind === "loop") return createMeter(contender.prepare(), warmUpMs);
  if (contender.kind === "threads" && startMember !== undefined) {
    return createTeam(contender, startMember, warmUpMs);
  }
  throw new Error(`${id} cannot run here`);
}
